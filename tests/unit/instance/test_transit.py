"""How long frames take: rounds until two agree, what faults hide, what is known before."""

from __future__ import annotations

from dataclasses import replace

import pytest

from testbed.errors import TestbedError
from testbed.forwarding.paths import Path
from testbed.instance.prober import Answer, ProbeOptions
from testbed.instance.transit import IDLE_INTERVAL_US, TransitMeter
from testbed.intent.topology import load_topology
from topologies.spec import ClosSpec

TINY = load_topology("tiny")


class Fabric:
    """Answers each round of probes with the next of these times, by links crossed; 0: not."""

    def __init__(self, spec: ClosSpec = TINY, **took_ns: list[int]) -> None:
        self.took_ns = {2: took_ns.get("near", [2_000]), 4: took_ns.get("far", [4_000])}
        self.is_whole = True
        self.probes: list[tuple[Path, ProbeOptions]] = []
        self.meter = TransitMeter(spec, self._probe, lambda: self.is_whole)

    def _probe(self, wanted: list[Path], options: ProbeOptions) -> list[Answer]:
        (path,) = wanted
        self.probes.append((path, options))
        left = self.took_ns[path.link_count]
        took_ns = left.pop(0) if len(left) > 1 else left[0]
        answers = (1, took_ns, took_ns + 50_000) if took_ns else ()
        return [Answer(path, options.count, len(answers), 0, answers, answers)]

    @property
    def probed(self) -> list[int]:
        return [path.link_count for path, _ in self.probes]


def test_it_is_the_median_of_small_frames_of_the_control_class() -> None:
    fabric = Fabric()
    assert fabric.meter.know() == fabric.meter.last_ns == {2: 2_000, 4: 4_000}
    assert fabric.probed == [2, 2, 4, 4]
    options = fabric.probes[0][1]
    assert (options.frame_bytes, options.dscp, options.interval_us) == (150, 46, 3_000)
    assert not options.to_params(is_self=False)["ev_probe"]


def test_rounds_are_repeated_until_two_in_a_row_agree() -> None:
    fabric = Fabric(near=[90_000, 40_000, 60_000, 51_000, 1], far=[100_000, 120_000, 1])
    assert fabric.meter.know() == {2: 51_000, 4: 100_000}
    assert fabric.probed == [2] * 4 + [4] * 2


def test_a_machine_that_never_settles_is_measured_a_few_times() -> None:
    fabric = Fabric(near=[2**round_ for round_ in range(30, 0, -1)])
    assert fabric.meter.know()[2] == 2**22
    assert fabric.probed.count(2) == 9


def test_only_what_a_run_uses_is_measured_and_the_rest_is_from_before() -> None:
    fabric = Fabric(near=[2_000, 2_000, 3_000], far=[4_000, 4_000, 6_000])
    fabric.meter.know()
    assert fabric.meter.know(IDLE_INTERVAL_US, {4}) == {2: 2_000, 4: 6_000}
    assert fabric.probed[4:] == [4, 4]
    assert fabric.probes[-1][1].interval_us == 20_000


def test_under_faults_nothing_is_measured_and_the_last_holds() -> None:
    """What a fault does to a path is the fault's, not the machine's."""
    fabric = Fabric(far=[4_000, 4_000, 9_000])
    fabric.meter.know()
    fabric.is_whole = False
    assert fabric.meter.measure(3_000, {2, 4}) == {}
    assert fabric.meter.know() == {2: 2_000, 4: 4_000}
    assert len(fabric.probes) == 4
    fabric.is_whole = True
    assert fabric.meter.know()[4] == 9_000


@pytest.mark.parametrize("silent_from", [0, 1])
def test_a_path_that_does_not_answer_has_the_time_it_had(silent_from: int) -> None:
    fabric = Fabric(far=[4_000, 4_000, *[4_000] * silent_from, 0])
    fabric.meter.know()
    assert fabric.meter.measure(3_000, {2, 4}) == {2: 2_000}
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
