"""How long frames take through the idle fabric of this machine, on the wall clock.

Agents hold what they receive for the delay of the links it crossed, less this time. It changes
from one minute to the next with everything else the machine does, so it is measured before each
run; and again after it, for the verdict.
"""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable, Collection

from testbed.errors import TestbedError
from testbed.forwarding.paths import Path, paths
from testbed.instance.prober import Answer, ProbeOptions
from topologies.numbers import CONTROL_FRAME_BYTES, Dscp
from topologies.spec import ClosSpec

# Between two probes (wall clock): of a fabric on which frames follow one another, and of one
# whose switches fall asleep in between, as those of a latency run do. Then each takes longer.
BUSY_INTERVAL_US, IDLE_INTERVAL_US = 3_000, 20_000
_PROBES = 11
_ROUNDS = 8  # at most, until two in a row agree
_AGREEMENT = 1.2
_TIMEOUT_MS = 500


class TransitMeter:
    """Of one instance, whose paths ``probe`` probes. ``is_whole`` says that no fault is in force.

    ``last_ns`` is what was measured last, by links crossed: 2 and 4 in a Clos.
    """

    def __init__(self, spec: ClosSpec, probe: Callable[[list[Path], ProbeOptions], list[Answer]],
                 is_whole: Callable[[], bool]) -> None:
        self._examples = _example_paths(spec)
        self._probe, self._is_whole = probe, is_whole
        self.last_ns: dict[int, int] = {}

    def know(self, interval_us: int = BUSY_INTERVAL_US,
             links: Collection[int] | None = None) -> dict[int, int]:
        """Measured now; where faults are in force or nothing answers, what was measured last.

        ``links`` restricts what is measured, not what is answered. Raises TestbedError where
        nothing is known.
        """
        found = self.measure(interval_us, self._examples if links is None else links)
        self.last_ns |= found
        if lacking := self._examples.keys() - self.last_ns.keys():
            raise TestbedError(f"{self._examples[min(lacking)]} does not answer, so it is not "
                               "known how long frames take through this fabric: heal its faults, "
                               "see `testbed status`")
        return dict(self.last_ns)

    def measure(self, interval_us: int, links: Collection[int]) -> dict[int, int]:
        """Wall-clock ns of a small frame by links crossed; without paths that do not answer.

        The first frames on a path take longer, and so do all where the machine is busy with
        something else: rounds are repeated until the medians of two in a row agree.
        """
        if not self._is_whole():
            return {}
        found: dict[int, int] = {}
        for count in links:
            with contextlib.suppress(_NoAnswerError):
                found[count] = self._settled_ns(self._examples[count], interval_us)
        return found

    def _settled_ns(self, wanted: Path, interval_us: int) -> int:
        before_ns = self._median_ns(wanted, interval_us)
        for _ in range(_ROUNDS):
            now_ns = self._median_ns(wanted, interval_us)
            if max(before_ns, now_ns) <= _AGREEMENT * min(before_ns, now_ns):
                break
            before_ns = now_ns
        return min(before_ns, now_ns)

    def _median_ns(self, wanted: Path, interval_us: int) -> int:
        options = ProbeOptions(_PROBES, _TIMEOUT_MS, CONTROL_FRAME_BYTES, int(Dscp.CONTROL),
                               interval_us=interval_us)
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
