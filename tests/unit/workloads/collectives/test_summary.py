"""What the ranks of a collective measured, put together."""

from __future__ import annotations

from typing import Any

from workloads.collectives.summary import first_loss, iteration_rows, size_rows

PARAMETERS = {"operation": "allreduce", "dtype": "float", "sizes": [4_000, 8_000],
              "hosts": [5, 6]}


def result(rank: int, *times: tuple[int, int, int, int], loss: Any = None,
           wrong: int = 0) -> dict[str, Any]:
    """``times``: size, iteration, number, ns."""
    rows = [{"size_bytes": size, "iteration": iteration, "number": number,
             "begun_ns": 100 * number, "ended_ns": 100 * number + ns, "wrong": wrong}
            for size, iteration, number, ns in times]
    return {"rank": rank, "iterations": rows, "loss": loss}


def sizes(*results: dict[str, Any], verified: Any = ()) -> list[dict[str, Any]]:
    return size_rows(PARAMETERS, iteration_rows(results, verified))


def test_rows_are_in_order_of_iteration_and_rank() -> None:
    rows = iteration_rows([result(1, (4_000, -1, 1, 7), (4_000, 0, 2, 8)),
                           result(0, (4_000, -1, 1, 9))])
    assert [(row["number"], row["rank"]) for row in rows] == [(1, 0), (1, 1), (2, 1)]


def test_an_iteration_takes_the_mean_over_ranks_and_warm_up_does_not_count() -> None:
    one = result(0, (4_000, -1, 1, 900), (4_000, 0, 2, 100), (4_000, 1, 3, 200))
    other = result(1, (4_000, -1, 1, 900), (4_000, 0, 2, 300), (4_000, 1, 3, 800))
    row = sizes(one, other)[0]
    assert (row["iters"], row["count"]) == (2, 1_000)
    assert (row["time_ns"], row["median_ns"], row["slowest_ns"]) == (350, 350, 500)
    assert row["lost_ns"] == 150
    assert row["algbw_bytes_per_s"] == 4_000 * 1e9 / 350
    assert row["busbw_bytes_per_s"] == row["algbw_bytes_per_s"]  # 2 (n - 1)/n is 1 for two


def test_what_a_rank_did_not_complete_is_no_iteration() -> None:
    row, never = sizes(result(0, (4_000, 0, 1, 100), (4_000, 1, 2, 100)),
                       result(1, (4_000, 0, 1, 100)))
    assert (row["iters"], row["lost_ns"]) == (1, None)  # nothing to compare it with
    assert (never["iters"], never["time_ns"], never["busbw_bytes_per_s"]) == (0, None, None)


def test_wrong_elements_of_all_iterations_count_and_what_was_found_at_the_end() -> None:
    one = result(0, (4_000, 0, 1, 100), (4_000, 1, 2, 100), (8_000, 0, 3, 100), wrong=3)
    answer = {"sizes": [{"rank": 0, "size_bytes": 4_000, "number": 2, "wrong": 7},
                        {"rank": 0, "size_bytes": 8_000, "number": 3, "wrong": 1}]}
    row, other = sizes(one, verified=[answer, {"sizes": []}])
    assert (row["wrong"], other["wrong"]) == (10, 3)
    assert [row["wrong"] for row in iteration_rows([one], [answer])] == [3, 7, 3]


def test_counts_are_of_one_rank_where_nccl_tests_counts_so() -> None:
    (row, _) = size_rows({**PARAMETERS, "operation": "allgather"}, [])
    assert row["count"] == 500


def test_the_loss_is_told_as_the_rank_saw_it_that_noticed() -> None:
    seen = {"rank": 1, "noticed_by": 0, "at_ns": 50, "reason": "no answer"}
    told = {"rank": 1, "noticed_by": 0, "at_ns": 40, "reason": "told"}
    later = {"rank": 1, "noticed_by": 2, "at_ns": 90, "reason": "no answer either"}
    results = [result(3, loss=told), result(2, loss=later), result(0, loss=seen)]
    assert first_loss(results) == seen
    assert first_loss(reversed(results)) == seen
    assert first_loss([result(3, loss=told)]) == told
    assert first_loss([result(3)]) is None


def accusation(rank: int, lost: int, at_ns: int, noticed_by: int | None = None) -> dict[str, Any]:
    by = rank if noticed_by is None else noticed_by
    return result(rank, loss={"rank": lost, "noticed_by": by, "at_ns": at_ns, "reason": "none"})


def test_the_rank_is_lost_that_most_name_whatever_it_says_of_others() -> None:
    cut_off = accusation(1, lost=2, at_ns=10)  # noticed first: it alone hears nobody
    others = [accusation(0, lost=1, at_ns=40), accusation(2, lost=1, at_ns=50, noticed_by=0),
              accusation(3, lost=1, at_ns=45)]
    found = first_loss([cut_off, *others])
    assert found is not None
    assert (found["rank"], found["noticed_by"], found["at_ns"]) == (1, 0, 40)


def test_of_two_named_by_equally_many_the_first_counts() -> None:
    found = first_loss([accusation(0, lost=1, at_ns=40), accusation(1, lost=0, at_ns=30)])
    assert found is not None
    assert found["rank"] == 0
    apart = [accusation(0, lost=3, at_ns=9), accusation(1, lost=2, at_ns=8)]
    assert first_loss(apart) == apart[1]["loss"]
