"""Builds synthetic traces for decode-selftest: the other direction, written
from the same reference and sharing nothing with the decoder."""

import json
import struct

ALL = 0xFFFFFFFF
NO_SECTION = 0xFFFFFFFF
NO_REPLY = 0xFFFFFFFFFFFFFFFD          # D.10: Linux, without completion


def pad8(data):
    return bytes(data) + bytes(-len(data) % 8)


# ---- Frames ---------------------------------------------------------------

def words(data):
    data = bytes(data) + bytes(len(data) % 2)
    return sum(struct.unpack(f'>{len(data) // 2}H', data))


def fold(total):
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def transport(protocol, size, ports=(1000, 2000)):
    """A TCP or UDP header and 'size' bytes of data, checksum 0."""
    data = bytes(n * 7 & 0xFF for n in range(size))
    if protocol == 6:
        return struct.pack('>HHIIBBHHH', *ports, 1, 2, 0x50, 0x10, 512, 0,
                           0) + data
    return struct.pack('>HHHH', *ports, 8 + size, 0) + data


def ipv4(protocol=6, size=10, good=True, tag=None, fragment=0,
         source='42099594', target='a18e6450', ports=(1000, 2000)):
    """An Ethernet frame with right checksums."""
    body = bytearray(transport(protocol, size, ports))
    ip = bytearray(struct.pack('>BBHHHBBH4s4s', 0x45, 0, 20 + len(body), 1,
                               fragment, 64, protocol, 0,
                               bytes.fromhex(source), bytes.fromhex(target)))
    struct.pack_into('>H', ip, 10, fold(words(ip)))
    value = fold(words(ip[12:20]) + protocol + len(body) + words(body))
    struct.pack_into('>H', body, 16 if protocol == 6 else 6,
                     value if good else value ^ 0x55)
    return ethernet(0x0800, ip + body, tag)


def ipv6(protocol=6, size=10, ports=(1000, 2000)):
    body = bytearray(transport(protocol, size, ports))
    ip = struct.pack('>IHBB', 6 << 28, len(body), protocol, 64) \
        + bytes.fromhex('3ffe2501020000030000000000000001'
                        '3ffe25010200000300000000000000aa')
    value = fold(words(ip[8:40]) + protocol + len(body) + words(body))
    struct.pack_into('>H', body, 16 if protocol == 6 else 6, value)
    return ethernet(0x86DD, ip + body)


def ethernet(ethertype, body, tag=None):
    inside = b'' if tag is None else struct.pack('>HH', 0x8100, tag)
    return bytes.fromhex('00155d0a0b0c00155d0a0b0d') + inside \
        + struct.pack('>H', ethertype) + bytes(body)


def arp(size=46):
    return ethernet(0x0806, bytes(size))


# ---- RNDIS ----------------------------------------------------------------

def element(kind, value, size=16, offset=12):
    return struct.pack('<IIII', size, kind, offset, value)


def rndis_packet(frame, elements=b'', pad=0, gap=0):
    """E.3; 'gap' bytes between per-packet info and frame, 'pad' after."""
    info = len(elements)
    return struct.pack('<11I', 1, 44 + info + gap + len(frame) + pad,
                       36 + info + gap, len(frame), 0, 0, 0,
                       36 if info else 0, info, 0, 0) \
        + elements + bytes(gap) + frame + bytes(pad)


def train(messages, alignment=8):
    """E.9: all but the last padded, the padding inside their length."""
    out = b''
    for n, (frame, elements) in enumerate(messages):
        size = 44 + len(elements) + len(frame)
        last = n == len(messages) - 1
        out += rndis_packet(frame, elements, 0 if last else -size % alignment)
    return out


def query(request, oid, data=b''):
    return struct.pack('<IIIIIII', 4, 28 + len(data), request, oid, len(data),
                       20, 0) + data


def set_(request, oid, data):
    return struct.pack('<IIIIIII', 5, 28 + len(data), request, oid, len(data),
                       20, 0) + data


def query_complete(request, data, status=0):
    return struct.pack('<IIIIII', 0x80000004, 24 + len(data), request, status,
                       len(data), 16) + data


def set_complete(request, status=0):
    return struct.pack('<IIII', 0x80000005, 16, request, status)


def indicate(status, data=b''):
    return struct.pack('<IIIII', 7, 20 + len(data), status, len(data),
                       12 if data else 0) + data


def initialize(request):
    return struct.pack('<IIIIII', 2, 24, request, 1, 0, 0x4000)


def initialize_complete(request, packets=8, shift=3, status=0):
    return struct.pack('<13I', 0x80000002, 52, request, status, 1, 0, 1, 0,
                       packets, 0xEFFFFFFF, shift, 0, 0)


def offload_object(revision=3, rsc=1):
    size = {1: 112, 2: 144, 3: 156}[revision]
    data = bytearray(size)
    struct.pack_into('<BBH', data, 0, 0xA7, revision, size)
    for at, flags in ((8, 0x155), (16, 0x155), (24, 0x55), (32, 0x55)):
        struct.pack_into('<II', data, at - 4, 2, flags)
    for at in (80, 92):
        struct.pack_into('<III', data, at, 2, 0xF53C, 2)
    struct.pack_into('<I', data, 104, 5)
    if revision >= 3:
        data[144] = data[145] = rsc
    return bytes(data)


def offload_asked(revision=3):
    size = {1: 112, 2: 144, 3: 156}[revision]
    return struct.pack('<BBH', 0xA7, revision, size) + bytes(size - 4)


def offload_parameters(rsc=2):
    data = bytearray(28)
    struct.pack_into('<BBH', data, 0, 0x80, 3, 28)
    data[4:9] = b'\1\4\4\4\4'
    data[11] = data[12] = 2
    data[22] = data[23] = rsc
    return bytes(data)


RSS_KEY = bytes.fromhex('6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b4'
                        '77cb2da38030f20c6a42b73bbeac01fa')


def rss_asked():
    return struct.pack('<BBH', 0x88, 2, 18) + bytes(14)


def rss_capabilities(queues=2):
    return struct.pack('<BBHIIIH', 0x88, 2, 18, 0x301, 1, queues, 128)


def rss_parameters(flags=0, entries=(0, 1), key=RSS_KEY):
    table = b''.join(struct.pack('<I', n) for n in entries)
    return struct.pack('<BBHHHIHHIHHIIII', 0x89, 2, 40, flags, 0, 0x1701,
                       len(table), 0, 40, len(key), 0, 40 + len(table), 0, 0,
                       0) + table + key


def mac_parameter(digits='00155D0A0B0C'):
    name = 'NetworkAddress'.encode('utf-16-le')
    value = digits.encode('utf-16-le')
    return struct.pack('<5I', 20, len(name), 2, 20 + len(name),
                       len(value)) + name + value


# ---- NVSP -----------------------------------------------------------------

def nvsp(kind, *fields, size=40, fill=0):
    """A message of 'size' bytes; what no field takes is 'fill' (D.1: DPDK
    does not clear it)."""
    data = struct.pack(f'<{1 + len(fields)}I', kind, *fields)
    return data + bytes([fill]) * (size - len(data))


# ---- Ring packets ---------------------------------------------------------

def ring_packet(kind, trans_id, flags, head, payload, start):
    """A.4, A.6: descriptor, the type's own header, payload, trailer."""
    assert len(head) % 8 == 0
    payload = pad8(payload)
    offset8 = (16 + len(head)) // 8
    return struct.pack('<HHHHQ', kind, offset8, offset8 + len(payload) // 8,
                       flags, trans_id) + head + payload \
        + struct.pack('<II', 0, start)


def transfer_head(ranges, ident=0xCAFE):
    return struct.pack('<HHI', ident, 0, len(ranges)) \
        + b''.join(struct.pack('<II', *r) for r in ranges)


def gpa_head(ranges, first_page=0x12345):
    """ranges: (bytes, offset in the first page)."""
    out = struct.pack('<II', 0, len(ranges))
    for count, offset in ranges:
        pages = -(-(offset + count) // 4096)
        out += struct.pack('<II', count, offset)
        for _ in range(pages):
            out += struct.pack('<Q', first_page)
            first_page += 3
    return out


def ring_space(write, read, size):
    """A.3: free bytes."""
    used = write - read if write >= read else size - (read - write)
    return size - used


def ring_fits(write, read, size, total):
    return ring_space(write, read, size) > total


# ---- Traces ---------------------------------------------------------------

class Rec:
    def __init__(self, kind, nic, session, payload, channel, position,
                 original, label):
        self.kind = kind
        self.nic = nic
        self.session = session
        self.payload = bytearray(payload)
        self.channel = channel
        self.position = position
        self.original = len(payload) if original is None else original
        self.label = label
        self.time = None

    def patch(self, at, data):
        assert at + len(data) <= len(self.payload)
        self.payload[at:at + len(data)] = data


class Trace:
    def __init__(self, snap=ALL):
        self.recs = []
        self.snap = snap

    def add(self, kind, nic, session, payload, channel=0, position=0,
            original=None, label=''):
        rec = Rec(kind, nic, session, payload, channel, position, original,
                  label)
        self.recs.append(rec)
        return rec

    def find(self, label, n=0):
        return [r for r in self.recs if r.label == label][n]

    def index(self, label, n=0):
        return self.recs.index(self.find(label, n))

    def drop(self, label, n=0):
        self.recs.remove(self.find(label, n))

    def move(self, label, to, after=False):
        rec = self.find(label)
        self.recs.remove(rec)
        self.recs.insert(self.index(to) + after, rec)

    def repeat(self, label, n=0):
        """The record again, right behind itself and its data records."""
        at = self.index(label, n)
        end = at + 1
        while self.recs[end].kind in (4, 5, 6):
            end += 1
        again = [Rec(r.kind, r.nic, r.session, r.payload, r.channel,
                     r.position, r.original, r.label)
                 for r in self.recs[at:end]]
        self.recs[end:end] = again

    def reflow(self):
        """After records moved: positions and trailers as a ring has them."""
        size, ends = {n: 8192 for n in range(8)}, {}
        for r in self.recs:
            if r.kind == 1:
                size[r.nic] = json.loads(r.payload)['ring_bytes']
                ends = {k: v for k, v in ends.items() if k[0] != r.nic}
            elif r.kind in (2, 3):
                key = (r.nic, r.channel, r.kind)
                r.position = ends.get(key, 0)
                struct.pack_into('<II', r.payload, len(r.payload) - 8, 0,
                                 r.position)
                ends[key] = (r.position + len(r.payload)) % size[r.nic]

    def encode(self):
        out = [b'NVSCTRC1' + struct.pack('<II', 1, self.snap)]
        for number, r in enumerate(self.recs):
            length = len(r.payload)
            body = pad8(r.payload)
            time = 1000 * (number + 1) if r.time is None else r.time
            out.append(struct.pack('<IHHIIQIIQQ', 48 + len(body), r.kind,
                                   r.channel, r.nic, r.session, time, length,
                                   r.original, r.position, 0) + body)
        return b''.join(out)


def cut(message_bytes, keep):
    """The cut form: header, per-packet info and 'keep' bytes of each
    frame."""
    out = b''
    at = 0
    while at < len(message_bytes):
        length, data_at, size = struct.unpack_from('<III', message_bytes,
                                                   at + 4)
        end = 8 + data_at + min(keep, size)
        piece = message_bytes[at:at + end]
        out += struct.pack('<II', at, len(piece)) + pad8(piece)
        at += length
    return out if len(out) < len(message_bytes) else message_bytes


class Wire:
    """One NIC, both sides: every method adds records to the trace."""

    def __init__(self, trace, nic=0, ring_bytes=8192, receive=31 << 20,
                 suballoc=1808, section=6144, late=False):
        self.trace = trace
        self.nic = nic
        self.late = late         # the guest names its buffers later
        self.number = 0
        self.ring_bytes = ring_bytes
        self.receive = receive
        self.suballoc = suballoc
        self.section = section
        self.send = 16 << 20

    def opening(self):
        known = {'receive_buffer': self.receive, 'send_buffer': self.send,
                 'receive_gpadl': 0xE1E10, 'send_gpadl': 0xE1E11}
        if self.late:
            known = dict.fromkeys(known, 0)
        return {'guid': '{f8615163-0000-1000-2000-00155d0a0b0c}',
                'mac': '00:15:5d:0a:0b:0c', 'mtu': 1500, 'relid': 5,
                'monitor_id': 3, 'ring_bytes': self.ring_bytes, **known,
                'section_size': self.section, 'suballoc_size': self.suballoc,
                'packets_per_message': 8, 'alignment_shift': 3,
                'speed': 10000000000}

    def open(self):
        self.number += 1
        self.ends = {}
        self.issued = self.returned = self.messages = self.completed = 0
        self.rids = 0
        self.held = {}
        return self.add(1, json.dumps(self.opening()).encode(), 'open')

    def close(self, reason='closed'):
        return self.add(7, json.dumps({
            'reason': reason, 'issued': self.issued,
            'returned': self.returned,
            'outstanding': self.issued - self.returned,
            'tx_messages': self.messages,
            'tx_completed': self.completed}).encode(), 'close')

    def event(self, name, label='event', **values):
        return self.add(8, json.dumps({'event': name, **values}).encode(),
                        label)

    def gpadl(self, handle, size, label):
        if self.late:
            self.event('gpadl', label, handle=handle, bytes=size)

    def add(self, kind, payload, label, channel=0, position=0,
            original=None):
        return self.trace.add(kind, self.nic, self.number, payload, channel,
                              position, original, label)

    def ring(self, direction, kind, trans_id, flags, head, payload, label,
             channel):
        key = channel, direction
        start = self.ends.get(key, 0)
        packet = ring_packet(kind, trans_id, flags, head, payload, start)
        self.ends[key] = (start + len(packet)) % self.ring_bytes
        return self.add(direction, packet, label, channel, start)

    def guest(self, payload, label, trans_id=NO_REPLY, flags=0, kind=6,
              head=b'', channel=0):
        return self.ring(2, kind, trans_id, flags, head, payload, label,
                         channel)

    def host(self, payload, label, trans_id=0, flags=0, kind=6, head=b'',
             channel=0):
        return self.ring(3, kind, trans_id, flags, head, payload, label,
                         channel)

    def reply(self, payload, label, trans_id, channel=0):
        return self.host(payload, label, trans_id, 0, 11, b'', channel)

    # ---- RNDIS carriers --------------------------------------------------

    def data_record(self, kind, data, position, label, channel, control):
        body = bytes(data)
        if not control and self.trace.snap != ALL:
            body = cut(body, self.trace.snap)
        self.add(kind, body, label, channel, position, len(data))

    def send_section(self, data, section, trans_id, label, control=0,
                     channel=0):
        self.messages += 1
        self.guest(nvsp(107, control, section, len(data)), label, trans_id, 1,
                   channel=channel)
        self.data_record(4, data, section * self.section, label + '.bytes',
                         channel, control)

    def send_pages(self, data, ranges, trans_id, label, control=0,
                   channel=0, size=40, fill=0, read=True):
        """ranges: offsets in the first page and sizes, see gpa_head()."""
        assert sum(n for n, _ in ranges) == len(data)
        self.messages += 1
        self.guest(nvsp(107, control, NO_SECTION, 0, size=size, fill=fill),
                   label, trans_id, 1, 9, gpa_head(ranges), channel)
        if read:
            self.data_record(5, data, 0, label + '.bytes', channel, control)

    def send_mixed(self, data, split, section, trans_id, label):
        self.messages += 1
        self.guest(nvsp(107, 0, section, split), label, trans_id, 1, 9,
                   gpa_head([(len(data) - split, 100)]))
        self.add(4, data[:split], label + '.bytes', 0,
                 section * self.section)
        self.add(5, data[split:], label + '.pages')

    def sent(self, trans_id, label, status=1, channel=0, size=40):
        """The host's completion of an RNDIS message."""
        self.completed += 1
        self.reply(nvsp(108, status, size=size), label, trans_id, channel)

    def deliver(self, messages, trans_id, indices, label, control=0,
                channel=0):
        """Host to guest: a range for each message."""
        ranges = [(len(m), i * self.suballoc)
                  for m, i in zip(messages, indices)]
        self.host(nvsp(107, control, NO_SECTION, 0), label, trans_id, 1, 7,
                  transfer_head(ranges), channel)
        self.issued += len(ranges)
        self.held[channel, trans_id] = len(ranges)
        for message, (_, offset) in zip(messages, ranges):
            self.data_record(6, message, offset, label + '.bytes', channel,
                             control)

    def taken(self, trans_id, label, channel=0, size=8, fill=0, status=1):
        """The guest's completion of a transfer."""
        self.returned += self.held.pop((channel, trans_id))
        self.guest(nvsp(108, status, size=size, fill=fill), label, trans_id,
                   0, 11, b'', channel)
