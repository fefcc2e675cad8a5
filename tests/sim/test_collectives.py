"""Collectives on the simulated fabric: exact, at the bandwidth they can have, and never stuck."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.faults.actions import Action, make_action
from testbed.faults.targets import parse_target
from testbed.intent.topology import load_topology
from testbed.sim.jobs import JobResult, run_job
from testbed.transport.mrc.choices import (
    DEFAULT_EXP_COUNT,
    DEFAULT_LINEAR_COUNT,
    DEFAULT_TIMEOUT,
)
from testbed.transport.mrc.reliability.retry import RetrySchedule
from topologies.graph import build_graph
from topologies.numbers import data_frame_bytes
from workloads.collectives.catalogue import OPERATIONS
from workloads.collectives.group import PULSE_NS
from workloads.collectives.plan import plan_collective
from workloads.collectives.summary import first_loss, iteration_rows, size_rows
from workloads.job import Job

QUAD = build_graph(load_topology("quad"))
TINY = build_graph(load_topology("tiny"))
RETRY_BUDGET_NS = RetrySchedule(
    DEFAULT_TIMEOUT, DEFAULT_LINEAR_COUNT, DEFAULT_EXP_COUNT).budget_ns or 0
EVERY = [(name, algorithm) for name, operation in OPERATIONS.items()
         for algorithm in operation.algorithms]


def fault(target: str, kind: str) -> Action:
    return make_action(parse_target(target), kind)


def sizes_of(job: Job, result: JobResult) -> list[dict[str, Any]]:
    rows = iteration_rows(result.results.values(), result.verified.values())
    return size_rows(job.parameters, rows)


def require_exact(job: Job, result: JobResult) -> list[dict[str, Any]]:
    """Every iteration on every rank, every element."""
    assert result.is_complete
    assert result.conservation.unexplained == 0
    assert result.checked_bytes > 0
    rows = sizes_of(job, result)
    assert [row["wrong"] for row in rows] == [0] * len(rows)
    assert {row["iters"] for row in rows} == {job.parameters["iters"]}
    return rows


@pytest.mark.parametrize(("operation", "algorithm"), EVERY)
@pytest.mark.parametrize("dtype", ["float", "bfloat16"])
def test_every_operation_is_exact(operation: str, algorithm: str, dtype: str) -> None:
    job = plan_collective(
        TINY.spec, operation, range(TINY.spec.host_count), sizes=[16, 4_096, 150_000 // 48 * 48],
        iters=2, warmup=1, dtype=dtype, algorithm=algorithm, seed=5,
        channels=1 + OPERATIONS[operation].has_channels)
    require_exact(job, run_job(TINY, job, 1))


@pytest.mark.parametrize(("preset", "ranks", "operation", "size"), [
    ("rack4", 16, "allreduce", 16 << 10), ("rack4", 16, "alltoall", 16 << 8),
    ("wide", 64, "allreduce", 64 << 10),
])
def test_many_ranks_are_exact_too(preset: str, ranks: int, operation: str, size: int) -> None:
    graph = build_graph(load_topology(preset))
    assert graph.spec.host_count == ranks
    job = plan_collective(graph.spec, operation, range(ranks), sizes=[size], iters=1, qps=1,
                          dtype="bfloat16", seed=3)
    result = run_job(graph, job, 1)
    require_exact(job, result)
    assert result.checked_bytes == ranks * size


def test_a_ring_has_the_bandwidth_of_the_nics() -> None:
    """busbw over what of the NIC rate is payload: 4 MiB on 8 ranks still pay for the pipeline."""
    spec = QUAD.spec
    job = plan_collective(spec, "allreduce", range(8), sizes=[4 << 20], iters=1, seed=2)
    (row,) = require_exact(job, run_job(QUAD, job, 1))
    payload = spec.payload_bytes / data_frame_bytes(spec.payload_bytes)
    possible = spec.planes * spec.port_rate_bps / 8 * payload
    assert 0.85 * possible < row["busbw_bytes_per_s"] < possible


def test_a_crashed_t1_costs_time_and_nothing_else() -> None:
    job = plan_collective(QUAD.spec, "allreduce", range(8), sizes=[1 << 20], iters=4, seed=2)
    calm = require_exact(job, run_job(QUAD, job, 1))[0]
    crash = (int(1.5 * calm["time_ns"]), fault("switch:p1-t1-0", "crash"))
    hit = require_exact(job, run_job(QUAD, job, 1, faults=[crash]))[0]
    assert hit["slowest_ns"] > 1.05 * calm["slowest_ns"]


def test_a_crash_in_the_only_iteration_costs_time_and_no_element() -> None:
    """In the middle of it, beyond doubt."""
    job = plan_collective(QUAD.spec, "allreduce", range(8), sizes=[1 << 20], iters=1, warmup=0,
                          seed=2)
    calm = run_job(QUAD, job, 1)
    begun_ns = max(found["iterations"][0]["begun_ns"] for found in calm.results.values())
    (row,) = require_exact(job, calm)
    crash = (begun_ns + int(row["time_ns"]) // 2, fault("switch:p1-t1-0", "crash"))
    result = run_job(QUAD, job, 1, faults=[crash])
    (hit,) = require_exact(job, result)
    assert result.wrong_bytes == 0
    assert result.checked_bytes == 8 << 20
    assert hit["time_ns"] > 1.02 * row["time_ns"]
    assert sum(result.conservation.dropped.values()) > 0


def test_loss_on_the_way_is_repaired() -> None:
    job = plan_collective(QUAD.spec, "alltoall", range(8), sizes=[1 << 20], iters=2, seed=2)
    lossy = [(0, make_action(parse_target(f"nic:h{host}:p0"), "loss", 0.01)) for host in range(8)]
    result = run_job(QUAD, job, 3, faults=lossy)
    require_exact(job, result)
    assert sum(result.conservation.dropped.values()) > 0


@pytest.mark.parametrize("algorithm", ["ring", "tree"])
@pytest.mark.parametrize("at_ns", [1_000, 30_000, 61_234])
def test_a_killed_rank_ends_it_on_all_and_all_name_it(algorithm: str, at_ns: int) -> None:
    job = plan_collective(QUAD.spec, "allreduce", range(8), sizes=[1 << 20], iters=3,
                          algorithm=algorithm, seed=2)
    result = run_job(QUAD, job, 1, faults=[(at_ns, fault("host:h3", "kill"))])
    assert not result.is_complete
    losses = {host: found["loss"] for host, found in result.results.items()}
    assert len(losses) == 7
    assert {loss["rank"] for loss in losses.values()} == {3}
    latest_ns = max(loss["at_ns"] for loss in losses.values())
    assert latest_ns < at_ns + RETRY_BUDGET_NS + 300_000
    first = first_loss(result.results.values())
    assert first is not None
    assert first["noticed_by"] != 3
    assert "retry" in first["reason"] or "answer" in first["reason"]


@pytest.mark.parametrize("operation", ["broadcast", "allreduce", "sendrecv"])
@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("after_ns", [-12_000, 1, 3_000, 6_000, 9_000])
def test_a_rank_cut_off_about_the_end_ends_it_on_all(
    operation: str, ranks: int, after_ns: int
) -> None:
    """Also where rank 0 has all it wants, and where it waits with everything acknowledged."""
    job = plan_collective(TINY.spec, operation, range(ranks), sizes=[256 << 10], seed=2)
    ended_ns = run_job(TINY, job, 1).results[0]["iterations"][0]["ended_ns"]
    cut_ns = ended_ns + after_ns
    cut = [(cut_ns, fault(f"nic:h1:p{plane}", "down")) for plane in range(TINY.spec.planes)]
    result = run_job(TINY, job, 1, faults=cut)
    for host, found in result.results.items():
        loss = found["loss"]
        assert loss is not None or found["is_finished"]  # if all was over before
        if loss is not None:
            assert loss["at_ns"] < cut_ns + RETRY_BUDGET_NS + PULSE_NS + 300_000
            assert (loss["rank"] == 1) == (host != 1)
    named = first_loss(result.results.values())
    assert result.is_complete == (named is None)
    others = [found["loss"] for host, found in result.results.items() if host != 1]
    if named is not None and ranks > 2 and any(others):
        assert (named["rank"], named["noticed_by"] != 1) == (1, True)


def test_the_same_spec_is_the_same_run() -> None:
    job = plan_collective(TINY.spec, "alltoall", range(4), sizes=[65_536], iters=2, seed=9)
    first, second = (run_job(TINY, job, 4) for _ in range(2))
    assert first.results == second.results
