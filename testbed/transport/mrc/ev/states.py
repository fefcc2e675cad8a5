"""The state of an EV and everything that may change it (facts sheet 4.11, MRC Figure 5).

Theory of operation. An EV is one path, and a QP holds an opinion on each of its paths:

    GOOD         carries data
    SKIP         congested: left out for one turn of the rotation, one base RTT at most
    ASSUMED_BAD  broken as far as anyone can tell: carries no data, is probed
    DENIED       switched off by the controller: carries nothing, is not probed

Congestion leads to SKIP and passes by itself. It is told by ECN, which comes back as
SACK m = SKIP_ONCE, or by a trimmed packet. A packet trimmed on the last hop says nothing
about its path, all paths end in that hop, so it changes no state.

Breakage leads to ASSUMED_BAD: a packet that left no trace, neither trim nor SACK, or a
peer that says ALWAYS_SKIP. Only probes lead out of it. A late SACK for data sent before
the verdict does not; it may have been on its way when the path broke.

The controller knows more than the QP (an external prober, facts sheet 5.4), so its word
holds in every state, and no feedback moves an EV out of DENIED.

A rotation that passes over an EV and a clock that ends its SKIP concern a skipped EV
only, and only an EV under probing has probes answered. Met in another state they are a
fault of the caller and raise; only DENIED forgives, because the controller may speak at
any moment.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import NamedTuple

CHANGES_KEPT = 4096


class EvState(Enum):
    """What a QP thinks of one EV. The controller API has no SKIP; it reads as GOOD (H)."""

    GOOD = "good"
    SKIP = "skip"
    ASSUMED_BAD = "assumed_bad"
    DENIED = "denied"


class EvEvent(Enum):
    """What may change the state of an EV."""

    ACKED = "acked"  # a SACK with m = NONE for data sent on it
    MARKED = "marked"  # a SACK with m = SKIP_ONCE
    TRIMMED = "trimmed"  # a NACK TRIMMED
    TRIMMED_LASTHOP = "trimmed_lasthop"  # a NACK TRIMMED_LASTHOP
    ALWAYS_SKIP_MARKED = "always_skip_marked"  # a SACK with m = ALWAYS_SKIP
    LOSS_INFERRED = "loss_inferred"  # enough packets left neither trim nor SACK
    SKIP_PASSED = "skip_passed"  # the rotation passed over it once
    SKIP_OVER = "skip_over"  # one base RTT has gone by
    PROBES_ANSWERED = "probes_answered"  # enough of them in a row
    PROBES_ANSWERED_MARKED = "probes_answered_marked"  # likewise, the last one with a mark
    DENIED_BY_CONTROLLER = "denied_by_controller"
    GOOD_BY_CONTROLLER = "good_by_controller"
    BAD_BY_CONTROLLER = "bad_by_controller"


class EvMove(Enum):
    """What may change the place of an EV and leaves its state alone."""

    SWAPPED_IN = "swapped_in"  # a spare became active
    SWAPPED_OUT = "swapped_out"  # an active one became a spare
    ADDED = "added"  # the controller put it into the set
    REMOVED = "removed"  # the controller took it out of the set


class EvChange(NamedTuple):
    """One change of state or place: ``at_ns``, and ``is_active`` as it is afterwards."""

    at_ns: int
    ev: int
    port: int
    before: EvState
    after: EvState
    cause: EvEvent | EvMove
    is_active: bool


class ChangeLog:
    """Changes until somebody takes them: the newest 4096; ``lost`` counts the others."""

    __slots__ = ("_changes", "lost")

    def __init__(self) -> None:
        self._changes: deque[EvChange] = deque(maxlen=CHANGES_KEPT)
        self.lost = 0

    def append(self, change: EvChange) -> None:
        """Keep one more change."""
        if len(self._changes) == CHANGES_KEPT:
            self.lost += 1
        self._changes.append(change)

    def take(self) -> list[EvChange]:
        """Hand over what there is, oldest first."""
        changes = list(self._changes)
        self._changes.clear()
        return changes


_GOOD, _SKIP = EvState.GOOD, EvState.SKIP
_BAD, _DENIED = EvState.ASSUMED_BAD, EvState.DENIED

# state -> event -> next state. Pairs that are not here raise.
TRANSITIONS: dict[EvState, dict[EvEvent, EvState]] = {
    _GOOD: {
        EvEvent.ACKED: _GOOD,
        EvEvent.MARKED: _SKIP,
        EvEvent.TRIMMED: _SKIP,
        EvEvent.TRIMMED_LASTHOP: _GOOD,
        EvEvent.ALWAYS_SKIP_MARKED: _BAD,
        EvEvent.LOSS_INFERRED: _BAD,
        EvEvent.DENIED_BY_CONTROLLER: _DENIED,
        EvEvent.GOOD_BY_CONTROLLER: _GOOD,
        EvEvent.BAD_BY_CONTROLLER: _BAD,
    },
    _SKIP: {
        EvEvent.ACKED: _SKIP,
        EvEvent.MARKED: _SKIP,
        EvEvent.TRIMMED: _SKIP,
        EvEvent.TRIMMED_LASTHOP: _SKIP,
        EvEvent.ALWAYS_SKIP_MARKED: _BAD,
        EvEvent.LOSS_INFERRED: _BAD,
        EvEvent.SKIP_PASSED: _GOOD,
        EvEvent.SKIP_OVER: _GOOD,
        EvEvent.DENIED_BY_CONTROLLER: _DENIED,
        EvEvent.GOOD_BY_CONTROLLER: _GOOD,
        EvEvent.BAD_BY_CONTROLLER: _BAD,
    },
    _BAD: {
        EvEvent.ACKED: _BAD,
        EvEvent.MARKED: _BAD,
        EvEvent.TRIMMED: _BAD,
        EvEvent.TRIMMED_LASTHOP: _BAD,
        EvEvent.ALWAYS_SKIP_MARKED: _BAD,
        EvEvent.LOSS_INFERRED: _BAD,
        EvEvent.PROBES_ANSWERED: _GOOD,
        EvEvent.PROBES_ANSWERED_MARKED: _SKIP,  # row 19 of section 9: X and M, not E
        EvEvent.DENIED_BY_CONTROLLER: _DENIED,
        EvEvent.GOOD_BY_CONTROLLER: _GOOD,
        EvEvent.BAD_BY_CONTROLLER: _BAD,
    },
    _DENIED: {
        EvEvent.ACKED: _DENIED,
        EvEvent.MARKED: _DENIED,
        EvEvent.TRIMMED: _DENIED,
        EvEvent.TRIMMED_LASTHOP: _DENIED,
        EvEvent.ALWAYS_SKIP_MARKED: _DENIED,
        EvEvent.LOSS_INFERRED: _DENIED,
        EvEvent.SKIP_PASSED: _DENIED,
        EvEvent.SKIP_OVER: _DENIED,
        EvEvent.PROBES_ANSWERED: _DENIED,
        EvEvent.PROBES_ANSWERED_MARKED: _DENIED,
        EvEvent.DENIED_BY_CONTROLLER: _DENIED,
        EvEvent.GOOD_BY_CONTROLLER: _GOOD,
        EvEvent.BAD_BY_CONTROLLER: _BAD,
    },
}


def next_state(state: EvState, event: EvEvent) -> EvState:
    """The state after an event. Raises ValueError where the event cannot happen in it."""
    after = TRANSITIONS[state].get(event)
    if after is None:
        raise ValueError(
            f"an EV that is {state.value} cannot meet {event.value}: check its state first"
        )
    return after
