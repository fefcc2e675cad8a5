"""What a report says, as texts and tables: the same for HTML and for Markdown.

Everything comes from the run alone. What was not recorded is said in the place where it would
have stood.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from testbed.analysis import pagetables
from testbed.analysis.figures import FIGURES
from testbed.analysis.pagetables import Table
from testbed.analysis.run import Run
from testbed.units import format_rate_bps, format_time_ns

_GOOD, _DOUBTFUL, _BAD, _NEUTRAL = "good", "doubtful", "bad", "neutral"
_TONES = {"PASS": _GOOD, "FAIL": _BAD, "INCONCLUSIVE": _DOUBTFUL, "trusted": _GOOD,
          "degraded": _DOUBTFUL, "invalid": _BAD, "simulated": _NEUTRAL}
# The figure that stands first where no drill names one; collectives have `iterations`.
_FIRST = {"write-bw": "goodput", "write-lat": "latency", "train": "step_times",
          "permutation": "fairness", "incast": "fairness"}
# Keys of a spec that are told elsewhere, or say nothing about what was run.
_ELSEWHERE = ("workload", "topology", "seed", "tdf", "schema_version", "sample")


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is said of one run.

    ``tone`` (good, doubtful, bad, neutral) goes with ``word``, the drill's verdict or else the
    run's; ``alarms`` are to be said loudly. A table that is None has nothing to tell.
    """

    title: str
    about: str
    word: str
    tone: str
    trust: str
    alarms: Sequence[str]
    reasons: Sequence[str]
    what: Sequence[tuple[str, str]]
    made: Sequence[tuple[str, str]]
    checks: Table | None
    timeline: Table
    recovery: Table
    sizes: Table | None
    hosts: Table
    fidelity: Table
    again: Sequence[str]
    first_figure: str


def facts_of(run: Run) -> Facts:
    """Read a run for its report."""
    drill = run.drill
    trust = run.verdict_word or ("simulated" if run.is_simulated else "no verdict")
    word = drill["word"] if drill else trust
    return Facts(
        title=drill["name"] if drill else run.path.name,
        about=_about(run), word=word, tone=_TONES.get(word, _DOUBTFUL), trust=_trust(run, trust),
        alarms=list(_alarms(run)), reasons=list(_reasons(run)), what=list(_what(run)),
        made=list(_made(run)),
        checks=pagetables.checks(drill) if drill else None,
        timeline=pagetables.timeline(run), recovery=pagetables.recovery(run),
        sizes=pagetables.sizes(run), hosts=pagetables.hosts(run),
        fidelity=pagetables.fidelity(run), again=list(_again(run)),
        first_figure=first_figure(run),
    )


def first_figure(run: Run) -> str:
    """The figure that shows what the run is about: the drill's, or by its workload."""
    named = run.drill.get("figure") if run.drill else None
    if named in FIGURES:
        return str(named)
    return _FIRST.get(str(run.spec.get("workload")), "iterations")


def workload_sentence(spec: Mapping[str, Any]) -> str:
    """``write-bw: src h0, dst h4, qps 4, ...``, without what is not set."""
    told = [f"{key} {_plain(value)}" for key, value in spec.items()
            if key not in _ELSEWHERE and value not in (None, False, "", [])]
    return f"{spec.get('workload')}: {', '.join(told)}"


def _plain(value: object) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return "yes" if value is True else str(value)


def _about(run: Run) -> str:
    if run.drill is None:
        return workload_sentence(run.spec)
    paper = f" Paper, {run.drill['paper']}." if run.drill.get("paper") else ""
    return f"{run.drill['title'].rstrip('.')}.{paper}"


def _trust(run: Run, word: str) -> str:
    match word:
        case "simulated":
            return "simulated: nothing can be late there, so there is no verdict on the run"
        case "no verdict":
            return "the run was never closed, so it has no verdict"
        case _:
            return f"the run itself is {word}"


def _alarms(run: Run) -> Iterator[str]:
    """What nobody may overlook."""
    if run.is_partial:
        yield ("This run was cut off: all that follows is what was recorded until then, and "
               "nothing here is the whole of what was asked for.")
    if run.drill is not None and not run.drill.get("healed", True):
        yield ("Not everything the drill broke could be put back: take the instance down and "
               "bring it up again before the next run.")


def _reasons(run: Run) -> Iterator[str]:
    verdict = run.manifest.get("verdict") or {}
    drill = run.drill or {}
    said = [*drill.get("reasons", ()), *drill.get("warnings", ()), *verdict.get("reasons", ()),
            *run.result.get("failures", ()), *pagetables.warnings(run)]
    yield from dict.fromkeys(map(str, said))


def _what(run: Run) -> Iterator[tuple[str, str]]:
    spec = run.topology
    yield "Workload", workload_sentence(run.spec)
    yield "Topology", (f"{spec.name}: {spec.host_count} hosts on "
                       f"{spec.planes} plane{'' if spec.planes == 1 else 's'} of "
                       f"{format_rate_bps(spec.port_rate_bps)}, {spec.t0_per_plane} T0 and "
                       f"{spec.t1_per_plane} T1 switches in each; base RTT "
                       f"{format_time_ns(run.base_rtt_ns)}")
    yield "Data plane", str(run.manifest.get("dataplane", "unknown"))
    yield "Time dilation", (f"{run.tdf:,} (1us emulated takes {format_time_ns(1000 * run.tdf)})"
                            if run.tdf else "none, a simulation has no clock to stretch")
    yield "Seed", str(run.manifest.get("seed", "unknown"))
    yield "Emulated time", f"{run.end_ns / 1e3:,.1f} us"


def _made(run: Run) -> Iterator[tuple[str, str]]:
    made = run.manifest
    yield "Begun, ended", f"{made.get('started_at')}, {made.get('ended_at') or 'never'}"
    yield "Made with", (f"testbed {made.get('testbed')}, Python {made.get('python')}, kernel "
                        f"{made.get('kernel')}, revision {made.get('git_revision') or 'unknown'}")
    yield "Folder", str(run.path)


def _again(run: Run) -> Iterator[str]:
    if run.drill is not None:
        yield str(run.drill["again"])
    spec = run.path / "spec.yaml"
    sim = run.is_simulated
    yield (f"{'' if sim else 'sudo '}python -m testbed run {spec}{' --sim' if sim else ''}"
           + ("    # the workload alone, without what was done to it" if run.drill else ""))
