"""Queues of ports, and what they did to frames."""

from __future__ import annotations

from unit.analysis.figures.drawing import drawn, legend, line, texts
from unit.analysis.made import made_run, port


def test_the_longest_queues_are_shown() -> None:
    rows = [port(5000, f"p0-t0-{n}", queue_bytes=1000 * n) for n in range(8)]
    _, (queues, _) = drawn("queues", made_run(ports=rows))
    assert legend(queues) == [f"p0-t0-{n} \u2192 p0-t1-0" for n in (7, 6, 5, 4, 3, 2)]


def test_counts_are_told_once_with_their_sum() -> None:
    run = made_run(ports=[port(5000, marked=3), port(10_000, marked=4, dropped_blackhole=1)])
    _, (_, counts) = drawn("queues", run)
    assert legend(counts) == ["marked (ECN) (7)", "dropped: dead link (1)"]
    assert line(counts, "marked (ECN) (7)")[-1] == (10, 4)


def test_an_uneventful_run_says_so() -> None:
    _, (_, counts) = drawn("queues", made_run(ports=[port(5000, tx_frames=5)]))
    assert texts(counts) == ["nothing was marked, trimmed or dropped"]


def test_a_last_hop_is_held_against_its_own_threshold() -> None:
    last_hop = made_run(ports=[port(5000, towards="h0", queue_bytes=150_000)])
    inside = made_run(ports=[port(5000, queue_bytes=30_000)])
    assert texts(drawn("queues", last_hop)[1][0]) == ["trim, last hop"]
    assert texts(drawn("queues", inside)[1][0]) == ["ECN from"]
