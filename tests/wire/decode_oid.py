"""OIDs and their payloads (F).

A check takes (payload, session) and returns None, or what is wrong as a
sentence and the offset in the payload.
"""

import struct

U16 = struct.Struct('<H')
U32 = struct.Struct('<I')
U64 = struct.Struct('<Q')

FILTER_BITS = 0xFFF                    # F.6: 0x1 directed ... 0x800 MAC frame
OFFLOAD_SIZES = {1: 112, 2: 144, 3: 156}                              # F.3
OFFLOAD_PARAMETERS = 0xFC01020C
OFFLOAD_CAPABILITIES = 0xFC01020D
HASH_TYPES = 0x1FF00                                                  # F.5


def of(*sizes):
    """A payload of one of these sizes, whatever is in it."""
    text = ' or '.join(str(n) for n in sizes)

    def check(data, session):
        if len(data) not in sizes:
            return f'{len(data)} bytes instead of {text}.', 0
        return None
    return check


def anything(data, session):
    """The reference gives no layout."""
    return None


def at_most(limit):
    """A u32 that is not above 'limit'."""
    def check(data, session):
        if len(data) != 4:
            return f'{len(data)} bytes instead of 4.', 0
        value = U32.unpack(data)[0]
        if value > limit:
            return f'{value} is above {limit}.', 0
        return None
    return check


def oid_list(data, session):
    if not data or len(data) % 4:
        return f'{len(data)} bytes are no list of u32.', 0
    for at in range(0, len(data), 4):
        oid = U32.unpack_from(data, at)[0]
        if oid not in OIDS:
            return f'OID 0x{oid:08x} in the list is unknown.', at
    return None


def ascii_text(data, session):
    try:
        data.decode('ascii')
    except UnicodeDecodeError as error:
        return 'it is no ASCII.', error.start
    return None


def utf16_text(data, session):
    if len(data) % 2 or len(data) > 512:                    # F.2, friendly
        return f'{len(data)} bytes of UTF-16.', 0           # name
    try:
        data.decode('utf-16-le')
    except UnicodeDecodeError as error:
        return 'it is no UTF-16.', error.start
    return None


def packet_filter(data, session):
    if len(data) != 4:
        return f'{len(data)} bytes instead of 4.', 0
    value = U32.unpack(data)[0]
    if value & ~FILTER_BITS:
        return f'filter 0x{value:x} has undefined bits.', 0
    return None


def frame_size(data, session):
    """The largest L3 packet, F.1: the NIC's, or what the guest said in
    NDIS_CONFIG; 1500 where that was not between 1514 and 9216 (D.4)."""
    if len(data) != 4:
        return f'{len(data)} bytes instead of 4.', 0
    value = U32.unpack(data)[0]
    if not 68 <= value <= 65535:
        return f'an MTU of {value}.', 0
    known = {session.opened['mtu']}
    if session.ndis_mtu is not None:
        known.add(session.ndis_mtu - 14
                  if 1514 <= session.ndis_mtu <= 9216 else 1500)
    if value not in known:
        right = ' or '.join(str(mtu) for mtu in sorted(known))
        return f'an MTU of {value}, but it is {right}.', 0
    return None


def link_speed(data, session):
    """In units of 100 bit/s: F.1."""
    if len(data) != 4:
        return f'{len(data)} bytes instead of 4.', 0
    speed = session.opened.get('speed')
    value = U32.unpack(data)[0]
    if isinstance(speed, int) and value != min(speed // 100, 0xFFFFFFFF):
        return (f'{value} times 100 bit/s, but the session was opened with '
                f'{speed} bit/s.', 0)
    return None


def mac(data, session):
    if len(data) != 6:
        return f'{len(data)} bytes instead of 6.', 0
    if data[0] & 1:
        return 'a group address.', 0
    return None


def permanent_mac(data, session):
    wrong = mac(data, session)
    if wrong:
        return wrong
    known = session.opened['mac'].replace(':', '').replace('-', '').lower()
    if data.hex() != known:
        return f'{data.hex(":")}, but the NIC has {session.opened["mac"]}.', 0
    return None


def mac_list(data, session):
    if len(data) % 6:
        return f'{len(data)} bytes are no list of addresses.', 0
    return None


def header(data, kind, revisions, name):
    """Object header, F.3: u8 type, u8 revision, u16 size."""
    if len(data) < 4:
        return f'{len(data)} bytes are no {name}.', 0
    if data[0] != kind:
        return f'object type 0x{data[0]:02x} is not 0x{kind:02x}.', 0
    if data[1] not in revisions:
        return f'revision {data[1]} of the {name} is unknown.', 1
    return None


def offload_object(data, session):
    """F.3.  The size goes with the revision."""
    wrong = header(data, 0xA7, OFFLOAD_SIZES, 'offload object')
    if wrong:
        return wrong
    size = U16.unpack_from(data, 2)[0]
    if size != OFFLOAD_SIZES[data[1]] or len(data) != size:
        return (f'revision {data[1]} of the offload object has '
                f'{OFFLOAD_SIZES[data[1]]} bytes; the header says {size}, '
                f'there are {len(data)}.', 2)
    for at, bits in ((8, 10), (16, 10), (24, 8), (32, 8)):
        flags = U32.unpack_from(data, at)[0]
        if flags >> bits:
            return f'checksum flags 0x{flags:x} have undefined bits.', at
        if any(flags >> n & 3 == 3 for n in range(0, bits, 2)):
            return f'a field of checksum flags 0x{flags:x} is 3.', at
    for at, name in ((80, 'IPv4'), (92, 'IPv6')):
        encapsulation, most, least = struct.unpack_from('<III', data, at)
        if encapsulation & ~0xF:
            return f'LSOv2 {name} encapsulation 0x{encapsulation:x}.', at
        if encapsulation & 2 and not most:
            return f'LSOv2 {name} without a maximum size.', at + 4
        if encapsulation & 2 and least < 2:
            return f'LSOv2 {name} of {least} segments; guests assert 2.', \
                at + 8
    if U32.unpack_from(data, 104)[0] & ~0xF:
        return 'LSOv2 IPv6 options have undefined bits.', 104
    if data[1] >= 3 and (data[144] > 1 or data[145] > 1):
        return 'RSC is neither 0 nor 1.', 144
    return None


def offload_asked(data, session):
    """The input of the capability query: an object whose header counts."""
    wrong = header(data, 0xA7, OFFLOAD_SIZES, 'offload object')
    if wrong:
        return wrong
    size = U16.unpack_from(data, 2)[0]
    if size != OFFLOAD_SIZES[data[1]] or len(data) != size:
        return (f'revision {data[1]} of the offload object has '
                f'{OFFLOAD_SIZES[data[1]]} bytes; the header says {size}, '
                f'there are {len(data)}.', 2)
    return None


def offload_parameters(data, session):
    """F.4.  Revision 1 has 20 bytes, 2 has 22, 3 has 28; Linux sends
    revision 3 with 22 to an old host."""
    wrong = header(data, 0x80, (1, 2, 3), 'offload parameters')
    if wrong:
        return wrong
    size = U16.unpack_from(data, 2)[0]
    if (data[1], size) not in ((1, 20), (2, 22), (3, 22), (3, 28)) \
            or len(data) != size:
        return (f'revision {data[1]} with size {size} in {len(data)} bytes.',
                2)
    for at in range(4, 9):
        if data[at] > 4:
            return f'checksum parameter {data[at]}: it is 0 to 4.', at
    for at in (9, 11, 12) + ((22, 23) if size >= 28 else ()):
        if data[at] > 2:
            return f'parameter {data[at]}: it is 0, 1 or 2.', at
    return None


def rss_asked(data, session):
    """The input of the RSS capability query, F.5: 18 bytes, header only."""
    wrong = header(data, 0x88, (1, 2), 'RSS capability object')
    if wrong:
        return wrong
    size = U16.unpack_from(data, 2)[0]
    if len(data) != size or size not in (16, 18):
        return f'size {size} in {len(data)} bytes.', 2
    return None


def rss_capabilities(data, session):
    wrong = header(data, 0x88, (1, 2), 'RSS capability object')
    if wrong:
        return wrong
    size = U16.unpack_from(data, 2)[0]
    if len(data) != size or size not in (16, 18):
        return f'size {size} in {len(data)} bytes.', 2
    flags, _, queues = struct.unpack_from('<III', data, 4)
    # F.5: bit 0 Toeplitz, 0x3F00 types, 0x7F000000 abilities
    if flags & ~0x7F003F01:
        return f'capability flags 0x{flags:x} have undefined bits.', 4
    if not queues:
        return 'no receive queue at all.', 12
    if size >= 18 and not U16.unpack_from(data, 16)[0]:
        return 'no indirection entries: DPDK then uses no queue.', 16
    return None


def rss_parameters(data, session):
    """F.5.  The parts are where the offsets say."""
    wrong = header(data, 0x89, (1, 2), 'RSS parameters')
    if wrong:
        return wrong
    if len(data) < 40:
        return f'{len(data)} bytes, less than the 40 of its fields.', 0
    size, flags, _, info, table, _, at, key, _, key_at = \
        struct.unpack_from('<HHHIHHIHHI', data, 2)
    if not 40 <= size <= len(data):
        return f'header size {size} in {len(data)} bytes.', 2
    if flags & ~0x3F:
        return f'flags 0x{flags:x} have undefined bits.', 4
    if info & ~(HASH_TYPES | 1):
        return f'hash information 0x{info:x} has undefined bits.', 8
    if table % 4 or (table and (at < 40 or at + table > len(data))):
        return f'an indirection table of {table} bytes at {at}.', 12
    if key and (key_at < 40 or key_at + key > len(data)):
        return f'a key of {key} bytes at {key_at}.', 20
    if flags & 0x10 or not info & 1:                       # RSS off
        return None
    if not flags & 8 and key != 40:
        return f'a Toeplitz key of {key} bytes, not 40.', 20
    if not flags & 4 and not table:
        return 'no indirection table.', 12
    queues = session.rndis.data.rss_queues
    for entry in range(at, at + table, 4):
        queue = U32.unpack_from(data, entry)[0]
        if queues and queue >= queues:
            return f'an entry for queue {queue}; the host has {queues}.', \
                entry
    return None


def config_parameter(data, session):
    """F.6: name and value by offset and length."""
    if len(data) < 20:
        return f'{len(data)} bytes, less than 20.', 0
    name_at, name_len, kind, at, length = struct.unpack_from('<5I', data)
    if name_at < 20 or name_at + name_len > len(data) or name_len % 2:
        return f'a name of {name_len} bytes at {name_at}.', 0
    if at < 20 or at + length > len(data):
        return f'a value of {length} bytes at {at}.', 12
    if kind not in (0, 2):
        return f'type {kind} is neither 0, integer, nor 2, string.', 8
    try:
        name = data[name_at:name_at + name_len].decode('utf-16-le')
    except UnicodeDecodeError:
        return 'the name is no UTF-16.', name_at
    if name == 'NetworkAddress':
        value = data[at:at + length].decode('utf-16-le', 'replace')
        if kind != 2 or len(value) != 12 or \
                any(c not in '0123456789abcdefABCDEF' for c in value):
            return f'the address is {value!r}, not 12 hex digits.', at
    return None


def link_state(data, session):
    """F.6: 40 bytes."""
    wrong = header(data, 0x80, (1,), 'link state')
    if wrong:
        return wrong
    if len(data) != 40 or U16.unpack_from(data, 2)[0] != 40:
        return f'{len(data)} bytes instead of 40.', 2
    return None


def encapsulation(data, session):
    """F.6: 28 bytes."""
    wrong = header(data, 0xA8, (1,), 'encapsulation object')
    if wrong:
        return wrong
    if len(data) != 28 or U16.unpack_from(data, 2)[0] != 28:
        return f'{len(data)} bytes instead of 28.', 2
    return None


u32 = of(4)
u16_or_u32 = of(2, 4)
u32_or_u64 = of(4, 8)
u64 = of(8)

# F.1: name, check of a QUERY's answer, check of a SET's data; None where
# there is no such operation.
OIDS = {
    0x00010101: ('GEN_SUPPORTED_LIST', oid_list, None),
    0x00010102: ('GEN_HARDWARE_STATUS', u32, None),
    0x00010103: ('GEN_MEDIA_SUPPORTED', at_most(0), None),
    0x00010104: ('GEN_MEDIA_IN_USE', at_most(0), None),
    0x00010105: ('GEN_MAXIMUM_LOOKAHEAD', u32, None),
    0x00010106: ('GEN_MAXIMUM_FRAME_SIZE', frame_size, None),
    0x00010107: ('GEN_LINK_SPEED', link_speed, None),
    0x00010108: ('GEN_TRANSMIT_BUFFER_SPACE', u32, None),
    0x00010109: ('GEN_RECEIVE_BUFFER_SPACE', u32, None),
    0x0001010A: ('GEN_TRANSMIT_BLOCK_SIZE', u32, None),
    0x0001010B: ('GEN_RECEIVE_BLOCK_SIZE', u32, None),
    0x0001010C: ('GEN_VENDOR_ID', u32, None),
    0x0001010D: ('GEN_VENDOR_DESCRIPTION', ascii_text, None),
    0x0001010E: ('GEN_CURRENT_PACKET_FILTER', packet_filter, packet_filter),
    0x0001010F: ('GEN_CURRENT_LOOKAHEAD', u32, u32),
    0x00010110: ('GEN_DRIVER_VERSION', of(2), None),
    0x00010111: ('GEN_MAXIMUM_TOTAL_SIZE', u32, None),
    0x00010112: ('GEN_PROTOCOL_OPTIONS', None, u32),
    0x00010113: ('GEN_MAC_OPTIONS', u32, None),
    0x00010114: ('GEN_MEDIA_CONNECT_STATUS', at_most(1), None),
    0x00010115: ('GEN_MAXIMUM_SEND_PACKETS', u32, None),
    0x00010116: ('GEN_VENDOR_DRIVER_VERSION', u16_or_u32, None),
    0x00010118: ('GEN_NETWORK_LAYER_ADDRESSES', None, anything),
    0x00010119: ('GEN_TRANSPORT_HEADER_OFFSET', None, anything),
    0x00010203: ('GEN_RECEIVE_SCALE_CAPABILITIES', rss_capabilities, None),
    0x00010204: ('GEN_RECEIVE_SCALE_PARAMETERS', None, rss_parameters),
    0x00010206: ('GEN_MAX_LINK_SPEED', of(16), None),
    0x00010207: ('GEN_LINK_STATE', link_state, None),
    0x00010208: ('GEN_LINK_PARAMETERS', None, anything),
    0x00010209: ('GEN_INTERRUPT_MODERATION', anything, anything),
    0x0001021A: ('GEN_MACHINE_NAME', None, utf16_text),
    0x0001021B: ('GEN_RNDIS_CONFIG_PARAMETER', None, config_parameter),
    0x00020101: ('GEN_XMIT_OK', u32_or_u64, None),
    0x00020102: ('GEN_RCV_OK', u32_or_u64, None),
    0x00020103: ('GEN_XMIT_ERROR', u32_or_u64, None),
    0x00020104: ('GEN_RCV_ERROR', u32_or_u64, None),
    0x00020105: ('GEN_RCV_NO_BUFFER', u32_or_u64, None),
    0x0002020D: ('GEN_RCV_CRC_ERROR', u32, None),
    0x0002020E: ('GEN_TRANSMIT_QUEUE_LENGTH', u32, None),
    0x00020216: ('GEN_FRIENDLY_NAME', utf16_text, None),
    0x00020219: ('GEN_BYTES_RCV', u64, None),
    0x0002021A: ('GEN_BYTES_XMIT', u64, None),
    0x0002021B: ('GEN_RCV_DISCARDS', u64, None),
    0x0002021C: ('GEN_XMIT_DISCARDS', u64, None),
    0x0002021D: ('TCP_RSC_STATISTICS', anything, None),
    0x01010101: ('802_3_PERMANENT_ADDRESS', permanent_mac, None),
    0x01010102: ('802_3_CURRENT_ADDRESS', mac, None),
    0x01010103: ('802_3_MULTICAST_LIST', None, mac_list),
    0x01010104: ('802_3_MAXIMUM_LIST_SIZE', u32, None),
    0x01010105: ('802_3_MAC_OPTIONS', u32, None),
    0x0101010A: ('OFFLOAD_ENCAPSULATION', encapsulation, encapsulation),
    0x01010208: ('802_3_ADD_MULTICAST_ADDRESS', None, of(6)),
    0x01010209: ('802_3_DELETE_MULTICAST_ADDRESS', None, of(6)),
    0x01020101: ('802_3_RCV_ERROR_ALIGNMENT', u32, None),
    0x01020102: ('802_3_XMIT_ONE_COLLISION', u32, None),
    0x01020103: ('802_3_XMIT_MORE_COLLISIONS', u32, None),
    0xFC01020B: ('TCP_OFFLOAD_CURRENT_CONFIG', offload_object, None),
    0xFC01020C: ('TCP_OFFLOAD_PARAMETERS', None, offload_parameters),
    0xFC01020D: ('TCP_OFFLOAD_HARDWARE_CAPABILITIES', offload_object, None),
    0xFC01020E: ('TCP_CONNECTION_OFFLOAD_CURRENT_CONFIG', anything, None),
    0xFC01020F: ('TCP_CONNECTION_OFFLOAD_HARDWARE_CAPABILITIES', anything,
                 None),
}
for _n in range(0x00020201, 0x0002020D):       # bytes and frames per class
    OIDS[_n] = (f'GEN_STATISTICS_{_n:08X}', u32_or_u64, None)
for _n in range(0x01020201, 0x01020208):       # 802.3 statistics
    OIDS[_n] = (f'802_3_STATISTICS_{_n:08X}', u32, None)

# F.2, "Q with input": these two queries, and no other.
QUERY_INPUTS = {OFFLOAD_CAPABILITIES: offload_asked, 0x00010203: rss_asked}


def oid_name(oid):
    return f'{OIDS[oid][0] if oid in OIDS else "OID"} (0x{oid:08x})'
