"""What no fabric of this kind does but a protocol must survive: duplicates and reordering.

For tests only. It strikes as frames arrive at a NIC port, seeded by position: the n-th
arrival of a port meets the same fate in every run.
"""

from __future__ import annotations

from dataclasses import dataclass

from testbed.sim import draws


@dataclass(frozen=True, slots=True)
class Chaos:
    """Shares of arriving frames (0..1) that come twice or late.

    A late frame is held back for 1 to ``max_delay_ns`` emulated ns, and so is the second
    of two; others overtake it.
    """

    seed: int = 0
    duplicate_ratio: float = 0.0
    delay_ratio: float = 0.0
    max_delay_ns: int = 1

    def delays_ns(self, slot: int, number: int) -> tuple[int, ...]:
        """By how much each copy of a port's ``number``-th arrival is late, one per copy."""
        stream = draws.chaos_stream(self.seed, slot)
        first = draws.random_at(stream, 2 * number)
        second = draws.random_at(stream, 2 * number + 1)
        is_late = draws.lower(first) < draws.probability_of(self.delay_ratio)
        delay_ns = self._delay_ns(draws.upper(second)) if is_late else 0
        if draws.upper(first) >= draws.probability_of(self.duplicate_ratio):
            return (delay_ns,)
        return delay_ns, self._delay_ns(draws.lower(second))

    def _delay_ns(self, random32: int) -> int:
        return 1 + (random32 * self.max_delay_ns >> 32)
