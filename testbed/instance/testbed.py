"""A running testbed: its parts, how they are built, and how they are doing."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from testbed.errors import TestbedError
from testbed.fabric.controller import Controller
from testbed.fabric.datapath import choose_datapath
from testbed.fabric.fabric import Fabric
from testbed.forwarding.check import check_plan
from testbed.forwarding.paths import Path
from testbed.forwarding.plan import build_plan
from testbed.instance.conservation import Conservation
from testbed.instance.hosts import Hosts
from testbed.instance.injector import Injector
from testbed.instance.layout import Layout
from testbed.instance.prober import Answer, ProbeOptions, choose_paths, probe, total_paths
from testbed.instance.progress import Progress
from testbed.instance.transit import TransitMeter
from testbed.intent.request import UpRequest
from testbed.rpc import Notification
from topologies.graph import build_graph
from topologies.names import host_name

READINESS = ProbeOptions(count=1, timeout_ms=2000)


class Testbed:
    """Everything an instance is made of. The constructor only stores; `build` builds."""

    __test__ = False  # the name begins like a pytest class

    def __init__(self, request: UpRequest, layout: Layout, progress: Progress) -> None:
        self.request, self.layout, self.progress = request, layout, progress
        self.graph = build_graph(request.spec)
        self.controller = Controller(layout.plan, layout.root / "controller.log",
                                     self._on_controller)
        self.controller_name = "none: the Linux plane holds static routes"
        self.hosts = Hosts(self.graph, request.tdf, layout, self._on_agent_death,
                           self._on_agent_notification)
        self._problems: dict[str, str] = {}

    # --- building ---------------------------------------------------------------------

    def build(self) -> None:
        """Stage by stage, agents beside switches; done when the paths answer."""
        stage = self.progress.stage
        with stage("plan"):
            self.fabric = self._plan()
        if self.fabric.is_ovs:
            self.controller.start()  # takes a while to import; needed only at the end
        with stage("hosts, switches and links"):
            self.fabric.start_switch_daemon()
            self.fabric.start_nodes()
        agents = _Beside(lambda: self.hosts.start(self.fabric.pids))
        with stage("bridges" if self.fabric.is_ovs else "seg6local routes"):
            self.fabric.start_forwarding()
        with stage("switch ports"):
            self.fabric.attach_ports()
        if self.fabric.is_ovs:
            with stage("SRv6 rules by the controller"):
                self.controller_name = self.fabric.connect(self.controller)
        with stage("agents over SSH (the rest)"):
            agents.join()
        self.fabric.note_baseline()
        self.injector = Injector(self.fabric, self.hosts)
        self.transit = TransitMeter(self.request.spec, self.probe,
                                    lambda: not self.injector.in_force, lambda: self.tdf)
        self.conservation = Conservation(self.fabric, self.injector, self.hosts)
        with stage("readiness probes"):
            self.readiness = self._check_readiness()
            self.transit.know()
        self.conservation.note_baseline()
        self.up_since_s = time.monotonic()

    def _plan(self) -> Fabric:
        """Prove the forwarding plan and write it for the controller, before anything is made."""
        plan = build_plan(self.graph)
        if wrong := check_plan(self.graph, plan):
            raise TestbedError(f"the forwarding plan is wrong: {wrong[0]}; report this")
        self.layout.plan.write_text(json.dumps(plan.to_dict()))
        return Fabric(self.graph, plan, self.layout.folder("fabric"), self.request.tdf,
                      choose_datapath())

    def _check_readiness(self) -> dict[str, int]:
        answers = self.probe(choose_paths(self.request.spec), READINESS)
        silent = [str(answer.path) for answer in answers if not answer.is_complete]
        if silent:
            raise TestbedError(
                f"{len(silent)} of {len(answers)} paths do not answer, the first is {silent[0]}; "
                "run `testbed doctor`, then `up --debug`")
        return self.summarise(answers)

    # --- time dilation ----------------------------------------------------------------

    @property
    def tdf(self) -> int:
        """The time dilation factor in force."""
        return self.fabric.tdf

    def set_tdf(self, tdf: int, epoch: int, transit_ns: Mapping[int, int]) -> None:
        """Make ports and agents run at this TDF, and port programs begin a new sequence of
        random events (``epoch``). Call it while nothing is under way."""
        if tdf != self.fabric.tdf:
            self.fabric.set_tdf(tdf)
        self.fabric.epoch = epoch
        self.injector.rewrite_ports()
        self.hosts.set_tdf(tdf, transit_ns)

    # --- probing ----------------------------------------------------------------------

    def probe(self, wanted: Iterable[Path], options: ProbeOptions) -> list[Answer]:
        """Probe these paths through the agents; see `prober.probe`."""
        paused = self.injector.state.paused
        options = options.at(self.request.spec, self.tdf)
        return probe(self.graph, self.hosts.fleet, wanted, options, silent=paused)

    def summarise(self, answers: list[Answer]) -> dict[str, int]:
        """paths_total of the topology, paths_checked and paths_ok of these answers."""
        return {
            "paths_total": total_paths(self.request.spec), "paths_checked": len(answers),
            "paths_ok": sum(answer.is_complete for answer in answers),
        }

    # --- health -----------------------------------------------------------------------

    def problems(self) -> list[str]:
        """One sentence for everything that is not as it should be, injected faults apart."""
        fine = {f"agent {name}" for name, agent in self.hosts.fleet.agents.copy().items()
                if agent.is_alive}
        fine |= {f"agent {host_name(host)}" for host in self.injector.state.killed}
        told = [text for key, text in self._problems.copy().items() if key not in fine]
        told += self.injector.failures
        told += [f"{part} has ended; take the instance down and up again"
                 for part in self.fabric.dead_parts()]
        told += [f"port {name} has lost its queue and holds no rate; take the instance down and up"
                 for name in self.fabric.unshaped_ports()]
        told += [f"sshd of {name} has ended; its agent cannot be restarted"
                 for name in self.hosts.dead_sshds()]
        return told

    def _on_controller(self, report: dict[str, Any]) -> None:
        match report:
            case {"event": "ended", "code": code}:
                self._problems["controller"] = (
                    f"the controller has ended (code {code}); switches keep forwarding, "
                    "down and up brings it back")
            case {"event": "left", "name": name}:
                self._problems[f"switch {name}"] = f"switch {name} left the controller"
            case {"event": "switch", "name": name}:
                self._problems.pop(f"switch {name}", None)

    def _on_agent_notification(self, host: str, notification: Notification) -> None:
        match notification:
            case Notification("port", {"plane": int(plane), "carrier": False}):
                if hasattr(self, "conservation"):
                    nic = self.graph.host(host).nic_ports[plane]
                    self.conservation.note_carrier_lost(nic)

    def _on_agent_death(self, host: str, reason: str) -> None:
        self._problems[f"agent {host}"] = f"{reason}; `heal host:{host}` starts a new one"


class _Beside:
    """One piece of the build beside the others; its error comes out of `join`."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._error: BaseException | None = None
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
