"""What a port counts, under the names the fabric's port map uses.

    offered.frames = passed.frames + dropped.frames
    offered.bytes  = passed.bytes  + dropped.bytes + trimmed.bytes (the bytes cut off)
"""

from __future__ import annotations

from dataclasses import dataclass

# Accounts that are not touched on every hop, as indexes.
MARKED, TRIMMED, CORRUPTED = 0, 1, 2
DROPPED_TAIL, DROPPED_CONTROL, DROPPED_BLACKHOLE, DROPPED_LOSS, DROPPED_EV = 3, 4, 5, 6, 7
NOISE, FLUSHED = 8, 9
PASSED_CONTROL, PASSED_DATA = 10, 11  # verdicts, counted by attributes
_RARE_ACCOUNTS = 10

DROP_CAUSES = (
    "dropped_tail", "dropped_control", "dropped_blackhole", "dropped_loss", "dropped_ev",
    "dropped_redirect",
)  # fmt: skip


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
    """What a port did with the frames offered to it.

    ``trimmed.bytes`` are the bytes cut off; a trimmed frame is also passed (control).
    ``marked`` and ``corrupted`` frames are also passed, and so are ``flushed`` ones,
    which a link that lost carrier took out of the queue. ``dropped_redirect`` is always
    0 here: there is no kernel to refuse a frame. ``noise`` is what is not SRv6, dropped
    and not part of ``offered``. Depths are in bytes: the largest the two queues had.
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
    flushed: Tally = Tally()
    control_max_bytes: int = 0
    data_max_bytes: int = 0

    @property
    def passed(self) -> Tally:
        """Handed to the link: sent, waiting in the queue, or flushed."""
        return self.passed_control + self.passed_data

    @property
    def dropped(self) -> Tally:
        """Dropped for any cause."""
        return sum((getattr(self, name) for name in DROP_CAUSES), Tally())

    @property
    def unexplained(self) -> Tally:
        """What conservation leaves over, (0, 0) unless the port is wrong."""
        cut_off = Tally(0, self.trimmed.bytes)
        return self.offered - self.passed - self.dropped - cut_off


class Accounts:
    """The running counts of a port: plain integers where every hop counts."""

    __slots__ = (
        "_bytes", "_frames", "control_bytes", "control_frames", "control_max_bytes",
        "data_bytes", "data_frames", "data_max_bytes", "offered_bytes", "offered_frames",
    )  # fmt: skip

    def __init__(self) -> None:
        self.offered_frames = self.offered_bytes = 0
        self.control_frames = self.control_bytes = self.control_max_bytes = 0
        self.data_frames = self.data_bytes = self.data_max_bytes = 0
        self._frames = [0] * _RARE_ACCOUNTS
        self._bytes = [0] * _RARE_ACCOUNTS

    def count(self, account: int, size_bytes: int) -> None:
        """Enter one frame in one of the rarer accounts."""
        self._frames[account] += 1
        self._bytes[account] += size_bytes

    def tally(self, account: int) -> Tally:
        """One of the rarer accounts."""
        return Tally(self._frames[account], self._bytes[account])

    def read(self) -> PortCounters:
        """All accounts at this instant."""
        return PortCounters(
            offered=Tally(self.offered_frames, self.offered_bytes),
            passed_control=Tally(self.control_frames, self.control_bytes),
            passed_data=Tally(self.data_frames, self.data_bytes),
            marked=self.tally(MARKED),
            trimmed=self.tally(TRIMMED),
            corrupted=self.tally(CORRUPTED),
            dropped_tail=self.tally(DROPPED_TAIL),
            dropped_control=self.tally(DROPPED_CONTROL),
            dropped_blackhole=self.tally(DROPPED_BLACKHOLE),
            dropped_loss=self.tally(DROPPED_LOSS),
            dropped_ev=self.tally(DROPPED_EV),
            noise=self.tally(NOISE),
            flushed=self.tally(FLUSHED),
            control_max_bytes=self.control_max_bytes,
            data_max_bytes=self.data_max_bytes,
        )
