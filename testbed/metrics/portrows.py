"""Rows of the table `ports`: what every switch port did since it was last looked at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from testbed.metrics.ports import PortCounters

_FRAMES = ("marked", "trimmed", "dropped_tail", "dropped_control", "dropped_blackhole",
           "dropped_loss", "dropped_ev", "corrupted")  # fmt: skip


class Place(NamedTuple):
    """Where a port is; ``towards`` is the node at the other end of its link."""

    switch: str
    interface: str
    towards: str
    plane: int
    tier: int


def places(switches: Iterable[Any]) -> dict[int, Place]:
    """The places of all ports of switches of a :class:`topologies.graph.Graph`, by slot."""
    return {
        port.slot: Place(switch.name, port.interface, port.peer.node, switch.plane, switch.tier)
        for switch in switches for port in switch.ports
    }


class PortRows:
    """Compares counters of the ports in these places, by slot, with those of the last time.

    Make one with the counters as they are at the beginning, emulated time 0.
    """

    def __init__(self, at: Mapping[int, Place], before: Mapping[int, PortCounters]) -> None:
        self._places = at
        self._before = {slot: before[slot] for slot in at}
        self._seen_ns = 0

    def look(self, now_ns: int, counters: Mapping[int, PortCounters],
             queues: Mapping[int, int] | None = None) -> Iterator[tuple[Any, ...]]:
        """A row per port to which anything was offered since; ports that did nothing may be
        left out of ``counters``. ``queues``: bytes waiting by slot, where not in the counters."""
        interval_ns, self._seen_ns = now_ns - self._seen_ns, now_ns
        for slot, found in counters.items():
            before = self._before.get(slot)
            if before is None or found.offered.frames == before.offered.frames:
                continue
            self._before[slot] = found
            queue_bytes = (found.control_queue_bytes + found.data_queue_bytes if queues is None
                           else queues[slot])
            passed = found.passed - before.passed
            grown = [getattr(found, name).frames - getattr(before, name).frames
                     for name in _FRAMES]
            yield (now_ns, interval_ns, *self._places[slot], passed.frames, passed.bytes, *grown,
                   queue_bytes)
