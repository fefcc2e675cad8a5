"""The paths of a QP: fair use, verdicts and their floor, swaps, ports, probing."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.transport.mrc.ev.pathset import PathSet, default_min_active
from testbed.transport.mrc.ev.probing import EvidencePolicy
from testbed.transport.mrc.ev.rotation import Entry, PathEv
from testbed.transport.mrc.ev.states import CHANGES_KEPT, EvEvent, EvMove, EvState
from topologies.ev import make_ev

RTT = 1000
GOOD, SKIP = EvState.GOOD, EvState.SKIP
BAD, DENIED = EvState.ASSUMED_BAD, EvState.DENIED


def make_evs(ports: int, uplinks: int) -> list[PathEv]:
    return [PathEv(make_ev(p, u), p) for p in range(ports) for u in range(uplinks)]


def make_set(
    ports: int = 2,
    uplinks: int = 4,
    active: int | None = None,
    floor: int | None = None,
    seed: int = 1,
    denied: tuple[int, ...] = (),
    rng: Random | None = None,
) -> PathSet:
    evs = make_evs(ports, uplinks)
    return PathSet(
        evs,
        active_per_port=active,
        ev_min_active=default_min_active(evs, active_per_port=active) if floor is None else floor,
        base_rtt_ns=RTT,
        rng=rng or Random(seed),
        address_of=lambda ev: ev.to_bytes(16, "big"),
        denied=denied,
    )


class Leaving(Random):
    """Always leaves a congested EV, or never."""

    def __init__(self, leaves: bool) -> None:
        super().__init__(1)
        self.leaves = leaves

    def random(self) -> float:
        return 0.0 if self.leaves else 1.0

    def getrandbits(self, k: int, /) -> int:  # or randrange would draw from random()
        return super().getrandbits(k)


def the(paths: PathSet, port: int, uplink: int) -> Entry:
    entry = paths.entry(make_ev(port, uplink))
    assert entry is not None
    return entry


def chosen(paths: PathSet, count: int, ports: int = -1, now: int = 0) -> list[Entry]:
    entries = [paths.choose(ports, now) for _ in range(count)]
    return [entry for entry in entries if entry is not None]


def active_on(paths: PathSet, port: int) -> list[int]:
    return [entry.ev & 0xFF0000 for entry in paths.entries_of(port) if entry.is_active]


def test_evs_that_carry_data_are_active_sendable_and_on_a_usable_port() -> None:
    paths = make_set(ports=2, uplinks=4, active=3)
    assert paths.carrying == 6
    paths.set_state(make_ev(0, 0), DENIED, 5)  # a spare takes its place
    paths.set_state(make_ev(1, 0), DENIED, 5)
    assert paths.carrying == 6
    paths.set_state(make_ev(0, 1), DENIED, 5)
    assert paths.carrying == 5
    paths.set_local_ports(0b10, 6)
    assert paths.carrying == 3
    paths.set_peer_ports(0b01, 7)
    assert paths.carrying == 0


# --- Choosing ------------------------------------------------------------------------


@given(st.integers(1, 8), st.integers(1, 6), st.integers(0, 2**32))
def test_ports_take_turns_and_evs_are_used_once_per_pass(p: int, u: int, seed: int) -> None:
    taken = chosen(make_set(p, u, seed=seed), p * u * 5)
    for at in range(len(taken)):
        window = Counter(entry.port for entry in taken[at : at + 3 * p + 1])
        if at + 3 * p + 1 <= len(taken):
            assert max(window.values()) - min(window.values()) <= 1
    for port in range(p):
        of_port = [entry.ev for entry in taken if entry.port == port]
        for at in range(0, len(of_port), u):
            assert len(set(of_port[at : at + u])) == u


def test_only_free_ports_are_chosen() -> None:
    paths = make_set(ports=4)
    assert {entry.port for entry in chosen(paths, 20, ports=0b0110)} == {1, 2}
    assert paths.choose(0b10000, 0) is None
    assert paths.choose(0, 0) is None


def test_two_qps_do_not_move_in_step() -> None:
    one, two = make_set(4, 4, seed=1), make_set(4, 4, seed=2)
    assert [e.ev for e in chosen(one, 64)] != [e.ev for e in chosen(two, 64)]
    assert len({make_set(8, 1, seed=seed).choose(-1, 0).port for seed in range(30)}) > 3  # type: ignore[union-attr]


def test_the_address_of_each_ev_is_at_hand() -> None:
    assert the(make_set(), 1, 2).path_address == make_ev(1, 2).to_bytes(16, "big")


def test_the_avoided_ev_is_left_for_another_port() -> None:
    paths = make_set(ports=2, uplinks=1)
    failed = the(paths, 0, 0)
    assert [paths.choose(-1, 0, avoid=failed) for _ in range(3)] == [the(paths, 1, 0)] * 3
    assert paths.choose(0b01, 0, avoid=failed) is None  # waits for the other plane
    paths.set_peer_ports(0b01, 0)
    assert paths.choose(0b01, 0, avoid=failed) is failed


def test_the_avoided_ev_is_left_for_another_of_its_port() -> None:
    paths = make_set(ports=1, uplinks=2)
    failed = the(paths, 0, 0)
    assert {paths.choose(-1, 0, avoid=failed) for _ in range(6)} == {the(paths, 0, 1)}


# --- Congestion ----------------------------------------------------------------------


def test_a_skip_ends_when_the_rotation_has_passed_it() -> None:
    paths = make_set(ports=1)
    paths.on_marked(make_ev(0, 1), 0)
    assert the(paths, 0, 1).state is SKIP
    assert make_ev(0, 1) not in [entry.ev for entry in chosen(paths, 3, now=1)]
    assert make_ev(0, 1) in [entry.ev for entry in chosen(paths, 5, now=2)]
    assert [c.cause for c in paths.take_changes()] == [EvEvent.MARKED, EvEvent.SKIP_PASSED]


@pytest.mark.parametrize(
    ("now", "cause"), [(RTT - 1, EvEvent.SKIP_PASSED), (RTT, EvEvent.SKIP_OVER)]
)
def test_a_skip_ends_after_one_base_rtt(now: int, cause: EvEvent) -> None:
    paths = make_set(ports=1)
    paths.on_trimmed(make_ev(0, 1), 0)
    chosen(paths, 4, now=now)
    assert [c.cause for c in paths.take_changes()] == [EvEvent.TRIMMED, cause]


def test_saturation_uses_what_is_in_skip() -> None:
    paths = make_set(ports=1)
    for uplink in (0, 1, 2):
        paths.on_marked(make_ev(0, uplink), 0)
    assert len({entry.ev for entry in chosen(paths, 4, now=1)}) == 4
    assert the(paths, 0, 0).state is SKIP


def test_a_marked_single_ev_makes_room_for_an_idle_one() -> None:
    paths = make_set(ports=2, uplinks=2, active=1, rng=Leaving(True))
    paths.on_marked(make_ev(0, 0), 5)
    assert active_on(paths, 0) == [1 << 16]
    marked, out, into = paths.take_changes()
    assert (marked.cause, marked.after, marked.is_active) == (EvEvent.MARKED, SKIP, True)
    assert (out.cause, out.ev, out.is_active) == (EvMove.SWAPPED_OUT, make_ev(0, 0), False)
    assert (into.cause, into.ev, into.is_active) == (EvMove.SWAPPED_IN, make_ev(0, 1), True)
    # and back, once the first has come to rest
    paths.on_marked(make_ev(0, 1), 5 + 3 * RTT)
    assert active_on(paths, 0) == [0]


def test_a_mark_beside_an_uncongested_ev_swaps_nothing() -> None:
    paths = make_set(ports=1, uplinks=3, active=2, rng=Leaving(True))
    paths.on_marked(make_ev(0, 0), 0)
    assert active_on(paths, 0) == [0, 1 << 16]
    paths.on_marked(make_ev(0, 1), 0)
    assert active_on(paths, 0) == [0, 2 << 16]


FIRST_PAUSE_OVER = 8 * RTT


def marked_for_long(seed: int, uplinks: int) -> PathSet:
    """One whose only active EV is marked, and again after the longest first pause."""
    paths = make_set(ports=1, uplinks=uplinks, active=1, seed=seed)
    paths.on_marked(make_ev(0, 0), 0)
    paths.on_marked(make_ev(0, 0), FIRST_PAUSE_OVER)
    return paths


def test_a_congested_ev_is_mostly_left_after_a_pause_and_with_another_in_between() -> None:
    stays = make_set(ports=1, uplinks=2, active=1, rng=Leaving(False))
    stays.on_marked(make_ev(0, 0), 0)
    stays.on_marked(make_ev(0, 0), FIRST_PAUSE_OVER)
    assert active_on(stays, 0) == [0]
    stays._rotations[0].departure._rng = Leaving(True)
    stays.on_marked(make_ev(0, 0), FIRST_PAUSE_OVER + 2 * RTT)  # waits for what the others do
    assert active_on(stays, 0) == [0]
    stays.on_marked(make_ev(0, 0), FIRST_PAUSE_OVER + 12 * RTT)
    assert active_on(stays, 0) == [1 << 16]
    left = sum(active_on(marked_for_long(seed, 2), 0) != [0] for seed in range(400))
    assert 240 < left < 320


def test_qps_that_flee_one_ev_spread_over_the_spares() -> None:
    taken = {ev for seed in range(64) for ev in active_on(marked_for_long(seed, 4), 0)}
    assert taken == {0, 1 << 16, 2 << 16, 3 << 16}


def test_a_way_out_goes_over_ports_then_evs_and_shuns_bad_ones_while_it_can() -> None:
    paths = make_set(ports=2, uplinks=3, floor=0)
    paths.on_loss_inferred(make_ev(0, 2), 0)
    ways = [paths.way_out(turn) for turn in range(12)]
    assert [way.port for way in ways if way] == [0, 1] * 6
    assert {way.ev for way in ways if way} == {
        make_ev(0, 0), make_ev(0, 1), make_ev(1, 0), make_ev(1, 1), make_ev(1, 2)
    }  # fmt: skip


def test_a_way_out_takes_a_port_the_peer_calls_down_or_a_bad_ev_rather_than_none() -> None:
    paths = make_set(ports=2, uplinks=1, floor=0)
    paths.set_local_ports(0b01, 0)
    paths.set_peer_ports(0b10, 0)
    assert paths.way_out(5) is the(paths, 0, 0)
    paths.set_state(make_ev(0, 0), BAD, 0)
    assert paths.way_out(5) is the(paths, 0, 0)
    paths.set_state(make_ev(0, 0), DENIED, 0)
    assert paths.way_out(5) is None


# --- Verdicts ------------------------------------------------------------------------


def test_a_loss_takes_the_ev_out_and_a_spare_of_its_port_in() -> None:
    paths = make_set(ports=2, uplinks=4, active=2)
    paths.on_loss_inferred(make_ev(1, 0), 7)
    assert the(paths, 1, 0).state is BAD
    assert sorted(active_on(paths, 1)) == [1 << 16, 2 << 16]
    assert len(active_on(paths, 0)) == 2
    assert make_ev(1, 0) not in {entry.ev for entry in chosen(paths, 40)}


def test_late_feedback_does_not_restore_a_bad_ev() -> None:
    paths = make_set()
    paths.on_loss_inferred(make_ev(0, 0), 0)
    paths.on_acked(the(paths, 0, 0))
    paths.on_marked(make_ev(0, 0), 1)
    paths.on_trimmed(make_ev(0, 0), 1)
    assert the(paths, 0, 0).state is BAD


def test_feedback_on_an_unknown_ev_is_ignored() -> None:
    paths = make_set()
    for call in (
        paths.on_marked, paths.on_trimmed, paths.on_always_skip, paths.on_loss_inferred
    ):  # fmt: skip
        call(make_ev(9, 9), 0)
    paths.on_probe_answered(make_ev(9, 9), 0, False)
    paths.set_state(make_ev(9, 9), DENIED, 0)
    assert paths.take_changes() == []


def test_the_last_ev_of_a_port_stays() -> None:
    paths = make_set(ports=2, uplinks=2, floor=1)
    for uplink in (0, 1):
        paths.on_loss_inferred(make_ev(0, uplink), 0)
    assert (the(paths, 0, 1).state, paths.refused) == (GOOD, 1)
    paths.on_always_skip(make_ev(0, 1), 0)
    assert (the(paths, 0, 1).state, paths.refused) == (GOOD, 2)
    assert paths.usable_ports == 0b11


def test_the_floor_of_the_whole_set_holds() -> None:
    paths = make_set(ports=2, uplinks=4, floor=7)
    paths.on_loss_inferred(make_ev(0, 0), 0)
    paths.on_loss_inferred(make_ev(1, 0), 0)
    assert [the(paths, 0, 0).state, the(paths, 1, 0).state] == [BAD, GOOD]
    assert paths.refused == 1


def test_a_loss_on_a_port_that_is_down_is_no_evidence() -> None:
    paths = make_set()
    paths.set_peer_ports(0b10, 0)
    paths.on_loss_inferred(make_ev(0, 0), 0)
    paths.on_always_skip(make_ev(0, 1), 0)
    assert [the(paths, 0, u).state for u in (0, 1)] == [GOOD, GOOD]
    assert (the(paths, 0, 0).lost, paths.refused) == (1, 0)


def test_a_policy_may_ask_for_more_than_one_loss() -> None:
    paths = make_set()
    paths.policy = EvidencePolicy(threshold=2.5)
    paths.on_loss_inferred(make_ev(0, 0), 0)
    paths.on_loss_inferred(make_ev(0, 0), 0)
    assert the(paths, 0, 0).state is GOOD
    paths.on_loss_inferred(make_ev(0, 0), 0)
    assert the(paths, 0, 0).state is BAD
    back = answer_probes(paths)
    paths.on_loss_inferred(make_ev(0, 0), back)  # what led to the verdict is forgotten
    assert the(paths, 0, 0).state is GOOD


@pytest.mark.parametrize(
    ("ports", "uplinks", "active", "up", "floor"),
    [(8, 4, None, -1, 8), (8, 2, None, -1, 8), (2, 10, None, -1, 5), (2, 10, None, 0b01, 5),
     (8, 2, 1, -1, 8), (8, 2, 1, 0b11, 2), (4, 16, 2, -1, 4)],
)  # fmt: skip
def test_default_min_active(
    ports: int, uplinks: int, active: int | None, up: int, floor: int
) -> None:
    evs = make_evs(ports, uplinks)
    assert default_min_active(evs, active_per_port=active, up_ports=up) == floor


# --- Ports ---------------------------------------------------------------------------


def test_a_plane_drops_out_and_comes_back_with_its_states() -> None:
    paths = make_set(ports=2)
    paths.on_loss_inferred(make_ev(1, 0), 0)
    paths.set_local_ports(0b01, 1)
    assert paths.usable_ports == 0b01
    assert {entry.port for entry in chosen(paths, 9)} == {0}
    paths.set_peer_ports(0b10, 2)
    assert (paths.usable_ports, paths.choose(-1, 2)) == (0, None)
    paths.set_local_ports(0b11, 3)
    assert paths.usable_ports == 0b10
    assert the(paths, 1, 0).state is BAD


# --- The controller ------------------------------------------------------------------


def test_a_denied_port_drops_out_although_there_is_a_floor() -> None:
    paths = make_set(ports=2, uplinks=2)
    for uplink in (0, 1):
        paths.set_state(make_ev(0, uplink), DENIED, 0)
    assert paths.usable_ports == 0b10
    paths.set_state(make_ev(0, 1), GOOD, 0)
    assert paths.usable_ports == 0b11


def test_a_denied_ev_is_swapped_and_not_probed() -> None:
    paths = make_set(ports=1, uplinks=2, active=1)
    paths.set_state(make_ev(0, 0), DENIED, 0)
    assert active_on(paths, 0) == [1 << 16]
    assert paths.next_probe_at() is None


def test_evs_denied_from_the_start_are_spares() -> None:
    paths = make_set(ports=1, uplinks=3, active=2, denied=(make_ev(0, 0),))
    assert active_on(paths, 0) == [1 << 16, 2 << 16]
    assert paths.take_changes() == []


def test_a_controller_cannot_set_skip() -> None:
    paths = make_set()
    for call in (
        lambda: paths.set_state(make_ev(0, 0), SKIP, 0),
        lambda: paths.add(PathEv(make_ev(0, 9), 0), SKIP, 0),
        lambda: paths.replace(make_ev(0, 0), PathEv(make_ev(0, 9), 0), SKIP, 0),
    ):
        with pytest.raises(ValueError, match="cannot set SKIP"):
            call()
    assert paths.take_changes() == []
    assert paths.entry(make_ev(0, 9)) is None


def test_a_replaced_ev_leaves_its_place_to_the_new_one() -> None:
    paths = make_set(ports=1, uplinks=3, active=2)
    old = the(paths, 0, 1)
    assert paths.replace(old.ev, PathEv(make_ev(0, 7), 0), GOOD, 3)
    assert active_on(paths, 0) == [0, 7 << 16]
    assert [c.cause for c in paths.take_changes()] == [EvMove.REMOVED, EvMove.ADDED]
    assert old not in chosen(paths, 10)
    assert not paths.replace(old.ev, PathEv(make_ev(0, 8), 0), GOOD, 3)
    with pytest.raises(ValueError, match="in the set already"):
        paths.replace(make_ev(0, 0), PathEv(make_ev(0, 7), 0), GOOD, 3)


def test_a_replacement_may_be_on_another_port_or_bad() -> None:
    paths = make_set(ports=2, uplinks=2, active=1)
    assert paths.replace(make_ev(0, 0), PathEv(make_ev(3, 0), 3), BAD, 3)
    assert active_on(paths, 0) == [1 << 16]
    assert paths.usable_ports == 0b11
    assert paths.next_probe_at() == 3 + 4 * RTT


def test_an_added_ev_is_used() -> None:
    paths = make_set(ports=1, uplinks=1)
    paths.add(PathEv(make_ev(1, 0), 1), GOOD, 0)
    assert {entry.port for entry in chosen(paths, 4)} == {0, 1}


def test_equal_evs_are_one_path_and_two_ports_are_an_error() -> None:
    path = PathEv(make_ev(0, 0), 0)
    made = [
        PathSet([path, other], ev_min_active=1, base_rtt_ns=1, rng=Random(1), address_of=bytes)
        for other in (path, PathEv(16, 1))
    ]
    assert [len(list(paths.entries())) for paths in made] == [1, 2]
    with pytest.raises(ValueError, match="give each EV one place"):
        PathSet(
            [path, PathEv(path.ev, 1)],
            ev_min_active=1, base_rtt_ns=1, rng=Random(1), address_of=bytes,
        )  # fmt: skip


# --- Probing -------------------------------------------------------------------------


def answer_probes(paths: PathSet, marked: bool = False) -> int:
    """Answer every probe one ns later until nothing is probed; when the last one came."""
    at = 0
    while (due := paths.next_probe_at()) is not None:
        for entry in paths.probes_due(due):
            at = due + 1
            paths.on_probe_answered(entry.ev, at, marked)
    return at


def test_a_bad_ev_is_back_after_three_probes() -> None:
    paths = make_set(ports=1)
    paths.on_loss_inferred(make_ev(0, 0), 0)
    assert paths.next_probe_at() == 4 * RTT
    assert answer_probes(paths) == 12 * RTT + 1
    assert the(paths, 0, 0).state is GOOD
    assert make_ev(0, 0) in {entry.ev for entry in chosen(paths, 8)}


def test_a_marked_answer_ends_in_skip_and_its_time_is_kept() -> None:
    paths = make_set(ports=1)
    paths.on_loss_inferred(make_ev(0, 0), 0)
    at = answer_probes(paths, marked=True)
    assert the(paths, 0, 0).state is SKIP
    assert the(paths, 0, 0).skip_until_ns == at + RTT


def test_a_relapse_costs_twice_as_many_and_a_controller_forgives() -> None:
    paths = make_set(ports=1)
    paths.on_loss_inferred(make_ev(0, 0), 0)
    back = answer_probes(paths)
    paths.on_loss_inferred(make_ev(0, 0), back)
    assert answer_probes(paths) == back + 6 * 4 * RTT + 1
    paths.set_state(make_ev(0, 0), GOOD, back)
    paths.on_loss_inferred(make_ev(0, 0), back)
    assert answer_probes(paths) == back + 3 * 4 * RTT + 1


def test_a_returning_ev_is_a_spare_where_its_place_is_taken() -> None:
    paths = make_set(ports=1, uplinks=2, active=1, floor=1)
    paths.on_loss_inferred(make_ev(0, 0), 0)
    answer_probes(paths)
    assert active_on(paths, 0) == [1 << 16]
    assert the(paths, 0, 0).state is GOOD


@pytest.mark.parametrize("marked", [False, True])
def test_a_returning_spare_fills_an_empty_place(marked: bool) -> None:
    paths = make_set(ports=1, uplinks=2, active=1)
    paths.on_loss_inferred(make_ev(0, 0), 0)
    paths.set_state(make_ev(0, 1), DENIED, 0)
    assert (paths.usable_ports, paths.choose(-1, 1)) == (0, None)
    answer_probes(paths, marked)
    assert active_on(paths, 0) == [0]
    assert chosen(paths, 2) == [the(paths, 0, 0)] * 2


def test_a_port_that_is_down_is_not_probed() -> None:
    paths = make_set(ports=2)
    paths.on_loss_inferred(make_ev(0, 0), 0)
    paths.set_local_ports(0b10, 1)
    assert (paths.next_probe_at(), paths.probes_due(10**9)) == (None, [])
    paths.set_local_ports(0b11, 10**9)
    assert [entry.ev for entry in paths.probes_due(10**9)] == [make_ev(0, 0)]


def test_an_unread_log_is_bounded() -> None:
    paths = make_set(ports=1, uplinks=1)
    for turn in range(CHANGES_KEPT + 1):
        paths.on_marked(make_ev(0, 0), turn * RTT)  # each ends the SKIP before
    assert len(paths.take_changes()) == CHANGES_KEPT
    assert paths.changes_lost == CHANGES_KEPT + 1


# --- Whatever happens ----------------------------------------------------------------

PORTS, UPLINKS = 3, 4
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["choose", "choose", "avoid", "mark", "trim", "loss", "loss", "always", "deny",
             "good", "bad", "local", "peer", "probe", "replace"]
        ),
        st.integers(0, PORTS - 1),
        st.integers(0, UPLINKS - 1),
        st.integers(0, 2 * RTT),
        st.booleans(),
    ),
    max_size=120,
)  # fmt: skip


def check(paths: PathSet, active: int | None) -> None:
    """What holds at any moment, worked out the slow way."""
    entries = list(paths.entries())
    usable = 0
    for port in paths.ports:
        rotation = paths._rotations[port]
        mine = [entry for entry in entries if entry.port == port]
        assert sorted(e.ev for e in rotation) == sorted(e.ev for e in mine)
        assert [e.is_active for e in rotation] == [True] * len(rotation.active) + [False] * len(
            rotation.spares
        )
        assert len(rotation.active) == min(len(mine), active or len(mine))
        sendable = [e for e in rotation.active if e.state in (GOOD, SKIP)]
        assert rotation.ready == sendable
        assert all(e in sendable for e in rotation.pending)
        assert len(set(rotation.pending)) == len(rotation.pending)
        if len(sendable) < len(rotation.active):
            assert not any(e.state in (GOOD, SKIP) for e in rotation.spares)
        assert rotation.skipping == sum(e.state is SKIP for e in mine)
        assert rotation.active_skipping == sum(e.state is SKIP for e in sendable)
        assert all(e.skip_until_ns >= rotation.skip_over_at_ns for e in mine if e.state is SKIP)
        if sendable and paths.live_ports >> port & 1:
            usable |= 1 << port
    assert paths.usable_ports == usable
    due = [
        e.plan.due_at_ns
        for e in entries
        if e.state is BAD and e.plan and paths.live_ports >> e.port & 1
    ]
    assert paths.next_probe_at() == min(due, default=None)


def sendable_total(paths: PathSet, port: int | None = None) -> int:
    return sum(
        e.is_active and e.is_sendable for e in paths.entries() if port is None or e.port == port
    )


def step(paths: PathSet, what: str, entry: Entry, now: int, flag: bool, number: int) -> None:
    """One thing happens; for choosing and verdicts what must hold is checked here."""
    if what in ("choose", "avoid"):
        free = 0b111 if flag else 1 << entry.port
        options = [
            e for e in paths.entries()
            if e.is_active and e.is_sendable and (paths.live_ports & free) >> e.port & 1
        ]  # fmt: skip
        if what == "avoid" and paths.usable_ports != 1 << entry.port:
            options = [e for e in options if e.port != entry.port]
        got = paths.choose(free, now, avoid=entry if what == "avoid" else None)
        assert (got is not None) == bool(options)
        assert got is None or (got in options and got.is_active and got.is_sendable)
        if what == "avoid" and set(options) - {entry}:
            assert got is not entry
    elif what in ("loss", "always"):
        before, on_port = sendable_total(paths), sendable_total(paths, entry.port)
        (paths.on_loss_inferred if what == "loss" else paths.on_always_skip)(entry.ev, now)
        if sendable_total(paths) < before:
            assert sendable_total(paths) >= paths.ev_min_active
            assert sendable_total(paths, entry.port) >= 1
        assert on_port == 0 or sendable_total(paths, entry.port) > 0
    elif what == "mark":
        paths.on_marked(entry.ev, now)
    elif what == "trim":
        paths.on_trimmed(entry.ev, now)
    elif what in ("deny", "good", "bad"):
        paths.set_state(entry.ev, {"deny": DENIED, "good": GOOD, "bad": BAD}[what], now)
        assert entry.state is {"deny": DENIED, "good": GOOD, "bad": BAD}[what]
    elif what in ("local", "peer"):
        mask = 0b111 if flag else 0b111 & ~(1 << entry.port)
        (paths.set_local_ports if what == "local" else paths.set_peer_ports)(mask, now)
    elif what == "probe":
        for probed in paths.probes_due(now):
            assert probed.state is BAD
            if flag:
                paths.on_probe_answered(probed.ev, now + 1, number % 2 == 0)
    elif what == "replace":
        paths.replace(entry.ev, PathEv(make_ev(entry.port, 10 + number), entry.port),
                      DENIED if flag else GOOD, now)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(STEPS, st.sampled_from([None, 1, 2, 3]), st.integers(0, 9), st.integers(0, 99))
def test_whatever_happens(
    steps: list[tuple[str, int, int, int, bool]], active: int | None, floor: int, seed: int
) -> None:
    paths = make_set(PORTS, UPLINKS, active, floor, seed)
    now = 0
    for number, (what, port, nth, later, flag) in enumerate(steps):
        now += later
        entry = list(paths.entries_of(port))[nth]
        step(paths, what, entry, now, flag, number)
        check(paths, active)


def test_the_same_seed_gives_the_same_run() -> None:
    def run() -> list[object]:
        paths, draw, seen = make_set(PORTS, UPLINKS, 2), Random(5), []
        for number in range(600):
            what = draw.choice(["choose", "choose", "mark", "loss", "probe"])
            entry = list(paths.entries_of(draw.randrange(PORTS)))[draw.randrange(UPLINKS)]
            step(paths, what, entry, number * 700, True, number)
            got = paths.choose(-1, number * 700)
            seen.append(got and got.ev)
        return [*seen, *paths.take_changes()]

    assert run() == run()
