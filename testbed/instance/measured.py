"""A run together with everything that says whether to believe it (design.md section 7)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from testbed.analysis.fidelity import Evidence, Verdict, judge
from testbed.fabric.fabric import Fabric
from testbed.faults.chronicle import keep_nowhere
from testbed.faults.script import silenced_hosts
from testbed.instance.collecting import Collector
from testbed.instance.conductor import Conductor
from testbed.instance.fleetrun import FleetRun, OnProgress, Outcome, RunPlan
from testbed.instance.machine import CpuTimes, read_cpu_times
from testbed.instance.testbed import Testbed
from testbed.metrics.lateness import Lateness
from topologies.names import host_name
from topologies.numbers import T0_LOCAL_LINKS, base_rtt_ns, data_frame_bytes

_LAG_EVERY_S = 2.0
_FIRST_LAG_S = 0.2
# What a port may be behind its model without being slow: HTB's burst and two frames.
_LAG_ALLOWANCE_FRAMES = 5
# Before so much has passed a port, a frame more or less is more than any limit allows.
_LEAST_FRAMES = 200
_OVERFLOW = "socket overflow"  # the cause as the balance names it


@dataclass(frozen=True, slots=True)
class Measured:
    """A finished run, the evidence about it and the verdict on it.

    ``actions`` is what was done of its script (rows of the table `events`).
    """

    outcome: Outcome
    evidence: Evidence
    verdict: Verdict
    actions: Sequence[Mapping[str, Any]] = ()


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
        self.switch_lateness: dict[str, Lateness] = {}

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
        self._read_backlogs()
        if now_s >= self._next_lag_s:
            self._next_lag_s = now_s + _LAG_EVERY_S
            self._read_lags(_LEAST_FRAMES)

    def finish(self) -> None:
        """The run is over: what was never read on the way, in a short one, is read now."""
        if self._began is None or self._began == self._ended:
            self._ended = read_cpu_times()
            self._began = self._began or self._prepared
        if not self.drain_error:
            self._read_lags(least_frames=1)

    @property
    def idle_cores(self) -> float:
        """Processors' worth of idle time between the first and the last `see`."""
        if self._began is None or self._ended is None:
            return float(os.cpu_count() or 1)
        return self._ended.idle_cores_since(self._began)

    @property
    def stolen_cores(self) -> float:
        """Processors' worth of time a hypervisor took meanwhile."""
        if self._began is None or self._ended is None:
            return 0.0
        return self._ended.stolen_cores_since(self._began)

    def _read_backlogs(self) -> None:
        """How late switches are with what has reached them: so long it took to arrive.

        One frame may wait, it has come just now. Switches for which nothing waits are left
        out: an idle one is not late.
        """
        spec = self._fabric.graph.spec
        frame_bytes = data_frame_bytes(spec.payload_bytes)
        worst: dict[str, int] = {}
        for slot, unread_bytes in self._fabric.unread_bytes().items():
            if unread_bytes > 0:
                name = self._fabric.graph.port(slot).node
                worst[name] = max(worst.get(name, 0), unread_bytes - frame_bytes)
        for name, late_bytes in worst.items():
            late_ns = late_bytes * 8_000_000_000 // spec.port_rate_bps
            self.switch_lateness.setdefault(name, Lateness()).record(late_ns)

    def _read_lags(self, least_frames: int) -> None:
        """How far ports are behind their model, as a share of what passed them in this run.

        To read all ports takes so long that what each holds has changed before its model is
        read: who seems to lag is read again by itself. Ports that ``least_frames`` have not
        passed yet are left out.
        """
        fabric = self._fabric
        frame_bytes = data_frame_bytes(fabric.graph.spec.payload_bytes)
        allowance, least_bytes = _LAG_ALLOWANCE_FRAMES * frame_bytes, least_frames * frame_bytes
        traffic, counters = fabric.traffic(), fabric.counters()
        for slot, seen in counters.items():
            model_bytes = seen.control_queue_bytes + seen.data_queue_bytes
            lag_bytes = traffic[slot].waiting.bytes - model_bytes
            passed_bytes = seen.passed.bytes - self._passed_before[slot]
            if traffic[slot].is_shaped and passed_bytes >= least_bytes:
                name = fabric.graph.port(slot).interface
                if lag_bytes > allowance:
                    lag_bytes = fabric.lag_bytes(slot)
                error = max(0, lag_bytes - allowance) / passed_bytes
                self.drain_error[name] = max(self.drain_error.get(name, 0.0), error)


OnBegin = Callable[[FleetRun, Conductor], None]
"""Given the run, to stop it early, and what carries out its script."""


def measure(testbed: Testbed, plan: RunPlan, on_progress: OnProgress,
            on_begin: OnBegin = lambda _run, _conductor: None,
            collector: Collector | None = None) -> Measured:
    """Run a plan at its TDF, its script beside it, and judge it; every fault is healed then.

    What a ``collector`` is to see of it, it sees.
    Raises TestbedError where it cannot begin.
    """
    testbed.set_tdf(plan.tdf, plan.number, plan.transit_ns)
    testbed.conservation.note_baseline()
    monitor = Monitor(testbed.fabric)
    keep = keep_nowhere if collector is None else collector.keep_action
    conductor = Conductor(testbed.injector, plan.script, plan.tdf, keep)

    def see(answers: Mapping[str, Any]) -> None:
        conductor.see(answers)
        if not conductor.is_step_near:
            monitor.see(answers)
            if collector is not None:
                collector.see()
        on_progress(answers)

    def start(zero_ns: int) -> None:
        if collector is not None:
            collector.start(zero_ns)
        conductor.start(zero_ns)

    if collector is not None:
        collector.begin()
    run = FleetRun(testbed.hosts, plan, see, start)
    on_begin(run, conductor)
    try:
        conductor.before()
        outcome = run.run()
        monitor.finish()
    finally:
        conductor.finish()
        if collector is not None:
            collector.finish()
    outcome.failures += conductor.failures
    evidence = _evidence(testbed, plan, outcome, monitor, conductor.chronicle.late_ns())
    return Measured(outcome, evidence, judge(evidence), tuple(conductor.chronicle.rows))


def _evidence(testbed: Testbed, plan: RunPlan, outcome: Outcome, monitor: Monitor,
              late_events_ns: Mapping[str, int]) -> Evidence:
    spec = testbed.request.spec
    unexplained = testbed.conservation.unexplained()
    # A host that the script stopped is late by intent.
    silenced = {host_name(index) for index in silenced_hosts(plan.script)}
    lost: dict[str, int] = {}
    duration_ns = 0
    for name, result in outcome.results.items():
        nics = testbed.graph.host(name).nic_ports
        if name not in silenced:
            lost |= {nics[port["plane"]].interface: port["lost_ns"] for port in result["ports"]}
        duration_ns = max(duration_ns, result["ended_ns"])
    drops = {place: frames for place, frames in unexplained.items() if _OVERFLOW in place}
    is_cross = T0_LOCAL_LINKS not in plan.job.link_counts
    return Evidence(
        base_rtt_ns=base_rtt_ns(spec, is_cross),
        lateness={name: Lateness.from_dict(result["lateness"])
                  for name, result in outcome.results.items() if name not in silenced},
        lost_ns=lost,
        duration_ns=duration_ns,
        drain_error=monitor.drain_error,
        switch_lateness=monitor.switch_lateness,
        idle_cores=monitor.idle_cores,
        stolen_cores=monitor.stolen_cores,
        cores=os.cpu_count() or 1,
        unexplained={place: frames for place, frames in unexplained.items()
                     if place not in drops},
        kernel_drops={place.split(":")[0]: frames for place, frames in drops.items()},
        late_events_ns=late_events_ns,
        failures=tuple(outcome.failures),
        transit_drift_ns=_transit_drift_ns(testbed, plan, outcome),
    )


def _transit_drift_ns(testbed: Testbed, plan: RunPlan, outcome: Outcome) -> dict[str, float]:
    """How much longer frames take now than the run assumed (emulated), by links crossed.

    After failures it is not asked: the run is invalid, and who is silent would be waited for.
    """
    if plan.pace is None or outcome.failures:
        return {}
    now_ns = testbed.transit.measure(plan.pace, plan.job.link_counts)
    return {f"{links} links": (ns - plan.transit_ns[links]) / plan.tdf
            for links, ns in now_ns.items()}
