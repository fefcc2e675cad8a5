"""A planned workload in the simulator, as the agents of the emulated hosts run it.

Every host has a device; those that take part make their ends, are told their peers' and
start at time 0. The run ends when every program is done; then what is still under way
drains, the buffers are compared, and the balance of frames is drawn.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from testbed.faults.actions import Action
from testbed.faults.script import Script
from testbed.forwarding.routes import host_routes
from testbed.sim.conservation import Conservation
from testbed.sim.network import Limits
from testbed.sim.recording import SimRecording
from testbed.sim.script import SimScript
from testbed.sim.simulation import Simulation
from testbed.transport.driven import Driven
from testbed.transport.mrc.device import open_device
from testbed.transport.mrc.endpoint import Event
from testbed.transport.mrc.verbs import Context
from topologies.graph import Graph, Host
from topologies.numbers import base_rtt_ns
from workloads.application import Application
from workloads.connections import HostSetup
from workloads.job import Job, make_program
from workloads.params import WorkloadError

# How far a run goes on after it was told to stop: beyond the default retry budget of
# 1.4 ms, so by then what was posted has completed or failed.
DRAIN_NS = 5_000_000
# A run without an end of its own in which nothing completes for so long, and nobody waits for a
# time of its own, is stuck: the host that should go on is paused, and only probes move.
STUCK_NS = 50_000_000
_LOOK_BASE_RTTS = 2  # between looks whether it is over


@dataclass(frozen=True, slots=True)
class JobResult:
    """A run that is over, at ``ended_ns``.

    ``is_complete``: every program came to its own end before ``until_ns``; not where a
    host was killed, or ranks took one for lost. ``results`` and ``verified`` are by host,
    without those that were killed; ``contexts`` are the devices, ``events`` what they noticed,
    ``actions`` what was done of the script (rows of the table `events`), ``tables`` the other
    rows by table where the run was recorded.
    """

    ended_ns: int
    is_complete: bool
    results: Mapping[int, dict[str, Any]]
    verified: Mapping[int, dict[str, Any]]
    conservation: Conservation
    contexts: Mapping[int, Context]
    events: Mapping[int, list[Event]]
    actions: Sequence[Mapping[str, Any]] = ()
    tables: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)

    def rows(self) -> list[dict[str, Any]]:
        """The rows of all sending channels of all hosts."""
        return [row for result in self.results.values() for row in result["channels"]]

    @property
    def checked_bytes(self) -> int:
        """Bytes of target buffers that were compared."""
        return sum(found["checked_bytes"] for found in self.verified.values())

    @property
    def wrong_bytes(self) -> int:
        """How many of these were not as written."""
        return sum(found["wrong_bytes"] for found in self.verified.values())


def run_job(
    graph: Graph, job: Job, seed: int, *, limits: Limits | None = None,
    faults: Sequence[tuple[int, Action]] = (), script: Script = (), until_ns: int | None = None,
    sample_ns: int | None = None,
) -> JobResult:  # fmt: skip
    """Run a job from 0 ns to its end; at ``until_ns`` nothing more is posted.

    ``seed`` makes the fabric's randomness and the devices'; the job has one of its own for
    contents. ``faults`` are injected at their times and stay; a ``script`` is done beside them,
    what it leaves in force healed after the end. Raises WorkloadError where the job
    does not fit this graph or its programs are wrong, UsageError for a fault that makes no
    sense here. Without ``until_ns`` a run in which nothing completes for 50 ms is stopped.
    With ``sample_ns`` it is recorded at that interval.
    """
    run = _Run(graph, job, seed, limits, sample_ns)
    for at_ns, action in faults:
        run.inject_at(at_ns, action)
    run.begin(script)
    is_complete = run.to_the_end(until_ns)
    run.drain()
    run.script.finish()
    return run.result(is_complete)


class _Run:
    """One job on one simulation."""

    def __init__(self, graph: Graph, job: Job, seed: int, limits: Limits | None,
                 sample_ns: int | None) -> None:
        _require_hosts(graph, job)
        self._graph, self._job, self._seed = graph, job, seed
        self._look_ns = _LOOK_BASE_RTTS * base_rtt_ns(graph.spec)
        self.contexts = {host.index: self._open(host.index, 0) for host in graph.hosts}
        self.applications = self._connect()
        self._events: dict[int, list[Event]] = {host.index: [] for host in graph.hosts}
        self._unborn = {host.index for host in graph.hosts}
        self._recording = (
            None if sample_ns is None else SimRecording(self.applications, sample_ns))
        for application in self.applications.values():
            application.start(0)
        self.sim = Simulation(
            graph, seed, endpoint_factory=self._drive, limits=limits,
            device_of=self.contexts.get)
        if self._recording is not None:
            self._recording.watch_ports(self.sim)

    def _open(self, host: int, now_ns: int) -> Context:
        spec = self._graph.spec
        rng = random.Random(f"host {host} {self._seed} {now_ns}")
        return open_device(spec, host, host_routes(spec, host), rng)

    def _connect(self) -> dict[int, Application]:
        path_mtu = self._graph.spec.payload_bytes
        setups = {
            host: HostSetup(
                self.contexts[host], plan.ends, path_mtu, self.contexts[host].endpoint.rng,
                plan.shared_bytes,
            )
            for host, plan in self._job.hosts.items()
        }
        told = self._job.swap({host: setup.describe() for host, setup in setups.items()})
        applications = {}
        for host, setup in setups.items():
            setup.connect(told[host], 0)
            program = make_program(self._job.hosts[host].program, setup.channels,
                                   is_time_free=True)
            applications[host] = Application(setup, program)
        return applications

    def _drive(self, host: Host, now_ns: int) -> Driven:
        """What runs on a host: its application, or a device nobody uses.

        A host that was killed comes back with a new device and nothing on it, as an agent
        does: its application is gone.
        """
        index = host.index
        if index in self._unborn:
            self._unborn.remove(index)
            application = self.applications.get(index)
            return application or self.contexts[index].endpoint
        self.contexts[index] = self._open(index, now_ns)
        return self.contexts[index].endpoint

    def inject_at(self, at_ns: int, action: Action) -> None:
        """Have a fault come into force."""
        self.sim.at(at_ns, lambda: self.sim.inject(action))

    def begin(self, script: Script) -> None:
        """Do what a script has at the beginning, and the rest as its moments come."""
        self.script = SimScript(self.sim, script, self._progress)
        self.script.begin()

    def _progress(self) -> list[dict[str, Any]]:
        programs = [application.program for application in self._running().values()]
        return [{"is_done": program.is_done, **program.progress()} for program in programs]

    # --- Running -----------------------------------------------------------------------

    def to_the_end(self, until_ns: int | None) -> bool:
        """Run until every program is done; True where none had to be stopped or is lost."""
        if self._run_while_busy(until_ns):
            return len(self._running()) == len(self.applications)
        now = self.sim.now
        for host, application in self._running().items():
            application.stop(now)
            self.sim.kick(host)
        self._run_while_busy(now + DRAIN_NS)
        return False

    def _run_while_busy(self, until_ns: int | None) -> bool:
        """True where all programs are done, False where the time is over or nothing moves."""
        messages, end_ns = -1, 0
        while any(not app.program.is_done for app in self._running().values()):
            now = self.sim.now
            if until_ns is not None:
                end_ns = until_ns
            elif (done := self._messages_done()) > messages:
                messages, end_ns = done, now + STUCK_NS
            if until_ns is None:
                end_ns = max(end_ns, self._busy_until_ns() + STUCK_NS)
            if now >= end_ns or self.sim.engine.next_event_ns() is None:
                return False
            self.sim.run_until(min(now + self._look_ns, end_ns))
            self._poll()
            self.script.look()
        return True

    def _busy_until_ns(self) -> int:
        """The latest of the times programs wait for by themselves: they compute, say."""
        times = (app.program.busy_until_ns() for app in self._running().values())
        return max((at_ns for at_ns in times if at_ns is not None), default=0)

    def _messages_done(self) -> int:
        programs = (application.program for application in self.applications.values())
        return sum(program.progress()["messages_done"] for program in programs)

    def _running(self) -> dict[int, Application]:
        """The applications whose host was never killed."""
        return {
            host: application
            for host, application in self.applications.items()
            if self.sim.hosts[host].endpoint is application
        }

    def _poll(self) -> None:
        """Take events, as an agent does: the controllers' queues are filled from these."""
        for host, context in self.contexts.items():
            application = self.applications.get(host)
            if application is not None and application.context is context:
                self._events[host] += application.poll_events()
            else:
                self._events[host] += context.poll_events()

    def drain(self) -> None:
        """Run until no frame is under way; probes of dead paths may never end, so not for ever."""
        end_ns = self.sim.now + DRAIN_NS
        while self.sim.now < end_ns and self.sim.conservation().in_flight:
            self.sim.run_until(self.sim.now + self._look_ns)
        self._poll()

    # --- Afterwards --------------------------------------------------------------------

    def result(self, is_complete: bool) -> JobResult:
        """Verify, and put it all together."""
        running = self._running()
        tables = {} if self._recording is None else self._recording.finish(running)
        results = {host: app.program.result() for host, app in running.items()}
        is_complete &= not any(found.get("loss") for found in results.values())
        told = self._job.swap({host: found["channels"] for host, found in results.items()})
        return JobResult(
            ended_ns=self.sim.now,
            is_complete=is_complete,
            results=results,
            verified={host: app.program.verify(told[host]) for host, app in running.items()},
            conservation=self.sim.conservation(),
            contexts=self.contexts,
            events=self._events,
            actions=self.script.chronicle.rows,
            tables=tables,
        )


def _require_hosts(graph: Graph, job: Job) -> None:
    for host in job.hosts:
        try:
            graph.spec.t0_of(host)
        except ValueError as error:
            raise WorkloadError(str(error)) from None
