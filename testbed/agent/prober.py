"""Which probe to send next, and what its answers say. No socket, no clock.

A run is one `probe` request: `count` rounds over a list of paths, the rounds
`interval_ns` apart. The driver asks `next_probe` for work, tells how the send
went (`on_probe_sent`, `on_probe_refused`), hands answers to `on_answer`, and
calls `on_deadline` when `next_deadline_ns` has come. Runs share one bound on
probes in flight and take turns, so a run over thousands of paths neither
overflows a buffer nor starves a small one.

    pending --next_probe--> out --on_answer--> answered
                             |--on_deadline--> lost; an answer after that is late
                             |--on_probe_refused--> refused (its port is down)

Two clocks: `now_ns` paces and times out (monotonic); `sent_at_ns` and
`received_at_ns` make the round trip time (wall clock, as the kernel stamps frames).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field

from testbed.agent.rtt import links_crossed
from testbed.errors import TestbedError

_ID_LIMIT = 1 << 32
# Answers later than this many probes ago count as unknown instead of late or duplicate.
_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class ProbePath:
    """One path to try: addresses are 16 bytes; `reverse` is the outer way back.

    `is_self` paths lead back to the sender and need no answer.
    """

    ev: int
    plane: int
    address: bytes
    destination: bytes
    reverse: bytes = bytes(16)
    is_self: bool = False


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """`count` >= 1 probes per path; `frame_bytes` on the wire; wall-clock ns."""

    paths: tuple[ProbePath, ...]
    count: int
    timeout_ns: int
    interval_ns: int
    frame_bytes: int
    dscp: int
    ecn: int = 0
    is_ev_probe: bool = False


@dataclass(slots=True)
class PathResult:
    """What became of the probes of one path.

    `sent` left this host; `refused` could not, its port being down. `marked`
    answers met congestion out or back. `links` were crossed out and back by the
    last answer, None before the first. Each answer of a frame probe adds to
    `rtt_wall_ns`, and to `transit_wall_ns` how long the way out took on the wall clock;
    each answer of an EV probe adds to `rtt_ns`, which is emulated time.
    """

    path: ProbePath
    sent: int = 0
    received: int = 0
    refused: int = 0
    late: int = 0
    duplicates: int = 0
    marked: int = 0
    links: int | None = None
    rtt_wall_ns: list[int] = field(default_factory=list)
    rtt_ns: list[int] = field(default_factory=list)
    transit_wall_ns: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A probe to send now."""

    id: int
    path: ProbePath
    request: ProbeRequest


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply, or a self probe come home. `hops_back` is None for the latter.

    `source` is the 16-byte inner address of whoever answered; `ev` and `plane`
    are those of the arrival; `transit_ns` is how long the way out took.
    """

    id: int
    sent_at_ns: int
    received_at_ns: int
    source: bytes
    ev: int
    plane: int
    hops_out: int
    hops_back: int | None
    met_ce: bool
    transit_ns: int = 0


@dataclass(slots=True)
class ProbeCounters:
    """Answers that changed no path's `received`, by cause, over the agent's life."""

    late: int = 0
    duplicates: int = 0
    unknown: int = 0
    mismatched: int = 0


@dataclass(slots=True)
class _Run:
    key: int
    request: ProbeRequest
    results: list[PathResult]
    round_at_ns: int  # when the current round may begin
    rounds_left: int
    next_row: int = 0
    out: OrderedDict[int, _Out] = field(default_factory=OrderedDict)

    @property
    def is_sending(self) -> bool:
        return self.rounds_left > 0

    @property
    def is_finished(self) -> bool:
        return not self.rounds_left and not self.out


@dataclass(slots=True)
class _Out:
    run: _Run
    result: PathResult
    expires_at_ns: int
    sent_at_ns: int = 0


class Prober:
    """The state of every probe run of one agent."""

    def __init__(self, max_in_flight: int) -> None:
        self.counters = ProbeCounters()
        self._max_in_flight = max_in_flight
        self._next_id = 0
        self._runs: dict[int, _Run] = {}
        self._turns: deque[_Run] = deque()  # runs with probes still to send
        self._out: dict[int, _Out] = {}
        self._settled: OrderedDict[int, tuple[PathResult, bool]] = OrderedDict()

    @property
    def is_busy(self) -> bool:
        """A run is under way, or its results wait to be taken."""
        return bool(self._runs)

    def start(self, key: int, request: ProbeRequest, now_ns: int) -> None:
        """Begin a run; `key` names it in `take_finished` and must not be in use."""
        if key in self._runs:
            raise TestbedError(f"probe run {key} is still under way: use another request id")
        results = [PathResult(path) for path in request.paths]
        run = _Run(key, request, results, now_ns, request.count)
        self._runs[key] = run
        self._turns.append(run)

    def next_probe(self, now_ns: int) -> Outgoing | None:
        """The next probe that may leave now, None if there is none or enough are out."""
        if len(self._out) >= self._max_in_flight:
            return None
        for _ in range(len(self._turns)):
            run = self._turns[0]
            if run.round_at_ns <= now_ns:
                return self._issue(run, now_ns)
            self._turns.rotate(-1)
        return None

    def _issue(self, run: _Run, now_ns: int) -> Outgoing:
        result = run.results[run.next_row]
        probe_id = self._next_id
        self._next_id = (probe_id + 1) % _ID_LIMIT
        out = _Out(run, result, now_ns + run.request.timeout_ns)
        self._out[probe_id] = run.out[probe_id] = out
        self._advance(run)
        return Outgoing(probe_id, result.path, run.request)

    def _advance(self, run: _Run) -> None:
        """Move the run whose turn it is to its next path; the turn goes to the next run."""
        run.next_row += 1
        if run.next_row == len(run.results):
            run.next_row = 0
            run.rounds_left -= 1
            run.round_at_ns += run.request.interval_ns
        if run.is_sending:
            self._turns.rotate(-1)
        else:
            self._turns.popleft()

    def on_probe_sent(self, probe_id: int, sent_at_ns: int) -> None:
        """The probe left the host; `sent_at_ns` is wall time just before the send."""
        out = self._out[probe_id]
        out.sent_at_ns = sent_at_ns
        out.result.sent += 1

    def on_probe_refused(self, probe_id: int) -> None:
        """The probe could not leave: its port is down or absent. It is not waited for."""
        out = self._forget(probe_id)
        out.result.refused += 1

    def on_answer(self, answer: Answer) -> bool:
        """Credit an answer; False where it is late, double, or not ours (then counted)."""
        out = self._out.get(answer.id)
        if out is None:
            self._on_stray(answer)
            return False
        if not _belongs(answer, out):
            self.counters.mismatched += 1
            return False
        self._forget(answer.id)
        self._remember(answer.id, out.result, is_answered=True)
        result = out.result
        result.received += 1
        result.marked += answer.met_ce
        result.links = links_crossed(answer.hops_out, answer.hops_back)
        result.rtt_wall_ns.append(answer.received_at_ns - out.sent_at_ns)
        result.transit_wall_ns.append(answer.transit_ns)
        return True

    def on_ev_answer(self, probe_id: int, rtt_ns: int) -> None:
        """The endpoint's probe was answered after so much emulated time."""
        out = self._out.get(probe_id)
        if out is None:
            self.counters.late += 1
            return
        self._forget(probe_id)
        out.result.received += 1
        out.result.rtt_ns.append(rtt_ns)

    def _on_stray(self, answer: Answer) -> None:
        result, is_answered = self._settled.get(answer.id, (None, False))
        if result is None:
            self.counters.unknown += 1
        elif is_answered:
            self.counters.duplicates += 1
            result.duplicates += 1
        else:
            self.counters.late += 1
            result.late += 1
            self._settled[answer.id] = (result, True)

    def next_deadline_ns(self) -> int | None:
        """When `on_deadline` or `next_probe` has something to do; None if never.

        A time in the past means now. A run held back only by the bound on
        probes in flight is due when one of them is answered or expires.
        """
        due = [next(iter(run.out.values())).expires_at_ns
               for run in self._runs.values() if run.out]
        if len(self._out) < self._max_in_flight:
            due += [run.round_at_ns for run in self._turns]
        return min(due, default=None)

    def on_deadline(self, now_ns: int) -> None:
        """Give up on every probe whose time is over (exactly at it counts as over)."""
        for run in self._runs.values():
            while run.out:
                probe_id, out = next(iter(run.out.items()))
                if out.expires_at_ns > now_ns:
                    break
                self._forget(probe_id)
                self._remember(probe_id, out.result, is_answered=False)

    def take_finished(self) -> list[tuple[int, list[PathResult]]]:
        """(key, results in the order of the paths) of runs that ended since the last call."""
        finished = [run for run in self._runs.values() if run.is_finished]
        for run in finished:
            del self._runs[run.key]
        return [(run.key, run.results) for run in finished]

    def _forget(self, probe_id: int) -> _Out:
        out = self._out.pop(probe_id)
        del out.run.out[probe_id]
        return out

    def _remember(self, probe_id: int, result: PathResult, is_answered: bool) -> None:
        self._settled[probe_id] = (result, is_answered)
        if len(self._settled) > _REMEMBERED:
            self._settled.popitem(last=False)


def _belongs(answer: Answer, out: _Out) -> bool:
    path = out.result.path
    return (
        answer.sent_at_ns == out.sent_at_ns
        and answer.source == path.destination
        and answer.ev == path.ev
        and answer.plane == path.plane
    )
