"""The actions of a timeline as bands, lines and names."""

from __future__ import annotations

from unit.analysis.figures.drawing import ACTIONS, CRASH, texts
from unit.analysis.made import heal, inject, made_run

from testbed.analysis.figures.actions import Mark, Span, draw_actions, marks, merged, spans
from testbed.analysis.figures.style import new_canvas, time_axis

NIC = "nic:h0:p1#down"


def test_faults_of_one_step_are_one_mark() -> None:
    run = made_run(events=[inject(10, "glitch", CRASH), inject(10, "glitch", NIC),
                           heal(20, "up", NIC)])
    assert marks(run) == [Mark(10, "glitch", True, 2), Mark(20, "up", False, 1)]


def test_a_fault_nobody_healed_is_in_force_to_the_end() -> None:
    run = made_run(events=[inject(10, "a", CRASH), heal(30, "b", CRASH), inject(40, "c", NIC)])
    assert spans(run) == [Span(CRASH, 10, 30), Span(NIC, 40, run.end_ns)]


def test_the_end_of_a_run_ends_what_it_healed() -> None:
    """As in the table of recovery: it is no moment of the script."""
    run = made_run(events=[inject(10, "a", NIC), heal(10**9, "end", NIC)])
    assert spans(run) == [Span(NIC, 10, run.end_ns)]


def test_the_same_fault_twice_has_two_spans() -> None:
    run = made_run(events=[inject(10, "a", NIC), heal(20, "b", NIC), inject(30, "c", NIC),
                           heal(40, "d", NIC)])
    assert spans(run) == [Span(NIC, 10, 20), Span(NIC, 30, 40)]


def test_overlapping_faults_make_one_band() -> None:
    assert merged([Span("b", 20, 50), Span("a", 10, 30), Span("c", 60, 70)]) == [
        (10, 50), (60, 70)]


def test_lines_stand_where_something_was_done() -> None:
    run = made_run(events=ACTIONS)
    _, panels = new_canvas((2, 2))
    time_axis(panels[1], run)
    draw_actions(panels, run)
    for axes in panels:
        assert [line.get_xdata()[0] for line in axes.lines] == [40, 70]
    assert texts(panels[0]) == ["crash", "back"]
    assert texts(panels[1]) == []


def test_what_was_there_from_the_beginning_stands_at_the_start() -> None:
    run = made_run(events=[inject(-1, "broken", NIC)])
    _, panels = new_canvas((2,))
    draw_actions(panels, run)
    assert [line.get_xdata()[0] for line in panels[0].lines] == [0]


def test_names_without_room_are_counted() -> None:
    run = made_run(events=[inject(40_000 + n, f"step-{n}", f"nic:h{n}:p0#down")
                           for n in range(6)])
    _, panels = new_canvas((2,))
    draw_actions(panels, run)
    assert texts(panels[0]) == ["step-0", "step-1", "4 more not named"]
