"""How long frames take through the idle fabric of this machine, on the wall clock.

Agents hold what they receive for the delay of the links it crossed, less this time. It changes
from one minute to the next with everything else the machine does, so it is measured before each
run; and again after it, for the verdict.
"""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable, Collection
from dataclasses import dataclass

from testbed.errors import TestbedError
from testbed.forwarding.paths import Path, paths
from testbed.instance.prober import Answer, ProbeOptions
from topologies.numbers import CONTROL_FRAME_BYTES, Dscp, drain_rate_bps, serialisation_ns
from topologies.spec import ClosSpec

_TIMEOUT_MS = 500
_LEAST_PROBES = 11
_SPACING = 2  # at least, in times that a port takes for a probe


@dataclass(frozen=True, slots=True)
class Pace:
    """Probes ``interval_us`` apart (wall clock), as many as count."""

    interval_us: int
    probes: int

    def not_below(self, interval_us: int) -> Pace:
        """As long at a larger interval, with fewer probes."""
        if interval_us <= self.interval_us:
            return self
        probes = self.probes * self.interval_us // interval_us
        return Pace(interval_us, max(_LEAST_PROBES, probes))


# In a run at line rate no processor rests; in one that awaits every frame all do, in between.
BUSY = Pace(1_000, probes=100)
IDLE = Pace(20_000, probes=25)
# After a rest of seconds frames take longer by half, for the next tenth of a second or two.
_WARM_UP = Pace(1_000, probes=200)


class TransitMeter:
    """Of one instance, whose paths ``probe`` probes at time dilation ``tdf``. ``is_whole`` says
    that no fault is in force.

    ``last_ns`` is what was measured last, by links crossed: 2 and 4 in a Clos.
    """

    def __init__(self, spec: ClosSpec, probe: Callable[[list[Path], ProbeOptions], list[Answer]],
                 is_whole: Callable[[], bool], tdf: Callable[[], int]) -> None:
        self._spec, self._examples = spec, _example_paths(spec)
        self._probe, self._is_whole, self._tdf = probe, is_whole, tdf
        self.last_ns: dict[int, int] = {}

    def know(self, pace: Pace = BUSY, links: Collection[int] | None = None) -> dict[int, int]:
        """Measured now; where faults are in force or nothing answers, what was measured last.

        ``links`` restricts what is measured, not what is answered. Raises TestbedError where
        nothing is known.
        """
        self.last_ns |= self.measure(pace, self._examples if links is None else links)
        if lacking := self._examples.keys() - self.last_ns.keys():
            raise TestbedError(f"{self._examples[min(lacking)]} does not answer, so it is not "
                               "known how long frames take through this fabric: heal its faults, "
                               "see `testbed status`")
        return dict(self.last_ns)

    def measure(self, pace: Pace, links: Collection[int]) -> dict[int, int]:
        """Wall-clock ns of a small frame, the median, by links crossed; without paths that do
        not answer."""
        if not self._is_whole():
            return {}
        found: dict[int, int] = {}
        with contextlib.suppress(_NoAnswerError):
            self._median_ns(self._examples[max(links)], _WARM_UP)
        for count in sorted(links):
            with contextlib.suppress(_NoAnswerError):
                found[count] = self._median_ns(self._examples[count], pace)
        return found

    def _least_interval_us(self) -> int:
        """Ports drain slowly where time is slow: a probe must not wait for the one before it."""
        rate_bps = drain_rate_bps(self._spec.port_rate_bps, self._tdf())
        return -(-_SPACING * serialisation_ns(CONTROL_FRAME_BYTES, rate_bps) // 1_000)

    def _median_ns(self, wanted: Path, pace: Pace) -> int:
        pace = pace.not_below(self._least_interval_us())
        options = ProbeOptions(pace.probes, _TIMEOUT_MS, CONTROL_FRAME_BYTES, int(Dscp.CONTROL),
                               interval_us=pace.interval_us)
        (answer,) = self._probe([wanted], options)
        if not answer.transit_ns:
            raise _NoAnswerError
        return int(statistics.median(answer.transit_ns))


class _NoAnswerError(Exception):
    """A path is silent."""


def _example_paths(spec: ClosSpec) -> dict[int, Path]:
    """A path for each number of links there is, by that number."""
    found: dict[int, Path] = {}
    for dst in range(1, spec.host_count):
        path = paths(spec, 0, dst)[0]
        found.setdefault(path.link_count, path)
    return found
