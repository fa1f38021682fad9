"""What a judge has to refuse: records and ring packets.

A row is (name, base, change, part of the sentence).  The base builds a good
trace; the change breaks one thing in it.
"""

import struct

from selftest_changes import (FRAME, at_end, attribute, both, cut_traffic,
                              document, drop, lengthen, nothing, payload,
                              pieces, poke, put, raw, shorten, then)
from selftest_encoder import NO_SECTION, gpa_head, nvsp, transfer_head
from selftest_sessions import dpdk, killed, linux


def padded_record(data):
    """The close record ends in padding; its last byte becomes 1."""
    data[-1] = 1
    return data


RECORDS = [
    ('no file header', linux, raw(lambda d: d[:9]), 'too short'),
    ('wrong magic', linux, poke(0, '<B', 0x6E), 'NVSCTRC1'),
    ('unknown trace version', linux, poke(8, '<I', 2), 'has version 2'),
    ('record size', linux, poke(16, '<I', 56), 'The record says it has'),
    ('unknown kind', linux, attribute('init', 'kind', 9), 'kind 9 is'),
    ('reserved word', linux, poke(16 + 40, '<Q', 1), 'reserved word'),
    ('more bytes than there were', linux, attribute('init', 'original', 8),
     'keeps 64 bytes of 8'),
    ('padding of a record', linux,
     both(payload('close', b'{} '), raw(padded_record)), 'padding'),
    ('ends in a record header', linux, raw(lambda d: d + bytes(20)),
     'inside a record header'),
    ('ends in a payload', linux, raw(lambda d: d[:-8]),
     'inside a record payload'),
    ('ends before the data of a packet', linux,
     lambda t: t.recs.__delitem__(slice(t.index('rx.one.bytes'), None)),
     'data of the previous packet are missing'),
    ('no session open', linux, drop('open'), 'has no open session'),
    ('open while open', linux, at_end('open'), 'while session 1 is open'),
    ('session number skipped', linux, attribute('open', 'session', 2),
     'opens session 2 after'),
    ('session number again', killed, attribute('open', 'session', 1, 1),
     'opens session 1 after'),
    ('record of another session', linux, attribute('recv', 'session', 2),
     'is of session 2'),
    ('open is no JSON', linux, payload('open', b'{"guid":'), 'no JSON'),
    ('open is no object', linux, payload('open', b'[1, 2]'), 'no JSON object'),
    ('open lacks a number', linux, document('open', ring_bytes=None),
     'no number "ring_bytes"'),
    ('open lacks the address', linux, document('open', mac=None),
     'no text "mac"'),
    ('ring of odd size', linux, document('open', ring_bytes=5000),
     'no whole number'),
    ('event without a name', linux, document('event', event=None),
     'without a name'),
    ('time goes back', linux, attribute('recv', 'time', 5), 'ns older'),
    ('packet after close', linux,
     lambda t: t.recs.append(t.find('revoke.recv')), 'has no open session'),
    ('close without a reason', linux, document('close', reason=None),
     'unknown reason'),
    ('close with an unknown reason', linux, document('close', reason='bored'),
     'unknown reason'),
    ('host saw a protocol error', linux,
     document('close', reason='protocol error'), 'a protocol error of the'),
    ('host counts another issued', linux, document('close', issued=1),
     'counted 1 "issued"'),
    ('host counts another returned', linux, document('close', returned=1),
     'counted 1 "returned"'),
    ('host counts something outstanding', linux,
     document('close', outstanding=3), 'counted 3 "outstanding"'),
    ('host counts other messages', linux, document('close', tx_messages=1),
     'counted 1 "tx_messages"'),
    ('host counts other completions', linux, document('close', tx_completed=0),
     'counted 0 "tx_completed"'),
]

CUTS = [
    ('piece outside the original', cut_traffic,
     pieces('tx.bytes', (0, bytes(80)), (9999, b'x')), 'outside'),
    ('pieces overlap', cut_traffic,
     pieces('tx.bytes', (0, bytes(80)), (72, b'x')), 'out of order'),
    ('piece without bytes', cut_traffic, pieces('tx.bytes', (0, b'')),
     'is empty'),
    ('piece longer than its record', cut_traffic,
     pieces('tx.bytes', (0, bytes(80), 1000)), 'longer than what is left'),
    ('half a piece header', cut_traffic, shorten('tx.bytes', 4),
     'inside the header of a piece'),
    ('padding of a piece', cut_traffic,
     pieces('tx.bytes', (0, bytes(78) + b'xx', 78)),
     'after a piece is not zero'),
    ('piece without the RNDIS header', cut_traffic,
     pieces('tx.bytes', (0, FRAME[:40])), 'does not have the header'),
    ('piece without the per-packet info', cut_traffic,
     lambda t: pieces('tx.bytes', (0, bytes(t.find('tx.bytes').payload[
         8:8 + 44])), (104, b'x' * 88), (112 + 80, bytes(44)))(t),
     'does not have'),
    ('cut although nothing is', linux,
     shorten('tx.pages.bytes', 64), 'that nothing is'),
    ('control message cut', cut_traffic,
     pieces('q.mac.answer.bytes', (0, bytes(16))), 'control message is cut'),
    ('fewer bytes than the snap', cut_traffic,
     lambda t: [t.find('tx.bytes').patch(4, struct.pack('<I', 60)),
                t.find('tx.bytes').payload.__delitem__(slice(68, 8 + 108))],
     'does not have'),
]


def pages(head, size=104):
    """A message in pages whose head is 'head'."""
    def go(w):
        w.guest(nvsp(107, 0, NO_SECTION, 0), 'x', 50, 1, 9, head)
        w.add(5, bytes(size), 'x.bytes')
    return then(go)


def transfer(head):
    return then(lambda w: w.host(nvsp(107, 0, NO_SECTION, 0), 'x', 5, 1, 7,
                                 head))


def large_packet(w):
    w.host(bytes(4624 - 16 + 8), 'x', 5, 0, 11)


def huge_packet(w):
    w.guest(bytes(8192 - 16 - 8), 'x', 5, 0, 11)


RINGS = [
    ('first packet not at 0', linux, attribute('init', 'position', 64),
     'starts at ring offset 64, but the previous one ended at 0'),
    ('gap in the ring', linux, attribute('recv', 'position', 200),
     'starts at ring offset 200'),
    ('gap by a packet taken away', linux, lambda t: t.drop('config'),
     'starts at ring offset 128, but the previous one ended at 64'),
    ('trailer names another start', linux, put('recv', 64 - 4, '<I', 8),
     'The trailer is'),
    ('trailer has low bits', linux, put('recv.reply', 56, '<I', 1),
     'The trailer is'),
    ('flag bit 1', linux, put('init', 6, '<H', 3), 'only bit 0 is defined'),
    ('type 8 from the guest', linux, put('init', 0, '<H', 8),
     'type 8 (data GPADL)'),
    ('type 99 from the guest', linux, put('init', 0, '<H', 99),
     'type 99 (unknown)'),
    ('guest sends transfer pages', linux, put('init', 0, '<H', 7),
     'is not one a guest sends'),
    ('host sends GPA direct', linux, put('rx.one', 0, '<H', 9),
     'is not one a host sends'),
    ('offset8 of 1', linux, put('init', 2, '<H', 1), 'inside the 16-byte'),
    ('offset8 of 3 in-band', linux, put('init', 2, '<H', 3), 'not 2'),
    ('offset8 of 3 in a completion', linux, put('init.reply', 2, '<H', 3),
     'not 2'),
    ('len8 below offset8', linux, put('init', 4, '<H', 1),
     'less than offset8'),
    ('len8 too long', linux, put('init', 4, '<H', 8), 'len8 says 64 bytes'),
    ('len8 too short', linux, put('init', 4, '<H', 6), 'len8 says 48 bytes'),
    ('packet of 16 bytes', linux, payload('init', bytes(16)),
     'less than a descriptor'),
    ('ring packet cut', linux, attribute('init', 'original', 72),
     'never cut'),
    ('packet as large as the ring', then(huge_packet), nothing,
     'does not fit in a ring'),
    ('host packet over 4624', then(large_packet), nothing,
     'Linux reads at most 4624'),
    ('completion asks for a completion', linux,
     put('init.reply', 6, '<H', 1), 'asks for a completion'),
    ('transfer pages without a header', linux,
     both(put('vf', 0, '<H', 7)), 'too short for its header'),
    ('transfer without ranges', linux, put('rx.one', 20, '<I', 0),
     'has no range'),
    ('transfer with more ranges than offset8', linux,
     put('rx.batch', 20, '<I', 7), '7 ranges need offset8 10, not 9'),
    ('transfer with fewer ranges than offset8',
     transfer(transfer_head([(104, 0), (104, 1808)])),
     put('x', 20, '<I', 1), '1 ranges need offset8 4, not 5'),
    ('GPA direct without a header', linux, put('switch', 0, '<H', 9),
     'too short for its header'),
    ('GPA direct without ranges', linux, put('tx.pages', 20, '<I', 0),
     'has no range'),
    ('GPA ranges beyond the payload', linux, put('tx.pages', 20, '<I', 3),
     'GPA range 2 of 3 begins'),
    ('GPA ranges end before the payload',
     pages(gpa_head([(104, 0)]) + bytes(8)), nothing,
     'GPA ranges end at 40, but offset8 points to 48'),
    ('GPA range without bytes', pages(gpa_head([(1, 0), (104, 0)])),
     put('x', 24, '<I', 0), 'has no bytes'),
    ('GPA range starts on no page', pages(gpa_head([(104, 0)])),
     put('x', 28, '<I', 4096), 'starts 4096 bytes into'),
    ('GPA range with too few pages', pages(gpa_head([(104, 0)])),
     put('x', 24, '<I', 4097), 'needs 2 page numbers'),
    ('GPA page number of an address', pages(gpa_head([(104, 0)])),
     put('x', 32, '<Q', 1 << 52), 'shifted by 12'),
    ('packet on a channel never granted', dpdk,
     attribute('tx.eight', 'channel', 1), 'Channel 1 was never granted'),
    ('host packet on a channel never granted', linux,
     attribute('rx.sub', 'channel', 2), 'Channel 2 was never granted'),
    ('message longer than 40 bytes', linux, lengthen('switch', 8),
     'never over 40'),
]

TABLE = RECORDS + CUTS + RINGS
