"""Bring the hosts to life: an sshd in each namespace, an agent over each connection."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

from testbed.agent.config import AgentConfig, PortConfig
from testbed.fabric.commands import run
from testbed.fabric.wiring import management_address
from testbed.instance.layout import CHECKOUT, Layout
from testbed.remote.agent_client import agent_command
from testbed.remote.connect import SshTarget, in_parallel
from testbed.remote.fleet import Fleet
from testbed.remote.keys import make_keys
from testbed.remote.sshd import prepare_run_directory, sshd_argv, sshd_config
from topologies.graph import Graph, Host


class Hosts:
    """sshd and agent of every host. ``pids``: host name -> process in its namespaces."""

    def __init__(self, graph: Graph, tdf: int, layout: Layout,
                 on_death: Callable[[str, str], None]) -> None:
        self._graph, self._tdf, self._layout = graph, tdf, layout
        self._on_death = on_death
        self._sshds: dict[str, subprocess.Popen[bytes]] = {}
        self.hellos: dict[str, Any] = {}

    def start(self, pids: Mapping[str, int]) -> None:
        """Start every sshd, connect, start and configure every agent. Raises TestbedError."""
        self._pids = pids
        self._keys = make_keys(self._layout.root / "keys")
        self._fstab = prepare_run_directory(self._layout.root / "hosts", [self._layout.root])
        in_parallel(self._start_sshd, self._graph.hosts)
        self.fleet = Fleet(self._keys, agent_command(sys.executable, CHECKOUT), self._on_death)
        self.hellos = self.fleet.open({
            SshTarget(host.name, str(management_address(host.index))): self._config(host)
            for host in self._graph.hosts
        })

    def restart_agent(self, name: str) -> None:
        """Give a host whose agent was killed a new one."""
        host = self._graph.host(name)
        target = SshTarget(name, str(management_address(host.index)))
        self.hellos[name] = self.fleet.replace(target, self._config(host))

    def agent_pid(self, name: str) -> int:
        """Process id of a host's agent, as every namespace here sees it."""
        return int(self.hellos[name]["pid"])

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
                           self._graph.spec.link_delay_ns, self._tdf)


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


