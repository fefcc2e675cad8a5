"""What collectives and training jobs add to a result, and who was lost."""

from __future__ import annotations

from typing import Any

from testbed.instance.jointresult import joint_section, loss_sentences
from testbed.intent.topology import load_topology
from testbed.sim.jobs import run_job
from topologies.graph import build_graph
from workloads.collectives.plan import plan_collective
from workloads.job import Job, plan_permutation
from workloads.training.plan import plan_training

GRAPH = build_graph(load_topology("tiny"))
JOB = plan_collective(GRAPH.spec, "allgather", (3, 0, 2), sizes=[1_200], iters=2, seed=1)


def section(job: Job) -> dict[str, Any]:
    found = run_job(GRAPH, job, 1)
    return joint_section(job, found.results, found.verified)


def results(**losses: tuple[int, int, int]) -> dict[int, dict[str, Any]]:
    """By host name: lost rank, noticed by, at ns; (-1, 0, 0) for none."""
    return {int(host[1:]): {"rank": JOB.parameters["hosts"].index(int(host[1:])), "loss": None
                            if rank < 0 else {"rank": rank, "noticed_by": by, "at_ns": at_ns,
                                              "reason": "no answer within the retry budget"}}
            for host, (rank, by, at_ns) in losses.items()}


def test_a_collective_has_its_sizes_and_a_row_per_iteration_and_rank() -> None:
    found = section(JOB)
    assert found["ranks"] == ["h3", "h0", "h2"]
    assert (found["operation"], found["algorithm"], found["redop"]) == ("allgather", "ring", "none")
    assert [(row["size_bytes"], row["count"], row["wrong"]) for row in found["sizes"]] == [
        (1_200, 100, 0)]
    assert [(row["host"], row["rank"], row["iteration"]) for row in found["collectives"]] == [
        ("h3", 0, 0), ("h0", 1, 0), ("h2", 2, 0), ("h3", 0, 1), ("h0", 1, 1), ("h2", 2, 1)]
    assert found["loss"] is None


def test_a_training_job_has_its_steps_and_what_it_is_compared_with() -> None:
    job = plan_training(GRAPH.spec, range(4), steps=2, gradient_bytes=4_096, buckets=2,
                        compute_ns=50_000)
    found = section(job)
    assert [row["step"] for row in found["steps"]] == [0, 1]
    assert {row["host"] for row in found["rank_steps"]} == {"h0", "h1", "h2", "h3"}
    assert found["training"]["baseline"] == "median of this run"
    compared = Job(job.kind, {**job.parameters, "baseline_ns": 1_000}, job.seed, job.hosts)
    assert section(compared)["training"]["loss_share"] > 0.9


def test_hosts_that_need_no_others_add_nothing() -> None:
    job = plan_permutation(GRAPH.spec, [(0, 2)], size=100, qps=1, iters=3)
    assert joint_section(job, {}, {}) == {}
    assert loss_sentences(job, {}, {"h0": "gone"}) == []


def test_one_sentence_names_the_rank_and_why_its_host_is_silent() -> None:
    found = results(h3=(2, 0, 1_500_000), h0=(2, 0, 1_504_000))
    assert loss_sentences(JOB, found, {"h2": "its agent was killed"}) == [
        "rank 2 (h2) was lost at 1.5ms, as rank 0 noticed: its agent was killed"]


def test_a_host_that_answers_was_lost_for_what_its_peers_say() -> None:
    found = results(h3=(2, 0, 900), h0=(-1, 0, 0), h2=(-1, 0, 0))
    assert loss_sentences(JOB, found, {}) == [
        "rank 2 (h2) was lost at 900ns, as rank 0 noticed: no answer within the retry budget"]


def test_a_rank_that_is_cut_off_and_answers_is_the_one_that_is_named() -> None:
    found = results(h3=(1, 0, 950), h0=(2, 1, 900), h2=(1, 2, 990))
    assert loss_sentences(JOB, found, {}) == [
        "rank 1 (h0) was lost at 950ns, as rank 0 noticed: no answer within the retry budget"]


def test_silence_that_no_peer_noticed_is_told_too() -> None:
    found = results(h3=(-1, 0, 0), h0=(-1, 0, 0))
    assert loss_sentences(JOB, found, {"h2": "it is stopped"}) == [
        "rank 2 (h2) was lost: it is stopped"]
