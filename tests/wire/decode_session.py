"""One NIC between the guest's open and its close: its rings, who waits for a
completion, and who owns which section and sub-allocation.

Trace order is the order in which the host took packets from one ring and put
them into the other, so everything the guest answers to was recorded before
the answer; only packets on different channels may overtake each other.
"""

import struct

from decode_nvsp import (CAPABILITY_RSC, FLAGGED, GUEST_MESSAGES, HOST_REPLIES,
                         INIT, LENGTHS, MESSAGE_BYTES, NAMES, NO_SECTION,
                         RANGES_MAX, RANGES_MAX_RSC, RECV_BUFFER_ID, REPLIES,
                         RNDIS_PKT, RNDIS_PKT_COMPLETE, SWITCH_DATA_PATH, U16,
                         UNFLAGGED, Setup)
from decode_ring import (COMPLETION, GPA_DIRECT, IN_BAND, TRANSFER_PAGES, U32,
                         Ring)
from decode_rndis import Rndis
from decode_trace import (PAGES, RECEIVE, SECTION, Violation, assemble, join)

RNDIS_PKT_MESSAGE = struct.Struct('<IIII')


class Request:
    """A guest packet that waits for its completion."""

    __slots__ = ('type', 'section', 'unread', 'asked')

    def __init__(self, kind, asked=0):
        self.type = kind
        self.section = NO_SECTION
        self.unread = False     # the trace lacks the bytes behind its ranges
        self.asked = asked


class Pending:
    """A packet whose data records are still to come."""

    __slots__ = ('expected', 'control', 'channel', 'request', 'parts', 'data')

    def __init__(self, expected, control, channel, request, data):
        self.expected = expected     # list of (kind, position, bytes)
        self.control = control
        self.channel = channel
        self.request = request       # None for a host packet
        self.parts = []
        self.data = data


class Session(Setup):
    def __init__(self, nic, number, opened, snap, say=None):
        super().__init__(opened)
        self.nic = nic
        self.number = number
        self.snap = snap
        self.say = say
        self.close_reason = None
        self.pending = None
        self.rings = {False: {}, True: {}}    # from host?: channel -> Ring
        self.requests = {}        # (channel, guest's trans id) -> Request
        self.transfers = {}       # (channel, host's trans id) -> indices
        self.suballoc_busy = set()
        self.section_busy = set()
        self.rndis = Rndis(self)

        self.requests_issued = self.requests_returned = 0
        self.messages = self.messages_completed = 0
        self.sections_issued = self.sections_returned = 0
        self.suballocs_issued = self.suballocs_returned = 0
        self.transfers_issued = self.transfers_returned = 0
        self.transfers_failed = 0

    # ---- Records ---------------------------------------------------------

    def settle(self):
        """Called when another record follows than the data records that a
        packet still needs.  GPA ranges are memory of a process that may have
        died before the host could read them; then the trace has no record
        for them, and the host may not call the message good (see
        complete_rndis())."""
        pending = self.pending
        self.pending = None
        if pending.request and pending.expected[0][0] == PAGES:
            pending.request.unread = True
            return
        raise Violation(f'The records with the data of the previous packet '
                        f'are missing: {len(pending.expected)} to come.',
                        pending.data)

    def ring(self, channel, from_host, record):
        """The ring, which starts at its first packet."""
        if channel >= self.channels:
            raise Violation(f'Channel {channel} was never granted; the NIC '
                            f'has {self.channels}.', record.payload)
        ring = Ring(self.opened['ring_bytes'], from_host)
        self.rings[from_host][channel] = ring
        return ring

    def guest_packet(self, record):
        """Kind 2: what the host took from the guest->host ring."""
        if self.pending is not None:
            self.settle()
        channel = record.channel
        ring = self.rings[False].get(channel) \
            or self.ring(channel, False, record)
        p = ring.packet(record)
        if p.type == COMPLETION:
            self.guest_completion(p, channel)
            return
        length = p.end - p.payload
        if length < 4:
            raise Violation('The packet has no room for an NVSP message '
                            'type.', p.data, 4)
        kind = U32.unpack_from(p.data, p.payload)[0]
        if kind not in LENGTHS:
            raise Violation(f'NVSP message {kind} '
                            f'({NAMES.get(kind, "unknown")}) is not one a '
                            'guest sends.', p.data, p.payload)
        name = NAMES[kind]
        if not LENGTHS[kind] <= length <= MESSAGE_BYTES:
            raise Violation(f'{name} has {length} bytes; it needs '
                            f'{LENGTHS[kind]} and a message is never over '
                            f'{MESSAGE_BYTES}.', p.data, 4)
        if kind in FLAGGED and not p.flags:
            raise Violation(f'{name} does not ask for the completion that it '
                            'needs.', p.data, 6)
        if kind in UNFLAGGED and p.flags:
            raise Violation(f'{name} asks for a completion, but there is '
                            'none for it.', p.data, 6)
        if p.type == GPA_DIRECT and kind != RNDIS_PKT:
            raise Violation(f'{name} came in a GPA-direct packet.', p.data)
        if channel and kind != RNDIS_PKT:
            raise Violation(f'{name} came on subchannel {channel}; only '
                            'RNDIS data may.', p.data, p.payload)
        if self.version is None and kind != INIT:
            raise Violation(f'{name} before an INIT has succeeded.', p.data,
                            p.payload)
        if self.say:
            self.say(f'{name} trans id 0x{p.trans_id:x}')
        request = None
        if p.flags:
            waiting = self.requests.setdefault((channel, p.trans_id), [])
            # Id 0 names nothing: DPDK gives it to all control messages, and
            # asks the next thing as soon as the RNDIS answer is there.
            if waiting and p.trans_id:
                raise Violation(f'Transaction id 0x{p.trans_id:x} is still '
                                'in use by a request without completion.',
                                p.data, 8)
            request = Request(kind)
            waiting.append(request)
            self.requests_issued += 1
        if kind == RNDIS_PKT:
            self.guest_rndis(p, channel, request)
        else:
            GUEST_MESSAGES[kind](self, p, request)

    def host_packet(self, record):
        """Kind 3: what the host put into the host->guest ring."""
        if self.pending is not None:
            self.settle()
        channel = record.channel
        ring = self.rings[True].get(channel) \
            or self.ring(channel, True, record)
        p = ring.packet(record)
        if p.type == COMPLETION:
            self.host_completion(p, channel)
        elif p.type == TRANSFER_PAGES:
            self.transfer(p, channel)
        else:
            self.host_message(p, channel)

    def data(self, record):
        """Kinds 4, 5 and 6: bytes that belong to the packet before them."""
        pending = self.pending
        if pending is None:
            raise Violation('Data bytes without a packet that refers to '
                            'them.', record.payload, 0, 'data')
        kind, position, size = pending.expected[0]
        if record.kind != kind:
            raise Violation(f'A record of kind {kind} has to follow, not of '
                            f'kind {record.kind}.', record.payload, 0, 'data')
        if record.channel != pending.channel:
            raise Violation(f'The packet is of channel {pending.channel}, its '
                            f'data of channel {record.channel}.',
                            record.payload, 0, 'data')
        if record.original != size:
            raise Violation(f'The packet refers to {size} bytes, the data '
                            f'record to {record.original}.', record.payload,
                            0, 'data')
        if position is not None and record.position != position:
            raise Violation(f'The packet refers to offset {position}, the '
                            f'data record to {record.position}.',
                            record.payload, 0, 'data')
        part = assemble(record, self.snap)
        if pending.control and part[1] is not None:
            raise Violation('A control message is cut in the trace.',
                            record.payload, 0, 'data')
        del pending.expected[0]
        if kind == RECEIVE:
            self.rndis.from_host(*part, pending.control, pending.channel)
            if not pending.expected:
                self.pending = None
                self.rndis.end_of_transfer(pending.control)
            return
        pending.parts.append(part)
        if pending.expected:
            return
        self.pending = None
        if len(pending.parts) == 2:
            part = join(*pending.parts)
        self.rndis.from_guest(*part, pending.control, pending.channel)

    # ---- RNDIS from the guest --------------------------------------------

    def guest_rndis(self, p, channel, request):
        """107 from the guest: D.6, E.8."""
        kind, section, used = struct.unpack_from('<III', p.data,
                                                 p.payload + 4)
        at = p.payload
        if not self.suballocs:
            raise Violation('SEND_RNDIS_PKT before there is a receive '
                            'buffer.', p.data, at)
        if kind > 1:
            raise Violation(f'RNDIS channel type {kind} is neither 0, data, '
                            'nor 1, control.', p.data, at + 4)
        if kind and channel:
            raise Violation('RNDIS control on a subchannel.', p.data, at + 4)
        expected = []
        if section == NO_SECTION:
            if used:
                raise Violation(f'No section is used, but {used} bytes of '
                                'it.', p.data, at + 12)
            if p.type == IN_BAND:
                raise Violation('SEND_RNDIS_PKT with neither a section nor '
                                'GPA ranges: there is no message.', p.data,
                                at + 8)
        else:
            if not self.section_size or self.send_revoked:
                raise Violation(f'Section {section} is used without a send '
                                'buffer.', p.data, at + 8)
            if section >= self.sections:
                raise Violation(f'Section {section} is beyond the end of the '
                                f'send buffer: it has {self.sections}.',
                                p.data, at + 8)
            if not 0 < used <= self.section_size:
                raise Violation(f'{used} bytes of a section of '
                                f'{self.section_size}.', p.data, at + 12)
            if section in self.section_busy:
                raise Violation(f'Section {section} is used again before its '
                                'completion.', p.data, at + 8)
            self.section_busy.add(section)
            self.sections_issued += 1
            request.section = section
            expected.append((SECTION, section * self.section_size, used))
        if p.type == GPA_DIRECT:
            expected.append((PAGES, None, sum(n for n, _ in p.ranges)))
        self.messages += 1
        self.pending = Pending(expected, kind == 1, channel, request, p.data)

    # ---- Completions -----------------------------------------------------

    def host_completion(self, p, channel):
        waiting = self.requests.get((channel, p.trans_id))
        if not waiting:
            raise Violation(f'The host completes transaction '
                            f'0x{p.trans_id:x} on channel {channel}, which '
                            'is not outstanding.', p.data, 8)
        request = self.answered(p, waiting)
        waiting.remove(request)
        if not waiting:
            del self.requests[channel, p.trans_id]
        self.requests_returned += 1
        kind = request.type
        if self.say:
            self.say(f'completion of {NAMES[kind]} trans id '
                     f'0x{p.trans_id:x}')
        length = p.end - p.payload
        if kind == RNDIS_PKT:
            self.complete_rndis(p, request, length)
            return
        if kind == SWITCH_DATA_PATH:                                  # D.8
            if length:
                raise Violation('The completion of SWITCH_DATA_PATH is not '
                                'empty; Linux waits for ever for an empty '
                                'one.', p.data, p.payload)
            return
        if length != MESSAGE_BYTES:                            # D.4, Linux
            raise Violation(f'The reply to {NAMES[kind]} has {length} bytes, '
                            f'not {MESSAGE_BYTES}.', p.data, 4)
        answer = U32.unpack_from(p.data, p.payload)[0]
        if answer != REPLIES[kind]:
            raise Violation(f'{NAMES[kind]} is answered by message {answer} '
                            f'({NAMES.get(answer, "unknown")}) instead of '
                            f'{REPLIES[kind]}.', p.data, p.payload)
        HOST_REPLIES[kind](self, p, request)

    @staticmethod
    def answered(p, waiting):
        """Which request of those that share an id the completion is for:
        the first that it answers."""
        if p.end - p.payload >= 4:
            answer = U32.unpack_from(p.data, p.payload)[0]
            for request in waiting:
                if answer == REPLIES.get(request.type, RNDIS_PKT_COMPLETE):
                    return request
        return waiting[0]

    def complete_rndis(self, p, request, length):
        """108 from the host.  The messages were found good, so a host that
        could read them says success (G.1), also for a frame it drops."""
        if not 8 <= length <= MESSAGE_BYTES:
            raise Violation(f'The completion of an RNDIS message has '
                            f'{length} bytes, not 8 to {MESSAGE_BYTES}.',
                            p.data, 4)
        kind, status = struct.unpack_from('<II', p.data, p.payload)
        if kind != RNDIS_PKT_COMPLETE:
            raise Violation(f'An RNDIS message is completed by message {kind} '
                            f'({NAMES.get(kind, "unknown")}) instead of 108.',
                            p.data, p.payload)
        if request.unread:
            if status == 1:
                raise Violation('The host completes an RNDIS message with '
                                'success whose bytes the trace does not '
                                'have.', p.data, p.payload + 4)
            self.status(p, 4)
        elif status != 1:
            raise Violation(f'The host completes a well-formed RNDIS message '
                            f'with status {status}.', p.data, p.payload + 4)
        self.messages_completed += 1
        if request.section != NO_SECTION:
            self.section_busy.remove(request.section)
            self.sections_returned += 1

    def guest_completion(self, p, channel):
        """108 from the guest: it gives sub-allocations back.  Its status
        only informs (D.6)."""
        indices = self.transfers.pop((channel, p.trans_id), None)
        if indices is None:
            raise Violation(f'The guest completes transfer 0x{p.trans_id:x} '
                            f'on channel {channel}, which is not '
                            'outstanding.', p.data, 8)
        length = p.end - p.payload
        if not 8 <= length <= MESSAGE_BYTES:
            raise Violation(f'The completion of a transfer has {length} '
                            f'bytes, not 8 to {MESSAGE_BYTES}.', p.data, 4)
        kind, status = struct.unpack_from('<II', p.data, p.payload)
        if kind != RNDIS_PKT_COMPLETE:
            raise Violation(f'A transfer is completed by message {kind} '
                            f'({NAMES.get(kind, "unknown")}) instead of 108.',
                            p.data, p.payload)
        if self.status(p, 4) != 1:
            self.transfers_failed += 1
        if self.say:
            self.say(f'completion of transfer 0x{p.trans_id:x}, '
                     f'{len(indices)} ranges')
        self.suballoc_busy.difference_update(indices)
        self.transfers_returned += 1
        self.suballocs_returned += len(indices)

    # ---- RNDIS from the host ---------------------------------------------

    def transfer(self, p, channel):
        """Transfer pages: D.6, E.10."""
        data = p.data
        at = p.payload
        if not p.flags:
            raise Violation('A transfer-pages packet asks for no completion; '
                            'its sub-allocations would never come back.',
                            data, 6)
        if not self.suballocs or self.recv_revoked:
            raise Violation('A transfer-pages packet without a receive '
                            'buffer.', data)
        ident = U16.unpack_from(data, 16)[0]
        if ident != RECV_BUFFER_ID:
            raise Violation(f'The transfer page set is 0x{ident:04x}, not '
                            '0xCAFE.', data, 16)
        if not 16 <= p.end - at <= MESSAGE_BYTES:
            raise Violation('The NVSP message of a transfer-pages packet has '
                            f'{p.end - at} bytes, not 16 to '
                            f'{MESSAGE_BYTES}.', data, 4)
        message, kind, section, used = RNDIS_PKT_MESSAGE.unpack_from(data, at)
        if message != RNDIS_PKT:
            raise Violation(f'A transfer-pages packet carries NVSP message '
                            f'{message}, not 107.', data, at)
        if kind > 1:
            raise Violation(f'RNDIS channel type {kind} is neither 0, data, '
                            'nor 1, control.', data, at + 4)
        if section != NO_SECTION or used:
            raise Violation('A transfer-pages packet names a send section.',
                            data, at + 8)
        if kind and channel:
            raise Violation('RNDIS control on a subchannel.', data, at + 4)
        if p.trans_id >= self.suballocs:                             # D.10
            raise Violation(f'Transfer id 0x{p.trans_id:x}: DPDK uses it as '
                            f'an index below {self.suballocs}.', data, 8)
        if (channel, p.trans_id) in self.transfers:
            raise Violation(f'Transfer id 0x{p.trans_id:x} is still '
                            'outstanding.', data, 8)
        most = RANGES_MAX_RSC if self.capabilities & CAPABILITY_RSC \
            else RANGES_MAX
        if len(p.ranges) > most:
            raise Violation(f'{len(p.ranges)} ranges in one packet; guests '
                            f'take {most}.', data, 20)
        size = self.suballoc_size
        busy = self.suballoc_busy
        indices = []
        expected = []
        where = 24
        for count, offset in p.ranges:
            index, rest = divmod(offset, size)
            if rest:
                raise Violation(f'A range starts at {offset}, not at the '
                                f'start of a sub-allocation of {size}.', data,
                                where + 4)
            if index >= self.suballocs:
                raise Violation(f'A range starts at {offset}, beyond the '
                                f'last of {self.suballocs} sub-allocations.',
                                data, where + 4)
            if not 8 <= count <= size:
                raise Violation(f'A range of {count} bytes; a sub-allocation '
                                f'has {size}, an RNDIS header 8.', data,
                                where)
            if index in busy:
                raise Violation(f'Sub-allocation {index} is used again '
                                'before the guest gave it back.', data,
                                where + 4)
            busy.add(index)
            indices.append(index)
            expected.append((RECEIVE, offset, count))
            where += 8
        self.transfers[channel, p.trans_id] = indices
        self.transfers_issued += 1
        self.suballocs_issued += len(indices)
        if self.say:
            self.say(f'transfer 0x{p.trans_id:x}, {len(indices)} ranges, '
                     f'{"control" if kind else "data"}')
        self.rndis.begin_of_transfer(p, channel)
        self.pending = Pending(expected, kind == 1, channel, None, data)

    # ---- The end ---------------------------------------------------------

    def leaving(self):
        return self.recv_revoked or self.send_revoked or self.rndis.halted

    def close(self, closed):
        """Kind 7: what the host counted has to be what the trace shows."""
        if self.pending is not None:
            self.settle()
        self.close_reason = closed.get('reason')
        if self.close_reason not in ('closed', 'rescinded', 'host exit',
                                     'protocol error'):
            raise Violation(f'The session closes for an unknown reason, '
                            f'{self.close_reason!r}.')
        if self.close_reason == 'protocol error':
            raise Violation('The host gave the session up for a protocol '
                            'error of the guest that the trace does not '
                            'show.')
        counts = (('issued', self.suballocs_issued),
                  ('returned', self.suballocs_returned),
                  ('outstanding',
                   self.suballocs_issued - self.suballocs_returned),
                  ('tx_messages', self.messages),
                  ('tx_completed', self.messages_completed))
        for key, seen in counts:
            if closed.get(key) != seen:
                raise Violation(f'The host counted {closed.get(key)!r} '
                                f'"{key}", the trace shows {seen}.')

    def unclean(self):
        """Why this session is not one that ended in good order; empty if it
        is."""
        why = []
        if self.close_reason is None:
            why.append('it was never closed')
        elif self.close_reason != 'closed':
            why.append(f'it ended as "{self.close_reason}"')
        lost = self.suballocs_issued - self.suballocs_returned
        if lost:
            why.append(f'{lost} sub-allocations were not returned by the '
                       'guest')
        if self.section_busy:
            why.append(f'{len(self.section_busy)} send sections were not '
                       'returned by the host')
        lost = self.requests_issued - self.requests_returned
        if lost:
            why.append(f'{lost} requests of the guest were not completed')
        why += self.rndis.unclean()
        if self.suballocs and not self.recv_revoked:
            why.append('the receive buffer was not revoked')
        if self.section_size and not self.send_revoked:
            why.append('the send buffer was not revoked')
        return why
