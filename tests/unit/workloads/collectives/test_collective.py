"""The program of a collective on ideal wires: whatever is wrong in any iteration is found."""

from __future__ import annotations

from typing import Any

import pytest
from unit.workloads.workload_rig import SPEC, Wires

from workloads.collectives.plan import plan_collective
from workloads.collectives.schedule import Area, Span
from workloads.collectives.summary import iteration_rows, size_rows
from workloads.collectives.tensors import Tensors
from workloads.job import Job

SIZE = 300_000  # several slices


def plan(operation: str = "allreduce", **changes: Any) -> Job:
    keys: dict[str, Any] = {"sizes": [SIZE], "iters": 3, "warmup": 1, "seed": 4, **changes}
    return plan_collective(SPEC, operation, range(4), **keys)


def finish(job: Job) -> Wires:
    wires = Wires(job).start().run()
    assert all(found["is_finished"] for found in wires.results().values())
    return wires


def wrong(wires: Wires) -> list[tuple[int, int, int]]:
    """(rank, number, wrong elements) of every iteration that has any."""
    rows = iteration_rows(wires.results().values(), wires.verify().values())
    return [(row["rank"], row["number"], row["wrong"]) for row in rows if row["wrong"]]


def test_every_iteration_is_compared_and_no_slice_is_counted() -> None:
    wires = finish(plan(sizes=[1_200, SIZE]))
    assert wrong(wires) == []
    for result in wires.results().values():
        assert [row["number"] for row in result["iterations"]] == list(range(1, 9))
        took = [row["ended_ns"] - row["begun_ns"] for row in result["iterations"]]
        assert len(set(took[1:4])) == len(set(took[5:])) == 1
    assert all(app.program.next_timer_ns() is None for app in wires.apps.values())


@pytest.mark.parametrize("number", [1, 2, 4])
def test_an_element_that_is_wrong_in_any_iteration_is_found(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare = Tensors.compare

    def spoil_and_compare(tensors: Tensors, expected: Any, now: int) -> Any:
        if (tensors._rank, now) == (2, number):
            tensors._areas[Area.OUTPUT][70_001] += 1
        return compare(tensors, expected, now)

    monkeypatch.setattr(Tensors, "compare", spoil_and_compare)
    wires = finish(plan())
    assert wrong(wires) == [(2, number, 1)]
    (row,) = size_rows(wires.job.parameters, iteration_rows(wires.results().values()))
    assert row["wrong"] == 1


def test_what_is_left_of_the_iteration_before_never_passes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Contents repeat but for the stamps, so old elements are the right ones."""
    copy = Tensors.copy

    copied: list[Span] = []

    def leave_out(tensors: Tensors, span: Span) -> None:
        """After the first time elements 5 to 7 are not copied; only rank 0 copies any."""
        for piece in (Span(0, 5), Span(8, span.count - 8)) if copied else (span,):
            copy(tensors, piece)
        copied.append(span)

    monkeypatch.setattr(Tensors, "copy", leave_out)
    assert wrong(finish(plan("broadcast"))) == [(0, 2, 3), (0, 3, 3), (0, 4, 3)]


def test_what_goes_wrong_after_the_last_iteration_is_found_too() -> None:
    wires = finish(plan())
    view = next(iter(wires.setups[1].channels.values())).source.view
    program: Any = wires.apps[1].program
    view[program.plan.layouts()[0].at(Area.OUTPUT, 9) + 3] ^= 0x40
    assert wrong(wires) == [(1, 4, 1)]


def test_stopped_while_it_compares_it_has_no_row_of_that() -> None:
    wires = Wires(plan(iters=1, warmup=0)).start()
    while not any(app.program._ended for app in wires.apps.values()):
        wires.run(wires.now + 100)
        wires.now += 100
    for app in wires.apps.values():
        app.stop(wires.now)
    wires.run()
    assert all(app.program.is_done and app.program.next_timer_ns() is None
               for app in wires.apps.values())
    assert any(found["unchecked"] for found in wires.verify().values())


def test_the_share_done_is_of_turns_also_where_a_rank_sends_nothing() -> None:
    wires = Wires(plan("broadcast")).start()
    shares: dict[int, set[float]] = {host: set() for host in wires.apps}
    while not all(app.program.is_done for app in wires.apps.values()):
        wires.run(wires.now + 1_000)
        wires.now += 1_000
        for host, app in wires.apps.items():
            shares[host].add(app.program.progress()["share"])
    assert set(map(frozenset, shares.values())) == {frozenset({0, 0.25, 0.5, 0.75, 1})}
