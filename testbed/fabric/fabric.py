"""The emulated network of one instance, built in stages from a graph and a plan.

The order matters: namespaces are prepared before interfaces exist; ports get their
qdiscs after Open vSwitch has opened them, since it deletes a qdisc it finds then; so
do its receive sockets their buffers; and the controller is named last, when it
listens already.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

from testbed.errors import TestbedError
from testbed.fabric import shaping
from testbed.fabric.bpf import PortProgram
from testbed.fabric.controller import Controller
from testbed.fabric.linuxplane import LinuxPlane
from testbed.fabric.namespaces import mount
from testbed.fabric.nodes import LinuxNode, OvsNode, record_links, start_nodes
from testbed.fabric.ovs import Bridge, PrivateOvs
from testbed.fabric.packet_sockets import raise_packet_buffers, socket_backlogs, socket_drops
from testbed.fabric.portmap import PortConfig, PortMap
from testbed.fabric.wiring import Wiring
from testbed.forwarding.plan import Plan
from testbed.metrics.ports import PortCounters, Tally
from topologies.graph import End, Graph, NicPort, SwitchPort
from topologies.numbers import drain_rate_bps, fabric_thresholds, last_hop_thresholds

# Holds 600 data frames that arrive while Open vSwitch is busy elsewhere; the kernel
# charges each about twice its length.
PACKET_BUFFER_BYTES = 8 * 1024 * 1024


class Fabric:
    """Hosts, switches, links and ports. The constructor only stores."""

    def __init__(self, graph: Graph, plan: Plan, folder: Path, tdf: int,
                 datapath_type: str = "netdev") -> None:
        """``folder`` keeps what the daemons write; ``datapath_type`` is Open vSwitch's."""
        self.graph, self.plan, self.tdf = graph, plan, tdf
        self.epoch = 0  # the run whose random sequences the ports follow
        self._folder = folder
        self.is_ovs = graph.spec.dataplane == "ovs"
        self.ovs = PrivateOvs(folder / "ovs", datapath_type) if self.is_ovs else None
        self._program = PortProgram(slots=graph.slots.stop)
        self._packet_sockets: dict[int, int] = {}

    # --- building, in this order ------------------------------------------------------

    def start_switch_daemon(self) -> None:
        """The private Open vSwitch, where the data plane is one."""
        if self.ovs:
            self.ovs.start()

    def start_nodes(self) -> None:
        """Mininet starts hosts and switches; the wiring joins them."""
        self.net = start_nodes(self.graph, OvsNode if self.is_ovs else LinuxNode)
        housed = self.net.hosts if self.is_ovs else [*self.net.hosts, *self.net.switches]
        self.pids = {node.name: node.pid for node in housed}
        self.wiring = Wiring(self.graph, self.pids)
        forwarding = () if self.is_ovs else (switch.name for switch in self.graph.switches)
        self.wiring.prepare_namespaces(frozenset(forwarding))
        self.wiring.make_links()
        self.wiring.make_management()
        record_links(self.net, self.graph)

    def attach_ports(self) -> None:
        """Load the port program once, configure and attach it to every port; read back."""
        pins = self._folder / "bpf"
        pins.mkdir(exist_ok=True)
        mount("bpf", pins, "bpf")
        self._program.load()
        self._program.pin(pins)
        self.ports = PortMap(self._program)
        for slot in self.graph.slots:
            self.ports.write(slot, self.base_config(slot))
        self.wiring.netlink.run(self._attach_all)
        if bare := self.unshaped_ports():
            raise TestbedError(f"{bare[0]} has lost its queue, so it would hold no rate; "
                               "report this with `testbed doctor --json`")

    def unshaped_ports(self) -> list[str]:
        """Interfaces of switch ports without their qdisc: none, or no rate is held there."""
        traffic = self.traffic()
        return [port.interface for switch in self.graph.switches for port in switch.ports
                if not traffic[port.slot].is_shaped]

    def start_forwarding(self) -> None:
        """Bridges with their ports, or routes: everything but the controller's rules."""
        if self.ovs is None:
            self.linux = LinuxPlane(self.graph, self.plan, self.wiring.netlink)
            self.linux.install()
            return
        self.ovs.add_bridges([
            Bridge(switch.name, switch.dpid,
                   tuple((port.interface, port.number) for port in switch.ports))
            for switch in self.graph.switches
        ])
        if self.ovs.datapath_type == "netdev":
            pid = self.ovs.pids()["ovs-vswitchd"]
            self._packet_sockets = raise_packet_buffers(pid, PACKET_BUFFER_BYTES)

    def connect(self, controller: Controller) -> str:
        """Point every switch at the controller and wait until all hold the plan.

        Returns the controller's name and version.
        """
        assert self.ovs is not None
        said = controller.wait_for("listening", timeout_s=20.0)
        self.ovs.set_controllers([s.name for s in self.graph.switches], controller.target)
        controller.wait_for("ready", timeout_s=60.0)
        controller.stop_waiting()
        return next(f"{kind} {said[kind]}" for kind in ("ryu", "os_ken") if kind in said)

    # --- ports ------------------------------------------------------------------------

    def base_config(self, slot: int) -> PortConfig:
        """What a port does without any fault, at the present TDF."""
        port, spec = self.graph.port(slot), self.graph.spec
        if isinstance(port, NicPort):
            return PortConfig(seed=slot, epoch=self.epoch)
        limits = last_hop_thresholds(spec) if port.faces_host else fabric_thresholds(spec)
        return PortConfig(
            drain_rate_bps=drain_rate_bps(spec.port_rate_bps, self.tdf), thresholds=limits,
            faces_host=port.faces_host, seed=slot, epoch=self.epoch)

    def set_tdf(self, tdf: int) -> None:
        """Make every switch port drain as this TDF asks, in place; read back.

        The port program is told by who writes its configurations (`base_config`).
        """
        self.tdf = tdf
        self.wiring.netlink.run(self._rerate_all)

    def _rerate_all(self) -> None:
        for switch in self.graph.switches:
            ipr = self.wiring.netlink.socket(switch.name)
            for port in switch.ports:
                wanted_bps = self.base_config(port.slot).drain_rate_bps
                shaping.set_rate(ipr, port.slot, wanted_bps)
                if shaping.read_rate_bps(ipr, port.slot) != wanted_bps // 8 * 8:
                    raise TestbedError(f"port {port.interface} did not take its new rate; take "
                                       "the instance down and up again")

    def counters(self) -> dict[int, PortCounters]:
        """Counters of every port, by slot."""
        return self.ports.read_all(self.graph.slots)

    def traffic(self) -> dict[int, shaping.PortTraffic]:
        """What the kernel transmitted, holds and refused behind every port, by slot."""
        found: dict[int, shaping.PortTraffic] = {}
        for part in self.wiring.in_each_namespace(shaping.read_traffic):
            found.update(part)
        gone = [slot for slot in self.graph.slots if slot not in found]
        if gone:
            raise TestbedError(f"{self.graph.port(gone[0]).interface} has vanished; "
                               "take the instance down and up again")
        return {slot: found[slot] for slot in self.graph.slots}

    def lag_bytes(self, slot: int) -> int:
        """By how much a switch port is behind its model for certain, in bytes; below 0 if not.

        The port program knows what should be waiting by now, the qdisc what is. The two cannot
        be read at one instant: what the port may have sent between them is in its favour.
        """
        netlink, node = self.wiring.netlink, self.graph.port(slot).node
        began_ns = time.monotonic_ns()
        waiting = netlink.run(lambda: shaping.read_waiting(netlink.socket(node), slot))
        seen = self.ports.read(slot)
        took_ns = time.monotonic_ns() - began_ns
        return (waiting.bytes - seen.control_queue_bytes - seen.data_queue_bytes
                - self.base_config(slot).drain_rate_bps * took_ns // 8_000_000_000)

    def balance(self) -> dict[int, Tally]:
        """Passed by the program and neither transmitted nor waiting, by slot.

        Read while no frame is on its way this is what links going down have flushed,
        which no kernel counter has (plus what an interface said before it had its
        program, as a negative number: hence `note_baseline`).
        """
        traffic, counters = self.traffic(), self.counters()
        return {slot: shaping.flushed(counters[slot].passed, traffic[slot])
                for slot in self.graph.slots}

    def note_baseline(self) -> None:
        """Remember what was transmitted before the ports had their programs."""
        self._baseline, self._inside_before = self.balance(), self._inside()

    def flushed(self) -> dict[int, Tally]:
        """Frames flushed by links that went down, since `note_baseline`, where any."""
        now = self.balance()
        return {slot: now[slot] - self._baseline[slot] for slot in now
                if now[slot] != self._baseline[slot]}

    def receive_drops(self) -> dict[str, int]:
        """Frames lost in Open vSwitch's receive sockets, by switch; 0 or results are invalid."""
        found = {switch.name: 0 for switch in self.graph.switches}
        for slot, frames in socket_drops(self._receive_sockets()).items():
            found[self.graph.port(slot).node] += frames
        return found

    def unread_bytes(self) -> dict[int, int]:
        """About how many bytes wait in Open vSwitch's receive sockets, by slot; {} without.

        Frames that have crossed a link and that the switch has not come to look at yet.
        """
        return socket_backlogs(self._receive_sockets())

    def _receive_sockets(self) -> dict[int, int]:
        slots = self.graph.slots
        return {slot: fd for slot, fd in self._packet_sockets.items() if slot in slots}

    def lost_inside(self) -> dict[str, int]:
        """Frames that entered a switch and were offered to none of its ports, by switch.

        Since `note_baseline`, receive sockets apart. Read while no frame is on its way.
        """
        now, drops = self._inside(), self.receive_drops()
        return {name: now[name] - self._inside_before[name] - drops[name] for name in now}

    def _inside(self) -> dict[str, int]:
        traffic, counters = self.traffic(), self.counters()
        return {
            switch.name: sum(
                traffic[port.peer.slot].sent.frames - counters[port.slot].offered.frames
                for port in switch.ports)
            for switch in self.graph.switches
        }

    def _attach_all(self) -> None:
        for slot in self.graph.slots:
            self._attach(slot)

    def _attach(self, slot: int) -> None:
        port = self.graph.port(slot)
        ipr = self.wiring.netlink.socket(port.node)
        if isinstance(port, SwitchPort):
            rate = self.base_config(slot).drain_rate_bps
            shaping.attach(ipr, slot, rate, self._program.fd)
        else:
            shaping.attach_unshaped(ipr, slot, self._program.fd)

    # --- health -----------------------------------------------------------------------

    def dead_parts(self) -> list[str]:
        """Names of what ended without being asked to: daemons and node shells."""
        dead = list(self.ovs.dead()) if self.ovs else []
        for node in (*self.net.hosts, *self.net.switches):
            if node.shell is not None and node.shell.poll() is not None:
                dead.append(node.name)
        return dead

    def processes(self) -> dict[str, int]:
        """Pids by name, for status and for people who debug."""
        daemons = self.ovs.pids() if self.ovs else {}
        return {"instance": os.getpid(), **daemons}

    def describe_dataplane(self) -> str:
        """Which data plane was taken, in words."""
        if self.ovs is None:
            return "linux (seg6local)"
        where = "userspace" if self.ovs.datapath_type == "netdev" else "kernel"
        return f"ovs ({where} datapath, OpenFlow 1.3)"

    # --- links ------------------------------------------------------------------------

    def take_down(self, slots: Iterable[int]) -> None:
        """Take these ends of links down; returns when their peers have no carrier."""
        self.wiring.set_states([self._end(slot) for slot in slots], is_up=False)

    def bring_back(self, slots: Iterable[int]) -> None:
        """Bring these ends back up, with what their admin-down erased."""
        ends = [self._end(slot) for slot in slots]
        self.wiring.set_states(ends, is_up=True)
        if self.ovs is None:
            for end in ends:
                self.linux.reinstall_port(end.node, end.interface)

    def _end(self, slot: int) -> End:
        link = self.graph.link_at(slot)
        return link.a if link.a.slot == slot else link.b
