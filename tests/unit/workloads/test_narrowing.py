"""A share of the EVs for a whole job, and where there is none to have."""

from __future__ import annotations

import pytest
from unit.workloads.workload_rig import FAR, SPEC

from workloads.evshare import EvShare
from workloads.job import plan_permutation, plan_write_bandwidth
from workloads.narrowing import with_evs
from workloads.params import WorkloadError

JOB = plan_write_bandwidth(SPEC, 0, FAR, size=1000, qps=3, iters=20, depth=4)


def test_a_share_of_the_evs_is_that_of_every_end() -> None:
    job = JOB
    assert with_evs(job, SPEC, None) is job
    narrow = with_evs(job, SPEC, EvShare(1, 0))
    assert {end.evs for part in narrow.hosts.values() for end in part.ends} == {EvShare(1, 0)}
    assert narrow.parameters == {**job.parameters, "evs": "1+0"}
    assert {host: part.program for host, part in narrow.hosts.items()} == {
        host: part.program for host, part in job.hosts.items()}


def test_a_share_that_is_none_is_refused() -> None:
    with pytest.raises(WorkloadError, match=r"2[+]1 EVs per plane are more than its uplinks: pair"):
        with_evs(JOB, SPEC, EvShare(2, 1))
    near = plan_permutation(SPEC, [(0, FAR), (0, 1)], size=10, qps=1, iters=5)
    with pytest.raises(WorkloadError, match="h0 and h1 share a T0 and have one path per plane"):
        with_evs(near, SPEC, EvShare(1, 1))
