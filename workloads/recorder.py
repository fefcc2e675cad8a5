"""What a host's queue pairs do, as rows: a sample every so often, and what happened between.

    sample(now, events)   the time has come (``next_ns``): rows of everything since the last
    finish(now, events)   the run is over: a last sample, and what is still open

Reads what the transport counts anyway, so nothing is done for a packet; only verdicts of
loss, answers of EV probes and posted writes are noted one by one. Rows are tuples in the
order of the columns of :data:`testbed.metrics.tables.TABLES`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from testbed.metrics.tables import TABLES, event_row
from testbed.transport.mrc.completion import Completion, WcStatus
from testbed.transport.mrc.endpoint import Endpoint, EvChanged, Event
from testbed.transport.mrc.ev.states import EvState
from testbed.transport.mrc.notes import AnsweredProbe, LostPacket
from testbed.transport.mrc.qp import QpFailed
from topologies.ev import split_ev
from topologies.names import host_name
from workloads.connections import Channel, PostedWrite

Write = Callable[[str, tuple[Any, ...]], object]
"""Keep a row of a table."""

SAMPLES_PER_EV_SAMPLE = 5
MAX_MESSAGES = 100_000  # of one host; the others are counted

_FAR_NS = 1 << 62
_PSN_MASK = (1 << 24) - 1
_MAX_WINDOW_BYTES = 1 << 53  # stands for a window without end
_NOTHING = (0, 0, 0, 0, 0)
_SKIP = EvState.SKIP
_EVENT_COLUMNS = tuple(TABLES["events"])


class Recorder:
    """Samples ``channels``, all ends of one host, every ``sample_ns`` of emulated time.

    ``next_ns`` is when `sample` is wanted. From the start on it keeps what it has to note on
    ``endpoint`` and channels.
    """

    def __init__(self, endpoint: Endpoint, channels: Iterable[Channel], sample_ns: int,
                 write: Write) -> None:
        self.next_ns = sample_ns
        self._endpoint, self._sample_ns, self._write = endpoint, sample_ns, write
        self._flows = [_Flow(channel) for channel in channels]
        self._by_qp = {flow.qp.qp_num: flow for flow in self._flows}
        self._names = {flow.qp.peer: flow.peer for flow in self._flows}
        self._host = self._flows[0].host if self._flows else ""
        self._carrier = endpoint.carrier
        self._probes: list[AnsweredProbe] = []
        endpoint.answered_probes = self._probes
        self._sampled_ns = self._evs_sampled_ns = 0
        self._samples = 0
        self._skips: dict[tuple[str, int], int] = {}
        self._messages = 0
        self._is_over = False

    # --- As it happens -----------------------------------------------------------------

    def on_completion(self, channel: Channel, completion: Completion, now_ns: int) -> None:
        """A posted write has ended."""
        posted = channel.posted
        if posted:
            self._note_message(self._by_qp[completion.qp_num], posted.popleft(), now_ns,
                               completion.status)

    def on_ports_changed(self, up_ports: int, now_ns: int) -> None:
        """These ports have carrier here from now on."""
        if up_ports != self._carrier and not self._is_over:
            self._carrier = up_ports
            self._event(now_ns, "ports", what="carrier", detail=f"{up_ports:#x}")

    # --- When its time has come --------------------------------------------------------

    def sample(self, now_ns: int, events: Sequence[Event]) -> None:
        """Rows of everything since the last sample; ``events`` is what the device told since."""
        self.next_ns = (now_ns // self._sample_ns + 1) * self._sample_ns
        self._samples += 1
        self._note_all(now_ns, events)
        if not self._samples % SAMPLES_PER_EV_SAMPLE:
            self._sample_evs(now_ns)

    def finish(self, now_ns: int, events: Sequence[Event]) -> None:
        """The last rows; nothing is recorded after it."""
        if self._is_over:
            return
        self._note_all(now_ns, events)
        self._sample_evs(now_ns)
        self.next_ns, self._is_over = _FAR_NS, True
        for flow in self._flows:
            for posted in flow.posted:
                self._note_message(flow, posted, None, None)
            flow.channel.posted = None
        self._endpoint.answered_probes = None
        if self._messages > MAX_MESSAGES:
            self._event(now_ns, "warning", detail=(
                f"{self._messages - MAX_MESSAGES} messages of {self._host} are not in the "
                f"table: it holds {MAX_MESSAGES} of a host"))

    def _note_all(self, now_ns: int, events: Sequence[Event]) -> None:
        self.note_events(events)
        self._note_probes()
        interval_ns = now_ns - self._sampled_ns
        self._sampled_ns = now_ns
        for flow in self._flows:
            if flow.losses:
                self._note_losses(flow)
            row = flow.row(now_ns, interval_ns)
            if row is not None:
                self._write("flows", row)

    # --- Rows --------------------------------------------------------------------------

    def _note_message(self, flow: _Flow, posted: PostedWrite, done_ns: int | None,
                      status: WcStatus | None) -> None:
        self._messages += 1
        if self._messages <= MAX_MESSAGES:
            self._write("messages", (
                *flow.key, "write_imm" if posted.has_immediate else "write", posted.size_bytes,
                posted.at_ns, done_ns, "open" if status is None else status.value))

    def note_events(self, events: Sequence[Event]) -> None:
        """Rows of what the device told, as it may be asked between samples too."""
        if self._is_over:
            return
        for event in events:
            if isinstance(event, EvChanged):
                self._note_change(event)
            elif isinstance(event, QpFailed):
                flow = self._by_qp.get(event.qp_num)
                self._event(event.at_ns, "qp", name=str(event.qp_num), what=event.status.value,
                            target=flow.peer if flow else "", detail=event.reason)
            else:
                self._event(event.at_ns, "ports", what="peer",
                            target=self._names.get(event.peer, ""), detail=f"{event.up_ports:#x}")

    def _note_change(self, event: EvChanged) -> None:
        flow, change = self._by_qp.get(event.qp_num), event.change
        if flow is None:
            return
        if change.after is _SKIP and change.before is not _SKIP:
            place = flow.peer, change.ev
            self._skips[place] = self._skips.get(place, 0) + 1
        self._write("evs", (
            change.at_ns, *flow.key, *flow.path(change.ev, change.port), change.before.value,
            change.after.value, change.cause.value, change.is_active))

    def _note_probes(self) -> None:
        for probe in self._probes:
            flow = self._by_qp.get(probe.qp_num)
            if flow is not None:
                self._write("probes", (
                    probe.at_ns, *flow.key, *flow.path(probe.ev, probe.port), probe.rtt_ns))
        self._probes.clear()

    def _note_losses(self, flow: _Flow) -> None:
        for lost in flow.losses:
            self._write("losses", (
                lost.at_ns, lost.sent_at_ns, *flow.key, lost.psn & _PSN_MASK,
                *flow.path(lost.ev, lost.port), lost.cause))
        flow.losses.clear()

    def _sample_evs(self, now_ns: int) -> None:
        interval_ns = now_ns - self._evs_sampled_ns
        self._evs_sampled_ns = now_ns
        grown: dict[tuple[str, int], _Growth] = {}
        for flow in self._flows:
            if flow.has_moved:
                flow.add_growth(grown)
        skips, self._skips = self._skips, {}
        for (peer, ev), (flow, port, growth, rtt_ns) in grown.items():
            self._write("ev_samples", (
                now_ns, interval_ns, flow.host, peer, *flow.path(ev, port), *growth,
                skips.pop((peer, ev), 0), rtt_ns or None))
        self._skips = skips  # of EVs that did nothing else yet: told with what they do next

    def _event(self, at_ns: int, kind: str, **columns: Any) -> None:
        row = event_row(at_ns, kind, host=self._host, **columns)
        self._write("events", tuple(row[name] for name in _EVENT_COLUMNS))


class _Growth(NamedTuple):
    """What an EV carried for all queue pairs to a peer: one of them, counters, longest RTT."""

    flow: _Flow
    port: int
    counts: Sequence[int]
    rtt_ns: int


class _Flow:
    """One queue pair, and where its counters stood at the last sample."""

    __slots__ = ("_evs", "_seen", "channel", "has_moved", "host", "is_cross_t1", "key", "losses",
                 "peer", "posted", "qp")  # fmt: skip

    def __init__(self, channel: Channel) -> None:
        self.channel, self.qp = channel, channel.qp
        self.host, self.peer = host_name(channel.host), host_name(channel.peer)
        self.key = self.host, self.peer, channel.qp.qp_num
        self.is_cross_t1 = channel.is_cross_t1
        self.posted = channel.posted = deque[PostedWrite]()
        self.losses: list[LostPacket] = []
        assert self.qp.requester is not None  # it is connected
        self.qp.requester.losses = self.losses
        self.has_moved = False
        self._seen = (0,) * 7
        self._evs: dict[int, tuple[int, int, int, int, int]] = {}

    def path(self, ev: int, port: int) -> tuple[int, int, int | None]:
        """EV, plane and uplink of a path."""
        return ev, port, split_ev(ev)[1] if self.is_cross_t1 else None

    def row(self, now_ns: int, interval_ns: int) -> tuple[Any, ...] | None:
        """The row of `flows`, None where nothing was done since the last one."""
        requester, paths = self.qp.requester, self.qp.paths
        if requester is None or paths is None:
            return None
        found = requester.counters
        seen = (found.sent + found.resent, found.sent_bytes, found.acked_bytes, found.resent,
                found.lost_by_nack, found.lost_by_evidence, found.lost_by_timer)
        before = self._seen
        if seen == before:
            return None
        self._seen, self.has_moved = seen, True
        cc = requester.cc
        return (
            now_ns, interval_ns, *self.key, *[a - b for a, b in zip(seen, before, strict=True)],
            max(0, cc.inflight), int(min(cc.cwnd, _MAX_WINDOW_BYTES)), requester.srtt_ns,
            paths.carrying, paths.usable_ports)

    def add_growth(self, into: dict[tuple[str, int], _Growth]) -> None:
        """Add what each EV carried since the last time to that of its peer's other QPs."""
        self.has_moved = False
        evs, peer, paths = self._evs, self.peer, self.qp.paths
        for entry in paths.entries() if paths else ():
            now = (entry.sent, entry.acked, entry.marked, entry.trimmed, entry.lost)
            before = evs.get(entry.ev, _NOTHING)
            if now == before:
                continue
            evs[entry.ev] = now
            if now[0] < before[0]:  # the controller has put it in anew
                before = _NOTHING
            counts = [a - b for a, b in zip(now, before, strict=True)]
            rtt_ns, entry.rtt_ns = entry.rtt_ns, 0
            other = into.get((peer, entry.ev))
            if other is not None:
                counts = [a + b for a, b in zip(other.counts, counts, strict=True)]
                rtt_ns = max(rtt_ns, other.rtt_ns)
            into[peer, entry.ev] = _Growth(self, entry.port, counts, rtt_ns)
