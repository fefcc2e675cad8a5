"""The two places where drills are played: an instance of the testbed, and the simulator."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from testbed.drills.drill import Drill
from testbed.errors import TestbedError
from testbed.instance.client import Control
from testbed.instance.runfolder import Owner
from testbed.instance.simulated import simulate
from testbed.intent.workload import from_document
from testbed.units import format_time_ns

_POLL_S = 0.2

Watch = Callable[[Drill, Mapping[str, Any]], None]
"""Told a few times a second how far the run of a drill is (`run_state` of the instance)."""
Tell = Callable[[str], None]
"""What somebody who has interrupted a drill needs to know, in sentences."""


class FabricStage:
    """An instance that is up, by its control connection."""

    def __init__(self, control: Control, out: Path, owner: Owner, watch: Watch,
                 tell: Tell) -> None:
        self._control, self._out, self._owner = control, out, owner
        self._watch, self._tell = watch, tell

    def play(self, drill: Drill) -> Path:
        """Run it; an interrupt ends it early, heals everything, and comes out again.

        What could not be healed then, and where the folder is, is told.
        """
        number = self._control.call("run_start", {
            "request": _request(drill), "folder": str(self._out.resolve()),
            "uid": self._owner.uid, "gid": self._owner.gid, "what": f"drill-{drill.name}",
            "script": [step.to_params() for step in drill.script]})
        try:
            return Path(self._follow(drill, number)["folder"])
        except KeyboardInterrupt:
            self._control.call("run_stop", {"number": number})
            for sentence in self._end(number):
                self._tell(sentence)
            raise

    def _follow(self, drill: Drill, number: int) -> dict[str, Any]:
        while True:
            state = self._control.call("run_state", {"number": number})
            self._watch(drill, state)
            if state["result"] is not None:
                return dict(state["result"])
            time.sleep(_POLL_S)

    def _end(self, number: int) -> list[str]:
        """Wait until a run that was told to stop is over and all is healed; what came of it."""
        try:
            while (result := self._control.call(
                    "run_state", {"number": number})["result"]) is None:
                time.sleep(_POLL_S)
        except TestbedError as error:
            return [str(error)]  # most often that there was nothing yet that has a result
        return [*map(str, result.get("failures", ())),
                f"what was recorded until then is in {result['folder']}"]


class SimStage:
    """The simulator, in this process."""

    def __init__(self, out: Path, owner: Owner) -> None:
        self._out, self._owner = out, owner

    def play(self, drill: Drill) -> Path:
        """Run it in virtual time."""
        result = simulate(
            from_document(_request(drill), drill.topology), drill.topology,
            f"drill-{drill.name}-sim", self._out, self._owner, script=drill.script)
        return Path(result["folder"])


def _request(drill: Drill) -> dict[str, Any]:
    """The workload as the instance and the simulator are asked for it."""
    sample_ns = drill.sample_ns
    sample = {} if sample_ns is None else {"sample": format_time_ns(sample_ns)}
    return {**drill.workload, **sample}
