"""How goodput falls and comes back after something was done to the fabric.

Of the time between two actions the second half counts as settled, if it is no shorter than a
bin; its mean is the level. Goodput is back where three bins in a row (or all that are left)
reach 95 % of a level, so that one lucky bin does not count. Traffic that comes in bursts
settles nowhere: where a quarter of the settled bins miss 95 % of their own mean there is no
level, and nothing to tell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SHARE = 0.95
IN_A_ROW = 3
MAX_MISSING = 0.25

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Curve:
    """Goodput in bins that end at ``end_ns`` (ascending), each ``bin_ns`` wide."""

    end_ns: npt.NDArray[np.int64]
    goodput_bps: Array
    bin_ns: int

    def settled_bps(self, start_ns: int, end_ns: int) -> float | None:
        """The level of the time between two moments; None where there is none."""
        middle_ns = (start_ns + end_ns) // 2
        covered = self._overlap_ns(middle_ns, end_ns)
        if end_ns - middle_ns < self.bin_ns or covered.sum() < self.bin_ns:
            return None
        level = float((self.goodput_bps * covered).sum() / covered.sum())
        inside = self.goodput_bps[covered == self.bin_ns]
        is_steady = not len(inside) or float((inside < SHARE * level).mean()) < MAX_MISSING
        return level if level > 0 and is_steady else None

    def back_ns(self, level_bps: float, start_ns: int, end_ns: int,
                patience_ns: int) -> int | None:
        """When goodput is back at a level, after the dip that followed ``start_ns``.

        The end of the last bin that was too low, ``start_ns`` itself where there is no dip
        within ``patience_ns``; None where it is not back before ``end_ns``.
        """
        inside = np.flatnonzero((self.end_ns > start_ns) & (self.end_ns <= end_ns))
        good = self.goodput_bps[inside] >= SHARE * level_bps
        early = self.end_ns[inside] - self.bin_ns <= start_ns + patience_ns
        low = np.flatnonzero(~good & early)
        if not len(inside):
            return None
        if not len(low):
            return start_ns
        for place in range(low[0] + 1, len(good)):
            if good[place:place + IN_A_ROW].all():
                return int(self.end_ns[inside[place - 1]])
        return None

    def missing_bytes(self, level_bps: float, start_ns: int, end_ns: int) -> float:
        """What was not carried below a level between two moments."""
        below = np.maximum(level_bps - self.goodput_bps, 0)
        return float((below * self._overlap_ns(start_ns, end_ns)).sum() / 8e9)

    def _overlap_ns(self, start_ns: int, end_ns: int) -> npt.NDArray[np.int64]:
        """How much of each bin lies between two moments."""
        begun = np.maximum(self.end_ns - self.bin_ns, start_ns)
        overlap: npt.NDArray[np.int64] = np.maximum(np.minimum(self.end_ns, end_ns) - begun, 0)
        return overlap
