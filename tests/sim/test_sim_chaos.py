"""Duplicates and late frames, the same ones in every run."""

from __future__ import annotations

from collections import Counter

from sim.sim_fakes import TINY, Bench, on_path

from testbed.forwarding.paths import paths
from testbed.sim.chaos import Chaos

PATH = paths(TINY.spec, 0, 3)[0]


def numbers(chaos: Chaos | None) -> tuple[list[int], Bench]:
    bench = Bench(TINY, chaos=chaos)
    bench.post(0, 0, *[on_path(TINY, PATH, number=number) for number in range(200)])
    bench.finish()
    return bench.fake(3).numbers, bench


def test_without_chaos_frames_come_once_and_in_order() -> None:
    assert numbers(None)[0] == numbers(Chaos())[0] == list(range(200))


def test_some_frames_come_twice() -> None:
    arrived, bench = numbers(Chaos(duplicate_ratio=0.2, max_delay_ns=3000))
    counts = Counter(arrived)
    assert set(counts) == set(range(200))
    twice = sum(count == 2 for count in counts.values())
    assert 20 < twice < 60
    balance = bench.sim.conservation()
    assert (balance.duplicated, balance.received, balance.unexplained) == (twice, 200 + twice, 0)


def test_late_frames_are_overtaken_and_none_is_lost() -> None:
    arrived, _ = numbers(Chaos(delay_ratio=0.3, max_delay_ns=5000))
    assert sorted(arrived) == list(range(200))
    assert arrived != sorted(arrived)


def test_the_seed_decides() -> None:
    wild = Chaos(1, 0.2, 0.3, 5000)
    assert numbers(wild)[0] == numbers(wild)[0] != numbers(Chaos(2, 0.2, 0.3, 5000))[0]


def test_delays_stay_in_their_bounds() -> None:
    chaos = Chaos(delay_ratio=1.0, duplicate_ratio=1.0, max_delay_ns=7)
    delays = {delay for number in range(500) for delay in chaos.delays_ns(1000, number)}
    assert delays == set(range(1, 8))
