"""What `run` was asked for: options as typed, resolved to one frozen request.

    RawRun        text of every option, None where it was not typed
    RunRequest    what is run; `to_document` writes it with units, `from_document` reads it

Both ways go through one table of options, so a spec.yaml is judged like a command line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from testbed.errors import UsageError, did_you_mean
from testbed.intent.tdf import parse_tdf
from testbed.units import format_size_bytes, format_time_ns, parse_size_bytes, parse_time_ns
from topologies.names import host_name, parse_host
from topologies.spec import ClosSpec

Kind = Literal["write-bw", "write-lat"]
KINDS: tuple[Kind, ...] = get_args(Kind)

MAX_MEMORY_BYTES = 1 << 30
DEFAULT_SEED = 1
DEFAULT_SNAP_BYTES = 256  # every header of MRC, and the beginning of the payload

_DIGITS = re.compile(r"[0-9]{1,19}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RawRun:
    """A command line. ``texts`` by key of the document (``size``), ``flags`` that were set."""

    workload: str
    src: str
    dst: str
    tdf: str = "auto"
    texts: Mapping[str, str] = field(default_factory=dict)
    flags: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """One workload between two hosts, by index.

    ``iters`` are messages per queue pair, ``duration_ns`` is emulated time; exactly one of
    them is not None. ``depth`` messages are posted at a time on every queue pair.
    ``snap_bytes`` of every frame are captured where ``is_captured``. With
    ``is_every_message_kept`` each message has memory of its own and every byte is verified.
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
        document: dict[str, Any] = {
            "workload": self.kind, "src": host_name(self.src), "dst": host_name(self.dst)}
        for key, number in _numbers_of(self.kind).items():
            value = getattr(self, number.field)
            if value is not None and (key != "snap" or self.is_captured):
                document[key] = number.write(value)
        flags = {key: getattr(self, name) for key, name in _flags_of(self.kind).items()}
        return {**document, "tdf": self.tdf, **flags}


@dataclass(frozen=True, slots=True)
class _Number:
    """An option that is a number: its field, how it is read and written, what is allowed."""

    field: str
    parse: Callable[[str], int]
    write: Callable[[int], object]
    low: int
    high: int
    default: int | None = None

    @property
    def allowed(self) -> str:
        return f"{self.write(self.low)} to {self.write(self.high)}"


def _parse_bytes(text: str) -> int:
    """As in perftest a plain number is bytes; other units may be written."""
    return int(text) if _DIGITS.fullmatch(text) else parse_size_bytes(text)


def _count(name: str, low: int, high: int, default: int | None = None) -> _Number:
    def parse(text: str) -> int:
        if not _DIGITS.fullmatch(text):
            raise ValueError(f"'{text}' is not a whole number, use {low} to {high}")
        return int(text)

    return _Number(name, parse, int, low, high, default)


def _size(name: str, high: int, default: int) -> _Number:
    return _Number(name, _parse_bytes, format_size_bytes, 1, high, default)


_COMMON = {
    "seed": _count("seed", 0, 2**63 - 1, DEFAULT_SEED),
    "snap": _size("snap_bytes", 65_535, DEFAULT_SNAP_BYTES),
}
_ITERS_LIMIT = 1_000_000
_DURATION = _Number("duration_ns", parse_time_ns, format_time_ns, 10_000, 10**9, 1_000_000)
_NUMBERS: Mapping[Kind, Mapping[str, _Number]] = {
    "write-bw": {
        "size": _size("size_bytes", 64 << 20, 32 << 10), "qps": _count("qps", 1, 64, 4),
        "iters": _count("iters", 1, _ITERS_LIMIT), "duration": _DURATION,
        "depth": _count("depth", 1, 1024, 128), **_COMMON,
    },
    "write-lat": {
        "size": _size("size_bytes", 1 << 20, 2), "iters": _count("iters", 1, _ITERS_LIMIT, 100),
        **_COMMON,
    },
}
# key of the document -> field
_FLAGS: Mapping[str, str] = {
    "bidirectional": "is_bidirectional", "verify": "is_every_message_kept",
    "capture": "is_captured", "recalibrate": "recalibrate",
}
_BANDWIDTH_FLAGS = ("bidirectional", "verify")
_OPTION_OF = {"bidirectional": "--bidir", "capture": "--pcap"}


def resolve_run(raw: RawRun, spec: ClosSpec) -> RunRequest:
    """The request these options make on this topology.

    Raises UsageError that lists everything wrong at once.
    """
    reading = _Reading(raw, _option)
    request = reading.request()
    for host in (reading.src, reading.dst):
        if host is not None and (fault := _host_fault(host, spec)):
            reading.faults.append(fault)
    return _checked(request, reading.faults)


def from_document(document: Mapping[str, Any]) -> RunRequest:
    """Read what `RunRequest.to_document` wrote, or a person in its manner.

    Whether its hosts exist is `require_hosts`. Raises UsageError that lists everything wrong.
    """
    faults: list[str] = []
    raw = _raw_of(document, faults)
    reading = _Reading(raw, str)
    return _checked(reading.request(), faults + reading.faults)


def require_hosts(request: RunRequest, spec: ClosSpec) -> None:
    """Raises UsageError where a host of the request does not exist in this topology."""
    found = [_host_fault(host, spec) for host in (request.src, request.dst)]
    _checked(request, [fault for fault in found if fault])


class _Reading:
    """One pass over a raw run: what is wrong is noted and stood in for, so all is judged."""

    def __init__(self, raw: RawRun, label: Callable[[str], str]) -> None:
        self.faults: list[str] = []
        self._raw, self._label = raw, label
        self.src, self.dst = self._host(raw.src), self._host(raw.dst)

    def request(self) -> RunRequest:
        """The request, to be believed only where there are no ``faults``."""
        kind = self._kind()
        if self.src is not None and self.src == self.dst:
            self.faults.append(f"{self._raw.src} cannot write to itself: name two hosts")
        # An unknown workload is judged as a write-bw: it knows all options and the widest ranges.
        numbers = {number.field: self._number(key, number)
                   for key, number in _numbers_of(kind).items()}
        flags = {name: key in self._raw.flags for key, name in _flags_of(kind).items()}
        self._judge_options(kind)
        if kind == "write-bw" and "iters" in self._raw.texts:
            # One that was refused is a fault already, and stood in for.
            numbers |= {"duration_ns": None, "iters": numbers["iters"] or 1}
        return RunRequest(kind=kind, src=self.src or 0, dst=self.dst or 0, tdf=self._tdf(),
                          **numbers, **flags)  # type: ignore[arg-type]

    def _kind(self) -> Kind:
        word = self._raw.workload
        found = next((kind for kind in KINDS if kind == word), None)
        if found is None:
            hint = did_you_mean(word, KINDS)
            self.faults.append(f"there is no workload '{word}'{hint}: use {' or '.join(KINDS)}")
        return found or "write-bw"

    def _host(self, text: str) -> int | None:
        host = parse_host(text)
        if host is None:
            self.faults.append(f"'{text}' is not a host: write one like h0")
        return host

    def _number(self, key: str, number: _Number) -> int | None:
        text = self._raw.texts.get(key)
        if text is None:
            return number.default
        label = self._label(key)
        try:
            value = number.parse(text)
        except ValueError as error:
            self.faults.append(f"{label}: {error}")
            return number.default
        if number.low <= value <= number.high:
            return value
        self.faults.append(f"{label} {text} is not allowed: use {number.allowed}")
        return number.default

    def _tdf(self) -> int | Literal["auto"]:
        try:
            return parse_tdf(self._raw.tdf)
        except UsageError as error:
            self.faults.append(str(error).replace("--tdf", self._label("tdf"), 1))
            return "auto"

    def _judge_options(self, kind: Kind) -> None:
        """Options that do not belong to the workload, or not together."""
        texts, flags = self._raw.texts, self._raw.flags
        known = {*_numbers_of(kind), *_flags_of(kind)}
        for key in sorted({*texts, *flags} - known):
            self.faults.append(f"{self._label(key)} is not for {kind}, which writes one message "
                               "at a time on one queue pair: leave it out")
        if {"iters", "duration"} <= texts.keys() & known:
            self.faults.append(f"{self._label('iters')} and {self._label('duration')} exclude "
                               "each other: keep one")
        if "verify" in flags & known and "iters" not in texts:
            self.faults.append(f"{self._label('verify')} keeps every message, so their number "
                               f"must be known: add {self._label('iters')}")
        if "snap" in texts and "capture" not in flags:
            self.faults.append(f"{self._label('snap')} is for captures only: add "
                               f"{self._label('capture')}")


def _checked(request: RunRequest, faults: list[str]) -> RunRequest:
    # With stand-ins for what is wrong the memory would be that of another run.
    if not faults and request.memory_bytes > MAX_MEMORY_BYTES:
        faults = [
            f"{request.kind} would register {request.memory_bytes / 2**30:.1f} GiB of memory on "
            f"a host, {format_size_bytes(MAX_MEMORY_BYTES)} is the most: use smaller or fewer "
            "messages at a time (size, queue pairs, depth or kept messages)"
        ]
    if len(faults) == 1:
        raise UsageError(faults[0])
    if faults:
        lines = "".join(f"\n  {fault}" for fault in faults)
        raise UsageError(f"this run has {len(faults)} faults:{lines}")
    return request


def _host_fault(host: int, spec: ClosSpec) -> str | None:
    try:
        spec.t0_of(host)
    except ValueError as error:
        return str(error)
    return None


def _numbers_of(kind: Kind) -> Mapping[str, _Number]:
    return _NUMBERS[kind]


def _flags_of(kind: Kind) -> dict[str, str]:
    left_out = () if kind == "write-bw" else _BANDWIDTH_FLAGS
    return {key: name for key, name in _FLAGS.items() if key not in left_out}


def _option(key: str) -> str:
    return _OPTION_OF.get(key, f"--{key}")


def _raw_of(document: Mapping[str, Any], faults: list[str]) -> RawRun:
    """A document as the options it stands for; adds what is wrong with its shape."""
    every = {key for numbers in _NUMBERS.values() for key in numbers}
    words = {"workload": "write-bw", "src": "h0", "dst": "h1", "tdf": "auto"}
    texts, flags = dict[str, str](), set[str]()
    for key, value in document.items():
        if key in _FLAGS:
            if not isinstance(value, bool):
                faults.append(f"{key}: '{value}' is not allowed: use true or false")
            elif value:
                flags.add(key)
        elif key not in every and key not in words:
            known = [*words, *sorted(every), *_FLAGS]
            hint = did_you_mean(str(key), known) or f", the keys are {', '.join(known)}"
            faults.append(f"there is no key '{key}'{hint}")
        elif isinstance(value, bool) or not isinstance(value, int | str):
            faults.append(f"{key}: a single value is expected here")
        else:
            (texts if key in every else words)[key] = str(value)
    faults += [f"{key} is missing: add '{key}: ...'"
               for key in ("workload", "src", "dst") if key not in document]
    return RawRun(**words, texts=texts, flags=frozenset(flags))
