"""The receiving half of a QP: place packets in any order, complete messages in order.

Every write packet carries its own address, so its payload goes to memory the moment it
arrives. What waits is only the news: a message completes when all of it and everything
before it has come (facts sheet 4.4, 4.6). Two layers answer: SACK and NACK speak of
packets, the Transport ACK of messages (4.1).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from testbed.transport.mrc.choices import (
    FIRST_MSN,
    FIRST_RQMSN,
    PSN_RANGE_UNIT,
    RCVD_BYTES_UNIT,
    SACK_MIN_PACKET_BYTES,
    SACK_THRESHOLD_BYTES,
)
from testbed.transport.mrc.completion import Completion, WcOpcode, WcStatus
from testbed.transport.mrc.reliability.received import ReceiveWindow, Verdict
from testbed.transport.mrc.serial import MSN_MASK, PSN_MASK
from testbed.transport.mrc.wire.codec import Arrival, Envelope, encode, encode_sack
from testbed.transport.mrc.wire.codes import (
    ACK_SYNDROME,
    FINAL_OPCODES,
    FIRST_OPCODES,
    NackReason,
    NakCode,
    Opcode,
    PathMark,
)
from testbed.transport.mrc.wire.packets import (
    Nack,
    ReliabilityProbe,
    TransportAck,
    Trimmed,
    Write,
)
from topologies.numbers import IMMDT_BYTES, TSETH_BYTES, Dscp, Ecn

if TYPE_CHECKING:
    from testbed.transport.mrc.control import ControlQueue
    from testbed.transport.mrc.ev.reverse import ReverseSet
    from testbed.transport.mrc.ev.rotation import Entry
    from testbed.transport.mrc.memory import MemoryTable

_CONTROL, _NOT_ECT = int(Dscp.CONTROL), int(Ecn.NOT_ECT)
_MIDDLE, _ACCESS_ERROR = int(Opcode.WRITE_MIDDLE), int(NakCode.REMOTE_ACCESS_ERROR)
_NONE, _SKIP_ONCE = int(PathMark.NONE), int(PathMark.SKIP_ONCE)
_LAST_HOP = int(Dscp.TRIMMED_LASTHOP)
_NEW, _ABOVE, _BELOW = Verdict.NEW, Verdict.DUPLICATE_ABOVE, Verdict.DUPLICATE_BELOW
_BEYOND = Verdict.BEYOND
_RCVD_MASK = (1 << 24) - 1
_ENVELOPES_KEPT = 4096
_OLDEST_OFFSET = -0x8000  # ack_psn_offset has 16 bits; older duplicates are named wrongly


class _Note(NamedTuple):
    """What is to happen when the left edge passes this PSN."""

    is_last: bool
    msn: int
    rqmsn: int
    imm: int | None
    dmalen: int
    se: bool
    nak: int  # 0: none


class _Trigger:
    """What a SACK answers; the newest where several are answered at once."""

    __slots__ = ("entropy", "entry", "is_plain", "mark", "probe_id", "psn", "timestamp")

    def __init__(
        self, entry: Entry, psn: int, entropy: int, timestamp: int, mark: int,
        probe_id: int | None, is_plain: bool,
    ) -> None:  # fmt: skip
        self.entry, self.psn, self.entropy, self.timestamp = entry, psn, entropy, timestamp
        self.mark, self.probe_id, self.is_plain = mark, probe_id, is_plain


class ResponderCounters:
    """What a responder met, in packets."""

    __slots__ = ("accepted", "beyond", "duplicates", "far", "marked", "nacks", "sacks",
                 "transport_acks", "trimmed")  # fmt: skip

    def __init__(self) -> None:
        self.accepted = self.beyond = self.duplicates = self.far = self.marked = 0
        self.nacks = self.sacks = self.transport_acks = self.trimmed = 0


class Responder:
    """One QP's receive side.

    ``source`` and ``destination`` are those of its answers. ``mpr_dest`` is the window it
    tracks, in units of 128 PSNs; ``max_wimm_dest`` how many immediates it can hold back.
    ``nominal_overhead_bytes`` is a write's nominal size above its payload (spec 8.3.1).
    ``error`` is set where a message was refused for good.
    """

    __slots__ = (
        "_acked_again_at_ns", "_can_trim_nack", "_controls", "_destination", "_envelopes",
        "_imm_waiting", "_is_ack_queued", "_max_wimm", "_memory", "_msn", "_notes",
        "_overhead_bytes", "_peer_qpn", "_plain", "_qpn", "_refused_psn", "_repeat_ns",
        "_rqmsn", "_since_sack_bytes", "_source", "completions", "counters", "error",
        "mpr", "rcvd_bytes", "receives", "reverse", "window",
    )  # fmt: skip

    def __init__(
        self, *, source: bytes, destination: bytes, qpn: int, peer_qpn: int, first_psn: int,
        nominal_overhead_bytes: int, mpr_dest: int, max_wimm_dest: int, can_trim_nack: bool,
        base_rtt_ns: int, memory: MemoryTable, reverse: ReverseSet, controls: ControlQueue,
    ) -> None:  # fmt: skip
        self.window = ReceiveWindow(first_psn, mpr_dest * PSN_RANGE_UNIT)
        self.receives: deque[int] = deque()  # wr_ids posted, oldest first
        self.completions: list[Completion] = []  # taken by the QP
        self.error = 0  # the NAK code
        self.counters = ResponderCounters()
        self.rcvd_bytes = 0
        self.reverse = reverse
        self.mpr = mpr_dest
        self._source, self._destination = source, destination
        self._qpn, self._peer_qpn = qpn, peer_qpn
        self._overhead_bytes = nominal_overhead_bytes
        self._max_wimm = max_wimm_dest
        self._can_trim_nack = can_trim_nack
        self._repeat_ns = base_rtt_ns
        self._memory, self._controls = memory, controls
        self._envelopes: dict[int, Envelope] = {}  # of answers, by EV
        self._notes: dict[int, _Note] = {}
        self._imm_waiting = 0
        self._msn, self._rqmsn = FIRST_MSN, FIRST_RQMSN  # of the next to complete
        self._since_sack_bytes = 0
        self._plain: list[_Trigger | None] = [None] * 32
        self._is_ack_queued = False
        self._acked_again_at_ns = -base_rtt_ns
        self._refused_psn = 0

    # --- packets -------------------------------------------------------------------

    def on_write(self, port: int, arrival: Arrival, write: Write, now_ns: int) -> None:
        """A write packet that passed its check sum."""
        if self.error:
            self._nak_again(port, arrival, now_ns)
            return
        (
            opcode, _, psn24, a, rtx, _, tx_timestamp, _, _, va, rkey, dmalen, imm, payload,
        ) = write  # fmt: skip
        window = self.window
        verdict, psn = window.classify(psn24)
        if verdict is not _NEW:
            self._on_not_new(port, arrival, write, verdict, psn, now_ns)
            return
        size = (len(payload) + 3 & ~3) + self._overhead_bytes
        if tx_timestamp is None:
            size -= TSETH_BYTES
        if imm is not None:
            size += IMMDT_BYTES
        self.rcvd_bytes += size
        self.counters.accepted += 1
        nak = self._place(opcode, va, rkey, dmalen, payload)
        if a or nak or opcode in FINAL_OPCODES:
            self._take_note(psn, write, nak)
        before = window.cack
        if window.accept(psn) and self._notes:
            self._advance(port, arrival, before + 1, window.cack, now_ns)
        if self.reverse.probe_at_ns is None:  # else it knows of data already
            self.reverse.on_data_received(now_ns)
        self._since_sack_bytes += size if size > SACK_MIN_PACKET_BYTES else SACK_MIN_PACKET_BYTES
        is_due = self._since_sack_bytes >= SACK_THRESHOLD_BYTES or a or rtx or arrival.is_ce
        if is_due and not self.error:
            self._sack(port, arrival, psn, tx_timestamp or 0, now_ns)

    def _take_note(self, psn: int, write: Write, nak: int) -> None:
        """Remember what the left edge has to do when it passes this packet."""
        self._notes[psn] = _Note(
            write.opcode in FINAL_OPCODES, write.msn, write.rqmsn, write.imm, write.dmalen,
            write.se, nak,
        )  # fmt: skip
        if write.imm is not None:
            self._imm_waiting += 1

    def _on_not_new(
        self, port: int, arrival: Arrival, write: Write, verdict: Verdict, psn: int, now_ns: int
    ) -> None:
        """A write that came before, or that the window has no room for."""
        if verdict is _ABOVE or verdict is _BELOW:
            self._on_duplicate(port, arrival, psn, write.tx_timestamp or 0, now_ns)
        elif verdict is _BEYOND:
            self.counters.beyond += 1
            self._nack(
                port, arrival, write.psn, NackReason.PSN_OOR_WINDOW, write.tx_timestamp, now_ns
            )
        else:
            self.counters.far += 1

    def on_trimmed(self, port: int, arrival: Arrival, packet: Trimmed, now_ns: int) -> None:
        """A write whose payload a switch cut off: ask for it at once (facts sheet 4.17)."""
        if self.error:
            return
        self.counters.trimmed += 1
        verdict, psn = self.window.classify(packet.psn)
        if verdict is _NEW:
            is_last_hop = arrival.dscp == _LAST_HOP
            reason = NackReason.TRIMMED_LASTHOP if is_last_hop else NackReason.TRIMMED
            if self._can_trim_nack:
                self._nack(port, arrival, packet.psn, reason, packet.tx_timestamp, now_ns)
        elif verdict is _ABOVE or verdict is _BELOW:
            self._on_duplicate(port, arrival, psn, packet.tx_timestamp or 0, now_ns)

    def on_probe(
        self, port: int, arrival: Arrival, probe: ReliabilityProbe, now_ns: int
    ) -> None:
        """Answer with the true state of reception (facts sheet 4.10)."""
        if self.error:
            self._nak_again(port, arrival, now_ns)
            return
        self._sack(
            port, arrival, self.window.cack, probe.tx_timestamp, now_ns, probe.probe_id
        )

    def _place(
        self, opcode: int, va: int, rkey: int, dmalen: int, payload: bytes | memoryview
    ) -> int:
        """Write the payload to memory; the NAK code where key or bounds forbid it.

        Every packet is checked alone. First, only and last packets also tell where the
        whole message lies, so a message that would run over its region's end is refused
        before any of their bytes is written. A write of nothing needs no key (IB).
        """
        memory = self._memory
        if opcode != _MIDDLE:
            start = va if opcode in FIRST_OPCODES else va + len(payload) - dmalen
            if not memory.covers(rkey, start, dmalen):
                return _ACCESS_ERROR
        return 0 if memory.write(rkey, va, payload) else _ACCESS_ERROR

    def _on_duplicate(
        self, port: int, arrival: Arrival, psn: int, tx_timestamp: int, now_ns: int
    ) -> None:
        """Never placed again; answered, because the first answer may be lost."""
        self.counters.duplicates += 1
        self._sack(port, arrival, psn, tx_timestamp, now_ns)
        if psn <= self.window.cack and now_ns - self._acked_again_at_ns >= self._repeat_ns:
            self._acked_again_at_ns = now_ns
            self._acknowledge(port, arrival, now_ns)

    # --- messages ------------------------------------------------------------------

    def _advance(
        self, port: int, arrival: Arrival, first_psn: int, last_psn: int, now_ns: int
    ) -> None:
        """The left edge has passed these PSNs: complete, refuse or acknowledge in order."""
        notes, is_due = self._notes, False
        for psn in range(first_psn, last_psn + 1):
            note = notes.pop(psn, None)
            if note is None:
                continue
            nak = note.nak or (self._complete(note) if note.is_last else 0)
            if nak:
                self._refuse(port, arrival, psn, nak, now_ns)
                return
            is_due = True
        if is_due:
            self._acknowledge(port, arrival, now_ns)

    def _complete(self, note: _Note) -> int:
        """All of a message and all before it has come; a NAK code where it is invalid.

        There is no RNR: an immediate without a posted receive is fatal, and so is one
        more than the limit agreed on (facts sheet 4.6).
        """
        if note.msn != self._msn & MSN_MASK:
            return int(NakCode.INVALID_REQUEST)
        if note.imm is not None:
            if note.rqmsn != self._rqmsn & MSN_MASK or not self.receives:
                return int(NakCode.INVALID_REQUEST)
            if self._imm_waiting > self._max_wimm:
                return int(NakCode.INVALID_REQUEST)
            self._imm_waiting -= 1
            self._rqmsn += 1
            self.completions.append(
                Completion(
                    self.receives.popleft(), WcStatus.SUCCESS, WcOpcode.RECV_RDMA_WITH_IMM,
                    self._qpn, note.dmalen, note.imm, note.se,
                )
            )  # fmt: skip
        self._msn += 1
        return 0

    def _refuse(self, port: int, arrival: Arrival, psn: int, nak: int, now_ns: int) -> None:
        self.error = nak
        self._refused_psn = psn
        self._acked_again_at_ns = now_ns
        self._notes.clear()
        self._queue_nak(port, arrival, now_ns)

    def _nak_again(self, port: int, arrival: Arrival, now_ns: int) -> None:
        """A refused peer that goes on sending has not heard: say it again, once per RTT."""
        if now_ns - self._acked_again_at_ns >= self._repeat_ns:
            self._acked_again_at_ns = now_ns
            self._queue_nak(port, arrival, now_ns)

    # --- answers -------------------------------------------------------------------

    def _sack(
        self, port: int, arrival: Arrival, psn: int, timestamp: int, now_ns: int,
        probe_id: int | None = None,
    ) -> None:  # fmt: skip
        """Queue a SACK; one that answers nothing special takes the place of an unsent one."""
        self._since_sack_bytes = 0
        entry = self.reverse.choose(port, arrival.ev, now_ns)
        if entry is None:
            return
        is_plain = not arrival.is_ce and probe_id is None
        waiting = self._plain[entry.port] if is_plain else None
        if waiting is not None:
            waiting.psn, waiting.entropy, waiting.timestamp = psn, arrival.ev, timestamp
            return
        if arrival.is_ce:
            self.counters.marked += 1
        mark = _SKIP_ONCE if arrival.is_ce else _NONE
        trigger = _Trigger(entry, psn, arrival.ev, timestamp, mark, probe_id, is_plain)
        if self._controls.push(entry.port, self._build_sack, trigger) and is_plain:
            self._plain[entry.port] = trigger

    def _build_sack(self, trigger: _Trigger, now_ns: int) -> bytes:
        entry, window, probe_id = trigger.entry, self.window, trigger.probe_id
        cack, peer_qpn = window.cack, self._peer_qpn
        if trigger.is_plain:
            self._plain[entry.port] = None
        sack_offset, bitmap = window.report()
        self.counters.sacks += 1
        return encode_sack(
            self._envelopes.get(entry.ev) or self._envelope(entry),
            peer_qpn, trigger.mark, probe_id is not None,
            max(trigger.psn - cack, _OLDEST_OFFSET) if probe_id is None else 0, probe_id or 0,
            trigger.entropy, self._qpn & 0xFFFF, peer_qpn & 0xFFFF, cack & PSN_MASK, self.mpr,
            sack_offset, bitmap, trigger.timestamp, window.ooo_count, False, 0,
            (self.rcvd_bytes + RCVD_BYTES_UNIT - 1) // RCVD_BYTES_UNIT & _RCVD_MASK,
        )  # fmt: skip

    def _nack(
        self, port: int, arrival: Arrival, psn: int, reason: NackReason,
        timestamp: int | None, now_ns: int,
    ) -> None:  # fmt: skip
        entry = self.reverse.choose(port, arrival.ev, now_ns)
        if entry is None:
            return
        nack = Nack(
            self._peer_qpn, int(reason), arrival.ev, self._qpn & 0xFFFF,
            self._peer_qpn & 0xFFFF, psn, timestamp or 0,
        )  # fmt: skip
        self.counters.nacks += 1
        self._controls.push(entry.port, self._build, (entry, nack))

    def _acknowledge(self, port: int, arrival: Arrival, now_ns: int) -> None:
        """Queue a Transport ACK, unless one waits already: it will say the newest."""
        if self._is_ack_queued:
            return
        entry = self.reverse.choose(port, arrival.ev, now_ns)
        if entry is not None:
            self._is_ack_queued = self._controls.push(entry.port, self._build_ack, entry)

    def _build_ack(self, entry: Entry, now_ns: int) -> bytes | None:
        self._is_ack_queued = False
        if self.error:
            return None
        self.counters.transport_acks += 1
        ack = TransportAck(
            self._peer_qpn, self.window.cack & PSN_MASK, ACK_SYNDROME, self._msn & PSN_MASK
        )
        return self._encode(entry, ack)

    def _queue_nak(self, port: int, arrival: Arrival, now_ns: int) -> None:
        entry = self.reverse.choose(port, arrival.ev, now_ns)
        if entry is not None:
            nak = TransportAck(
                self._peer_qpn, self._refused_psn & PSN_MASK, self.error, self._msn & PSN_MASK
            )
            self._controls.push(entry.port, self._build, (entry, nak))

    def _build(self, answer: tuple[Entry, Nack | TransportAck], now_ns: int) -> bytes:
        return self._encode(*answer)

    def _encode(self, entry: Entry, packet: Nack | TransportAck) -> bytes:
        return encode(self._envelopes.get(entry.ev) or self._envelope(entry), packet)

    def _envelope(self, entry: Entry) -> Envelope:
        if len(self._envelopes) >= _ENVELOPES_KEPT:
            self._envelopes.clear()
        envelope = self._envelopes[entry.ev] = Envelope(
            self._source, self._destination, entry.path_address, entry.ev, _CONTROL, _NOT_ECT
        )
        return envelope
