"""Training jobs in the simulator: what is hidden, what is exposed, and what a dead host does."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import pytest

from testbed.faults.actions import Action, make_action
from testbed.faults.targets import parse_target
from testbed.intent.topology import load_topology
from testbed.sim.jobs import JobResult, run_job
from topologies.graph import build_graph
from workloads.collectives.plan import plan_collective
from workloads.collectives.schedule import Area
from workloads.training.lanes import Work
from workloads.training.plan import plan_training
from workloads.training.summary import summarise

QUAD = build_graph(load_topology("quad"))
RETRY_BUDGET_NS = 1_400_000
KIB = 1 << 10
BESIDE = {"pipeline_bytes": 16 * KIB, "microbatches": 2, "expert_bytes": 32 * KIB, "layers": 1}


@lru_cache(maxsize=4)  # what is run twice on purpose asks for `train.__wrapped__`
def train(
    ranks: int = 8, *, seed: int = 1, faults: tuple[tuple[int, Action], ...] = (), **changes: Any
) -> JobResult:
    keys: dict[str, Any] = {"steps": 3, "gradient_bytes": 256 * KIB, "buckets": 4,
                            "compute_ns": 500_000, "qps": 2, "seed": 9, **changes}
    job = plan_training(QUAD.spec, range(ranks), **keys)
    return run_job(QUAD, job, seed, faults=faults)


def summary(result: JobResult) -> dict[str, Any]:
    return summarise({host: found["steps"] for host, found in result.results.items()})


def require_exact(result: JobResult, ranks: int = 8, steps: int = 3) -> None:
    """It ended by itself, and every element of every bucket is what it must be."""
    assert result.is_complete
    assert result.checked_bytes >= ranks * 256 * KIB
    assert result.wrong_bytes == 0
    assert all(not found["unchecked"] for found in result.verified.values())
    assert [step["wrong"] for step in summary(result)["steps"]] == [0] * steps
    assert all(not found["failures"] for found in result.results.values())
    assert result.conservation.unexplained == result.conservation.in_flight == 0
    assert all(json.loads(json.dumps(found)) == found for found in result.results.values())


def test_long_computing_hides_all_but_the_last_bucket() -> None:
    hidden, bare = train(), train(compute_ns=1_000)
    bucket_ns = all_reduce_ns(64 * KIB)
    for result in (hidden, bare):
        require_exact(result)
    for row in summary(bare)["steps"]:
        # Nothing to hide behind: a step is its four all-reduces.
        assert row["communicate_ns"] == pytest.approx(4 * bucket_ns, rel=0.1)
        assert row["exposed_ns"] == pytest.approx(row["communicate_ns"], rel=0.02)
        assert row["time_ns"] == pytest.approx(row["communicate_ns"], rel=0.1)
    for row in summary(hidden)["steps"]:
        assert row["compute_ns"] == 500_000
        # The first bucket is ready when half is computed, the last when all is.
        assert row["exposed_ns"] == pytest.approx(bucket_ns, rel=0.1)
        assert row["communicate_ns"] == pytest.approx(250_000 + row["exposed_ns"], abs=2)
        assert row["time_ns"] == pytest.approx(500_000 + row["exposed_ns"], rel=0.02)


def all_reduce_ns(size: int) -> float:
    """What an all-reduce takes that is alone in the fabric, the mean over ranks and iterations."""
    job = plan_collective(QUAD.spec, "allreduce", range(8), sizes=[size], iters=3, qps=2)
    rows = [row for found in run_job(QUAD, job, 1).results.values() for row in found["iterations"]]
    return sum(row["ended_ns"] - row["begun_ns"] for row in rows) / len(rows)


def test_buckets_that_overlap_backward_save_time() -> None:
    one, four = (
        summary(train(4, gradient_bytes=6144 * KIB, buckets=buckets, steps=1))["steps"][0]
        for buckets in (1, 4)
    )
    assert one["wrong"] == four["wrong"] == 0
    assert four["exposed_ns"] < 0.4 * one["exposed_ns"]
    assert four["time_ns"] < one["time_ns"] - 100_000


def test_jitter_is_the_same_every_time_and_costs_what_the_slowest_costs() -> None:
    runs = [train.__wrapped__(jitter_ppm=200_000, seed=seed) for seed in (1, 1, 2)]
    for result in runs:
        require_exact(result)
    first, again, other_fabric = (result.results for result in runs)
    assert first == again != other_fabric
    computed = [[[row["compute_ns"] for row in found["steps"]] for found in results.values()]
                for results in (first, other_fabric)]  # fmt: skip
    assert computed[0] == computed[1]
    for step, row in enumerate(summary(runs[0])["steps"]):
        slowest_ns = max(ranks[step] for ranks in computed[0])
        assert row["compute_ns"] < slowest_ns <= row["time_ns"] < slowest_ns + 150_000


def test_pipeline_and_experts_beside_it() -> None:
    plain, beside = train(), train(**BESIDE)
    require_exact(beside)
    for without, row in zip(summary(plain)["steps"], summary(beside)["steps"], strict=True):
        assert row["time_ns"] > without["time_ns"]
    assert beside.results.keys() == set(range(8))


@pytest.mark.parametrize("algorithm", ["ring", "tree"])
@pytest.mark.parametrize("ranks", [5, 8])
@pytest.mark.parametrize("beside", [{}, BESIDE], ids=["gradients", "everything"])
def test_whatever_the_jitter_nobody_waits_for_ever(
    algorithm: str, ranks: int, beside: dict[str, Any]
) -> None:
    result = train(ranks, algorithm=algorithm, jitter_ppm=1_000_000, compute_ns=200_000,
                   seed=ranks, steps=5, **beside)  # fmt: skip
    require_exact(result, ranks, steps=5)


@pytest.mark.parametrize("beside", [{}, BESIDE], ids=["gradients", "everything"])
@pytest.mark.parametrize("killed_ns", [250_000, 530_000, 900_000])
def test_a_host_that_dies_ends_all_with_its_name(killed_ns: int, beside: dict[str, Any]) -> None:
    fault = make_action(parse_target("host:h3"), "kill", None)
    result = train(faults=((killed_ns, fault),), **beside)
    assert not result.is_complete
    assert sorted(result.results) == [0, 1, 2, 4, 5, 6, 7]
    limit_ns = killed_ns + RETRY_BUDGET_NS + 1_000_000
    for found in result.results.values():
        assert found["loss"]["rank"] == 3
        assert killed_ns < found["loss"]["at_ns"] < limit_ns
        assert not found["is_finished"]
    assert result.ended_ns < limit_ns
    assert result.wrong_bytes == 0
    assert result.conservation.unexplained == 0


@pytest.mark.parametrize("after_ns", [-40_000, -10_000, -3_000, 1, 4_000])
def test_a_host_cut_off_in_the_last_step_ends_all(after_ns: int) -> None:
    ended_ns = train(steps=1, compute_ns=1_000).results[0]["steps"][-1]["ended_ns"]
    cut = tuple((ended_ns + after_ns, make_action(parse_target(f"nic:h3:p{plane}"), "down"))
                for plane in range(QUAD.spec.planes))
    for host, found in train(steps=1, compute_ns=1_000, faults=cut).results.items():
        loss = found["loss"]
        assert loss is not None or found["is_finished"]
        if loss is not None:
            assert loss["at_ns"] < ended_ns + after_ns + RETRY_BUDGET_NS + 600_000
            assert (loss["rank"] == 3) == (host != 3)


def test_every_element_of_every_step_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    end = Work.end

    def spoil_and_end(work: Work) -> int:
        tensors = work._tensors
        if (tensors._rank, work.number) == (2, 1):
            tensors._areas[Area.OUTPUT][tensors.layout.count - 1] += 1  # no stamp
        return end(work)

    monkeypatch.setattr(Work, "end", spoil_and_end)
    result = train.__wrapped__(compute_ns=1_000)
    assert [step["wrong"] for step in summary(result)["steps"]] == [0, 4, 0]  # one a bucket


def test_lost_packets_cost_time_and_no_element() -> None:
    loss = make_action(parse_target("link:p1-t0-0:p1-t1-1"), "loss", 0.1)
    quiet, lossy = train(compute_ns=1_000), train(compute_ns=1_000, faults=((20_000, loss),))
    require_exact(lossy)
    assert lossy.conservation.dropped["dropped_loss"] > 0
    assert lossy.ended_ns > quiet.ended_ns


def test_computing_for_long_is_not_being_stuck() -> None:
    """Nothing completes for 120 ms, and everyone waits for a time of its own."""
    require_exact(train(compute_ns=120_000_000, steps=1), steps=1)
