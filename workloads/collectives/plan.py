"""A collective, planned: sizes and iterations, ranks and their connections, as a job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from topologies.spec import ClosSpec
from workloads.collectives.catalogue import OPERATIONS, channels_fault
from workloads.collectives.layout import ITEM_BYTES, Layout, layouts, memory_bytes
from workloads.collectives.mesh import Mesh
from workloads.collectives.rankplan import DEFAULT_SEGMENT_BYTES, RankPlan, read_rank
from workloads.collectives.schedule import Expected, Schedule
from workloads.connections import MAX_BUFFER_BYTES
from workloads.job import HostPlan, Job, check_range
from workloads.params import Fields, WorkloadError

KIND = "collective"
MAX_ITERS = 1_000
MAX_SIZES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectivePlan(RankPlan):
    """One rank's part.

    ``operation`` (see `OPERATIONS`) is done with arrays of ``sizes`` bytes, each ``warmup``
    times for nothing, then ``iters`` times.
    """

    operation: str
    sizes: tuple[int, ...]
    iters: int
    warmup: int

    def to_params(self) -> dict[str, Any]:
        """As JSON, with its kind; `from_params` reads it back."""
        return {"kind": KIND, **self.values()}

    @classmethod
    def from_params(cls, params: object) -> CollectivePlan:
        """Read JSON; raises WorkloadError at the first fault."""
        take = Fields(params, "program")
        take.word("kind", (KIND,))
        operation = take.word("operation", OPERATIONS)
        plan = cls(
            operation=operation,
            sizes=take.integers("sizes", 1, MAX_BUFFER_BYTES),
            iters=take.integer("iters", 1, MAX_ITERS),
            warmup=take.integer("warmup", 0, MAX_ITERS),
            **read_rank(take, OPERATIONS[operation].algorithms),
        )
        take.finish()
        if fault := channels_fault(operation, plan.channels):
            raise WorkloadError(fault)
        plan.check_ranks()
        plan._check_sizes()
        return plan

    def _check_sizes(self) -> None:
        if not 1 <= len(self.sizes) <= MAX_SIZES:
            raise WorkloadError(f"{len(self.sizes)} sizes: give 1 to {MAX_SIZES}")
        unit = size_unit(self.operation, self.dtype, len(self.hosts))
        for size in self.sizes:
            if size % unit:
                raise WorkloadError(
                    f"{size} bytes are not a whole number of {self.dtype} elements (for each of "
                    f"{len(self.hosts)} ranks): use a multiple of {unit} bytes")

    def schedule(self, size: int) -> Schedule:
        """What this rank does."""
        return OPERATIONS[self.operation].algorithms[self.algorithm](self.rank, self.shape(size))

    def expect(self, size: int) -> list[Expected]:
        """What OUTPUT must be afterwards."""
        return OPERATIONS[self.operation].expect(self.rank, self.shape(size))

    def layouts(self) -> list[Layout]:
        """Where the areas are, for each size."""
        return layouts(self.sizes, self.dtype)


def size_unit(operation: str, dtype: str, ranks: int) -> int:
    """What sizes must be a multiple of, in bytes: an element, of every rank where nccl-tests
    counts those of one rank."""
    per_rank = ranks if OPERATIONS[operation].is_counted_per_rank else 1
    return ITEM_BYTES[dtype] * per_rank


def plan_collective(
    spec: ClosSpec, operation: str, hosts: Sequence[int], *, sizes: Sequence[int],
    iters: int = 1, warmup: int = 0, dtype: str = "float", algorithm: str | None = None,
    segment_bytes: int = DEFAULT_SEGMENT_BYTES, channels: int = 1, qps: int = 4, seed: int = 0,
) -> Job:  # fmt: skip
    """A collective of ``hosts``, in the order of their ranks, ``qps`` (1 to 64) per pair of them.

    ``operation`` is one of `OPERATIONS`, ``algorithm`` one of its own, None for the first.
    ``sizes``, 1 to 64 of them, are bytes of the whole array, whole elements of ``dtype`` (of
    every rank where nccl-tests counts those of one); each is done ``warmup`` (0 to 1,000)
    and then ``iters`` (1 to 1,000) times. ``segment_bytes`` (256 or more) bounds a message,
    ``channels`` is 1 to 8, ``seed`` from 0 below 2**63. Raises WorkloadError that names the
    first of these that is out of range.
    """
    if operation not in OPERATIONS:
        raise WorkloadError(f"there is no collective '{operation}': "
                            f"use {', '.join(OPERATIONS)}")
    chosen = algorithm or next(iter(OPERATIONS[operation].algorithms))
    parameters: dict[str, Any] = {
        "operation": operation, "algorithm": chosen, "dtype": dtype, "sizes": list(sizes),
        "iters": iters, "warmup": warmup, "segment_bytes": segment_bytes, "channels": channels,
        "hosts": list(hosts), "seed": seed,
    }  # fmt: skip
    plans = [CollectivePlan.from_params({"kind": KIND, **parameters, "rank": rank})
             for rank in range(len(hosts))] or [_nobody()]
    mesh = Mesh(spec, plans[0].hosts, check_range("qps", qps, 1, 64))
    for plan in plans:
        for size in plan.sizes:
            mesh.carry(plan.rank, plan.schedule(size))
    shared_bytes = mesh.require_memory(memory_bytes(plans[0].sizes))
    ends = mesh.ends(seed)
    return Job(KIND, {**parameters, "qps": qps}, seed, {
        plan.hosts[plan.rank]: HostPlan(
            tuple(ends[plan.rank]), plan.to_params(), shared_bytes)
        for plan in plans
    })


def _nobody() -> CollectivePlan:
    raise WorkloadError("there is no host to take part: name two or more")
