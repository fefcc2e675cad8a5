"""Faults in virtual time: the desired state of the active ones, applied within one instant.

The fabric writes ports first where carrier goes and last where it returns, so that what a
dying link would lose is counted and what a returning one lets pass arrives. Here nothing
can happen in between, and it is enough that hosts, which answer at once, are told last.
Frames past an egress arrive; those in the queue of a link that loses carrier are flushed
and charged to the fault.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from testbed.faults import active as faults
from testbed.faults.actions import Action, fault_id
from testbed.faults.desired import DesiredState, EvFaultKey, StateChange, change, desired_state
from testbed.faults.targets import Target
from testbed.metrics.ports import Tally
from testbed.sim.hazard import EvFault
from testbed.sim.host import SimHost
from testbed.sim.network import Network
from topologies.graph import NicPort


class Injector:
    """The active faults of a simulation. ``flushed`` is by fault id, past faults included."""

    def __init__(self, network: Network, hosts: Sequence[SimHost]) -> None:
        self._network = network
        self._hosts = hosts
        self.active: faults.ActiveFaults = ()
        self.state: DesiredState = desired_state(network.graph, ())
        self.flushed: dict[str, Tally] = {}

    def inject(self, action: Action, now: int) -> None:
        """Put a fault in force.

        Raises UsageError where the target does not exist or suffers it already.
        """
        active = faults.inject(self.active, action)
        flushed = self._apply(desired_state(self._network.graph, active), now)
        self.active = active
        name = fault_id(action)
        self.flushed[name] = self.flushed.get(name, Tally()) + flushed

    def heal(self, target: Target | None, now: int) -> tuple[Action, ...]:
        """Take back every fault on ``target`` (None: all); the healed ones, newest first.

        Raises UsageError where nothing is active on it.
        """
        self.active, healed = faults.heal(self.active, target)
        self._apply(desired_state(self._network.graph, self.active), now)
        return healed

    def ev_fault(self, key: EvFaultKey) -> EvFault | None:
        """What an EV's fault has done so far, None where there is none."""
        hazard = self._network.port(key.slot).hazard
        return hazard.ev(key) if hazard else None

    def _apply(self, after: DesiredState, now: int) -> Tally:
        before, self.state = self.state, after
        step = change(before, after)
        for slot, fault in step.ports.items():
            self._network.port(slot).set_fault(fault)
        for key, ratio in step.ev.items():
            self._network.port(key.slot).set_ev_fault(key, ratio)
        flushed = self._flush(step.carrier_lost)
        self._set_carriers(step, after, now)
        self._set_conditions(step, after, now)
        return flushed

    def _flush(self, slots: Iterable[int]) -> Tally:
        """Empty the switch's end of each link; the host's has no queue."""
        ports = self._network.switch_ports
        return sum((ports[slot].flush() for slot in sorted(slots)), Tally())

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
