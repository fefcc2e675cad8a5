"""What a switch port counts, on the emulated fabric and in the simulator alike.

    offered.frames = passed.frames + dropped.frames
    offered.bytes  = passed.bytes  + dropped.bytes + trimmed.bytes (the bytes cut off)
"""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Tally:
    """Frames and their bytes, Ethernet header included."""

    frames: int = 0
    bytes: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.frames + other.frames, self.bytes + other.bytes)

    def __sub__(self, other: Tally) -> Tally:
        return Tally(self.frames - other.frames, self.bytes - other.bytes)


@dataclass(frozen=True, slots=True)
class PortCounters:
    """What a port did with the frames offered to it since it was made.

    The field names are those of the port program's accounts, in its order.
    ``trimmed.bytes`` are the bytes cut off; a trimmed frame is also passed (control).
    ``marked`` and ``corrupted`` frames are also passed. ``dropped_redirect`` are frames
    the kernel refused after they were judged, never in the simulator. ``noise`` is what
    is not SRv6 (MLD, ICMP), dropped and not part of ``offered``. Queue depths are in
    bytes: as the last frame left them, and the largest ever.
    """

    offered: Tally = Tally()
    passed_control: Tally = Tally()
    passed_data: Tally = Tally()
    marked: Tally = Tally()
    trimmed: Tally = Tally()
    corrupted: Tally = Tally()
    dropped_tail: Tally = Tally()
    dropped_control: Tally = Tally()
    dropped_blackhole: Tally = Tally()
    dropped_loss: Tally = Tally()
    dropped_ev: Tally = Tally()
    dropped_redirect: Tally = Tally()
    noise: Tally = Tally()
    control_queue_bytes: int = 0
    data_queue_bytes: int = 0
    control_max_bytes: int = 0
    data_max_bytes: int = 0

    @property
    def passed(self) -> Tally:
        """Handed to the interface: transmitted, waiting in the qdisc, or flushed."""
        return self.passed_control + self.passed_data

    @property
    def dropped(self) -> Tally:
        """Dropped for any of the six causes."""
        return sum((getattr(self, name) for name in DROP_CAUSES), Tally())

    @property
    def unexplained(self) -> Tally:
        """What conservation leaves over, (0, 0) unless the program is wrong."""
        cut_off = Tally(0, self.trimmed.bytes)
        return self.offered - self.passed - self.dropped - cut_off

    def since(self, earlier: PortCounters) -> PortCounters:
        """The tallies counted after ``earlier``; queue depths stay as they are here."""
        changes = {name: getattr(self, name) - getattr(earlier, name) for name in TALLIES}
        depths = {name: getattr(self, name) for name in _DEPTHS}
        return PortCounters(**changes, **depths)


TALLIES = tuple(item.name for item in fields(PortCounters) if item.type == "Tally")
_DEPTHS = tuple(item.name for item in fields(PortCounters) if item.type == "int")
DROP_CAUSES = tuple(name for name in TALLIES if name.startswith("dropped_"))
