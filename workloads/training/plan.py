"""A training job, planned: what a step computes and sends, ranks and connections, as a job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from topologies.spec import ClosSpec
from workloads.collectives.catalogue import OPERATIONS
from workloads.collectives.layout import Layout, layouts, memory_bytes
from workloads.collectives.mesh import Mesh
from workloads.collectives.rankplan import DEFAULT_SEGMENT_BYTES, RankPlan, read_rank
from workloads.collectives.schedule import Expected, Schedule, Shape, Span, part
from workloads.connections import MAX_BUFFER_BYTES
from workloads.job import HostPlan, Job, check_range
from workloads.params import Fields, WorkloadError
from workloads.training.steps import MILLION, Traffic

KIND = "training"
MAX_STEPS = 1_000
MAX_BUCKETS = 64
MAX_COMPUTE_NS = 10 * 10**9
MAX_MICROBATCHES = 256
MAX_LAYERS = 64

_OPERATIONS = {Traffic.GRADIENTS: "allreduce", Traffic.PIPELINE: "sendrecv",
               Traffic.EXPERTS: "alltoall"}  # fmt: skip


class Array(NamedTuple):
    """What one exchange is about: an array in areas of its own, the same on every rank."""

    traffic: Traffic
    layout: Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan(RankPlan):
    """One rank's part.

    In each of ``steps`` every rank computes for ``compute_ns``, give or take up to
    ``jitter_ppm`` parts per million; ``gradient_bytes`` of ``dtype`` elements are all-reduced
    by ``algorithm`` in ``buckets``. Where ``pipeline_bytes`` is not 0, as many go to the next
    rank for each of ``microbatches``, in forward (activations) and in backward (their
    gradients, which would really go to the rank before; here they go to the next, too). Where
    ``expert_bytes`` is not 0, an all-to-all of as many is done to and from the experts of
    each of ``layers``, in forward and in backward.
    """

    steps: int
    gradient_bytes: int
    buckets: int
    compute_ns: int
    jitter_ppm: int
    pipeline_bytes: int
    microbatches: int
    expert_bytes: int
    layers: int

    def to_params(self) -> dict[str, Any]:
        """As JSON, with its kind; `from_params` reads it back."""
        return {"kind": KIND, **self.values()}

    @classmethod
    def from_params(cls, params: object) -> TrainingPlan:
        """Read JSON; raises WorkloadError at the first fault."""
        take = Fields(params, "program")
        take.word("kind", (KIND,))
        plan = cls(
            steps=take.integer("steps", 1, MAX_STEPS),
            gradient_bytes=take.integer("gradient_bytes", 1, MAX_BUFFER_BYTES),
            buckets=take.integer("buckets", 1, MAX_BUCKETS),
            compute_ns=take.integer("compute_ns", 1, MAX_COMPUTE_NS),
            jitter_ppm=take.integer("jitter_ppm", 0, MILLION),
            pipeline_bytes=take.integer("pipeline_bytes", 0, MAX_BUFFER_BYTES),
            microbatches=take.integer("microbatches", 1, MAX_MICROBATCHES),
            expert_bytes=take.integer("expert_bytes", 0, MAX_BUFFER_BYTES),
            layers=take.integer("layers", 1, MAX_LAYERS),
            **read_rank(take, OPERATIONS["allreduce"].algorithms),
        )
        take.finish()
        plan._check()
        return plan

    def _check(self) -> None:
        self.check_ranks()
        ranks = len(self.hosts)
        self._check_size("gradient_bytes", self.buckets * ranks)
        if self.pipeline_bytes:
            self._check_size("pipeline_bytes", 1)
        if self.expert_bytes:
            self._check_size("expert_bytes", ranks)

    def _check_size(self, name: str, least: int) -> None:
        """Whole elements, so many at least: every rank then has something to send."""
        size, item = getattr(self, name), self.item_bytes
        if size % item or size < least * item:
            raise WorkloadError(f"{name} is {size}: give a multiple of {item} bytes "
                                f"({self.dtype}), at least {least * item}")

    # --- What follows from it ----------------------------------------------------------

    @property
    def exchanges(self) -> tuple[int, int, int]:
        """Buckets, microbatches and layers of a step that are exchanged at all."""
        return (self.buckets, self.microbatches if self.pipeline_bytes else 0,
                self.layers if self.expert_bytes else 0)

    def arrays(self) -> list[Array]:
        """Every array: the buckets in order, then those of pipeline and experts if any."""
        found, base = [], 0
        for traffic, size in self._sizes():
            found.append(Array(traffic, *layouts([size], self.dtype, base)))
            base += memory_bytes([size])
        return found

    def memory_bytes(self) -> int:
        """What the arrays need, in bytes."""
        return sum(memory_bytes([size]) for _, size in self._sizes())

    def _sizes(self) -> list[tuple[Traffic, int]]:
        whole = Span(0, self.gradient_bytes // self.item_bytes)
        sizes = [(Traffic.GRADIENTS, part(whole, bucket, self.buckets).count * self.item_bytes)
                 for bucket in range(self.buckets)]
        sizes += [(Traffic.PIPELINE, self.pipeline_bytes), (Traffic.EXPERTS, self.expert_bytes)]
        return [(traffic, size) for traffic, size in sizes if size]

    def schedule(self, array: Array) -> Schedule:
        """What this rank does."""
        algorithms = OPERATIONS[_OPERATIONS[array.traffic]].algorithms
        is_gradients = array.traffic is Traffic.GRADIENTS
        chosen = self.algorithm if is_gradients else next(iter(algorithms))
        return algorithms[chosen](self.rank, self._shape_of(array))

    def expect(self, array: Array) -> list[Expected]:
        """What OUTPUT must be afterwards."""
        operation = OPERATIONS[_OPERATIONS[array.traffic]]
        return operation.expect(self.rank, self._shape_of(array))

    def _shape_of(self, array: Array) -> Shape:
        return self.shape(array.layout.count * self.item_bytes)


def plan_training(
    spec: ClosSpec, hosts: Sequence[int], *, steps: int, gradient_bytes: int, buckets: int = 4,
    compute_ns: int, jitter_ppm: int = 0, dtype: str = "float", algorithm: str | None = None,
    qps: int = 4, channels: int = 1, segment_bytes: int = DEFAULT_SEGMENT_BYTES,
    pipeline_bytes: int = 0, microbatches: int = 4, expert_bytes: int = 0, layers: int = 2,
    seed: int = 0,
) -> Job:  # fmt: skip
    """A training job of ``hosts``, in the order of their ranks, ``qps`` (1 to 64) per pair of them.

    See :class:`TrainingPlan` for what a step does. ``steps`` is 1 to 1,000, ``buckets`` 1 to 64,
    ``compute_ns`` emulated ns up to 10 s, ``jitter_ppm`` 0 to 1,000,000, ``microbatches`` 1 to
    256, ``layers`` 1 to 64; bytes are whole elements of ``dtype``, those of gradients at least
    one for every rank in every bucket, those of pipeline and experts 0 for none.
    ``algorithm`` is one of all-reduce's, None for the first; ``segment_bytes`` (256 or more),
    ``channels`` (1 to 8) and ``seed`` are as in `plan_collective`. Raises WorkloadError that
    names the first of these that is out of range.
    """
    parameters: dict[str, Any] = {
        "steps": steps, "gradient_bytes": gradient_bytes, "buckets": buckets,
        "compute_ns": compute_ns, "jitter_ppm": jitter_ppm, "dtype": dtype,
        "algorithm": algorithm or next(iter(OPERATIONS["allreduce"].algorithms)),
        "channels": channels, "segment_bytes": segment_bytes, "pipeline_bytes": pipeline_bytes,
        "microbatches": microbatches, "expert_bytes": expert_bytes, "layers": layers,
        "hosts": list(hosts), "seed": seed,
    }  # fmt: skip
    plans = [TrainingPlan.from_params({"kind": KIND, **parameters, "rank": rank})
             for rank in range(max(1, len(hosts)))]
    mesh = Mesh(spec, plans[0].hosts, check_range("qps", qps, 1, 64))
    for plan in plans:
        _carry(mesh, plan)
    shared_bytes = mesh.require_memory(plans[0].memory_bytes())
    ends = mesh.ends(seed)
    return Job(KIND, {**parameters, "qps": qps}, seed, {
        plan.hosts[plan.rank]: HostPlan(tuple(ends[plan.rank]), plan.to_params(), shared_bytes)
        for plan in plans
    })


def _carry(mesh: Mesh, plan: TrainingPlan) -> None:
    """Room for an exchange of every lane at once; in a lane one ends before the next begins."""
    arrays = plan.arrays()
    lanes = len({array.traffic for array in arrays})
    for array in arrays:
        mesh.carry(plan.rank, plan.schedule(array), lanes)
