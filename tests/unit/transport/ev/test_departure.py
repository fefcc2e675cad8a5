"""Leaving a congested EV: a random pause that grows, a coin, a fresh start after a calm."""

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


def test_the_pause_grows_by_half_up_to_64_rtts_and_is_up_to_all_of_it() -> None:
    departure = Departure(RTT, Script(1.0, *([1.0, 0.9] * 8)))  # the longest pauses, tails
    at, waits = 1_000_000, []
    while departure._rng.values:
        assert not departure.is_time(at)
        waits.append(round((departure._next_ns - at) / RTT, 1))
        at = departure._next_ns
    assert waits == [8.0, 12.0, 18.0, 27.0, 40.5, 60.8, 64.0, 64.0, 64.0]


def test_nobody_leaves_at_the_first_mark_but_later_heads_does() -> None:
    departure = Departure(RTT, Script(0.5, 1.0, 0.0, 0.0, 0.9))
    assert not departure.is_time(0)
    assert not departure.is_time(4 * RTT - 1)
    assert departure.is_time(4 * RTT), "heads"
    assert not departure.is_time(16 * RTT - 1)
    assert not departure.is_time(16 * RTT), "tails"


def test_a_calm_starts_anew() -> None:
    departure = Departure(RTT, Script(0.5, 1.0, 0.9, 0.5))
    departure.is_time(0)
    departure.is_time(4 * RTT)
    assert not departure.is_time(69 * RTT)
    assert departure._next_ns == 73 * RTT


SEEN_AFTER_RTTS = 3  # until whoever stays sees that the other has gone


def _rtts_until_parted(seed: int) -> int:
    """Two share one of two EVs, and both are marked while they do, and a little longer."""
    pair = [Departure(RTT, Random(seed * 2 + i)) for i in range(2)]
    evs, together = [0, 0], 0
    for rtt in range(1000):
        if evs[0] == evs[1]:
            together = rtt
        if rtt - together >= SEEN_AFTER_RTTS:
            return together
        for i, each in enumerate(pair):
            if each.is_time(rtt * RTT):
                evs[i] ^= 1
    raise AssertionError("they never part")


def test_two_on_one_ev_part_for_good_within_fifty_rtts() -> None:
    took = [_rtts_until_parted(seed) for seed in range(1000)]
    assert sum(took) / len(took) < 10
    assert sum(rtts > 50 for rtts in took) <= 10
