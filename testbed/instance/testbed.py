"""A running testbed: its parts, how they are built, and what it answers to clients."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import asdict
from typing import Any

from testbed.errors import TestbedError, UsageError
from testbed.fabric.cgroup import Cgroup
from testbed.fabric.controller import Controller
from testbed.fabric.datapath import choose_datapath
from testbed.fabric.fabric import Fabric
from testbed.fabric.wiring import management_address
from testbed.faults.actions import make_action
from testbed.faults.impact import is_path_faulted
from testbed.faults.targets import parse_target
from testbed.forwarding.check import check_plan
from testbed.forwarding.paths import Path, path_of_ev, paths, self_paths
from testbed.forwarding.plan import build_plan
from testbed.instance.conservation import unexplained_frames
from testbed.instance.hosts import Hosts
from testbed.instance.injector import Injector
from testbed.instance.layout import Layout
from testbed.instance.prober import Answer, ProbeOptions, choose_paths, probe, total_paths
from testbed.instance.process import Progress
from testbed.instance.server import ControlServer
from testbed.intent.request import UpRequest
from testbed.units import parse_ratio, parse_size_bytes, parse_time_ns
from topologies.ev import format_ev, parse_ev
from topologies.graph import build_graph

READINESS = ProbeOptions(count=1, timeout_ms=2000)


class Testbed:
    """Everything an instance is made of. The constructor only stores; `build` builds."""

    __test__ = False  # the name begins like a pytest class

    def __init__(self, request: UpRequest, layout: Layout, progress: Progress) -> None:
        self.request, self._layout, self._progress = request, layout, progress
        self.graph = build_graph(request.spec)
        plan = build_plan(self.graph)
        if wrong := check_plan(self.graph, plan):
            raise TestbedError(f"the forwarding plan is wrong: {wrong[0]}; report this")
        layout.plan.write_text(json.dumps(plan.to_dict()))
        self.fabric = Fabric(self.graph, plan, layout.folder("fabric"), request.tdf,
                             choose_datapath(request.spec.dataplane))
        self._controller = Controller(layout.plan, layout.root / "controller.log",
                                      self._on_controller)
        self._hosts = Hosts(self.graph, request.tdf, layout, self._on_agent_death)
        self._controller_name = "none: the Linux plane holds static routes"
        self._problems: dict[str, str] = {}
        self._up_since = 0.0
        self.readiness: dict[str, Any] = {}

    # --- building ---------------------------------------------------------------------

    def build(self) -> None:
        """Stage by stage, agents beside switches; ready when the paths answer."""
        stage = self._progress.stage
        if self.fabric.is_ovs:
            self._controller.start()  # takes a while to import; needed only at the end
        with stage("hosts, switches and links"):
            self.fabric.start_switch_daemon()
            self.fabric.start_nodes()
        agents = _Background(lambda: self._hosts.start(self.fabric.pids))
        with stage("switch ports"):
            self.fabric.attach_ports()
        with stage("bridges" if self.fabric.is_ovs else "seg6local routes"):
            self.fabric.start_forwarding()
        if self.fabric.is_ovs:
            with stage("SRv6 rules by the controller"):
                self._connect_controller()
        with stage("agents over SSH"):
            agents.join()
        self.fabric.note_baseline()
        self.injector = Injector(self.fabric, self._hosts)
        with stage("readiness probes"):
            self.readiness = self._check_readiness()
        self._up_since = time.monotonic()
        ControlServer(self._layout.control_socket, self._handlers()).start()

    def _connect_controller(self) -> None:
        self._controller_name = self.fabric.connect(self._controller)

    def _check_readiness(self) -> dict[str, Any]:
        answers = probe(self.graph, self._hosts.fleet, choose_paths(self.request.spec), READINESS)
        summary = self._summarise(answers)
        if summary["paths_ok"] < summary["paths_checked"]:
            silent = [str(answer.path) for answer in answers if not answer.is_complete]
            raise TestbedError(
                f"{len(silent)} of {len(answers)} paths do not answer, the first is {silent[0]}; "
                "see the instance's log, and `testbed doctor`")
        return summary

    def _summarise(self, answers: list[Answer]) -> dict[str, Any]:
        return {
            "paths_total": total_paths(self.request.spec), "paths_checked": len(answers),
            "paths_ok": sum(answer.is_complete for answer in answers),
        }

    # --- what happens meanwhile -------------------------------------------------------

    def _on_controller(self, report: dict[str, Any]) -> None:
        match report:
            case {"event": "ended", "code": code}:
                self._problems["controller"] = (
                    f"the controller ended (code {code}); switches keep forwarding, "
                    "down and up brings it back")
            case {"event": "left", "name": name}:
                self._problems[f"switch {name}"] = f"switch {name} left the controller"
            case {"event": "switch", "name": name}:
                self._problems.pop(f"switch {name}", None)

    def _on_agent_death(self, host: str, reason: str) -> None:
        self._problems[f"agent {host}"] = f"the agent of {host} died: {reason}"

    def _current_problems(self) -> list[str]:
        alive = {f"agent {name}" for name, agent in self._hosts.fleet.agents.items()
                 if agent.is_alive}
        told = [text for key, text in self._problems.items() if key not in alive]
        told += [f"{part} ended; take the instance down and up again"
                 for part in self.fabric.dead_parts()]
        told += [f"sshd of {name} ended" for name in self._hosts.dead_sshds()]
        if lost := self.fabric.receive_drops():
            told.append(f"Open vSwitch lost {lost} frames in its receive sockets (overload): "
                        "use a larger --tdf")
        return told

    # --- what clients may ask ---------------------------------------------------------

    def _handlers(self) -> dict[str, Any]:
        return {
            "status": self.status, "summary": self.summary, "paths": self.paths,
            "probe": self.probe, "fail": self.fail, "heal": self.heal, "node": self.node,
            "nodes": self.nodes, "ports": self.ports, "self_probe": self.self_probe,
        }

    def summary(self) -> dict[str, Any]:
        """What `up` ends with."""
        spec = self.request.spec
        return {
            "name": self.request.name, "topology": spec.name, "dataplane": spec.dataplane,
            "dataplane_detail": self.fabric.describe_dataplane(),
            "controller": self._controller_name, "tdf": self.request.tdf,
            "tdf_is_assumed": self.request.tdf_is_assumed, "hosts": spec.host_count,
            "switches": spec.switch_count, "readiness": self.readiness,
            "stages_s": self._progress.stages,
        }

    def status(self) -> dict[str, Any]:
        """The whole picture, with a fresh probe over the paths (a sample on large ones)."""
        answers = probe(self.graph, self._hosts.fleet, choose_paths(self.request.spec),
                        ProbeOptions(count=1, timeout_ms=1000))
        links, agents = self._link_states(), self._agent_states()
        problems = self._current_problems()
        unexplained = unexplained_frames(self.fabric, self.injector)
        if unexplained:
            problems.append(f"{unexplained} frames are unaccounted for; runs would be invalid")
        cgroup = Cgroup(self.request.name)
        return {
            **self.summary(), **self._summarise(answers), "links": links, "agents": agents,
            "uptime_s": round(time.monotonic() - self._up_since, 1),
            "faults": self.injector.active(), "problems": problems,
            "unexplained_frames": unexplained,
            "resident_mb": round(cgroup.resident_bytes() / 1e6, 1),
            "cpu_s": round(cgroup.cpu_usage_us() / 1e6, 2),
            "pids": self.fabric.processes() | {"controller": self._controller.pid},
        }

    def paths(self, src: int, dst: int) -> list[dict[str, Any]]:
        """Every path with its state under the faults in force."""
        return [{**_describe(path), "state": self._path_state(path)}
                for path in self._paths_between(src, dst)]

    def probe(self, src: int, dst: int, ev: str | None = None, count: int = 3,
              timeout: str = "1s", size: str = "134B") -> list[dict[str, Any]]:
        """One row per path: sent, received, median RTT in emulated microseconds."""
        options = _read_options(count, timeout, size)
        if ev is None:
            wanted = self._paths_between(src, dst)
        else:
            wanted = [self._path_named(src, dst, ev)]
        answers = probe(self.graph, self._hosts.fleet, wanted, options)
        return [_row(answer) for answer in answers]

    def self_probe(self, host: int, count: int = 1) -> list[dict[str, Any]]:
        """Out and back over every self path of a host."""
        self._require_hosts(host)
        wanted = self_paths(self.request.spec, host)
        answers = probe(self.graph, self._hosts.fleet, wanted, ProbeOptions(count=count))
        return [_row(answer) for answer in answers]

    def fail(self, target: str, kind: str | None = None, ratio: str | None = None,
             duration: str | None = None) -> dict[str, Any]:
        """Inject one fault; times are wall clock."""
        share = None if ratio is None else _usage(parse_ratio, ratio)
        for_s = None if duration is None else _usage(parse_time_ns, duration) / 1e9
        return self.injector.inject(make_action(parse_target(target), kind, share), for_s)

    def heal(self, target: str | None = None) -> list[dict[str, Any]]:
        """Take back one target's faults, or all."""
        return self.injector.heal(None if target is None else parse_target(target))

    def node(self, name: str) -> dict[str, Any]:
        """Where a shell on this node has to go: a pid in its namespaces."""
        environment: dict[str, str] = {}
        pids = self._pids()
        if name not in pids:
            raise UsageError(f"'{name}' is not a node: use h0 to h{len(self.graph.hosts) - 1}, "
                             "a switch, or instance")
        if self.fabric.ovs and not name.startswith("h"):
            environment = {key: value for key, value in self.fabric.ovs.environment.items()
                           if key.startswith("OVS_")}
        return {"pid": pids[name], "environment": environment}

    def nodes(self) -> dict[str, Any]:
        """What the Mininet prompt needs to attach."""
        return {
            "spec": asdict(self.request.spec), "pids": self._pids(),
            "instance": self.node("instance"),
            "management": {host.name: str(management_address(host.index))
                           for host in self.graph.hosts},
        }

    def ports(self) -> list[dict[str, Any]]:
        """Counters of every port, by interface."""
        counters = self.fabric.counters()
        return [{"interface": self.graph.port(slot).interface, "node": self.graph.port(slot).node,
                 "slot": slot, **asdict(counters[slot])} for slot in self.graph.slots]

    # --- pieces of the answers --------------------------------------------------------

    def _pids(self) -> dict[str, int]:
        own = self.fabric.processes()["instance"]
        bridges = {switch.name: own for switch in self.graph.switches}
        return {"instance": own, **bridges, **self.fabric.pids}

    def _require_hosts(self, *hosts: int) -> None:
        for host in hosts:
            if not 0 <= host < len(self.graph.hosts):
                raise UsageError(f"host h{host} does not exist: {self.request.spec.name} has h0 "
                                 f"to h{len(self.graph.hosts) - 1}")

    def _paths_between(self, src: int, dst: int) -> list[Path]:
        self._require_hosts(src, dst)
        spec = self.request.spec
        return list(self_paths(spec, src) if src == dst else paths(spec, src, dst))

    def _path_named(self, src: int, dst: int, ev: str) -> Path:
        self._require_hosts(src, dst)
        return _usage(lambda text: path_of_ev(self.request.spec, src, dst, parse_ev(text)), ev)

    def _path_state(self, path: Path) -> str:
        is_dead = is_path_faulted(self.graph, self.injector.state, path)
        return "failed" if is_dead else "ok"

    def _link_states(self) -> list[dict[str, Any]]:
        states, desired = self.fabric.wiring.states(), self.injector.state
        found = []
        for link in self.graph.links:
            ends = (link.a.slot, link.b.slot)
            if any(states[slot] != "UP" for slot in ends):
                state = "no carrier"
            elif any(desired.port(slot).blackhole for slot in ends):
                state = "blackhole"
            elif any(desired.port(slot).loss_ratio or desired.port(slot).corrupt_ratio
                     for slot in ends):
                state = "impaired"
            else:
                state = "up"
            found.append({"name": link.name, "state": state})
        return found

    def _agent_states(self) -> list[dict[str, Any]]:
        return [{"host": name, "alive": agent.is_alive, "silent_s": round(agent.silent_s, 1),
                 "pid": self._hosts.agent_pid(name)}
                for name, agent in self._hosts.fleet.agents.items()]


class _Background:
    """One piece of the build beside the others; its error comes out of `join`."""

    def __init__(self, work: Any) -> None:
        self._error: BaseException | None = None
        self._work = work
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self._error = error

    def join(self) -> None:
        self._thread.join()
        if self._error:
            raise self._error


def _usage(parse: Any, text: str) -> Any:
    """Parse what a user typed; what is wrong with it is a usage error."""
    try:
        return parse(text)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _read_options(count: int, timeout: str, size: str) -> ProbeOptions:
    if not 1 <= count <= 10_000:
        raise UsageError(f"--count {count} is not allowed: use 1 to 10000")
    timeout_ms = _usage(parse_time_ns, timeout) // 1_000_000
    if not 1 <= timeout_ms <= 60_000:
        raise UsageError(f"--timeout {timeout} is not allowed: use 1ms to 60s")
    return ProbeOptions(count, timeout_ms, _usage(parse_size_bytes, size))


def _describe(path: Path) -> dict[str, Any]:
    return {"ev": format_ev(path.ev), "plane": path.plane, "t1": path.t1,
            "address": str(path.address)}


def _row(answer: Answer) -> dict[str, Any]:
    ordered = sorted(answer.rtt_ns)
    median = ordered[len(ordered) // 2] / 1000 if ordered else None
    return {**_describe(answer.path), "sent": answer.sent, "received": answer.received,
            "rtt_us": median}
