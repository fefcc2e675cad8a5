"""Every frame sent is received or dropped by a declared cause: the balance of an instance.

Each place has a number that stays what it is as long as nothing is lost there unseen. What
has changed since `Conservation.note_baseline` is what nobody accounts for.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from testbed.fabric.fabric import Fabric
from testbed.fabric.shaping import PortTraffic
from testbed.instance.hosts import Hosts
from testbed.instance.injector import Injector
from testbed.metrics.ports import PortCounters, Tally
from topologies.graph import NicPort

_SETTLE_S = 0.05
_MOST_READINGS = 5
_PATIENCE_S = 2.0
# A send that fails because the link is down is no loss: the endpoint is told so.
_DOWN = frozenset({"ENETDOWN", "ENXIO", "ENODEV", "ENETUNREACH"})


class Conservation:
    """The balance of fabric and hosts since a baseline, in frames by place and cause.

    A frame can be lost unseen where a port program's books do not balance, a qdisc or
    link refuses it, a link flushes more than a fault booked, in Open vSwitch's receive
    sockets, in a switch between one port and the next, and in a host's sockets. Left out
    is what a NIC port that lost its carrier makes uncountable: the inside of its switch,
    and where nobody but the host saw it coming, the link itself.
    """

    def __init__(self, fabric: Fabric, injector: Injector, hosts: Hosts) -> None:
        self._fabric, self._injector, self._hosts = fabric, injector, hosts
        self._baseline: dict[str, int] = {}
        self._pids: dict[str, int] = {}  # of the agents whose counters the baseline has
        self._dark: set[int] = set()  # slots of links that lost their carrier by themselves

    def note_baseline(self) -> None:
        """Begin anew; call it while no frame is on its way."""
        self._dark = set()
        self._injector.forget_unbalanced()
        pids, told = self._hosts.agent_pids(), self._hosts.counters(_PATIENCE_S)
        # Who is silent now has no baseline: what it has counted in its life is not of today.
        self._pids = {name: pids[name] for name in told}
        self._baseline = self._read(told)

    def note_carrier_lost(self, nic: NicPort) -> None:
        """A NIC port says it has no carrier: an injected fault, or somebody at the link."""
        slots = {nic.slot, nic.peer.slot}
        self._injector.unbalanced_switches.add(nic.peer.node)
        if not slots & self._injector.dark_on_purpose:
            self._dark |= slots

    def unexplained(self) -> dict[str, int]:
        """Frames nobody accounts for, by place and cause; empty, or results are invalid.

        Frames on their way look lost for a moment, so it is read until two readings agree;
        where traffic goes on, what the last two agree on is reported.
        """
        readings = [self._changes()]
        while readings[-1] and len(readings) < _MOST_READINGS:
            time.sleep(_SETTLE_S)
            readings.append(self._changes())
            if readings[-1] == readings[-2]:
                break
        if not readings[-1]:
            return {}
        return {cause: frames for cause, frames in readings[-1].items()
                if readings[-2].get(cause) == frames}

    def _changes(self) -> dict[str, int]:
        now = self._read(self._hosts.counters(_PATIENCE_S))
        changes = {place: now[place] - self._baseline.get(place, 0) for place in now}
        return {place: frames for place, frames in changes.items() if frames}

    def _read(self, told: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
        fabric = self._fabric
        nics = self._nic_counters(told)
        traffic, counters = fabric.traffic(), fabric.counters()
        found = self._switches()
        for slot, seen in counters.items():
            if slot not in self._dark:
                found |= self._port(slot, seen, traffic[slot])
        for slot, own in nics.items():
            found |= self._nic(slot, own, traffic, counters)
        return found

    def _switches(self) -> dict[str, int]:
        drops, inside = self._fabric.receive_drops(), self._fabric.lost_inside()
        found = {f"{name}: receive sockets": frames for name, frames in drops.items()}
        return found | {f"{name}: forwarding": frames for name, frames in inside.items()
                        if name not in self._injector.unbalanced_switches}

    def _port(self, slot: int, seen: PortCounters, traffic: PortTraffic) -> dict[str, int]:
        name = self._fabric.graph.port(slot).interface
        waiting = seen.passed - traffic.sent - traffic.waiting
        booked = self._injector.flushed.get(slot, Tally())
        return {
            f"{name}: books": seen.unexplained.frames,
            f"{name}: clone refused": seen.dropped_redirect.frames,
            f"{name}: queue or link refused": traffic.refused_frames,
            f"{name}: flushed by no fault": (waiting - booked).frames,
        }

    def _nic(self, slot: int, own: Mapping[str, Any], traffic: Mapping[int, PortTraffic],
             counters: Mapping[int, PortCounters]) -> dict[str, int]:
        nic = self._fabric.graph.port(slot)
        found = {
            f"{nic.interface}: socket overflow": own["kernel_drops"],
            f"{nic.interface}: refused by the socket": sum(
                frames for name, frames in own["send_errors"].items() if name not in _DOWN),
            f"{nic.interface}: lost before the link": own["sent"] - counters[slot].offered.frames,
        }
        if slot not in self._dark:
            arrived = own["received"] + own["kernel_drops"]
            found[f"{nic.interface}: not received"] = traffic[nic.peer.slot].sent.frames - arrived
        return found

    def _nic_counters(
        self, told: Mapping[str, Mapping[str, Any]]
    ) -> dict[int, Mapping[str, Any]]:
        """What the agents have counted that answer and are those of the baseline, by slot."""
        found: dict[int, Mapping[str, Any]] = {}
        pids = self._hosts.agent_pids()
        for name, counted in told.items():
            if pids[name] != self._pids.get(name):
                continue
            nics = self._fabric.graph.host(name).nic_ports
            found |= {nics[port["plane"]].slot: port for port in counted["ports"]}
        return found
