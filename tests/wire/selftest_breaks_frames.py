"""What a judge has to refuse: RNDIS data messages and the frames in them.
Rows as in selftest_breaks_wire.py."""

import struct

from selftest_changes import (FRAME, both, changed, drop, nothing, put, then)
from selftest_encoder import (arp, element, ethernet, ipv4, ipv6,
                              rndis_packet, set_, set_complete, train)
from selftest_sessions import dpdk, linux, u32

FILTER = 0x0001010E


def sends(data):
    return then(lambda w: w.send_section(data, 9, 50, 'x'))


def delivers(*messages, channel=0):
    return then(lambda w: w.deliver(messages, 300,
                                    range(300, 300 + len(messages)), 'x',
                                    channel=channel))


def without_capabilities():
    """A session whose guest never asks what the host can do."""
    trace = dpdk()
    for label in ('q.offload', 'q.offload2'):
        trace.recs = [r for r in trace.recs
                      if r.label.split('.')[:2] != label.split('.')]
    trace.reflow()
    return trace


def header(at, form, *values):
    return changed(FRAME, at, form, *values)


TWO = rndis_packet(arp(), element(0, 0) + element(8, 1))
TCP4 = ipv4()

MESSAGES = [
    ('not a PACKET', sends(header(0, '<I', 4)), nothing,
     'RNDIS message 0x00000004 among data'),
    ('longer than there is', sends(header(4, '<I', 200)), nothing,
     'says it has 200 bytes'),
    ('shorter than its header', sends(header(4, '<I', 40)), nothing,
     'says it has 40 bytes'),
    ('data offset in the header', sends(header(8, '<I', 32)), nothing,
     'points into the header'),
    ('frame leaves the message', sends(header(12, '<I', 61)), nothing,
     'leaves the message'),
    ('frame leaves 32 bits', delivers(header(8, '<I', 0xFFFFFFF0)), nothing,
     'leaves the message'),
    ('out-of-band offset', sends(header(16, '<I', 36)), nothing,
     'out-of-band'),
    ('out-of-band length', sends(header(20, '<I', 8)), nothing,
     'out-of-band'),
    ('out-of-band elements', delivers(header(24, '<I', 1)), nothing,
     'out-of-band'),
    ('VC handle of a packet', delivers(header(36, '<I', 1)), nothing,
     'VC handle is 0x1'),
    ('per-packet info elsewhere', sends(changed(TWO, 28, '<I', 40)), nothing,
     'starts at offset 40, not 36'),
    ('no info, but an offset', sends(header(28, '<I', 40)), nothing,
     'No per-packet info, but at offset 40'),
    ('info runs into the data', sends(changed(TWO, 32, '<I', 48)), nothing,
     'run into the data'),
    ('element of 0 bytes', delivers(rndis_packet(arp(), element(8, 1, 0))),
     nothing, 'element of 0 bytes'),
    ('element of 18 bytes', sends(rndis_packet(
        arp(), element(8, 1, 18) + bytes(4))), nothing,
     'element of 18 bytes'),
    ('element longer than the info', sends(rndis_packet(
        arp(), element(8, 1, 20))), nothing, '16 are left'),
    ('element of 12 bytes', sends(rndis_packet(
        arp(), element(8, 1, 12) + bytes(8))), nothing, 'has 12 bytes, not'),
    ('info is no sum of elements', sends(rndis_packet(
        arp(), element(8, 1) + bytes(4))), nothing, '4 bytes are left'),
    ('unknown element', sends(rndis_packet(arp(), element(7, 1))), nothing,
     'element 0x7 is not one a guest sends'),
    ('element of the other side', delivers(rndis_packet(
        TCP4, element(2, 0x422005B4))), nothing,
     'element 0x2 is not one a host sends'),
    ('hash info from the guest', sends(rndis_packet(
        TCP4, element(9, 0x201))), nothing, 'element 0x9 is not one'),
    ('element data elsewhere', sends(rndis_packet(
        arp(), element(8, 1, 16, 16))), nothing, 'offset 16, not 12'),
    ('element twice', sends(rndis_packet(
        arp(), element(8, 1) + element(8, 1))), nothing, 'is there twice'),
    ('frame of 13 bytes', sends(rndis_packet(arp()[:13])), nothing,
     'A frame of 13 bytes'),
    ('frame over the MTU', sends(rndis_packet(arp(1505))), nothing,
     'the MTU allows 1518'),
    ('host frame over the MTU', delivers(rndis_packet(arp(1505))), nothing,
     'the MTU allows 1518'),
    ('tag inside, from the guest', sends(rndis_packet(ipv4(tag=5))), nothing,
     '802.1Q tag inside'),
    ('tag inside, from the host', delivers(rndis_packet(ipv4(tag=5))),
     nothing, '802.1Q tag inside'),
    ('VLAN bits', delivers(rndis_packet(TCP4, element(6, 0x10645))), nothing,
     'VLAN value 0x00010645'),
    ('unaligned second message', sends(rndis_packet(arp(45))
                                       + rndis_packet(arp())), nothing,
     'starts at 103, which is no multiple of 8'),
    ('too much padding', sends(rndis_packet(arp(), pad=8)), nothing,
     '8 bytes after the frame'),
    ('nine packets', sends(train([(arp(), b'')] * 9)), nothing,
     'More than 8 packets'),
    ('bytes after the last message', sends(FRAME + bytes(8)), nothing,
     '8 bytes are left'),
    ('bytes after the host\'s message', delivers(FRAME + bytes(8)), nothing,
     'its range 112'),
    ('over the transfer size', linux,
     put('initialize.answer.bytes', 36, '<I', 1400), 'host takes 1400'),
    ('host data before INITIALIZE', linux, both(
        lambda t: earlier(t, 'rx.one', 'initialize')),
     'RNDIS data before INITIALIZE'),
    ('data before INITIALIZE', linux, both(
        drop('initialize', 'initialize.bytes', 'initialize.answer',
             'initialize.answer.bytes', 'initialize.taken',
             'initialize.done'),
        lambda t: earlier(t, 'tx.three', 'q.frame')),
     'RNDIS data before INITIALIZE'),
]


def earlier(t, label, to):
    """A packet with its bytes, before another one."""
    first = t.index(label)
    recs = t.recs[first:first + 2]
    del t.recs[first:first + 2]
    at = t.index(to)
    t.recs[at:at] = recs
    t.reflow()


def filter_off_and_answered(w):
    message = set_(500, FILTER, u32(0))
    w.send_pages(message, [(len(message), 0)], 50, 'x', 1)
    w.deliver([set_complete(500)], 300, [300], 'x', 1)
    w.deliver([FRAME], 301, [301], 'x')


def filter_refused(w):
    message = set_(500, FILTER, u32(1))
    w.send_pages(message, [(len(message), 0)], 50, 'x', 1)
    w.deliver([set_complete(500, 0xC0000001)], 300, [300], 'x', 1)
    w.deliver([FRAME], 301, [301], 'x')


def coalesced(*values, agreed=True):
    """A base: fragments with these coalescing elements."""
    def base():
        trace = linux()
        if not agreed:
            put('s.offload.bytes', 28 + 22, '<BB', 1, 1)(trace)
        for n, value in enumerate(values):
            rec = trace.find('rx.rsc.bytes', n)
            at = 44 + (16 if n == 0 else 0) + 12
            rec.patch(at, struct.pack('<I', value))
        return trace
    return base


def unfinished():
    """The transfer-pages packet ends in the middle of a coalesced frame."""
    trace = coalesced(0x00770301, 0x00770101, 0x00770101)()
    packet = trace.find('rx.rsc')
    del packet.payload[24 + 3 * 8:24 + 4 * 8]
    packet.patch(2, struct.pack('<HH', 6, 11))
    packet.patch(20, struct.pack('<I', 3))
    packet.original = len(packet.payload)
    trace.recs.remove(trace.find('rx.rsc.bytes', 3))
    trace.reflow()
    return trace


TX4 = 0x00220005

FRAMES = [
    ('frame before a filter', then(
        lambda w: w.deliver([FRAME], 300, [300], 'x'), None), nothing,
     'before one was set'),
    ('frame after filter 0', then(filter_off_and_answered), nothing,
     'after it was set to 0'),
    ('frame after a refused filter', then(filter_refused, None), nothing,
     'while the packet filter is 0'),
    ('subchannel before RSS', linux, both(
        put('s.rss.bytes', 28 + 4, '<H', 0x10)),
     'before the guest configured RSS'),
    ('frame on the channel of another hash', linux,
     put('rx.sub.bytes', 72, '<I', 2),
     'of hash 0x00000002 is on channel 1; it belongs on 0'),
    ('frame on the primary channel instead of its own', linux,
     put('s.rss.bytes', 28 + 40, '<I', 1),
     'of hash 0x51ccc178 is on channel 0; it belongs on 1'),
    ('frame without a hash on a subchannel', linux, both(
        put('rx.sub.bytes', 64, '<I', 6),
        put('rx.sub.bytes', 72, '<I', 0x645)),
     'without a hash is on channel 1'),
    ('checksum request bits', sends(rndis_packet(TCP4, element(
        0, TX4 | 0x20))), nothing, 'undefined bits'),
    ('checksum request of both IP', sends(rndis_packet(TCP4, element(
        0, TX4 | 2))), nothing, 'both IPv4 and IPv6'),
    ('checksum request of TCP and UDP', sends(rndis_packet(TCP4, element(
        0, TX4 | 8))), nothing, 'both TCP and UDP'),
    ('checksum request of no IP', sends(rndis_packet(TCP4, element(
        0, TX4 & ~1))), nothing, 'neither IPv4 nor IPv6'),
    ('IPv6 header checksum', sends(rndis_packet(ipv6(), element(
        0, 0x00360012))), nothing, 'IPv6 has no header checksum'),
    ('checksum request for another IP', sends(rndis_packet(ipv6(), element(
        0, 0x00360005))), nothing, 'the frame is IPv6'),
    ('checksum request for another protocol', sends(rndis_packet(
        ipv4(17), element(0, TX4))), nothing, 'protocol of the frame is 17'),
    ('checksum request elsewhere', sends(rndis_packet(ipv4(6, 40), element(
        0, 0x002A0005))), nothing, 'transport header is at 34, not 42'),
    ('checksum request inside IP', sends(rndis_packet(TCP4, element(
        0, 0x00140005))), nothing, 'a transport header at 20'),
    ('checksum request for ARP', sends(rndis_packet(arp(), element(
        0, TX4))), nothing, 'the frame is no IP packet'),
    ('checksum request not announced', linux, put(
        'q.offload.answer.bytes', 24 + 8, '<I', 0x145),
     'the host did not announce TCP'),
    ('checksum request without asking', without_capabilities, nothing,
     'never learned what the host can do'),
    ('LSO version 1', sends(rndis_packet(ipv4(6, 3000), element(
        2, 0x022005B4))), nothing, 'LSOv1'),
    ('LSO without MSS', sends(rndis_packet(ipv4(6, 3000), element(
        2, 0x42200000))), nothing, 'an MSS of 0'),
    ('LSO not announced', linux, put(
        'q.offload.answer.bytes', 24 + 80, '<I', 0),
     'did not announce LSOv2 for IPv4'),
    ('LSO of UDP', sends(rndis_packet(ipv4(17, 3000), element(
        2, 0x422005B4))), nothing, 'protocol of the frame is 17'),
    ('verdict bits', delivers(rndis_packet(TCP4, element(0, 0x228))), nothing,
     'undefined bits'),
    ('failed and succeeded', delivers(rndis_packet(TCP4, element(0, 0x29))),
     nothing, 'failed and succeeded'),
    ('TCP and UDP succeeded', delivers(rndis_packet(TCP4, element(0, 0x18))),
     nothing, 'both TCP and UDP succeeded'),
    ('TCP verdict on UDP', delivers(rndis_packet(ipv4(17), element(
        0, 0x08))), nothing, 'protocol of the frame is 17'),
    ('verdict on ARP', delivers(rndis_packet(arp(), element(0, 0x20))),
     nothing, 'no sane IP packet'),
    ('wrong TCP checksum is good', delivers(rndis_packet(
        ipv4(good=False), element(0, 0x28))), nothing,
     'the TCP checksum of the frame is wrong'),
    ('wrong UDP checksum is good', delivers(rndis_packet(
        ipv4(17, good=False), element(0, 0x30))), nothing,
     'the UDP checksum of the frame is wrong'),
    ('wrong IPv6 TCP checksum is good', delivers(rndis_packet(
        changed(ipv6(), 70, '<B', 99), element(0, 0x08))), nothing,
     'the TCP checksum of the frame is wrong'),
    ('IPv6 UDP without checksum is good', delivers(rndis_packet(
        changed(ipv6(17), 60, '<H', 0), element(0, 0x10))), nothing,
     'the UDP checksum of the frame is wrong'),
    ('wrong IP checksum is good', delivers(rndis_packet(
        changed(TCP4, 24, '<H', 0), element(0, 0x20))), nothing,
     'the IPv4 header checksum of the frame is wrong'),
    ('partial checksum is good', delivers(rndis_packet(
        changed(TCP4, 50, '>H', 0x1234), element(0, 0x28))), nothing,
     'the TCP checksum of the frame is wrong'),
    ('hash info bits', linux, put(
        'rx.batch.bytes', 44 + 32 + 12, '<I', 0x202), 'Hash info 0x00000202'),
    ('wrong hash', linux, put(
        'rx.batch.bytes', 44 + 16 + 12, '<I', 0x51CCC179),
     'the key of the guest gives 0x51ccc178'),
    ('coalesced without agreement', coalesced(0x00770301, agreed=False),
     nothing, 'did not agree to coalescing'),
    ('coalesced version 2', coalesced(0x00770302), nothing, 'version 2'),
    ('coalesced without a first', coalesced(0x00770101), nothing,
     'a fragment without a first one'),
    ('coalesced with two firsts', coalesced(0x00770301, 0x00770301), nothing,
     'a first fragment before the last'),
    ('coalesced with another id', coalesced(0x00770301, 0x00780101), nothing,
     'packet id 120 in the train of 119'),
    ('coalesced and not finished', coalesced(0x00770301, 0x00770101,
                                             0x00770101), nothing,
     'An ordinary frame inside'),
    ('frame with elements among coalesced', linux, both(
        put('rx.rsc.bytes', 44 + 4, '<I', 8, n=1)), 'An ordinary frame'),
    ('coalesced to the end of the packet', unfinished, nothing,
     'is not finished in its transfer-pages packet'),
    ('ordinary frame is Ethernet', delivers(rndis_packet(ethernet(
        0x8100, b'\0\5\x08\0' + bytes(40)))), nothing, '802.1Q tag inside'),
]

TABLE = MESSAGES + FRAMES
