"""How late an agent was, every time: a histogram small enough to keep all of a run.

Log-linear buckets: up to 127 ns every value has its own, above that every power of two is
cut into 64 equal ones, so a bucket is at most 1/64 (1.6 %) of its values wide.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import ceil
from typing import Any

MAX_NS = (1 << 51) - 1

_STEPS = 64  # buckets per power of two
_EXACT_NS = 2 * _STEPS  # below this every value has its own bucket
_EXACT_BITS = _EXACT_NS.bit_length() - 1
_BUCKETS = _EXACT_NS + (MAX_NS.bit_length() - _EXACT_BITS) * _STEPS


class Lateness:
    """Whole nanoseconds, 0 to 2^51 - 1 (26 days): how many of each size, the largest, the sum.

    ``max_ns`` and ``total_ns`` are exact. All are 0 where nothing was recorded: nothing was
    due, so nothing was late.
    """

    __slots__ = ("_counts", "max_ns", "total_ns")

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self.max_ns = 0
        self.total_ns = 0

    @property
    def count(self) -> int:
        """How many were recorded. Adds up all buckets: not for every frame."""
        return sum(self._counts)

    def record(self, ns: int) -> None:
        """Count one value. Raises ValueError, counting nothing, where it is out of range.

        Called for everything an agent does, so written out and without a helper.
        """
        if ns < _EXACT_NS:
            if ns < 0:
                raise ValueError(_refusal(ns))
            self._counts[ns] += 1
        else:
            shift = ns.bit_length() - _EXACT_BITS
            try:
                self._counts[shift * _STEPS + (ns >> shift)] += 1
            except IndexError:
                raise ValueError(_refusal(ns)) from None
        if ns > self.max_ns:
            self.max_ns = ns
        self.total_ns += ns

    def quantile_ns(self, q: float) -> int:
        """Nearest-rank quantile, ``q`` in 0..1: at most 1.6 % above the value itself.

        The upper edge of the bucket that holds it, never above ``max_ns``. 0 where nothing
        was recorded. Raises ValueError where ``q`` is out of range.
        """
        left = nearest_rank_of(q, self.count)
        if left == 0:
            return 0
        for bucket, number in enumerate(self._counts):
            left -= number
            if left <= 0:
                return min(_low_ns(bucket + 1) - 1, self.max_ns)
        raise AssertionError("a rank is never beyond the count")

    def merge(self, other: Lateness) -> None:
        """Count everything ``other`` has counted, too."""
        self._counts = [a + b for a, b in zip(self._counts, other._counts, strict=True)]
        self.max_ns = max(self.max_ns, other.max_ns)
        self.total_ns += other.total_ns

    def copy(self) -> Lateness:
        """One that counts on by itself."""
        found = Lateness()
        found._counts = self._counts[:]
        found.max_ns, found.total_ns = self.max_ns, self.total_ns
        return found

    def since(self, earlier: Lateness) -> Lateness:
        """What was counted after ``earlier``, a copy of this one.

        ``max_ns`` is then exact where it grew meanwhile, else the upper edge of its bucket.
        """
        found = Lateness()
        found._counts = [a - b for a, b in zip(self._counts, earlier._counts, strict=True)]
        found.total_ns = self.total_ns - earlier.total_ns
        found.max_ns = self.max_ns
        if self.max_ns == earlier.max_ns:
            found.max_ns = min(self.max_ns, found._upper_edge_ns())
        return found

    def _upper_edge_ns(self) -> int:
        for bucket in range(_BUCKETS - 1, -1, -1):
            if self._counts[bucket]:
                return _low_ns(bucket + 1) - 1
        return 0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; ``buckets`` has [least ns, how many] of each that is not empty."""
        buckets = [[_low_ns(bucket), number]
                   for bucket, number in enumerate(self._counts) if number]
        return {"count": self.count, "max_ns": self.max_ns, "total_ns": self.total_ns,
                "buckets": buckets}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Lateness:
        """Read what `to_dict` wrote. Raises ValueError where it does not fit together."""
        found = cls()
        for low_ns, number in document["buckets"]:
            found._counts[_bucket_at(low_ns)] += number
        found.max_ns, found.total_ns = document["max_ns"], document["total_ns"]
        found._require_sound(document["count"])
        return found

    def _require_sound(self, count: int) -> None:
        """The figures beside the buckets must be possible with these buckets."""
        filled = [(bucket, number) for bucket, number in enumerate(self._counts) if number]
        least_ns = sum(number * _low_ns(bucket) for bucket, number in filled)
        most_ns = sum(number * (_low_ns(bucket + 1) - 1) for bucket, number in filled)
        highest = _bucket_of(self.max_ns)
        if (count != self.count or any(number < 0 for _, number in filled)
                or not least_ns <= self.total_ns <= most_ns
                or highest != (filled[-1][0] if filled else 0)):
            raise ValueError(f"a lateness histogram of {count} values (max {self.max_ns} ns, "
                             f"total {self.total_ns} ns) does not fit its buckets: write it anew")


def nearest_rank_of(q: float, count: int) -> int:
    """The rank, from 1, of quantile ``q`` among ``count`` ordered values: ceil(q x count).

    ``q`` is taken as written in decimal, so 0.07 of 100 values is the 7th; the 1st where
    ``q`` is 0, and 0 where there are no values. Raises ValueError outside 0..1.
    """
    if not 0 <= q <= 1:
        raise ValueError(f"{q} is not a quantile: use 0 to 1, like 0.99")
    return min(count, max(1, ceil(Fraction(repr(q)) * count)))


def _bucket_of(ns: int) -> int:
    """Where ``record`` counts a value."""
    if not 0 <= ns <= MAX_NS:
        raise ValueError(_refusal(ns))
    shift = max(0, ns.bit_length() - _EXACT_BITS)
    return shift * _STEPS + (ns >> shift)


def _low_ns(bucket: int) -> int:
    """The least value of a bucket; of the one behind it, one more than the largest."""
    shift = max(0, bucket // _STEPS - 1)
    return (bucket - shift * _STEPS) << shift


def _bucket_at(low_ns: int) -> int:
    bucket = _bucket_of(low_ns)
    if _low_ns(bucket) != low_ns:
        raise ValueError(f"{low_ns} ns begins no bucket of a lateness histogram: it was written "
                         "by another version, record it anew")
    return bucket


def _refusal(ns: int) -> str:
    return f"{ns} ns is no lateness: it must be 0 to {MAX_NS}"
