"""Faults in virtual time: the desired state of the active ones, applied within one instant.

The fabric writes ports first where carrier goes and last where it returns, so that what a
dying link would lose is counted and what a returning one lets pass arrives. Here nothing
can happen in between, and it is enough that hosts, which answer at once, are told last.
Frames past an egress arrive; those in the queue of a link that loses carrier are flushed
and charged to the fault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from testbed.errors import UsageError
from testbed.faults import active as faults
from testbed.faults import evidence
from testbed.faults.actions import Action, EvDeny, HostKill, HostPause, PortDisable, fault_id
from testbed.faults.desired import (
    DesiredState,
    EvFaultKey,
    StateChange,
    change,
    controls_of,
    desired_state,
)
from testbed.faults.evidence import Proof
from testbed.faults.reach import reach
from testbed.faults.targets import EvTarget, Target
from testbed.metrics.ports import PortCounters, Tally
from testbed.sim.hazard import EvFault
from testbed.sim.host import SimHost
from testbed.sim.network import Network
from testbed.transport.mrc.controls import (
    NO_CONTROLS,
    Controls,
    apply_controls,
    denying_qps,
    disabled_ports,
)
from testbed.transport.mrc.verbs import Context
from topologies.graph import NicPort

# The device of a host (by index) as it is now, None where it has none.
DeviceOf = Callable[[int], Context | None]


@dataclass(slots=True)
class _Record:
    """A fault: what had been counted when it began, what it flushed, what it had done at its end.

    ``dropped``, ``seen``: frames of its EV, where it is the loss of one.
    """

    action: Action
    before: dict[int, PortCounters]
    dropped: int = 0
    seen: int = 0
    flushed: Tally = field(default_factory=Tally)
    final: Proof | None = None


class Injector:
    """The active faults of a simulation. ``flushed`` is by fault id, past faults included.

    ``device_of`` is for what controllers do (deny, disable); without it that is refused.
    """

    def __init__(
        self, network: Network, hosts: Sequence[SimHost], device_of: DeviceOf | None = None
    ) -> None:
        self._network = network
        self._hosts = hosts
        self._device_of = device_of
        self._told: dict[int, Controls] = {}  # what each host's device was told last
        self._records: dict[str, _Record] = {}
        self.active: faults.ActiveFaults = ()
        self.state: DesiredState = desired_state(network.graph, ())
        self.flushed: dict[str, Tally] = {}

    def inject(self, action: Action, now: int) -> None:
        """Put a fault in force.

        Raises UsageError where the target does not exist or suffers it already.
        """
        self.move((action,), (), now)

    def heal(self, target: Target | None, now: int) -> tuple[Action, ...]:
        """Take back every fault on ``target`` (None: all); the healed ones, newest first.

        Raises UsageError where nothing is active on it.
        """
        _, healed = faults.heal(self.active, target)
        return self.move((), [fault_id(action) for action in healed], now)

    def move(
        self, injects: Sequence[Action], heals: Iterable[str], now: int
    ) -> tuple[Action, ...]:
        """Heal the faults of these ids and inject others, all within one instant.

        Returns the healed ones, newest first. Raises UsageError, with nothing changed, where
        an id is not active or a fault cannot be injected.
        """
        active, healed = faults.move(self.active, injects, heals)
        self._require_devices(injects)
        after = desired_state(self._network.graph, active)
        for action in healed:
            record = self._records[fault_id(action)]
            record.final = self._proof(record)
        new = [self._record(action) for action in injects]
        self._apply(after, new, now)
        self.active = active
        for record in new:
            name = fault_id(record.action)
            self._records[name] = record
            self.flushed[name] = self.flushed.get(name, Tally()) + record.flushed
        return healed

    def evidence(self, name: str) -> Proof:
        """Whether the fault of this id has bitten, and what it has done: so far, or until it
        was healed last. Raises UsageError where there never was one.
        """
        record = self._records.get(name)
        if record is None:
            raise UsageError(f"fault {name} was never in force here: inject it first")
        return record.final or self._proof(record)

    def ev_fault(self, key: EvFaultKey) -> EvFault | None:
        """What an EV's fault has done so far, None where there is none."""
        hazard = self._network.port(key.slot).hazard
        return hazard.ev(key) if hazard else None

    # --- evidence ----------------------------------------------------------------------

    def _record(self, action: Action) -> _Record:
        graph = self._network.graph
        slots = reach(graph, action.target).both_ends(graph)
        record = _Record(action, {slot: self._network.read(slot) for slot in slots})
        if isinstance(action.target, EvTarget):
            record.dropped, record.seen = self._ev_counts(action.target)
        return record

    def _ev_counts(self, target: EvTarget) -> tuple[int, int]:
        """Frames dropped of the EV, and seen, since its fault is there; 0 where there is none."""
        graph = self._network.graph
        (slot,) = reach(graph, target).ports
        ends = graph.hosts[target.src].address, graph.hosts[target.dst].address
        fault = self.ev_fault(EvFaultKey(slot, *ends, target.ev))
        return (fault.dropped_frames, fault.seen_frames) if fault else (0, 0)

    def _proof(self, record: _Record) -> Proof:
        match record.action:
            case HostPause() | HostKill() as action:
                verb = "paused" if isinstance(action, HostPause) else "killed"
                return Proof(True, f"{self._hosts[action.target.host].host.name} is {verb}")
            case EvDeny(target):
                device = self._device(target.src)
                return evidence.of_denied_ev(
                    None if device is None
                    else denying_qps(device, self._peer(target.dst), target.ev))
            case PortDisable(target) as action:
                device = self._device(target.host)
                return evidence.of_disabled_port(
                    action, None if device is None else disabled_ports(device))
        if isinstance(record.action.target, EvTarget):
            dropped, seen = self._ev_counts(record.action.target)
            return evidence.of_ev(dropped - record.dropped, seen - record.seen)
        return self._proof_of_ports(record)

    def _proof_of_ports(self, record: _Record) -> Proof:
        action = record.action
        now = {slot: self._network.read(slot) for slot in record.before}
        frames = evidence.counted_frames(action.kind, record.before, now)
        return evidence.of_ports(action.kind, frames, record.flushed, self._dark_nics(action))

    def _dark_nics(self, action: Action) -> list[str] | None:
        """The NIC ports of the fault whose host knows of no carrier; None where it takes none."""
        links = reach(self._network.graph, action.target).nic_links
        if not (links and evidence.takes_carrier(action)):
            return None
        hosts = {host.host.name: host for host in self._hosts}
        nics = [self._nic(slot) for slot in sorted(links)]
        return [nic.interface for nic in nics if not hosts[nic.host].up_ports >> nic.plane & 1]

    # --- onto the fabric ---------------------------------------------------------------

    def _apply(self, after: DesiredState, new: Sequence[_Record], now: int) -> None:
        before, self.state = self.state, after
        step = change(before, after)
        for slot, fault in step.ports.items():
            self._network.port(slot).set_fault(fault)
        for key, ratio in step.ev.items():
            self._network.port(key.slot).set_ev_fault(key, ratio)
        self._flush(step.carrier_lost, new)
        self._set_carriers(step, after, now)
        self._set_conditions(step, after, now)
        self._set_controls(step, after, now)

    def _flush(self, slots: Iterable[int], new: Sequence[_Record]) -> None:
        """Empty the switch's end of each link; the host's has no queue."""
        for slot in sorted(slots):
            flushed = self._network.switch_ports[slot].flush()
            for record in new:
                if slot in record.before and evidence.takes_carrier(record.action):
                    record.flushed += flushed

    def _set_carriers(self, step: StateChange, after: DesiredState, now: int) -> None:
        touched = {self._nic(slot).host for slot in step.carrier_lost | step.carrier_back}
        down = dict.fromkeys(touched, 0)
        for nic in map(self._nic, after.carrier_down):
            if nic.host in touched:
                down[nic.host] |= 1 << nic.plane
        for host in self._hosts:
            if host.host.name in touched:
                host.set_carrier((1 << len(host.ports)) - 1 & ~down[host.host.name], now)

    def _nic(self, switch_slot: int) -> NicPort:
        graph = self._network.graph
        nic = graph.port(graph.port(switch_slot).peer.slot)
        assert isinstance(nic, NicPort)  # only NIC links lose carrier
        return nic

    def _set_conditions(self, step: StateChange, after: DesiredState, now: int) -> None:
        for index in sorted(step.paused | step.continued | step.killed | step.restarted):
            self._hosts[index].set_condition(
                index in after.paused, index in after.killed, now
            )

    # --- controllers -------------------------------------------------------------------

    def _require_devices(self, injects: Iterable[Action]) -> None:
        for action in injects:
            if isinstance(action, EvDeny | PortDisable) and self._device_of is None:
                raise UsageError(
                    f"{fault_id(action)} needs a controller, and the hosts of this simulation "
                    "have none: give it device_of"
                )

    def _set_controls(self, step: StateChange, after: DesiredState, now: int) -> None:
        """Tell every device what its controller wants and it does not know yet.

        A paused host hears of it when it continues; one that was killed has a new device.
        """
        for index in step.restarted:
            self._told.pop(index, None)
        hosts = after.controlled | self._told.keys()
        for index in sorted(hosts - after.paused - after.killed):
            wanted = controls_of(self._network.graph, after, index)
            told = self._told.get(index, NO_CONTROLS)
            device = self._device(index)
            if told != wanted and device is not None:
                self._told[index] = wanted
                self._hosts[index].control(_Control(device, told, wanted), now)

    def _device(self, index: int) -> Context | None:
        if self._device_of is None or index in self.state.killed:
            return None
        return self._device_of(index)

    def _peer(self, index: int) -> bytes:
        return self._network.graph.hosts[index].address.packed


@dataclass(frozen=True, slots=True)
class _Control:
    """What is done to a device when its host is ready for it."""

    device: Context
    before: Controls
    after: Controls

    def __call__(self, now: int) -> None:
        apply_controls(self.device, self.before, self.after, now)
