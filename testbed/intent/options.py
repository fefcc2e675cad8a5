"""Options of workloads: tables that say how each is read, written and bounded.

A command line and a spec.yaml both become a `RawRequest`, texts by key, and are judged by
the same table; what is wrong is collected, so that a person hears of everything at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

from testbed.errors import UsageError, did_you_mean
from testbed.intent.tdf import parse_tdf
from testbed.units import format_size_bytes, format_time_ns, parse_size_bytes, parse_time_ns
from topologies.names import host_name, parse_host
from topologies.spec import ClosSpec
from workloads.evshare import EvShare, parse_ev_share
from workloads.placement import PLACEMENTS, HostChoice, parse_hosts, place

Label = Callable[[str], str]
"""What a key is called where it was written: ``--size`` or ``size``."""

DEFAULT_SEED = 1
DEFAULT_SNAP_BYTES = 256  # every header of MRC, and the beginning of the payload
ITERS_LIMIT = 1_000_000

_DIGITS = re.compile(r"[0-9]{1,19}")
_BINARY_SIZE = re.compile(r"([0-9]{1,19}(?:\.[0-9]{1,19})?)\s*([KMG]?)(?:I?B)?", re.IGNORECASE)
_BINARY_SCALES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
LIST_KEYS = ("sizes", "hosts", "senders")  # in a document a list, or one text with commas
_OPTION_OF = {"bidirectional": "--bidir", "capture": "--pcap", "src": "SRC", "dst": "DST"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RawRequest:
    """``operands`` behind the workload; ``texts`` by key (``size``); ``flags`` that were set."""

    workload: str
    operands: tuple[str, ...] = ()
    tdf: str = "auto"
    texts: Mapping[str, str] = field(default_factory=dict)
    flags: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonRequest:
    """What every workload can be asked for; ``snap_bytes`` where frames are captured.

    ``sample_ns``: emulated time between samples, None for as often as makes sense. ``evs``:
    those used of each plane, None for every path.
    """

    tdf: int | Literal["auto"] = "auto"
    seed: int = DEFAULT_SEED
    is_captured: bool = False
    snap_bytes: int = DEFAULT_SNAP_BYTES
    recalibrate: bool = False
    sample_ns: int | None = None
    evs: EvShare | None = None


@dataclass(frozen=True, slots=True)
class Option:
    """One option: the field it sets, how it is read and written, what is allowed.

    ``parse`` raises ValueError. Numbers are bounded by ``low`` and ``high``, both included.
    """

    field: str
    parse: Callable[[str], Any]
    write: Callable[[Any], object]
    low: int | None = None
    high: int | None = None
    default: Any = None

    def read(self, text: str, label: str) -> Any:
        """The value; raises ValueError with the whole sentence."""
        try:
            value = self.parse(text)
        except ValueError as error:
            raise ValueError(f"{label}: {error}") from None
        if self.low is None or self.high is None or self.low <= value <= self.high:
            return value
        allowed = f"{self.write(self.low)} to {self.write(self.high)}"
        raise ValueError(f"{label} {text} is not allowed: use {allowed}")


@dataclass(frozen=True, slots=True)
class Table:
    """What one workload can be told: ``operands``, ``options`` and ``flags`` (field by key)."""

    operands: tuple[str, ...]
    options: Mapping[str, Option]
    flags: Mapping[str, str]

    @property
    def keys(self) -> set[str]:
        """Keys of a document that are options or flags."""
        return {*self.options, *self.flags}


# --- Kinds of options ------------------------------------------------------------------


def count(name: str, low: int, high: int, default: int | None = None) -> Option:
    """A whole number."""
    def parse(text: str) -> int:
        if not _DIGITS.fullmatch(text):
            raise ValueError(f"'{text}' is not a whole number, use {low} to {high}")
        return int(text)

    return Option(name, parse, int, low, high, default)


def size(name: str, high: int, default: int) -> Option:
    """Bytes as perftest reads them: a plain number, or with a unit (KB is 1000, KiB 1024)."""
    def parse(text: str) -> int:
        return int(text) if _DIGITS.fullmatch(text) else parse_size_bytes(text)

    return Option(name, parse, format_size_bytes, 1, high, default)


def binary_size(name: str, low: int, high: int, default: int) -> Option:
    """Bytes as nccl-tests reads them: K, M and G are powers of 1024."""
    return Option(name, parse_binary_size, format_binary_size, low, high, default)


def word(name: str, choices: Sequence[str], default: str | None) -> Option:
    """One of a few words."""
    def parse(text: str) -> str:
        if text not in choices:
            hint = did_you_mean(text, choices)
            raise ValueError(f"there is no '{text}'{hint}: use {' or '.join(choices)}")
        return text

    return Option(name, parse, str, default=default)


def parse_binary_size(text: str) -> int:
    """Read ``64K``, ``64KB`` or ``64KiB`` as 65,536 bytes. Raises ValueError."""
    match = _BINARY_SIZE.fullmatch(text.strip())
    value = Fraction(match[1]) * _BINARY_SCALES[match[2].upper()] if match else Fraction(1, 2)
    if value.denominator != 1:
        raise ValueError(f"'{text}' is not a number of bytes: write it like 65536, 64K or 16M "
                         "(K is 1024)")
    return value.numerator


def format_binary_size(size_bytes: int) -> str:
    """Exact text in the largest unit that divides it: ``64KiB``, ``9000B``."""
    fitting = [unit for unit, scale in _BINARY_SCALES.items()
               if size_bytes and size_bytes % scale == 0]
    unit = fitting[-1] if fitting else ""
    return f"{size_bytes // _BINARY_SCALES[unit]}{unit + 'i' if unit else ''}B"


SEED = count("seed", 0, 2**63 - 1, DEFAULT_SEED)
COMMON: Mapping[str, Option] = {
    "seed": SEED, "snap": size("snap_bytes", 65_535, DEFAULT_SNAP_BYTES),
    "sample": Option("sample_ns", parse_time_ns, format_time_ns, 1_000, 10**9),
    "evs": Option("evs", parse_ev_share, str)}
COMMON_FLAGS: Mapping[str, str] = {"capture": "is_captured", "recalibrate": "recalibrate"}
DURATION = Option("duration_ns", parse_time_ns, format_time_ns, 10_000, 10**9, 1_000_000)


def host_names(hosts: Sequence[int]) -> list[str]:
    """``[h0, h3]``, as documents have them."""
    return [host_name(host) for host in hosts]


HOSTS = Option("hosts", parse_hosts, host_names)
PLACEMENT = word("placement", PLACEMENTS, None)


# --- Reading and writing ---------------------------------------------------------------


class Reading:
    """One pass over a raw request: what is wrong is noted and stood in for, so all is judged."""

    def __init__(self, texts: Mapping[str, str], flags: frozenset[str], label: Label) -> None:
        self.faults: list[str] = []
        self.texts, self.flags, self.label = texts, flags, label

    def value(self, key: str, option: Option) -> Any:
        """What was written, or the default."""
        text = self.texts.get(key)
        try:
            return option.default if text is None else option.read(text, self.label(key))
        except ValueError as error:
            self.faults.append(str(error))
            return option.default

    def fields(self, table: Table) -> dict[str, Any]:
        """Every option and flag of a table by the field it sets."""
        values = {option.field: self.value(key, option) for key, option in table.options.items()}
        return values | {name: key in self.flags for key, name in table.flags.items()}

    def tdf(self, text: str) -> int | Literal["auto"]:
        """The time dilation factor."""
        try:
            return parse_tdf(text)
        except UsageError as error:
            self.faults.append(str(error).replace("--tdf", self.label("tdf"), 1))
            return "auto"

    def host(self, key: str, text: str) -> int | None:
        """The host of one operand, None where it is none."""
        found = parse_host(text)
        if found is None:
            self.faults.append(f"{self.label(key)}: '{text}' is not a host: write one like h0")
        return found

    def judge_host(self, key: str, host: int | None, spec: ClosSpec) -> None:
        """One that a topology may not have; None was a fault already."""
        try:
            if host is not None:
                spec.t0_of(host)
        except ValueError as error:
            self.faults.append(f"{self.label(key)}: {error}")

    def judge_snap(self) -> None:
        """Bytes of frames that are not captured."""
        if "snap" in self.texts and "capture" not in self.flags:
            self.faults.append(f"{self.label('snap')} is for captures only: add "
                               f"{self.label('capture')}")

    def judge_length(self, known: set[str]) -> None:
        """Two ways to say how long."""
        if {"iters", "duration"} <= self.texts.keys() & known:
            self.faults.append(f"{self.label('iters')} and {self.label('duration')} exclude "
                               "each other: keep one")

    def ranked_hosts(self, spec: ClosSpec, choice: HostChoice | None, how: str | None,
                     most: int) -> tuple[tuple[int, ...], str]:
        """Two to ``most`` hosts in the order of their ranks, and how they were placed."""
        how = how or ("given" if choice and choice.count is None else "local")
        try:
            hosts = (choice or HostChoice(spec.host_count)).expand(spec)
            if not 2 <= len(hosts) <= most:
                raise ValueError(f"{len(hosts)} of them cannot take part: use 2 to {most}")
            return place(spec, hosts, how), how
        except ValueError as error:
            self.faults.append(f"{self.label('hosts')}: {error}")
            return (), how


def raw_of(document: Mapping[str, Any], table: Table, every: Collection[str],
           faults: list[str]) -> RawRequest:
    """A document as the options it stands for; adds what is wrong with its shape.

    Keys among ``every``, but not in the table, are kept: what they are for is said later.
    """
    words = {"workload": "", **dict(zip(table.operands, ("h0", "h1"), strict=False)),
             "tdf": "auto"}
    texts, flags = dict[str, str](), set[str]()
    for key, value in document.items():
        if key in table.flags and not isinstance(value, bool):
            faults.append(f"{key}: '{value}' is not allowed: use true or false")
        elif key not in table.keys and key not in every and key not in words:
            known = [*words, *sorted(table.options), *table.flags]
            hint = did_you_mean(str(key), known) or f", the keys are {', '.join(known)}"
            faults.append(f"there is no key '{key}'{hint}")
        elif isinstance(value, bool) and key not in table.options and key not in words:
            flags |= {key} if value else set()
        elif (text := _text_of(value, key in LIST_KEYS)) is None:
            faults.append(f"{key}: a single value is expected here")
        else:
            (words if key in words else texts)[key] = text
    faults += [f"{key} is missing: add '{key}: ...'"
               for key in ("workload", *table.operands) if key not in document]
    operands = tuple(words[key] for key in table.operands)
    return RawRequest(workload=words["workload"], operands=operands, tdf=words["tdf"],
                      texts=texts, flags=frozenset(flags))


def _text_of(value: object, may_be_list: bool) -> str | None:
    if isinstance(value, list) and may_be_list:
        parts = [_text_of(item, False) for item in value]
        return None if None in parts else ",".join(part for part in parts if part is not None)
    is_single = isinstance(value, int | str) and not isinstance(value, bool)
    return str(value) if is_single else None


def option_name(key: str) -> str:
    """What a key of a document is called on the command line."""
    return _OPTION_OF.get(key, f"--{key}")


def write_options(request: Any, table: Table) -> dict[str, Any]:
    """Options, tdf and flags of a request as people write them."""
    document = {key: option.write(value) for key, option in table.options.items()
                if (value := getattr(request, option.field)) is not None
                and (key != "snap" or request.is_captured)}
    flags = {key: getattr(request, name) for key, name in table.flags.items()}
    return {**document, "tdf": request.tdf, **flags}


def require_none(faults: Sequence[str], what: str = "this run") -> None:
    """Raises UsageError that lists all faults there are."""
    if len(faults) == 1:
        raise UsageError(faults[0])
    if faults:
        lines = "".join(f"\n  {fault}" for fault in faults)
        raise UsageError(f"{what} has {len(faults)} faults:{lines}")
