"""A run together with everything that says whether to believe it (design.md section 7)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from testbed.analysis.fidelity import Evidence, Verdict, judge
from testbed.fabric.fabric import Fabric
from testbed.instance.fleetrun import FleetRun, OnProgress, Outcome, RunPlan
from testbed.instance.machine import CpuTimes, read_cpu_times
from testbed.instance.testbed import Testbed
from testbed.metrics.lateness import Lateness
from topologies.numbers import base_rtt_ns, data_frame_bytes

_LAG_EVERY_S = 2.0
_FIRST_LAG_S = 0.2
# What a port may be behind its model without being slow: HTB's burst and two frames.
_LAG_ALLOWANCE_FRAMES = 5
_OVERFLOW = "socket overflow"  # the cause as the balance names it


@dataclass(frozen=True, slots=True)
class Measured:
    """A finished run, the evidence about it and the verdict on it."""

    outcome: Outcome
    evidence: Evidence
    verdict: Verdict


class Monitor:
    """Watches machine and switch ports while a run is under way; `see` with every progress."""

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric
        self._prepared = read_cpu_times()
        self._began: CpuTimes | None = None
        self._ended: CpuTimes | None = None
        self._next_lag_s = 0.0
        self._passed_before = {
            slot: counters.passed.bytes for slot, counters in fabric.counters().items()}
        self.drain_error: dict[str, float] = {}

    def see(self, answers: Mapping[str, Any]) -> None:
        """Hosts reported: the first time after emulated time 0 the clock starts here."""
        now_s = time.monotonic()
        if not any(answer["now_ns"] > 0 for answer in answers.values()):
            return
        times = read_cpu_times()
        if self._began is None:
            self._began = times
            self._next_lag_s = now_s + _FIRST_LAG_S
        self._ended = times
        if now_s >= self._next_lag_s:
            self._next_lag_s = now_s + _LAG_EVERY_S
            self._read_lags()

    def finish(self) -> None:
        """The run is over: what was never read on the way, in a short one, is read now."""
        if self._began is None or self._began == self._ended:
            self._ended = read_cpu_times()
            self._began = self._began or self._prepared
        if not self.drain_error:
            self._read_lags()

    @property
    def idle_cores(self) -> float:
        """Processors' worth of idle time between the first and the last `see`."""
        if self._began is None or self._ended is None:
            return float(os.cpu_count() or 1)
        return self._ended.idle_cores_since(self._began)

    def _read_lags(self) -> None:
        """How far ports are behind their model, as a share of what passed them in this run.

        The port program knows what should be waiting by now, the qdisc what is.
        """
        fabric = self._fabric
        allowance = _LAG_ALLOWANCE_FRAMES * data_frame_bytes(fabric.graph.spec.payload_bytes)
        traffic, counters = fabric.traffic(), fabric.counters()
        for slot, seen in counters.items():
            model_bytes = seen.control_queue_bytes + seen.data_queue_bytes
            lag_bytes = traffic[slot].waiting.bytes - model_bytes - allowance
            passed_bytes = seen.passed.bytes - self._passed_before[slot]
            if traffic[slot].is_shaped and passed_bytes > 0:
                name = fabric.graph.port(slot).interface
                error = max(0, lag_bytes) / passed_bytes
                self.drain_error[name] = max(self.drain_error.get(name, 0.0), error)


def measure(testbed: Testbed, plan: RunPlan, on_progress: OnProgress,
            on_begin: Callable[[FleetRun], None] = lambda _run: None) -> Measured:
    """Run a plan at its TDF and judge it. ``on_begin`` is given the run, to stop it early.

    Raises TestbedError where it cannot begin.
    """
    testbed.set_tdf(plan.tdf, plan.number, plan.transit_ns)
    testbed.conservation.note_baseline()
    monitor = Monitor(testbed.fabric)

    def see(answers: Mapping[str, Any]) -> None:
        monitor.see(answers)
        on_progress(answers)

    run = FleetRun(testbed.hosts, plan, see)
    on_begin(run)
    outcome = run.run()
    monitor.finish()
    evidence = _evidence(testbed, plan, outcome, monitor)
    return Measured(outcome, evidence, judge(evidence))


def _evidence(testbed: Testbed, plan: RunPlan, outcome: Outcome, monitor: Monitor) -> Evidence:
    spec = testbed.request.spec
    unexplained = testbed.conservation.unexplained()
    lost: dict[str, int] = {}
    duration_ns = 0
    for name, result in outcome.results.items():
        nics = testbed.graph.host(name).nic_ports
        lost |= {nics[port["plane"]].interface: port["lost_ns"] for port in result["ports"]}
        duration_ns = max(duration_ns, result["ended_ns"])
    drops = {place: frames for place, frames in unexplained.items() if _OVERFLOW in place}
    is_cross = all(end.is_cross_t1 for host in plan.job.hosts.values() for end in host.ends)
    return Evidence(
        base_rtt_ns=base_rtt_ns(spec, is_cross),
        lateness={name: Lateness.from_dict(result["lateness"])
                  for name, result in outcome.results.items()},
        lost_ns=lost,
        duration_ns=duration_ns,
        drain_error=monitor.drain_error,
        idle_cores=monitor.idle_cores,
        cores=os.cpu_count() or 1,
        unexplained={place: frames for place, frames in unexplained.items()
                     if place not in drops},
        kernel_drops={place.split(":")[0]: frames for place, frames in drops.items()},
        late_events_ns={},
        failures=tuple(outcome.failures),
    )
