"""Several runs side by side: what they were, where their specs differ, and their figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from testbed.analysis.measures import MEASURES, measure
from testbed.analysis.run import Run
from testbed.errors import UsageError

FIGURES = (
    "goodput", "nominal", "fairness", "message_time", "message_time_p99", "latency",
    "iteration_time", "algbw", "busbw", "step_time", "step_time_max", "completion_time",
    "sent_packets", "resent_share", "lost_by_nack", "lost_by_evidence", "lost_by_timer",
    "timeouts", "marked", "trimmed", "evs_out", "evs_back", "qp_failures", "wrong_elements",
    "recovery_first_evidence", "recovery_ev_out", "recovery_goodput_back", "recovery_lost_bytes",
    "recovery_ev_back", "recovery_goodput_restored",
)
_TOLD_ANYWAY = ("tdf", "seed", "workload", "topology.name", "topology.description")

Row = tuple[str, str, list[Any]]


def compare(runs: Sequence[Run]) -> pd.DataFrame:
    """A row per figure, a column per run by the name of its folder.

    The index is (figure, unit). First what was run, then ``spec: KEY`` for everything in which
    the specs differ, then `FIGURES` (`testbed.analysis.measures`) that at least one run has;
    of recoveries the worst fault. What a run does not have is None. Raises UsageError for no
    runs.
    """
    if not runs:
        raise UsageError("there is nothing to compare: name runs, like runs/latest")
    rows = [*_what_ran(runs), *_differences(runs), *_figures(runs)]
    index = pd.MultiIndex.from_tuples([row[:2] for row in rows], names=["figure", "unit"])
    # Texts and numbers stand in one column: as they are, not made alike.
    return pd.DataFrame([row[2] for row in rows], index=index, columns=_names(runs), dtype=object)


def _names(runs: Sequence[Run]) -> list[str]:
    """Names of the folders, numbered where one comes again."""
    names: list[str] = []
    for run in runs:
        again = sum(name == run.path.name or name.startswith(f"{run.path.name} (")
                    for name in names)
        names.append(f"{run.path.name} ({again + 1})" if again else run.path.name)
    return names


def _what_ran(runs: Sequence[Run]) -> Iterator[Row]:
    yield "workload", "", [run.spec.get("workload") for run in runs]
    yield "topology", "", [run.topology.name for run in runs]
    yield "data plane", "", [run.manifest.get("dataplane") for run in runs]
    yield "time dilation", "", [run.tdf for run in runs]
    yield "seed", "", [run.manifest.get("seed") for run in runs]
    yield "verdict", "", [_verdict(run) for run in runs]
    if any(run.drill for run in runs):
        yield "drill", "", [run.drill and f"{run.drill['name']}: {run.drill['word']}"
                            for run in runs]


def _verdict(run: Run) -> str:
    word = "simulated" if run.is_simulated else run.verdict_word or "none"
    return f"{word}, partial" if run.is_partial else word


def _differences(runs: Sequence[Run]) -> Iterator[Row]:
    """Keys of the specs, those of the topology too, in which not all agree."""
    flat = [_flat(run.spec) for run in runs]
    for key in dict.fromkeys(key for spec in flat for key in spec):
        values = [spec.get(key) for spec in flat]
        if key not in _TOLD_ANYWAY and any(value != values[0] for value in values):
            yield f"spec: {key}", "", values


def _flat(spec: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in spec.items():
        if isinstance(value, Mapping):
            found |= {f"{key}.{name}": inner for name, inner in value.items()}
        else:
            found[key] = value
    return found


def _figures(runs: Sequence[Run]) -> Iterator[Row]:
    for name in FIGURES:
        values = [measure(run, name) for run in runs]
        if any(value is not None for value in values):
            yield name, MEASURES[name].unit, values
