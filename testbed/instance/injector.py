"""Make the fabric what the active faults say, and find the evidence that they bit."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from dataclasses import dataclass, field, replace
from typing import Any

from testbed.errors import TestbedError
from testbed.fabric.fabric import Fabric
from testbed.fabric.portmap import EvFault, EvFlow
from testbed.faults.actions import Action, HostKill, HostPause, fault_id
from testbed.faults.active import ActiveFaults, heal, inject
from testbed.faults.desired import (
    DesiredState,
    PortFault,
    StateChange,
    change,
    desired_state,
)
from testbed.faults.reach import reach
from testbed.faults.targets import EvTarget, HostTarget, Target
from testbed.instance.hosts import STATE_WORDS, Hosts, process_state
from testbed.metrics.ports import PortCounters, Tally
from topologies.names import host_name


@dataclass(slots=True)
class _Record:
    """An active fault: what its ports had counted when it began, and what it flushed."""

    action: Action
    before: dict[int, PortCounters]
    flushed: Tally = field(default_factory=Tally)
    timer: threading.Timer | None = None


class Injector:
    """The desired state of one instance and its way onto the fabric. Thread-safe."""

    def __init__(self, fabric: Fabric, hosts: Hosts) -> None:
        self._fabric, self._hosts = fabric, hosts
        self._active: ActiveFaults = ()
        self._records: dict[str, _Record] = {}
        self._lock = threading.RLock()
        self.state: DesiredState = desired_state(fabric.graph, ())
        self.flushed: dict[int, Tally] = {}
        # Switches that had a NIC link without carrier: frames for it died inside them,
        # uncounted, so what goes in and out of them cannot be balanced any more.
        self.unbalanced_switches: set[str] = set()
        self.dark_on_purpose: frozenset[int] = frozenset()  # slots whose carrier is ours to take
        self.failures: list[str] = []

    def inject(self, action: Action, for_s: float | None = None) -> dict[str, Any]:
        """Put a fault in force; with ``for_s`` (wall seconds) it heals by itself.

        Raises UsageError where the target does not exist or suffers it already. Where
        the fabric fails half-way, it is put back as it was and the error comes out.
        """
        with self._lock:
            active = inject(self._active, action)
            after = desired_state(self._fabric.graph, active)
            record = _Record(action, self._fabric.ports.read_all(self._ports_of(action)))
            self._apply(after, [record])
            self._active = active
            self._records[fault_id(action)] = record
            if for_s is not None:
                record.timer = threading.Timer(for_s, self._expire, [record])
                record.timer.daemon = True
                record.timer.start()
            return self.describe(action)

    def heal(self, target: Target | None) -> list[dict[str, Any]]:
        """Take back every fault on ``target`` (None: all), newest first; what each did.

        A host whose agent died by itself is healed too: it gets a new one.
        """
        with self._lock:
            if isinstance(target, HostTarget) and self._has_died(target):
                self._hosts.restart_agent(host_name(target.host))
                return [{"target": str(target), "kind": "death",
                         "evidence": "a new agent was started"}]
            staying, healed = heal(self._active, target)
            return self._retire(staying, healed)

    def _has_died(self, target: HostTarget) -> bool:
        """True where the host's agent is gone and no fault of ours took it."""
        agent = self._hosts.fleet.agents.get(host_name(target.host))
        is_ours = any(action.target == target for action in self._active)
        return agent is not None and not agent.is_alive and not is_ours

    def forget_unbalanced(self) -> None:
        """Frames are counted anew from now on: only links that are dark now spoil a balance."""
        with self._lock:
            graph = self._fabric.graph
            self.unbalanced_switches = {
                graph.port(slot).node for slot in self.state.carrier_down}

    def rewrite_ports(self) -> None:
        """Write every port as it is wanted now, after what all ports share has changed."""
        with self._lock:
            for slot in self._fabric.graph.slots:
                self._write_port(slot, self.state.port(slot))

    def active(self) -> list[dict[str, Any]]:
        """Every fault in force with its evidence so far."""
        with self._lock:
            return [self.describe(action) for action in self._active]

    def describe(self, action: Action) -> dict[str, Any]:
        """Target, kind, how it proves itself, and what it has done until now."""
        return {
            "target": str(action.target), "kind": action.kind,
            "evidence_rule": action.evidence, "undo": action.undo,
            "evidence": self._evidence(self._records[fault_id(action)]),
        }

    def _expire(self, record: _Record) -> None:
        """The time of a fault is over, unless it was healed by hand meanwhile."""
        with self._lock:
            if self._records.get(fault_id(record.action)) is not record:
                return
            staying = tuple(other for other in self._active if other != record.action)
            try:
                self._retire(staying, (record.action,))
            except TestbedError as error:
                self.failures.append(f"{fault_id(record.action)} did not heal by itself: {error}")

    def _retire(self, staying: ActiveFaults, healed: ActiveFaults) -> list[dict[str, Any]]:
        told = [self.describe(action) for action in healed]
        self._apply(desired_state(self._fabric.graph, staying), [])
        self._active = staying
        for action in healed:
            record = self._records.pop(fault_id(action))
            if record.timer:
                record.timer.cancel()
        return told

    # --- onto the fabric --------------------------------------------------------------

    def _apply(self, after: DesiredState, new: list[_Record]) -> None:
        before = self.state
        try:
            self._move(before, after, new)
        except Exception:
            with contextlib.suppress(TestbedError):
                self._move(after, before, [])
            self.dark_on_purpose = before.carrier_down
            raise
        self.state = after
        self.dark_on_purpose = after.carrier_down

    def _move(self, before: DesiredState, after: DesiredState, new: list[_Record]) -> None:
        step = change(before, after)
        # Before it happens: agents tell of it on threads of their own.
        self.dark_on_purpose = before.carrier_down | after.carrier_down
        returning = {slot for slot in step.ports
                     if before.port(slot).blackhole and not after.port(slot).blackhole}
        self._write_ports(step, [slot for slot in step.ports if slot not in returning])
        self._write_evs(step)
        if step.carrier_lost:
            graph = self._fabric.graph
            self.unbalanced_switches |= {graph.port(slot).node for slot in step.carrier_lost}
            self._fabric.take_down(step.carrier_lost)
            self._book_flushed(step.carrier_lost, new)
        self._fabric.bring_back(step.carrier_back)
        # A link that returns lets frames pass only when it is whole again.
        self._write_ports(step, sorted(returning))
        self._touch_agents(step, after)

    def _write_ports(self, step: StateChange, slots: list[int]) -> None:
        for slot in slots:
            self._write_port(slot, step.ports[slot])

    def _write_port(self, slot: int, fault: PortFault) -> None:
        self._fabric.ports.write(slot, replace(
            self._fabric.base_config(slot), blackhole=fault.blackhole,
            loss_ratio=fault.loss_ratio, corrupt_ratio=fault.corrupt_ratio))

    def _write_evs(self, step: StateChange) -> None:
        for key, ratio in step.ev.items():
            flow = EvFlow(key.slot, key.ev, key.src, key.dst)
            if ratio:
                self._fabric.ports.set_ev_fault(flow, EvFault(ratio, seed=key.slot))
            else:
                self._fabric.ports.clear_ev_fault(flow)

    def _book_flushed(self, slots: frozenset[int], new: list[_Record]) -> None:
        """Charge frames that waited on links that went down to the fault that took them."""
        flushed = self._fabric.flushed()
        for slot in slots:
            now = flushed.get(slot, Tally())
            for record in new:
                record.flushed += now - self.flushed.get(slot, Tally())
            self.flushed[slot] = now

    def _touch_agents(self, step: StateChange, after: DesiredState) -> None:
        for host in step.paused - after.killed:
            self._signal(host, signal.SIGSTOP, "T")
        for host in step.continued - step.restarted:
            self._signal(host, signal.SIGCONT, "SRD")
        for host in step.killed:
            self._signal(host, signal.SIGKILL, _ENDED)
        for host in step.restarted:
            self._hosts.restart_agent(host_name(host))

    def _signal(self, host: int, number: signal.Signals, until: str) -> None:
        """Signal a living agent and wait until its process is in one of these states."""
        name = host_name(host)
        if not self._hosts.fleet.agents[name].is_alive:
            return  # its pid may be somebody else's by now
        pid = self._hosts.agent_pid(name)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline_s = time.monotonic() + _SIGNAL_PATIENCE_S
        while process_state(pid) not in until + _ENDED:
            if time.monotonic() > deadline_s:
                raise TestbedError(f"the agent of {name} (pid {pid}) does not obey {number.name}; "
                                   "take the instance down and up again")
            time.sleep(0.002)

    # --- evidence ---------------------------------------------------------------------

    def _ports_of(self, action: Action) -> list[int]:
        return sorted(reach(self._fabric.graph, action.target).both_ends(self._fabric.graph))

    def _evidence(self, record: _Record) -> str:
        action = record.action
        if isinstance(action, HostPause | HostKill):
            pid = self._hosts.agent_pid(host_name(action.target.host))
            return f"agent process {pid} {STATE_WORDS.get(process_state(pid), 'runs')}"
        if isinstance(action.target, EvTarget):
            return self._ev_evidence(action.target)
        frames = self._counted(record, action.kind)
        said = [f"{frames} frames {_COUNTED[action.kind][1]}"]
        if record.flushed.frames:
            said.append(f"{record.flushed.frames} flushed from the queue")
        said += self._lost_carriers(action)
        return ", ".join(said)

    def _counted(self, record: _Record, kind: str) -> int:
        account = _COUNTED[kind][0]
        now = self._fabric.ports.read_all(record.before)
        return sum(getattr(now[slot].since(was), account).frames
                   for slot, was in record.before.items())

    def _lost_carriers(self, action: Action) -> list[str]:
        links = reach(self._fabric.graph, action.target).nic_links & self.state.carrier_down
        if action.kind not in ("down", "crash") or not links:
            return []
        states = self._fabric.wiring.states()
        nics = [self._fabric.graph.port(slot).peer for slot in sorted(links)]
        dark = [nic.interface for nic in nics if states[nic.slot] != "UP"]
        if len(dark) > _NAMED_PORTS:
            return [f"no carrier on {len(dark)} NIC ports"]
        return [f"no carrier on {', '.join(dark)}" if dark else "carrier still up"]

    def _ev_evidence(self, target: EvTarget) -> str:
        graph = self._fabric.graph
        (slot,) = reach(graph, target).ports
        flow = EvFlow(slot, target.ev, graph.hosts[target.src].address,
                      graph.hosts[target.dst].address)
        fault = self._fabric.ports.read_ev_fault(flow)
        if fault is None:
            raise TestbedError(f"{target}: its fault has vanished from the port program; "
                               "take the instance down and up again")
        return f"{fault.dropped_frames} of {fault.seen_frames} frames of this EV dropped"


_SIGNAL_PATIENCE_S = 5.0
_NAMED_PORTS = 4
_ENDED = "ZX"

# kind -> the account of the port program that proves it, and the word for it
_COUNTED = {
    "down": ("dropped_blackhole", "dropped"),
    "crash": ("dropped_blackhole", "dropped"),
    "blackhole": ("dropped_blackhole", "dropped"),
    "loss": ("dropped_loss", "lost"),
    "corrupt": ("corrupted", "corrupted"),
}
