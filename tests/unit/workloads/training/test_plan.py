"""Planning: arrays that nobody shares, room for all lanes at once, and what is refused."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from unit.workloads.training.training_rig import train
from unit.workloads.workload_rig import SPEC

from workloads.collectives.schedule import Area
from workloads.job import Job
from workloads.params import WorkloadError
from workloads.training.plan import TrainingPlan, plan_training
from workloads.training.steps import Traffic

ALL = {"pipeline_bytes": 6000, "expert_bytes": 8004, "microbatches": 3, "layers": 1}


def plan_of(job: Job, rank: int = 0) -> TrainingPlan:
    return TrainingPlan.from_params(job.hosts[rank].program)


@pytest.mark.parametrize("changes", [{}, ALL, {"algorithm": "tree", "dtype": "bfloat16"}])
def test_a_job_survives_json(changes: dict[str, Any]) -> None:
    job = train(**changes)
    assert Job.from_params(json.loads(json.dumps(job.to_params()))) == job
    for rank in job.hosts:
        assert plan_of(job, rank).to_params() == job.hosts[rank].program
        assert plan_of(job, rank).rank == rank


def test_parameters_are_what_was_asked_for_resolved() -> None:
    job = train(ranks=3, jitter_ppm=7)
    assert job.kind == "training"
    assert job.seed == 5
    assert job.parameters == {
        "steps": 3, "gradient_bytes": 40_000, "buckets": 4, "compute_ns": 600_000,
        "jitter_ppm": 7, "dtype": "float", "algorithm": "ring", "channels": 1,
        "segment_bytes": 65536, "pipeline_bytes": 0, "microbatches": 4, "expert_bytes": 0,
        "layers": 2, "hosts": [0, 1, 2], "seed": 5, "qps": 2,
    }  # fmt: skip


def test_ranks_are_hosts_in_their_order() -> None:
    job = plan_training(SPEC, [2, 0, 3], steps=1, gradient_bytes=4096, compute_ns=1)
    assert {host: plan.program["rank"] for host, plan in job.hosts.items()} == {2: 0, 0: 1, 3: 2}


@pytest.mark.parametrize("changes", [{}, ALL, {"gradient_bytes": 40_004, "buckets": 3}])
def test_every_array_has_areas_of_its_own_within_the_buffer(changes: dict[str, Any]) -> None:
    job = train(**changes)
    plan, spans = plan_of(job), []
    for array in plan.arrays():
        for area in Area:
            start = array.layout.at(area, 0)
            spans.append((start, start + array.layout.count * plan.item_bytes))
    spans.sort()
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    assert spans[-1][1] <= plan.memory_bytes() == job.hosts[0].shared_bytes


def test_buckets_make_up_all_gradients_nearly_evenly() -> None:
    plan = plan_of(train(gradient_bytes=40_004, buckets=3, **ALL))
    arrays = plan.arrays()
    counts = [item.layout.count for item in arrays if item.traffic is Traffic.GRADIENTS]
    assert sum(counts) == 10_001
    assert max(counts) - min(counts) <= 1
    assert [(item.traffic, item.layout.count) for item in arrays[3:]] == [
        (Traffic.PIPELINE, 1500), (Traffic.EXPERTS, 2001)]
    assert plan.exchanges == (3, 3, 1)
    assert plan_of(train()).exchanges == (4, 0, 0)


def test_there_is_room_for_all_lanes_at_once() -> None:
    keys = {"segment_bytes": 256, "gradient_bytes": 400_000, "buckets": 1, **ALL}
    job = train(**keys)
    for rank in range(4):
        plan = plan_of(job, rank)
        to: dict[int, int] = {}
        for array in plan.arrays():
            for send in plan.schedule(array).sends:
                to[send.peer] = to.get(send.peer, 0) + 1
        assert max(to.values()) > 256
        for end in job.hosts[rank].ends:
            assert end.max_wr >= to.get(end.peer, 0) + 3 * 2


def test_only_who_has_data_for_each_other_has_many_connections() -> None:
    peers = [end.peer for end in train().hosts[0].ends]
    assert sorted(peers) == [1, 1, 2, 3, 3]
    peers = [end.peer for end in train(expert_bytes=16).hosts[0].ends]
    assert sorted(peers) == [1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"steps": 0}, "program.steps is 0: give an integer from 1 to 1000"),
        ({"buckets": 65}, "program.buckets is 65"),
        ({"compute_ns": 0}, "program.compute_ns is 0"),
        ({"jitter_ppm": 1_000_001}, "program.jitter_ppm is 1000001"),
        ({"jitter_ppm": -1}, "program.jitter_ppm is -1"),
        ({"dtype": "floaty"}, "did you mean 'float'"),
        ({"algorithm": "rung"}, "did you mean 'ring'"),
        ({"qps": 0}, "qps is 0: give an integer from 1 to 64"),
        ({"channels": 9}, "program.channels is 9"),
        ({"segment_bytes": 255}, "program.segment_bytes is 255"),
        ({"microbatches": 0}, "program.microbatches is 0"),
        ({"layers": 0}, "program.layers is 0"),
        ({"seed": -1}, "program.seed is -1"),
        ({"gradient_bytes": 0}, "program.gradient_bytes is 0"),
        ({"gradient_bytes": 60}, "gradient_bytes is 60: give a multiple of 4 bytes (float), at "
                                 "least 64"),
        ({"gradient_bytes": 65}, "gradient_bytes is 65: give a multiple of 4"),
        ({"pipeline_bytes": 3}, "pipeline_bytes is 3"),
        ({"expert_bytes": 12}, "expert_bytes is 12: give a multiple of 4 bytes (float), at least "
                               "16"),
        ({"ranks": 1}, "1 ranks on 1 hosts: give 2 to 85 hosts"),
        ({"ranks": 0}, "0 ranks on 0 hosts: give 2 to 85 hosts"),
        ({"ranks": 5}, "host h4 does not exist"),
        ({"gradient_bytes": 1 << 30}, "ranks would register"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        train(**changes)
    assert sentence in str(caught.value)


def test_a_wrong_program_is_refused() -> None:
    params = dict(train().hosts[0].program)
    for changes, sentence in (
        ({"rank": 4}, "there is no rank 4 of 4"), ({"hosts": [0, 0]}, "2 ranks on 1 hosts"),
        ({"bukkets": 1}, "did you mean 'buckets'"), ({"kind": "collective"}, "give training"),
    ):
        with pytest.raises(WorkloadError) as caught:
            TrainingPlan.from_params({**params, **changes})
        assert sentence in str(caught.value)
