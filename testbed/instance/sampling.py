"""How often a run is sampled, where nobody said."""

from __future__ import annotations

from topologies.numbers import base_rtt_ns
from topologies.spec import ClosSpec
from workloads.job import Job

BASE_RTTS = 2
MAX_SAMPLES = 2_000


def sample_interval_ns(job: Job, spec: ClosSpec, asked_ns: int | None = None) -> int:
    """Emulated ns between samples: what was asked for, or two cross-T1 base RTTs.

    Where it is known how long the job lasts, at most so much more often that there are 2000.
    """
    if asked_ns is not None:
        return asked_ns
    duration_ns = job.parameters.get("duration_ns") or 0
    return max(BASE_RTTS * base_rtt_ns(spec), -(-duration_ns // MAX_SAMPLES))
