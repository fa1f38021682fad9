"""NVSP: the set-up of a session, in the order of D.4, and
the other messages that do not carry RNDIS.

The class Setup knows what the two sides agreed on.  decode_session.py builds
on it: it owns the rings, the requests without completion and the buffers.
"""

import struct

from decode_ring import U32, U64
from decode_trace import Violation

U16 = struct.Struct('<H')

# D.2
VERSIONS = {
    0x00000002: '1', 0x00030002: '2', 0x00040000: '4', 0x00050000: '5',
    0x00060000: '6', 0x00060001: '6.1',
}
NVSP_1 = 0x00000002
NVSP_4 = 0x00040000
NVSP_5 = 0x00050000

INIT = 1
INIT_COMPLETE = 2
NDIS_VERSION = 100
RECV_BUF = 101
RECV_BUF_COMPLETE = 102
REVOKE_RECV_BUF = 103
SEND_BUF = 104
SEND_BUF_COMPLETE = 105
REVOKE_SEND_BUF = 106
RNDIS_PKT = 107
RNDIS_PKT_COMPLETE = 108
NDIS_CONFIG = 125
VF_ASSOCIATION = 128
SWITCH_DATA_PATH = 129
SUBCHANNEL = 133
INDIRECTION_TABLE = 134

NAMES = {
    1: 'INIT', 2: 'INIT_COMPLETE', 100: 'SEND_NDIS_VERSION',
    101: 'SEND_RECV_BUF', 102: 'SEND_RECV_BUF_COMPLETE',
    103: 'REVOKE_RECV_BUF', 104: 'SEND_SEND_BUF',
    105: 'SEND_SEND_BUF_COMPLETE', 106: 'REVOKE_SEND_BUF',
    107: 'SEND_RNDIS_PKT', 108: 'SEND_RNDIS_PKT_COMPLETE',
    125: 'SEND_NDIS_CONFIG', 128: 'SEND_VF_ASSOCIATION',
    129: 'SWITCH_DATA_PATH', 133: 'SUBCHANNEL', 134: 'SEND_INDIRECTION_TABLE',
}

# D.3: bytes that hold every field of the message.
LENGTHS = {
    INIT: 12, NDIS_VERSION: 12, RECV_BUF: 10, REVOKE_RECV_BUF: 6,
    SEND_BUF: 10, REVOKE_SEND_BUF: 6, RNDIS_PKT: 16, NDIS_CONFIG: 20,
    SWITCH_DATA_PATH: 8, SUBCHANNEL: 12,
}

# D.2, column "completion asked": these two sets, and 129 as one likes.
FLAGGED = frozenset((INIT, RECV_BUF, SEND_BUF, SUBCHANNEL, RNDIS_PKT))
UNFLAGGED = frozenset((NDIS_VERSION, REVOKE_RECV_BUF, REVOKE_SEND_BUF,
                       NDIS_CONFIG))

REPLIES = {
    INIT: INIT_COMPLETE, RECV_BUF: RECV_BUF_COMPLETE,
    SEND_BUF: SEND_BUF_COMPLETE, SUBCHANNEL: SUBCHANNEL,
}

MESSAGE_BYTES = 40         # D.1, I.3: an NVSP message, whatever its type
RECV_BUFFER_ID = 0xCAFE    # D.3
NO_SECTION = 0xFFFFFFFF    # D.3, 107
MIN_SECTION = 68           # D.5: Linux refuses smaller sections of both kinds
RANGES_MAX = 375           # A.12, in normal use
RANGES_MAX_RSC = 562       # A.12, one coalesced frame
CAPABILITIES = 0xFF        # D.3, 125: bits 0 to 7
CAPABILITY_RSC = 1 << 7


# What a session-open record has to have beside guid and mac.
OPEN_KEYS = ('mtu', 'ring_bytes', 'receive_buffer', 'send_buffer',
             'receive_gpadl', 'send_gpadl', 'section_size', 'suballoc_size',
             'packets_per_message', 'alignment_shift')


class Setup:
    """Versions, buffers and channels of one session."""

    def __init__(self, opened):
        for key in OPEN_KEYS:
            if not isinstance(opened.get(key), int) or opened[key] < 0:
                raise Violation(f'The session-open record has no number '
                                f'"{key}".')
        for key in ('guid', 'mac'):
            if not isinstance(opened.get(key), str):
                raise Violation(f'The session-open record has no text '
                                f'"{key}".')
        if not opened['ring_bytes'] or opened['ring_bytes'] % 4096:   # A.1
            raise Violation(f'Rings of {opened["ring_bytes"]} bytes are no '
                            'whole number of 4096-byte pages.')
        self.opened = opened             # the session-open record
        self.channels = 1
        self.tried = []
        self.init_asked = False
        self.frame_limit = 0
        self.version = None
        self.ndis_version = None
        self.ndis_mtu = None
        self.capabilities = 0
        self.recv_asked = self.send_asked = False
        self.gpadls = {}                 # handle -> bytes, of events
        self.told = {}                   # 'receive', 'send' -> handle
        self.suballoc_size = self.suballocs = 0
        self.section_size = self.sections = 0
        self.recv_revoked = self.send_revoked = False
        self.subchannels_asked = False
        self.vf_associations = 0
        self.table_announced = False     # G.1: after all channels are open

    def raise_frame_limit(self, size):
        """'size' counts the 14 bytes of the Ethernet header; a tag inside
        (QinQ) may add 4."""
        self.frame_limit = max(self.frame_limit, size + 4)

    # ---- Guest messages, in the order of D.4 -----------------------------

    def init(self, p, request):
        low, high = struct.unpack_from('<II', p.data, p.payload + 4)
        if self.version is not None:
            raise Violation('A second INIT: version '
                            f'{VERSIONS[self.version]} is already agreed.',
                            p.data, p.payload)
        if low != high or low not in VERSIONS:
            raise Violation(f'INIT offers versions 0x{low:08x} to '
                            f'0x{high:08x}; both have to be the same known '
                            'version.', p.data, p.payload + 4)
        if self.init_asked:
            raise Violation('An INIT while the previous one has no reply.',
                            p.data, p.payload)
        if len(self.tried) < 16:
            self.tried.append(VERSIONS[low])
        self.init_asked = True
        request.asked = low

    def ndis_config(self, p, request):
        if self.version == NVSP_1:
            raise Violation('NVSP 1 has no SEND_NDIS_CONFIG.', p.data,
                            p.payload)
        if self.ndis_mtu is not None:
            raise Violation('A second SEND_NDIS_CONFIG in one session.',
                            p.data, p.payload)
        self.ndis_mtu = U32.unpack_from(p.data, p.payload + 4)[0]
        self.capabilities = U64.unpack_from(p.data, p.payload + 12)[0]
        if self.capabilities & ~CAPABILITIES:
            raise Violation(f'Capabilities 0x{self.capabilities:x} have '
                            'undefined bits.', p.data, p.payload + 12)
        # D.4: a host takes less than 1514 for 1514.
        self.raise_frame_limit(max(self.ndis_mtu, 1514))

    def send_ndis_version(self, p, request):
        if self.ndis_version is not None:
            raise Violation('A second SEND_NDIS_VERSION in one session.',
                            p.data, p.payload)
        if self.version != NVSP_1 and self.ndis_mtu is None:
            raise Violation('SEND_NDIS_VERSION before SEND_NDIS_CONFIG.',
                            p.data, p.payload)
        major, minor = struct.unpack_from('<II', p.data, p.payload + 4)
        if major not in (5, 6):                                       # G.4
            raise Violation(f'NDIS version {major}.{minor}: hosts know 5 and '
                            '6.', p.data, p.payload + 4)
        self.ndis_version = f'{major}.{minor}'
        if self.ndis_mtu is None:
            self.raise_frame_limit(self.opened['mtu'] + 14)

    def recv_buf(self, p, request):
        if self.ndis_version is None:
            raise Violation('SEND_RECV_BUF before SEND_NDIS_VERSION.', p.data,
                            p.payload)
        if self.recv_asked:
            raise Violation('A second SEND_RECV_BUF in one session.', p.data,
                            p.payload)
        self.recv_asked = True
        self.gpadl(p, 'receive')
        ident = U16.unpack_from(p.data, p.payload + 8)[0]
        if ident != RECV_BUFFER_ID:
            raise Violation(f'The receive buffer has id 0x{ident:04x}, not '
                            '0xCAFE.', p.data, p.payload + 8)

    def send_buf(self, p, request):
        if not self.recv_asked:
            raise Violation('SEND_SEND_BUF before SEND_RECV_BUF.', p.data,
                            p.payload)
        if self.send_asked:
            raise Violation('A second SEND_SEND_BUF in one session.', p.data,
                            p.payload)
        self.send_asked = True
        self.gpadl(p, 'send')

    def gpadl(self, p, which):
        handle = U32.unpack_from(p.data, p.payload + 4)[0]
        known = self.opened[which + '_gpadl']
        if known and handle != known:
            raise Violation(f'GPADL 0x{handle:x} is not the {which}_gpadl of '
                            f'this session, 0x{known:x}.', p.data,
                            p.payload + 4)
        self.told[which] = handle

    def buffer_size(self, p, which):
        """As the session was opened, or as an event told later."""
        if self.opened[which + '_gpadl']:
            return self.opened[which + '_buffer']
        handle = self.told[which]
        if handle not in self.gpadls:
            raise Violation(f'The {which} buffer is accepted, but no event '
                            f'said what GPADL 0x{handle:x} is.', p.data,
                            p.payload + 4)
        return self.gpadls[handle]

    def subchannel(self, p, request):
        if self.version < NVSP_5:
            raise Violation('Subchannels begin with NVSP 5.', p.data,
                            p.payload)
        if not self.suballocs:
            raise Violation('A SUBCHANNEL request before there is a receive '
                            'buffer.', p.data, p.payload)
        if self.subchannels_asked:                                    # D.7
            raise Violation('A second SUBCHANNEL request in one session.',
                            p.data, p.payload)
        self.subchannels_asked = True
        operation, count = struct.unpack_from('<II', p.data, p.payload + 4)
        if operation != 1 or not count:
            raise Violation(f'SUBCHANNEL operation {operation} for {count}: '
                            'only 1, allocate, exists, for at least one.',
                            p.data, p.payload + 4)
        request.asked = count

    def switch_data_path(self, p, request):
        if self.version < NVSP_4:
            raise Violation('SWITCH_DATA_PATH begins with NVSP 4.', p.data,
                            p.payload)
        path = U32.unpack_from(p.data, p.payload + 4)[0]
        if path > 1:
            raise Violation(f'Data path {path} is unknown.', p.data,
                            p.payload + 4)

    def revoke_recv_buf(self, p, request):
        """D.9: the host stops using the buffer at once.  What is outstanding
        may still be completed by the guest, once."""
        if not self.suballocs or self.recv_revoked:
            raise Violation('REVOKE_RECV_BUF without a receive buffer.',
                            p.data, p.payload)
        ident = U16.unpack_from(p.data, p.payload + 4)[0]
        if ident != RECV_BUFFER_ID:
            raise Violation(f'REVOKE_RECV_BUF names buffer 0x{ident:04x}, not '
                            '0xCAFE.', p.data, p.payload + 4)
        self.recv_revoked = True

    def revoke_send_buf(self, p, request):
        # D.3: the id is the guest's, hosts match by kind only.
        if not self.section_size or self.send_revoked:
            raise Violation('REVOKE_SEND_BUF without a send buffer.', p.data,
                            p.payload)
        self.send_revoked = True

    # ---- The host's replies ----------------------------------------------

    def status(self, p, at):
        status = U32.unpack_from(p.data, p.payload + at)[0]
        if not status <= 7:                                           # D.2
            raise Violation(f'NVSP status {status} is unknown.', p.data,
                            p.payload + at)
        return status

    def init_complete(self, p, request):
        self.init_asked = False
        if self.status(p, 12) == 1:
            self.version = request.asked

    def recv_buf_complete(self, p, request):
        at = p.payload
        if self.status(p, 4) != 1:
            return
        count, offset, size, number, end = \
            struct.unpack_from('<IIIII', p.data, at + 8)
        if count != 1:
            raise Violation(f'The receive buffer has {count} sections; it is '
                            'always one.', p.data, at + 8)
        if offset:
            raise Violation(f'The receive section starts at {offset}, not '
                            '0.', p.data, at + 12)
        if size < MIN_SECTION or not number:                          # D.5
            raise Violation(f'{number} sub-allocations of {size} bytes: '
                            f'there is at least one, and of {MIN_SECTION}.',
                            p.data, at + 16)
        limit = self.buffer_size(p, 'receive')
        if size * number > limit:
            raise Violation(f'{number} sub-allocations of {size} bytes are '
                            f'more than the receive buffer, {limit}.', p.data,
                            at + 20)
        if end != size * number:                               # J.1 vector
            raise Violation(f'The end offset is {end}, but {number} '
                            f'sub-allocations of {size} bytes end at '
                            f'{size * number}.', p.data, at + 24)
        if self.opened['suballoc_size'] not in (0, size):
            raise Violation(f'Sub-allocations of {size} bytes, but the '
                            'session was opened with '
                            f'{self.opened["suballoc_size"]}.', p.data,
                            at + 16)
        self.suballoc_size = size
        self.suballocs = number

    def send_buf_complete(self, p, request):
        at = p.payload
        if self.status(p, 4) != 1:
            return
        limit = self.buffer_size(p, 'send')
        size = U32.unpack_from(p.data, at + 8)[0]
        if size < MIN_SECTION or size % 4 or size > limit:         # D.5
            raise Violation(f'A send section of {size} bytes: guests refuse '
                            f'less than {MIN_SECTION} or no multiple of 4, '
                            f'and the buffer has {limit}.',
                            p.data, at + 8)
        if self.opened['section_size'] not in (0, size):
            raise Violation(f'Send sections of {size} bytes, but the session '
                            'was opened with '
                            f'{self.opened["section_size"]}.', p.data, at + 8)
        self.section_size = size
        self.sections = limit // size

    def subchannel_complete(self, p, request):
        if self.status(p, 4) != 1:
            self.subchannels_asked = False
            return
        granted = U32.unpack_from(p.data, p.payload + 8)[0]
        if granted > request.asked:
            raise Violation(f'{granted} subchannels granted of '
                            f'{request.asked} asked.', p.data, p.payload + 8)
        self.channels += granted

    # ---- What the host says by itself ------------------------------------

    def host_message(self, p, channel):
        """In-band: VF association and indirection table, D.3."""
        data = p.data
        at = p.payload
        length = p.end - at
        kind = U32.unpack_from(data, at)[0] if length >= 4 else 0
        if kind not in (VF_ASSOCIATION, INDIRECTION_TABLE):
            raise Violation(f'NVSP message {kind} '
                            f'({NAMES.get(kind, "unknown")}) is not one a '
                            'host sends in-band.', data, at)
        name = NAMES[kind]
        if channel:
            raise Violation(f'{name} on subchannel {channel}.', data, at)
        if self.say:
            self.say(name)
        if kind == VF_ASSOCIATION:
            if self.version is None or self.version < NVSP_4:
                raise Violation(f'{name} needs NVSP 4.', data, at)
            if length < 12:
                raise Violation(f'{name} has {length} bytes, not 12.', data,
                                4)
            if U32.unpack_from(data, at + 4)[0] > 1:
                raise Violation(f'{name}: "allocated" is neither 0 nor 1.',
                                data, at + 4)
            self.vf_associations += 1
            return
        if self.version is None or self.version < NVSP_5:
            raise Violation(f'{name} needs NVSP 5.', data, at)
        if p.flags:
            raise Violation(f'{name} asks for a completion.', data, 6)
        if length < 12:
            raise Violation(f'{name} has {length} bytes, too few.', data, 4)
        count, offset = struct.unpack_from('<II', data, at + 4)
        if count != 16:
            raise Violation(f'{name} has {count} entries, not 16.', data,
                            at + 4)
        if length >= 104 and self.version <= 0x00060000:              # D.3
            offset = 40
        if offset < 12 or offset + 64 > length:
            raise Violation(f'The table of {name} is at {offset} of {length} '
                            'bytes.', data, at + 8)
        for entry in range(at + offset, at + offset + 64, 4):
            queue = U32.unpack_from(data, entry)[0]
            if queue >= self.channels:
                raise Violation(f'{name} sends to channel {queue} of '
                                f'{self.channels}.', data, entry)
        self.table_announced = True


GUEST_MESSAGES = {
    INIT: Setup.init, NDIS_CONFIG: Setup.ndis_config,
    NDIS_VERSION: Setup.send_ndis_version, RECV_BUF: Setup.recv_buf,
    SEND_BUF: Setup.send_buf, SUBCHANNEL: Setup.subchannel,
    SWITCH_DATA_PATH: Setup.switch_data_path,
    REVOKE_RECV_BUF: Setup.revoke_recv_buf,
    REVOKE_SEND_BUF: Setup.revoke_send_buf,
}

HOST_REPLIES = {
    INIT: Setup.init_complete, RECV_BUF: Setup.recv_buf_complete,
    SEND_BUF: Setup.send_buf_complete,
    SUBCHANNEL: Setup.subchannel_complete,
}
