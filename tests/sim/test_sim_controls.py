"""What controllers set, under traffic: data leaves the EV or the port at once, and returns."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sim.sim_fakes import fail

from testbed.faults.actions import Action, fault_id
from testbed.forwarding.egress import egress_slots
from testbed.forwarding.paths import paths
from testbed.intent.topology import load_topology
from testbed.sim.lab import Lab, Side, Stream
from testbed.transport.mrc.controls import denying_qps, disabled_ports
from testbed.transport.mrc.ev.rotation import Entry
from testbed.transport.mrc.ev.states import EvState
from topologies.ev import format_ev
from topologies.graph import build_graph

TINY = build_graph(load_topology("tiny"))
FAR, OTHER = 3, 2
PATH = paths(TINY.spec, 0, FAR)[0]
EV = format_ev(PATH.ev)
DENY, DISABLE = fail(f"ev:h0:h3:{EV}", "deny"), fail("nic:h0:p0", "disable")
END_NS = 300_000
LOOK_NS = 15_000  # several base RTTs


class Traffic:
    """h0 writes to two hosts under the other T0, and one of them back."""

    def __init__(self) -> None:
        self.lab = Lab(TINY, 5)
        self.there, self.back = self.lab.connect(0, FAR)
        self.aside, _ = other = self.lab.connect(0, OTHER)
        self.flows = [
            Stream(self.lab, side, peer, size=8_192, depth=6, slots=6, until_ns=END_NS).start()
            for side, peer in ((self.there, self.back), (self.back, self.there), other)]
        self.sim = self.lab.sim

    def entry(self, side: Side, ev: int = PATH.ev) -> Entry:
        assert side.qp.paths is not None
        entry = side.qp.paths.entry(ev)
        assert entry is not None
        return entry

    def sent(self, side: Side, ev: int = PATH.ev) -> int:
        """Packets sent on an EV in the next 15 us."""
        before = self.entry(side, ev).sent
        self.sim.run_until(self.sim.now + LOOK_NS)
        return self.entry(side, ev).sent - before

    def finish(self) -> None:
        """Everything posted arrives, nothing is missing."""
        self.sim.run_until(max(self.sim.now, END_NS) + END_NS)
        for flow in self.flows:
            assert flow.failures == []
            assert flow.bytes_done == flow.posted * flow.size
            assert bytes(flow.target.view) == bytes(flow.source.view)
        assert self.sim.conservation().unexplained == 0


def test_a_denied_ev_is_left_at_once_towards_that_peer_only_and_returned_to() -> None:
    traffic = Traffic()
    assert traffic.sent(traffic.there) > 0
    traffic.sim.inject(DENY)
    assert traffic.entry(traffic.there).state is EvState.DENIED
    assert traffic.sent(traffic.there) == 0
    assert traffic.sent(traffic.aside) > 0
    assert traffic.sent(traffic.back) > 0
    assert traffic.sim.faults.evidence(fault_id(DENY)) == (True, "DENIED in 1 queue pair")
    (lost,) = {traffic.entry(traffic.there).lost}
    traffic.sim.heal()
    assert traffic.entry(traffic.there).state is EvState.GOOD
    assert traffic.sent(traffic.there) > 0
    traffic.finish()
    assert lost == 0


def test_a_disabled_port_carries_nothing_both_ways_and_keeps_its_carrier() -> None:
    traffic = Traffic()
    traffic.sim.run_until(LOOK_NS)
    traffic.sim.inject(DISABLE)
    device = traffic.lab.contexts[0]
    assert (disabled_ports(device), device.endpoint.up_ports) == (0b01, 0b10)
    assert traffic.sim.hosts[0].up_ports == device.endpoint.carrier == 0b11
    assert traffic.sim.faults.evidence(fault_id(DISABLE)) == (True, "port disabled")
    slots = egress_slots(TINY, PATH)
    before = traffic.sim.ports(slots[0]).passed_data.frames
    traffic.sim.run_until(2 * LOOK_NS)
    assert traffic.sim.ports(slots[0]).passed_data.frames == before
    # The peer was told, so that it does not write into a port that refuses.
    assert traffic.sent(traffic.back) == 0
    traffic.sim.heal()
    assert traffic.sent(traffic.there) > 0
    # What was under way to the port when it was disabled was lost, and is found out only now:
    # the EV is probed before data returns to it.
    traffic.sim.run_until(200_000)
    assert traffic.sent(traffic.back) > 0
    traffic.finish()


def test_one_of_two_controls_goes_and_the_other_stays() -> None:
    traffic = Traffic()
    other = paths(TINY.spec, 0, FAR)[-1].ev
    second = fail(f"ev:h0:h3:{format_ev(other)}", "deny")
    traffic.sim.move([DENY, second, DISABLE])
    traffic.sim.move([], [fault_id(DENY), fault_id(DISABLE)])
    assert traffic.entry(traffic.there).state is EvState.GOOD
    assert traffic.entry(traffic.there, other).state is EvState.DENIED
    assert traffic.sent(traffic.there) > 0
    assert traffic.sent(traffic.there, other) == 0
    traffic.finish()


def test_every_ev_denied_stops_the_pair_and_it_goes_on_afterwards() -> None:
    traffic = Traffic()
    traffic.sim.run_until(LOOK_NS)
    every = [fail(f"ev:h0:h3:{format_ev(path.ev)}", "deny") for path in paths(TINY.spec, 0, FAR)]
    traffic.sim.move(every)
    assert [traffic.sent(traffic.there, path.ev) for path in paths(TINY.spec, 0, FAR)] == [
        0 for _ in every]
    assert traffic.sent(traffic.aside) > 0
    traffic.sim.move([], [fault_id(action) for action in every])
    assert traffic.sent(traffic.there) > 0
    traffic.finish()


def test_a_paused_host_hears_of_it_when_it_continues() -> None:
    traffic = Traffic()
    traffic.sim.run_until(20_000)
    traffic.sim.move([fail("host:h0", "pause"), DENY])
    assert traffic.entry(traffic.there).state is EvState.GOOD
    assert traffic.sim.faults.evidence(fault_id(DENY)) == (False, "DENIED in 0 queue pairs")
    traffic.sim.run_until(30_000)
    traffic.sim.move([], ["host:h0#pause"])
    assert traffic.entry(traffic.there).state is EvState.DENIED
    traffic.sim.move([], [fault_id(DENY)])
    traffic.finish()


def test_a_host_that_was_killed_is_told_again() -> None:
    traffic = Traffic()
    traffic.sim.move([DISABLE, DENY])
    traffic.sim.move([fail("host:h0", "kill")])
    assert traffic.sim.faults.evidence(fault_id(DISABLE)) == (
        False, "the host's device does not answer")
    traffic.sim.move([], ["host:h0#kill"])
    device = traffic.lab.contexts[0]
    assert disabled_ports(device) == 0b01
    assert denying_qps(device, TINY.hosts[FAR].address.packed, PATH.ev) == 0  # it has none
    traffic.sim.heal()
    assert disabled_ports(device) == 0


CONTROLS = {DENY: 0, DISABLE: 0, fail("nic:h3:p1", "disable"): 3,
            fail(f"ev:h3:h0:{EV}", "deny"): 3}
PAUSES = [fail("host:h0", "pause"), fail("host:h3", "pause")]


@settings(deadline=None, max_examples=25)
@given(st.lists(st.sets(st.sampled_from([*CONTROLS, *PAUSES]), max_size=4), max_size=4))
def test_devices_are_what_is_in_force_after_any_moves(script: list[set[Action]]) -> None:
    traffic = Traffic()
    active: set[Action] = set()
    for wanted in [*script, set[Action]()]:
        traffic.sim.run_until(traffic.sim.now + 2_000)
        healed = [fault_id(action) for action in active - wanted]
        traffic.sim.move(sorted(wanted - active, key=fault_id), healed)
        active = wanted
        for action in active & CONTROLS.keys():
            is_paused = fail(f"host:h{CONTROLS[action]}", "pause") in active
            assert traffic.sim.faults.evidence(fault_id(action)).has_bitten or is_paused
    assert traffic.entry(traffic.there).state is EvState.GOOD
    assert [disabled_ports(traffic.lab.contexts[host]) for host in (0, FAR)] == [0, 0]
    traffic.finish()


@pytest.mark.parametrize("action", [DENY, DISABLE])
def test_the_same_seed_gives_the_same_run(action: Action) -> None:
    def run() -> list[tuple[int, int]]:
        traffic = Traffic()
        traffic.sim.at(20_000, lambda: traffic.sim.inject(action))
        traffic.sim.run_until(60_000)
        return traffic.flows[0].marks

    assert run() == run()
