"""Finds out how fast time may run on this machine, by trying.

Short runs at line rate, each with a smaller time dilation than the one before, as long as they
can be trusted; or a larger one, until they can.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from testbed.analysis.fidelity import WORDS, Word
from testbed.errors import InstanceError, TestbedError
from testbed.instance import calibration
from testbed.instance.calibration import Calibration
from testbed.instance.fleetrun import RunPlan
from testbed.instance.measured import measure
from testbed.instance.testbed import Testbed
from testbed.intent.dilation import assumed_capacity_pps, least_tdf, line_rate_pps, round_up_125
from topologies.spec import ClosSpec
from workloads.job import Job, plan_permutation

_TRIAL_WALL_NS = 800_000_000
# Runs of a dilation that must agree on whether it is carried: what the machine does otherwise for
# a moment must not cost every run that comes after.
_AGREEING = 2
_MAX_TDF = 1_000_000
_MESSAGE_BYTES, _QPS, _DEPTH = 32_768, 4, 16
_DRAIN_S = 5.0

Tell = Callable[[str], None]
"""Progress, in words."""


class Calibrator:
    """Of one instance. ``next_number()`` numbers the runs that trying takes."""

    def __init__(self, testbed: Testbed, next_number: Callable[[], int]) -> None:
        self._testbed, self._next_number = testbed, next_number
        self._spec = testbed.request.spec
        self._known: Calibration | None = None
        self._is_stopping: Callable[[], bool] = lambda: False

    def know(self, senders: int, tell: Tell, *, is_anew: bool = False,
             is_stopping: Callable[[], bool] = lambda: False) -> Calibration:
        """What is known, with the dilation for so many senders (0: for none).

        Measured where it is not known from before; ``is_anew`` forgets what is. Raises
        TestbedError where nothing is carried at all, InstanceError where it is to stop.
        """
        self._is_stopping = is_stopping
        mark = calibration.fingerprint(self._spec, self._testbed.fabric.describe_dataplane())
        known = None if is_anew else self._known or calibration.load(mark)
        known = known or Calibration()
        if not known.covers(senders):
            known = self._measure(known, senders, tell)
            calibration.store(mark, known)
        self._known = known
        return known

    def _measure(self, known: Calibration, senders: int, tell: Tell) -> Calibration:
        for count in (1, self._spec.host_count):
            if not known.covers(min(senders, count)):
                tdf = self._least_trusted(across(self._spec)[:count], tell)
                known = known.with_tdf(count, tdf)
        return known

    def _least_trusted(self, pairs: list[tuple[int, int]], tell: Tell) -> int:
        """The smallest dilation (1, 2 or 5 times a power of ten) that is carried."""
        transit_ns = self._testbed.transit.know()

        def is_carried(tdf: int) -> bool:
            word = self._try(tdf, pairs, transit_ns)
            hosts = "one host" if len(pairs) == 1 else f"{len(pairs)} hosts"
            tell(f"calibrating: {hosts} at line rate, time dilation {tdf:,}: {word}")
            return word == "trusted"

        least = round_up_125(least_tdf(self._spec))
        offered = line_rate_pps(self._spec, len(pairs))
        tdf = max(least, round_up_125(offered // assumed_capacity_pps(self._spec)))
        if is_carried(tdf):
            while tdf > least and is_carried(_step_down(tdf)):
                tdf = _step_down(tdf)
            return tdf
        while tdf < _MAX_TDF:
            tdf = round_up_125(tdf + 1)
            if is_carried(tdf):
                return tdf
        raise TestbedError(
            f"no time dilation up to {_MAX_TDF:,} gave a run that can be trusted: this machine "
            "is too busy or too small for this topology, free it or take a smaller one")

    def _try(self, tdf: int, pairs: list[tuple[int, int]],
             transit_ns: Mapping[int, int]) -> Word:
        """The verdict on two short runs that agree whether it is trusted; else the worst."""
        trusted, others = 0, list[Word]()
        while trusted < _AGREEING and len(others) < _AGREEING:
            if self._is_stopping():
                raise InstanceError("the run was ended while this machine was being calibrated")
            plan = RunPlan(self._next_number(), 0, tdf, trial_job(self._spec, pairs, tdf),
                           transit_ns, _DRAIN_S)
            word = measure(self._testbed, plan, lambda _answers: None).verdict.word
            if word == "trusted":
                trusted += 1
            else:
                others.append(word)
        return "trusted" if trusted == _AGREEING else max(others, key=WORDS.index)


def across(spec: ClosSpec) -> list[tuple[int, int]]:
    """Every host to another, half of all hosts away: behind another T0 where there is one."""
    half = max(1, spec.host_count // 2)
    return [(host, (host + half) % spec.host_count) for host in range(spec.host_count)]


def trial_job(spec: ClosSpec, pairs: list[tuple[int, int]], tdf: int) -> Job:
    """Writes at line rate from the first host of each pair to the second."""
    return plan_permutation(spec, pairs, size=_MESSAGE_BYTES, qps=_QPS,
                            duration_ns=_TRIAL_WALL_NS // tdf, depth=_DEPTH)


def _step_down(tdf: int) -> int:
    """The next smaller of 1, 2, 5, 10, ..."""
    return next(step for step in (tdf // 2, tdf * 2 // 5) if round_up_125(step) == step)
