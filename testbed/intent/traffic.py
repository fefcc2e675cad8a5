"""Writes between many pairs of hosts at once: a permutation, or an incast with a victim."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from testbed.intent.options import (
    COMMON,
    COMMON_FLAGS,
    DURATION,
    HOSTS,
    ITERS_LIMIT,
    PLACEMENT,
    CommonRequest,
    Label,
    Option,
    RawRequest,
    Reading,
    Table,
    binary_size,
    count,
    host_names,
    write_options,
)
from topologies.names import host_name, parse_host
from topologies.spec import ClosSpec
from workloads.placement import HostChoice, parse_hosts
from workloads.write_bandwidth import DEFAULT_DEPTH

Kind = Literal["permutation", "incast"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Pair = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficRequest(CommonRequest):
    """Back-to-back writes of ``size_bytes``, ``depth`` at a time on each of ``qps`` queue pairs.

    ``iters`` are messages per queue pair, ``duration_ns`` is emulated time; exactly one of
    them is not None. A permutation has ``hosts``, each of which writes to the one half the
    list further on. An incast has ``dst``, its ``senders``, and perhaps a ``victim``, a pair
    of other hosts that write meanwhile; what the other kind has is empty, ``dst`` then -1.
    """

    kind: Kind
    hosts: tuple[int, ...] = ()
    placement: str = "local"
    dst: int = -1
    senders: tuple[int, ...] = ()
    victim: Pair | None = None
    size_bytes: int = 32 << 10
    qps: int = 4
    iters: int | None = None
    duration_ns: int | None = None
    depth: int = DEFAULT_DEPTH

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """(src, dst) of everything that is written; the victim's last."""
        if self.kind == "incast":
            victims = () if self.victim is None else (self.victim,)
            return (*((sender, self.dst) for sender in self.senders), *victims)
        half = len(self.hosts) // 2
        return tuple(zip(self.hosts, self.hosts[half:] + self.hosts[:half], strict=True))

    @property
    def what(self) -> str:
        """A short name for folders: ``permutation-8``, ``incast-3-h0``."""
        if self.kind == "incast":
            return f"incast-{len(self.senders)}-{host_name(self.dst)}"
        return f"permutation-{len(self.hosts)}"

    def to_document(self) -> dict[str, Any]:
        """Keys and values as people write them; `workload.from_document` reads them back."""
        to = {"dst": host_name(self.dst)} if self.kind == "incast" else {}
        return {"workload": self.kind, **to, **write_options(self, TABLES[self.kind])}


def _parse_pair(text: str) -> Pair:
    """Read ``h1:h5``."""
    src, dst = (parse_host(part.strip()) for part in (*text.split(":"), "", "")[:2])
    if src is None or dst is None or text.count(":") != 1:
        raise ValueError(f"'{text}' is not a pair of hosts: write it like h1:h5")
    if src == dst:
        raise ValueError(f"{host_name(src)} cannot write to itself: name two hosts")
    return src, dst


def _write_pair(pair: Pair) -> str:
    return ":".join(map(host_name, pair))


_WRITES: Mapping[str, Option] = {
    "size": binary_size("size_bytes", 1, 64 << 20, 32 << 10), "qps": count("qps", 1, 64, 4),
    "iters": count("iters", 1, ITERS_LIMIT), "duration": DURATION,
    "depth": count("depth", 1, 1024, DEFAULT_DEPTH), **COMMON,
}
TABLES: Mapping[str, Table] = {
    "permutation": Table((), {"hosts": HOSTS, "placement": PLACEMENT, **_WRITES}, COMMON_FLAGS),
    "incast": Table(("dst",), {
        "senders": Option("senders", parse_hosts, host_names),
        "victim": Option("victim", _parse_pair, _write_pair), **_WRITES,
    }, COMMON_FLAGS),
}


def read(raw: RawRequest, spec: ClosSpec, label: Label) -> tuple[TrafficRequest, list[str]]:
    """The request these options make, to be believed only where there are no faults."""
    reading = Reading(raw.texts, raw.flags, label)
    kind: Kind = "incast" if raw.workload == "incast" else "permutation"
    table = TABLES[kind]
    fields = reading.fields(table)
    if kind == "incast":
        fields |= _incast(reading, spec, raw.operands[0], fields)
    else:
        fields["hosts"], fields["placement"] = reading.ranked_hosts(
            spec, fields["hosts"], fields["placement"], spec.host_count)
    reading.judge_length(table.keys)
    if "iters" in raw.texts:
        # One that was refused is a fault already, and stood in for.
        fields |= {"duration_ns": None, "iters": fields["iters"] or 1}
    reading.judge_snap()
    return TrafficRequest(kind=kind, tdf=reading.tdf(raw.tdf), **fields), reading.faults


def _incast(reading: Reading, spec: ClosSpec, target: str,
            fields: Mapping[str, Any]) -> dict[str, Any]:
    """Who writes to whom: nobody is two of sender, target and victim."""
    dst, victim = reading.host("dst", target), fields["victim"]
    taken = [host for host in (dst, *(victim or ())) if host is not None]
    reading.judge_host("dst", dst, spec)
    for host in victim or ():
        reading.judge_host("victim", host, spec)
    if victim and dst in victim:
        reading.faults.append(f"{reading.label('victim')}: {target} takes part in the incast: "
                              "name two others")
    senders = _senders(reading, spec, fields["senders"], taken)
    for host in (host for host in senders if host in taken):
        part = "what is written to" if host == dst else "a host of the victim"
        reading.faults.append(f"{reading.label('senders')}: {host_name(host)} is {part}: leave "
                              "it out")
    return {"dst": -1 if dst is None else dst, "senders": senders}


def _senders(reading: Reading, spec: ClosSpec, choice: HostChoice | None,
             taken: list[int]) -> tuple[int, ...]:
    """Those named, or the first so many of the others, or all of the others."""
    others = len(set(range(spec.host_count)) - set(taken))
    try:
        senders = (choice or HostChoice(others)).expand(spec, taken)
        if not senders:
            raise ValueError("nobody is left to write: use 1 or more")
    except ValueError as error:
        reading.faults.append(f"{reading.label('senders')}: {error}")
        return ()
    return senders
