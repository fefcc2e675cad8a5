"""The EV state machine: facts sheet 4.11 stated once more, every state with every event."""

from __future__ import annotations

import pytest

from testbed.transport.mrc.ev.states import (
    CHANGES_KEPT,
    ChangeLog,
    EvChange,
    EvEvent,
    EvState,
    next_state,
)

GOOD, SKIP, BAD, DENIED = "good", "skip", "assumed_bad", "denied"
STATES = (GOOD, SKIP, BAD, DENIED)
ILLEGAL = "-"

# event -> what it makes of GOOD, SKIP, ASSUMED_BAD, DENIED
SHEET = {
    "acked": (GOOD, SKIP, BAD, DENIED),
    "marked": (SKIP, SKIP, BAD, DENIED),
    "trimmed": (SKIP, SKIP, BAD, DENIED),
    "trimmed_lasthop": (GOOD, SKIP, BAD, DENIED),
    "always_skip_marked": (BAD, BAD, BAD, DENIED),
    "loss_inferred": (BAD, BAD, BAD, DENIED),
    "skip_passed": (ILLEGAL, GOOD, ILLEGAL, DENIED),
    "skip_over": (ILLEGAL, GOOD, ILLEGAL, DENIED),
    "probes_answered": (ILLEGAL, ILLEGAL, GOOD, DENIED),
    "probes_answered_marked": (ILLEGAL, ILLEGAL, SKIP, DENIED),
    "denied_by_controller": (DENIED, DENIED, DENIED, DENIED),
    "good_by_controller": (GOOD, GOOD, GOOD, GOOD),
    "bad_by_controller": (BAD, BAD, BAD, BAD),
}
ROWS = [
    (state, event, after)
    for event, outcomes in SHEET.items()
    for state, after in zip(STATES, outcomes, strict=True)
]


def test_the_sheet_names_every_state_and_event() -> None:
    assert {state.value for state in EvState} == set(STATES)
    assert {event.value for event in EvEvent} == set(SHEET)


@pytest.mark.parametrize(("state", "event", "after"), ROWS)
def test_transition(state: str, event: str, after: str) -> None:
    if after == ILLEGAL:
        with pytest.raises(ValueError, match=f"{state} cannot meet {event}"):
            next_state(EvState(state), EvEvent(event))
    else:
        assert next_state(EvState(state), EvEvent(event)) is EvState(after)


def a_change(at_ns: int) -> EvChange:
    return EvChange(at_ns, 1, 0, EvState.GOOD, EvState.SKIP, EvEvent.MARKED, True)


def test_changes_are_handed_over_once_and_in_order() -> None:
    log = ChangeLog()
    log.append(a_change(1))
    log.append(a_change(2))
    assert [change.at_ns for change in log.take()] == [1, 2]
    assert log.take() == []


def test_an_unread_log_keeps_the_newest_and_counts_the_others() -> None:
    log = ChangeLog()
    for at_ns in range(CHANGES_KEPT + 3):
        log.append(a_change(at_ns))
    kept = log.take()
    assert (len(kept), kept[0].at_ns, log.lost) == (CHANGES_KEPT, 3, 3)
