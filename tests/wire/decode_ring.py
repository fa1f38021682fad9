"""VMBus ring packets (A).

A Ring follows one direction of one channel through a session and knows where
the next packet has to start; packet() takes one packet apart.
"""

import struct

from decode_trace import Violation

DESCRIPTOR = struct.Struct('<HHHHQ')   # A.4: type offset8 len8 flags trans_id
RANGE = struct.Struct('<II')           # A.5
U32 = struct.Struct('<I')
U64 = struct.Struct('<Q')

# A.5
IN_BAND = 6
TRANSFER_PAGES = 7
GPA_DIRECT = 9
COMPLETION = 11

TYPE_NAMES = {
    0: 'invalid', 1: 'synch', 2: 'add transfer page set',
    3: 'remove transfer page set', 4: 'establish GPADL',
    5: 'tear down GPADL', 6: 'in-band', 7: 'transfer pages', 8: 'data GPADL',
    9: 'GPA direct', 10: 'cancel', 11: 'completion',
    12: 'data using additional packet', 13: 'additional data',
}

# A.5, column "used by netvsc"
GUEST_TYPES = frozenset((IN_BAND, GPA_DIRECT, COMPLETION))
HOST_TYPES = frozenset((IN_BAND, TRANSFER_PAGES, COMPLETION))

# A.12: Linux copies a packet of the host into a buffer of that many bytes,
# and loses its place in the ring when one is longer.
HOST_PACKET_MAX = 4624


class Packet:
    """One ring packet.  'payload' is the offset of the payload in 'data',
    'end' where it ends; 'ranges' is None or a list of (count, offset)."""

    __slots__ = ('data', 'type', 'flags', 'trans_id', 'payload', 'end',
                 'ranges')


class Ring:
    """One direction of one channel."""

    __slots__ = ('size', 'next', 'from_host', 'types', 'packets', 'bytes')

    def __init__(self, size, from_host):
        self.size = size
        self.next = 0
        self.from_host = from_host
        self.types = HOST_TYPES if from_host else GUEST_TYPES
        self.packets = 0
        self.bytes = 0

    def packet(self, record):
        """Checks what A.3 to A.7 and A.12 say about every packet, and
        returns its parts."""
        data = record.payload
        if record.length != record.original:
            raise Violation('A ring packet is never cut, but only '
                            f'{record.length} of its {record.original} bytes '
                            'are there.', data)
        if len(data) < 24:
            raise Violation(f'A ring packet has {len(data)} bytes, less than '
                            'a descriptor (16) and a trailer (8).', data)
        p = Packet()
        p.data = data
        p.type, offset8, len8, p.flags, p.trans_id = \
            DESCRIPTOR.unpack_from(data)
        if offset8 < 2:
            raise Violation(f'offset8 is {offset8}: the payload would begin '
                            'inside the 16-byte descriptor.', data, 2)
        if len8 < offset8:
            raise Violation(f'len8 is {len8}, less than offset8, {offset8}.',
                            data, 4)
        if len8 * 8 + 8 != len(data):
            raise Violation(f'len8 says {len8 * 8} bytes, with the trailer '
                            f'{len8 * 8 + 8}, but the record has '
                            f'{len(data)}.', data, 4)
        # A.3: two words stay free, or a full ring would look empty.
        if len8 * 8 > self.size - 16:
            raise Violation(f'A packet of {len8 * 8} bytes does not fit in a '
                            f'ring of {self.size}.', data, 4)
        if record.position != self.next:
            raise Violation('The packet starts at ring offset '
                            f'{record.position}, but the previous one ended '
                            f'at {self.next}.', data)
        trailer = U64.unpack_from(data, len8 * 8)[0]
        if trailer != self.next << 32:                         # A.6
            raise Violation(f'The trailer is 0x{trailer:016x}; the packet '
                            f'starts at {self.next}, so it has to be '
                            f'0x{self.next << 32:016x}.', data, len8 * 8)
        if p.flags & ~1:                                       # A.4
            raise Violation(f'Descriptor flags are 0x{p.flags:x}; only bit 0 '
                            'is defined.', data, 6)
        if p.type not in self.types:
            name = TYPE_NAMES.get(p.type, 'unknown')
            side = 'host' if self.from_host else 'guest'
            raise Violation(f'Packet type {p.type} ({name}) is not one a '
                            f'{side} sends to a NIC.', data)
        p.payload = offset8 * 8
        p.end = len8 * 8
        p.ranges = None
        if p.type == TRANSFER_PAGES:
            transfer_ranges(p)
        elif p.type == GPA_DIRECT:
            page_ranges(p)
        elif offset8 != 2:                                     # A.5
            raise Violation(f'offset8 of an {TYPE_NAMES[p.type]} packet is '
                            f'{offset8}, not 2.', data, 2)
        if p.type == COMPLETION and p.flags:                   # A.5
            raise Violation('A completion asks for a completion.', data, 6)
        if self.from_host and p.end > HOST_PACKET_MAX:         # A.12
            raise Violation(f'A packet of the host has {p.end} bytes; Linux '
                            f'reads at most {HOST_PACKET_MAX}.', data, 4)
        self.next = (self.next + len(data)) % self.size
        self.packets += 1
        self.bytes += len(data)
        return p


def transfer_ranges(p):
    """Transfer pages, A.5: set id @16, range count @20, ranges @24.  @18
    is not validated: some write it as part of a u16 they do not clear."""
    data = p.data
    if p.payload < 24:
        raise Violation('A transfer-pages packet is too short for its '
                        'header.', data, 2)
    count = U32.unpack_from(data, 20)[0]
    if not count:
        raise Violation('A transfer-pages packet has no range.', data, 20)
    if p.payload != 24 + 8 * count:
        raise Violation(f'{count} ranges need offset8 {3 + count}, not '
                        f'{p.payload // 8}.', data, 20)
    p.ranges = list(RANGE.iter_unpack(data[24:p.payload]))


def page_ranges(p):
    """GPA direct, A.5: range count @20, ranges @24, each with the page
    numbers it covers; the payload follows at once."""
    data = p.data
    if p.payload < 24:
        raise Violation('A GPA-direct packet is too short for its header.',
                        data, 2)
    count = U32.unpack_from(data, 20)[0]
    if not count:
        raise Violation('A GPA-direct packet has no range.', data, 20)
    at = 24
    p.ranges = ranges = []
    for number in range(count):
        if at + 8 > p.payload:
            raise Violation(f'GPA range {number} of {count} begins at {at}, '
                            f'but the payload at {p.payload}.', data, 20)
        length, offset = RANGE.unpack_from(data, at)
        if not length:
            raise Violation(f'GPA range {number} has no bytes.', data, at)
        if offset > 4095:
            raise Violation(f'GPA range {number} starts {offset} bytes into '
                            'its first page.', data, at + 4)
        pages = (offset + length + 4095) // 4096
        if at + 8 + 8 * pages > p.payload:
            raise Violation(f'GPA range {number} needs {pages} page numbers, '
                            'which run into the payload.', data, at)
        for page in range(at + 8, at + 8 + 8 * pages, 8):
            if U64.unpack_from(data, page)[0] >> 52:
                raise Violation('A page number is not an address shifted by '
                                '12.', data, page)
        ranges.append((length, offset))
        at += 8 + 8 * pages
    if at != p.payload:
        raise Violation(f'The GPA ranges end at {at}, but offset8 points to '
                        f'{p.payload}.', data, 2)
