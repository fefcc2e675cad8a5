"""What a report says in words."""

from __future__ import annotations

import pytest
from unit.analysis.made import SIMULATED, made_run

from testbed.analysis.pagefacts import facts_of, first_figure, workload_sentence


def test_a_workload_is_told_without_what_is_not_set() -> None:
    spec = {"workload": "incast", "dst": "h0", "senders": ["h1", "h2"], "victim": None,
            "capture": False, "verify": True, "seed": 1, "topology": {"name": "quad"}}
    assert workload_sentence(spec) == "incast: dst h0, senders h1 h2, verify yes"


@pytest.mark.parametrize(("workload", "figure"), [
    ({"workload": "write-bw", "src": "h0", "dst": "h4"}, "goodput"),
    ({"workload": "write-lat", "src": "h0", "dst": "h4"}, "latency"),
    ({"workload": "train"}, "step_times"), ({"workload": "allgather"}, "iterations")])
def test_the_first_figure_fits_the_workload(workload: dict[str, str], figure: str) -> None:
    assert first_figure(made_run(workload=workload)) == figure


def test_the_word_is_the_runs_where_there_is_no_drill() -> None:
    degraded = made_run(manifest={"verdict": {"word": "degraded", "reasons": ["slow"]}})
    facts = facts_of(degraded)
    assert (facts.word, facts.tone, list(facts.reasons)) == ("degraded", "doubtful", ["slow"])
    assert facts_of(made_run(manifest=SIMULATED)).word == "simulated"


def test_a_run_that_never_ended_has_no_verdict() -> None:
    facts = facts_of(made_run(manifest={"state": "running", "verdict": None, "ended_at": None}))
    assert facts.trust == "the run was never closed, so it has no verdict"
    assert len(facts.alarms) == 1
