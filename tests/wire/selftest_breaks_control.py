"""What a judge has to refuse: RNDIS control messages and OIDs.  Rows as in
selftest_breaks_wire.py."""

import struct

from selftest_changes import (FRAME, answered, answers, asks, both, changed,
                              document, drop, nothing, put, says, then)
from selftest_encoder import (indicate, initialize, mac_parameter,
                              offload_object, offload_parameters, query,
                              query_complete, rss_asked, rss_capabilities,
                              rss_parameters, set_, set_complete)
from selftest_sessions import linux, u32

FILTER = 0x0001010E


def halt_then(message):
    def go(w):
        w.send_pages(struct.pack('<III', 3, 12, 9), [(12, 0)], 50, 'x', 1)
        w.send_pages(message, [(len(message), 0)], 51, 'x', 1)
    return then(go)


def halt_answered(w):
    w.send_pages(struct.pack('<III', 3, 12, 9), [(12, 0)], 50, 'x', 1)
    w.deliver([struct.pack('<IIII', 0x80000003, 16, 9, 0)], 1, [1], 'x', 1)


CONTROL = [
    ('QUERY before INITIALIZE', linux, drop(
        'initialize', 'initialize.bytes', 'initialize.answer',
        'initialize.answer.bytes', 'initialize.taken', 'initialize.done'),
     'QUERY before INITIALIZE has succeeded'),
    ('QUERY after INITIALIZE failed', linux,
     put('initialize.answer.bytes', 12, '<I', 0xC0000001),
     'QUERY before INITIALIZE has succeeded'),
    ('second INITIALIZE', asks(initialize(500)), nothing,
     'A second INITIALIZE'),
    ('RNDIS 2.0', linux, put('initialize.bytes', 12, '<I', 2),
     'RNDIS version 2.0'),
    ('no transfer size', linux, put('initialize.bytes', 20, '<I', 0),
     'max transfer size of 0'),
    ('answered with RNDIS 1.1', linux,
     put('initialize.answer.bytes', 20, '<I', 1), 'RNDIS version 1.1'),
    ('other packets per message', linux,
     put('initialize.answer.bytes', 32, '<I', 16), '16 packets per message'),
    ('other alignment shift', linux, document('open', alignment_shift=2),
     'Alignment shift 3, but'),
    ('medium 1', linux, put('initialize.answer.bytes', 28, '<I', 1),
     'Medium 1'),
    ('device flags', linux, put('initialize.answer.bytes', 24, '<I', 2),
     'Device flags 2'),
    ('address families', linux, put('initialize.answer.bytes', 48, '<I', 4),
     'address-family'),
    ('transfer size takes no frame', linux,
     put('initialize.answer.bytes', 36, '<I', 50), 'takes no frame'),
    ('message of 10 bytes', asks(bytes(10)), nothing, 'of 10 bytes'),
    ('SET_EX', asks(struct.pack('<III', 9, 12, 5)), nothing,
     'RNDIS message 0x00000009 (SET_EX)'),
    ('data as control', asks(FRAME), nothing, 'RNDIS message 0x00000001'),
    ('host sends KEEPALIVE', says(struct.pack('<III', 8, 12, 5)), nothing,
     'RNDIS message 0x00000008 (KEEPALIVE)'),
    ('message length', linux, put('q.mac.bytes', 4, '<I', 24),
     'QUERY says it has 24 bytes'),
    ('INITIALIZE of 28 bytes', linux, both(
        lambda t: grow(t, 'initialize', 4)), 'instead of 24'),
    ('request id in use', then(lambda w: [
        w.send_pages(query(500, 0x00010114), [(28, 0)], 50 + n, 'x', 1)
        for n in (0, 1)]), nothing, 'Request id 500 is still in use'),
    ('answered twice', answers(query(500, 0x00010114),
                               query_complete(500, u32(0)),
                               query_complete(500, u32(0))), nothing,
     'answers request 500, which is not outstanding'),
    ('answer to nobody', says(set_complete(77)), nothing,
     'SET_CMPLT answers request 77'),
    ('QUERY answered by SET_CMPLT', answers(query(500, 0x00010114),
                                            set_complete(500)), nothing,
     'Request 500 is a QUERY, but SET_CMPLT'),
    ('unknown status', answers(set_(500, FILTER, u32(0)),
                               set_complete(500, 5)), nothing,
     'Status 0x00000005 is unknown'),
    ('SET_CMPLT of 20 bytes', answers(
        set_(500, FILTER, u32(0)),
        struct.pack('<IIIII', 0x80000005, 20, 500, 0, 0)), nothing,
     'SET_CMPLT has 20 bytes instead of 16'),
    ('range longer than its message', answers(
        set_(500, FILTER, u32(0)), set_complete(500) + bytes(8)), nothing,
     'its range has 24'),
    ('control over the transfer size', linux,
     put('initialize.answer.bytes', 36, '<I', 60), 'host takes 60 at a time'),
    ('RESET_CMPLT with an unknown status', answers(
        struct.pack('<III', 6, 12, 0),
        struct.pack('<IIII', 0x80000006, 16, 7, 0)), nothing,
     'RESET_CMPLT with status 0x00000007'),
    ('RESET_CMPLT without RESET',
     says(struct.pack('<IIII', 0x80000006, 16, 0, 0)), nothing,
     'RESET_CMPLT without a RESET'),
    ('HALT answered', then(halt_answered), nothing,
     'RNDIS message 0x80000003'),
    ('QUERY after HALT', halt_then(query(500, 0x00010114)), nothing,
     'QUERY after HALT'),
    ('second HALT', halt_then(struct.pack('<III', 3, 12, 9)), nothing,
     'HALT after HALT'),
    ('data after HALT', then(lambda w: [
        w.send_pages(struct.pack('<III', 3, 12, 9), [(12, 0)], 50, 'x', 1),
        w.send_section(FRAME, 9, 51, 'x')]), nothing,
     'after the guest began to leave'),
    ('QUERY after the receive buffer was revoked', then(lambda w: [
        w.guest(struct.pack('<II', 103, 0xCAFE) + bytes(32), 'x'),
        w.send_pages(query(500, 0x00010114), [(28, 0)], 50, 'x', 1)]),
     nothing, 'QUERY after REVOKE_RECV_BUF'),
    ('indication before INITIALIZE', linux, both(
        put('initialize.answer.bytes', 0, '<IIIII', 7, 20, 0x4001000B, 0, 0),
        lambda t: grow(t, 'initialize.answer', -32)),
     'INDICATE_STATUS before INITIALIZE_CMPLT'),
    ('indication of no event', says(indicate(0xC0000001)), nothing,
     '(failure) is not one'),
    ('media connect with data', says(indicate(0x4001000B, u32(1))), nothing,
     'carries 4 bytes, not 0'),
    ('link speed without data', says(indicate(0x40010013)), nothing,
     'carries 0 bytes, not 4'),
    ('indication data offset',
     says(changed(indicate(0x40010013, u32(1)), 16, '<I', 20)), nothing,
     'have offset 20, not 12'),
    ('indication data length',
     says(changed(indicate(0x40010013, u32(1)), 12, '<I', 8)), nothing,
     '20 bytes and 8 of data are not 24'),
    ('indication of a bad offload object',
     says(indicate(0x40020006, offload_object()[:100])), nothing,
     'there are 100'),
]


def grow(t, label, extra):
    """The bytes of a control message and every length that counts them."""
    packet, data = t.find(label), t.find(label + '.bytes')
    size = len(data.payload) + extra
    data.payload = data.payload[:size] + bytes(max(extra, 0))
    data.original = size
    data.patch(4, struct.pack('<I', size))
    packet.patch(24, struct.pack('<I', size))


OIDS = [
    ('unknown OID', asks(query(500, 0x00010117)), nothing,
     'OID 0x00010117 is unknown'),
    ('QUERY of what is only SET', asks(query(500, 0x00010204)), nothing,
     'has no QUERY'),
    ('SET of what is only queried', asks(set_(500, 0x00010107, u32(1))),
     nothing, 'has no SET'),
    ('information offset 0', asks(changed(query(500, 0x00010107), 20, '<I',
                                          0)), nothing, 'offset 0, not 20'),
    ('information length', asks(changed(set_(500, FILTER, u32(1)), 16, '<I',
                                        8)), nothing,
     '28 bytes and 8 of data are not 32'),
    ('VC handle', asks(changed(query(500, 0x00010107), 24, '<I', 1)), nothing,
     'VC handle is 0x1'),
    ('input to a query without', asks(query(500, 0x00010107, u32(0))),
     nothing, 'for a query that has none'),
    ('no input to a query with', asks(query(500, 0xFC01020D)), nothing,
     'are no offload object'),
    ('filter of 8 bytes', asks(set_(500, FILTER, bytes(8))), nothing,
     '8 bytes instead of 4'),
    ('filter with undefined bits', asks(set_(500, FILTER, u32(0x1001))),
     nothing, 'filter 0x1001'),
    ('answer data offset', linux, put('q.mac.answer.bytes', 20, '<I', 24),
     'have offset 24, not 16'),
    ('answer data length', linux, put('q.mac.answer.bytes', 16, '<I', 8),
     '24 bytes and 8 of data are not 30'),
    ('failure with data', linux,
     put('q.mac.answer.bytes', 12, '<I', 0xC00000BB),
     'A failed QUERY of 802_3_PERMANENT_ADDRESS'),
    ('answer of the wrong size', answered(0x00010114, bytes(8)), nothing,
     '8 bytes instead of 4'),
    ('another MAC', linux, put('q.mac.answer.bytes', 24, '<B', 2),
     '02:15:5d:0a:0b:0c, but the NIC has'),
    ('group MAC', answered(0x01010102, b'\1\2\3\4\5\6'), nothing,
     'a group address'),
    ('link neither up nor down', answered(0x00010114, u32(2)), nothing,
     '2 is above 1'),
    ('another link speed', answered(0x00010107, u32(10000000)), nothing,
     '10000000 times 100 bit/s'),
    ('MTU of nobody', answered(0x00010106, u32(1600)), nothing,
     'an MTU of 1600, but it is 1500'),
    ('MTU of 20', answered(0x00010106, u32(20)), nothing, 'an MTU of 20'),
    ('medium not 802.3', answered(0x00010104, u32(3)), nothing,
     '3 is above 0'),
    ('list with an unknown OID',
     answered(0x00010101, struct.pack('<II', 0x00010101, 0x00010177)),
     nothing, 'OID 0x00010177 in the list'),
    ('friendly name of odd length', answered(0x00020216, b'abc'), nothing,
     '3 bytes of UTF-16'),
    ('link state of another revision',
     answered(0x00010207, struct.pack('<BBH', 0x80, 2, 40) + bytes(36)),
     nothing, 'revision 2 of the link state'),
    ('offload object of another type',
     answered(0xFC01020B, changed(offload_object(), 0, '<B', 0xA8)), nothing,
     'object type 0xa8'),
    ('offload object of another size',
     answered(0xFC01020B, changed(offload_object(), 2, '<H', 144)), nothing,
     'has 156 bytes; the header says 144'),
    ('offload flags', answered(0xFC01020B, changed(offload_object(), 8, '<I',
                                                   0x555)), nothing,
     'checksum flags 0x555 have undefined bits'),
    ('LSO without a maximum',
     answered(0xFC01020B, changed(offload_object(), 84, '<I', 0)), nothing,
     'without a maximum size'),
    ('newer revision than asked', answers(
        query(500, 0xFC01020D, offload_object(2)),
        query_complete(500, offload_object(3))), nothing,
     'The answer has revision 3, the guest asked for 2'),
    ('offload parameter 5', asks(set_(500, 0xFC01020C, changed(
        offload_parameters(), 4, '<B', 5))), nothing, 'checksum parameter 5'),
    ('offload parameters of 24 bytes', asks(set_(
        500, 0xFC01020C, changed(offload_parameters(), 2, '<H', 24)[:24])),
     nothing, 'revision 3 with size 24'),
    ('RSS of no queues', answered(0x00010203, rss_capabilities(0),
                                  rss_asked()), nothing,
     'no receive queue at all'),
    ('RSS of no entries', answered(
        0x00010203, changed(rss_capabilities(), 16, '<H', 0), rss_asked()),
     nothing, 'no indirection entries'),
    ('RSS key of 16 bytes', asks(set_(500, 0x00010204, rss_parameters(
        key=bytes(16)))), nothing, 'a Toeplitz key of 16 bytes'),
    ('RSS table outside', asks(set_(500, 0x00010204, changed(
        rss_parameters(), 16, '<I', 4000))), nothing, 'bytes at 4000'),
    ('RSS entry of queue 2', asks(set_(500, 0x00010204, rss_parameters(
        entries=(0, 2)))), nothing, 'an entry for queue 2'),
    ('RSS hash bits', asks(set_(500, 0x00010204, changed(
        rss_parameters(), 8, '<I', 0x20001))), nothing, 'hash information'),
    ('RSS parameters without their fields', asks(set_(
        500, 0x00010204, rss_parameters()[:30])), nothing,
     'less than the 40 of its fields'),
    ('RSS parameters of another type', asks(set_(
        500, 0x00010204, changed(rss_parameters(), 0, '<B', 0x88))), nothing,
     'object type 0x88'),
    ('RSS header size', asks(set_(500, 0x00010204, changed(
        rss_parameters(), 2, '<H', 4000))), nothing, 'header size 4000'),
    ('RSS flags', asks(set_(500, 0x00010204, changed(
        rss_parameters(), 4, '<H', 0x40))), nothing,
     'flags 0x40 have undefined'),
    ('RSS key outside', asks(set_(500, 0x00010204, changed(
        rss_parameters(), 24, '<I', 4000))), nothing, 'a key of 40 bytes'),
    ('RSS without a table', asks(set_(500, 0x00010204, rss_parameters(
        entries=()))), nothing, 'no indirection table'),
    ('RSS capabilities of another type', answered(
        0x00010203, changed(rss_capabilities(), 0, '<B', 1), rss_asked()),
     nothing, 'object type 0x01'),
    ('RSS capabilities of 17 bytes', answered(
        0x00010203, rss_capabilities()[:17], rss_asked()), nothing,
     'size 18 in 17 bytes'),
    ('RSS capability flags', answered(
        0x00010203, changed(rss_capabilities(), 4, '<I', 2), rss_asked()),
     nothing, 'capability flags 0x2'),
    ('RSS asked with another size', asks(query(
        500, 0x00010203, changed(rss_asked(), 2, '<H', 17))), nothing,
     'size 17 in 18 bytes'),
    ('RSS asked with another type', asks(query(
        500, 0x00010203, changed(rss_asked(), 0, '<B', 0x89))), nothing,
     'object type 0x89'),
    ('offload asked with another size', asks(query(
        500, 0xFC01020D, changed(offload_object(), 2, '<H', 112))), nothing,
     'has 156 bytes; the header says 112'),
    ('offload field of 3', answered(0xFC01020B, changed(
        offload_object(), 8, '<I', 0x3)), nothing, 'a field of checksum'),
    ('LSO encapsulation', answered(0xFC01020B, changed(
        offload_object(), 92, '<I', 0x12)), nothing,
     'LSOv2 IPv6 encapsulation 0x12'),
    ('LSO of one segment', answered(0xFC01020B, changed(
        offload_object(), 88, '<I', 1)), nothing, 'of 1 segments'),
    ('LSO options', answered(0xFC01020B, changed(
        offload_object(), 104, '<I', 0x15)), nothing, 'LSOv2 IPv6 options'),
    ('RSC of 2', answered(0xFC01020B, changed(
        offload_object(), 144, '<B', 2)), nothing, 'RSC is neither'),
    ('offload parameters of another type', asks(set_(
        500, 0xFC01020C, changed(offload_parameters(), 0, '<B', 0x81))),
     nothing, 'object type 0x81'),
    ('LSO parameter 3', asks(set_(500, 0xFC01020C, changed(
        offload_parameters(), 11, '<B', 3))), nothing, 'parameter 3: it is'),
    ('MAC of 8 bytes', answered(0x01010101, bytes(8)), nothing,
     '8 bytes instead of 6'),
    ('MTU of 2 bytes', answered(0x00010106, bytes(2)), nothing,
     '2 bytes instead of 4'),
    ('link speed of 8 bytes', answered(0x00010107, bytes(8)), nothing,
     '8 bytes instead of 4'),
    ('statistics of 2 bytes', answered(0x00020101, bytes(2)), nothing,
     '2 bytes instead of 4 or 8'),
    ('list of 6 bytes', answered(0x00010101, bytes(6)), nothing,
     'are no list of u32'),
    ('description not ASCII', answered(0x0001010D, b'Micr\xf6soft'), nothing,
     'no ASCII'),
    ('friendly name no UTF-16', answered(0x00020216, b'\x00\xd8a\0'),
     nothing, 'no UTF-16'),
    ('multicast list of 8 bytes', asks(set_(500, 0x01010103, bytes(8))),
     nothing, 'no list of addresses'),
    ('link state of 36 bytes', answered(
        0x00010207, struct.pack('<BBH', 0x80, 1, 36) + bytes(32)), nothing,
     '36 bytes instead of 40'),
    ('encapsulation of another type', answered(
        0x0101010A, struct.pack('<BBH', 0xA7, 1, 28) + bytes(24)), nothing,
     'object type 0xa7'),
    ('encapsulation of 24 bytes', answered(
        0x0101010A, struct.pack('<BBH', 0xA8, 1, 24) + bytes(20)), nothing,
     '24 bytes instead of 28'),
    ('MAC parameter of 16 bytes', asks(set_(500, 0x0001021B, bytes(16))),
     nothing, 'less than 20'),
    ('MAC parameter name outside', asks(set_(500, 0x0001021B, changed(
        mac_parameter(), 0, '<I', 400))), nothing, 'a name of 28 bytes'),
    ('MAC parameter of type 1', asks(set_(500, 0x0001021B, changed(
        mac_parameter(), 8, '<I', 1))), nothing, 'type 1 is neither'),
    ('parameter name no UTF-16', asks(set_(500, 0x0001021B, changed(
        mac_parameter(), 20, '<H', 0xDC00))), nothing, 'name is no UTF-16'),
    ('MAC parameter of 11 digits', asks(set_(500, 0x0001021B, mac_parameter(
        '00155D0A0B0'))), nothing, 'not 12 hex digits'),
    ('MAC parameter outside', asks(set_(500, 0x0001021B, changed(
        mac_parameter(), 12, '<I', 400))), nothing, 'bytes at 400'),
]

TABLE = CONTROL + OIDS
