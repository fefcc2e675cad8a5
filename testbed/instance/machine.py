"""What the whole machine did meanwhile: how much of its processors was idle, or was not there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_STAT = Path("/proc/stat")
_IDLE, _IOWAIT, _STEAL = 3, 4, 7  # columns of the line "cpu", see proc(5)


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """Ticks since boot over all processors; ``stolen`` is what a hypervisor gave to others."""

    idle: int
    total: int
    stolen: int = 0

    def idle_cores_since(self, earlier: CpuTimes) -> float:
        """How many processors' worth of time was left over; all of them where no tick passed."""
        return _cores(self.idle - earlier.idle, self.total - earlier.total, os.cpu_count() or 1)

    def stolen_cores_since(self, earlier: CpuTimes) -> float:
        """How many processors' worth of time the hypervisor took; 0 where no tick passed."""
        return _cores(self.stolen - earlier.stolen, self.total - earlier.total, 0)


def read_cpu_times() -> CpuTimes:
    """The present counts."""
    line = _STAT.read_text().split("\n", 1)[0]
    ticks = [int(word) for word in line.split()[1:9]]  # guest time is part of user time
    return CpuTimes(ticks[_IDLE] + ticks[_IOWAIT], sum(ticks), ticks[_STEAL])


def _cores(part: int, ticks: int, otherwise: int) -> float:
    return (os.cpu_count() or 1) * part / ticks if ticks else float(otherwise)
