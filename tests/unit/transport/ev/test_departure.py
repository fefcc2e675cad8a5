"""Leaving a congested EV: a coin, a growing random pause, a fresh start after a calm."""

from __future__ import annotations

from random import Random

from testbed.transport.mrc.ev.departure import Departure

RTT = 10_000


class Script(Random):
    """random() from a list: pause draws and coins in turn."""

    def __init__(self, *values: float) -> None:
        super().__init__()
        self.values = list(values)

    def random(self) -> float:
        return self.values.pop(0)


def test_the_pause_doubles_up_to_64_rtts_and_is_half_to_all_of_it() -> None:
    departure = Departure(RTT, Script(*([0.0, 0.9] * 8)))  # the shortest pauses, tails
    at, waits = 1_000_000, []
    for _ in range(8):
        assert not departure.is_time(at)
        start = at
        while departure._rng.values and not departure._next_ns <= at:
            at += RTT
        waits.append((at - start) // RTT)
    assert waits[:6] == [2, 4, 8, 16, 32, 32]


def test_heads_leaves_once_and_waits() -> None:
    departure = Departure(RTT, Script(1.0, 0.0, 1.0, 0.0))
    assert departure.is_time(0)
    assert not departure.is_time(4 * RTT - 1)
    assert departure.is_time(4 * RTT)


def test_a_calm_starts_anew() -> None:
    departure = Departure(RTT, Script(1.0, 0.9, 1.0, 0.0))
    assert not departure.is_time(0)
    assert departure.is_time(65 * RTT)
    assert departure._pause_rtts == 8


def test_two_on_one_ev_part_within_a_few_tosses() -> None:
    tosses = []
    for seed in range(200):
        pair = [Departure(RTT, Random(seed * 2 + i)) for i in range(2)]
        for rtt in range(1000):
            left = [each.is_time(rtt * RTT) for each in pair]
            if left[0] != left[1]:
                tosses.append(rtt)
                break
    assert len(tosses) == 200
    assert sum(tosses) / 200 < 20
