"""Drills: scripted failures under load, with what must be seen, as YAML files.

    drill = load_drill("t1-crash")     a name of the library, or a path
    played = play(drill, stage)        on an instance or in the simulator (testbed.drills.stages)
    judgement = judge(drill, run)      PASS, FAIL or INCONCLUSIVE, with reasons
"""

from __future__ import annotations

from testbed.drills.catalogue import drill_names, load_drill
from testbed.drills.drill import Check, Drill
from testbed.drills.verdict import CheckResult, Judgement, judge

__all__ = ["Check", "CheckResult", "Drill", "Judgement", "drill_names", "judge", "load_drill"]
