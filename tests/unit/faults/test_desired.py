"""The desired state: a fold that does not care for order and undoes by folding anew."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.errors import UsageError
from testbed.faults.actions import Action, fault_id, make_action
from testbed.faults.desired import (
    HEALTHY,
    DesiredState,
    EvFaultKey,
    PortFault,
    change,
    controls_of,
    desired_state,
    either,
)
from testbed.faults.targets import parse_target
from testbed.transport.mrc.controls import NO_CONTROLS, Controls
from topologies.graph import Graph, build_graph
from topologies.spec import ClosSpec

QUAD = ClosSpec("quad", 4, 2, 4, 4, 100 * 10**9, 1000)
GRAPH = build_graph(QUAD)
RATIOS = st.floats(0.01, 1.0)


def fail(text: str, kind: str | None = None, ratio: float | None = None) -> Action:
    return make_action(parse_target(text), kind, ratio)


@st.composite
def any_action(draw: st.DrawFn) -> Action:
    """A fault of any kind on a few targets, so that several often overlap."""
    text, kind = draw(st.sampled_from([
        ("nic:h0:p0", "down"), ("nic:h0:p0", "loss"), ("nic:h0:p0", "corrupt"),
        ("port:p0-t0-0:h0", "loss"), ("port:p0-t0-0:h0", "down"), ("plane:0", "loss"),
        ("plane:0", "down"), ("switch:p0-t0-0", "crash"), ("switch:p0-t0-0", "blackhole"),
        ("switch:p0-t0-0", "loss"), ("link:p0-t0-0:p0-t1-0", "down"),
        ("ev:h0:h5:0x0000", "loss"), ("host:h0", "pause"), ("host:h0", "kill"),
        ("ev:h0:h5:0x0000", "deny"), ("ev:h0:h5:0x0001", "deny"), ("nic:h0:p0", "disable"),
        ("nic:h0:p1", "disable"),
    ]))  # fmt: skip
    return fail(text, kind, draw(RATIOS) if kind in ("loss", "corrupt") else None)


ACTIVE = st.lists(any_action(), max_size=6, unique_by=fault_id)


def slots(graph: Graph, *names: str) -> set[int]:
    by_name = {graph.port(slot).interface: slot for slot in graph.slots}
    return {by_name[name] for name in names}


def faulty(state: DesiredState, fault: PortFault) -> set[int]:
    return {slot for slot, found in state.ports.items() if found == fault}


BLACKHOLE = PortFault(blackhole=True)


def test_without_faults_everything_is_healthy() -> None:
    state = desired_state(GRAPH, ())
    assert state == DesiredState({}, frozenset(), {}, frozenset(), frozenset())
    assert state.port(1000) == HEALTHY


def test_a_fabric_link_drops_both_ways_and_keeps_carrier() -> None:
    state = desired_state(GRAPH, [fail("link:p1-t0-0:p1-t1-3")])
    assert faulty(state, BLACKHOLE) == slots(GRAPH, "p1-t0-0-e8", "p1-t1-3-e1")
    assert state.carrier_down == frozenset()


def test_a_nic_link_drops_both_ways_and_loses_carrier_at_the_switch() -> None:
    state = desired_state(GRAPH, [fail("nic:h5:p2")])
    assert faulty(state, BLACKHOLE) == slots(GRAPH, "h5-eth2", "p2-t0-1-e2")
    assert state.carrier_down == slots(GRAPH, "p2-t0-1-e2")


def test_a_port_drops_one_way() -> None:
    state = desired_state(GRAPH, [fail("port:p2-t0-1:h5")])
    assert faulty(state, BLACKHOLE) == slots(GRAPH, "p2-t0-1-e2")
    assert state.carrier_down == frozenset()


def test_a_crashed_t0_takes_the_carrier_of_its_hosts_a_blackhole_does_not() -> None:
    own = [f"p2-t0-1-e{n}" for n in range(1, 9)]
    nics = [f"h{n}-eth2" for n in (4, 5, 6, 7)]
    crashed = desired_state(GRAPH, [fail("switch:p2-t0-1", "crash")])
    assert faulty(crashed, BLACKHOLE) == slots(GRAPH, *own, *nics)
    assert crashed.carrier_down == slots(GRAPH, *own[:4])
    blackholed = desired_state(GRAPH, [fail("switch:p2-t0-1", "blackhole")])
    assert faulty(blackholed, BLACKHOLE) == slots(GRAPH, *own)
    assert blackholed.carrier_down == frozenset()


def test_a_plane_down_is_every_link_of_it() -> None:
    state = desired_state(GRAPH, [fail("plane:3")])
    assert len(faulty(state, BLACKHOLE)) == 2 * (8 + 2 * 4)
    assert state.carrier_down == slots(
        GRAPH, *[f"p3-t0-{t}-e{n}" for t in (0, 1) for n in (1, 2, 3, 4)]
    )


def test_loss_and_corruption_act_at_each_egress() -> None:
    state = desired_state(
        GRAPH, [fail("nic:h0:p0", "loss", 0.1), fail("nic:h0:p0", "corrupt", 0.2)]
    )
    assert faulty(state, PortFault(False, 0.1, 0.2)) == slots(GRAPH, "h0-eth0", "p0-t0-0-e1")


def test_an_ev_is_keyed_by_slot_addresses_and_value() -> None:
    state = desired_state(GRAPH, [fail("ev:h0:h5:0x0203")])
    (slot,) = slots(GRAPH, "p2-t0-0-e8")
    src, dst = GRAPH.host("h0").address, GRAPH.host("h5").address
    assert dict(state.ev) == {EvFaultKey(slot, src, dst, 0x02030000): 1.0}
    assert dict(state.ports) == {}


def test_hosts_are_paused_and_killed() -> None:
    state = desired_state(GRAPH, [fail("host:h1"), fail("host:h2", "kill")])
    assert (state.paused, state.killed) == ({1}, {2})


def test_controllers_deny_evs_and_disable_ports() -> None:
    state = desired_state(GRAPH, [
        fail("ev:h0:h5:0x0203", "deny"), fail("nic:h0:p1", "disable"),
        fail("nic:h0:p3", "disable"), fail("nic:h5:p0", "disable")])  # fmt: skip
    assert state.denied == {(0, 5, 0x02030000)}
    assert state.disabled == {(0, 1), (0, 3), (5, 0)}
    assert state.controlled == {0, 5}
    assert (dict(state.ports), dict(state.ev), state.carrier_down) == ({}, {}, frozenset())
    peer = GRAPH.hosts[5].address.packed
    assert controls_of(GRAPH, state, 0) == Controls(frozenset({(peer, 0x02030000)}), 0b1010)
    assert controls_of(GRAPH, state, 5) == Controls(frozenset(), 0b1)
    assert controls_of(GRAPH, state, 1) == NO_CONTROLS


def test_an_ev_that_does_not_exist_cannot_be_denied() -> None:
    with pytest.raises(UsageError, match="names no path from h0 to h1"):
        desired_state(GRAPH, [fail("ev:h0:h1:0x0001", "deny")])


def test_overlapping_losses_compose() -> None:
    faults = [fail("nic:h0:p0", "loss", 0.5), fail("port:p0-t0-0:h0", "loss", 0.5)]
    state = desired_state(GRAPH, faults)
    (both,) = slots(GRAPH, "p0-t0-0-e1")
    (one,) = slots(GRAPH, "h0-eth0")
    assert state.port(both).loss_ratio == 0.75
    assert state.port(one).loss_ratio == 0.5


def test_healing_one_of_two_keeps_the_other() -> None:
    nic, crash = fail("nic:h4:p0"), fail("switch:p0-t0-1", "crash")
    both = desired_state(GRAPH, [nic, crash])
    assert desired_state(GRAPH, [crash]) == both
    assert desired_state(GRAPH, [nic]).carrier_down == slots(GRAPH, "p0-t0-1-e1")


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [(0.0, 0.05, 0.05), (0.05, 0.0, 0.05), (1.0, 0.3, 1.0), (0.3, 1.0, 1.0), (0.5, 0.5, 0.75)],
)
def test_either(first: float, second: float, expected: float) -> None:
    assert either(first, second) == expected


@settings(deadline=None)
@given(RATIOS, RATIOS)
def test_either_is_a_probability_not_below_its_parts(first: float, second: float) -> None:
    assert max(first, second) <= either(first, second) <= 1
    assert either(first, second) == pytest.approx(1 - (1 - first) * (1 - second))


@settings(deadline=None)
@given(ACTIVE, st.randoms(use_true_random=False))
def test_the_order_of_faults_does_not_matter(active: list[Action], random: object) -> None:
    shuffled = list(active)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert desired_state(GRAPH, active) == desired_state(GRAPH, shuffled)


@settings(deadline=None)
@given(ACTIVE, ACTIVE)
def test_a_change_applied_to_one_state_gives_the_other(
    first: list[Action], second: list[Action]
) -> None:
    before, after = desired_state(GRAPH, first), desired_state(GRAPH, second)
    step = change(before, after)
    ports = {**before.ports, **step.ports}
    ev = {**before.ev, **step.ev}
    reached = DesiredState(
        {slot: fault for slot, fault in ports.items() if fault != HEALTHY},
        (before.carrier_down | step.carrier_lost) - step.carrier_back,
        {key: ratio for key, ratio in ev.items() if ratio},
        (before.paused | step.paused) - step.continued,
        (before.killed | step.killed) - step.restarted,
        (before.denied | step.denied) - step.allowed,
        (before.disabled | step.disabled) - step.enabled,
    )
    assert reached == after


@settings(deadline=None)
@given(ACTIVE)
def test_no_change_touches_nothing(active: list[Action]) -> None:
    state = desired_state(GRAPH, active)
    step = change(state, state)
    assert not any(getattr(step, name) for name in step.__slots__)


@settings(deadline=None)
@given(ACTIVE)
def test_carrier_goes_only_where_both_directions_drop(active: list[Action]) -> None:
    state = desired_state(GRAPH, active)
    for slot in state.carrier_down:
        assert state.port(slot).blackhole
        assert state.port(GRAPH.port(slot).peer.slot).blackhole
