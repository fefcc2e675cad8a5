"""Counters and events as JSON."""

from __future__ import annotations

import json

from testbed.agent.journal import describe, qp_counters, slots
from testbed.intent.topology import load_topology
from testbed.sim.jobs import run_job
from topologies.graph import build_graph
from workloads.job import plan_write_bandwidth


def test_what_a_device_knows_after_a_run_is_json() -> None:
    graph = build_graph(load_topology("tiny"))
    job = plan_write_bandwidth(graph.spec, 0, 3, size=4_096, qps=2, iters=20, depth=8)
    found = run_job(graph, job, 1)
    endpoint = found.contexts[0].endpoint
    told = [qp_counters(qp) for qp in endpoint.qps.values()]
    assert [row["requester"]["sent"] for row in told] == [20, 20]
    assert {row["state"] for row in told} == {"RTS"}
    assert slots(endpoint.counters)["icrc_errors"] == 0
    events = [describe(event) for event in found.events[0]]
    json.dumps([told, events])
