"""A run as the instance carries it out: the job, what it is called, under which time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from testbed.faults.script import Script
from testbed.instance.baseline import with_baseline
from testbed.instance.planning import plan_job
from testbed.instance.transit import BUSY, IDLE, Pace
from testbed.intent.workload import Request
from topologies.numbers import T0_LOCAL_LINKS
from topologies.spec import ClosSpec
from workloads import write_latency
from workloads.job import Job

LATENCY_TDF = 10_000  # at least: a wake-up's delay is then far below what is measured


@dataclass(frozen=True, slots=True)
class Order:
    """``what`` names the run and its folder; ``document`` is what was asked for, resolved.

    ``script`` is what happens while it runs, ``sample_ns`` how often it is sampled where that
    was asked for.
    """

    what: str
    job: Job
    document: Mapping[str, Any]
    tdf: int | Literal["auto"] = "auto"
    is_captured: bool = False
    snap_bytes: int = 256
    recalibrate: bool = False
    script: Script = ()
    sample_ns: int | None = None

    @property
    def is_bandwidth(self) -> bool:
        """It sends as fast as it can, so the machine limits how fast time may run."""
        return self.job.kind != write_latency.KIND

    @property
    def senders(self) -> int:
        """How many hosts send data."""
        return self.job.senders

    @property
    def has_local_paths(self) -> bool:
        """Two of its hosts share a T0."""
        return T0_LOCAL_LINKS in self.job.link_counts

    @property
    def pace(self) -> Pace:
        """At which to measure transit: where every frame is awaited, switches sleep in between."""
        return BUSY if self.is_bandwidth else IDLE

    def share_done(self, answers: Mapping[str, Any]) -> float:
        """How much of it is over, 0 to 1, from what hosts report."""
        if self.job.is_joint:
            return float(min((answer.get("share", 0.0) for answer in answers.values()), default=0))
        duration_ns = self.job.parameters.get("duration_ns")
        if duration_ns is not None:
            now_ns = max((answer["now_ns"] for answer in answers.values()), default=0)
            return float(max(0.0, min(1.0, now_ns / duration_ns)))
        connections = sum(len(host.program["sends"]) for host in self.job.hosts.values())
        done = sum(answer.get("messages_done", 0) for answer in answers.values())
        return float(min(1.0, done / max(1, connections * self.job.parameters["iters"])))


def order_of(request: Request, spec: ClosSpec) -> Order:
    """What a request comes to. Raises WorkloadError, UsageError where the run that it is to be
    compared with is none."""
    request = with_baseline(request, spec)
    return Order(
        request.what, plan_job(request, spec), request.to_document(), request.tdf,
        request.is_captured, request.snap_bytes, request.recalibrate,
        sample_ns=request.sample_ns)
