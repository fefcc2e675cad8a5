"""The order of use on one port: passes, skipping, avoiding, spares."""

from __future__ import annotations

from random import Random

import pytest

from testbed.transport.mrc.ev.departure import Departure
from testbed.transport.mrc.ev.rotation import Entry, PathEv, Rotation
from testbed.transport.mrc.ev.states import EvState


def make_rotation(count: int, limit: int | None = None, seed: int = 1) -> Rotation:
    rng = Random(seed)
    rotation = Rotation(0, limit, rng, Departure(10_000, rng))
    for ev in range(count):
        rotation.place(Entry(PathEv(ev, 0), b""))
    return rotation


def end_skip(rotation: Rotation, passed: list[int]) -> object:
    def pass_over(entry: Entry) -> None:
        entry.state = EvState.GOOD
        rotation.count_skip(entry, -1)
        passed.append(entry.ev)

    return pass_over


def take(rotation: Rotation, count: int, avoid: Entry | None = None) -> tuple[list[int], list[int]]:
    """EVs taken and EVs passed over."""
    passed: list[int] = []
    pass_over = end_skip(rotation, passed)
    taken = [rotation.take(avoid, pass_over).ev for _ in range(count)]  # type: ignore[arg-type]
    return taken, passed


def skip(rotation: Rotation, *evs: int) -> None:
    for entry in rotation:
        if entry.ev in evs:
            entry.state = EvState.SKIP
            rotation.count_skip(entry, 1)


def test_each_pass_uses_each_ev_once_in_an_order_of_its_own() -> None:
    taken, _ = take(make_rotation(8), 80)
    passes = [tuple(taken[at : at + 8]) for at in range(0, 80, 8)]
    assert all(sorted(each) == list(range(8)) for each in passes)
    assert len(set(passes)) > 5


def test_seeds_make_the_order() -> None:
    assert take(make_rotation(8, seed=2), 40) == take(make_rotation(8, seed=2), 40)
    assert take(make_rotation(8, seed=2), 40) != take(make_rotation(8, seed=3), 40)


def test_an_ev_in_skip_loses_one_turn() -> None:
    rotation = make_rotation(4)
    skip(rotation, 2)
    taken, passed = take(rotation, 3)
    assert 2 not in taken
    # its turn may have been the last of the pass: then the next choice passes over it
    later, passed_later = take(rotation, 5)
    assert passed + passed_later == [2]
    assert 2 in later


@pytest.mark.parametrize(("skipped", "is_saturated"), [(2, False), (3, True), (4, True)])
def test_more_than_half_in_skip_means_skip_none(skipped: int, is_saturated: bool) -> None:
    rotation = make_rotation(4)
    skip(rotation, *range(skipped))
    assert rotation.is_saturated is is_saturated
    taken, passed = take(rotation, 4)
    assert (sorted(taken) == [0, 1, 2, 3] and not passed) is is_saturated


def test_the_avoided_ev_keeps_its_turn_while_the_pass_has_others() -> None:
    rotation = make_rotation(4)
    rotation.start_pass()
    avoid = rotation.pending[-1]
    first, _ = take(rotation, 1, avoid)
    assert avoid.ev not in first
    rest, _ = take(rotation, 3)
    assert sorted(first + rest) == [0, 1, 2, 3]


def test_an_avoided_ev_is_never_taken_beside_another() -> None:
    rotation = make_rotation(3)
    avoid = rotation.active[1]
    assert set(take(rotation, 30, avoid)[0]) == {0, 2}
    skip(rotation, 0, 2)
    assert avoid.ev not in take(rotation, 10, avoid)[0]


def test_the_avoided_ev_is_taken_where_it_is_the_only_one() -> None:
    rotation = make_rotation(1)
    assert take(rotation, 2, rotation.active[0])[0] == [0, 0]


def test_the_first_are_active_and_the_others_spares() -> None:
    rotation = make_rotation(5, limit=2)
    assert [entry.ev for entry in rotation.active] == [0, 1]
    assert [entry.ev for entry in rotation.spares] == [2, 3, 4]
    assert set(take(rotation, 10)[0]) == {0, 1}


def test_a_swap_joins_with_the_next_pass() -> None:
    rotation = make_rotation(3, limit=2)
    rotation.start_pass()
    out = rotation.pending[-1]
    rotation.swap(out, rotation.spares[0])
    (first,), _ = take(rotation, 1)
    assert first not in (out.ev, 2)
    assert sorted(take(rotation, 2)[0]) == sorted([first, 2])


def test_a_good_spare_goes_before_a_skipped_one() -> None:
    rotation = make_rotation(3, limit=1)
    skip(rotation, 1)
    good, skipped = rotation.spares[1], rotation.spares[0]
    assert rotation.sendable_spare() is good
    good.state = EvState.DENIED
    assert rotation.good_spare() is None
    assert rotation.sendable_spare() is skipped
