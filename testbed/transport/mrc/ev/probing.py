"""How an EV leaves and how it comes back: a verdict at once, a return after proof.

The asymmetry is the point (P): a broken path costs a retransmission for every packet
put on it, so one loss is enough to leave it, while a path that flaps would be left over
and over, so several probes in a row must be answered before it is used again, and twice
as many where it broke again soon after the last return.

Probes of one EV are sent every 4 base RTTs; with every unanswered one the interval
doubles, up to 64, and an answer brings it back to 4 (rows 21 and 22 of section 9 of the
facts sheet). There are no timers here: a plan knows when it is due, in ns.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from testbed.transport.mrc.choices import (
    EV_PROBE_TIMEOUT_BASE_RTTS,
    PROBE_INTERVAL_BASE_RTTS,
    PROBE_INTERVAL_LIMIT_BASE_RTTS,
    PROBE_SUCCESSES,
    PROBE_SUCCESSES_LIMIT,
    RELAPSE_BASE_RTTS,
)

if TYPE_CHECKING:
    from testbed.transport.mrc.ev.rotation import Entry

PROBES_PER_CALL = 4


class EvPolicy(Protocol):
    """How much evidence makes an EV ASSUMED_BAD."""

    def is_bad(self, entry: Entry, now_ns: int) -> bool:
        """Take one inferred loss on this EV into account and say whether it is enough."""


class OneLossPolicy:
    """One inferred loss is enough, as in the paper: right where loss means breakage."""

    __slots__ = ()

    def is_bad(self, entry: Entry, now_ns: int) -> bool:
        """Always true."""
        return True


class EvidencePolicy:
    """A score per EV: a loss adds 1, every acknowledged packet takes a share away.

    With ``decay`` d, n acknowledgements multiply the score by d to the power of n, so a
    path that loses a share s of its packets settles near 1 / (1 - d ** (1 / s)), and a
    broken one reaches any threshold. ``threshold`` >= 1: the score that is enough;
    0 < ``decay`` < 1. Raises ValueError beyond.
    """

    __slots__ = ("_decay", "_threshold")

    def __init__(self, threshold: float = 2.5, decay: float = 0.99) -> None:
        if threshold < 1 or not 0 < decay < 1:
            raise ValueError(
                f"threshold {threshold} with decay {decay} weighs no evidence: take a "
                "threshold of 1 or more and a decay between 0 and 1"
            )
        self._threshold = threshold
        self._decay = decay

    def is_bad(self, entry: Entry, now_ns: int) -> bool:
        """Add one loss to what the acknowledgements since the last one have left."""
        acked = entry.acked - entry.evidence_acked
        entry.evidence_acked = entry.acked
        entry.evidence = entry.evidence * self._decay**acked + 1
        return entry.evidence >= self._threshold


class ProbePlan:
    """The probing of one EV. It outlives the return, to know a relapse when it comes.

    ``due_at_ns``: when the next probe is to go. ``needed``: how many answers in a row
    bring the EV back. ``streak``: how many there are.
    """

    __slots__ = ("_base_rtt_ns", "_came_back_at_ns", "_interval_ns", "_sent_at_ns",
                 "due_at_ns", "needed", "streak")  # fmt: skip

    def __init__(self, base_rtt_ns: int) -> None:
        self.due_at_ns = 0
        self.needed = PROBE_SUCCESSES
        self.streak = 0
        self._base_rtt_ns = base_rtt_ns
        self._interval_ns = PROBE_INTERVAL_BASE_RTTS * base_rtt_ns
        self._sent_at_ns: int | None = None  # of the probe that waits for its answer
        self._came_back_at_ns: int | None = None

    def start(self, now_ns: int) -> None:
        """The EV has gone bad: the first probe is due after one interval."""
        back = self._came_back_at_ns
        is_relapse = back is not None and now_ns - back <= RELAPSE_BASE_RTTS * self._base_rtt_ns
        self.needed = min(2 * self.needed, PROBE_SUCCESSES_LIMIT) if is_relapse else PROBE_SUCCESSES
        self.streak = 0
        self._interval_ns = PROBE_INTERVAL_BASE_RTTS * self._base_rtt_ns
        self._sent_at_ns = None
        self.due_at_ns = now_ns + self._interval_ns

    def on_sent(self, now_ns: int) -> None:
        """A probe goes out; one that still waits for its answer is unanswered now."""
        if self._sent_at_ns is not None:
            self.streak = 0
            limit_ns = PROBE_INTERVAL_LIMIT_BASE_RTTS * self._base_rtt_ns
            self._interval_ns = min(2 * self._interval_ns, limit_ns)
        self._sent_at_ns = now_ns
        self.due_at_ns = now_ns + self._interval_ns

    def on_answered(self, now_ns: int) -> bool:
        """An answer came. True where it was the last one needed: the EV may return.

        An answer to nothing, or one that took 4 base RTTs or more, changes nothing.
        """
        sent_at_ns = self._sent_at_ns
        if sent_at_ns is None:
            return False
        if now_ns - sent_at_ns >= EV_PROBE_TIMEOUT_BASE_RTTS * self._base_rtt_ns:
            return False
        self._sent_at_ns = None
        self._interval_ns = PROBE_INTERVAL_BASE_RTTS * self._base_rtt_ns
        self.due_at_ns = sent_at_ns + self._interval_ns
        self.streak += 1
        if self.streak < self.needed:
            return False
        self._came_back_at_ns = now_ns
        return True


class Probing:
    """Everything of one QP that is under probing, each EV with its plan.

    ``next_at_ns``: when :meth:`due` has something, None while there is nothing to probe.
    EVs of ports that are not live wait until these are.
    """

    __slots__ = ("_live_ports", "_probed", "next_at_ns")

    def __init__(self, live_ports: int) -> None:
        self._live_ports = live_ports
        self._probed: dict[int, Entry] = {}  # by EV, longest first
        self.next_at_ns: int | None = None

    def start(self, entry: Entry, base_rtt_ns: int, now_ns: int) -> None:
        """This EV has gone bad."""
        if entry.plan is None:
            entry.plan = ProbePlan(base_rtt_ns)
        entry.plan.start(now_ns)
        self._probed[entry.ev] = entry
        self._refresh()

    def stop(self, ev: int) -> None:
        """This EV is not to be probed, or no longer."""
        if self._probed.pop(ev, None) is not None:
            self._refresh()

    def set_live_ports(self, mask: int) -> None:
        """Probe on these ports only."""
        self._live_ports = mask
        self._refresh()

    def due(self, now_ns: int) -> list[Entry]:
        """The EVs to probe now, taken as sent: at most 4, what is left is due at once."""
        if self.next_at_ns is None or now_ns < self.next_at_ns:
            return []
        ripe = [(entry, plan) for entry, plan in self._plans() if plan.due_at_ns <= now_ns]
        del ripe[PROBES_PER_CALL:]
        for _, plan in ripe:
            plan.on_sent(now_ns)
        self._refresh()
        return [entry for entry, _ in ripe]

    def on_answered(self, ev: int, now_ns: int) -> Entry | None:
        """A probe on this EV was answered: its entry, where that was the last one needed."""
        entry = self._probed.get(ev)
        if entry is None or entry.plan is None:
            return None
        may_return = entry.plan.on_answered(now_ns)
        self._refresh()
        return entry if may_return else None

    def _plans(self) -> Iterator[tuple[Entry, ProbePlan]]:
        for entry in self._probed.values():
            if entry.plan is not None and self._live_ports >> entry.port & 1:
                yield entry, entry.plan

    def _refresh(self) -> None:
        self.next_at_ns = min((plan.due_at_ns for _, plan in self._plans()), default=None)
