"""A planned job whose queue pairs use a share of the EVs, not every path."""

from __future__ import annotations

from dataclasses import replace

from topologies.spec import ClosSpec
from workloads.evshare import EvShare
from workloads.job import Job
from workloads.params import WorkloadError


def with_evs(job: Job, spec: ClosSpec, evs: EvShare | None) -> Job:
    """The job with every queue pair using this share of the EVs; None for every path.

    Raises WorkloadError where a plane has fewer uplinks, or a pair of hosts only one path per
    plane: a share of that would be another one than was asked for.
    """
    if evs is None:
        return job
    if evs.per_plane > spec.t1_per_plane:
        raise WorkloadError(
            f"{evs} EVs per plane are more than its uplinks: {spec.name} has "
            f"{spec.t1_per_plane}, use as many together or fewer"
        )
    for plan in job.hosts.values():
        for end in plan.ends:
            if not end.is_cross_t1:
                raise WorkloadError(
                    f"h{end.host} and h{end.peer} share a T0 and have one path per plane, no "
                    "choice of EVs: name hosts under different T0s, or leave evs out"
                )
    hosts = {
        host: replace(plan, ends=tuple(replace(end, evs=evs) for end in plan.ends))
        for host, plan in job.hosts.items()
    }
    return replace(job, parameters={**job.parameters, "evs": str(evs)}, hosts=hosts)
