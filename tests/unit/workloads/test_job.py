"""Planning: who takes part, what each is given, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from unit.workloads.workload_rig import FAR, SPEC, Wires

from workloads.evshare import EvShare
from workloads.job import (
    MAX_HOST_BYTES,
    HostPlan,
    Job,
    make_program,
    plan_permutation,
    plan_write_bandwidth,
    plan_write_latency,
)
from workloads.narrowing import with_evs
from workloads.params import WorkloadError
from workloads.write_bandwidth import WriteBandwidth
from workloads.write_latency import WriteLatency


def plan(src: int = 0, dst: int = FAR, **changes: Any) -> Job:
    keys = {"size": 1000, "qps": 3, "iters": 20, "depth": 4, **changes}
    return plan_write_bandwidth(SPEC, src, dst, **keys)


JOBS = [
    plan(),
    plan(iters=None, duration_ns=10**6, is_bidirectional=True, seed=7),
    plan_permutation(SPEC, [(0, 1), (1, 2), (0, 3)], size=10, qps=2, iters=5),
    plan_write_latency(SPEC, 0, 1, seed=3),
    with_evs(plan(), SPEC, EvShare(1, 1)),
]


@pytest.mark.parametrize("job", JOBS, ids=[str(n) for n in range(len(JOBS))])
def test_a_job_survives_json(job: Job) -> None:
    again = Job.from_params(json.loads(json.dumps(job.to_params())))
    assert again == job
    for host_plan in job.hosts.values():
        assert HostPlan.from_params(json.loads(json.dumps(host_plan.to_params()))) == host_plan


def test_one_way_only_the_sender_has_a_source_and_only_the_receiver_a_target() -> None:
    job = plan()
    near, far = job.hosts[0], job.hosts[FAR]
    assert [end.connection for end in near.ends] == [end.connection for end in far.ends]
    assert {(e.host, e.peer, e.source_bytes, e.target_bytes) for e in near.ends} == {
        (0, FAR, 4000, 1)
    }
    assert {(e.host, e.peer, e.source_bytes, e.target_bytes) for e in far.ends} == {
        (FAR, 0, 1, 4000)
    }
    assert near.program["sends"] == [0, 1, 2]
    assert far.program["sends"] == []
    assert all(end.is_cross_t1 and end.max_wr == 4 for end in near.ends + far.ends)
    assert not any(end.is_cross_t1 for end in plan(0, 1).hosts[0].ends)


def test_both_ways_both_have_both() -> None:
    job = plan(is_bidirectional=True)
    assert [host.program["sends"] for host in job.hosts.values()] == [[0, 1, 2]] * 2
    assert {(e.source_bytes, e.target_bytes) for h in job.hosts.values() for e in h.ends} == {
        (4000, 4000)
    }


@pytest.mark.parametrize(
    ("changes", "slots"),
    [
        ({}, 4), ({"iters": 3}, 3), ({"iters": None, "duration_ns": 5}, 4),
        ({"is_every_message_kept": True}, 20),
    ],
)  # fmt: skip
def test_slots(changes: dict[str, Any], slots: int) -> None:
    job = plan(**changes)
    assert {host.program["slots"] for host in job.hosts.values()} == {slots}
    assert job.hosts[0].ends[0].source_bytes == slots * 1000


def test_parameters_are_what_was_asked_for() -> None:
    assert plan(seed=4).parameters == {
        "src": 0, "dst": FAR, "size": 1000, "qps": 3, "iters": 20, "duration_ns": None,
        "is_bidirectional": False, "depth": 4, "is_every_message_kept": False,
    }  # fmt: skip
    assert plan(seed=4).seed == 4
    assert {end.seed for host in plan(seed=4).hosts.values() for end in host.ends} == {4}


def test_a_host_may_have_many_peers() -> None:
    job = plan_permutation(SPEC, [(0, 1), (0, 2), (3, 0)], size=10, qps=2, iters=5, depth=2)
    assert sorted(job.hosts) == [0, 1, 2, 3]
    assert [(e.connection, e.peer) for e in job.hosts[0].ends] == [
        (0, 1), (1, 1), (2, 2), (3, 2), (4, 3), (5, 3),
    ]  # fmt: skip
    assert {host: job.hosts[host].program["sends"] for host in sorted(job.hosts)} == {
        0: [0, 1, 2, 3], 1: [], 2: [], 3: [4, 5],
    }  # fmt: skip


def test_each_host_hears_what_its_peers_told() -> None:
    job = plan_permutation(SPEC, [(0, 1), (0, 2)], size=10, qps=1, iters=5)
    told = {
        0: [{"connection": 1, "from": 0}, {"connection": 0, "from": 0}],
        1: [{"connection": 0, "from": 1}],
        2: [],
    }
    assert job.swap(told) == {
        0: {0: {"connection": 0, "from": 1}},
        1: {0: {"connection": 0, "from": 0}},
        2: {1: {"connection": 1, "from": 0}},
    }
    assert job.swap({}) == {0: {}, 1: {}, 2: {}}


def test_programs_by_kind_have_their_sources_filled() -> None:
    for job, kind in ((plan(), WriteBandwidth), (plan_write_latency(SPEC, 0, 1), WriteLatency)):
        channels = Wires(job).setups[0].channels
        for channel in channels.values():
            channel.source.view[:] = bytes(channel.source.length)
        program = make_program(job.hosts[0].program, channels)
        assert isinstance(program, kind)
        assert all(any(channel.source.view) for channel in channels.values())


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ([], "the program is no object"),
        ({}, "program lacks 'kind': add it"),
        ({"kind": "write-bv"}, "program.kind is 'write-bv': give collective or training or "
                               "write-bw or write-lat, did you"),
        ({"kind": "write-bw"}, "program lacks 'size': add it"),
    ],
)
def test_a_wrong_program_is_refused(params: Any, sentence: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        make_program(params, Wires(plan()).setups[0].channels)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"dst": 4}, "host h4 does not exist: pair has h0 to h3"),
        ({"src": -1}, "host h-1 does not exist"),
        ({"dst": 0}, "h0 would write to itself: name two different hosts"),
        ({"qps": 0}, "qps is 0: give an integer from 1 to 1024"),
        ({"size": 0}, "program.size is 0"),
        ({"depth": 0}, "program.depth is 0"),
        ({"iters": 0}, "program.iters is 0"),
        ({"iters": None}, "iters is None and duration_ns None: give one of them"),
        ({"duration_ns": 5}, "iters is 20 and duration_ns 5: give one of them"),
        ({"seed": -1}, "seed is -1"),
        ({"iters": None, "duration_ns": 5, "is_every_message_kept": True},
         "every message cannot be kept for a duration: give iters instead"),
        ({"size": 1 << 28}, f"h0 would take 3221225475 bytes of at most {MAX_HOST_BYTES}"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        plan(**changes)
    assert sentence in str(caught.value)


def test_no_pairs_and_a_wrong_latency_test() -> None:
    with pytest.raises(WorkloadError, match="there is no pair of hosts"):
        plan_permutation(SPEC, [], size=1, qps=1, iters=1)
    for changes, sentence in (
        ({"iters": 0}, r"program\.iters is 0"), ({"size": 0}, r"program\.size is 0"),
        ({"warmup": -1}, r"program\.warmup is -1"), ({"size": 1 << 25}, "would take"),
    ):
        with pytest.raises(WorkloadError, match=sentence):
            plan_write_latency(SPEC, 0, 1, **changes)


def test_a_job_whose_ends_do_not_meet_is_refused() -> None:
    params = plan().to_params()
    del params["hosts"][1]["ends"][2]
    with pytest.raises(WorkloadError, match="connection 2 on h0 is h0's or has no other end on h2"):
        Job.from_params(params)
    job = plan()
    strayed = replace(job.hosts[0].ends[0], host=1)
    hosts = {**job.hosts, 0: replace(job.hosts[0], ends=(strayed, *job.hosts[0].ends[1:]))}
    with pytest.raises(WorkloadError, match="connection 0 on h0 is h1's"):
        Job.from_params(replace(job, hosts=hosts).to_params())
    with pytest.raises(WorkloadError, match="job lacks 'seed'"):
        Job.from_params({"kind": "write-bw", "parameters": {}})
