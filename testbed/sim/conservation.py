"""Every frame sent is received, dropped by a declared cause, or still under way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from testbed.metrics.ports import DROP_CAUSES
from testbed.sim.engine import Engine
from testbed.sim.frame import Frame
from testbed.sim.host import SimHost
from testbed.sim.network import Network


@dataclass(frozen=True, slots=True)
class Conservation:
    """The balance of a fabric, in frames.

    ``sent`` by NICs and ``duplicated`` by chaos on one side; on the other ``received``
    by endpoints, ``held`` for paused hosts, ``overflowed`` their buffers, ``unreceived``
    by killed ones, ``dropped`` by cause, ``in_flight`` on links and in queues. In flight
    is counted where the frames are, not inferred, so nothing can hide in it.
    """

    sent: int
    duplicated: int
    received: int
    held: int
    overflowed: int
    unreceived: int
    dropped: dict[str, int]
    in_flight: int

    @property
    def unexplained(self) -> int:
        """Frames that are nowhere (above 0) or came from nowhere (below): must be 0."""
        known = self.received + self.held + self.overflowed + self.unreceived
        offered = self.sent + self.duplicated
        return offered - known - sum(self.dropped.values()) - self.in_flight


def balance(engine: Engine, network: Network, hosts: Sequence[SimHost]) -> Conservation:
    """Draw the balance at this instant."""
    nics = network.nic_ports.values()
    dropped = _dropped(network)
    return Conservation(
        sent=sum(nic.offered_frames for nic in nics) + dropped["noise"],
        duplicated=sum(nic.duplicated_frames for nic in nics),
        received=sum(nic.received_frames for nic in nics),
        held=sum(host.held_frames for host in hosts),
        overflowed=sum(nic.overflowed_frames for nic in nics),
        unreceived=sum(nic.unreceived_frames for nic in nics),
        dropped=dropped,
        in_flight=_in_flight(engine, network),
    )


def _dropped(network: Network) -> dict[str, int]:
    names = (*DROP_CAUSES, "noise", "flushed")
    counters = network.read_all().values()
    dropped = {name: sum(getattr(port, name).frames for port in counters) for name in names}
    dropped["no_rule"] = sum(tally.frames for tally in network.refused().values())
    return dropped


def _in_flight(engine: Engine, network: Network) -> int:
    queued = sum(port.waiting_frames() for port in network.switch_ports.values())
    return queued + sum(isinstance(argument, Frame) for _, _, argument in engine.pending())
