"""The check before `up`: silent on a good plan, loud on every kind of bad one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from testbed.forwarding.check import check_plan
from testbed.forwarding.plan import Plan, Rule, build_plan
from topologies.graph import Graph, build_graph
from topologies.spec import ClosSpec

TINY = ClosSpec("tiny", 2, 2, 2, 2, 100 * 10**9, 1000)
LONE = ClosSpec("lone", 1, 1, 1, 1, 100 * 10**9, 1000)


@pytest.fixture(scope="module")
def graph() -> Graph:
    return build_graph(TINY)


def with_rules(plan: Plan, switch: str, rules: tuple[Rule, ...]) -> Plan:
    return Plan(
        tuple(replace(s, rules=rules) if s.name == switch else s for s in plan.switches)
    )


@pytest.mark.parametrize(
    "spec",
    [
        TINY,
        ClosSpec("quad", 4, 2, 4, 4, 100 * 10**9, 1000),
        ClosSpec("octo", 8, 2, 4, 4, 100 * 10**9, 1000),
        ClosSpec("wide", 4, 8, 4, 8, 100 * 10**9, 1000),
        ClosSpec("rack4", 1, 4, 4, 4, 400 * 10**9, 1000),
        LONE,
    ],
    ids=lambda spec: spec.name,
)
def test_plans_we_build_have_no_problem(spec: ClosSpec) -> None:
    graph = build_graph(spec)
    assert check_plan(graph, build_plan(graph)) == []


@pytest.mark.parametrize("spec", [TINY, LONE], ids=lambda spec: spec.name)
def test_every_single_rule_is_needed(spec: ClosSpec) -> None:
    """Also in a fabric of one host, where nothing but its self probes uses any rule."""
    graph = build_graph(spec)
    plan = build_plan(graph)
    for switch in plan.switches:
        for gone in switch.rules:
            kept = tuple(rule for rule in switch.rules if rule is not gone)
            problems = check_plan(graph, with_rules(plan, switch.name, kept))
            assert problems, (switch.name, gone)
            assert all(f"{switch.name}: no rule for next uSID" in text for text in problems)


def test_a_rule_to_the_wrong_port_is_found(graph: Graph) -> None:
    plan = build_plan(graph)
    first, second, *rest = plan.switches[0].rules
    crossed = (replace(second, usid=first.usid), replace(first, usid=second.usid), *rest)
    problems = check_plan(graph, with_rules(plan, "p0-t0-0", crossed))
    assert any("ends at h1-eth0" in text for text in problems)


def test_a_detour_is_found(graph: Graph) -> None:
    plan = build_plan(graph)
    *downlinks, first, second = plan.switches[0].rules
    crossed = (*downlinks, replace(second, usid=first.usid), replace(first, usid=second.usid))
    problems = check_plan(graph, with_rules(plan, "p0-t0-0", crossed))
    assert any("does not begin with its own uSID" in text for text in problems)
