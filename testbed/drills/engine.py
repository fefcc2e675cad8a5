"""Runs a drill and judges it: played on a stage, then read back from the folder it left.

The stage is the emulated fabric or the simulator; what comes after is the same for both:
the run is loaded from its folder, as anybody could later, its checks are judged, and verdict
and report are put beside the rest.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from testbed.analysis import load
from testbed.drills.drill import Drill
from testbed.drills.verdict import Judgement, judge
from testbed.errors import TestbedError
from testbed.instance.runfolder import add_to_closed
from testbed.intent.options import DEFAULT_SEED


class Stage(Protocol):
    """Where drills are played."""

    def play(self, drill: Drill) -> Path:
        """Play it and put everything back; the run's folder. Raises TestbedError."""


@dataclass(frozen=True, slots=True)
class Played:
    """A drill that was played: its folder, its verdict, and the wall clock it took.

    ``remark``: what of it could not be written into the folder, and why.
    """

    drill: Drill
    folder: Path
    judgement: Judgement
    wall_s: float
    remark: str = ""


def play(drill: Drill, stage: Stage) -> Played:
    """Play and judge one drill. Raises TestbedError where there is no run to judge."""
    began_s = time.monotonic()
    folder = stage.play(drill)
    judgement = judge(drill, load(folder))
    remark = ""
    try:
        _put_beside(drill, judgement, folder)
    except TestbedError as error:
        remark = str(error)  # the verdict is known all the same
    return Played(drill, folder, judgement, time.monotonic() - began_s, remark)


def _put_beside(drill: Drill, judgement: Judgement, folder: Path) -> None:
    """Leave the verdict in the run's folder: drill.json, drill.yaml, report.html."""
    from testbed.analysis.report import write_report  # with matplotlib: only where one is written

    add_to_closed(folder, "drill.json", json.dumps(judgement.to_document(), indent=2) + "\n")
    add_to_closed(folder, "drill.yaml", drill.text)
    write_report(folder)


def repeats(drill: Drill, first_seed: int | None, times: int) -> list[Drill]:
    """The drill so many times, with one seed after another from ``first_seed`` (None: its own)."""
    own = int(drill.workload.get("seed", DEFAULT_SEED))
    first = own if first_seed is None else first_seed
    return [drill if seed == own else _with_seed(drill, seed)
            for seed in range(first, first + times)]


def _with_seed(drill: Drill, seed: int) -> Drill:
    return replace(drill, workload={**drill.workload, "seed": seed}, other_seed=seed)
