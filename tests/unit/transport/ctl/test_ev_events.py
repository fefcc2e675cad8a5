"""EV events: order, merging, and a queue that stays bounded (facts sheet 7.6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.transport.mrc.ctl.ev_events import EvEvent, EvEventCq
from testbed.transport.mrc.ctl.values import ApiEvState, api_ev
from testbed.transport.mrc.errors import Errno

GOOD, BAD = ApiEvState.GOOD, ApiEvState.ASSUMED_BAD
EVS = [api_ev(number << 16, 0) for number in range(8)]


def test_oldest_first_and_at_most_what_is_asked() -> None:
    cq = EvEventCq(8, lambda *_: True)
    events = [EvEvent(1, ev, 1, BAD) for ev in EVS[:3]]
    for event in events:
        cq.post(event)
    assert cq.poll(2) == events[:2]
    assert cq.poll(2) == events[2:]
    assert cq.poll(2) == []


def test_changes_of_one_ev_merge_in_place() -> None:
    cq = EvEventCq(8, lambda *_: True)
    cq.post(EvEvent(1, EVS[0], 3, BAD))
    cq.post(EvEvent(1, EVS[1], 1, BAD))
    cq.post(EvEvent(2, EVS[0], 1, BAD))
    cq.post(EvEvent(1, EVS[0]._replace(port=2), 1, BAD))
    cq.post(EvEvent(1, EVS[0], 2, GOOD))
    assert cq.poll(9)[0] == EvEvent(1, EVS[0], 5, GOOD)
    assert len(cq) == 0


def test_what_was_polled_is_not_merged_again() -> None:
    cq = EvEventCq(8, lambda *_: True)
    cq.post(EvEvent(1, EVS[0], 3, BAD))
    cq.poll(1)
    cq.post(EvEvent(1, EVS[0], 0, GOOD))
    assert cq.poll(1) == [EvEvent(1, EVS[0], 0, GOOD)]


@pytest.mark.parametrize("count", [0, -1])
def test_polling_nothing(count: int, refused: Callable[..., Any]) -> None:
    refused(Errno.EINVAL, EvEventCq(8, lambda *_: True).poll, count)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=60))
def test_bounded_and_never_without_what_is_held(steps: list[tuple[int, int]]) -> None:
    """A controller replaces EVs all the time and never polls."""
    held = list(EVS[:3])
    cq = EvEventCq(3, lambda _, ev: ev in held)
    last: dict[Any, int] = {}
    for count, (place, new) in enumerate(steps):
        ev = held[place % 3]
        cq.post(EvEvent(1, ev, count, BAD))
        last[ev] = count
        assert len(cq) <= 3
        if EVS[new] not in held:
            held[place % 3] = EVS[new]
            last.pop(ev)
    waiting = {event.ev for event in cq.poll(99)}
    assert {ev for ev in held if ev in last} <= waiting
