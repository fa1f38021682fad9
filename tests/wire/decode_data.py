"""RNDIS data messages (E.3 to E.11, H.1)."""

import struct

from decode_frame import (ETH_VLAN, HASH_INPUT, TCP, UDP, headers,
                          ip_checksum_good, rss_hash,
                          transport_checksum_good)
from decode_trace import Violation, visible

# E.3: type, length, data offset and length, OOB offset, length and number,
# per-packet-info offset and length, VC handle, reserved
PACKET_HEADER = struct.Struct('<11I')
ELEMENT = struct.Struct('<III')        # E.4: size, type, offset of the data
U16 = struct.Struct('<H')
U32 = struct.Struct('<I')

PACKET = 1
HEADER_BYTES = 44
MIN_FRAME = 14

# E.4
CHECKSUM = 0
LSO = 2
VLAN = 6
HASH = 8
HASH_INFO = 9
RSC = 0x80000001
GUEST_ELEMENTS = frozenset((CHECKSUM, LSO, VLAN, HASH))
HOST_ELEMENTS = frozenset((CHECKSUM, VLAN, HASH, HASH_INFO, RSC))

# E.5, guest to host
TX_IPV4, TX_IPV6, TX_TCP, TX_UDP, TX_IP = 1, 2, 4, 8, 16
TX_BITS = 0x03FF001F
# E.5, host to guest
RX_TCP_BAD, RX_UDP_BAD, RX_IP_BAD = 1, 2, 4
RX_TCP_GOOD, RX_UDP_GOOD, RX_IP_GOOD = 8, 16, 32
RX_TCP_INVALID, RX_IP_INVALID = 128, 256
RX_BITS = 0x1FF

# E.11
RSC_FIRST, RSC_LAST = 2, 4


class Counter:
    __slots__ = ('frames', 'bytes', 'messages')

    def __init__(self):
        self.frames = self.bytes = self.messages = 0


class Data:
    """The data messages of one session."""

    def __init__(self, session, rndis):
        self.session = session
        self.rndis = rndis
        self.tx = Counter()              # guest to host
        self.rx = Counter()              # host to guest
        self.announced = None            # (IPv4 Tx, IPv6 Tx, LSO4, LSO6)
        self.rsc_announced = False
        self.rsc_on = False
        self.rss_queues = 0
        self.rss_used = False            # a SET that turns RSS on was seen
        self.rss_key = None              # None until answered; () when the
                                         # hashes can no longer be checked
        self.tables = [()]               # RSS, () while it is off: the one
                                         # that holds, then what was asked
        self.table_lost = False          # one was kept that nobody saw
        self.channel = 0                 # of the frames that follow
        self.queues = {}                 # channel -> [tx, rx] frames
        self.train = None
        self.packet = None

    # ---- What control messages decided -----------------------------------

    def capabilities(self, data):
        """F.3, as answered to the guest."""
        self.announced = (U32.unpack_from(data, 8)[0],
                          U32.unpack_from(data, 24)[0],
                          U32.unpack_from(data, 80)[0] & 2,
                          U32.unpack_from(data, 92)[0] & 2)
        self.rsc_announced = data[1] >= 3 and (data[144] or data[145])

    def offload_parameters(self, data):
        """F.4: RSC is at 22 and 23."""
        if len(data) >= 28:
            for value in data[22:24]:
                if value:
                    self.rsc_on = value == 2

    def rss_set(self, data):
        flags = U16.unpack_from(data, 4)[0]
        self.table_asked(data, flags)
        if not flags & 0x10 and U32.unpack_from(data, 8)[0] & 1:
            self.rss_used = True

    def rss_answered(self, data, status):
        """Once a second key was set, frames hashed with the first may still
        come; from then on hash values are not compared."""
        flags = U16.unpack_from(data, 4)[0]
        if status:
            self.tables[1:] = []
        else:
            self.tables = self.tables[-1:]
        size = U16.unpack_from(data, 20)[0]
        at = U32.unpack_from(data, 24)[0]
        if status or flags & 0x18 or size != 40:
            return
        key = data[at:at + 40]
        if self.rss_key is None:
            self.rss_key = key
        elif self.rss_key != key:
            self.rss_key = ()

    def table_asked(self, data, flags):
        """F.5: where frames go, from the answer on at the latest."""
        size = U16.unpack_from(data, 12)[0]
        at = U32.unpack_from(data, 16)[0]
        table = self.tables[-1]
        if flags & 0x10 or (not flags & 2
                            and not U32.unpack_from(data, 8)[0] & 0xFF):
            table = ()
        elif not flags & 4:
            table = struct.unpack_from(f'<{size // 4}I', data, at)
        elif not table:
            self.table_lost = True       # kept from before it was off
        self.tables.append(table)

    # ---- Guest to host ---------------------------------------------------

    def from_guest(self, buf, have, channel):
        """One or more messages behind each other: E.9."""
        rndis = self.rndis
        total = len(buf)
        if not rndis.initialized:
            raise Violation('RNDIS data before INITIALIZE has succeeded.',
                            buf, 0, 'RNDIS message')
        if channel == 0 and self.session.leaving():
            raise Violation('RNDIS data after the guest began to leave (HALT '
                            'or REVOKE).', buf, 0, 'RNDIS message')
        if total > rndis.max_transfer:
            raise Violation(f'{total} bytes in one NVSP message; the host '
                            f'takes {rndis.max_transfer}.', buf, 0,
                            'RNDIS message')
        at = number = 0
        while at < total:
            if at and at % rndis.alignment:
                raise Violation(f'Message {number} starts at {at}, which is '
                                f'no multiple of {rndis.alignment}.', buf, at,
                                'RNDIS message')
            number += 1
            if number > rndis.max_packets:
                raise Violation(f'More than {rndis.max_packets} packets in '
                                'one message.', buf, at, 'RNDIS message')
            at = self.message(buf, have, at, total, False)
        self.tx.messages += 1
        self.count(channel, 0, number)

    def count(self, channel, way, frames):
        self.queues.setdefault(channel, [0, 0])[way] += frames

    # ---- Host to guest ---------------------------------------------------

    def begin_of_transfer(self, packet, channel):
        self.packet = packet
        self.train = None

    def end_of_transfer(self):
        self.rx.messages += 1
        if self.train is not None:
            raise Violation('A coalesced frame is not finished in its '
                            'transfer-pages packet.', self.packet.data, 20)

    def from_host(self, buf, have, channel):
        """One range, one message: E.10."""
        if not self.rndis.initialized:
            raise Violation('RNDIS data before INITIALIZE has succeeded.',
                            buf, 0, 'RNDIS message')
        if not self.rndis.may_deliver():
            state = 'after it was set to 0' if self.rndis.filter_was_on \
                else 'before one was set'
            raise Violation(f'A frame for the guest while the packet filter '
                            f'is 0, {state}.', buf, 0, 'RNDIS message')
        if channel and not self.rss_used:                             # D.7
            raise Violation(f'A frame on subchannel {channel} before the '
                            'guest configured RSS.', buf, 0, 'RNDIS message')
        self.channel = channel
        frames = self.rx.frames
        end = self.message(buf, have, 0, len(buf), True)
        self.count(channel, 1, self.rx.frames - frames)
        # A range may be rounded up to 8; more would be bytes of no message.
        if len(buf) - end > 7:
            raise Violation(f'The message has {end} bytes, its range '
                            f'{len(buf)}.', buf, 4, 'RNDIS message')

    # ---- One PACKET message ----------------------------------------------

    def message(self, buf, have, at, total, from_host):
        """Checks the message at 'at' and returns where it ends."""
        left = total - at
        if left < HEADER_BYTES:
            raise Violation(f'{left} bytes are left, too few for the '
                            f'{HEADER_BYTES} of a PACKET header.', buf, at,
                            'RNDIS message')
        (kind, length, data_at, size, oob_at, oob_size, oobs, info_at,
         info, vc, _) = PACKET_HEADER.unpack_from(buf, at)
        if have is not None and not visible(have, at, at + HEADER_BYTES):
            raise Violation('The trace does not have the header of this '
                            'message.', buf, at, 'RNDIS message')
        if kind != PACKET:
            raise Violation(f'RNDIS message 0x{kind:08x} among data; only '
                            'PACKET may be there.', buf, at, 'RNDIS message')
        if not HEADER_BYTES <= length <= left:
            raise Violation(f'The message says it has {length} bytes; there '
                            f'are {left}.', buf, at + 4, 'RNDIS message')
        if oob_at or oob_size or oobs:
            raise Violation('The out-of-band fields are not 0.', buf,
                            at + 16, 'RNDIS message')
        if vc:
            raise Violation(f'The VC handle is 0x{vc:x}, not 0.', buf,
                            at + 36, 'RNDIS message')
        end = at + length
        frame = at + 8 + data_at
        if data_at < 36:
            raise Violation(f'The data offset, {data_at}, points into the '
                            'header.', buf, at + 8, 'RNDIS message')
        if frame + size > end:
            raise Violation(f'The frame, {size} bytes at offset {data_at}, '
                            f'leaves the message of {length} bytes.', buf,
                            at + 8, 'RNDIS message')
        if not from_host and end - frame - size >= self.rndis.alignment:
            raise Violation(f'{end - frame - size} bytes after the frame are '
                            'more than padding to '
                            f'{self.rndis.alignment}.', buf, at + 4,
                            'RNDIS message')
        elements = None
        if info:
            if info_at != 36:
                raise Violation(f'Per-packet info starts at offset {info_at},'
                                ' not 36.', buf, at + 28, 'RNDIS message')
            if 36 + info > data_at:
                raise Violation(f'{info} bytes of per-packet info run into '
                                f'the data at offset {data_at}.', buf,
                                at + 32, 'RNDIS message')
            if have is not None and not visible(have, at, at + 44 + info):
                raise Violation('The trace does not have the per-packet info '
                                'of this message.', buf, at + 44,
                                'RNDIS message')
            elements = self.elements(buf, at + 44, info, from_host)
        elif info_at not in (0, 36):
            raise Violation(f'No per-packet info, but at offset {info_at}.',
                            buf, at + 28, 'RNDIS message')
        seen = frame + size
        if have is not None:
            seen = frame + min(size, self.session.snap)
            if seen > frame and not visible(have, frame, seen):
                raise Violation('The trace does not have the first '
                                f'{seen - frame} bytes of this frame.', buf,
                                frame, 'RNDIS message')
            for begin, stop in have:
                if begin <= frame < stop:
                    seen = min(stop, frame + size)
        if from_host:
            self.host_frame(buf, at, frame, size, seen, elements)
        else:
            self.guest_frame(buf, at, frame, size, seen, elements)
        return end

    def elements(self, buf, at, info, from_host):
        """E.4; Linux's parser never ends when these are wrong (H.1).
        Returns {type: (value, offset)}."""
        known = HOST_ELEMENTS if from_host else GUEST_ELEMENTS
        found = {}
        end = at + info
        while at < end:
            if end - at < 12:
                raise Violation(f'{end - at} bytes are left of the '
                                'per-packet info, less than an element.', buf,
                                at, 'RNDIS message')
            size, kind, offset = ELEMENT.unpack_from(buf, at)
            if size < 12 or size % 4 or size > end - at:
                raise Violation(f'A per-packet element of {size} bytes, '
                                f'{end - at} are left.', buf, at,
                                'RNDIS message')
            if kind not in known:
                side = 'host' if from_host else 'guest'
                raise Violation(f'Per-packet element 0x{kind:x} is not one a '
                                f'{side} sends.', buf, at + 4,
                                'RNDIS message')
            if offset != 12:
                raise Violation(f'The data of a per-packet element have '
                                f'offset {offset}, not 12.', buf, at + 8,
                                'RNDIS message')
            if size != 16:
                raise Violation(f'Per-packet element 0x{kind:x} has {size} '
                                'bytes, not 16.', buf, at, 'RNDIS message')
            if kind in found:
                raise Violation(f'Per-packet element 0x{kind:x} is there '
                                'twice.', buf, at, 'RNDIS message')
            found[kind] = (U32.unpack_from(buf, at + 12)[0], at + 12)
            at += size
        return found

    def frame(self, buf, at, frame, size, seen, elements, limit):
        """What holds for a frame in either direction."""
        if size < MIN_FRAME:
            raise Violation(f'A frame of {size} bytes, less than an Ethernet '
                            'header.', buf, at + 12, 'RNDIS message')
        if limit and size > limit:
            raise Violation(f'A frame of {size} bytes; the MTU allows '
                            f'{limit}.', buf, at + 12, 'RNDIS message')
        tagged = elements is not None and VLAN in elements
        if not tagged and seen - frame >= 14 \
                and buf[frame + 12] << 8 | buf[frame + 13] == ETH_VLAN:
            raise Violation('A frame carries its 802.1Q tag inside, with no '
                            'VLAN element.', buf, frame + 12,
                            'RNDIS message')
        if tagged and elements[VLAN][0] >> 16:                        # E.7
            raise Violation(f'VLAN value 0x{elements[VLAN][0]:08x} has '
                            'undefined bits.', buf, elements[VLAN][1],
                            'RNDIS message')

    # ---- Guest's frame ---------------------------------------------------

    def guest_frame(self, buf, at, frame, size, seen, elements):
        limit = self.session.frame_limit
        if elements is None:
            self.frame(buf, at, frame, size, seen, None, limit)
        else:
            self.frame(buf, at, frame, size, seen, elements,
                       0 if LSO in elements else limit)
            if CHECKSUM in elements:
                self.tx_checksum(*elements[CHECKSUM], buf, frame, size, seen)
            if LSO in elements:
                self.tx_lso(*elements[LSO], buf, frame, size, seen)
        self.tx.frames += 1
        self.tx.bytes += size

    def tx_checksum(self, value, where, buf, frame, size, seen):
        """E.5, guest to host."""
        def wrong(sentence):
            raise Violation(f'Checksum request 0x{value:08x}: {sentence}',
                            buf, where, 'RNDIS message')

        if value & ~TX_BITS:
            wrong('undefined bits.')
        if value & TX_IPV4 and value & TX_IPV6:
            wrong('both IPv4 and IPv6.')
        if value & TX_TCP and value & TX_UDP:
            wrong('both TCP and UDP.')
        if not value & (TX_TCP | TX_UDP | TX_IP):
            return
        if not value & (TX_IPV4 | TX_IPV6):
            wrong('neither IPv4 nor IPv6; hosts then ignore it.')
        if value & TX_IPV6 and value & TX_IP:
            wrong('IPv6 has no header checksum.')
        if self.announced is None:
            wrong('the guest never learned what the host can do.')
        # F.3: 2-bit fields TCP @4, UDP @6, IPv4 header @8
        flags = self.announced[0 if value & TX_IPV4 else 1]
        for bit, shift, name in ((TX_TCP, 4, 'TCP'), (TX_UDP, 6, 'UDP'),
                                 (TX_IP, 8, 'IPv4 header')):
            if value & bit and not flags >> shift & 3:
                wrong(f'the host did not announce {name}.')
        version = 4 if value & TX_IPV4 else 6
        protocol = TCP if value & TX_TCP else UDP if value & TX_UDP else None
        self.tx_headers(wrong, value >> 16 & 0x3FF, version, protocol, buf,
                        frame, size, seen, True)

    def tx_lso(self, value, where, buf, frame, size, seen):
        """E.6."""
        def wrong(sentence):
            raise Violation(f'LSO request 0x{value:08x}: {sentence}', buf,
                            where, 'RNDIS message')

        if not value >> 30 & 1:
            wrong('LSOv1, which hosts refuse.')
        if not value & 0xFFFFF:
            wrong('an MSS of 0.')
        version = 6 if value >> 31 else 4
        if self.announced is None or not self.announced[2 + (version == 6)]:
            wrong(f'the host did not announce LSOv2 for IPv{version}.')
        self.tx_headers(wrong, value >> 20 & 0x3FF, version, TCP, buf, frame,
                        size, seen, False)

    def tx_headers(self, wrong, offset, version, protocol, buf, frame, size,
                   seen, lengths):
        """Does the request go with the frame?  Offset 0 means standard
        header lengths (G.4).  'lengths' is False where the IP lengths are
        undefined."""
        least = 14 + (20 if version == 4 else 40)
        if protocol is not None and offset \
                and not least <= offset < size:
            wrong(f'a transport header at {offset} of {size} bytes.')
        if seen - frame < 64 and seen != frame + size:
            return                         # too little to find headers in
        h = headers(buf, frame, frame + size, seen, lengths)
        if h is None:
            if seen == frame + size:
                wrong('the frame is no IP packet.')
            return
        if h.version != version:
            wrong(f'the frame is IPv{h.version}.')
        if protocol is None:
            return
        if h.protocol != protocol:
            wrong(f'the IP protocol of the frame is {h.protocol}.')
        if offset and offset != h.l4 - frame:
            wrong(f'the transport header is at {h.l4 - frame}, not '
                  f'{offset}.')

    # ---- Host's frame ----------------------------------------------------

    def host_frame(self, buf, at, frame, size, seen, elements):
        limit = self.session.frame_limit
        if elements is None:
            if self.train is not None:
                raise Violation('An ordinary frame inside a coalesced one.',
                                buf, at, 'RNDIS message')
            self.frame(buf, at, frame, size, seen, None, limit)
            self.check_queue(None, buf, at)
            self.rx.frames += 1
            self.rx.bytes += size
            return
        coalesced = RSC in elements
        if coalesced:
            first, last = self.rsc(*elements[RSC], buf)
        elif self.train is not None:
            raise Violation('An ordinary frame inside a coalesced one.', buf,
                            at, 'RNDIS message')
        else:
            first = last = True
        self.rx.bytes += size
        if last:
            self.rx.frames += 1
        if not first:
            return
        self.frame(buf, at, frame, size, seen, elements,
                   0 if coalesced else limit)
        if CHECKSUM in elements:
            self.rx_checksum(*elements[CHECKSUM], buf, frame, size, seen,
                             coalesced)
        if HASH_INFO in elements:
            self.rx_hash(elements, buf, frame, size, seen)
        self.check_queue(elements[HASH][0] if HASH in elements else None, buf,
                         at)

    def check_queue(self, value, buf, at):
        """F.5: a frame takes the channel that the guest's table has for its
        hash, one without a hash the primary.  Until the host has announced
        that all channels are open, it may deliver there instead."""
        if self.table_lost or not self.rss_used:
            return
        wanted = set()
        for table in self.tables:
            wanted.add(table[value % len(table)]
                       if table and value is not None else 0)
        if not self.session.table_announced:
            wanted.add(0)
        if self.channel not in wanted:
            what = 'without a hash' if value is None \
                else f'of hash 0x{value:08x}'
            where = ' or '.join(str(channel) for channel in sorted(wanted))
            raise Violation(f'A frame {what} is on channel {self.channel}; it '
                            f'belongs on {where}.', buf, at, 'RNDIS message')

    def rsc(self, value, where, buf):
        """E.11: u8 version, u8 flags, u16 packet id.  Returns whether this
        is the first and whether it is the last fragment."""
        version, flags, ident = value & 0xFF, value >> 8 & 0xFF, value >> 16
        sentence = None
        if not self.session.capabilities & 1 << 7 or not self.rsc_on \
                or not self.rsc_announced:
            sentence = 'the guest did not agree to coalescing.'
        elif version != 1 or flags & ~7:
            sentence = f'version {version}, flags 0x{flags:x}.'
        elif flags & RSC_FIRST and self.train is not None:
            sentence = 'a first fragment before the last of the previous.'
        elif not flags & RSC_FIRST and self.train is None:
            sentence = 'a fragment without a first one.'
        elif not flags & RSC_FIRST and ident != self.train:
            sentence = f'packet id {ident} in the train of {self.train}.'
        if sentence:
            raise Violation(f'Coalescing element 0x{value:08x}: {sentence}',
                            buf, where, 'RNDIS message')
        self.train = None if flags & RSC_LAST else ident
        return bool(flags & RSC_FIRST), bool(flags & RSC_LAST)

    def rx_checksum(self, value, where, buf, frame, size, seen, coalesced):
        """E.5, host to guest; a "succeeded" is taken at its word."""
        def wrong(sentence):
            raise Violation(f'Checksum verdict 0x{value:08x}: {sentence}',
                            buf, where, 'RNDIS message')

        if value & ~RX_BITS:
            wrong('undefined bits.')
        if value & 7 & value >> 3:
            wrong('failed and succeeded at once.')
        tcp, udp = value & RX_TCP_GOOD, value & RX_UDP_GOOD
        if tcp and udp:
            wrong('both TCP and UDP succeeded.')
        whole = seen == frame + size and not coalesced
        if not (tcp or udp or value & RX_IP_GOOD):
            return
        h = headers(buf, frame, frame + size, seen)
        if h is None:
            if whole:
                wrong('the frame is no sane IP packet.')
            return
        if (tcp and h.protocol != TCP) or (udp and h.protocol != UDP):
            wrong(f'the IP protocol of the frame is {h.protocol}.')
        if value & RX_IP_GOOD and h.version == 4 \
                and not value & RX_IP_INVALID \
                and not coalesced and not ip_checksum_good(buf, h):
            wrong('the IPv4 header checksum of the frame is wrong.')
        if (tcp or udp) and not value & RX_TCP_INVALID and whole and h.whole \
                and not transport_checksum_good(buf, h):
            wrong(f'the {"TCP" if tcp else "UDP"} checksum of the frame is '
                  'wrong.')

    def rx_hash(self, elements, buf, frame, size, seen):
        """E.7: type 9 says how the value of type 8 was made."""
        info, where = elements[HASH_INFO]
        if info & ~0x1FF00 != 1:
            raise Violation(f'Hash info 0x{info:08x} has undefined bits or '
                            'is not Toeplitz.', buf, where, 'RNDIS message')
        if HASH not in elements:
            return
        kind = info & 0x1FF00
        if not self.rss_key or kind not in HASH_INPUT:
            return
        h = headers(buf, frame, frame + size, seen)
        if h is None:
            return
        right = rss_hash(self.rss_key, kind, buf, h, seen)
        value, where = elements[HASH]
        if right is not None and right != value:
            raise Violation(f'The RSS hash of type 0x{kind:x} is '
                            f'0x{value:08x}; the key of the guest gives '
                            f'0x{right:08x}.', buf, where, 'RNDIS message')
