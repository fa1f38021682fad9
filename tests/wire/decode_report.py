"""What a decoded trace is told as: a summary for people, JSON for tests."""

from decode_nvsp import VERSIONS


def session_report(session):
    """One session as plain values.  'tx' is guest to host, 'rx' host to
    guest, as a port of the guest would count them."""
    rndis, data = session.rndis, session.rndis.data
    operations = rndis.operations
    to_host, to_guest = (session.rings[side].values()
                         for side in (False, True))
    why = session.unclean()
    return {
        'nic': session.nic,
        'session': session.number,
        'guid': session.opened['guid'],
        'mac': session.opened['mac'],
        'mtu': session.opened['mtu'],
        'close_reason': session.close_reason,
        'nvsp_tried': session.tried,
        'nvsp_version': VERSIONS.get(session.version),
        'ndis_version': session.ndis_version,
        'ndis_mtu': session.ndis_mtu,
        'ndis_capabilities': session.capabilities,
        'rndis_version': '1.0' if rndis.initialized else None,
        'packets_per_message': rndis.max_packets,
        'alignment': rndis.alignment,
        'max_transfer': rndis.max_transfer,
        'suballoc_size': session.suballoc_size,
        'suballocs': session.suballocs,
        'section_size': session.section_size,
        'sections': session.sections,
        'channels': session.channels,
        'filter': rndis.filter,
        'halted': rndis.halted,
        'oids': operations,
        'oids_queried': [o['oid'] for o in operations
                         if o['operation'] == 'query'],
        'oids_set': [o['oid'] for o in operations if o['operation'] == 'set'],
        'oids_not_listed': rndis.operations_dropped,
        'indications': rndis.indications,
        'requests_issued': session.requests_issued,
        'requests_returned': session.requests_returned,
        'messages_issued': session.messages,
        'messages_returned': session.messages_completed,
        'sections_issued': session.sections_issued,
        'sections_returned': session.sections_returned,
        'transfers_issued': session.transfers_issued,
        'transfers_returned': session.transfers_returned,
        'transfers_returned_failed': session.transfers_failed,
        'suballocs_issued': session.suballocs_issued,
        'suballocs_returned': session.suballocs_returned,
        'tx': {'frames': data.tx.frames, 'bytes': data.tx.bytes,
               'messages': data.tx.messages,
               'ring_packets': sum(r.packets for r in to_host),
               'ring_bytes': sum(r.bytes for r in to_host)},
        'rx': {'frames': data.rx.frames, 'bytes': data.rx.bytes,
               'messages': data.rx.messages,
               'ring_packets': sum(r.packets for r in to_guest),
               'ring_bytes': sum(r.bytes for r in to_guest)},
        'queues': {str(channel): {'tx_frames': frames[0],
                                  'rx_frames': frames[1]}
                   for channel, frames in sorted(data.queues.items())},
        'clean': not why,
        'unclean': why,
    }


def summary(name, records, sessions):
    """Text for people."""
    nics = len({s['nic'] for s in sessions})
    lines = [f'{name}: {records} records, {nics} NICs, {len(sessions)} '
             'sessions; every byte is accounted for']
    for s in sessions:
        end = s['close_reason'] or 'still open'
        lines += [
            f'NIC {s["nic"]} session {s["session"]} {s["guid"]}: {end}, '
            + ('clean' if s['clean'] else '; '.join(s['unclean'])),
            f'  NVSP {s["nvsp_version"]}, NDIS {s["ndis_version"]}, RNDIS '
            f'{s["rndis_version"]}, {s["channels"]} channels, '
            f'{len(s["oids_queried"])} queries, {len(s["oids_set"])} sets, '
            f'filter 0x{s["filter"]:x}',
            f'  guest to host: {s["tx"]["frames"]} frames, '
            f'{s["tx"]["bytes"]} bytes in {s["tx"]["messages"]} messages; '
            f'sections {s["sections_issued"]} used, '
            f'{s["sections_returned"]} returned',
            f'  host to guest: {s["rx"]["frames"]} frames, '
            f'{s["rx"]["bytes"]} bytes in {s["rx"]["messages"]} messages; '
            f'sub-allocations {s["suballocs_issued"]} used, '
            f'{s["suballocs_returned"]} returned',
        ]
    return '\n'.join(lines)
