"""Whole sessions that a judge has to accept, in the manner of each guest."""

import struct

from selftest_encoder import (ALL, NO_REPLY, Trace, Wire, arp, element,
                              indicate, initialize, initialize_complete, ipv4,
                              ipv6, mac_parameter, nvsp, offload_asked,
                              offload_object, offload_parameters, pad8, query,
                              query_complete, rndis_packet, rss_asked,
                              rss_capabilities, rss_parameters, set_,
                              set_complete, train)

MAC = bytes.fromhex('00155d0a0b0c')


def u32(value):
    return struct.pack('<I', value)


# ---- Attach -----------------------------------------------------------------

def nvsp_setup(w, style):
    """D.4 up to the buffers.  Trans ids as in D.10."""
    linux = style != 'dpdk'
    fill = 0 if linux else 0xEE
    none = NO_REPLY if linux else 0
    ids = iter((1, 2, 3) if linux else (0, 0, 0))
    if style == 'old':                       # 6.1 is refused, 5 is taken
        w.guest(nvsp(1, 0x60001, 0x60001), 'init.refused', 9, 1)
        w.reply(nvsp(2, 0xFFFFFFFF, 34, 0), 'init.refusal', 9)
    version = 0x50000 if style == 'old' else 0x60001
    tid = next(ids)
    w.guest(nvsp(1, version, version, fill=fill), 'init', tid, 1)
    w.reply(nvsp(2, 0xFFFFFFFF, 34, 1), 'init.reply', tid)
    capabilities = 0xAC if linux else 0xC
    w.guest(nvsp(125, 1514, 0, capabilities, 0, fill=fill), 'config', none)
    w.guest(nvsp(100, 6, 30, fill=fill), 'version', none)
    tid = next(ids)
    w.guest(nvsp(101, 0xE1E10, 0xCAFE, fill=fill), 'recv', tid, 1)
    w.gpadl(0xE1E10, w.receive, 'recv.gpadl')
    count = w.receive // w.suballoc
    w.reply(nvsp(102, 1, 1, 0, w.suballoc, count, w.suballoc * count),
            'recv.reply', tid)
    tid = next(ids)
    w.guest(nvsp(104, 0xE1E11, 0 if linux else 0xFACE, fill=fill), 'send',
            tid, 1)
    w.gpadl(0xE1E11, w.send, 'send.gpadl')
    w.reply(nvsp(105, 1, w.section), 'send.reply', tid)


def control(w, message, answers, label, style, tid, back=0):
    """One control request: message, 108, answer, its completion."""
    if style == 'section':
        w.send_section(message, 1, tid, label, 1)
    elif style == 'dpdk':
        w.send_pages(message, [(len(message), 0x80)], tid, label, 1, size=16,
                     fill=0xEE)
    elif len(message) > 40:                   # crosses a page: two ranges
        w.send_pages(message, [(40, 4056), (len(message) - 40, 0)], tid,
                     label, 1)
    else:
        w.send_pages(message, [(len(message), 0x100)], tid, label, 1)
    early = style == 'dpdk'                   # the order of these is free
    if early:
        w.sent(tid, label + '.done')
    for n, answer in enumerate(answers):
        w.deliver([answer], back + n, [back + n], label + '.answer', 1)
        w.taken(back + n, label + '.taken', size=40 if early else 8,
                fill=0xEE if early else 0)
    if not early:
        w.sent(tid, label + '.done')


def operations(w, style, oids):
    """oids: (label, 'q' or 's', oid, sent data, answered data)."""
    for label, kind, oid, sent, answer in oids:
        w.rids += 1
        tid = 0x7F0000001000 + 64 * w.rids if style == 'dpdk' else 20
        if kind == 'q':
            control(w, query(w.rids, oid, sent),
                    [query_complete(w.rids, answer)], label, style, tid)
        else:
            answers = [set_complete(w.rids)]
            if answer:
                answers.append(answer)
            control(w, set_(w.rids, oid, sent), answers, label, style, tid)


def rndis_initialize(w, style):
    w.rids += 1
    control(w, initialize(w.rids), [initialize_complete(w.rids)],
            'initialize', style, 0x7F0000000000 if style == 'dpdk' else 4)


LINUX_ATTACH = [
    ('q.frame', 'q', 0x00010106, b'', u32(1500)),
    ('q.mac', 'q', 0x01010101, b'', MAC),
    ('q.name', 'q', 0x00020216, b'', 'Network Device'.encode('utf-16-le')),
    ('q.offload', 'q', 0xFC01020D, offload_asked(), offload_object()),
    ('s.offload', 's', 0xFC01020C, offload_parameters(),
     indicate(0x40020006, offload_object())),
    ('q.link', 'q', 0x00010114, b'', u32(0)),
    ('q.speed', 'q', 0x00010107, b'', u32(100000000)),
    ('q.rss', 'q', 0x00010203, rss_asked(), rss_capabilities()),
]

DPDK_ATTACH = [
    ('s.filter0', 's', 0x0001010E, u32(0), None),
    ('q.mac', 'q', 0x01010101, b'', MAC),
    ('q.rss', 'q', 0x00010203, rss_asked(), rss_capabilities()),
    ('q.offload', 'q', 0xFC01020D, offload_asked(), offload_object()),
    ('s.offload', 's', 0xFC01020C, offload_parameters(rsc=0), None),
    ('q.offload2', 'q', 0xFC01020D, offload_asked(), offload_object()),
    ('s.filter', 's', 0x0001010E, u32(0x9), None),
]


def goodbye(w, style='linux'):
    operations(w, style, [('s.filter.off', 's', 0x0001010E, u32(0), None)])
    halt = struct.pack('<III', 3, 12, 99)
    if style == 'dpdk':
        w.guest(nvsp(103, 0xCAFE, fill=0xEE), 'revoke.recv', 0)
        w.guest(nvsp(106, 0xFACE, fill=0xEE), 'revoke.send', 0)
        control(w, halt, [], 'halt', style, 0x7F0000005000)
    else:
        control(w, halt, [], 'halt', style, 21)
        w.guest(nvsp(103, 0xCAFE), 'revoke.recv')
        w.guest(nvsp(106, 0), 'revoke.send')


# ---- Sessions ---------------------------------------------------------------

def kernel():
    """The same from a kernel in a VM, which names its buffers late."""
    return linux(late=True)


def linux(trace=None, nic=0, closed=True, late=False):
    """Everything that a modern Linux does on one NIC, with two channels."""
    trace = trace or Trace()
    w = Wire(trace, nic, late=late)
    w.open()
    w.event('irq-control')
    nvsp_setup(w, 'linux')
    rndis_initialize(w, 'linux')
    operations(w, 'linux', LINUX_ATTACH)

    w.guest(nvsp(133, 1, 1), 'subchannel', 5, 1)
    w.reply(nvsp(133, 1, 1), 'subchannel.reply', 5)
    w.host(nvsp(134, 16, 12, *([0, 1] * 8), size=80), 'indirection')
    operations(w, 'linux', [
        ('s.rss.off', 's', 0x00010204, rss_parameters(0x10), None),
        ('s.rss', 's', 0x00010204, rss_parameters(), None),
        ('s.mac', 's', 0x0001021B, mac_parameter(), None),
        ('s.filter', 's', 0x0001010E, u32(0xD), None),
    ])

    w.host(nvsp(128, 1, 7), 'vf', 1 << 63, 1)
    w.guest(nvsp(129, 1), 'switch', 6, 1)
    w.reply(b'', 'switch.reply', 6)
    w.host(nvsp(128, 0, 7), 'vf', 1 << 63, 1)
    w.guest(nvsp(129, 0), 'switch.back', 6, 1)
    w.reply(b'', 'switch.reply', 6)

    # Receive: one frame; a batch out of order with every element; on the
    # second channel; a coalesced train; indications between.
    w.deliver([rndis_packet(arp())], 7, [500], 'rx.one')
    tagged = ethertype_tagged()
    w.deliver([
        rndis_packet(ipv4(source='420995bb', ports=(2794, 1766)),
                     element(0, 0x28) + element(8, 0x51CCC178)
                     + element(9, 0x201)),                     # J.4
        rndis_packet(ipv4(17, 33), element(0, 0x30), pad=36),
        rndis_packet(tagged, element(6, 0x645)),
        rndis_packet(ipv6(17, 11), element(0, 0x10), gap=140),
        rndis_packet(ipv6(6, 100), element(0, 0x8)),
        rndis_packet(ipv4(good=False), element(0, 0x21)),
    ], 3, [17000, 30, 31, 32, 17977, 29], 'rx.batch')
    w.taken(3, 'rx.batch.taken')
    w.taken(7, 'rx.one.taken')
    w.deliver([rndis_packet(ipv4(6, 200),
                            element(0, 0x28) + element(8, 0x51CCC179))], 3,
              [30], 'rx.sub', channel=1)
    w.taken(3, 'rx.sub.taken', channel=1)
    big = ipv4(6, 1400)
    w.deliver([
        rndis_packet(big, element(0, 0x1A8) + element(0x80000001, 0x00770301)),
        rndis_packet(big[54:], element(0x80000001, 0x00770101)),
        rndis_packet(big[54:], element(0x80000001, 0x00770501)),
        rndis_packet(arp()),
    ], 17977, [40, 41, 42, 43], 'rx.rsc')
    w.taken(17977, 'rx.rsc.taken', status=2)
    w.deliver([indicate(0x4001000C)], 1, [1], 'link.down', 1)
    w.deliver([indicate(0x4001000B)], 2, [2], 'link.up', 1)
    w.deliver([indicate(0x40010013, u32(1000000))], 5, [3], 'link.speed', 1)
    w.deliver([indicate(0x40010018)], 6, [4], 'network.change', 1)
    for tid in (1, 2, 5, 6):
        w.taken(tid, 'indication.taken')

    # Transmit: aggregated in a section, from pages, mixed, with each
    # element; completions out of order.
    w.send_section(train([(arp(), b''), (ipv4(17, 3), b''),
                          (ipv4(6, 31), element(8, 1))]), 100, 10, 'tx.three')
    w.send_pages(rndis_packet(ipv4(6, 1400), element(0, 0x00220005)),
                 [(60, 4000), (1454, 10)], 11, 'tx.pages')
    message = train([(arp(), b''), (ipv6(6, 600), element(0, 0x00360006))])
    w.send_mixed(message, 200, 2730 - 1, 12, 'tx.mixed')
    w.send_section(rndis_packet(ipv4(6, 4000), element(8, 1)
                                + element(6, 0x645)
                                + element(2, 0x422005B4)), 5, 13, 'tx.lso')
    w.send_section(rndis_packet(arp(), pad=6), 6, 10, 'tx.sub', channel=1)
    w.sent(12, 'tx.mixed.done')
    w.sent(10, 'tx.three.done')
    w.sent(10, 'tx.sub.done', channel=1, size=8)
    w.sent(13, 'tx.lso.done')
    w.send_section(rndis_packet(ethertype_tagged(), element(6, 100 << 4)),
                   5, 13, 'tx.vlan')
    w.sent(11, 'tx.pages.done')
    w.sent(13, 'tx.vlan.done')
    operations(w, 'linux', [
        ('q.ok', 'q', 0x00020101, b'', struct.pack('<Q', 6)),
        ('s.lro', 's', 0xFC01020C, offload_parameters(rsc=1), None)])
    goodbye(w)
    if closed:
        w.close()
    return trace


def ethertype_tagged():
    """A frame whose outer tag was taken away; an inner one stays."""
    return ipv4(6, 20, tag=0x0123)


def dpdk(trace=None, nic=0):
    """DPDK's PMD: trans id 0, pointers, garbage in tails, pages for all but
    small frames, REVOKE before HALT."""
    trace = trace or Trace()
    w = Wire(trace, nic)
    w.open()
    nvsp_setup(w, 'dpdk')
    rndis_initialize(w, 'dpdk')
    operations(w, 'dpdk', DPDK_ATTACH)
    for n in range(6):
        w.deliver([rndis_packet(ipv4(17, 22 + n), element(0, 0x30))] * 3, n,
                  [20 + 3 * n, 21 + 3 * n, 22 + 3 * n], 'rx')
    for n in (0, 2, 1, 5, 4, 3):
        w.taken(n, 'rx.taken', size=40, fill=0xEE)
    hash_ = element(8, 0)
    w.send_section(train([(arp(), hash_)] * 8), 2729, 0x7F0000009000,
                   'tx.eight')
    head = rndis_packet(ipv4(6, 1400), hash_ + element(0, 0x00220015))
    w.send_pages(head, [(76, 0), (1454, 0x880)], 0x7F0000009040, 'tx.pages',
                 size=16, fill=0xEE)
    w.sent(0x7F0000009040, 'tx.pages.done')
    w.sent(0x7F0000009000, 'tx.eight.done')
    goodbye(w, 'dpdk')
    w.close()
    return trace


def own(trace=None, nic=0):
    """Control in send sections, as a guest without physical addresses has
    to (C.9); NVSP 5 after 6.1 was refused."""
    trace = trace or Trace()
    w = Wire(trace, nic)
    w.open()
    nvsp_setup(w, 'old')
    rndis_initialize(w, 'section')
    operations(w, 'section', LINUX_ATTACH[:2]
               + [('s.filter', 's', 0x0001010E, u32(0x20), None)])
    w.deliver([rndis_packet(arp())], 0, [16], 'rx')
    w.taken(0, 'rx.taken')
    goodbye(w, 'section')
    w.close()
    return trace


def killed(trace=None, nic=0):
    """Three sessions of one NIC: the first dies in the middle of traffic,
    with a message whose pages nobody can read any more, the second before
    it has a reply, the third says goodbye."""
    trace = trace or Trace()
    w = Wire(trace, nic)
    w.open()
    nvsp_setup(w, 'dpdk')
    rndis_initialize(w, 'dpdk')
    operations(w, 'dpdk', DPDK_ATTACH)
    w.deliver([rndis_packet(arp())] * 2, 0, [16, 17], 'rx')
    w.send_section(rndis_packet(arp()), 0, 0x1000, 'tx')
    w.send_pages(rndis_packet(arp()), [(44, 0), (60, 100)], 0x1040, 'tx.lost',
                 read=False)
    w.sent(0x1040, 'tx.lost.done', status=2)
    w.send_pages(rndis_packet(arp()), [(44, 0), (60, 100)], 0x1080,
                 'tx.last', read=False)
    w.close()
    w.event('link')
    w.open()
    w.guest(nvsp(1, 0x60001, 0x60001), 'init', 0, 1)
    w.close('rescinded')
    w.open()
    nvsp_setup(w, 'dpdk')
    rndis_initialize(w, 'dpdk')
    operations(w, 'dpdk', DPDK_ATTACH)
    goodbye(w, 'dpdk')
    w.close()
    return trace


def traffic(records, snap=ALL, ring_bytes=8192, closed=True):
    """'records' data records, half each way, in small rings that wrap all
    the time, at every 8-byte boundary."""
    trace = Trace(snap)
    w = Wire(trace, 0, ring_bytes)
    w.open()
    nvsp_setup(w, 'linux')
    rndis_initialize(w, 'linux')
    operations(w, 'linux', LINUX_ATTACH
               + [('s.filter', 's', 0x0001010E, u32(0xD), None)])
    large, small = ipv4(6, 1400), ipv4(17, 20)
    rx = [rndis_packet(large, element(0, 0x28))] * 3 \
        + [rndis_packet(small, element(0, 0x30))]
    tx = train([(small, b''), (large, element(0, 0x00220005)), (small, b'')])
    for n in range(records // 5):
        index = 16 + 4 * (n % 4000)
        count = n % 4 + 1
        w.deliver(rx[:count], n % 17000, range(index, index + count), 'rx')
        w.taken(n % 17000, 'rx.taken')
        for k in range(2):
            w.send_section(tx, (n + k) % 2730, 30 + k, 'tx')
        for k in range(2):
            w.sent(30 + k, 'tx.done')
    goodbye(w)
    if closed:
        w.close()
    return trace


def first_version():
    """NVSP 1: no NDIS_CONFIG; the host refuses the send buffer, so there are
    only pages."""
    trace = Trace()
    w = Wire(trace)
    w.open()
    w.guest(nvsp(1, 2, 2), 'init', 1, 1)
    w.reply(nvsp(2, 2, 34, 1), 'init.reply', 1)
    w.guest(nvsp(100, 6, 1), 'version')
    w.guest(nvsp(101, 0xE1E10, 0xCAFE), 'recv', 2, 1)
    w.reply(nvsp(102, 1, 1, 0, w.suballoc, 100, w.suballoc * 100),
            'recv.reply', 2)
    w.guest(nvsp(104, 0xE1E11, 0), 'send', 3, 1)
    w.reply(nvsp(105, 2, 0), 'send.reply', 3)
    rndis_initialize(w, 'linux')
    w.send_pages(rndis_packet(arp()), [(104, 0)], 5, 'tx')
    return trace


def mixed_and_cut():
    """Two messages, the data of the second in pages; 20 bytes of each frame
    are kept."""
    trace, w = ready(snap=20)
    first, second = arp(), arp(900)
    message = train([(first, b''), (second, b'')])
    split = 104 + 44
    w.send_mixed(message, split, 9, 50, 'tx')
    for label, parts in (
            ('tx.bytes', ((0, message[:64]), (104, message[104:148]))),
            ('tx.pages', ((0, message[148:168]),))):
        trace.find(label).payload = bytearray(b''.join(
            struct.pack('<II', at, len(part)) + pad8(part)
            for at, part in parts))
    return trace


def interleaved():
    """Two NICs, record by record: each has its own order."""
    one, two = linux(nic=3).recs, dpdk(nic=0).recs
    trace = Trace()
    while one or two:
        for recs in (one, two):
            if recs:
                trace.recs.append(recs.pop(0))
    return trace


def ready(filter_=0xD, snap=ALL):
    """A session just before its first frame, and its wire to go on with."""
    trace = Trace(snap)
    w = Wire(trace)
    w.open()
    nvsp_setup(w, 'linux')
    rndis_initialize(w, 'linux')
    operations(w, 'linux', LINUX_ATTACH)
    if filter_ is not None:
        operations(w, 'linux',
                   [('s.filter', 's', 0x0001010E, u32(filter_), None)])
    return trace, w


def documented():
    """Reference J: INIT, its reply, 102, and the answer to INITIALIZE are at
    the ring offsets that J.1 gives them."""
    trace = Trace()
    w = Wire(trace)
    w.open()
    w.guest(nvsp(1, 0x60001, 0x60001), 'init', 1, 1)
    w.reply(nvsp(2, 0xFFFFFFFF, 34, 1), 'init.reply', 1)
    w.guest(nvsp(125, 1514, 0, 0x2C, 0), 'config')
    w.guest(nvsp(100, 6, 30), 'version')
    w.guest(nvsp(101, 0xE1E10, 0xCAFE), 'recv', 2, 1)
    w.reply(nvsp(102, 1, 1, 0, 1808, 17978, 32504224), 'recv.reply', 2)
    w.send_pages(initialize(1), [(24, 0x100)], 3, 'initialize', 1)
    w.deliver([initialize_complete(1)], 0, [0], 'initialize.answer', 1)
    w.taken(0, 'initialize.taken')
    w.sent(3, 'initialize.done')
    w.close()
    return trace
