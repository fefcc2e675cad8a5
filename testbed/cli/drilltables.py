"""What `drill list` and `drill show` print."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from testbed.cli.output import table
from testbed.drills.drill import Check, Drill
from testbed.drills.junit import check_line
from testbed.drills.verdict import Judgement
from testbed.faults.actions import fault_id
from testbed.faults.script import After, At, Step, When, left_in_force
from testbed.units import format_time_ns
from topologies.numbers import base_rtt_ns

_WIDTH = 96


def list_text(drills: Sequence[Drill]) -> str:
    """A line per drill: name, topology, the paper's figure, wall time on the fabric and in the
    simulator, what it is."""
    rows = [(drill.name, drill.topology.name, drill.paper.partition(":")[0],
             wall_text(drill.takes_s), wall_text(drill.takes_sim_s), drill.title)
            for drill in drills]
    total = (f"all: {wall_text(sum(drill.takes_s for drill in drills))} on the fabric, "
             f"{wall_text(sum(drill.takes_sim_s for drill in drills))} with --sim")
    return table(("drill", "topology", "paper", "takes", "--sim", "what"), rows) + f"\n\n{total}\n"


def list_document(drills: Sequence[Drill]) -> list[dict[str, Any]]:
    """The same for programs."""
    return [{"name": drill.name, "title": drill.title, "paper": drill.paper,
             "topology": drill.topology.name, "figure": drill.figure,
             "budget_packets": drill.budget_packets, "takes_s": drill.takes_s,
             "takes_sim_s": drill.takes_sim_s} for drill in drills]


def show_text(drill: Drill) -> str:
    """How a drill was understood: what runs, what is done when, what must be seen."""
    return "\n".join(_show(drill)) + "\n"


def judgement_text(judgement: Judgement) -> str:
    """The verdict of a run: a line per check, the reasons, how to run it again."""
    lines = [f"{judgement.word}  {judgement.name}: {judgement.title}"]
    lines += [f"  {check_line(check)}" for check in judgement.checks]
    lines += [f"  because {reason}" for reason in judgement.reasons]
    lines += [f"  warning: {warning}" for warning in judgement.warnings]
    return "\n".join([*lines, f"  again: {judgement.again}"]) + "\n"


def wall_text(seconds: float) -> str:
    """Wall time: ``40s``, ``2min 5s``."""
    if seconds < 60:
        return f"{seconds:.0f}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}min {rest}s" if rest else f"{minutes}min"


def _show(drill: Drill) -> Iterator[str]:
    spec = drill.topology
    rtt_ns = base_rtt_ns(spec)
    yield f"{drill.name}: {drill.title}"
    yield f"paper: {drill.paper}"
    yield ""
    for paragraph in drill.about.split("\n\n"):
        yield textwrap.fill(" ".join(paragraph.split()), _WIDTH)
    yield ""
    yield (f"topology    {spec.name}: {spec.host_count} hosts, {spec.planes} planes; "
           f"1 rtt = {format_time_ns(rtt_ns)}")
    yield from _wrapped("workload", _workload(drill))
    yield (f"budget      {drill.budget_packets:,} packets; {wall_text(drill.takes_s)} on the "
           f"fabric, {wall_text(drill.takes_sim_s)} in the simulator")
    yield ""
    yield from _timeline(drill, rtt_ns)
    yield ""
    yield "windows"
    yield from (f"  {window.name:12} {window}" for window in drill.windows)
    yield ""
    yield "checks"
    for check in drill.checks:
        yield from _check(check)


def _wrapped(title: str, text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=f"{title:12}", subsequent_indent=" " * 12)


def _workload(drill: Drill) -> str:
    def plain(value: object) -> str:
        return ",".join(map(str, value)) if isinstance(value, list) else str(value)

    options = (f"{key} {plain(value)}" for key, value in drill.workload.items()
               if value is not False and key != "workload")
    return ", ".join([str(drill.workload["workload"]), *options])


def _timeline(drill: Drill, rtt_ns: int) -> Iterator[str]:
    yield "timeline"
    if not drill.script:
        yield "  nothing is done: this is about the undisturbed fabric"
    for step in drill.script:
        yield from textwrap.wrap(
            f"  {step.name:16} {_when(step, rtt_ns):28} {_what(step)}", _WIDTH,
            subsequent_indent=" " * 48)
    if left := left_in_force(drill.script):
        yield from textwrap.wrap(f"  {'(end)':16} {'':28} heal {', '.join(left)}", _WIDTH,
                                 subsequent_indent=" " * 48)


def _when(step: Step, rtt_ns: int) -> str:
    match step.moment:
        case At(at_ns):
            return "before the start" if at_ns < 0 else f"at {at_ns / rtt_ns:.1f} rtt"
        case After(name, delay_ns):
            return f"{delay_ns / rtt_ns:.1f} rtt after {name}"
        case When(who, unit, number, delay_ns):
            so = f"past {number} %" if unit == "share" else f"in {unit} {number}"
            return f"{who} {so}" + (f" + {delay_ns / rtt_ns:.1f} rtt" if delay_ns else "")


def _what(step: Step) -> str:
    begun = [fault_id(action) + (f" {100 * action.ratio:g} %" if hasattr(action, "ratio") else "")
             for action in step.injects]
    parts = [f"inject {', '.join(begun)}" if begun else "",
             f"heal {', '.join(step.heals)}" if step.heals else ""]
    return "; ".join(filter(None, parts))


def _check(check: Check) -> Iterator[str]:
    of = f" of {check.of.text}" if check.of else ""
    whose = "".join(f" {key} {text}" for key, text in check.where.items())
    gate = " (steady state)" if check.is_steady else ""
    yield from textwrap.wrap(
        f"  {check.name}{gate}: {check.measure}{whose} in {check.window} {check.expect.text}{of}"
        + (f"; paper: {check.paper}" if check.paper else ""), _WIDTH, subsequent_indent="    ")
