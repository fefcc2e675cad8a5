"""What a running testbed answers to its clients: one method per request."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, TypeVar

from testbed.agent.probewire import MIN_FRAME_BYTES
from testbed.agent.probing import MAX_FRAME_BYTES
from testbed.errors import UsageError
from testbed.fabric.cgroup import Cgroup
from testbed.fabric.wiring import management_address
from testbed.faults.actions import make_action
from testbed.faults.desired import HEALTHY, DesiredState
from testbed.faults.impact import is_path_faulted
from testbed.faults.script import Step
from testbed.faults.targets import parse_target
from testbed.forwarding.paths import Path, path_of_ev, paths, self_paths
from testbed.instance.prober import Answer, ProbeOptions, choose_paths
from testbed.instance.runfolder import Owner
from testbed.instance.runs import Runs
from testbed.instance.server import ControlServer
from testbed.instance.testbed import Testbed
from testbed.units import parse_ratio, parse_size_bytes, parse_time_ns
from topologies.ev import format_ev, parse_ev
from topologies.names import host_name
from topologies.numbers import PortThresholds

STATUS_PROBE = ProbeOptions(count=1, timeout_ms=1000)

_PATHS_PATIENCE_S = 5.0

_Result = TypeVar("_Result")


class Service:
    """Serves one testbed on its control socket."""

    def __init__(self, testbed: Testbed) -> None:
        self._testbed = testbed
        self._graph, self._spec = testbed.graph, testbed.request.spec
        self._runs = Runs(testbed)

    def start(self) -> None:
        """Answer clients from now on, in the background."""
        methods = (self.summary, self.status, self.paths, self.probe, self.survey, self.fail,
                   self.heal, self.node, self.nodes, self.ports, self.tune,
                   self.run_start, self.job_start, self.run_state, self.run_stop, self.set_tdf,
                   self.calibrate)
        handlers = {method.__name__: method for method in methods}
        ControlServer(self._testbed.layout.control_socket, handlers).start()

    # --- requests ---------------------------------------------------------------------

    def summary(self) -> dict[str, Any]:
        """What `up` ends with."""
        testbed, spec = self._testbed, self._spec
        return {
            "name": testbed.request.name, "topology": spec.name, "dataplane": spec.dataplane,
            "dataplane_detail": testbed.fabric.describe_dataplane(),
            "controller": testbed.controller_name, "tdf": testbed.tdf,
            "tdf_is_assumed": testbed.request.tdf_is_assumed, "hosts": spec.host_count,
            "switches": spec.switch_count, "readiness": testbed.readiness,
            "stages_s": testbed.progress.stages,
        }

    def status(self) -> dict[str, Any]:
        """The whole picture, with a fresh probe over the paths (a sample on large ones).

        While a run is under way nothing is added to its traffic: no probes, and what is on
        its way is not missed.
        """
        testbed, cgroup = self._testbed, Cgroup(self._testbed.request.name)
        is_busy = self._runs.is_busy
        answers = [] if is_busy else testbed.probe(choose_paths(self._spec), STATUS_PROBE)
        unexplained = {} if is_busy else testbed.conservation.unexplained()
        lost = [f"{frames} frames are unaccounted for at {place}: results would be invalid"
                for place, frames in unexplained.items()]
        return {
            **self.summary(), **testbed.summarise(answers), "links": self._links(),
            "run": self._runs.summary(),
            "agents": self._agents(), "uptime_s": round(time.monotonic() - testbed.up_since_s, 1),
            "faults": testbed.injector.active(), "problems": testbed.problems() + lost,
            "unexplained_frames": sum(map(abs, unexplained.values())),
            "unbalanced_switches": sorted(testbed.injector.unbalanced_switches),
            "resident_mb": round(cgroup.resident_bytes() / 1e6, 1),
            "cpu_s": round(cgroup.cpu_usage_us() / 1e6, 2),
            "pids": testbed.fabric.processes() | {"controller": testbed.controller.pid},
        }

    def paths(self, src: int, dst: int) -> list[dict[str, Any]]:
        """Every path with its state under the faults in force, and what MRC makes of it.

        ``evs`` holds, where a run has queue pairs from ``src`` to ``dst``, how many of them
        have the path's EV in which state, and their packets.
        """
        state, wanted = self._faults(), self._paths_between(src, dst)
        live = self._live_evs(src, dst) if self._runs.is_busy else {}
        return [
            {**_describe(path),
             "state": "failed" if is_path_faulted(self._graph, state, path) else "ok",
             "evs": live.get(path.ev)}
            for path in wanted
        ]

    def _live_evs(self, src: int, dst: int) -> dict[int, dict[str, Any]]:
        """By EV: how many queue pairs have it in which state, packets sent and lost."""
        name, peer = host_name(src), str(self._graph.hosts[dst].address)
        answers, _ = self._testbed.hosts.ask("paths", {name: {"peer": peer}}, _PATHS_PATIENCE_S)
        found: dict[int, dict[str, Any]] = {}
        for row in answers.get(name, {"rows": []})["rows"]:
            ev = found.setdefault(row["ev"], {"states": {}, "sent": 0, "marked": 0, "lost": 0})
            word = row["state"] if row["is_active"] else f"{row['state']}, spare"
            ev["states"][word] = ev["states"].get(word, 0) + 1
            for counter in ("sent", "marked", "lost"):
                ev[counter] += row[counter]
        return found

    def probe(self, src: int, dst: int, ev: str | None = None, count: int = 3,
              timeout: str = "1s", size: str | None = None, dscp: int | None = None,
              ecn: int | None = None) -> list[dict[str, Any]]:
        """One row per path: sent, received, marked with CE, RTT in emulated microseconds.

        The same host twice probes out and back over its self paths.
        """
        options = _read_options(count, timeout, size, dscp, ecn)
        if ev is None:
            wanted = self._paths_between(src, dst)
        else:
            wanted = [self._path_named(src, dst, ev)]
        return [_row(answer) for answer in self._testbed.probe(wanted, options)]

    def survey(self, count: int = 1, timeout: str = "1s") -> list[dict[str, Any]]:
        """Probe all pairs of hosts at once (a sample on large topologies): a row per path."""
        options = _read_options(count, timeout, None, None, None)
        answers = self._testbed.probe(choose_paths(self._spec), options)
        return [{"src": answer.path.src, "dst": answer.path.dst, **_row(answer)}
                for answer in answers]

    def fail(self, target: str, kind: str | None = None, ratio: str | None = None,
             duration: str | None = None) -> dict[str, Any]:
        """Inject one fault; ``duration`` is wall clock."""
        share = None if ratio is None else _typed(parse_ratio, ratio)
        for_s = None if duration is None else _typed(parse_time_ns, duration) / 1e9
        action = make_action(parse_target(target), kind, share)
        return self._testbed.injector.inject(action, for_s)

    def heal(self, target: str | None = None) -> list[dict[str, Any]]:
        """Take back the faults of one target, or all; what each has done."""
        return self._testbed.injector.heal(None if target is None else parse_target(target))

    def node(self, name: str) -> dict[str, Any]:
        """Where a shell on this node has to go: a pid in its namespaces, and environment."""
        pids = self._pids()
        if name not in pids:
            raise UsageError(f"'{name}' is not a node: use h0 to h{self._spec.host_count - 1}, "
                             "a switch, or instance")
        ovs = self._testbed.fabric.ovs
        inside = ovs.environment if ovs and not name.startswith("h") else {}
        return {"pid": pids[name],
                "environment": {key: value for key, value in inside.items()
                                if key.startswith("OVS_")}}

    def nodes(self) -> dict[str, Any]:
        """What the Mininet prompt needs to attach."""
        return {
            "spec": asdict(self._spec), "pids": self._pids(), "instance": self.node("instance"),
            "management": {host.name: str(management_address(host.index))
                           for host in self._graph.hosts},
        }

    def ports(self, account: str | None = None) -> dict[str, Any]:
        """Counters of every port by interface; of one account, frames only."""
        counters = self._testbed.fabric.counters()
        named = {self._graph.port(slot).interface: found for slot, found in counters.items()}
        if account is None:
            return {name: asdict(found) for name, found in named.items()}
        return {name: getattr(found, account).frames for name, found in named.items()}

    # --- runs -------------------------------------------------------------------------

    def run_start(self, request: dict[str, Any], folder: str, uid: int, gid: int,
                  script: Sequence[Any] = (), what: str | None = None) -> int:
        """Begin a run whose folder is made inside ``folder`` for this user; its number.

        ``script`` are the steps done meanwhile, as :class:`~testbed.faults.script.Step` writes
        them.
        """
        steps = tuple(Step.from_params(step) for step in script)
        return self._runs.start(request, folder, Owner(uid, gid), steps, what)

    def job_start(self, job: dict[str, Any], tdf: int, folder: str, uid: int, gid: int) -> int:
        """Begin a planned job at this time dilation; its number."""
        return self._runs.start_job(job, tdf, folder, Owner(uid, gid))

    def run_state(self, number: int) -> dict[str, Any]:
        """How far a run is, with its result when it is over."""
        return self._runs.state(number)

    def calibrate(self, senders: int) -> dict[str, Any]:
        """Measure the smallest trusted time dilation for one sender, or for all hosts."""
        return self._runs.calibrate(senders)

    def set_tdf(self, tdf: int) -> None:
        """Run the fabric at this time dilation until the next run chooses its own."""
        self._runs.set_tdf(tdf)

    def run_stop(self, number: int) -> None:
        """End a run early."""
        self._runs.stop(number)

    def tune(self, node: str, peer: str, thresholds: dict[str, int]) -> dict[str, int]:
        """Change queue thresholds (bytes) of the port of ``node`` towards ``peer``.

        Returns those in force. For tests and self-tests; a run never does this.
        """
        fabric = self._testbed.fabric
        slot = self._graph.port_towards(node, peer).slot
        if self._testbed.injector.state.port(slot) != HEALTHY:
            raise UsageError(f"the port from {node} to {peer} has a fault: heal it first")
        config = fabric.base_config(slot)
        limits = PortThresholds(**{**asdict(config.thresholds), **thresholds})
        fabric.ports.write(slot, replace(config, thresholds=limits))
        return asdict(fabric.ports.read_config(slot).thresholds)

    # --- pieces of the answers --------------------------------------------------------

    def _pids(self) -> dict[str, int]:
        own = self._testbed.fabric.processes()["instance"]
        bridges = {switch.name: own for switch in self._graph.switches}
        return {"instance": own, **bridges, **self._testbed.fabric.pids}

    def _require_hosts(self, *hosts: int) -> None:
        for host in hosts:
            if not 0 <= host < self._spec.host_count:
                raise UsageError(f"host h{host} does not exist: {self._spec.name} has h0 to "
                                 f"h{self._spec.host_count - 1}")

    def _paths_between(self, src: int, dst: int) -> list[Path]:
        self._require_hosts(src, dst)
        found = self_paths(self._spec, src) if src == dst else paths(self._spec, src, dst)
        return list(found)

    def _path_named(self, src: int, dst: int, ev: str) -> Path:
        self._require_hosts(src, dst)
        return _typed(lambda text: path_of_ev(self._spec, src, dst, parse_ev(text)), ev)

    def _links(self) -> list[dict[str, str]]:
        faults, states = self._faults(), self._testbed.fabric.wiring.states()
        return [{"name": link.name,
                 "state": _link_state((link.a.slot, link.b.slot), states, faults)}
                for link in self._graph.links]

    def _faults(self) -> DesiredState:
        """What is in force; a move that is being done is waited for, until it is noted."""
        with self._testbed.injector.held():
            return self._testbed.injector.state

    def _agents(self) -> list[dict[str, Any]]:
        hosts, found = self._testbed.hosts, []
        for host in self._graph.hosts:
            agent = hosts.fleet.agents[host.name]
            found.append({"host": host.name, "alive": agent.is_alive,
                          "silent_s": round(agent.silent_s, 1), "pid": hosts.agent_pid(host.name)})
        return found


def _link_state(slots: tuple[int, int], states: Mapping[int, str], desired: DesiredState) -> str:
    if any(states[slot] != "UP" for slot in slots):
        return "no carrier"
    faults = [desired.port(slot) for slot in slots]
    if any(fault.blackhole for fault in faults):
        return "blackhole"
    return "up" if all(fault == HEALTHY for fault in faults) else "impaired"


def _typed(parse: Callable[[str], _Result], text: str) -> _Result:
    """Parse what a user typed; what is wrong with it is a usage error."""
    try:
        return parse(text)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _read_options(count: int, timeout: str, size: str | None, dscp: int | None,
                  ecn: int | None) -> ProbeOptions:
    if not 1 <= count <= 10_000:
        raise UsageError(f"--count {count} is not allowed: use 1 to 10000")
    timeout_ms = _typed(parse_time_ns, timeout) // 1_000_000
    if not 1 <= timeout_ms <= 60_000:
        raise UsageError(f"--timeout {timeout} is not allowed: use 1ms to 60s")
    frame_bytes = None if size is None else _typed(parse_size_bytes, size)
    if frame_bytes is not None and not MIN_FRAME_BYTES <= frame_bytes <= MAX_FRAME_BYTES:
        raise UsageError(f"--size {size} is not allowed: use {MIN_FRAME_BYTES}B to "
                         f"{MAX_FRAME_BYTES}B")
    return ProbeOptions(count, timeout_ms, frame_bytes, dscp, ecn)


def _describe(path: Path) -> dict[str, Any]:
    return {"ev": format_ev(path.ev), "plane": path.plane, "t1": path.t1,
            "address": str(path.address)}


def _row(answer: Answer) -> dict[str, Any]:
    """One path's result; RTTs are emulated microseconds: median, least, most."""
    ordered: list[float | None] = [rtt_ns / 1000 for rtt_ns in sorted(answer.rtt_ns)] or [None]
    return {**_describe(answer.path), "sent": answer.sent, "received": answer.received,
            "marked": answer.marked, "rtt_us": ordered[len(ordered) // 2],
            "rtt_min_us": ordered[0], "rtt_max_us": ordered[-1]}
