"""testbed/instance/sampling.py: how often a run is sampled."""

from __future__ import annotations

import pytest
from unit.instance.run_fakes import SPEC

from testbed.instance.sampling import MAX_SAMPLES, sample_interval_ns
from topologies.numbers import base_rtt_ns
from workloads.job import plan_write_bandwidth

DEFAULT_NS = 2 * base_rtt_ns(SPEC)


@pytest.mark.parametrize(("duration_ns", "interval_ns"), [
    (None, DEFAULT_NS),
    (1_000_000, DEFAULT_NS),
    (DEFAULT_NS * MAX_SAMPLES, DEFAULT_NS),
    (DEFAULT_NS * MAX_SAMPLES + 1, DEFAULT_NS + 1),
    (1_000_000_000, 500_000),
])
def test_two_base_rtts_and_never_more_than_2000_samples(
    duration_ns: int | None, interval_ns: int
) -> None:
    job = plan_write_bandwidth(SPEC, 0, 2, size=64, qps=1, iters=None if duration_ns else 4,
                               duration_ns=duration_ns)
    assert sample_interval_ns(job, SPEC) == interval_ns


def test_what_was_asked_for_comes_first() -> None:
    job = plan_write_bandwidth(SPEC, 0, 2, size=64, qps=1, duration_ns=10**9)
    assert sample_interval_ns(job, SPEC, 5_000) == 5_000
