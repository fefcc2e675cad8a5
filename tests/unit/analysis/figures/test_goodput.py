"""Goodput by host and by plane."""

from __future__ import annotations

from unit.analysis.figures.drawing import ACTIONS, drawn, legend, line
from unit.analysis.made import ev_sample, made_run, steady


def test_hosts_and_their_sum() -> None:
    run = made_run(flows=[*steady(100e9, 0, 100_000, 10_000),
                          *steady(50e9, 0, 100_000, 10_000, host="h4", peer="h0")])
    _, (axes,) = drawn("goodput", run)
    assert {y for _, y in line(axes, "h0")} == {100}
    assert {y for _, y in line(axes, "h4")} == {50}
    assert {y for _, y in line(axes, "all together")} == {150}


def test_one_sender_is_held_against_its_line_rate() -> None:
    run = made_run(flows=steady(100e9, 0, 100_000, 10_000))
    _, (axes,) = drawn("goodput", run)
    assert legend(axes) == ["h0", "line rate of\nall planes"]
    assert {y for _, y in line(axes, "line rate of\nall planes")} == {400}


def test_planes_are_stacked_where_paths_were_sampled() -> None:
    run = made_run(flows=steady(100e9, 0, 100_000, 10_000), events=ACTIONS, ev_samples=[
        ev_sample(t_ns, ev, 30, 50_000) for t_ns in (50_000, 100_000)
        for ev in (0x0000_0000, 0x0101_0000)])
    _, panels = drawn("goodput", run)
    assert len(panels) == 2
    assert legend(panels[1]) == ["1", "0"]
    top = max(path.vertices[:, 1].max() for path in panels[1].collections[1].get_paths())
    assert round(top, 3) == round(2 * 30 * 4096 * 8 / 50_000, 3)


def test_many_senders_share_a_colour() -> None:
    flows = [row for host in range(12) for row in
             steady(10e9, 0, 20_000, 10_000, host=f"h{host}", peer="h15")]
    _, (axes,) = drawn("goodput", made_run("rack4", {**_PERMUTATION}, flows=flows))
    assert legend(axes) == ["each host", "all together"]


_PERMUTATION = {"workload": "permutation", "duration": "20us"}
