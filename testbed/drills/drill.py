"""A drill, resolved: everything it does and expects, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from testbed.drills.expect import Expectation
from testbed.drills.timeline import Group
from testbed.drills.windows import WindowSpec
from testbed.faults.script import Script
from topologies.spec import ClosSpec

MAX_LIBRARY_PACKETS = 150_000
TRANSPORTS = ("mrc",)
"""What a drill can be run with; a second one is to come."""

Source = Literal["window", "fixed"]


@dataclass(frozen=True, slots=True)
class Reference:
    """What a figure is compared with.

    ``window``: the measure, of what ``where`` says, in another window or of somebody else.
    ``fixed``: a ``value`` that the topology gives: the line rate, the delay of a path.
    """

    source: Source
    text: str
    measure: str = ""
    window: str = ""
    where: Mapping[str, str] = field(default_factory=dict)
    value: float = 0.0


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must be seen: a measure in a window, and what is expected of it.

    ``is_steady``: it is the gate, of the state before anything was done; where it does not
    hold nothing else means anything. ``paper`` is what the paper saw, ``look`` where to look
    when it fails: a figure's name, or words.
    """

    name: str
    measure: str
    unit: str
    window: str
    where: Mapping[str, str]
    expect: Expectation
    of: Reference | None = None
    is_steady: bool = False
    paper: str | None = None
    look: str = ""


@dataclass(frozen=True, slots=True)
class Drill:
    """A scripted experiment: where it happens, what runs, what is done to it, what must be seen.

    ``ask`` is how it is named on a command line: its name in the library, or a path.
    ``workload`` is a document for :func:`testbed.intent.workload.from_document`; it ends at
    ``duration_ns``, None where it ends by itself. ``budget_packets`` bounds what all hosts
    send together, ``takes_s`` and ``takes_sim_s`` are the wall time on the build machine, s.
    ``text`` is the file as it was read, ``other_seed`` what it is run with instead of its own.
    """

    name: str
    ask: str
    title: str
    paper: str
    about: str
    topology: ClosSpec
    workload: Mapping[str, Any]
    script: Script
    groups: tuple[Group, ...]
    windows: tuple[WindowSpec, ...]
    checks: tuple[Check, ...]
    figure: str
    budget_packets: int
    takes_s: float
    takes_sim_s: float
    duration_ns: int | None = None
    sample_ns: int | None = None
    transport: str = TRANSPORTS[0]
    text: str = ""
    other_seed: int | None = None

    def takes(self, is_simulated: bool) -> float:
        """Wall time here, s."""
        return self.takes_sim_s if is_simulated else self.takes_s
