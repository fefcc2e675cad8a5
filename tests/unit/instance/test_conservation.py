"""The balance of frames: each place that can lose one is named, and what explains it is not."""

from __future__ import annotations

from typing import Any

import pytest
from unit.instance.run_fakes import GRAPH, FakeFabric, FakeTime

from testbed.instance import conservation
from testbed.instance.conservation import Conservation
from testbed.metrics.ports import Tally

NIC = GRAPH.hosts[3].nic_ports[1]
LINK = NIC.peer  # the switch's end of its link
UPLINK = GRAPH.port_towards("p0-t0-0", "p0-t1-1").slot
UPLINK_NAME = GRAPH.port(UPLINK).interface


class Agents:
    """Stands in for `Hosts`: counters by host and port, as agents tell them."""

    def __init__(self) -> None:
        self.pids = {host.name: 100 + host.index for host in GRAPH.hosts}
        self.silent: set[str] = set()
        self.ports = {nic.slot: {"plane": nic.plane, "sent": 10, "received": 10,
                                 "kernel_drops": 0, "send_errors": {}}
                      for host in GRAPH.hosts for nic in host.nic_ports}

    def agent_pids(self) -> dict[str, int]:
        return dict(self.pids)

    def counters(self, _patience_s: float) -> dict[str, Any]:
        return {host.name: {"ports": [dict(self.ports[nic.slot]) for nic in host.nic_ports]}
                for host in GRAPH.hosts if host.name not in self.silent}


class Injector:
    """What the balance asks of an injector."""

    def __init__(self) -> None:
        self.dark_on_purpose: frozenset[int] = frozenset()
        self.flushed: dict[int, Tally] = {}
        self.unbalanced_switches: set[str] = set()
        self.forgotten = 0

    def forget_unbalanced(self) -> None:
        self.forgotten += 1
        self.unbalanced_switches = set()


class Bench:
    """A balance over fakes, with its baseline noted."""

    def __init__(self) -> None:
        self.fabric, self.injector, self.agents = FakeFabric(), Injector(), Agents()
        parts: Any = (self.fabric, self.injector, self.agents)
        self.balance = Conservation(*parts)
        self.balance.note_baseline()

    def lost(self) -> dict[str, int]:
        return self.balance.unexplained()

    def pass_frames(self, slot: int, frames: int) -> None:
        """So many more frames of 100 bytes are offered to a port and passed."""
        seen, more = self.fabric.seen[slot], Tally(frames, 100 * frames)
        self.fabric.count(slot, offered=seen.offered + more, passed_data=seen.passed_data + more)

    def transmit(self, slot: int, frames: int) -> None:
        sent = self.fabric.sent[slot].sent
        self.fabric.kernel(slot, sent=sent + Tally(frames, 100 * frames))


@pytest.fixture(autouse=True)
def time(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    time = FakeTime()
    monkeypatch.setattr(conservation, "time", time)
    return time


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_nothing_has_changed_so_nothing_is_lost(bench: Bench) -> None:
    assert bench.lost() == {}


def test_frames_that_went_all_the_way_balance(bench: Bench) -> None:
    bench.agents.ports[NIC.slot]["sent"] += 5
    bench.pass_frames(NIC.slot, 5)
    bench.transmit(NIC.slot, 5)
    bench.pass_frames(LINK.slot, 7)
    bench.transmit(LINK.slot, 7)
    bench.agents.ports[NIC.slot]["received"] += 7
    assert bench.lost() == {}


# --- Each place --------------------------------------------------------------------------


def test_a_port_program_whose_books_do_not_balance(bench: Bench) -> None:
    seen = bench.fabric.seen[UPLINK]
    bench.fabric.count(UPLINK, offered=seen.offered + Tally(2, 200))
    assert bench.lost() == {f"{UPLINK_NAME}: books": 2}


def test_a_clone_the_kernel_refused(bench: Bench) -> None:
    seen = bench.fabric.seen[UPLINK]
    bench.fabric.count(UPLINK, offered=seen.offered + Tally(1, 100),
                       dropped_redirect=Tally(1, 100))
    assert bench.lost() == {f"{UPLINK_NAME}: clone refused": 1}


def test_a_frame_that_queue_or_link_refused(bench: Bench) -> None:
    """It is missing from what was transmitted, too."""
    bench.pass_frames(UPLINK, 1)
    bench.fabric.kernel(UPLINK, refused_frames=1)
    assert bench.lost() == {f"{UPLINK_NAME}: queue or link refused": 1,
                            f"{UPLINK_NAME}: flushed by no fault": 1}


def test_frames_that_were_flushed_without_a_fault(bench: Bench) -> None:
    bench.pass_frames(UPLINK, 4)
    bench.transmit(UPLINK, 1)
    assert bench.lost() == {f"{UPLINK_NAME}: flushed by no fault": 3}
    bench.injector.flushed[UPLINK] = Tally(2, 200)
    assert bench.lost() == {f"{UPLINK_NAME}: flushed by no fault": 1}
    bench.injector.flushed[UPLINK] = Tally(3, 300)
    assert bench.lost() == {}


def test_frames_that_wait_are_not_lost(bench: Bench) -> None:
    bench.pass_frames(UPLINK, 4)
    bench.fabric.kernel(UPLINK, waiting=Tally(4, 400))
    assert bench.lost() == {}


def test_frames_lost_in_receive_sockets_of_a_switch(bench: Bench) -> None:
    bench.fabric.drops["p1-t1-0"] = 6
    assert bench.lost() == {"p1-t1-0: receive sockets": 6}


@pytest.mark.parametrize("frames", [3, -3])
def test_frames_lost_or_doubled_in_a_switch(bench: Bench, frames: int) -> None:
    bench.fabric.inside["p0-t0-1"] = frames
    assert bench.lost() == {"p0-t0-1: forwarding": frames}


def test_a_socket_that_overflowed(bench: Bench) -> None:
    """What overflowed did arrive: it is not missing from the link as well."""
    bench.pass_frames(LINK.slot, 8)
    bench.transmit(LINK.slot, 8)
    bench.agents.ports[NIC.slot]["received"] += 5
    bench.agents.ports[NIC.slot]["kernel_drops"] += 3
    assert bench.lost() == {"h3-eth1: socket overflow": 3}


def test_a_frame_that_did_not_reach_the_host(bench: Bench) -> None:
    bench.pass_frames(LINK.slot, 8)
    bench.transmit(LINK.slot, 8)
    bench.agents.ports[NIC.slot]["received"] += 7
    assert bench.lost() == {"h3-eth1: not received": 1}


def test_a_frame_that_did_not_reach_its_port_program(bench: Bench) -> None:
    bench.agents.ports[NIC.slot]["sent"] += 2
    assert bench.lost() == {"h3-eth1: lost before the link": 2}


def test_sends_that_were_refused_for_lack_of_room(bench: Bench) -> None:
    bench.agents.ports[NIC.slot]["send_errors"] = {"ENOBUFS": 2, "EAGAIN": 1}
    assert bench.lost() == {"h3-eth1: refused by the socket": 3}


@pytest.mark.parametrize("name", ["ENETDOWN", "ENXIO", "ENODEV", "ENETUNREACH"])
def test_sends_into_a_dark_link_are_no_loss(bench: Bench, name: str) -> None:
    bench.agents.ports[NIC.slot]["send_errors"] = {name: 9}
    assert bench.lost() == {}


# --- When --------------------------------------------------------------------------------


def test_it_counts_from_the_baseline_on(bench: Bench) -> None:
    bench.fabric.drops["p0-t0-0"] = 5
    bench.balance.note_baseline()
    assert bench.lost() == {}
    bench.fabric.drops["p0-t0-0"] = 6
    assert bench.lost() == {"p0-t0-0: receive sockets": 1}
    assert bench.injector.forgotten == 2


def read_in_turn(bench: Bench, *readings: dict[str, int]) -> None:
    """One after another, and from then on the last."""
    left = list(readings)

    def inside() -> dict[str, int]:
        return {**bench.fabric.inside, **(left.pop(0) if len(left) > 1 else left[0])}

    bench.fabric.lost_inside = inside  # type: ignore[method-assign]


def test_what_is_on_its_way_is_not_reported(bench: Bench, time: FakeTime) -> None:
    read_in_turn(bench, {"p0-t0-0": 5, "p0-t0-1": 2}, {"p0-t0-0": 3, "p0-t0-1": 2},
                 {"p0-t0-0": 0, "p0-t0-1": 2})
    began_s = time.now_s
    assert bench.lost() == {"p0-t0-1: forwarding": 2}
    assert time.now_s - began_s >= 0.01


def test_what_is_lost_is_not_hidden_by_what_is_on_its_way(bench: Bench, time: FakeTime) -> None:
    read_in_turn(bench, {"p0-t0-0": 5}, {"p0-t0-0": 3})
    assert bench.lost() == {"p0-t0-0: forwarding": 3}


def test_where_traffic_goes_on_what_the_last_readings_agree_on_is_reported(
    bench: Bench, time: FakeTime
) -> None:
    read_in_turn(bench, *({"p0-t0-0": frames, "p0-t0-1": 2} for frames in range(90, 0, -1)))
    assert bench.lost() == {"p0-t0-1: forwarding": 2}


# --- What is left out --------------------------------------------------------------------


def test_a_switch_next_to_a_dark_link_is_left_out_and_the_link_too(bench: Bench) -> None:
    bench.balance.note_carrier_lost(NIC)
    bench.fabric.inside[LINK.node] = 4
    bench.pass_frames(LINK.slot, 3)  # flushed by the link that went
    bench.fabric.kernel(LINK.slot, refused_frames=2)
    bench.transmit(LINK.slot, 1)
    assert bench.injector.unbalanced_switches == {LINK.node}
    assert bench.lost() == {}
    other = next(name for name in bench.fabric.inside if name != LINK.node)
    bench.fabric.inside[other] = 1
    bench.agents.ports[NIC.slot]["kernel_drops"] += 1
    assert bench.lost() == {f"{other}: forwarding": 1, "h3-eth1: socket overflow": 1}


def test_of_a_link_that_a_fault_took_down_the_fault_booked_what_was_lost(bench: Bench) -> None:
    bench.injector.dark_on_purpose = frozenset({LINK.slot})
    bench.balance.note_carrier_lost(NIC)
    bench.pass_frames(LINK.slot, 3)
    assert bench.injector.unbalanced_switches == {LINK.node}
    assert bench.lost() == {f"{LINK.interface}: flushed by no fault": 3}


def test_a_new_baseline_counts_links_again_that_were_dark(bench: Bench) -> None:
    bench.balance.note_carrier_lost(NIC)
    bench.balance.note_baseline()
    bench.pass_frames(LINK.slot, 1)
    assert bench.lost() == {f"{LINK.interface}: flushed by no fault": 1}


def test_an_agent_that_was_replaced_is_left_out_until_the_next_baseline(bench: Bench) -> None:
    bench.agents.pids["h3"] = 999
    for nic in GRAPH.hosts[3].nic_ports:
        bench.agents.ports[nic.slot] |= {"sent": 0, "received": 0}
    assert bench.lost() == {}
    bench.balance.note_baseline()
    bench.agents.ports[NIC.slot]["received"] += 1
    assert bench.lost() == {"h3-eth1: not received": -1}


def test_a_host_that_does_not_answer_is_left_out_and_all_others_counted(bench: Bench) -> None:
    bench.agents.silent.add("h3")
    bench.agents.ports[NIC.slot]["kernel_drops"] = 5
    bench.agents.ports[GRAPH.hosts[0].nic_ports[0].slot]["sent"] += 1
    assert bench.lost() == {"h0-eth0: lost before the link": 1}


def test_a_host_that_was_silent_at_the_baseline_has_none(bench: Bench) -> None:
    """Paused then, and back now: its counters are those of its whole life."""
    bench.agents.silent.add("h3")
    bench.balance.note_baseline()
    bench.agents.silent.clear()
    assert bench.lost() == {}
