"""Requests become jobs, of every kind there is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from testbed.errors import UsageError
from testbed.instance.planning import plan_job
from testbed.intent.topology import load_topology
from testbed.intent.workload import KINDS, from_document
from workloads.evshare import EvShare
from workloads.job import Job

SPEC = load_topology("quad")
OPERANDS: dict[str, dict[str, Any]] = {
    "write-bw": {"src": "h0", "dst": "h1"}, "write-lat": {"src": "h0", "dst": "h1"},
    "incast": {"dst": "h1", "senders": "h2,h3", "victim": "h4:h5"},
}


def planned(kind: str, **options: Any) -> Job:
    document = {"workload": kind, **OPERANDS.get(kind, {}), **options}
    return plan_job(from_document(document, SPEC), SPEC)


@pytest.mark.parametrize("kind", KINDS)
def test_every_workload_can_be_planned_and_travels_as_json(kind: str) -> None:
    job = planned(kind, seed=5)
    assert job.seed == 5
    assert Job.from_params(json.loads(json.dumps(job.to_params()))) == job


FAR_APART: dict[str, dict[str, Any]] = {
    "write-bw": {"dst": "h5"}, "write-lat": {"dst": "h5"},
    "incast": {"senders": "h4,h5", "victim": "h2:h6"}, "permutation": {"hosts": "h0,h1,h4,h5"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_workload_can_use_a_share_of_the_evs(kind: str) -> None:
    apart = FAR_APART.get(kind, {"hosts": "h0,h4"})
    job = planned(kind, evs="1+1", **apart)
    assert {end.evs for plan in job.hosts.values() for end in plan.ends} == {EvShare(1, 1)}
    assert job.parameters["evs"] == "1+1"
    with pytest.raises(UsageError, match=r"3[+]2 EVs per plane are more than its uplinks"):
        planned(kind, evs="3+2", **apart)


def test_an_incast_goes_to_one_host_and_its_victim_elsewhere() -> None:
    job = planned("incast", qps=2)
    assert {host: len(plan.program["sends"]) for host, plan in job.hosts.items()} == {
        1: 0, 2: 2, 3: 2, 4: 2, 5: 0}


def test_ranks_are_where_the_request_puts_them() -> None:
    job = planned("alltoall", hosts="h5,h0,h3")
    assert [job.hosts[host].program["rank"] for host in (5, 0, 3)] == [0, 1, 2]


def test_channels_and_segments_of_a_training_job_are_as_asked() -> None:
    parameters = planned("train", channels=2, segment="8K").parameters
    assert (parameters["channels"], parameters["segment_bytes"]) == (2, 8 << 10)


def test_a_run_is_compared_with_the_step_that_was_given() -> None:
    assert planned("train", baseline="300ns").parameters["baseline_ns"] == 300
    assert "baseline_ns" not in planned("train").parameters
