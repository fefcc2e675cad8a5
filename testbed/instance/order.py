"""A run as the instance carries it out: the job, what it is called, under which time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from testbed.intent.run import RunRequest
from topologies.spec import ClosSpec
from workloads import write_latency
from workloads.job import Job, plan_write_bandwidth, plan_write_latency

LATENCY_TDF = 10_000  # at least: a wake-up's delay is then far below what is measured


@dataclass(frozen=True, slots=True)
class Order:
    """``what`` names the run and its folder; ``document`` is what was asked for, resolved."""

    what: str
    job: Job
    document: Mapping[str, Any]
    tdf: int | Literal["auto"] = "auto"
    is_captured: bool = False
    snap_bytes: int = 256
    recalibrate: bool = False

    @property
    def is_bandwidth(self) -> bool:
        """It sends as fast as it can, so the machine limits how fast time may run."""
        return self.job.kind != write_latency.KIND

    @property
    def senders(self) -> int:
        """How many hosts send data."""
        return sum(bool(host.program["sends"]) for host in self.job.hosts.values())

    @property
    def has_local_paths(self) -> bool:
        """Two of its hosts share a T0."""
        return any(not end.is_cross_t1 for host in self.job.hosts.values() for end in host.ends)

    def share_done(self, answers: Mapping[str, Any]) -> float:
        """How much of it is over, 0 to 1, from what hosts report."""
        duration_ns = self.job.parameters.get("duration_ns")
        if duration_ns is not None:
            now_ns = max((answer["now_ns"] for answer in answers.values()), default=0)
            return float(max(0.0, min(1.0, now_ns / duration_ns)))
        connections = sum(len(host.program["sends"]) for host in self.job.hosts.values())
        done = sum(answer.get("messages_done", 0) for answer in answers.values())
        return float(min(1.0, done / max(1, connections * self.job.parameters["iters"])))


def order_of(request: RunRequest, spec: ClosSpec) -> Order:
    """What a request on the command line comes to. Raises WorkloadError."""
    return Order(
        request.what, plan_job(request, spec), request.to_document(), request.tdf,
        request.is_captured, request.snap_bytes, request.recalibrate)


def plan_job(request: RunRequest, spec: ClosSpec) -> Job:
    """The programs of every host for a request. Raises WorkloadError."""
    if request.kind == write_latency.KIND:
        return plan_write_latency(spec, request.src, request.dst, size=request.size_bytes,
                                  iters=request.iters or 1, seed=request.seed)
    return plan_write_bandwidth(
        spec, request.src, request.dst, size=request.size_bytes, qps=request.qps,
        iters=request.iters, duration_ns=request.duration_ns,
        is_bidirectional=request.is_bidirectional, depth=request.depth, seed=request.seed,
        is_every_message_kept=request.is_every_message_kept)
