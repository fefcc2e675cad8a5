"""The run under way, or the last one: how far it is, in figures for those who watch."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from testbed.errors import TestbedError
from testbed.instance.conductor import Conductor
from testbed.instance.fleetrun import FleetRun
from testbed.instance.order import Order


@dataclass(slots=True)
class ActiveRun:
    """Written by the thread that carries the run out, read by any.

    ``notes`` are sentences for people, in order.

    ``phase``: preparing, calibrating, running, finishing, done or failed. ``answers`` is
    what each host last said of itself; ``rates_bps`` what each had acknowledged per
    emulated second since it said so before.
    """

    number: int
    order: Order
    phase: str = "preparing"
    notes: list[str] = field(default_factory=list)
    tdf: int = 0
    running_since_s: float | None = None
    answers: Mapping[str, Any] = field(default_factory=dict)
    rates_bps: dict[str, float] = field(default_factory=dict)
    run: FleetRun | None = None
    conductor: Conductor | None = None
    is_stopping: bool = False
    result: dict[str, Any] | None = None
    error: TestbedError | None = None

    @property
    def is_over(self) -> bool:
        """It has a result or an error."""
        return self.phase in ("done", "failed")

    @property
    def unhealed(self) -> list[str]:
        """What went wrong with its script, and what could not be healed after it."""
        return [] if self.conductor is None else self.conductor.failures

    def stop(self) -> None:
        """End it as soon as it can be."""
        self.is_stopping = True
        if self.run is not None:
            self.run.stop()

    def on_begin(self, run: FleetRun, conductor: Conductor) -> None:
        """The agents are at it."""
        self.run, self.conductor = run, conductor
        if self.is_stopping:
            run.stop()

    def on_progress(self, answers: Mapping[str, Any]) -> None:
        """Hosts have said how far they are."""
        self.rates_bps |= _rates_bps(self.answers, answers)
        self.answers = {**self.answers, **answers}  # one that is silent is where it was
        if self.running_since_s is None and any(a["now_ns"] > 0 for a in answers.values()):
            self.phase, self.running_since_s = "running", time.monotonic()

    def describe(self) -> dict[str, Any]:
        """How far it is; times are emulated but for ``wall_s``."""
        answers, since_s = self.answers, self.running_since_s
        return {
            "number": self.number, "what": self.order.what, "phase": self.phase,
            "notes": list(self.notes), "tdf": self.tdf,
            "emulated_ns": max((a["now_ns"] for a in answers.values()), default=0),
            "bytes_done": sum(a.get("bytes_done", 0) for a in answers.values()),
            "share": self.order.share_done(answers),
            "turn": self._turn(),
            "resent": sum(a.get("resent", 0) for a in answers.values()),
            "wall_s": round(time.monotonic() - since_s, 2) if since_s else 0.0,
            "script": self.conductor.describe() if self.conductor else [],
        }

    def _turn(self) -> list[int] | None:
        """Where the rank is that is least far: what a collective says of itself."""
        turns = [(a["share"], a["turn"]) for a in self.answers.values() if a.get("turn")]
        return min(turns)[1] if turns else None

    def host_rows(self) -> list[dict[str, Any]]:
        """Per host: goodput of late, active EVs by plane, retransmissions, lateness."""
        return [
            {"host": name, "goodput_bps": self.rates_bps.get(name, 0.0),
             "active_evs": answer.get("active_evs", []), "resent": answer.get("resent", 0),
             "lateness_p99_ns": answer.get("lateness_p99_ns", 0)}
            for name, answer in self.answers.items()
        ]


def _rates_bps(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, float]:
    rates = {}
    for name, answer in now.items():
        earlier = before.get(name, {"now_ns": 0})
        passed_ns = answer["now_ns"] - max(0, earlier["now_ns"])
        done = answer.get("bytes_done", 0) - earlier.get("bytes_done", 0)
        if passed_ns > 0:
            rates[name] = done * 8e9 / passed_ns
    return rates
