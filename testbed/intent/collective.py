"""A collective as asked for, resolved: sizes in the manner of nccl-tests, hosts by rank."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from testbed.intent.options import (
    COMMON,
    COMMON_FLAGS,
    HOSTS,
    PLACEMENT,
    CommonRequest,
    Label,
    Option,
    RawRequest,
    Reading,
    Table,
    binary_size,
    count,
    format_binary_size,
    parse_binary_size,
    word,
    write_options,
)
from topologies.spec import ClosSpec
from workloads.collectives.catalogue import OPERATIONS, channels_fault
from workloads.collectives.layout import ITEM_BYTES
from workloads.collectives.plan import MAX_ITERS, MAX_SIZES, size_unit
from workloads.collectives.rankplan import DEFAULT_SEGMENT_BYTES, MAX_CHANNELS, MAX_RANKS

DEFAULT_SIZES = "256K:4M:x4"
MAX_SIZE_BYTES = 1 << 30  # what a host may register at all; the planner counts it exactly

_FACTOR = re.compile(r"x([0-9]{1,9})")


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectiveRequest(CommonRequest):
    """One operation at one size after the other.

    ``sizes_bytes`` are of the whole array; each is done ``warmup`` times for nothing, then
    ``iters`` times. ``hosts`` are in the order of their ranks, which is how ``placement``
    put them. ``segment_bytes`` bounds a message; ``qps`` queue pairs per pair of ranks.
    """

    operation: str
    sizes_bytes: tuple[int, ...]
    hosts: tuple[int, ...]
    placement: str
    algorithm: str
    iters: int = 4
    warmup: int = 1
    dtype: str = "float"
    qps: int = 4
    channels: int = 1
    segment_bytes: int = DEFAULT_SEGMENT_BYTES

    @property
    def what(self) -> str:
        """A short name for folders: ``allreduce-8``."""
        return f"{self.operation}-{len(self.hosts)}"

    def to_document(self) -> dict[str, Any]:
        """Keys and values as people write them; `workload.from_document` reads them back."""
        return {"workload": self.operation, **write_options(self, TABLES[self.operation])}


def parse_sizes(text: str) -> tuple[int, ...]:
    """Read ``16M``, ``1M,3M``, ``256K:4M:x4`` or ``1M:4M:1M`` as bytes. Raises ValueError."""
    found: list[int] = []
    for part in text.split(","):
        for size in _sweep(part.strip()):
            _judge_size(size, found)
            found.append(size)
    return tuple(found)


def _judge_size(size: int, found: Sequence[int]) -> None:
    if not 1 <= size <= MAX_SIZE_BYTES:
        raise ValueError(f"{format_binary_size(size)} is not allowed: use 1B to "
                         f"{format_binary_size(MAX_SIZE_BYTES)}")
    if size in found:
        raise ValueError(f"{format_binary_size(size)} is there twice: name every size once")
    if len(found) == MAX_SIZES:
        raise ValueError(f"these are more than {MAX_SIZES} sizes: use larger steps")


def _sweep(text: str) -> Iterator[int]:
    """One size, or those of FROM:TO:xFACTOR or FROM:TO:STEP; endless ones end in a fault."""
    ends = text.split(":")
    if len(ends) == 1:
        yield parse_binary_size(text)
        return
    if len(ends) != 3:
        raise ValueError(f"'{text}' is not a range of sizes: write it like {DEFAULT_SIZES} or "
                         "1M:4M:1M")
    size, last = parse_binary_size(ends[0]), parse_binary_size(ends[1])
    factor = _FACTOR.fullmatch(ends[2].strip())
    scale, step = (int(factor[1]), 0) if factor else (1, parse_binary_size(ends[2]))
    if last < size:
        raise ValueError(f"'{text}' runs backwards: write the smaller size first")
    if factor and scale < 2:
        raise ValueError(f"'{text}' does not grow: use a factor of x2 or more")
    if not factor and not step:
        raise ValueError(f"'{text}' does not grow: use a step of 1B or more")
    while size <= last:
        yield size
        size = size * scale + step


def write_sizes(sizes: Sequence[int]) -> list[str]:
    """``[256KiB, 1MiB]``, as documents have them."""
    return [format_binary_size(size) for size in sizes]


SIZES = Option("sizes_bytes", parse_sizes, write_sizes, default=parse_sizes(DEFAULT_SIZES))
DTYPE = word("dtype", tuple(ITEM_BYTES), "float")
QPS = count("qps", 1, 64, 4)


CHANNELS = count("channels", 1, MAX_CHANNELS, 1)
SEGMENT = binary_size("segment_bytes", 256, MAX_SIZE_BYTES, DEFAULT_SEGMENT_BYTES)


def algorithm_of(operation: str) -> Option:
    """Its algorithms, the first as the default."""
    names = tuple(OPERATIONS[operation].algorithms)
    return word("algorithm", names, names[0])


def _table(operation: str) -> Table:
    return Table((), {
        "sizes": SIZES, "iters": count("iters", 1, MAX_ITERS, 4),
        "warmup": count("warmup", 0, MAX_ITERS, 1), "hosts": HOSTS, "placement": PLACEMENT,
        "dtype": DTYPE, "algo": algorithm_of(operation), "qps": QPS,
        "channels": CHANNELS, "segment": SEGMENT, **COMMON,
    }, COMMON_FLAGS)


TABLES: Mapping[str, Table] = {operation: _table(operation) for operation in OPERATIONS}


def read(raw: RawRequest, spec: ClosSpec, label: Label) -> tuple[CollectiveRequest, list[str]]:
    """The request these options make, to be believed only where there are no faults."""
    reading = Reading(raw.texts, raw.flags, label)
    fields = reading.fields(TABLES[raw.workload])
    fields["hosts"], fields["placement"] = reading.ranked_hosts(
        spec, fields["hosts"], fields["placement"], MAX_RANKS)
    fields["sizes_bytes"] = _whole(reading, raw.workload, fields)
    if fault := channels_fault(raw.workload, fields["channels"]):
        reading.faults.append(f"{label('channels')}: {fault}")
    reading.judge_snap()
    tdf = reading.tdf(raw.tdf)
    return CollectiveRequest(operation=raw.workload, tdf=tdf, **fields), reading.faults


def _whole(reading: Reading, operation: str, fields: Mapping[str, Any]) -> tuple[int, ...]:
    """The sizes, each rounded down to whole elements (of every rank where these are counted):
    what nccl-tests does, and what its table then shows."""
    ranks = len(fields["hosts"])
    dtype = fields["dtype"]
    unit = size_unit(operation, dtype, ranks or 1)
    each = f" for each of {ranks} ranks" if unit > ITEM_BYTES[dtype] else ""
    for size in fields["sizes_bytes"]:
        if ranks and size < unit:
            reading.faults.append(
                f"{reading.label('sizes')}: {format_binary_size(size)} is less than one "
                f"{dtype} element{each}: use {format_binary_size(unit)} or more")
    return tuple(dict.fromkeys(size // unit * unit for size in fields["sizes_bytes"]))
