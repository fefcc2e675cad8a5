"""A workload between two hosts: options as typed, resolved to one frozen request.

    RunRequest    what is run; `to_document` writes it with units, `from_document` reads it

Both ways go through one table of options, so a spec.yaml is judged like a command line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from testbed.errors import did_you_mean
from testbed.intent.options import (
    COMMON,
    COMMON_FLAGS,
    DEFAULT_SEED,
    DEFAULT_SNAP_BYTES,
    DURATION,
    ITERS_LIMIT,
    Label,
    RawRequest,
    Reading,
    Table,
    count,
    raw_of,
    require_none,
    size,
    write_options,
)
from testbed.units import format_size_bytes
from topologies.names import host_name
from topologies.spec import ClosSpec
from workloads.evshare import EvShare

Kind = Literal["write-bw", "write-lat"]
KINDS: tuple[Kind, ...] = get_args(Kind)

MAX_MEMORY_BYTES = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """One workload between two hosts, by index.

    ``iters`` are messages per queue pair, ``duration_ns`` is emulated time; exactly one of
    them is not None. ``depth`` messages are posted at a time on every queue pair.
    ``snap_bytes`` of every frame are captured where ``is_captured``. With
    ``is_every_message_kept`` each message has memory of its own and every byte is verified.
    ``evs`` are those used of each plane, None for every path.
    """

    kind: Kind
    src: int
    dst: int
    size_bytes: int
    qps: int = 1
    iters: int | None = None
    duration_ns: int | None = None
    is_bidirectional: bool = False
    depth: int = 1
    tdf: int | Literal["auto"] = "auto"
    seed: int = DEFAULT_SEED
    is_captured: bool = False
    snap_bytes: int = DEFAULT_SNAP_BYTES
    recalibrate: bool = False
    is_every_message_kept: bool = False
    sample_ns: int | None = None
    evs: EvShare | None = None

    @property
    def what(self) -> str:
        """A short name for folders: ``write-bw-h0-h7``."""
        return f"{self.kind}-{host_name(self.src)}-{host_name(self.dst)}"

    @property
    def memory_bytes(self) -> int:
        """Memory registered on one host: a source and a target per queue pair and direction."""
        messages = self.depth if self.iters is None else min(self.depth, self.iters)
        if self.is_every_message_kept and self.iters is not None:
            messages = self.iters
        directions = 2 if self.is_bidirectional else 1
        return self.qps * messages * self.size_bytes * 2 * directions

    def to_document(self) -> dict[str, Any]:
        """Keys and values as people write them; `from_document` reads them back."""
        return {"workload": self.kind, "src": host_name(self.src), "dst": host_name(self.dst),
                **write_options(self, TABLES[self.kind])}


_OPERANDS = ("src", "dst")
TABLES: Mapping[str, Table] = {
    "write-bw": Table(_OPERANDS, {
        "size": size("size_bytes", 64 << 20, 32 << 10), "qps": count("qps", 1, 64, 4),
        "iters": count("iters", 1, ITERS_LIMIT), "duration": DURATION,
        "depth": count("depth", 1, 1024, 128), **COMMON,
    }, {"bidirectional": "is_bidirectional", "verify": "is_every_message_kept", **COMMON_FLAGS}),
    "write-lat": Table(_OPERANDS, {
        "size": size("size_bytes", 1 << 20, 2), "iters": count("iters", 1, ITERS_LIMIT, 100),
        **COMMON,
    }, COMMON_FLAGS),
}
_EVERY = TABLES["write-bw"]  # it knows all options of both


def read(raw: RawRequest, spec: ClosSpec, label: Label) -> tuple[RunRequest, list[str]]:
    """The request these options make, to be believed only where there are no faults."""
    reading = _PairReading(raw, label)
    request = reading.request()
    reading.judge_host("src", reading.src, spec)
    reading.judge_host("dst", reading.dst, spec)
    return request, _with_memory(request, reading.faults)


def from_document(document: Mapping[str, Any]) -> RunRequest:
    """Read what `RunRequest.to_document` wrote, or a person in its manner.

    Whether its hosts exist is not asked. Raises UsageError that lists everything wrong.
    """
    faults: list[str] = []
    raw = raw_of(document, _EVERY, (), faults)
    reading = _PairReading(raw if "workload" in document else replace(raw, workload="write-bw"),
                           str)
    request = reading.request()
    require_none(_with_memory(request, faults + reading.faults))
    return request


class _PairReading(Reading):
    """One pass over a raw request of two operands."""

    def __init__(self, raw: RawRequest, label: Label) -> None:
        super().__init__(raw.texts, raw.flags, label)
        self._raw = raw
        self._src, dst = raw.operands
        self.src, self.dst = self.host("src", self._src), self.host("dst", dst)

    def request(self) -> RunRequest:
        """The request, to be believed only where there are no ``faults``."""
        kind = self._kind()
        if self.src is not None and self.src == self.dst:
            self.faults.append(f"{self.label('dst')}: {self._src} cannot write to itself: name "
                               "two hosts")
        fields = self.fields(TABLES[kind])
        self._judge_options(kind)
        if kind == "write-bw" and "iters" in self.texts:
            # One that was refused is a fault already, and stood in for.
            fields |= {"duration_ns": None, "iters": fields["iters"] or 1}
        return RunRequest(kind=kind, src=self.src or 0, dst=self.dst or 0,
                          tdf=self.tdf(self._raw.tdf), **fields)

    def _kind(self) -> Kind:
        """An unknown workload is judged as a write-bw, which has the widest ranges."""
        name = self._raw.workload
        found = next((kind for kind in KINDS if kind == name), None)
        if found is None:
            hint = did_you_mean(name, KINDS)
            self.faults.append(f"there is no workload '{name}'{hint}: use {' or '.join(KINDS)}")
        return found or "write-bw"

    def _judge_options(self, kind: Kind) -> None:
        """Options that do not belong to the workload, or not together."""
        known = TABLES[kind].keys
        for key in sorted({*self.texts, *self.flags} - known):
            self.faults.append(f"{self.label(key)} is not for {kind}, which writes one message "
                               "at a time on one queue pair: leave it out")
        self.judge_length(known)
        if "verify" in self.flags & known and "iters" not in self.texts:
            self.faults.append(f"{self.label('verify')} keeps every message, so their number "
                               f"must be known: add {self.label('iters')}")
        self.judge_snap()


def _with_memory(request: RunRequest, faults: list[str]) -> list[str]:
    # With stand-ins for what is wrong the memory would be that of another run.
    if faults or request.memory_bytes <= MAX_MEMORY_BYTES:
        return faults
    return [
        f"{request.kind} would register {request.memory_bytes / 2**30:.1f} GiB of memory on "
        f"a host, {format_size_bytes(MAX_MEMORY_BYTES)} is the most: use smaller or fewer "
        "messages at a time (size, queue pairs, depth or kept messages)"
    ]
