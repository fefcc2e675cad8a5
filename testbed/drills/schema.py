"""A drill file, read: from YAML to a frozen `Drill`, or to everything that is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from testbed.drills.checks import Setting, figure_fault, read_checks
from testbed.drills.drill import TRANSPORTS, Drill
from testbed.drills.moments import END, START, parse_name, parse_span_ns
from testbed.drills.moves import Place
from testbed.drills.raw import Section
from testbed.drills.timeline import Timeline, read_timeline
from testbed.drills.windows import read_windows
from testbed.errors import UsageError
from testbed.intent.collective import CollectiveRequest
from testbed.intent.options import require_none
from testbed.intent.tdf import parse_tdf
from testbed.intent.topology import load_topology
from testbed.intent.train import TrainRequest
from testbed.intent.tree import Tree, read_tree
from testbed.intent.workload import Request, from_document
from testbed.units import parse_time_ns
from topologies.graph import build_graph, build_refusal
from topologies.numbers import base_rtt_ns
from topologies.spec import ClosSpec

MAX_PACKETS = 10_000_000
DEFAULT_FIGURE = "goodput"
_RTTS = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?\s*rtts?")
_KEYS = ("drill", "title", "paper", "about", "topology", "workload", "tdf", "sample", "packets",
         "takes", "timeline", "windows", "checks", "figure", "transport")


@dataclass(frozen=True, slots=True)
class _Load:
    """What runs: the document, the request it makes, and when it ends, if it says so."""

    document: Mapping[str, Any]
    request: Request | None
    duration_ns: int | None


def read_drill(text: str, label: str, ask: str) -> Drill:
    """The drill in a YAML text; ``label`` names the file in faults, ``ask`` is how it was named.

    Raises UsageError that lists everything wrong at once.
    """
    faults: list[str] = []
    tree = read_tree(text, label, faults)
    drill = _Reader(Section(tree, "", faults), ask).read()
    require_none(sorted(faults, key=_line), f"drill {label}")
    assert drill is not None
    return drill


def _line(fault: str) -> int:
    found = re.match(r"[^\n]*?:([0-9]+): ", fault)
    return int(found[1]) if found else 0


class _Reader:
    """One pass over a file."""

    def __init__(self, section: Section, ask: str) -> None:
        self._section, self._ask = section, ask
        self._faults = section.faults

    def read(self) -> Drill | None:
        """The drill; None, or one not to be believed, where there are faults."""
        spec = self._topology()
        if spec is None:
            self._section.finish(_KEYS)
            return None
        rtt_ns = base_rtt_ns(spec)
        load = self._workload(spec, rtt_ns)
        place = Place(build_graph(spec), rtt_ns)
        had = len(self._faults)
        timeline = read_timeline(self._section.take("timeline"), place, load.duration_ns,
                                 self._faults, _counts(load.request))
        drill = self._drill(spec, rtt_ns, load, timeline, len(self._faults) == had)
        self._section.finish(_KEYS)
        return drill

    def _drill(self, spec: ClosSpec, rtt_ns: int, load: _Load, timeline: Timeline,
               is_sure: bool) -> Drill:
        section, had = self._section, len(self._faults)
        figure = section.text("figure", DEFAULT_FIGURE)
        if fault := figure_fault(figure):
            section.fault("figure", fault)
        windows = read_windows(section.take("windows"), rtt_ns, _moments(timeline, load),
                               self._faults, is_sure)
        is_sure = is_sure and len(self._faults) == had
        steps = tuple(step.name for step in timeline.script)
        checks = read_checks(
            section.require("checks", "[{measure: goodput, expect: '>= 94 %', of: nominal}]"),
            Setting(spec, rtt_ns, load.request, [window.name for window in windows], steps,
                    figure, is_sure), self._faults)
        if checks and not any(check.is_steady for check in checks):
            section.fault("checks", "none of them says what the steady state is: mark one with "
                                    "'steady: true'")
        takes_s, takes_sim_s = self._takes()
        return Drill(
            name=self._name(), ask=self._ask, title=self._line("title", "A T1 switch dies"),
            paper=self._line("paper", "Fig 11: no steady-state loss"),
            about=section.text("about").strip(), topology=spec, workload=load.document,
            script=timeline.script, groups=timeline.groups, windows=windows, checks=checks,
            figure=figure, budget_packets=self._packets(), takes_s=takes_s,
            takes_sim_s=takes_sim_s, duration_ns=load.duration_ns,
            sample_ns=getattr(load.request, "sample_ns", None), transport=self._transport())

    # --- single keys -----------------------------------------------------------------------

    def _name(self) -> str:
        self._section.require("drill", "t1-crash")
        return self._section.read("drill", parse_name, "unnamed")

    def _line(self, key: str, example: str) -> str:
        self._section.require(key, example)
        return " ".join(self._section.text(key).split())

    def _packets(self) -> int:
        self._section.require("packets", "60000")
        return self._section.read("packets", _parse_packets, 1)

    def _transport(self) -> str:
        name = self._section.text("transport", TRANSPORTS[0])
        if name not in TRANSPORTS:
            self._section.fault("transport", f"'{name}' cannot be run: use "
                                             f"{' or '.join(TRANSPORTS)}")
        return name

    def _takes(self) -> tuple[float, float]:
        """Wall time on the fabric and in the simulator, s."""
        tree = self._section.require("takes", "{fabric: 40s, sim: 5s}")
        if tree is None:
            return 0.0, 0.0
        section = Section(tree, "takes", self._faults)
        found = []
        for key in ("fabric", "sim"):
            section.require(key, "40s")
            found.append(section.read(key, parse_time_ns, 0) / 1e9)
        section.finish()
        return found[0], found[1]

    # --- where and what --------------------------------------------------------------------

    def _topology(self) -> ClosSpec | None:
        """A preset, or a preset with other values: ``{preset: rack4, port_rate: 100Gbps}``."""
        tree = self._section.require("topology", "octo")
        if tree is None:
            return None
        name, sets = tree.value, []
        if isinstance(tree.value, dict):
            section = Section(tree, "topology", self._faults)
            section.require("preset", "octo")
            name = section.text("preset")
            sets = [f"{key}={section.text(key)}" for key in section.keys if key != "preset"]
        if not isinstance(name, str) or not name:
            return None
        try:
            spec = load_topology(name, sets)
        except UsageError as error:
            self._section.fault("topology", str(error).replace("--set ", ""))
            return None
        if refusal := build_refusal(spec):
            self._section.fault("topology", refusal)
            return None
        return spec

    def _workload(self, spec: ClosSpec, rtt_ns: int) -> _Load:
        tree = self._section.require("workload", "{workload: write-bw, src: h0, dst: h4}")
        tdf = self._section.read("tdf", _parse_tdf, "auto")
        if tree is None or not isinstance(tree.value, dict):
            self._section.fault("workload", "write its keys, like {workload: write-bw, src: h0, "
                                            "dst: h4}")
            return _Load({}, None, None)
        section = Section(tree, "workload", self._faults)
        values = {key: _in_ns(section.take(key), rtt_ns) for key in section.keys}
        beside: dict[str, object] = {"tdf": tdf}
        if "sample" in self._section:
            beside["sample"] = _in_ns(self._section.take("sample"), rtt_ns)
        for key in values.keys() & beside.keys():
            section.fault(key, "this stands beside the workload of a drill, not in it")
        try:
            request = from_document({**values, **beside}, spec)
        except UsageError as error:
            self._section.fault("workload", str(error))
            return _Load({}, None, None)
        return _Load(request.to_document(), request, getattr(request, "duration_ns", None))


def _counts(request: Request | None) -> Mapping[str, int] | None:
    """How many of each unit of conditions a workload counts; None where nobody knows."""
    match request:
        case None:
            return None
        case CollectiveRequest():
            return {"iteration": len(request.sizes_bytes) * request.iters, "share": 101}
        case TrainRequest():
            return {"step": request.steps, "share": 101}
        case _:
            return {}


def _moments(timeline: Timeline, load: _Load) -> dict[str, int | None]:
    """Every moment that windows can speak of, with its time where it is known before."""
    steps = {step.name: timeline.known_ns.get(step.name) for step in timeline.script}
    return {**steps, START: 0, END: load.duration_ns}


def _in_ns(tree: Tree | None, rtt_ns: int) -> object:
    """The value of a key of a workload, times in base RTTs as ns."""
    if tree is None:
        return ""
    found = tree.plain()
    if isinstance(found, str):
        if _RTTS.fullmatch(found):
            return f"{parse_span_ns(found, rtt_ns)}ns"
        return {"true": True, "false": False}.get(found, found)
    return found


def _parse_packets(text: str) -> int:
    if text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MAX_PACKETS:
        return int(text)
    raise ValueError(f"'{text}' is not a number of packets: use 1 to {MAX_PACKETS}")


def _parse_tdf(text: str) -> str:
    parse_tdf(text)
    return text
