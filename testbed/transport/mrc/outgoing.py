"""What a requester puts on the wire: write packets and reliability probes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from testbed.transport.mrc.clock import timestamp
from testbed.transport.mrc.wire.codec import Envelope, encode, encode_write
from testbed.transport.mrc.wire.codes import Opcode
from testbed.transport.mrc.wire.packets import ReliabilityProbe
from topologies.numbers import Dscp, Ecn

if TYPE_CHECKING:
    from testbed.transport.mrc.ev.rotation import Entry
    from testbed.transport.mrc.messages import Message

_ECT0 = int(Ecn.ECT0)
_NO_TRIM = int(Dscp.NO_TRIM)
_TRIMMABLE, _TRIMMABLE_RETX = int(Dscp.TRIMMABLE), int(Dscp.TRIMMABLE_RETX)
_FIRST, _MIDDLE = int(Opcode.WRITE_FIRST), int(Opcode.WRITE_MIDDLE)
_ENVELOPES_KEPT = 4096


class Outgoing:
    """The packets of one QP. ``can_trim``: see :class:`Requester`."""

    __slots__ = ("_destination", "_dscp", "_dscp_rtx", "_envelopes", "_ids", "_peer_qpn",
                 "_source")  # fmt: skip

    def __init__(
        self, source: bytes, destination: bytes, qpn: int, peer_qpn: int, can_trim: bool
    ) -> None:
        self._source, self._destination = source, destination
        self._peer_qpn = peer_qpn
        self._ids = qpn & 0xFFFF, peer_qpn & 0xFFFF
        self._dscp = _TRIMMABLE if can_trim else _NO_TRIM
        self._dscp_rtx = _TRIMMABLE_RETX if can_trim else _NO_TRIM
        self._envelopes: dict[int, Envelope] = {}

    def write(
        self, message: Message, psn: int, offset: int, length: int, entry: Entry, now_ns: int,
        ask: bool, is_rtx: bool,
    ) -> bytes:  # fmt: skip
        """One packet of a message, its data read as it is now."""
        dscp = self._dscp_rtx if is_rtx else self._dscp
        envelope = self._envelopes.get(entry.ev << 6 | dscp) or self._envelope(entry, dscp)
        opcode, se, imm = _MIDDLE, False, None
        if psn == message.last_psn:
            opcode, se, imm = message.opcode(psn), message.is_solicited, message.imm
        elif not offset:
            opcode = _FIRST
        return encode_write(
            envelope, opcode, self._peer_qpn, psn, ask, is_rtx, se, timestamp(now_ns),
            message.msn, message.rqmsn, message.va + offset, message.rkey, message.length, imm,
            message.data[offset : offset + length],
        )

    def probe(self, probe_id: int, entry: Entry, now_ns: int) -> bytes:
        """A reliability probe: it waits in the data queues but is not cut to pieces there."""
        probe = ReliabilityProbe(self._peer_qpn, probe_id, *self._ids, timestamp(now_ns))
        return encode(self._envelope(entry, _NO_TRIM), probe)

    def _envelope(self, entry: Entry, dscp: int) -> Envelope:
        if len(self._envelopes) >= _ENVELOPES_KEPT:
            self._envelopes.clear()
        envelope = self._envelopes[entry.ev << 6 | dscp] = Envelope(
            self._source, self._destination, entry.path_address, entry.ev, dscp, _ECT0
        )
        return envelope
