"""The running counts of a simulated port, under the names of :mod:`testbed.metrics.ports`."""

from __future__ import annotations

from dataclasses import dataclass

from testbed.metrics.ports import PortCounters, Tally

# Accounts that are not touched on every hop, as indexes.
MARKED, TRIMMED, CORRUPTED = 0, 1, 2
DROPPED_TAIL, DROPPED_CONTROL, DROPPED_BLACKHOLE, DROPPED_LOSS, DROPPED_EV = 3, 4, 5, 6, 7
NOISE, FLUSHED = 8, 9
PASSED_CONTROL, PASSED_DATA = 10, 11  # verdicts, counted by attributes
_RARE_ACCOUNTS = 10
_NONE = Tally()


@dataclass(frozen=True, slots=True)
class SimPortCounters(PortCounters):
    """A simulated port's counters; queue depths are the largest only.

    ``flushed``: frames passed that a link which lost carrier took out of the queue. On the
    fabric that is found out by comparing with the interface's own counters.
    """

    flushed: Tally = _NONE


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

    def read(self) -> SimPortCounters:
        """All accounts at this instant."""
        return SimPortCounters(
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
