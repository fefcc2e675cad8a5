"""How long frames take: how it is probed, what faults hide, what is known from before."""

from __future__ import annotations

from dataclasses import replace

import pytest

from testbed.errors import TestbedError
from testbed.forwarding.paths import Path
from testbed.instance.prober import Answer, ProbeOptions
from testbed.instance.transit import BUSY, IDLE, Pace, TransitMeter
from testbed.intent.topology import load_topology
from topologies.spec import ClosSpec

TINY = load_topology("tiny")


class Fabric:
    """Answers every request after the one that warms it up with the next of these times, by
    links crossed; 0: not."""

    def __init__(self, spec: ClosSpec = TINY, **took_ns: list[int]) -> None:
        self.took_ns = {2: took_ns.get("near", [2_000]), 4: took_ns.get("far", [4_000])}
        self.is_whole, self.tdf = True, 1_000
        self.probes: list[tuple[int, ProbeOptions]] = []
        self.meter = TransitMeter(spec, self._probe, lambda: self.is_whole, lambda: self.tdf)

    def _probe(self, wanted: list[Path], options: ProbeOptions) -> list[Answer]:
        (path,) = wanted
        self.probes.append((path.link_count, options))
        if options.count == 200:  # after a rest everything is slow
            return [Answer(path, 200, 200, 0, (), (90_000,) * 200)]
        left = self.took_ns[path.link_count]
        took_ns = left.pop(0) if len(left) > 1 else left[0]
        answers = (1, took_ns, took_ns + 50_000) if took_ns else ()
        return [Answer(path, options.count, len(answers), 0, answers, answers)]

    @property
    def probed(self) -> list[int]:
        return [links for links, _ in self.probes]


def test_it_is_the_median_of_small_frames_of_the_control_class() -> None:
    """The longest path is warmed up, then each is measured."""
    fabric = Fabric()
    assert fabric.meter.know() == fabric.meter.last_ns == {2: 2_000, 4: 4_000}
    assert fabric.probed == [4, 2, 4]
    options = fabric.probes[1][1]
    assert (options.frame_bytes, options.dscp, options.interval_us) == (150, 46, 1_000)
    assert not options.to_params(is_self=False)["ev_probe"]


def test_only_what_a_run_uses_is_measured_and_the_rest_is_from_before() -> None:
    fabric = Fabric(near=[2_000, 3_000], far=[4_000, 6_000])
    fabric.meter.know()
    assert fabric.meter.know(IDLE, {4}) == {2: 2_000, 4: 6_000}
    assert fabric.probed[3:] == [4, 4]
    assert fabric.probes[-1][1].interval_us == 20_000


@pytest.mark.parametrize(("pace", "tdf", "expected"), [
    (BUSY, 1_000, Pace(1_000, 100)), (BUSY, 40_000, Pace(1_000, 100)),
    (BUSY, 100_000, Pace(2_377, 42)), (BUSY, 1_000_000, Pace(23_763, 11)),
    (IDLE, 100_000, Pace(20_000, 25)), (IDLE, 1_000_000, Pace(23_763, 21)),
])
def test_no_probe_waits_for_the_one_before_it(pace: Pace, tdf: int, expected: Pace) -> None:
    """At 100 Gb/s and k = 1,000,000 a port takes 11.9 ms for 150 bytes."""
    fabric = Fabric()
    fabric.tdf = tdf
    fabric.meter.know(pace)
    options = fabric.probes[-1][1]
    assert (options.interval_us, options.count) == (expected.interval_us, expected.probes)


def test_under_faults_nothing_is_measured_and_the_last_holds() -> None:
    """What a fault does to a path is the fault's, not the machine's."""
    fabric = Fabric(far=[4_000, 9_000])
    fabric.meter.know()
    fabric.is_whole = False
    assert fabric.meter.measure(BUSY, {2, 4}) == {}
    assert fabric.meter.know() == {2: 2_000, 4: 4_000}
    assert len(fabric.probes) == 3
    fabric.is_whole = True
    assert fabric.meter.know()[4] == 9_000


def test_a_path_that_does_not_answer_has_the_time_it_had() -> None:
    fabric = Fabric(far=[4_000, 0])
    fabric.meter.know()
    assert fabric.meter.measure(BUSY, {2, 4}) == {2: 2_000}
    assert fabric.meter.know() == {2: 2_000, 4: 4_000}


@pytest.mark.parametrize("is_whole", [False, True])
def test_what_was_never_measured_cannot_be_known(is_whole: bool) -> None:
    fabric = Fabric(far=[0])
    fabric.is_whole = is_whole
    with pytest.raises(TestbedError, match=r"0x0000 h0 > .* does not answer.*heal its faults"):
        fabric.meter.know()


def test_one_t0_has_local_paths_only() -> None:
    rack = Fabric(replace(TINY, t0_per_plane=1))
    assert rack.meter.know() == {2: 2_000}
