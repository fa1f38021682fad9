"""RNDIS control messages (E.1, E.2, E.12, F.2).

Offsets inside a message are relative to its byte 8 (E.1), so data at 28 have
offset 20 and data at 24 have offset 16.
"""

import struct

from decode_data import Data
from decode_oid import (OFFLOAD_CAPABILITIES, OFFLOAD_PARAMETERS, OIDS,
                        QUERY_INPUTS, oid_name, offload_object)
from decode_trace import Violation

U32 = struct.Struct('<I')
HEADER = struct.Struct('<II')

# E.1
PACKET = 0x00000001
INITIALIZE = 0x00000002
HALT = 0x00000003
QUERY = 0x00000004
SET = 0x00000005
RESET = 0x00000006
INDICATE_STATUS = 0x00000007
KEEPALIVE = 0x00000008
COMPLETE = 0x80000000       # the bit that makes the answer of a request

NAMES = {
    0x00000001: 'PACKET', 0x00000002: 'INITIALIZE', 0x00000003: 'HALT',
    0x00000004: 'QUERY', 0x00000005: 'SET', 0x00000006: 'RESET',
    0x00000007: 'INDICATE_STATUS', 0x00000008: 'KEEPALIVE',
    0x00000009: 'SET_EX', 0x80000002: 'INITIALIZE_CMPLT',
    0x80000004: 'QUERY_CMPLT', 0x80000005: 'SET_CMPLT',
    0x80000006: 'RESET_CMPLT', 0x80000008: 'KEEPALIVE_CMPLT',
    0x80000009: 'SET_EX_CMPLT', 0xFF000001: 'BUS',
}

# E.2, sizes without data
GUEST_SIZES = {INITIALIZE: 24, HALT: 12, QUERY: 28, SET: 28, RESET: 12,
               KEEPALIVE: 12}
HOST_SIZES = {0x80000002: 52, 0x80000004: 24, 0x80000005: 16,
              0x80000006: 16, 0x80000008: 16, INDICATE_STATUS: 20}

# E.12
STATUSES = {
    0x00000000: 'success', 0x00000103: 'pending',
    0x00010001: 'not recognised', 0x4001000B: 'media connect',
    0x4001000C: 'media disconnect', 0x40010013: 'link speed change',
    0x40010018: 'network change',
    0x40020006: 'task offload current config',
    0x80000005: 'buffer overflow', 0xC0000001: 'failure',
    0xC000009A: 'resources', 0xC00000BB: 'not supported',
    0xC0010002: 'closing', 0xC0010004: 'bad version',
    0xC0010006: 'adapter not found', 0xC001000D: 'reset in progress',
    0xC001000F: 'invalid packet', 0xC0010012: 'adapter not open',
    0xC0010014: 'invalid length', 0xC0010015: 'invalid data',
    0xC0010016: 'buffer too short', 0xC0010017: 'invalid OID',
}

# E.12, the ones with an INDICATE_STATUS: bytes of data, None for any number,
# 'offload' for the object of F.3.
INDICATIONS = {0x4001000B: 0, 0x4001000C: 0, 0x40010013: 4,
               0x40010018: None, 0x40020006: 'offload'}

PACKET_FILTER = 0x0001010E          # F.1
FRAME_SIZE = 0x00010106
RSS_CAPABILITIES = 0x00010203
RSS_PARAMETERS = 0x00010204

# One list of what was asked, in order, has to stay small in a long trace.
OPERATIONS_KEPT = 4096


class Asked:
    """A control request of the guest without its answer."""

    __slots__ = ('type', 'oid', 'data', 'operation')

    def __init__(self, kind, oid=0, data=b'', operation=None):
        self.type = kind
        self.oid = oid
        self.data = data
        self.operation = operation


class Rndis:
    def __init__(self, session):
        self.session = session
        self.data = Data(session, self)
        self.asked = {}                  # request id -> Asked
        self.reset_asked = 0
        self.initialize_seen = False
        self.initialized = False
        self.halted = False
        self.max_packets = 1
        self.alignment = 1
        self.max_transfer = 0
        self.filter = 0                  # as last answered
        self.filter_sets = []            # (id, value) that wait for answers
        self.filter_was_on = False
        self.operations = []             # dicts, for the report
        self.operations_dropped = 0
        self.indications = []
        self.indicated = 0

    # ---- Guest to host ---------------------------------------------------

    def from_guest(self, buf, have, control, channel):
        """The bytes of one 107 of the guest."""
        if not control:
            self.data.from_guest(buf, have, channel)
            return
        if len(buf) < 12:
            raise Violation(f'An RNDIS control message of {len(buf)} bytes.',
                            buf, 0, 'RNDIS message')
        kind, length = HEADER.unpack_from(buf)
        if kind not in GUEST_SIZES:
            raise Violation(f'RNDIS message 0x{kind:08x} '
                            f'({NAMES.get(kind, "unknown")}) is not a '
                            'control message that a guest sends.', buf, 0,
                            'RNDIS message')
        name = NAMES[kind]
        if length != len(buf):
            raise Violation(f'{name} says it has {length} bytes, but there '
                            f'are {len(buf)}.', buf, 4, 'RNDIS message')
        fixed = GUEST_SIZES[kind]
        if length < fixed or (length > fixed and kind not in (QUERY, SET)):
            raise Violation(f'{name} has {length} bytes instead of {fixed}.',
                            buf, 4, 'RNDIS message')
        if self.max_transfer and length > self.max_transfer:
            raise Violation(f'{name} has {length} bytes; the host takes '
                            f'{self.max_transfer} at a time.', buf, 4,
                            'RNDIS message')
        if kind == INITIALIZE:
            if self.initialize_seen:
                raise Violation('A second INITIALIZE in one session.', buf, 0,
                                'RNDIS message')
        elif not self.initialized:
            raise Violation(f'{name} before INITIALIZE has succeeded.', buf,
                            0, 'RNDIS message')
        if self.halted:
            raise Violation(f'{name} after HALT.', buf, 0, 'RNDIS message')
        if self.session.recv_revoked and kind != HALT:
            raise Violation(f'{name} after REVOKE_RECV_BUF: there is no '
                            'buffer for the answer.', buf, 0,
                            'RNDIS message')
        request = U32.unpack_from(buf, 8)[0]
        if self.session.say:
            self.session.say(f'  {name} request id {request}'
                             + (f' {oid_name(U32.unpack_from(buf, 12)[0])}'
                                if kind in (QUERY, SET) else ''))
        if kind == HALT:                              # E.2: has no answer
            self.halted = True
            return
        if kind == RESET:                             # E.2: has no id
            self.reset_asked += 1
            return
        if request in self.asked:
            raise Violation(f'Request id {request} is still in use by a '
                            f'{NAMES[self.asked[request].type]} without '
                            'answer.', buf, 8, 'RNDIS message')
        if kind == INITIALIZE:
            self.initialize(buf, request)
        elif kind in (QUERY, SET):
            self.query_or_set(buf, kind, request)
        else:
            self.asked[request] = Asked(kind)

    def initialize(self, buf, request):
        major, minor, most = struct.unpack_from('<III', buf, 12)
        if (major, minor) != (1, 0):                                  # E.1
            raise Violation(f'RNDIS version {major}.{minor}; there is only '
                            '1.0.', buf, 12, 'INITIALIZE')
        if not most:
            raise Violation('A max transfer size of 0.', buf, 20,
                            'INITIALIZE')
        self.initialize_seen = True
        self.asked[request] = Asked(INITIALIZE)

    def query_or_set(self, buf, kind, request):
        name = NAMES[kind]
        oid, size, offset, vc = struct.unpack_from('<IIII', buf, 12)
        if oid not in OIDS:
            raise Violation(f'OID 0x{oid:08x} is unknown.', buf, 12, name)
        if offset != 20:                         # E.2: 20 also without data
            raise Violation(f'The information buffer of {oid_name(oid)} has '
                            f'offset {offset}, not 20.', buf, 20, name)
        if 28 + size != len(buf):
            raise Violation(f'{name} {oid_name(oid)}: 28 bytes and {size} of '
                            f'data are not {len(buf)}.', buf, 16, name)
        if vc:
            raise Violation(f'The VC handle is 0x{vc:x}, not 0.', buf, 24,
                            name)
        data = bytes(buf[28:])
        _, query, set_ = OIDS[oid]
        check = QUERY_INPUTS.get(oid, no_data) if kind == QUERY else set_
        if (query if kind == QUERY else set_) is None:
            raise Violation(f'{oid_name(oid)} has no {name}.', buf, 12, name)
        wrong = check(data, self.session)
        if wrong:
            raise Violation(f'{name} {oid_name(oid)}: {wrong[0]}', buf,
                            28 + wrong[1], name)
        operation = {'operation': name.lower(), 'oid': f'0x{oid:08x}',
                     'name': OIDS[oid][0], 'status': None}
        if kind == SET and len(data) == 4:
            operation['value'] = U32.unpack(data)[0]
        if len(self.operations) < OPERATIONS_KEPT:
            self.operations.append(operation)
        else:
            self.operations_dropped += 1
        self.asked[request] = Asked(kind, oid, data, operation)
        if kind == SET:
            self.apply_set(request, oid, data)

    def apply_set(self, request, oid, data):
        """What a SET allows the host from now on, before its answer."""
        if oid == PACKET_FILTER:
            value = U32.unpack(data)[0]
            self.filter_sets.append((request, value))
            self.filter_was_on |= value != 0
        elif oid == RSS_PARAMETERS:
            self.data.rss_set(data)

    # ---- Host to guest ---------------------------------------------------

    def begin_of_transfer(self, packet, channel):
        self.data.begin_of_transfer(packet, channel)

    def end_of_transfer(self, control):
        if not control:
            self.data.end_of_transfer()

    def from_host(self, buf, have, control, channel):
        """The bytes of one range of a transfer-pages packet: one message."""
        if not control:
            self.data.from_host(buf, have, channel)
            return
        kind, length = HEADER.unpack_from(buf)
        if kind not in HOST_SIZES:
            raise Violation(f'RNDIS message 0x{kind:08x} '
                            f'({NAMES.get(kind, "unknown")}) is not a '
                            'control message that a host sends.', buf, 0,
                            'RNDIS message')
        name = NAMES[kind]
        # A range may be rounded up to 8; more would be bytes of no message.
        if length > len(buf) or len(buf) - length > 7:
            raise Violation(f'{name} says it has {length} bytes, its range '
                            f'has {len(buf)}.', buf, 4, 'RNDIS message')
        fixed = HOST_SIZES[kind]
        if length < fixed or (length > fixed
                              and kind not in (0x80000004, INDICATE_STATUS)):
            raise Violation(f'{name} has {length} bytes instead of {fixed}.',
                            buf, 4, 'RNDIS message')
        if kind == INDICATE_STATUS:
            self.indicate(buf, length)
            return
        if kind == 0x80000006:
            self.reset_complete(buf)
            return
        request, status = struct.unpack_from('<II', buf, 8)
        asked = self.asked.pop(request, None)
        if asked is None:
            raise Violation(f'{name} answers request {request}, which is not '
                            'outstanding.', buf, 8, name)
        if kind != asked.type | COMPLETE:
            raise Violation(f'Request {request} is a {NAMES[asked.type]}, '
                            f'but {name} answers it.', buf, 0, name)
        if status not in STATUSES:
            raise Violation(f'Status 0x{status:08x} is unknown.', buf, 12,
                            name)
        if self.session.say:
            what = f' {oid_name(asked.oid)}' if asked.oid else ''
            self.session.say(f'  {name} request id {request}{what} '
                             f'{STATUSES[status]}')
        if asked.operation is not None:
            asked.operation['status'] = f'0x{status:08x}'
        if kind == 0x80000002:
            self.initialize_complete(buf, status)
        elif kind == 0x80000004:
            self.query_complete(buf, length, status, asked)
        elif kind == 0x80000005:
            self.set_complete(request, status, asked)

    def initialize_complete(self, buf, status):
        if status:
            return
        (major, minor, flags, medium, packets, transfer, shift, af_offset,
         af_size) = struct.unpack_from('<9I', buf, 16)
        opened = self.session.opened
        facts = (
            ((major, minor) == (1, 0), 16,
             f'RNDIS version {major}.{minor}; there is only 1.0.'),
            (flags == 1, 24, f'Device flags {flags}: not 1, connectionless.'),
            (medium == 0, 28, f'Medium {medium} is not 0, 802.3.'),
            (packets >= 1, 32, 'Not even one packet per message.'),
            (packets == opened['packets_per_message'], 32,
             f'{packets} packets per message, but the session was opened '
             f'with {opened["packets_per_message"]}.'),
            (transfer >= 44 + 14, 36,
             f'A max transfer size of {transfer} takes no frame.'),
            (shift == opened['alignment_shift'], 40,
             f'Alignment shift {shift}, but the session was opened with '
             f'{opened["alignment_shift"]}.'),
            (shift <= 12, 40, f'Alignment shift {shift} is over a page.'),
            (af_offset == 0 and af_size == 0, 44,
             'There is an address-family list.'),
        )
        for good, at, sentence in facts:
            if not good:
                raise Violation(sentence, buf, at, 'INITIALIZE_CMPLT')
        self.initialized = True
        self.max_packets = packets
        self.max_transfer = transfer
        self.alignment = 1 << shift

    def query_complete(self, buf, length, status, asked):
        size, offset = struct.unpack_from('<II', buf, 16)
        name = oid_name(asked.oid)
        if 24 + size != length:
            raise Violation(f'QUERY_CMPLT of {name}: 24 bytes and {size} of '
                            f'data are not {length}.', buf, 16,
                            'QUERY_CMPLT')
        if offset != 16 and (size or offset):    # F.1: without data 16 or 0
            raise Violation(f'The data of {name} have offset {offset}, not '
                            '16.', buf, 20, 'QUERY_CMPLT')
        if status:
            if size:                                                # F.1
                raise Violation(f'A failed QUERY of {name} carries {size} '
                                'bytes of data.', buf, 16, 'QUERY_CMPLT')
            return
        data = bytes(buf[24:24 + size])
        wrong = OIDS[asked.oid][1](data, self.session)
        if wrong:
            raise Violation(f'QUERY_CMPLT {name}: {wrong[0]}', buf,
                            24 + wrong[1], 'QUERY_CMPLT')
        if size == 4 and asked.operation is not None:
            asked.operation['value'] = U32.unpack(data)[0]
        if asked.oid == FRAME_SIZE:
            self.session.raise_frame_limit(U32.unpack(data)[0] + 14)
        elif asked.oid == OFFLOAD_CAPABILITIES:
            if data[1] > asked.data[1]:
                raise Violation(f'The answer has revision {data[1]}, the '
                                f'guest asked for {asked.data[1]}.', buf, 25,
                                'QUERY_CMPLT')
            self.data.capabilities(data)
        elif asked.oid == RSS_CAPABILITIES:
            self.data.rss_queues = U32.unpack_from(data, 12)[0]

    def set_complete(self, request, status, asked):
        if asked.oid == PACKET_FILTER:
            value = U32.unpack(asked.data)[0]
            self.filter_sets.remove((request, value))
            if not status:
                self.filter = value
        elif asked.oid == OFFLOAD_PARAMETERS and not status:
            self.data.offload_parameters(asked.data)
        elif asked.oid == RSS_PARAMETERS:
            self.data.rss_answered(asked.data, status)

    def reset_complete(self, buf):
        if not self.reset_asked:
            raise Violation('RESET_CMPLT without a RESET.', buf, 0,
                            'RESET_CMPLT')
        self.reset_asked -= 1
        status, addressing = struct.unpack_from('<II', buf, 8)
        if status not in STATUSES or addressing > 1:
            raise Violation(f'RESET_CMPLT with status 0x{status:08x}, '
                            f'addressing reset {addressing}.', buf, 8,
                            'RESET_CMPLT')

    def indicate(self, buf, length):
        status, size, offset = struct.unpack_from('<III', buf, 8)
        if not self.initialized:
            raise Violation('INDICATE_STATUS before INITIALIZE_CMPLT.', buf,
                            0, 'INDICATE_STATUS')
        if status not in INDICATIONS:
            raise Violation(f'INDICATE_STATUS of 0x{status:08x} '
                            f'({STATUSES.get(status, "unknown")}) is not one '
                            'a host sends.', buf, 8, 'INDICATE_STATUS')
        name = STATUSES[status]
        if 20 + size != length:
            raise Violation(f'INDICATE_STATUS {name}: 20 bytes and {size} of '
                            f'data are not {length}.', buf, 12,
                            'INDICATE_STATUS')
        if offset != 12 and (size or offset):
            raise Violation(f'The data of INDICATE_STATUS {name} have offset '
                            f'{offset}, not 12.', buf, 16,
                            'INDICATE_STATUS')
        expected = INDICATIONS[status]
        if expected == 'offload':
            wrong = offload_object(bytes(buf[20:20 + size]), self.session)
            if wrong:
                raise Violation(f'INDICATE_STATUS {name}: {wrong[0]}', buf,
                                20 + wrong[1], 'INDICATE_STATUS')
        elif expected is not None and size != expected:
            raise Violation(f'INDICATE_STATUS {name} carries {size} bytes, '
                            f'not {expected}.', buf, 12, 'INDICATE_STATUS')
        if self.session.say:
            self.session.say(f'  INDICATE_STATUS {name}')
        self.indicated += 1
        if len(self.indications) < OPERATIONS_KEPT:
            self.indications.append(name)

    # ---- State that others ask for ---------------------------------------

    def may_deliver(self):
        """F.6: the filter says whether the host may hand frames over.  A SET
        counts from the moment the host has read it when it opens the filter,
        and from its answer when it closes it: in between the host may have
        put frames into the ring that it had begun before."""
        return self.filter != 0 or any(v for _, v in self.filter_sets)

    def unclean(self):
        why = []
        if self.asked or self.reset_asked:
            why.append(f'{len(self.asked) + self.reset_asked} RNDIS requests '
                       'were not answered')
        if self.filter or self.filter_sets:
            why.append('the packet filter was not set back to 0')
        if self.initialized and not self.halted:
            why.append('the guest sent no HALT')
        return why


def no_data(data, session):
    if data:
        return (f'{len(data)} bytes of input for a query that has none.', 0)
    return None
