#!/usr/bin/python3
"""Sends frames of 64 bytes into one end of a path and looks how many arrive
at its other end, so that there are never more than a window of them under
way: what `loop:` is to netvsc-host's generator, for the kernel's devices.

usage: ip netns exec SINK veth_sender.py SOURCE COUNTS WINDOW

Both namespaces have their device as eth0.  COUNTS is a file in which five
numbers are kept: frames sent, arrived and lost, and how often was looked and
the window found full.
"""

import ctypes
import mmap
import os
import pathlib
import socket
import struct
import sys
import time

# Frames a system call: what keeps Python's share small.
BURST = 64
# So long after the last arrival, what is missing is lost.
PATIENCE = 0.02
NUMBERS = struct.Struct("=5Q")

# <linux/if_packet.h>: without the queueing discipline, as pktgen does.
SOL_PACKET, PACKET_QDISC_BYPASS = 263, 20

LIBC = ctypes.CDLL(None, use_errno=True)


class Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_char_p), ("size", ctypes.c_size_t))


class Header(ctypes.Structure):
    """struct mmsghdr of a 64-bit machine."""
    _fields_ = (("name", ctypes.c_void_p), ("name_size", ctypes.c_uint),
                ("vectors", ctypes.POINTER(Vector)),
                ("vector_count", ctypes.c_size_t),
                ("control", ctypes.c_void_p),
                ("control_size", ctypes.c_size_t), ("flags", ctypes.c_int),
                ("sent", ctypes.c_uint))


def frame():
    """One of UDP in RFC 2544's addresses, as netvsc-host makes them."""
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 50, 0, 0, 64, 17, 0,
                     bytes((198, 18, 0, 1)), bytes((198, 19, 0, 1)))
    total = sum(struct.unpack(">10H", ip))
    total = (total & 0xffff) + (total >> 16)
    ip = ip[:10] + struct.pack(">H", ~total & 0xffff) + ip[12:]
    return (bytes.fromhex("00155d000002" "00155d000001" "0800") + ip
            + struct.pack(">HHHH", 1024, 1024, 30, 0) + bytes(22))


def sender(namespace):
    """A function that sends up to BURST frames and returns how many it
    could."""
    with open(f"/run/netns/{namespace}") as there:
        if LIBC.setns(there.fileno(), 0):
            raise OSError(ctypes.get_errno(), "setns")
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    link.bind(("eth0", 0))
    link.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
    vector = Vector(data := frame(), len(data))
    headers = (Header * BURST)(*(
        Header(vectors=ctypes.pointer(vector), vector_count=1)
        for _ in range(BURST)))
    return lambda count: max(0, LIBC.sendmmsg(link.fileno(), headers,
                                              min(count, BURST), 0))


def main():
    source, counts, window = sys.argv[1], sys.argv[2], int(sys.argv[3])
    # It stays the sink's when this process moves to the source.
    arrivals = os.open("/sys/class/net/eth0/statistics/rx_packets",
                       os.O_RDONLY)
    send = sender(source)
    with pathlib.Path(counts).open("w+b") as file:
        file.truncate(NUMBERS.size)
        shown = mmap.mmap(file.fileno(), NUMBERS.size)
    start = int(os.pread(arrivals, 32, 0))
    sent = arrived = lost = looks = full = 0
    changed = time.monotonic()
    while True:
        before, arrived = arrived, int(os.pread(arrivals, 32, 0)) - start
        room = window - (sent - lost - arrived)
        looks += 1
        if arrived != before:
            changed = time.monotonic()
        elif room <= 0 and time.monotonic() - changed > PATIENCE:
            lost = sent - arrived
            changed = time.monotonic()
            continue
        if room > 0:
            sent += send(room)
        else:
            full += 1
        NUMBERS.pack_into(shown, 0, sent, arrived, lost, looks, full)


if __name__ == "__main__":
    sys.exit(main())
