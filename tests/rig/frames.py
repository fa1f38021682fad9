"""Frames of every size and many kinds, and their way from tap to tap.

A frame is sent on the tap of one NIC, as if it came from the network, and
has to appear on the tap of the other one, byte for byte, after the host and
DPDK have had it twice each.
"""

import ctypes
import os
import random
import select
import socket
import struct
import time

from .tools import RigFailed

# Headers included, FCS excluded: what an MTU of 1500 allows.  A tag comes on
# top of it.
SMALLEST, LARGEST = 60, 1514

# How long a frame may take before it counts as lost.
FRAME_SECONDS = 5

# linux/if_packet.h and asm-generic/socket.h: not in Python's socket module.
SOL_PACKET = 263
PACKET_AUXDATA = 8
PACKET_IGNORE_OUTGOING = 23
SO_RCVBUFFORCE = 33
TP_STATUS_VLAN_VALID = 0x10
TP_STATUS_VLAN_TPID_VALID = 0x40
ETH_P_ALL = 3


# --- What the frames hold ---------------------------------------------------

NOISE = random.Random(2211).randbytes(1 << 16)


def noise(size, salt):
    """The same `size` bytes for the same salt, unlike those of its
    neighbours."""
    start = salt * 7919 % (len(NOISE) - 2048)
    return struct.pack('>I', salt)[:size] + NOISE[start:start + size - 4]


def internet_checksum(data):
    if len(data) % 2:
        data += b'\0'
    total = sum(struct.unpack(f'>{len(data) // 2}H', data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total ^ 0xffff


def ethernet(ethertype, payload, destination='021122334455'):
    return (bytes.fromhex(destination) + bytes.fromhex('02aabbccddee')
            + struct.pack('>H', ethertype) + payload)


def udp(size, salt, pseudo_header):
    header = struct.pack('>HHHH', 1024 + salt % 60000, 4789, size, 0)
    segment = header + noise(size - 8, salt)
    total = internet_checksum(
        pseudo_header + struct.pack('>IHH', size, 0, 17) + segment)
    return segment[:6] + struct.pack('>H', total or 0xffff) + segment[8:]


def tcp(size, salt, pseudo_header):
    header = struct.pack('>HHIIHHHH', 5201, 1024 + salt % 60000, salt, 0,
                         0x5018, 512, 0, 0)
    segment = header + noise(size - 20, salt)
    total = internet_checksum(
        pseudo_header + struct.pack('>IHH', size, 0, 6) + segment)
    return segment[:16] + struct.pack('>H', total) + segment[18:]


ADDRESSES_4 = socket.inet_aton('192.0.2.1') + socket.inet_aton('192.0.2.2')
ADDRESSES_6 = (socket.inet_pton(socket.AF_INET6, '2001:db8::1')
               + socket.inet_pton(socket.AF_INET6, '2001:db8::2'))


def ipv4(size, salt, protocol, payload, options=b'', fragment=0x4000):
    header = struct.pack('>BBHHHBBH', 0x45 + len(options) // 4, 0, size,
                         salt & 0xffff, fragment, 64, protocol, 0)
    header += ADDRESSES_4 + options
    return (header[:10] + struct.pack('>H', internet_checksum(header))
            + header[12:] + payload)


def ipv4_udp(size, salt):
    return ethernet(0x0800, ipv4(
        size - 14, salt, 17, udp(size - 34, salt, ADDRESSES_4)))


def ipv4_tcp(size, salt):
    return ethernet(0x0800, ipv4(
        size - 14, salt, 6, tcp(size - 34, salt, ADDRESSES_4)))


def ipv4_options(size, salt):
    return ethernet(0x0800, ipv4(
        size - 14, salt, 17, udp(size - 38, salt, ADDRESSES_4),
        options=b'\x94\x04\0\0'))


def ipv4_fragment(size, salt):
    return ethernet(0x0800, ipv4(
        size - 14, salt, 17, noise(size - 34, salt), fragment=0x20b9))


def ipv4_damaged(size, salt):
    """All three checksums are wrong: a switch passes it on as it is."""
    frame = bytearray(ipv4_udp(size, salt))
    frame[24] ^= 0x55
    frame[40] ^= 0x55
    return bytes(frame)


def ipv4_lying(size, salt):
    """The header claims more bytes than the frame has."""
    return ethernet(0x0800, b'\x4f\0\xff\xff' + noise(size - 18, salt))


def ipv6_udp(size, salt):
    # 60 bytes are too few for UDP over IPv6: its length is what there is.
    length = size - 54
    payload = (udp(length, salt, ADDRESSES_6) if length >= 12
               else noise(length, salt))
    return ethernet(0x86dd, struct.pack(
        '>IHBB', 6 << 28 | salt & 0xfffff, length, 17, 64)
        + ADDRESSES_6 + payload)


def ipv6_tcp(size, salt):
    length = size - 54
    payload = (tcp(length, salt, ADDRESSES_6) if length >= 24
               else noise(length, salt))
    return ethernet(0x86dd, struct.pack('>IHBB', 6 << 28, length, 6, 64)
                    + ADDRESSES_6 + payload)


def arp_like(size, salt):
    return ethernet(0x0806, noise(size - 14, salt), 'ff' * 6)


def link_local(size, salt):
    return ethernet(0x88cc, noise(size - 14, salt), '0180c200000e')


def odd_ethertype(size, salt):
    return ethernet(0x0600 + salt % 0x100, noise(size - 14, salt))


def ieee_802_3(size, salt):
    """A length where others have their EtherType."""
    return ethernet(size - 14, b'\xaa\xaa\x03' + noise(size - 17, salt))


def tagged(size, salt):
    """802.1Q, all of the identifiers, priorities and both DEI values in
    turn; four bytes longer than the others."""
    frame = ipv4_udp(size, salt)
    return (frame[:12] + struct.pack('>HH', 0x8100, salt * 0x1001 & 0xffff)
            + frame[12:])


KINDS = (ipv4_udp, ipv4_tcp, ipv4_options, ipv4_fragment, ipv4_damaged,
         ipv4_lying, ipv6_udp, ipv6_tcp, arp_like, link_local, odd_ethertype,
         ieee_802_3, tagged)


def all_frames(first_salt=0):
    """Every kind in every size, sizes mixed: (size, kind) pairs are visited
    in an order that puts large next to small frames into one burst."""
    pairs = [(size, kind) for size in range(SMALLEST, LARGEST + 1)
             for kind in KINDS]
    random.Random(first_salt).shuffle(pairs)
    return [kind(size, first_salt + number)
            for number, (size, kind) in enumerate(pairs)]


# --- Network namespaces and packet sockets ---------------------------------

def enter(namespace, function):
    """Calls function() with this thread in a network namespace of
    ip-netns(8).  A socket made there stays there."""
    libc = ctypes.CDLL(None, use_errno=True)

    def set_namespace(descriptor):
        if libc.setns(descriptor, 0) != 0:
            raise OSError(ctypes.get_errno(), f'setns to {namespace}')

    back = os.open('/proc/self/ns/net', os.O_RDONLY)
    there = os.open(f'/run/netns/{namespace}', os.O_RDONLY)
    try:
        set_namespace(there)
        try:
            return function()
        finally:
            set_namespace(back)
    finally:
        os.close(there)
        os.close(back)


class TapEnd:
    """The network's end of a NIC's tap: sends and receives whole frames."""

    def __init__(self, namespace, interface):
        self.name = interface
        self.socket = enter(namespace, lambda: socket.socket(
            socket.AF_PACKET, socket.SOCK_RAW, 0))
        self.socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self.socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
        self.socket.bind((interface, ETH_P_ALL))
        self.socket.setblocking(False)

    def close(self):
        self.socket.close()

    def send(self, frame):
        """False if there is no room just now."""
        try:
            self.socket.send(frame)
        except BlockingIOError:
            return False
        return True

    def receive(self):
        """The next frame, or None if none is there."""
        try:
            frame, extra, _, _ = self.socket.recvmsg(
                4096, socket.CMSG_SPACE(20))
        except BlockingIOError:
            return None
        for level, kind, data in extra:
            # The kernel takes the outer tag out of what comes in.
            if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
                status, _, _, _, _, tci, tpid = struct.unpack('IIIHHHH', data)
                if status & TP_STATUS_VLAN_VALID:
                    if not status & TP_STATUS_VLAN_TPID_VALID:
                        tpid = 0x8100
                    frame = (frame[:12] + struct.pack('>HH', tpid, tci)
                             + frame[12:])
        return frame


class Flow:
    """Frames on their way in one direction, not more than `window` of them:
    DPDK's PMD drops, in silence, what exceeds its receive ring."""

    def __init__(self, source, sink, frames, window):
        self.source, self.sink = source, sink
        self.frames, self.window = frames, window
        self.sent = self.received = 0

    def done(self, enough=None):
        return self.received >= (enough or len(self.frames))

    def push(self):
        limit = min(len(self.frames), self.received + self.window)
        while self.sent < limit and self.source.send(self.frames[self.sent]):
            self.sent += 1

    def pull(self):
        """Takes what has arrived; True if that was something."""
        before = self.received
        while (frame := self.sink.receive()) is not None:
            self.check(frame)
            self.received += 1
        return self.received > before

    def check(self, frame):
        where = f'{self.source.name} to {self.sink.name}'
        if self.received == self.sent:
            raise RigFailed(f'{where}: a frame that nobody sent: '
                          f'{frame[:64].hex()}')
        wanted = self.frames[self.received]
        if frame == wanted:
            return
        place = next((i for i, (a, b) in enumerate(zip(frame, wanted))
                      if a != b), min(len(frame), len(wanted)))
        raise RigFailed(
            f'{where}: frame {self.received} of {len(self.frames)} differs '
            f'from byte {place} on: {len(frame)} instead of {len(wanted)} '
            f'bytes\ncame   {frame[:80].hex()}\nwanted {wanted[:80].hex()}')


def carry(flows, enough=None):
    """Sends the frames of all flows and checks what arrives: everything, or
    in each direction so many of them that `enough` have arrived."""
    poll = select.poll()
    for flow in flows:
        poll.register(flow.sink.socket, select.POLLIN)
    deadline = time.monotonic() + FRAME_SECONDS
    while not all(flow.done(enough) for flow in flows):
        for flow in flows:
            flow.push()
        poll.poll(100)
        if any([flow.pull() for flow in flows]):
            deadline = time.monotonic() + FRAME_SECONDS
        elif time.monotonic() > deadline:
            raise RigFailed('; '.join(
                f'{flow.source.name} to {flow.sink.name}: {flow.received} of '
                f'{flow.sent} frames sent have arrived after '
                f'{FRAME_SECONDS} s' for flow in flows))
    for flow in flows:
        flow.pull()  # nothing may follow the last one
