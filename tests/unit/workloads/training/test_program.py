"""A training job on ideal wires: what is exact, what is hidden, and what a loss does."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from unit.workloads.training.training_rig import train
from unit.workloads.workload_rig import DELAY_NS, SPEC, Wires

from topologies.names import host_address
from workloads.collectives.schedule import Area
from workloads.collectives.tensors import Tensors
from workloads.job import Job
from workloads.training.plan import TrainingPlan
from workloads.training.steps import compute_time_ns

ALL = {"pipeline_bytes": 6000, "expert_bytes": 8004, "microbatches": 3, "layers": 1}
JOBS = {
    "plain": {},
    "uneven, bfloat16, tree": {"gradient_bytes": 40_002, "buckets": 3, "dtype": "bfloat16",
                               "algorithm": "tree", "ranks": 3},
    "everything": {**ALL, "jitter_ppm": 1_000_000, "channels": 2, "segment_bytes": 1000},
    "two ranks": {"ranks": 2, **ALL},
    "no time to compute": {"compute_ns": 1, **ALL},
}  # fmt: skip
every_job = pytest.mark.parametrize("changes", JOBS.values(), ids=list(JOBS))


def finish(job: Job) -> Wires:
    wires = Wires(job).start().run()
    assert all(app.program.is_done for app in wires.apps.values())
    return wires


def steps(wires: Wires) -> dict[int, list[dict[str, Any]]]:
    return {host: result["steps"] for host, result in wires.results().items()}


@every_job
def test_everything_is_right_and_every_step_there(changes: dict[str, Any]) -> None:
    job = train(**changes)
    wires = finish(job)
    for host, found in wires.verify().items():
        plan = TrainingPlan.from_params(job.hosts[host].program)
        count = sum(span.count for array in plan.arrays() for span in plan.expect(array))
        assert found == {"checked_bytes": count * plan.item_bytes, "wrong_bytes": 0, "wrong": 0,
                         "first_wrong": None, "unchecked": [], "sizes": []}
        assert count * plan.item_bytes >= job.parameters["gradient_bytes"]
    for host, rows in steps(wires).items():
        assert [row["step"] for row in rows] == [0, 1, 2]
        assert [row["wrong"] for row in rows] == [0, 0, 0]
        assert wires.results()[host]["is_finished"]
        for row, after in pairwise(rows):
            assert after["begun_ns"] == row["ended_ns"]
        for row in rows:
            assert row["ended_ns"] == row["begun_ns"] + row["compute_ns"] + row["exposed_ns"]
            assert row["exposed_ns"] >= 2 * DELAY_NS
            assert row["compute_ns"] == compute_time_ns(
                job.parameters["compute_ns"], job.parameters["jitter_ppm"], 5, host, row["step"])
    assert all(app.program.next_timer_ns() is None for app in wires.apps.values())


def test_only_the_last_bucket_is_exposed_where_computing_is_long() -> None:
    short, long = finish(train(compute_ns=1)), finish(train(compute_ns=600_000))
    for host, rows in steps(long).items():
        brief = steps(short)[host]
        for row in rows[1:]:
            # Four buckets one after the other, and the last of these alone.
            assert row["exposed_ns"] == pytest.approx(brief[1]["reduce_ns"] / 4, rel=0.15)
            # From the first bucket, after half of the time, to the last.
            assert row["reduce_ns"] == 300_000 + row["exposed_ns"]


def test_the_job_waits_for_the_slowest_only_where_it_must() -> None:
    job = train(jitter_ppm=500_000)
    rows = steps(finish(job))
    for step in range(3):
        slowest = max(rows, key=lambda host: rows[host][step]["compute_ns"])
        ends = [rows[host][step]["ended_ns"] for host in rows]
        # Nobody has the last sum before the slowest began to add to it ...
        computed = rows[slowest][step]["begun_ns"] + rows[slowest][step]["compute_ns"]
        assert min(ends) > computed
        # ... and all have it a ring's time later, without a barrier.
        assert max(ends) - computed < 10 * 2 * DELAY_NS


def test_step_0_follows_a_barrier_and_no_other_step_does() -> None:
    for rows in steps(finish(train())).values():
        assert rows[0]["begun_ns"] == 3 * DELAY_NS  # two rounds, and the last acknowledged
        assert rows[1]["begun_ns"] == rows[0]["ended_ns"]


def test_no_two_arrays_have_the_same_contents() -> None:
    wires = Wires(train(gradient_bytes=4 * 6000, pipeline_bytes=6000, expert_bytes=6000))
    found = set()
    for rank, setup in wires.setups.items():
        view = next(iter(setup.channels.values())).source.view
        for array in TrainingPlan.from_params(wires.job.hosts[rank].program).arrays():
            start = array.layout.at(Area.INPUT, 0)
            found.add(bytes(view[start : start + 6000]))
    assert len(found) == 4 * 6


@every_job
def test_twice_the_same_is_twice_the_same(changes: dict[str, Any]) -> None:
    assert finish(train(**changes)).results() == finish(train(**changes)).results()


def test_results_and_progress_are_json_at_any_time() -> None:
    wires = Wires(train(**ALL))
    for until_ns, share in ((0, 0.0), (900_000, 1 / 3), (10**9, 1.0)):
        if until_ns:
            wires.run(until_ns)
        else:
            wires.start()
        for app in wires.apps.values():
            result, progress = app.program.result(), app.program.progress()
            assert json.loads(json.dumps(result)) == result
            assert json.loads(json.dumps(progress)) == progress
            assert progress["share"] == pytest.approx(share)
            assert (progress["turn"], progress["lost_rank"]) == (None, None)
    assert progress["messages_done"] > 0 < progress["bytes_done"]


def test_a_late_timer_makes_the_step_longer_and_nothing_wrong() -> None:
    def wrap(setup: Any, program: Any) -> Any:
        inner = program.next_timer_ns
        program.next_timer_ns = lambda: None if (at := inner()) is None else at + 70_000
        return program

    wires = Wires(train(**ALL), wrap).start().run()
    assert all(found["wrong_bytes"] == 0 for found in wires.verify().values())
    for rows in steps(wires).values():
        assert all(row["exposed_ns"] >= 70_000 for row in rows)
        assert sum(row["wrong"] for row in rows) == 0


def test_stopped_it_posts_nothing_more_and_names_what_it_has() -> None:
    wires = Wires(train()).start().run(800_000)
    for app in wires.apps.values():
        app.stop(wires.now)
    wires.run()
    for host, result in wires.results().items():
        assert wires.apps[host].program.is_done
        assert wires.apps[host].next_deadline() is None
        assert (len(result["steps"]), result["is_finished"], result["loss"]) == (1, False, None)
    for found in wires.verify().values():
        assert found["wrong_bytes"] == 0


# --- What is wrong is found ------------------------------------------------------------


def spoil(wires: Wires, rank: int, index: int, area: Area, element: int) -> None:
    """Change an element of an array of a rank."""
    layout = TrainingPlan.from_params(wires.job.hosts[rank].program).arrays()[index].layout
    view = next(iter(wires.setups[rank].channels.values())).source.view
    view[layout.at(area, element) + 3] ^= 0x40


def test_a_wrong_contribution_is_found_by_all() -> None:
    wires = Wires(train(ranks=3))
    spoil(wires, 1, 2, Area.INPUT, 7)
    wires.start().run()
    for rank, found in wires.verify().items():
        assert found["wrong_bytes"] == 4
        assert found["first_wrong"] == {"rank": rank, "bucket": 2, "element": 7}


@pytest.mark.parametrize(
    ("index", "found_by"),
    # Number 1 is the second exchange of a kind: gradients have one a step, others more. The
    # stamps that a rank gets from its peers' INPUT are where their blocks have some.
    [(0, {0: 1, 1: 1, 2: 1, 3: 1}), (4, {2: 0}), (5, {0: 0, 2: 0})],
    ids=["gradients", "pipeline", "experts"],
)  # fmt: skip
def test_a_wrong_stamp_is_found_in_its_step(
    index: int, found_by: dict[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = train(**ALL)
    layout = TrainingPlan.from_params(job.hosts[0].program).arrays()[index].layout
    stamp = Tensors.stamp_input

    def stamp_wrongly(tensors: Tensors, number: int) -> None:
        is_it = (tensors._rank, number, tensors.layout) == (1, 1, layout)
        stamp(tensors, number + is_it)

    monkeypatch.setattr(Tensors, "stamp_input", stamp_wrongly)
    found = steps(finish(job))
    wrong = {rank: row["step"] for rank, rows in found.items() for row in rows
             if row["wrong"]}
    assert wrong == found_by


@pytest.mark.parametrize(("index", "where"), [
    (1, {"bucket": 1}), (4, {"traffic": "pipeline"}), (5, {"traffic": "experts"})])
def test_the_last_result_of_every_array_is_compared(index: int, where: dict[str, Any]) -> None:
    wires = finish(train(**ALL))
    spoil(wires, 2, index, Area.OUTPUT, 1)
    found = wires.verify()
    assert [answer["wrong"] for answer in found.values()] == [0, 0, 1, 0]
    assert found[2]["first_wrong"] == {"rank": 2, **where, "element": 1}


def kill(wires: Wires, rank: int, at_ns: int) -> None:
    """From this time on nothing leaves this host and nothing reaches it."""
    address = host_address(SPEC.t0_of(rank), SPEC.downlink_of(rank)).packed
    wires.lose = lambda now, host, datagram: now >= at_ns and (
        host == rank or datagram[64:80] == address)


@pytest.mark.parametrize("at_ns", [1, 300_000, 700_000])
@pytest.mark.parametrize("changes", [{}, ALL], ids=["gradients", "everything"])
def test_all_others_name_the_rank_that_is_lost(at_ns: int, changes: dict[str, Any]) -> None:
    wires = Wires(train(**changes))
    kill(wires, 2, at_ns)
    wires.start().run(20_000_000)
    for host in (0, 1, 3):
        result = wires.results()[host]
        assert wires.apps[host].program.is_done
        assert not result["is_finished"]
        assert result["loss"]["rank"] == 2
        assert wires.apps[host].program.progress()["lost_rank"] == 2
        assert wires.apps[host].program.next_timer_ns() is None
        found = wires.apps[host].program.verify({})
        assert found["wrong_bytes"] == 0
