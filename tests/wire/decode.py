#!/usr/bin/env python3
"""Independent judge of the wire: decodes a trace of netvsc-host.

Every offset and every value in these modules is a literal from the protocol
reference, with its section beside it; nothing is shared with wire/, driver/
or host/.  Bytes that are unknown, inconsistent or out of order fail.
Reads one record at a time; memory does not grow with the trace.
"""

import argparse
import json
import signal
import sys

sys.dont_write_bytecode = True       # leave no cache in the source tree

from decode_report import session_report, summary            # noqa: E402
from decode_session import Session                           # noqa: E402
from decode_trace import (CLOSE, EVENT, GUEST, HOST, KIND_NAMES,  # noqa: E402
                          OPEN, Reader, Violation)


class Nic:
    __slots__ = ('session', 'number', 'time')

    def __init__(self):
        self.session = None      # the open one
        self.number = 0          # of the last one opened
        self.time = 0


class Judge:
    """Follows every NIC of a trace.  'finished' holds the reports of the
    sessions that ended."""

    def __init__(self, stream, verbose=None):
        self.stream = stream
        self.verbose = verbose
        self.reader = None
        self.nics = {}
        self.finished = []
        self.error = None

    def run(self):
        """Decodes to the end.  Returns True if all is well; else 'error' is
        a dictionary that says what is not, and where."""
        try:
            self.reader = Reader(self.stream)
            for record in self.reader:
                self.record(record)
            for nic in self.nics.values():
                if nic.session and nic.session.pending:
                    nic.session.settle()
        except Violation as violation:
            self.error = self.describe(violation)
        return self.error is None

    def reports(self):
        """Those that ended, in order, then those that are still open."""
        return self.finished + [session_report(n.session)
                                for n in self.nics.values() if n.session]

    def record(self, r):
        nic = self.nics.get(r.nic)
        if nic is None:
            nic = self.nics[r.nic] = Nic()
        if r.time < nic.time:
            raise Violation(f'The record is {nic.time - r.time} ns older '
                            'than the one before it of the same NIC.')
        nic.time = r.time
        if self.verbose:
            self.say(f'{KIND_NAMES[r.kind]}, {r.original} bytes at '
                     f'{r.position}')
        if r.kind == EVENT:
            event = document(r)
            if not isinstance(event.get('event'), str):
                raise Violation('An event without a name.', r.payload, 0,
                                'event')
            if event['event'] == 'gpadl':
                self.gpadl(nic, r, event)
            return
        if r.kind == OPEN:
            self.open(nic, r)
            return
        session = nic.session
        if session is None:
            raise Violation(f'A {KIND_NAMES[r.kind]} while NIC {r.nic} has '
                            'no open session.', r.payload)
        if r.session != nic.number:
            raise Violation(f'The record is of session {r.session}, but '
                            f'session {nic.number} of NIC {r.nic} is open.',
                            r.payload)
        if r.kind == GUEST:
            session.guest_packet(r)
        elif r.kind == HOST:
            session.host_packet(r)
        elif r.kind == CLOSE:
            session.close(document(r))
            self.finished.append(session_report(session))
            nic.session = None
        else:
            session.data(r)

    def gpadl(self, nic, r, event):
        if nic.session is None or r.session != nic.number:
            raise Violation('A GPADL of no open session.', r.payload)
        for key in ('handle', 'bytes'):
            if not isinstance(event.get(key), int) or event[key] <= 0:
                raise Violation(f'A GPADL without a number "{key}".',
                                r.payload)
        nic.session.gpadls[event['handle']] = event['bytes']

    def open(self, nic, r):
        if nic.session is not None:
            raise Violation(f'NIC {r.nic} opens session {r.session} while '
                            f'session {nic.number} is open.', r.payload)
        if r.session != nic.number + 1:
            raise Violation(f'NIC {r.nic} opens session {r.session} after '
                            f'session {nic.number}.', r.payload)
        nic.session = Session(r.nic, r.session, document(r),
                              self.reader.snap,
                              self.say if self.verbose else None)
        nic.number = r.session

    def say(self, text):
        r = self.reader.current
        self.verbose(f'{r.number:7} {r.time / 1e9:.9f} nic {r.nic} session '
                     f'{r.session} channel {r.channel}: {text}')

    def describe(self, violation):
        place = {'sentence': violation.sentence, 'dump': violation.dump()}
        r = self.reader.current if self.reader else None
        if r is not None:
            place.update(record=r.number, kind=KIND_NAMES.get(r.kind),
                         file_offset=r.offset, time_ns=r.time, nic=r.nic,
                         session=r.session, channel=r.channel)
        elif self.reader is not None:
            place.update(record=self.reader.number,
                         file_offset=self.reader.offset)
        return place


def document(record):
    """The JSON object that is the payload."""
    try:
        value = json.loads(record.payload.decode('utf-8'))
    except ValueError as error:
        raise Violation(f'The payload is no JSON: {error}.', record.payload,
                        0, 'payload') from None
    if not isinstance(value, dict):
        raise Violation('The payload is no JSON object.', record.payload, 0,
                        'payload')
    return value


def error_text(name, error):
    lines = [f'{name}: {error["sentence"]}']
    if 'time_ns' in error:
        lines.append(f'  record {error["record"]} ({error["kind"]}) at file '
                     f'offset {error["file_offset"]} '
                     f'(0x{error["file_offset"]:x}), time '
                     f'{error["time_ns"] / 1e9:.9f} s, NIC {error["nic"]}, '
                     f'session {error["session"]}, channel '
                     f'{error["channel"]}')
    elif 'record' in error:
        lines.append(f'  record {error["record"]} at file offset '
                     f'{error["file_offset"]} (0x{error["file_offset"]:x})')
    if error['dump']:
        lines.append(error['dump'])
    return '\n'.join(lines)


def unclean_sessions(reports):
    """What --require-clean has to say."""
    if not reports:
        return ['The trace has no session at all.']
    return [f'NIC {s["nic"]} session {s["session"]} is not clean: '
            f'{"; ".join(s["unclean"])}.'
            for s in reports if not s['clean']]


def main():
    parser = argparse.ArgumentParser(
        description='Decode a trace of netvsc-host and judge every byte.',
        epilog='Exit status: 0 the trace is right, 1 it is not, 2 it cannot '
               'be read.')
    how = parser.add_mutually_exclusive_group()
    how.add_argument('--summary', action='store_true',
                     help='print a summary (the default)')
    how.add_argument('--json', action='store_true',
                     help='print one JSON object')
    how.add_argument('--verbose', action='store_true',
                     help='print a line for each record and message')
    parser.add_argument('--require-clean', action='store_true',
                        help='fail unless every session was closed by a '
                             'guest that said goodbye, with nothing '
                             'outstanding on either side')
    parser.add_argument('trace', metavar='TRACE')
    options = parser.parse_args()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)      # as in "... | head"

    try:
        with open(options.trace, 'rb', buffering=1 << 20) as stream:
            judge = Judge(stream, print if options.verbose else None)
            good = judge.run()
    except OSError as error:
        print(f'{options.trace}: {error.strerror}.', file=sys.stderr)
        return 2

    reports = judge.reports()
    complaints = unclean_sessions(reports) \
        if good and options.require_clean else []
    if options.json:
        json.dump({'trace': options.trace, 'ok': good and not complaints,
                   'records': judge.reader.number if judge.reader else 0,
                   'error': judge.error, 'complaints': complaints,
                   'sessions': reports}, sys.stdout, indent=2)
        print()
    elif good:
        print(summary(options.trace, judge.reader.number, reports))
    if not good:
        print(error_text(options.trace, judge.error), file=sys.stderr)
    for complaint in complaints:
        print(f'{options.trace}: {complaint}', file=sys.stderr)
    return 0 if good and not complaints else 1


if __name__ == '__main__':
    sys.exit(main())
