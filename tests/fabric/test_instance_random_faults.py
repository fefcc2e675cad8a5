"""Any faults in any order: the paths that fail are those the desired state predicts."""

from __future__ import annotations

import random

import pytest
from testbed_process import Running, settled, take_snapshot, up

from testbed.faults.actions import Action, EvLoss, LinkDown, SwitchBlackhole, SwitchCrash, fault_id
from testbed.faults.desired import desired_state
from testbed.faults.impact import faulted_paths
from testbed.faults.targets import EvTarget, LinkTarget, NicTarget, PortTarget, SwitchTarget
from testbed.forwarding.paths import paths
from topologies.ev import format_ev
from topologies.graph import Graph

pytestmark = pytest.mark.root


def every_fault(graph: Graph) -> list[Action]:
    """Every deadly fault of the fabric itself: links, directions, switches, EVs."""
    found: list[Action] = []
    for host in graph.hosts:
        found += [LinkDown(NicTarget(host.index, plane)) for plane in range(graph.spec.planes)]
    for link in graph.links:
        if link.kind == "fabric":
            found.append(LinkDown(LinkTarget(link.a.node, link.b.node)))
        found.append(LinkDown(PortTarget(link.a.node, link.b.node)))
        found.append(LinkDown(PortTarget(link.b.node, link.a.node)))
    for switch in graph.switches:
        found += [SwitchCrash(SwitchTarget(switch.name)),
                  SwitchBlackhole(SwitchTarget(switch.name))]
    found += [EvLoss(EvTarget(path.src, path.dst, path.ev)) for path in paths(graph.spec, 0, 3)]
    return found


def run_schedule(instance: Running, seed: int, steps: int) -> None:
    """Inject and heal at random, up to four faults at once; compare after every step."""
    graph = instance.graph()
    candidates, generator = every_fault(graph), random.Random(seed)
    active: list[Action] = []
    try:
        for step in range(steps):
            if active and (len(active) == 4 or generator.random() < 0.4):
                target = generator.choice(active).target
                instance.call("heal", target=str(target))
                active = [action for action in active if action.target != target]
            else:
                action = generator.choice(candidates)
                if fault_id(action) in map(fault_id, active):
                    continue
                instance.call("fail", target=str(action.target), kind=action.kind)
                active.append(action)
            compare(instance, graph, active, f"seed {seed}, step {step}")
    finally:
        instance.call("heal")
    compare(instance, graph, [], f"seed {seed}, all healed")
    assert instance.call("status")["problems"] == []


def compare(instance: Running, graph: Graph, active: list[Action], where: str) -> None:
    """The paths that stay silent are exactly the predicted ones."""
    predicted = {(path.src, path.dst, format_ev(path.ev))
                 for path in faulted_paths(graph, desired_state(graph, active))}
    silent = {(row["src"], row["dst"], row["ev"])
              for row in instance.call("survey", timeout="300ms") if row["received"] == 0}
    assert silent == predicted, f"{where}: {', '.join(map(fault_id, active)) or 'no fault'}"


def test_a_short_random_schedule(tiny: Running) -> None:
    run_schedule(tiny, seed=1, steps=15)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(10))
def test_long_random_schedules(tiny: Running, seed: int) -> None:
    run_schedule(tiny, seed=100 + seed, steps=100)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_hundred_cycles_leak_nothing(name: str) -> None:
    snapshot = take_snapshot()
    for cycle in range(100):
        up(name, "tiny", "--dataplane", "linux" if cycle % 2 else "ovs").down()
    assert settled(snapshot) == {}
