"""Planning: what is refused before anything runs, and what every rank is given."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from unit.workloads.workload_rig import SPEC

from workloads.collectives.group import MAX_TAG, RECEIVES
from workloads.collectives.layout import layouts, memory_bytes
from workloads.collectives.mesh import MAX_JOB_BYTES, Mesh
from workloads.collectives.plan import CollectivePlan, plan_collective
from workloads.collectives.schedule import Area, Schedule, Send
from workloads.job import Job
from workloads.params import WorkloadError


def plan(operation: str = "allreduce", hosts: Any = (0, 1, 2, 3), **changes: Any) -> Job:
    keys = {"sizes": [4_096], "iters": 1, "qps": 2, **changes}
    return plan_collective(SPEC, operation, hosts, **keys)


def test_a_job_travels_as_json() -> None:
    job = plan(sizes=[4_096, 64], dtype="bfloat16", channels=3, seed=7, hosts=(2, 0, 3))
    assert Job.from_params(job.to_params()) == job
    assert job.hosts[3].program["rank"] == 2
    assert job.is_joint
    assert job.senders == 3


def test_neighbours_have_all_queue_pairs_and_barriers_one() -> None:
    """Ring 0 1 2 3: rank 0 sends to 1 and hears 3; with 2 it only meets in a barrier."""
    ends = plan().hosts[0].ends
    assert [end.peer for end in ends] == [1, 1, 2, 3, 3]
    numbers = [end.connection for end in ends]
    assert numbers == sorted(set(numbers))
    assert all(end.source_bytes == end.target_bytes == 0 for end in ends)
    assert all(end.max_wr >= RECEIVES for end in ends)


def test_both_ends_of_a_connection_are_planned_alike() -> None:
    job = plan("alltoall", hosts=(0, 1, 2), sizes=[1_200])
    ends = {(end.connection, end.host): end for host in job.hosts.values() for end in host.ends}
    for (connection, host), end in ends.items():
        other = ends[connection, end.peer]
        assert (other.peer, other.max_wr) == (host, end.max_wr)


def test_there_is_room_for_all_sends_at_once() -> None:
    job = plan(sizes=[1 << 20], segment_bytes=256, qps=1)
    sends = CollectivePlan.from_params(job.hosts[0].program).schedule(1 << 20).sends
    assert max(end.max_wr for end in job.hosts[0].ends) > len(sends) > RECEIVES


def test_a_segment_grows_where_there_would_be_too_many_messages() -> None:
    made = CollectivePlan.from_params(plan(sizes=[64 << 20], segment_bytes=256).hosts[0].program)
    assert made.shape(64 << 20).segment * 4 == (64 << 20) // 4096
    assert made.shape(64 << 20).segment * 4 > 256


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"operation": "allgether"}, "no collective 'allgether'"),
        ({"hosts": (0,)}, "1 ranks on 1 hosts: give 2 to 85"),
        ({"hosts": ()}, "no host to take part"),
        ({"hosts": (0, 1, 1)}, "3 ranks on 2 hosts"),
        ({"hosts": (0, 9)}, "host h9 does not exist"),
        ({"sizes": []}, "0 sizes"),
        ({"sizes": [102]}, "102 bytes are not a whole number of float elements"),
        ({"operation": "allgather", "sizes": [100]}, "use a multiple of 16 bytes"),
        ({"dtype": "double"}, "program.dtype is 'double'"),
        ({"algorithm": "star"}, "program.algorithm is 'star'"),
        ({"operation": "alltoall", "algorithm": "ring"}, "program.algorithm is 'ring'"),
        ({"iters": 0}, "program.iters is 0"),
        ({"qps": 0}, "qps is 0"),
        ({"operation": "alltoall", "sizes": [160], "channels": 2}, "alltoall has no channels"),
        ({"channels": 9}, "program.channels is 9"),
        ({"sizes": [1 << 29]}, "at most 1,024 MiB each"),
    ],
)
def test_what_is_wrong_is_told(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(WorkloadError, match=complaint):
        plan(**changes)


def test_more_messages_than_tags_are_refused() -> None:
    sends = (Send(1, MAX_TAG + 1, 0, Area.INPUT, 0, 1, Area.OUTPUT, 0),)
    with pytest.raises(WorkloadError, match="more than 65,536 messages"):
        Mesh(SPEC, (0, 1), 1).carry(0, Schedule(sends))


def test_all_ranks_together_have_a_limit() -> None:
    assert memory_bytes([256 << 20]) * 8 <= MAX_JOB_BYTES


def test_areas_do_not_overlap_and_sizes_keep_their_results() -> None:
    sizes = [8_192, 100, 4_096]
    made = layouts(sizes, "float", base=4_096)
    spans = []
    for size, layout in zip(sizes, made, strict=True):
        assert layout.at(Area.INPUT, 0) == made[0].at(Area.INPUT, 0) == 4_096
        assert layout.at(Area.STAGING, 1) == made[0].at(Area.STAGING, 0) + 4
        spans.append((layout.at(Area.OUTPUT, 0), size))
    spans += [(4_096, 8_192), (made[0].at(Area.STAGING, 0), 8_192)]
    spans.sort()
    for (start, length), (following, _) in pairwise(spans):
        assert start + length <= following
    last, length = spans[-1]
    assert last + length <= 4_096 + memory_bytes(sizes)
