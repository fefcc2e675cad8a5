"""A training job's result as text: a row per step, and what communication cost.

Times are emulated ones. The result document has what `perftest.remarks` uses, and besides:

    ranks        names of hosts, in the order of their ranks
    steps        a row each: step, time_ns, compute_ns, communicate_ns, exposed_ns (what was
                 not hidden by computing); all but time_ns are means over ranks
    training     steps_per_s, undisturbed_steps_per_s, loss_share (0..1), slowest_step (its
                 number), baseline (words: what undisturbed means); None where no step ended
    parameters   `TrainRequest.to_document()`
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from testbed.cli.perftest import LINE_CHARACTERS, remark, remarks, surroundings

_MOST_ROWS = 20
_COLUMNS = ("step", "time[usec]", "compute[usec]", "communicate[usec]", "exposed[usec]")
_TIMES = ("time_ns", "compute_ns", "communicate_ns", "exposed_ns")
_WIDTHS = (6, 14, 16, 19, 16)

_Rows = Sequence[Mapping[str, Any]]


def report(document: Mapping[str, Any]) -> str:
    """The whole text of one result, painted where stdout is a terminal."""
    rule = "-" * LINE_CHARACTERS
    lines = [rule, *_heading(document), rule, *_table(document["steps"]), rule,
             *_training(document), *remarks(document)]
    return "".join(f"{line}\n" for line in lines)


def _heading(document: Mapping[str, Any]) -> Iterator[str]:
    asked = document["parameters"]
    yield " " * 20 + "Data-parallel training"
    yield remark("Hosts", f"{len(document['ranks'])}, {asked['placement']}, on "
                          f"{document['topology']['name']}")
    yield remark("Gradients", f"{asked['gradients']} {asked['dtype']} in {asked['buckets']} "
                              f"buckets, {asked['algo']}")
    yield remark("Compute", f"{asked['compute']} a step, +/- {asked['jitter']}")
    if "pipeline" in asked:
        yield remark("Pipeline", f"{asked['pipeline']} for each of {asked['microbatches']} "
                                 "microbatches")
    if "experts" in asked:
        yield remark("Experts", f"{asked['experts']} in each of {asked['layers']} layers")
    yield remark("Number of qps", asked["qps"])
    yield from surroundings(document)


def _table(steps: _Rows) -> Iterator[str]:
    """At most twenty rows: then every k-th step."""
    yield _row(_COLUMNS)
    if not steps:
        yield " no step was completed"
    every = -(-len(steps) // _MOST_ROWS) or 1
    for step in steps[::every]:
        yield _row((str(step["step"]), *(f"{step[key] / 1e3:.1f}" for key in _TIMES)))
    if every > 1:
        yield f" one step of {every} is shown"


def _row(values: Sequence[str]) -> str:
    return "".join(f"{value:>{width}}" for value, width in zip(values, _WIDTHS, strict=True))


def _training(document: Mapping[str, Any]) -> Iterator[str]:
    found = document["training"]
    yield remark("steps per s", f"{found['steps_per_s']:.1f}, emulated")
    if (undisturbed := found["undisturbed_steps_per_s"]) is not None:
        yield remark("undisturbed", f"{undisturbed:.1f}, {_baseline(document)}")
    if (lost := found["loss_share"]) is not None:
        yield remark("lost", f"{100 * lost:.1f} % of the undisturbed rate")
    for step in document["steps"]:
        if step["step"] == found["slowest_step"]:
            yield remark("slowest step", f"{step['step']}, {step['time_ns'] / 1e3:.1f} us")


def _baseline(document: Mapping[str, Any]) -> str:
    against = document["parameters"].get("against")
    if against:
        return f"by the run {against}"
    is_given = "baseline" in document["parameters"]
    return "as given" if is_given else f"by the {document['training']['baseline']}"
