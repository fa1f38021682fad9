"""Ways to break a good trace, for the tables of decode-selftest.

A change takes a Trace and alters it, or returns the bytes of the file.
Labels name records, 'n' which of those with the same label.
"""

import json
import struct

from selftest_encoder import (ALL, arp, pad8, query, query_complete,
                              rndis_packet)
from selftest_sessions import ready, traffic

FRAME = rndis_packet(arp())


def nothing(t):
    """For bases that are wrong by themselves."""


def put(label, at, form, *values, n=0):
    """Overwrites a field of a record's payload."""
    def change(t):
        t.find(label, n).patch(at, struct.pack(form, *values))
    return change


def attribute(label, name, value, n=0):
    """Overwrites a field of a record's header."""
    def change(t):
        setattr(t.find(label, n), name, value)
    return change


def drop(*labels):
    def change(t):
        for label in labels:
            t.drop(label)
        t.reflow()
    return change


def repeat(label):
    def change(t):
        t.repeat(label)
        t.reflow()
    return change


def move(label, to, after=False):
    """Its data records stay where they are."""
    def change(t):
        t.move(label, to, after)
        t.reflow()
    return change


def at_end(label):
    """A second copy of the record as the last one before the close."""
    def change(t):
        t.repeat(label)
        rec = t.find(label, 1)
        t.recs.remove(rec)
        t.recs.insert(t.index('close'), rec)
        t.reflow()
    return change


def document(label, **values):
    """Changes keys of a JSON payload; None takes the key away."""
    def change(t):
        rec = t.find(label)
        content = json.loads(rec.payload)
        content.update(values)
        for key in [k for k, v in content.items() if v is None]:
            del content[key]
        payload(label, json.dumps(content).encode())(t)
    return change


def payload(label, data):
    def change(t):
        rec = t.find(label)
        rec.payload = bytearray(data)
        rec.original = len(data)
    return change


def pieces(label, *parts):
    """The cut form with these (offset, bytes), or (offset, bytes, said
    size)."""
    def change(t):
        t.find(label).payload = bytearray(b''.join(
            struct.pack('<II', part[0], part[-1] if len(part) > 2
                        else len(part[1])) + pad8(part[1])
            for part in parts))
    return change


def shorten(label, size):
    def change(t):
        rec = t.find(label)
        rec.payload = rec.payload[:size]
    return change


def lengthen(label, extra):
    """A ring packet gets zeros before its trailer, and the length to it."""
    def change(t):
        rec = t.find(label)
        rec.payload[-8:-8] = bytes(extra)
        rec.original = len(rec.payload)
        length = struct.unpack_from('<H', rec.payload, 4)[0] + extra // 8
        rec.patch(4, struct.pack('<H', length))
        t.reflow()
    return change


def raw(edit):
    """Changes the encoded file."""
    def change(t):
        return bytes(edit(bytearray(t.encode())))
    return change


def poke(at, form, *values):
    def edit(data):
        struct.pack_into(form, data, at, *values)
        return data
    return raw(edit)


def both(*changes):
    def change(t):
        result = None
        for one in changes:
            result = one(t)
        return result
    return change


def then(go, filter_=0xD, snap=ALL):
    """A base: a session that is ready for frames goes on with go(w)."""
    def base():
        trace, w = ready(filter_, snap)
        go(w)
        return trace
    return base


def cut_traffic():
    return traffic(40, 64)


# ---- Bases with one control message more ------------------------------------

def asks(message):
    """The guest sends a control message in pages."""
    return then(lambda w: w.send_pages(message, [(len(message), 0)], 50, 'x',
                                       1))


def answers(request, *messages):
    """The guest asks, the host answers."""
    def go(w):
        w.send_pages(request, [(len(request), 0)], 50, 'x', 1)
        for n, message in enumerate(messages):
            w.deliver([message], 300 + n, [300 + n], 'x', 1)
    return then(go)


def answered(oid, data, asked=b''):
    return answers(query(500, oid, asked), query_complete(500, data))


def says(message):
    """The host sends a control message by itself."""
    return then(lambda w: w.deliver([message], 300, [300], 'x', 1))


def changed(data, at, form, *values):
    out = bytearray(data)
    struct.pack_into(form, out, at, *values)
    return bytes(out)
