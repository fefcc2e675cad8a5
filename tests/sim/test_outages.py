"""Outages that once locked two NICs out or killed a queue pair, in the simulator."""

from __future__ import annotations

import pytest

from testbed.faults.actions import make_action
from testbed.faults.targets import parse_target
from testbed.intent.topology import load_topology
from testbed.sim.lab import ConnectOptions, Lab, Stream
from testbed.transport.mrc.qp_attributes import Retry
from topologies.graph import build_graph

TINY = load_topology("tiny")
FAR = TINY.hosts_per_t0  # the first host under the other T0
FOR_EVER = ConnectOptions(retry=Retry(7, 25))


def at(lab: Lab, at_ns: int, plane: int, is_down: bool) -> None:
    """Take both hosts' NIC ports on a plane down, or bring them back, at one instant."""

    def change() -> None:
        for host in (0, FAR):
            target = parse_target(f"nic:h{host}:p{plane}")
            if is_down:
                lab.sim.inject(make_action(target, "down"))
            else:
                lab.sim.heal(target)

    lab.sim.at(at_ns, change)


def test_planes_that_fail_in_turn_do_not_lock_two_nics_out() -> None:
    """Each last heard that the other has plane 0 only; now there is plane 1 only."""
    lab = Lab(build_graph(TINY), 1)
    flow = Stream(lab, *lab.connect(0, FAR, FOR_EVER), depth=8).start()
    at(lab, 200_000, 1, True)
    at(lab, 400_000, 0, True)
    at(lab, 500_000, 1, False)
    lab.sim.run_until(600_000)
    before = flow.bytes_done
    lab.sim.run_until(1_200_000)
    assert not flow.failures
    # Half the ports, from half a millisecond after the first plane is back.
    assert flow.bytes_done - before > 0.4 * 200e9 / 8 * 600e-6 / 2


def test_a_host_restarted_while_a_port_of_its_peer_is_down_learns_of_it() -> None:
    lab = Lab(build_graph(TINY), 2)
    Stream(lab, *lab.connect(0, FAR), until_ns=100_000).start()
    down = make_action(parse_target("nic:h0:p0"), "down")
    lab.sim.at(200_000, lambda: lab.sim.inject(down))
    lab.sim.run_until(300_000)
    killed = make_action(parse_target(f"host:h{FAR}"), "kill")
    lab.sim.inject(killed)
    lab.sim.run_until(310_000)
    lab.sim.heal(killed.target)
    lab.sim.run_until(320_000)
    there, here = lab.connect(FAR, 0)
    flow = Stream(lab, there, here).start()
    lab.sim.run_until(400_000)
    assert there.qp.paths is not None
    assert there.qp.paths.live_ports == 0b10
    assert not flow.failures
    assert flow.bytes_done > 0


@pytest.mark.parametrize("seed", range(6))
def test_a_plane_that_dies_silently_kills_no_queue_pair(seed: int) -> None:
    """Its last EV stays active, so packets go on being lost there, but none twice in a row."""
    graph = build_graph(TINY)
    lab = Lab(graph, seed)
    flow = Stream(lab, *lab.connect(0, FAR), depth=8).start()
    last_hop = f"port:{graph.hosts[FAR].nic_ports[0].peer.node}:h{FAR}"
    lost = make_action(parse_target(last_hop), "loss", 1.0)
    lab.sim.at(100_000, lambda: lab.sim.inject(lost))
    lab.sim.run_until(2_500_000)
    assert not flow.failures
    assert max(packet.tries for packet in flow.side.requester.window.packets.values()) <= 4
