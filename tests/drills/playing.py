"""A drill of the library, played in the simulator and judged, as `drill run --sim` does it."""

from __future__ import annotations

import os
from pathlib import Path

from testbed.analysis import load
from testbed.drills import Judgement, judge, load_drill
from testbed.drills.stages import SimStage
from testbed.instance.runfolder import Owner


def judgement_of(name: str, folder: Path) -> Judgement:
    """Its verdict; the run's folder is made in ``folder``."""
    drill = load_drill(name)
    played = SimStage(folder, Owner(os.getuid(), os.getgid())).play(drill)
    return judge(drill, load(played))


def failed(judgement: Judgement) -> set[str]:
    """The names of the checks that do not hold."""
    return {check.name for check in judgement.checks if check.word == "FAIL"}
