"""Make the fabric what the active faults say, and find the evidence that they bit."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from testbed.errors import TestbedError
from testbed.fabric.fabric import Fabric
from testbed.fabric.portmap import EvFault, EvFlow
from testbed.faults import evidence
from testbed.faults.actions import (
    Action,
    EvDeny,
    EvLoss,
    HostKill,
    HostPause,
    PortDisable,
    fault_id,
)
from testbed.faults.active import ActiveFaults, heal, heal_named, move
from testbed.faults.desired import (
    DesiredState,
    EvFaultKey,
    PortFault,
    StateChange,
    change,
    controls_of,
    desired_state,
)
from testbed.faults.evidence import Proof
from testbed.faults.reach import reach
from testbed.faults.targets import EvTarget, HostTarget, Target
from testbed.instance.hosts import STATE_WORDS, Hosts, process_state
from testbed.metrics.ports import PortCounters, Tally
from testbed.transport.mrc.controls import NO_CONTROLS, Controls
from topologies.names import host_name


@dataclass(slots=True)
class _Record:
    """An active fault: what had been counted when it began, and what it flushed.

    ``dropped``, ``seen``: frames of its EV, where it is the loss of one. ``dark``: NIC ports
    that had no carrier when it had begun, None where it takes none.
    """

    action: Action
    before: dict[int, PortCounters]
    dropped: int = 0
    seen: int = 0
    flushed: Tally = field(default_factory=Tally)
    dark: list[str] | None = None
    timer: threading.Timer | None = None


class Injector:
    """The desired state of one instance and its way onto the fabric. Thread-safe."""

    def __init__(self, fabric: Fabric, hosts: Hosts) -> None:
        self._fabric, self._hosts = fabric, hosts
        self._active: ActiveFaults = ()
        self._records: dict[str, _Record] = {}
        self._told: dict[int, Controls] = {}  # what each host's agent was told last
        self._lock = threading.RLock()
        self.state: DesiredState = desired_state(fabric.graph, ())
        self.flushed: dict[int, Tally] = {}
        # Switches that had a NIC link without carrier: frames for it died inside them,
        # uncounted, so what goes in and out of them cannot be balanced any more.
        self.unbalanced_switches: set[str] = set()
        self.dark_on_purpose: frozenset[int] = frozenset()  # slots whose carrier is ours to take
        self.failures: list[str] = []
        self.moved_at_ns = 0  # CLOCK_MONOTONIC when the last move had its effect
        # Told, while it is held, of what was not moved by its caller: inject or heal, the fault.
        self.on_by_hand: Callable[[str, Mapping[str, Any]], None] | None = None

    def held(self) -> AbstractContextManager[object]:
        """Until it is left nobody else sees what is in force, or changes it.

        Its holder may move faults, and write down what he did before it can be seen.
        """
        return self._lock

    def inject(self, action: Action, for_s: float | None = None) -> dict[str, Any]:
        """Put a fault in force; with ``for_s`` (wall seconds) it heals by itself.

        Raises UsageError where the target does not exist or suffers it already. Where
        the fabric fails half-way, it is put back as it was and the error comes out.
        """
        with self._lock:
            self.move((action,), ())
            if for_s is not None:
                record = self._records[fault_id(action)]
                record.timer = threading.Timer(for_s, self._expire, [record])
                record.timer.daemon = True
                record.timer.start()
            found = self.describe(action)
            self._tell_by_hand("inject", [found])
            return found

    def move(self, injects: Sequence[Action], heals: Iterable[str]) -> list[dict[str, Any]]:
        """Heal the faults of these ids and inject others, all in one application.

        Returns what each healed one has done, newest first. Raises UsageError, with nothing
        changed, where an id is not active or a fault cannot be injected; where the fabric
        fails half-way, it is put back as it was and the error comes out.

        What takes long and can be done afterwards is: ``moved_at_ns`` is when it had its effect.
        """
        with self._lock:
            active, healed = move(self._active, injects, heals)
            after = desired_state(self._fabric.graph, active)
            fleeting = {fault_id(action): self._proof(self._records[fault_id(action)])
                        for action in healed if not evidence.is_counted(action)}
            new = [self._record(action) for action in injects]
            self._apply(after, new)
            self._active = active
            for record in new:
                record.dark = self._dark_nics(record.action)
            told = [self._told_of(action, fleeting.get(fault_id(action))) for action in healed]
            for action in healed:
                record = self._records.pop(fault_id(action))
                if record.timer:
                    record.timer.cancel()
            self._records |= {fault_id(record.action): record for record in new}
            return told

    def heal(self, target: Target | None) -> list[dict[str, Any]]:
        """Take back every fault on ``target`` (None: all), newest first; what each did.

        A host whose agent died by itself is healed too: it gets a new one.
        """
        with self._lock:
            if isinstance(target, HostTarget) and self._has_died(target):
                found = self._replace_agent(target)
            else:
                _, healed = heal(self._active, target)
                found = self.move((), [fault_id(action) for action in healed])
            self._tell_by_hand("heal", found)
            return found

    def _replace_agent(self, target: HostTarget) -> list[dict[str, Any]]:
        self._restart(target.host)
        self._tell_controllers(self.state)
        return [{"target": str(target), "kind": "death", "has_bitten": True,
                 "evidence": "a new agent was started"}]

    def _tell_by_hand(self, what: str, found: Iterable[Mapping[str, Any]]) -> None:
        if self.on_by_hand is not None:
            for fault in found:
                self.on_by_hand(what, fault)

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

    @property
    def in_force(self) -> tuple[str, ...]:
        """Ids of the faults in force, newest last."""
        with self._lock:
            return tuple(fault_id(action) for action in self._active)

    def described(self, names: Iterable[str]) -> list[dict[str, Any]]:
        """The faults of these ids with their evidence so far, newest first.

        Raises UsageError where one of them is not in force.
        """
        with self._lock:
            _, named = heal_named(self._active, names)
            return [self.describe(action) for action in named]

    def describe(self, action: Action) -> dict[str, Any]:
        """Target, kind, how it proves itself, and what it has done until now."""
        return self._told_of(action, self._proof(self._records[fault_id(action)]))

    def _told_of(self, action: Action, proof: Proof | None) -> dict[str, Any]:
        """A fault with its proof; without one, what ports have counted is one also afterwards."""
        if proof is None:
            record = self._records[fault_id(action)]
            proof = self._counted(record, record.dark)
        return {
            "target": str(action.target), "kind": action.kind,
            "evidence_rule": action.evidence, "undo": action.undo,
            "evidence": proof.said, "has_bitten": proof.has_bitten,
        }

    def _expire(self, record: _Record) -> None:
        """The time of a fault is over, unless it was healed by hand meanwhile."""
        with self._lock:
            if self._records.get(fault_id(record.action)) is not record:
                return
            try:
                self._tell_by_hand("heal", self.move((), [fault_id(record.action)]))
            except Exception as error:
                self.failures.append(
                    f"{fault_id(record.action)} did not heal by itself: {_why(error)}")

    # --- onto the fabric --------------------------------------------------------------

    def _apply(self, after: DesiredState, new: list[_Record]) -> None:
        before = self.state
        try:
            self._move(before, after, new)
        except Exception:
            self._put_back(after, before)
            raise
        self.state = after
        self.dark_on_purpose = after.carrier_down

    def _move(self, before: DesiredState, after: DesiredState, new: list[_Record]) -> None:
        step = change(before, after)
        # Before it happens: agents tell of it on threads of their own.
        self.dark_on_purpose = before.carrier_down | after.carrier_down
        for work in self._works(before, after, step):
            work()
        self.moved_at_ns = time.monotonic_ns()
        self._book_flushed(step.carrier_lost, new)

    def _put_back(self, after: DesiredState, before: DesiredState) -> None:
        """Make it ``before`` again, as far as that can be done; what cannot is told."""
        step = change(after, before)
        works: list[Callable[[], None]] = [
            *self._works(after, before, step),
            partial(self._book_flushed, step.carrier_lost, [])]
        for work in works:
            try:
                work()
            except Exception as error:
                self.failures.append("faults could not be moved, and not all could be put back "
                                     f"as it was: {_why(error)}")
        self.dark_on_purpose = before.carrier_down

    def _works(self, before: DesiredState, after: DesiredState,
               step: StateChange) -> Iterator[Callable[[], None]]:
        """What leads from one state to the other, in order; each is of use without the others."""
        returning = {slot for slot in step.ports
                     if before.port(slot).blackhole and not after.port(slot).blackhole}
        for slot in step.ports:
            if slot not in returning:
                yield partial(self._write_port, slot, step.ports[slot])
        for key, ratio in step.ev.items():
            yield partial(self._write_ev, key, ratio)
        if step.carrier_lost:
            yield partial(self._take_down, step.carrier_lost)
        yield partial(self._fabric.bring_back, step.carrier_back)
        # A link that returns lets frames pass only when it is whole again.
        for slot in sorted(returning):
            yield partial(self._write_port, slot, step.ports[slot])
        yield from self._touches(step, after)
        yield partial(self._tell_controllers, after)

    def _write_port(self, slot: int, fault: PortFault) -> None:
        self._fabric.ports.write(slot, replace(
            self._fabric.base_config(slot), blackhole=fault.blackhole,
            loss_ratio=fault.loss_ratio, corrupt_ratio=fault.corrupt_ratio))

    def _write_ev(self, key: EvFaultKey, ratio: float) -> None:
        flow = EvFlow(key.slot, key.ev, key.src, key.dst)
        if ratio:
            self._fabric.ports.set_ev_fault(flow, EvFault(ratio, seed=key.slot))
        else:
            self._fabric.ports.clear_ev_fault(flow)

    def _take_down(self, slots: frozenset[int]) -> None:
        graph = self._fabric.graph
        self.unbalanced_switches |= {graph.port(slot).node for slot in slots}
        self._fabric.take_down(slots)

    def _book_flushed(self, slots: frozenset[int], new: list[_Record]) -> None:
        """Charge frames that waited on links that went down to the fault that took them."""
        if not slots:
            return
        flushed = self._fabric.flushed()
        for slot in slots:
            now = flushed.get(slot, Tally())
            for record in new:
                if slot in record.before and evidence.takes_carrier(record.action):
                    record.flushed += now - self.flushed.get(slot, Tally())
            self.flushed[slot] = now

    def _touches(self, step: StateChange, after: DesiredState) -> Iterator[Callable[[], None]]:
        """The part of it that stops, ends and starts agents."""
        for host in step.paused - after.killed:
            yield partial(self._signal, host, signal.SIGSTOP, "T")
        for host in step.continued - step.restarted:
            yield partial(self._signal, host, signal.SIGCONT, "SRD")
        for host in step.killed:
            yield partial(self._signal, host, signal.SIGKILL, _ENDED)
        for host in step.restarted:
            yield partial(self._restart, host)

    def _restart(self, host: int) -> None:
        self._hosts.restart_agent(host_name(host))
        self._told.pop(host, None)  # the new one knows nothing

    def _tell_controllers(self, after: DesiredState) -> None:
        """Tell agents what their controllers have set, where they do not know it yet.

        A stopped agent hears of it when it continues, a dead one when there is another.
        """
        news = {}
        for host in sorted((after.controlled | self._told.keys()) - after.paused - after.killed):
            wanted = controls_of(self._fabric.graph, after, host)
            if wanted != self._told.get(host, NO_CONTROLS) and self._is_alive(host):
                news[host] = wanted
        if not news:
            return
        _, silent = self._ask_controllers(news)
        for host, wanted in news.items():
            # What an agent that is silent has done is not known: next time it is told anew.
            self._told[host] = _UNKNOWN if host_name(host) in silent else wanted
            if host_name(host) in silent and self._is_alive(host):
                raise TestbedError(f"{silent[host_name(host)]}; heal it, or take the instance "
                                   "down and up again")

    def _ask_controllers(
        self, wanted: dict[int, Controls]
    ) -> tuple[dict[str, Any], dict[str, str]]:
        asked = {host_name(host): controls.to_params() for host, controls in wanted.items()}
        return self._hosts.ask("control", asked, _CONTROL_PATIENCE_S)

    def _is_alive(self, host: int) -> bool:
        return self._hosts.fleet.agents[host_name(host)].is_alive

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

    def _record(self, action: Action) -> _Record:
        record = _Record(action, self._fabric.ports.read_all(self._ports_of(action)))
        if isinstance(action, EvLoss):
            fault = self._fabric.ports.read_ev_fault(self._flow(action.target))
            if fault is not None:  # it goes on with another ratio, and so do its counts
                record.dropped, record.seen = fault.dropped_frames, fault.seen_frames
        return record

    def _proof(self, record: _Record) -> Proof:
        match record.action:
            case HostPause(target) | HostKill(target):
                pid = self._hosts.agent_pid(host_name(target.host))
                word = STATE_WORDS.get(process_state(pid))
                return Proof(word is not None, f"agent process {pid} {word or 'runs'}")
            case EvLoss(target):
                return self._proof_of_ev(record, target)
            case EvDeny(target):
                return evidence.of_denied_ev(self._denying_qps(target))
            case PortDisable(target) as action:
                told = self._controller_says(target.host)
                mask = None if told is None else int(told["disabled"])
                return evidence.of_disabled_port(action, mask)
            case action:
                return self._counted(record, self._dark_nics(action))

    def _counted(self, record: _Record, dark: list[str] | None) -> Proof:
        now = self._fabric.ports.read_all(record.before)
        kind = record.action.kind
        frames = evidence.counted_frames(kind, record.before, now)
        return evidence.of_ports(kind, frames, record.flushed, dark)

    def _dark_nics(self, action: Action) -> list[str] | None:
        """The NIC ports of the fault that are without carrier; None where it takes none."""
        links = reach(self._fabric.graph, action.target).nic_links & self.state.carrier_down
        if not (links and evidence.takes_carrier(action)):
            return None
        states = self._fabric.wiring.states()
        nics = [self._fabric.graph.port(slot).peer for slot in sorted(links)]
        return [nic.interface for nic in nics if states[nic.slot] != "UP"]

    def _proof_of_ev(self, record: _Record, target: EvTarget) -> Proof:
        fault = self._fabric.ports.read_ev_fault(self._flow(target))
        if fault is None:
            raise TestbedError(f"{target}: its fault has vanished from the port program; "
                               "take the instance down and up again")
        return evidence.of_ev(
            fault.dropped_frames - record.dropped, fault.seen_frames - record.seen)

    def _flow(self, target: EvTarget) -> EvFlow:
        graph = self._fabric.graph
        (slot,) = reach(graph, target).ports
        return EvFlow(slot, target.ev, graph.hosts[target.src].address,
                      graph.hosts[target.dst].address)

    def _denying_qps(self, target: EvTarget) -> int | None:
        """In how many queue pairs the EV was DENIED at once; None where nobody can say."""
        told = self._controller_says(target.src)
        if told is None:
            return None
        key = [self._fabric.graph.hosts[target.dst].address.packed.hex(), target.ev]
        return next((qps for *entry, qps in told["denied"] if entry == key), 0)

    def _controller_says(self, host: int) -> dict[str, Any] | None:
        """What a host's controller answers; None where its agent is stopped or dead."""
        unable = self.state.paused | self.state.killed
        if host not in self._told or host in unable or not self._is_alive(host):
            return None
        wanted = controls_of(self._fabric.graph, self.state, host)
        answers, _ = self._ask_controllers({host: wanted})
        found: dict[str, Any] | None = answers.get(host_name(host))
        return found


def _why(error: Exception) -> str:
    """What went wrong and what to do; a TestbedError says both itself."""
    if isinstance(error, TestbedError):
        return str(error)
    return f"{error!r}; heal what is in force, or take the instance down and up again"


_SIGNAL_PATIENCE_S = 5.0
_CONTROL_PATIENCE_S = 5.0
_ENDED = "ZX"
_UNKNOWN = Controls(disabled=-1)  # is like no controls that anybody could want
