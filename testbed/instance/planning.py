"""Requests become jobs: the programs of every host for what was asked."""

from __future__ import annotations

from dataclasses import replace
from functools import singledispatch

from testbed.intent.collective import CollectiveRequest
from testbed.intent.run import RunRequest
from testbed.intent.traffic import TrafficRequest
from testbed.intent.train import TrainRequest
from testbed.intent.workload import Request
from topologies.spec import ClosSpec
from workloads import write_latency
from workloads.collectives.plan import plan_collective
from workloads.job import (
    Job,
    plan_incast,
    plan_permutation,
    plan_write_bandwidth,
    plan_write_latency,
)
from workloads.narrowing import with_evs
from workloads.training.plan import plan_training


def plan_job(request: Request, spec: ClosSpec) -> Job:
    """The programs of every host for a request. Raises WorkloadError."""
    return with_evs(_plan(request, spec), spec, request.evs)


@singledispatch
def _plan(request: Request, spec: ClosSpec) -> Job:
    raise TypeError(f"nobody plans a {type(request).__name__}")


@_plan.register
def _pair(request: RunRequest, spec: ClosSpec) -> Job:
    if request.kind == write_latency.KIND:
        return plan_write_latency(spec, request.src, request.dst, size=request.size_bytes,
                                  iters=request.iters or 1, seed=request.seed)
    return plan_write_bandwidth(
        spec, request.src, request.dst, size=request.size_bytes, qps=request.qps,
        iters=request.iters, duration_ns=request.duration_ns,
        is_bidirectional=request.is_bidirectional, depth=request.depth, seed=request.seed,
        is_every_message_kept=request.is_every_message_kept)


@_plan.register
def _collective(request: CollectiveRequest, spec: ClosSpec) -> Job:
    return plan_collective(
        spec, request.operation, request.hosts, sizes=request.sizes_bytes, iters=request.iters,
        warmup=request.warmup, dtype=request.dtype, algorithm=request.algorithm,
        segment_bytes=request.segment_bytes, channels=request.channels, qps=request.qps,
        seed=request.seed)


@_plan.register
def _traffic(request: TrafficRequest, spec: ClosSpec) -> Job:
    if request.kind == "incast":
        return plan_incast(
            spec, request.dst, request.senders, victim=request.victim, size=request.size_bytes,
            qps=request.qps, iters=request.iters, duration_ns=request.duration_ns,
            depth=request.depth, seed=request.seed)
    return plan_permutation(
        spec, request.pairs, size=request.size_bytes, qps=request.qps, iters=request.iters,
        duration_ns=request.duration_ns, depth=request.depth, seed=request.seed)


@_plan.register
def _training(request: TrainRequest, spec: ClosSpec) -> Job:
    job = plan_training(
        spec, request.hosts, steps=request.steps, gradient_bytes=request.gradient_bytes,
        buckets=request.buckets, compute_ns=request.compute_ns, jitter_ppm=request.jitter_ppm,
        dtype=request.dtype, algorithm=request.algorithm, qps=request.qps,
        channels=request.channels, segment_bytes=request.segment_bytes,
        pipeline_bytes=request.pipeline_bytes, microbatches=request.microbatches,
        expert_bytes=request.expert_bytes, layers=request.layers, seed=request.seed)
    if not request.baseline_ns:
        return job
    return replace(job, parameters={**job.parameters, "baseline_ns": request.baseline_ns})
