"""The forwarding plan: which rules a switch has, and the file it is written to."""

from __future__ import annotations

import json
from typing import Any

import pytest

from testbed.forwarding.plan import PLAN_VERSION, Plan, Rule, build_plan
from topologies.graph import Graph, build_graph
from topologies.spec import ClosSpec
from topologies.usid import Kind, encode

QUAD = ClosSpec("quad", 4, 2, 4, 4, 100 * 10**9, 1000)


@pytest.fixture(scope="module")
def graph() -> Graph:
    return build_graph(QUAD)


@pytest.fixture(scope="module")
def plan(graph: Graph) -> Plan:
    return build_plan(graph)


def test_a_t0_knows_its_downlinks_and_every_t1(plan: Plan) -> None:
    (t0,) = [switch for switch in plan.switches if switch.name == "p1-t0-0"]
    downlinks = [encode(1, Kind.DOWNLINK, index) for index in range(4)]
    uplinks = [encode(1, Kind.T1, index) for index in range(4)]
    assert [rule.usid for rule in t0.rules] == downlinks + uplinks
    assert [rule.port for rule in t0.rules] == list(range(1, 9))
    assert t0.usid == encode(1, Kind.T0, 0)


def test_a_t1_knows_every_t0(plan: Plan) -> None:
    (t1,) = [switch for switch in plan.switches if switch.name == "p3-t1-2"]
    assert [rule.usid for rule in t1.rules] == [encode(3, Kind.T0, index) for index in (0, 1)]


def test_rules_carry_the_macs_of_both_ends(graph: Graph, plan: Plan) -> None:
    rule = plan.switches[0].rules[0]
    nic = graph.host("h0").nic_ports[0]
    assert rule == Rule(0x1800, 1, "p0-t0-0-e1", nic.peer.mac, nic.mac)


def test_no_switch_has_a_rule_for_the_end_of_the_list(plan: Plan) -> None:
    assert all(rule.usid != 0 for switch in plan.switches for rule in switch.rules)


def test_every_switch_port_has_exactly_one_rule(graph: Graph, plan: Plan) -> None:
    planned = [rule.interface for switch in plan.switches for rule in switch.rules]
    wired = [port.interface for switch in graph.switches for port in switch.ports]
    assert sorted(planned) == sorted(wired)


def test_the_file_gives_the_plan_back(plan: Plan) -> None:
    document = json.loads(json.dumps(plan.to_dict()))
    assert document["version"] == PLAN_VERSION == 1
    assert document["block"] == "fcbb:bbbb::/32"
    assert set(document["switches"][0]) == {"name", "dpid", "usid", "rules"}
    assert set(document["switches"][0]["rules"][0]) == {
        "usid", "port", "interface", "eth_src", "eth_dst",
    }  # fmt: skip
    assert Plan.from_dict(document) == plan


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        ({"version": 2}, "plan version 2 is unknown"),
        ({"version": None}, "plan version None is unknown"),
        ({"switches": [{"name": "p0-t0-0"}]}, "the plan is damaged"),
        ({"switches": None}, "the plan is damaged"),
        ({"switches": [{"name": "x", "dpid": 1, "usid": 1, "rules": [{}]}]}, "is damaged"),
    ],
)
def test_other_files_are_refused(plan: Plan, damage: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Plan.from_dict(plan.to_dict() | damage)
