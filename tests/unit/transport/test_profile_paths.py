"""From a profile of EVs to the paths of one QP, and back."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from unit.transport.engine_rig import RTT, SPEC, device

from testbed.transport.mrc.ctl.ev_entries import EvEntry, EvOperation
from testbed.transport.mrc.ctl.ev_profile import EvProfile, EvProfileAttr
from testbed.transport.mrc.ctl.values import ApiEvState, api_ev
from testbed.transport.mrc.device import add_ev_profile
from testbed.transport.mrc.errors import Errno, MrcError
from testbed.transport.mrc.ev.states import EvState
from testbed.transport.mrc.profile_paths import ProfilePaths
from testbed.transport.mrc.srv6 import PathTemplate
from topologies.ev import make_ev

CROSS, LOCAL = PathTemplate(0, 1, 0), PathTemplate(0, 0, 1)
FOUR = [make_ev(p, u) for p in (0, 1) for u in (0, 1)]


class Bench:
    """A profile of EVs, and one QP's share in it."""

    def __init__(self, template: PathTemplate = CROSS, per_plane: int = 2) -> None:
        self.controller = device(0).controller
        add_ev_profile(self.controller, 5, SPEC, per_plane=per_plane, min_active=2)
        self.profile: EvProfile = self.controller.ev_profile(5)
        self.news = 0
        self.shared = self.attach(template)

    def attach(self, template: PathTemplate = CROSS) -> ProfilePaths:
        shared = ProfilePaths(
            self.profile, template, base_rtt_ns=RTT, rng=Random(1), policy=None, now_ns=100
        )
        shared.on_followed = self._count
        return shared

    def _count(self) -> None:
        self.news += 1

    def change(self, operation: EvOperation, ev: int, state: ApiEvState, new: Any = None) -> None:
        entry = EvEntry(api_ev(ev, ev >> 24), None if new is None else api_ev(*new), state)
        self.controller.modify_ev_profile(5, EvProfileAttr(operation=operation, entries=(entry,)))

    @property
    def evs(self) -> list[int]:
        return [entry.ev for entry in self.shared.paths.entries()]


def test_across_t1s_every_ev_is_a_path() -> None:
    bench = Bench()
    assert bench.evs == FOUR
    assert bench.shared.paths.ev_min_active == 2


def test_inside_a_t0_there_is_one_path_per_plane_and_the_floor_is_the_same_share() -> None:
    bench = Bench(LOCAL)
    assert bench.evs == [make_ev(0, 0), make_ev(1, 0)]
    assert bench.shared.paths.ev_min_active == 1


def test_a_state_set_by_the_controller_holds_for_the_path_that_stands_for_the_ev() -> None:
    bench = Bench(LOCAL)
    bench.change(EvOperation.MODIFY_EV_STATE, make_ev(0, 1), ApiEvState.DENIED)
    entry: Any = bench.shared.paths.entry(make_ev(0, 0))
    assert entry.state is EvState.DENIED
    assert bench.news == 1


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (ApiEvState.GOOD, EvState.GOOD),
        (ApiEvState.ASSUMED_BAD, EvState.ASSUMED_BAD),
        (ApiEvState.DENIED, EvState.DENIED),
    ],
)
def test_states_reach_qps_that_are_there_and_that_come(
    state: ApiEvState, expected: EvState
) -> None:
    bench = Bench()
    bench.change(EvOperation.MODIFY_EV_STATE, FOUR[1], state)
    for shared in (bench.shared, bench.attach()):
        entry: Any = shared.paths.entry(FOUR[1])
        assert entry.state is expected
        assert shared.ev_state(FOUR[1]) is state


def test_skip_reads_as_good_and_what_is_not_held_as_unknown() -> None:
    bench = Bench()
    bench.shared.paths.on_marked(FOUR[0], 0)
    assert bench.shared.ev_state(FOUR[0]) is ApiEvState.GOOD
    assert bench.shared.ev_state(make_ev(7, 7)) is ApiEvState.UNKNOWN


def test_a_replaced_ev_leaves_the_qp_and_the_new_one_comes() -> None:
    bench = Bench(per_plane=1)
    assert bench.evs == [FOUR[0], FOUR[2]]
    bench.change(EvOperation.REPLACE_EV, FOUR[0], ApiEvState.GOOD, (FOUR[1], 0))
    assert sorted(bench.evs) == [FOUR[1], FOUR[2]]
    assert bench.news == 1


def test_a_change_is_dated_with_the_qps_last_call() -> None:
    bench = Bench()
    bench.shared.last_now_ns = 777
    bench.change(EvOperation.MODIFY_EV_STATE, FOUR[0], ApiEvState.DENIED)
    assert [change.at_ns for change in bench.shared.paths.take_changes()] == [777]


def test_a_closed_share_follows_nothing() -> None:
    bench = Bench()
    bench.shared.close()
    bench.change(EvOperation.MODIFY_EV_STATE, FOUR[0], ApiEvState.DENIED)
    entry: Any = bench.shared.paths.entry(FOUR[0])
    assert (entry.state, bench.news) == (EvState.GOOD, 0)


def test_an_ev_that_leads_nowhere_is_refused() -> None:
    bench = Bench()
    template = PathTemplate(0, 1, 0)

    class Odd:
        """A profile with an EV beyond the fabric's planes."""

        min_active, active_per_port = 1, None

        def entries(self) -> list[Any]:
            return [bench.profile.entries()[0]._replace(ev=make_ev(8, 0))]

    odd: Any = Odd()
    with pytest.raises(MrcError) as caught:
        ProfilePaths(odd, template, base_rtt_ns=RTT, rng=Random(1), policy=None, now_ns=0)
    assert caught.value.errno is Errno.EINVAL


def test_replacing_by_an_ev_the_qp_has_already_is_no_accident() -> None:
    bench = Bench()
    bench.change(EvOperation.REPLACE_EV, FOUR[0], ApiEvState.GOOD, (FOUR[1], 0))
    assert bench.shared.ev_state(FOUR[1]) is ApiEvState.GOOD
    used = {bench.shared.paths.choose(0b01, 0).ev for _ in range(8)}  # type: ignore[union-attr]
    assert used == {FOUR[1]}


def test_a_path_stays_while_another_entry_names_it() -> None:
    bench = Bench(LOCAL)
    bench.change(EvOperation.REPLACE_EV, make_ev(0, 0), ApiEvState.GOOD, (make_ev(1, 0), 1))
    entry: Any = bench.shared.paths.entry(make_ev(0, 0))  # stands for (0, 1), too
    assert entry.state is EvState.GOOD
    bench.change(EvOperation.REPLACE_EV, make_ev(0, 1), ApiEvState.GOOD, (make_ev(1, 1), 1))
    assert entry.state is EvState.DENIED
    bench.change(EvOperation.REPLACE_EV, make_ev(1, 1), ApiEvState.GOOD, (make_ev(0, 1), 0))
    assert entry.state is EvState.GOOD
    assert bench.shared.ev_state(make_ev(0, 1)) is ApiEvState.GOOD
