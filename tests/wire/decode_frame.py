"""Ethernet frames as far as RNDIS speaks of them: where the headers are,
whether checksums are right (E.5), and the RSS hash (F.5, J.4)."""

import functools

TCP = 6
UDP = 17

ETH_VLAN = 0x8100
ETH_QINQ = 0x88A8
ETH_IPV4 = 0x0800
ETH_IPV6 = 0x86DD


class Headers:
    """Offsets are in the buffer, not in the frame.  'whole' is False for
    fragments and other packets whose transport checksum says nothing about
    these bytes alone."""

    __slots__ = ('version', 'l3', 'l4', 'protocol', 'whole', 'end')


def headers(buf, at, end, seen, lengths=True):
    """The IP headers of the frame [at, end), of which the bytes up to 'seen'
    are there; None if it is no sane IP packet, or too little is there.
    'lengths' is False for LSO, where the IP lengths mean nothing (E.6)."""
    l3 = at + 14
    if l3 > seen:
        return None
    ethertype = buf[at + 12] << 8 | buf[at + 13]
    while ethertype in (ETH_VLAN, ETH_QINQ) and l3 + 4 <= seen:
        ethertype = buf[l3 + 2] << 8 | buf[l3 + 3]
        l3 += 4
    h = Headers()
    h.l3 = l3
    h.whole = True
    if ethertype == ETH_IPV4:
        if l3 + 20 > seen or buf[l3] >> 4 != 4:
            return None
        size = (buf[l3] & 15) * 4
        total = buf[l3 + 2] << 8 | buf[l3 + 3] if lengths else end - l3
        if size < 20 or l3 + size > seen or total < size or l3 + total > end:
            return None
        h.version = 4
        h.l4 = l3 + size
        h.protocol = buf[l3 + 9]
        h.whole = not (buf[l3 + 6] & 0x3F or buf[l3 + 7])
        h.end = l3 + total
        return h
    if ethertype != ETH_IPV6 or l3 + 40 > seen or buf[l3] >> 4 != 6:
        return None
    total = buf[l3 + 4] << 8 | buf[l3 + 5] if lengths else end - l3 - 40
    if l3 + 40 + total > end:
        return None
    h.version = 6
    h.end = l3 + 40 + total
    h.protocol = buf[l3 + 6]
    l4 = l3 + 40
    while h.protocol in (0, 43, 44, 60):
        if l4 + 8 > seen:
            return None
        if h.protocol in (43, 44):      # routing changes the pseudo header
            h.whole = False
        size = 8 if h.protocol == 44 else (buf[l4 + 1] + 1) * 8
        h.protocol = buf[l4]
        l4 += size
    if l4 > h.end:
        return None
    h.l4 = l4
    return h


def ones_sum(data):
    """The ones' complement sum of big-endian 16-bit words, modulo 65535: 0
    for bytes that carry their right checksum."""
    if len(data) & 1:
        return (int.from_bytes(data, 'big') << 8) % 65535
    return int.from_bytes(data, 'big') % 65535


def ip_checksum_good(buf, h):
    return ones_sum(buf[h.l3:h.l4]) == 0


def transport_checksum_good(buf, h):
    """Needs the whole frame, and h.whole."""
    length = h.end - h.l4
    if h.protocol == UDP:
        if length < 8:
            return False
        if not (buf[h.l4 + 6] or buf[h.l4 + 7]):
            return h.version == 4       # no checksum: IPv4 allows it
        said = buf[h.l4 + 4] << 8 | buf[h.l4 + 5]
        if not 8 <= said <= length:
            return False
        length = said
    elif length < 20:
        return False
    first, last = (12, 20) if h.version == 4 else (8, 40)
    total = (ones_sum(buf[h.l3 + first:h.l3 + last]) + h.protocol + length
             + ones_sum(buf[h.l4:h.l4 + length]))
    return total % 65535 == 0


@functools.lru_cache(maxsize=8)
def toeplitz_tables(key):
    """For each of 36 input bytes and each value, what it adds to the hash."""
    bits = int.from_bytes(key, 'big')
    tables = []
    for position in range(36):
        row = [0] * 256
        for bit in range(8):
            window = bits >> (320 - 32 - 8 * position - bit) & 0xFFFFFFFF
            row[0x80 >> bit] = window
        for value in range(256):
            low = value & -value
            if low != value:
                row[value] = row[low] ^ row[value ^ low]
        tables.append(row)
    return tables


def toeplitz(key, data):
    """The hash of 'data' (at most 36 bytes) under a 40-byte key."""
    result = 0
    for row, byte in zip(toeplitz_tables(bytes(key)), data):
        result ^= row[byte]
    return result


# F.5, hash types: (IP version, protocol that has ports or None)
HASH_INPUT = {0x100: (4, None), 0x200: (4, TCP), 0x400: (6, None),
              0x1000: (6, TCP), 0x4000: (4, UDP), 0x8000: (6, UDP)}


def rss_hash(key, hash_type, buf, h, seen):
    """The hash of that type for these headers; None if the type does not go
    with the packet or the bytes are not there."""
    version, protocol = HASH_INPUT[hash_type]
    if h.version != version or (protocol and h.protocol != protocol):
        return None
    if version == 4:
        data = bytes(buf[h.l3 + 12:h.l3 + 20])
    else:
        data = bytes(buf[h.l3 + 8:h.l3 + 40])
    if protocol:
        if not h.whole or h.l4 + 4 > seen:
            return None
        data += bytes(buf[h.l4:h.l4 + 4])
    return toeplitz(key, data)
