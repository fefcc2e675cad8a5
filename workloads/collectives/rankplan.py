"""What the plans of all ranks' programs have in common: who they are, and how data is cut up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from workloads.collectives.layout import ITEM_BYTES
from workloads.collectives.schedule import Shape
from workloads.connections import MAX_BUFFER_BYTES, MAX_HOST, MAX_SEED
from workloads.params import Fields, WorkloadError

MAX_CHANNELS = 8
MAX_RANKS = 85  # whose sums are exact in bfloat16
DEFAULT_SEGMENT_BYTES = 64 << 10

_MESSAGES = 4096  # a segment is at least such a part of the whole: tags are limited


@dataclass(frozen=True, slots=True, kw_only=True)
class RankPlan:
    """One rank's part of something all ranks do.

    Arrays have elements of ``dtype``, float or bfloat16; ``algorithm`` is one of the operation's;
    ``segment_bytes``, 256 or more, bounds a message; ``channels``, 1 to 8, parts of an array go
    their way independently. ``hosts``, 2 to 85, has the host of every rank by its index; this
    one is ``rank``, from 0. ``seed``, from 0 below 2**63, makes the contents of all ranks, and
    what else is random in a program.
    """

    dtype: str
    algorithm: str
    segment_bytes: int
    channels: int
    hosts: tuple[int, ...]
    rank: int
    seed: int

    def values(self) -> dict[str, Any]:
        """As JSON, without a kind."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value
                for name, value in values.items()}

    @property
    def item_bytes(self) -> int:
        """The length of an element."""
        return ITEM_BYTES[self.dtype]

    def shape(self, size: int) -> Shape:
        """How an array of this many bytes is cut up."""
        count = size // self.item_bytes
        segment = max(self.segment_bytes // self.item_bytes, -(-count // _MESSAGES), 1)
        return Shape(len(self.hosts), count, segment, self.channels)

    def check_ranks(self) -> None:
        """Raise WorkloadError where ranks and hosts do not fit."""
        ranks = len(self.hosts)
        if not 2 <= len(set(self.hosts)) == ranks <= MAX_RANKS:
            raise WorkloadError(f"{ranks} ranks on {len(set(self.hosts))} hosts: give "
                                f"2 to {MAX_RANKS} hosts, each once")
        if self.rank >= ranks:
            raise WorkloadError(f"there is no rank {self.rank} of {ranks}: count from 0")


def read_rank(take: Fields, algorithms: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a `RankPlan` from JSON; raises WorkloadError at the first fault."""
    return {
        "dtype": take.word("dtype", ITEM_BYTES),
        "algorithm": take.word("algorithm", algorithms),
        "segment_bytes": take.integer("segment_bytes", 256, MAX_BUFFER_BYTES),
        "channels": take.integer("channels", 1, MAX_CHANNELS),
        "hosts": take.integers("hosts", 0, MAX_HOST),
        "rank": take.integer("rank", 0, MAX_RANKS - 1),
        "seed": take.integer("seed", 0, MAX_SEED),
    }
