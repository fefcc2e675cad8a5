"""The same schedules drawn by hypothesis: what breaks is shrunk to what breaks it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st
from sim.property_rig import Broken, check
from sim.property_schedule import Schedule, draw_schedule

from testbed.transport.mrc.reliability.received import ReceiveWindow
from testbed.transport.mrc.responder import Responder

T = TypeVar("T")


class DrawPicker:
    """Draws by hypothesis."""

    def __init__(self, draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
        self._draw = draw

    def integer(self, low: int, high: int) -> int:
        return int(self._draw(st.integers(low, high)))

    def one_of(self, values: Sequence[T]) -> T:
        value: T = self._draw(st.sampled_from(values))
        return value

    def percent(self, share: int) -> bool:
        return bool(self._draw(st.integers(0, 99)) >= 100 - share)

    def many(self, low: int, high: int, make: Callable[[Any], T]) -> tuple[T, ...]:
        return tuple(self._draw(st.lists(_made(make), min_size=low, max_size=high)))


@st.composite
def _made(draw: Any, make: Callable[[Any], T]) -> T:
    return make(DrawPicker(draw))


@st.composite
def schedules(draw: Any, most_posts: int = 120) -> Schedule:
    """Any schedule; the seed of what is random at run time is drawn as well."""
    return draw_schedule(DrawPicker(draw), draw(st.integers(0, 3)), most_posts)


@given(schedules())
@settings(max_examples=100, suppress_health_check=list(HealthCheck))
def test_every_property_holds_in_what_hypothesis_draws(schedule: Schedule) -> None:
    check(schedule)


def is_broken(schedule: Schedule) -> bool:
    """True where a property does not hold."""
    try:
        check(schedule)
    except Broken:
        return True
    return False


def smallest() -> Schedule:
    """The simplest schedule that breaks; raises where none is found."""
    quickly = settings(
        max_examples=400, derandomize=True, database=None, deadline=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    return find(schedules(most_posts=20), is_broken, settings=quickly)


@pytest.mark.soak
def test_a_payload_in_a_wrong_place_is_shrunk_to_a_few_writes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = Responder._place

    def misplace(
        self: Responder, opcode: int, va: int, rkey: int, dmalen: int, payload: Any
    ) -> int:
        is_odd = len(payload) % 4 != 0 and va > 4
        return place(self, opcode, va - 4 if is_odd else va, rkey, dmalen, payload)

    monkeypatch.setattr(Responder, "_place", misplace)
    schedule = smallest()
    assert len(schedule.pairs) == 1
    assert len(schedule.posts) <= 3
    assert sum(post.packets for post in schedule.posts) <= 4
    assert not schedule.faults
    assert not schedule.duplicate_percent
    assert schedule.spec.host_count <= 3


@pytest.mark.soak
def test_a_hole_taken_for_received_is_shrunk_to_two_packets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    accept = ReceiveWindow.accept

    def leap(self: ReceiveWindow, psn: int) -> bool:
        if psn <= self.cack + 1:
            return accept(self, psn)
        self.cack = self.max_received = psn
        self._bitmap = 0
        return True

    monkeypatch.setattr(ReceiveWindow, "accept", leap)
    schedule = smallest()
    assert len(schedule.pairs) == 1
    assert len(schedule.posts) <= 4
    assert sum(post.packets for post in schedule.posts) <= 6
    assert len(schedule.faults) <= 1
