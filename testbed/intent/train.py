"""A synthetic training job as asked for, resolved: steps of compute and of communication."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from testbed.intent.collective import CHANNELS, DTYPE, QPS, SEGMENT, algorithm_of
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
    write_options,
)
from testbed.units import format_time_ns, parse_time_ns
from topologies.spec import ClosSpec
from workloads.collectives.layout import ITEM_BYTES
from workloads.collectives.rankplan import DEFAULT_SEGMENT_BYTES, MAX_RANKS
from workloads.training.plan import (
    MAX_BUCKETS,
    MAX_COMPUTE_NS,
    MAX_LAYERS,
    MAX_MICROBATCHES,
    MAX_STEPS,
)

KIND = "train"
MAX_BASELINE_NS = 10**12

_MAX_BYTES = 1 << 30
_MILLION = 1_000_000
_RATIO = re.compile(r"\s*([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*(%?)\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRequest(CommonRequest):
    """``steps`` of a data-parallel job on ``hosts``, in the order of their ranks.

    A step computes for ``compute_ns``, a third of it forward and two thirds backward, more or
    less by up to ``jitter_ppm`` parts per million; ``gradient_bytes`` in ``buckets`` are
    all-reduced as they are ready, by ``algorithm`` in ``channels`` parts that go their way
    independently; ``segment_bytes`` bounds every message. ``pipeline_bytes`` go to the next rank
    for each of ``microbatches``, ``expert_bytes`` from all to all in each of ``layers``; 0 is none.
    ``against`` is the folder of a run to compare with, or ""; ``baseline_ns`` the median time of a
    step of such a run, 0 for none.
    """

    hosts: tuple[int, ...]
    placement: str
    steps: int = 10
    gradient_bytes: int = 16 << 20
    buckets: int = 4
    compute_ns: int = 1_000_000
    jitter_ppm: int = 50_000
    dtype: str = "float"
    algorithm: str = "ring"
    qps: int = 4
    channels: int = 1
    segment_bytes: int = DEFAULT_SEGMENT_BYTES
    pipeline_bytes: int = 0
    microbatches: int = 4
    expert_bytes: int = 0
    layers: int = 2
    against: str = ""
    baseline_ns: int = 0

    @property
    def what(self) -> str:
        """A short name for folders: ``train-8``."""
        return f"{KIND}-{len(self.hosts)}"

    def to_document(self) -> dict[str, Any]:
        """Keys and values as people write them; `workload.from_document` reads them back."""
        table = TABLES[KIND]
        off = {key for key in ("against", "baseline", *_PARTS)
               if not getattr(self, table.options[key].field)}
        off |= {part for key, part in _PARTS.items() if key in off}
        written = write_options(self, table)
        return {"workload": KIND,
                **{key: value for key, value in written.items() if key not in off}}


def parse_ppm(text: str) -> int:
    """Read ``5%`` or ``0.05`` as 50,000 parts per million. Raises ValueError."""
    match = _RATIO.fullmatch(text)
    parts = Fraction(match[1]) * _MILLION / (100 if match[2] else 1) if match else None
    if parts is None or parts.denominator != 1:
        raise ValueError(f"'{text}' is not a ratio in parts per million: write a percentage "
                         "like 5%, or 0.05")
    return parts.numerator


def format_ppm(parts: int) -> str:
    """Parts per million as an exact percentage: 50,000 is ``5%``."""
    text = f"{Decimal(parts) / 10_000:f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text}%"


# what is only of use beside what
_PARTS = {"pipeline": "microbatches", "experts": "layers"}
TABLES: Mapping[str, Table] = {KIND: Table((), {
    "steps": count("steps", 1, MAX_STEPS, 10),
    "gradients": binary_size("gradient_bytes", 1, _MAX_BYTES, 16 << 20),
    "buckets": count("buckets", 1, MAX_BUCKETS, 4),
    "compute": Option("compute_ns", parse_time_ns, format_time_ns, 1, MAX_COMPUTE_NS, 1_000_000),
    "jitter": Option("jitter_ppm", parse_ppm, format_ppm, 0, _MILLION, 50_000),
    "hosts": HOSTS, "placement": PLACEMENT, "dtype": DTYPE, "algo": algorithm_of("allreduce"),
    "qps": QPS, "channels": CHANNELS, "segment": SEGMENT,
    "pipeline": binary_size("pipeline_bytes", 0, _MAX_BYTES, 0),
    "microbatches": count("microbatches", 1, MAX_MICROBATCHES, 4),
    "experts": binary_size("expert_bytes", 0, _MAX_BYTES, 0),
    "layers": count("layers", 1, MAX_LAYERS, 2),
    "against": Option("against", str, str, default=""),
    "baseline": Option("baseline_ns", parse_time_ns, format_time_ns, 1, MAX_BASELINE_NS, 0),
    **COMMON,
}, COMMON_FLAGS)}


def read(raw: RawRequest, spec: ClosSpec, label: Label) -> tuple[TrainRequest, list[str]]:
    """The request these options make, to be believed only where there are no faults."""
    reading = Reading(raw.texts, raw.flags, label)
    fields = reading.fields(TABLES[KIND])
    fields["hosts"], fields["placement"] = reading.ranked_hosts(
        spec, fields["hosts"], fields["placement"], MAX_RANKS)
    request = TrainRequest(tdf=reading.tdf(raw.tdf), **fields)
    ranks = len(request.hosts)
    # Whole elements, and for every rank one to send: ranks need not share them evenly.
    for key, least in (("gradients", request.buckets * ranks), ("pipeline", 1),
                       ("experts", ranks)):
        size_bytes = getattr(request, TABLES[KIND].options[key].field)
        if ranks and (size_bytes or key not in _PARTS):
            _judge_elements(reading, key, size_bytes, request.dtype, least)
    for key, part in _PARTS.items():
        if part in raw.texts and not getattr(request, TABLES[KIND].options[key].field):
            reading.faults.append(f"{label(part)} is of no use without {label(key)}: add it, or "
                                  "leave this out")
    reading.judge_snap()
    return request, reading.faults


def _judge_elements(reading: Reading, key: str, size: int, dtype: str, least: int) -> None:
    """Add a fault where ``size`` bytes are not whole elements, ``least`` of them or more."""
    unit = ITEM_BYTES[dtype]
    if size % unit == 0 and size >= unit * least:
        return
    near = sorted({max(least, size // unit) * unit, max(least, -(-size // unit)) * unit})
    what = "too few" if size % unit == 0 else "not a whole number of"
    reading.faults.append(
        f"{reading.label(key)}: {format_binary_size(size)} is {what} {dtype} elements: use "
        f"{' or '.join(map(format_binary_size, near))}")
