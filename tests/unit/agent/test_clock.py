"""testbed/agent/clock.py: one clock told from another although it is read in between."""

from __future__ import annotations

import pytest

from testbed.agent import clock
from testbed.agent.clock import realtime_ahead_ns

AHEAD_NS = 1_700_000_000_000_000_000


class Interrupted:
    """Stands in for the module ``time``: between the two clocks so much passes, each time."""

    def __init__(self, *gaps_ns: int) -> None:
        self.now_ns = 5_000_000
        self.gaps_ns = list(gaps_ns)
        self.readings = 0

    def monotonic_ns(self) -> int:
        return self.now_ns

    def time_ns(self) -> int:
        self.readings += 1
        self.now_ns += self.gaps_ns.pop(0)
        return self.now_ns + AHEAD_NS


def told(monkeypatch: pytest.MonkeyPatch, time: Interrupted) -> int:
    monkeypatch.setattr(clock, "time", time)
    return realtime_ahead_ns() - AHEAD_NS


def test_two_readings_close_together_are_taken_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    time = Interrupted(600)
    assert told(monkeypatch, time) == 300
    assert time.readings == 1


def test_an_interruption_between_them_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    time = Interrupted(4_000_000, 900_000, 400)
    assert told(monkeypatch, time) == 200
    assert time.readings == 3


def test_where_it_never_works_the_closest_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    time = Interrupted(9_000, 8_000, 5_000, 7_000, 6_000)
    assert told(monkeypatch, time) == 2_500
