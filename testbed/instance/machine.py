"""What the whole machine did meanwhile: how much of its processors was idle."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_STAT = Path("/proc/stat")
_IDLE, _IOWAIT = 3, 4  # columns of the line "cpu", see proc(5)


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """Ticks since boot over all processors."""

    idle: int
    total: int

    def idle_cores_since(self, earlier: CpuTimes) -> float:
        """How many processors' worth of time was left over; all of them where no tick passed."""
        ticks = self.total - earlier.total
        cores = os.cpu_count() or 1
        return cores * (self.idle - earlier.idle) / ticks if ticks else float(cores)


def read_cpu_times() -> CpuTimes:
    """The present counts."""
    line = _STAT.read_text().split("\n", 1)[0]
    ticks = [int(word) for word in line.split()[1:9]]  # guest time is part of user time
    return CpuTimes(ticks[_IDLE] + ticks[_IOWAIT], sum(ticks))
