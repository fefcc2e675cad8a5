"""Bring the hosts to life: an sshd in each namespace, an agent over each connection."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from testbed.agent.config import AgentConfig, PortConfig
from testbed.errors import TestbedError
from testbed.fabric.commands import run
from testbed.fabric.wiring import management_address
from testbed.instance.layout import CHECKOUT, Layout
from testbed.remote.agent_client import OnNotification, agent_command
from testbed.remote.connect import SshTarget, in_parallel
from testbed.remote.fleet import Fleet
from testbed.remote.keys import make_keys
from testbed.remote.sshd import prepare_run_directory, sshd_argv, sshd_config
from topologies.graph import Graph, Host


class Hosts:
    """sshd and agent of every host. ``pids``: host name -> process in its namespaces."""

    def __init__(self, graph: Graph, tdf: int, layout: Layout,
                 on_death: Callable[[str, str], None],
                 on_notification: OnNotification) -> None:
        self._graph, self._tdf, self._layout = graph, tdf, layout
        self._transit_ns: dict[int, int] = {}
        self._on_death, self._on_notification = on_death, on_notification
        self._sshds: dict[str, subprocess.Popen[bytes]] = {}
        self.hellos: dict[str, Any] = {}

    def start(self, pids: Mapping[str, int]) -> None:
        """Start every sshd, connect, start and configure every agent. Raises TestbedError."""
        self._pids = pids
        self._keys = make_keys(self._layout.root / "keys")
        self._fstab = prepare_run_directory(self._layout.root / "hosts", [self._layout.root])
        in_parallel(self._start_sshd, self._graph.hosts)
        self.fleet = Fleet(self._keys, agent_command(sys.executable, CHECKOUT), self._on_death,
                           self._on_notification)
        self.hellos = self.fleet.open({
            SshTarget(host.name, str(management_address(host.index))): self._config(host)
            for host in self._graph.hosts
        })

    def restart_agent(self, name: str) -> None:
        """Give a host whose agent was killed a new one."""
        host = self._graph.host(name)
        target = SshTarget(name, str(management_address(host.index)))
        self.hellos[name] = self.fleet.replace(target, self._config(host))
        self.fleet.agents[name].call("set_tdf", self._dilation())

    def agent_pid(self, name: str) -> int:
        """Process id of a host's agent, as every namespace here sees it."""
        return int(self.hellos[name]["pid"])

    def agent_pids(self) -> dict[str, int]:
        """Process ids of all agents, by host."""
        return {name: int(hello["pid"]) for name, hello in self.hellos.items()}

    def agent_state(self, name: str) -> str:
        """What became of a host's agent process, in words; "" while it runs."""
        return STATE_WORDS.get(process_state(self.agent_pid(name)), "")

    def alive(self) -> list[str]:
        """Hosts whose agent is not known to have ended."""
        return [name for name, agent in self.fleet.agents.items() if agent.is_alive]

    def ask(self, method: str, params: Mapping[str, Mapping[str, Any]],
            patience_s: float) -> tuple[dict[str, Any], dict[str, str]]:
        """One request to each of these hosts at once: what they answered, and why some did not."""
        asked, answers, silent = {}, {}, {}
        for name, given in params.items():
            try:
                asked[name] = self.fleet.agents[name].submit(method, given)
            except TestbedError as error:
                silent[name] = str(error)
        until_s = time.monotonic() + patience_s
        for name, future in asked.items():
            try:
                answers[name] = future.result(max(0.0, until_s - time.monotonic()))
            except TimeoutError:
                silent[name] = f"the agent of host {name} did not answer for {patience_s:g} s"
            except TestbedError as error:
                silent[name] = str(error)
        return answers, silent

    def counters(self, patience_s: float) -> dict[str, Any]:
        """Counters of the hosts whose agents answer in time."""
        return self.ask("counters", {name: {} for name in self.alive()}, patience_s)[0]

    def set_tdf(self, tdf: int, transit_ns: Mapping[int, int]) -> None:
        """Tell every agent the time dilation and transit times between runs.

        Raises TestbedError where one that lives does not answer.
        """
        self._tdf, self._transit_ns = tdf, dict(transit_ns)
        _, silent = self.ask("set_tdf", dict.fromkeys(self.alive(), self._dilation()), 10.0)
        if silent:
            raise TestbedError(f"{next(iter(silent.values()))}; heal it, or take the instance "
                               "down and up again")

    def _dilation(self) -> dict[str, Any]:
        """The parameters of `set_tdf`."""
        transit_ns = {str(links): ns for links, ns in self._transit_ns.items()}
        return {"tdf": self._tdf, "transit_ns": transit_ns}

    def dead_sshds(self) -> list[str]:
        """Hosts whose sshd has ended."""
        return [name for name, sshd in self._sshds.items() if sshd.poll() is not None]

    def _start_sshd(self, host: Host) -> None:
        enter = ["nsenter", "-t", str(self._pids[host.name]), "-m", "-n", "--"]
        run([*enter, "mount", "-a", "-T", str(self._fstab)], node=host.name)
        config = self._layout.root / "hosts" / f"{host.name}.conf"
        config.write_text(sshd_config(str(management_address(host.index)), self._keys))
        with self._layout.log.open("ab") as log:
            self._sshds[host.name] = subprocess.Popen(
                [*enter, *sshd_argv(config)], stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True)

    def _config(self, host: Host) -> AgentConfig:
        ports = tuple(
            PortConfig(port.plane, port.interface, _mac(port.mac), _mac(port.peer.mac), port.slot)
            for port in host.nic_ports
        )
        return AgentConfig(host.index, host.address.packed, ports,
                           self._graph.spec.link_delay_ns, self._tdf, spec=self._graph.spec)


STATE_WORDS = {"T": "is stopped", "Z": "has ended", "X": "has ended"}


def process_state(pid: int) -> str:
    """One letter as in proc(5): T stopped, Z ended and not reaped; X where it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


