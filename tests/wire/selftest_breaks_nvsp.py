"""What a judge has to refuse: the order of NVSP, buffers, completions and
ledgers.  Rows as in selftest_breaks_wire.py."""

import struct

from selftest_changes import (FRAME, at_end, attribute, both, document, drop,
                              lengthen, move, nothing, put, repeat, then)
from selftest_encoder import NO_SECTION, Trace, Wire, nvsp, transfer_head
from selftest_sessions import dpdk, kernel, killed, linux, own


def old_version(value):
    """INIT offers another version, and the rest stays."""
    return put('init', 20, '<II', value, value)


ORDER = [
    ('nothing before INIT', linux, drop('init', 'init.reply'),
     'SEND_NDIS_CONFIG before an INIT has succeeded'),
    ('a message before INIT is answered', linux,
     move('config', 'init.reply'),
     'SEND_NDIS_CONFIG before an INIT has succeeded'),
    ('a message after INIT was refused', own, drop('init', 'init.reply'),
     'SEND_NDIS_CONFIG before an INIT has succeeded'),
    ('second INIT', linux, at_end('init'), 'A second INIT'),
    ('INIT while INIT is not answered', own, both(
        move('init.refusal', 'init', after=True),
        put('init.refusal', 28, '<I', 0)), 'the previous one has no reply'),
    ('INIT of two versions', linux, put('init', 24, '<I', 0x60000),
     'the same known version'),
    ('INIT of an unknown version', linux, old_version(0x70000),
     'the same known version'),
    ('INIT without completion flag', linux, put('init', 6, '<H', 0),
     'INIT does not ask for the completion'),
    ('message of the host from the guest', linux,
     put('config', 16, '<I', 105), 'NVSP message 105 (SEND_SEND_BUF_COMPLETE)'
     ' is not one a guest sends'),
    ('unknown message from the guest', linux, put('config', 16, '<I', 3),
     'NVSP message 3 (unknown)'),
    ('second config', linux, repeat('config'), 'A second SEND_NDIS_CONFIG'),
    ('config asks for a completion', linux, put('config', 6, '<H', 1),
     'there is none for it'),
    ('config with NVSP 1', linux, old_version(2), 'NVSP 1 has no'),
    ('config after version', linux, move('config', 'version', after=True),
     'SEND_NDIS_VERSION before SEND_NDIS_CONFIG'),
    ('version without config', linux, drop('config'),
     'SEND_NDIS_VERSION before SEND_NDIS_CONFIG'),
    ('undefined capability', linux, put('config', 28, '<Q', 0x10C),
     'undefined bits'),
    ('second version', linux, repeat('version'),
     'A second SEND_NDIS_VERSION'),
    ('NDIS 7', linux, put('version', 20, '<I', 7), 'NDIS version 7.30'),
    ('receive buffer before version', linux, drop('version'),
     'SEND_RECV_BUF before SEND_NDIS_VERSION'),
    ('second receive buffer', linux, at_end('recv'),
     'A second SEND_RECV_BUF'),
    ('receive buffer of another GPADL', linux, put('recv', 20, '<I', 7),
     'GPADL 0x7 is not the receive_gpadl'),
    ('receive buffer of a GPADL that nobody told about', kernel,
     drop('recv.gpadl'), 'no event said what GPADL 0xe1e10 is'),
    ('receive buffer of another GPADL in a VM', kernel,
     put('recv', 20, '<I', 7), 'no event said what GPADL 0x7 is'),
    ('receive buffer longer than its GPADL', kernel,
     document('recv.gpadl', bytes=4096), 'more than the receive buffer, 4096'),
    ('send buffer of a GPADL that nobody told about', kernel,
     drop('send.gpadl'), 'no event said what GPADL 0xe1e11 is'),
    ('GPADL without its length', kernel, document('send.gpadl', bytes=None),
     'A GPADL without a number "bytes"'),
    ('receive buffer with another id', linux, put('recv', 24, '<H', 0xFACE),
     'id 0xface, not 0xCAFE'),
    ('send buffer before receive buffer', linux, both(
        move('send', 'recv')), 'SEND_SEND_BUF before SEND_RECV_BUF'),
    ('second send buffer', linux, at_end('send'), 'A second SEND_SEND_BUF'),
    ('send buffer of another GPADL', linux, put('send', 20, '<I', 7),
     'GPADL 0x7 is not the send_gpadl'),
    ('RNDIS before the receive buffer', linux, drop(
        'recv', 'recv.reply', 'send', 'send.reply'),
     'SEND_RNDIS_PKT before there is a receive buffer'),
    ('RNDIS after the receive buffer was refused', linux,
     put('recv.reply', 20, '<I', 2),
     'SEND_RNDIS_PKT before there is a receive buffer'),
    ('subchannels with NVSP 4', linux, old_version(0x40000),
     'Subchannels begin with NVSP 5'),
    ('subchannels before the receive buffer', linux, both(
        move('subchannel', 'recv')), 'SUBCHANNEL request before'),
    ('second subchannel request', linux, at_end('subchannel'),
     'A second SUBCHANNEL request'),
    ('unknown subchannel operation', linux, put('subchannel', 20, '<I', 2),
     'SUBCHANNEL operation 2'),
    ('set-up on a subchannel', linux, both(
        attribute('switch', 'channel', 1),
        lambda t: t.reflow()), 'SWITCH_DATA_PATH came on subchannel 1'),
    ('set-up in a GPA-direct packet', linux,
     put('tx.pages', 56, '<I', 129), 'came in a GPA-direct packet'),
    ('data path with NVSP 2', linux, both(
        old_version(0x30002), drop('subchannel', 'subchannel.reply',
                                   'indirection', 'vf')),
     'SWITCH_DATA_PATH begins with NVSP 4'),
    ('no message at all', then(lambda w: w.guest(b'', 'x')), nothing,
     'no room for an NVSP message'),
    ('unknown data path', linux, put('switch', 20, '<I', 2),
     'Data path 2 is unknown'),
    ('revoked twice', linux, at_end('revoke.recv'),
     'REVOKE_RECV_BUF without a receive buffer'),
    ('send buffer revoked twice', linux, at_end('revoke.send'),
     'REVOKE_SEND_BUF without a send buffer'),
    ('revoke of another id', linux, put('revoke.recv', 20, '<H', 1),
     'names buffer 0x0001'),
    ('revoke asks for a completion', linux, put('revoke.send', 6, '<H', 1),
     'there is none for it'),
]

REPLIES = [
    ('reply of 32 bytes', linux, lambda t: shorter(t, 'init.reply', 8),
     'has 32 bytes, not 40'),
    ('reply of 48 bytes', linux, lengthen('recv.reply', 8),
     'has 48 bytes, not 40'),
    ('reply in-band', linux, put('init.reply', 0, '<H', 6),
     'NVSP message 2 (INIT_COMPLETE) is not one a host sends in-band'),
    ('reply of another type', linux, put('recv.reply', 16, '<I', 105),
     'SEND_RECV_BUF is answered by message 105'),
    ('reply with another trans id', linux, put('recv.reply', 8, '<Q', 77),
     'completes transaction 0x4d'),
    ('reply twice', linux, repeat('recv.reply'),
     'completes transaction 0x2 on channel 0, which is not outstanding'),
    ('reply without a request', linux, drop('recv'),
     'completes transaction 0x2'),
    ('status 8', linux, put('send.reply', 20, '<I', 8),
     'NVSP status 8 is unknown'),
    ('two receive sections', linux, put('recv.reply', 24, '<I', 2),
     'has 2 sections'),
    ('receive section not at 0', linux, put('recv.reply', 28, '<I', 8),
     'starts at 8, not 0'),
    ('sub-allocation of 60 bytes', linux, put('recv.reply', 32, '<I', 60),
     'at least one, and of 68'),
    ('no sub-allocation', linux, put('recv.reply', 36, '<I', 0),
     'at least one'),
    ('more sub-allocations than buffer', linux,
     put('recv.reply', 36, '<I', 17979), 'more than the receive buffer'),
    ('end offset', linux, put('recv.reply', 40, '<I', 31 << 20),
     'The end offset is 32505856'),
    ('sub-allocation not as opened', linux,
     document('open', suballoc_size=2048), 'was opened with 2048'),
    ('send section of 0', linux, put('send.reply', 24, '<I', 0),
     'A send section of 0 bytes'),
    ('send section of 6142', linux, put('send.reply', 24, '<I', 6142),
     'no multiple of 4'),
    ('send section larger than the buffer', linux,
     document('open', send_buffer=4096), 'the buffer has 4096'),
    ('send section not as opened', linux, document('open', section_size=1728),
     'was opened with 1728'),
    ('more subchannels granted than asked', linux,
     put('subchannel.reply', 24, '<I', 2), '2 subchannels granted of 1'),
    ('switch completed with bytes', linux, lengthen('switch.reply', 8),
     'is not empty'),
    ('in-band message unknown', linux, put('vf', 16, '<I', 130),
     'NVSP message 130'),
    ('VF neither here nor gone', linux, put('vf', 20, '<I', 2),
     'neither 0 nor 1'),
    ('VF with NVSP 2', linux, both(
        old_version(0x30002), drop('subchannel', 'subchannel.reply',
                                   'indirection')), 'needs NVSP 4'),
    ('table with NVSP 4', linux, both(
        old_version(0x40000), drop('subchannel', 'subchannel.reply')),
     'SEND_INDIRECTION_TABLE needs NVSP 5'),
    ('VF in 8 bytes', then(lambda w: w.host(
        struct.pack('<II', 128, 1), 'x')), nothing,
     'SEND_VF_ASSOCIATION has 8 bytes'),
    ('table in 8 bytes', then(lambda w: w.host(
        struct.pack('<II', 134, 16), 'x')), nothing,
     'SEND_INDIRECTION_TABLE has 8 bytes'),
    ('table of 15', linux, put('indirection', 20, '<I', 15), 'not 16'),
    ('table outside the message', linux, put('indirection', 24, '<I', 24),
     'is at 24 of 80 bytes'),
    ('table entry of channel 2', linux, put('indirection', 28, '<I', 2),
     'sends to channel 2 of 2'),
    ('table asks for a completion', linux, put('indirection', 6, '<H', 1),
     'asks for a completion'),
    ('table on a subchannel', linux, both(
        attribute('indirection', 'channel', 1), lambda t: t.reflow()),
     'on subchannel 1'),
]


def shorter(t, label, size):
    rec = t.find(label)
    del rec.payload[-8 - size:-8]
    rec.original = len(rec.payload)
    rec.patch(4, struct.pack('<H', (len(rec.payload) - 8) // 8))
    t.reflow()


def in_section(index, used, kind=0):
    return then(lambda w: w.guest(nvsp(107, kind, index, used), 'x', 50, 1))


def on_pages(index, used):
    return then(lambda w: w.guest(
        nvsp(107, 0, index, used), 'x', 50, 1, 9,
        struct.pack('<IIIIQ', 0, 1, 104, 0, 5)))


def section_again(w):
    w.send_section(FRAME, 7, 50, 'x')
    w.send_section(FRAME, 7, 51, 'x')


def id_again(w):
    w.send_section(FRAME, 7, 50, 'x')
    w.send_section(FRAME, 8, 50, 'x')


def sent_twice(w):
    w.send_section(FRAME, 7, 50, 'x')
    w.sent(50, 'x')
    w.sent(50, 'x')


def sent_on_another_channel():
    trace = linux()
    trace.find('tx.sub.done').channel = 0
    trace.reflow()
    return trace


def completed_by(message):
    def go(w):
        w.send_section(FRAME, 7, 50, 'x')
        w.reply(message, 'x', 50)
    return then(go)


def then_revoke(go):
    def all_of_it(w):
        w.guest(nvsp(103, 0xCAFE), 'x')
        w.guest(nvsp(106, 0), 'x')
        go(w)
    return then(all_of_it)


def without_send_buffer():
    trace = Trace()
    w = Wire(trace)
    w.open()
    w.guest(nvsp(1, 0x60001, 0x60001), 'init', 1, 1)
    w.reply(nvsp(2, 0xFFFFFFFF, 34, 1), 'init.reply', 1)
    w.guest(nvsp(125, 1514, 0, 0x2C, 0), 'config')
    w.guest(nvsp(100, 6, 30), 'version')
    w.guest(nvsp(101, 0xE1E10, 0xCAFE), 'recv', 2, 1)
    w.reply(nvsp(102, 1, 1, 0, 1808, 17978, 32504224), 'recv.reply', 2)
    w.send_section(FRAME, 0, 3, 'x', 1)
    return trace


SENDING = [
    ('RNDIS without completion flag', linux, put('tx.three', 6, '<H', 0),
     'SEND_RNDIS_PKT does not ask for the completion'),
    ('neither section nor pages', in_section(NO_SECTION, 0), nothing,
     'there is no message'),
    ('bytes of no section', on_pages(NO_SECTION, 8), nothing,
     'No section is used, but 8 bytes'),
    ('section beyond the buffer', in_section(2730, 104), nothing,
     'beyond the end of the send buffer: it has 2730'),
    ('more than a section', in_section(5, 6145), nothing,
     '6145 bytes of a section of 6144'),
    ('nothing of a section', in_section(5, 0), nothing,
     '0 bytes of a section'),
    ('section without a send buffer', without_send_buffer, nothing,
     'Section 0 is used without a send buffer'),
    ('section of a revoked buffer',
     then_revoke(lambda w: w.send_section(FRAME, 0, 3, 'x')), nothing,
     'used without a send buffer'),
    ('section before its completion', then(section_again), nothing,
     'Section 7 is used again before its completion'),
    ('transaction id before its completion', then(id_again), nothing,
     'Transaction id 0x32 is still in use'),
    ('RNDIS channel type 2', in_section(5, 104, 2), nothing,
     'channel type 2'),
    ('control on a subchannel', linux, put('tx.sub', 20, '<I', 1),
     'RNDIS control on a subchannel'),
    ('bytes of another section', linux,
     attribute('tx.three.bytes', 'position', 0),
     'refers to offset 614400, the data record to 0'),
    ('another number of bytes', linux,
     put('tx.three', 28, '<I', 200), 'refers to 200 bytes'),
    ('bytes of the section missing', linux, drop('tx.three.bytes'),
     'data of the previous packet are missing'),
    ('bytes of the wrong kind', linux, attribute('tx.three.bytes', 'kind', 5),
     'of kind 4 has to follow'),
    ('bytes on another channel', linux,
     attribute('tx.sub.bytes', 'channel', 0), 'its data of channel 0'),
    ('bytes of no packet', linux, drop('tx.three'),
     'Data bytes without a packet'),
    ('completed twice', then(sent_twice), nothing,
     'completes transaction 0x32'),
    ('completed on another channel', sent_on_another_channel, nothing,
     'completes transaction 0xa on channel 0, which is not outstanding'),
    ('never sent', dpdk, put('tx.pages.done', 8, '<Q', 0xDEAD),
     'completes transaction 0xdead'),
    ('completed with failure', completed_by(nvsp(108, 2)), nothing,
     'a well-formed RNDIS message with status 2'),
    ('completed by another message', completed_by(nvsp(105, 1)), nothing,
     'completed by message 105'),
    ('completed with nothing', completed_by(b''), nothing,
     'has 0 bytes, not 8 to 40'),
    ('success for bytes that were not read', killed,
     put('tx.lost.done', 20, '<I', 1), 'whose bytes the trace does not have'),
]


def transfer(ranges, tid=5, flags=1, message=None, ident=0xCAFE):
    message = message or nvsp(107, 0, NO_SECTION, 0)
    return then(lambda w: w.host(message, 'x', tid, flags, 7,
                                 transfer_head(ranges, ident)))


def suballocation_again(w):
    w.deliver([FRAME], 1, [99], 'x')
    w.deliver([FRAME], 2, [99], 'x')


def suballocation_twice(w):
    w.deliver([FRAME, FRAME], 1, [99, 99], 'x')


def transfer_id_again(w):
    w.deliver([FRAME], 1, [99], 'x')
    w.deliver([FRAME], 1, [98], 'x')


def taken_twice(w):
    w.deliver([FRAME], 1, [99], 'x')
    w.taken(1, 'x')
    w.held[0, 1] = 1
    w.taken(1, 'x')


def taken_by(message):
    def go(w):
        w.deliver([FRAME], 1, [99], 'x')
        w.guest(message, 'x', 1, 0, 11)
    return then(go)


def taken_elsewhere():
    trace = linux()
    trace.find('rx.sub.taken').channel = 0
    trace.reflow()
    return trace


ONE = [(104, 0)]

RECEIVING = [
    ('transfer without completion flag', transfer(ONE, flags=0), nothing,
     'asks for no completion'),
    ('transfer page set', transfer(ONE, ident=0xBEEF), nothing,
     'page set is 0xbeef'),
    ('transfer of another message', transfer(ONE, message=nvsp(134, 1, 1, 1)),
     nothing, 'carries NVSP message 134'),
    ('transfer of channel type 2',
     transfer(ONE, message=nvsp(107, 2, NO_SECTION, 0)), nothing,
     'channel type 2'),
    ('transfer with a section', transfer(ONE, message=nvsp(107, 0, 0, 0)),
     nothing, 'names a send section'),
    ('control transfer on a subchannel', linux,
     put('rx.sub', 32 + 4, '<I', 1), 'RNDIS control on a subchannel'),
    ('transfer with half a message',
     transfer(ONE, message=struct.pack('<II', 107, 0)), nothing,
     'has 8 bytes, not 16 to 40'),
    ('transfer id too high', transfer(ONE, tid=17978), nothing,
     'an index below 17978'),
    ('transfer id still outstanding', then(transfer_id_again), nothing,
     'Transfer id 0x1 is still outstanding'),
    ('transfer before the receive buffer', linux, both(
        move('rx.one', 'init.reply', after=True)),
     'without a receive buffer'),
    ('transfer after revoke',
     then_revoke(lambda w: w.deliver([FRAME], 1, [99], 'x')), nothing,
     'without a receive buffer'),
    ('376 ranges', linux, both(
        put('config', 28, '<Q', 0x2C), document('open', ring_bytes=65536),
        lambda t: put_ranges(t, 376)), '376 ranges in one packet'),
    ('range inside a sub-allocation', transfer([(104, 8)]), nothing,
     'not at the start of a sub-allocation'),
    ('range beyond the last', transfer([(104, 1808 * 17978)]), nothing,
     'beyond the last of 17978'),
    ('range longer than a sub-allocation', transfer([(1809, 0)]), nothing,
     'A range of 1809 bytes'),
    ('range of 7 bytes', transfer([(7, 0)]), nothing, 'A range of 7 bytes'),
    ('sub-allocation used again', then(suballocation_again), nothing,
     'Sub-allocation 99 is used again'),
    ('sub-allocation twice in a packet', then(suballocation_twice), nothing,
     'Sub-allocation 99 is used again'),
    ('bytes of another range', linux,
     attribute('rx.batch.bytes', 'position', 0, 3),
     'the data record to 0'),
    ('bytes of a range missing', linux, drop('rx.one.bytes'),
     'data of the previous packet are missing'),
    ('taken twice', then(taken_twice), nothing,
     'completes transfer 0x1 on channel 0, which is not outstanding'),
    ('taken on another channel', taken_elsewhere, nothing,
     'completes transfer 0x3 on channel 0, which is not outstanding'),
    ('taken without an id', linux, put('rx.one.taken', 8, '<Q', 1 << 40),
     'completes transfer 0x10000000000'),
    ('taken by another message', taken_by(nvsp(107, 1)), nothing,
     'completed by message 107'),
    ('taken by nothing', taken_by(b''), nothing, 'has 0 bytes'),
    ('taken with status 9', taken_by(nvsp(108, 9)), nothing,
     'NVSP status 9'),
]


def put_ranges(t, count):
    rec = t.find('rx.one')
    rec.payload = bytearray(
        struct.pack('<HHHHQ', 7, 3 + count, 3 + count + 5, 1, 7)
        + transfer_head([(104, 1808 * n) for n in range(count)])
        + nvsp(107, 0, NO_SECTION, 0) + bytes(8))
    rec.original = len(rec.payload)
    t.reflow()


TABLE = ORDER + REPLIES + SENDING + RECEIVING
