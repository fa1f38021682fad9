"""The trace file: its header, its records, and records that were cut.

The format is specified in README.md.  Everything that is wrong, here and in
every other module, is told by raising a Violation: one sentence, and the
bytes it speaks of.
"""

import struct

FILE_HEADER = struct.Struct('<8sII')
RECORD = struct.Struct('<IHHIIQIIQQ')
PIECE = struct.Struct('<II')

SNAP_ALL = 0xFFFFFFFF

OPEN, GUEST, HOST, SECTION, PAGES, RECEIVE, CLOSE, EVENT = range(1, 9)

KIND_NAMES = {
    OPEN: 'session open',
    GUEST: 'guest->host ring packet',
    HOST: 'host->guest ring packet',
    SECTION: 'send-buffer bytes',
    PAGES: 'bytes behind GPA ranges',
    RECEIVE: 'receive-buffer bytes',
    CLOSE: 'session close',
    EVENT: 'event',
}


class Violation(Exception):
    """Bytes that the protocol, or the trace format, does not allow.

    'sentence' says what is wrong.  'data' is the buffer it was found in, 'at'
    the offset of the offending byte there, 'label' what that buffer is.
    """

    def __init__(self, sentence, data=b'', at=0, label='packet'):
        super().__init__(sentence)
        self.sentence = sentence
        self.data = data
        self.at = at
        self.label = label

    def dump(self, before=32, after=48):
        """The bytes around the place, 16 a line, the line marked."""
        if not len(self.data):
            return ''
        at = min(self.at, len(self.data) - 1)
        first = max(0, (at & ~15) - before)
        last = min(len(self.data), (at & ~15) + after)
        lines = [f'  {self.label}, byte {self.at} (0x{self.at:x}) of '
                 f'{len(self.data)}:']
        for line in range(first, last, 16):
            row = bytes(self.data[line:min(line + 16, last)])
            mark = '>' if line <= at < line + 16 else ' '
            lines.append(f' {mark}{line:04x}: {row.hex(" ")}')
        return '\n'.join(lines)


class Record:
    """One record; 'number' counts from 0, 'offset' is its place in the
    file."""

    __slots__ = ('number', 'offset', 'size', 'kind', 'channel', 'nic',
                 'session', 'time', 'length', 'original', 'position',
                 'payload')


class Reader:
    """Reads a trace from a binary stream, one record at a time."""

    def __init__(self, stream):
        self.stream = stream
        self.number = 0
        self.offset = 0
        self.current = None
        head = stream.read(FILE_HEADER.size)
        if len(head) < FILE_HEADER.size:
            raise Violation('The file is too short to be a trace: it has no '
                            '16-byte header.', head, 0, 'file')
        magic, version, self.snap = FILE_HEADER.unpack(head)
        if magic != b'NVSCTRC1':
            raise Violation('The file is no trace: it does not begin with '
                            'NVSCTRC1.', head, 0, 'file header')
        if version != 1:
            raise Violation(f'The trace has version {version}; this decoder '
                            'knows version 1.', head, 8, 'file header')
        self.offset = FILE_HEADER.size

    def __iter__(self):
        return self

    def __next__(self):
        self.current = None
        head = self.stream.read(48)
        if not head:
            raise StopIteration
        if len(head) < 48:
            raise Violation('The file ends inside a record header.', head,
                            len(head), 'record header')
        r = Record()
        (r.size, r.kind, r.channel, r.nic, r.session, r.time, r.length,
         r.original, r.position, reserved) = RECORD.unpack(head)
        r.number = self.number
        r.offset = self.offset
        r.payload = b''
        self.current = r
        if not 1 <= r.kind <= 8:
            raise Violation(f'Record kind {r.kind} is unknown.', head, 4,
                            'record header')
        if reserved:
            raise Violation('The reserved word of the record header is not '
                            '0.', head, 40, 'record header')
        if r.length > r.original:
            raise Violation(f'The record keeps {r.length} bytes of '
                            f'{r.original}.', head, 24, 'record header')
        padded = (r.length + 7) & ~7
        if r.size != 48 + padded:
            raise Violation(f'The record says it has {r.size} bytes, but a '
                            f'header and {r.length} bytes of payload, padded '
                            f'to 8, make {48 + padded}.', head, 0,
                            'record header')
        body = self.stream.read(padded)
        if len(body) < padded:
            raise Violation('The file ends inside a record payload.', body,
                            len(body), 'record payload')
        if padded != r.length:
            if any(body[r.length:]):
                raise Violation('The padding after the record payload is not '
                                'zero.', body, r.length, 'record payload')
            body = body[:r.length]
        r.payload = body
        self.number += 1
        self.offset += r.size
        return r


def assemble(record, snap):
    """The bytes of a record of kind 4, 5 or 6 at their original places.

    Returns (buffer, have).  'have' is None when every byte is there; else it
    is the ascending list of (begin, end) that are, and the rest reads as 0.
    """
    if record.length == record.original:
        return record.payload, None
    if snap == SNAP_ALL:
        raise Violation('The record is cut although the trace header says '
                        'that nothing is.', record.payload, 0, 'pieces')
    whole = bytearray(record.original)
    have = []
    at = end = 0
    data = record.payload
    while at < len(data):
        if len(data) - at < 8:
            raise Violation('A cut record ends inside the header of a piece.',
                            data, at, 'pieces')
        offset, size = PIECE.unpack_from(data, at)
        padded = (size + 7) & ~7
        if offset < end or not size or offset + size > record.original:
            raise Violation(f'A piece of {size} bytes at {offset} is empty, '
                            'out of order or outside the original '
                            f'{record.original} bytes.', data, at, 'pieces')
        if at + 8 + padded > len(data):
            raise Violation('A piece is longer than what is left of its '
                            'record.', data, at, 'pieces')
        if any(data[at + 8 + size:at + 8 + padded]):
            raise Violation('The padding after a piece is not zero.', data,
                            at + 8 + size, 'pieces')
        whole[offset:offset + size] = data[at + 8:at + 8 + size]
        if have and have[-1][1] == offset:
            have[-1] = (have[-1][0], offset + size)
        else:
            have.append((offset, offset + size))
        end = offset + size
        at += 8 + padded
    return bytes(whole), have


def join(first, second):
    """One byte stream from two (buffer, have) pairs: the mixed form of
    E.8, section bytes first."""
    buf = first[0] + second[0]
    if first[1] is None and second[1] is None:
        return buf, None
    shift = len(first[0])
    have = [(0, shift)] if first[1] is None else list(first[1])
    rest = [(0, len(second[0]))] if second[1] is None else second[1]
    for begin, end in rest:
        if have and have[-1][1] == begin + shift:
            have[-1] = (have[-1][0], end + shift)
        else:
            have.append((begin + shift, end + shift))
    return buf, have


def visible(have, begin, end):
    """Whether bytes [begin, end) were recorded."""
    if have is None:
        return True
    return any(a <= begin and end <= b for a, b in have)
