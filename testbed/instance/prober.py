"""Probing many paths at once through the agents, and choosing which."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from testbed.agent.config import MAX_IN_FLIGHT
from testbed.errors import TestbedError
from testbed.forwarding.paths import Path, path_count, paths, reverse
from testbed.remote.errors import AgentDied
from testbed.remote.fleet import Fleet
from topologies.graph import Graph
from topologies.names import host_name
from topologies.numbers import CONTROL_FRAME_BYTES, base_rtt_ns, serialisation_ns
from topologies.spec import ClosSpec

SAMPLE_PATHS = 4096
_PATHS_PER_PAIR_IN_SAMPLE = 8


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back on one path; ``marked`` met CE; ``rtt_ns`` are emulated.

    ``transit_ns`` is the wall-clock time of the way out of each frame probe.
    """

    path: Path
    sent: int
    received: int
    marked: int
    rtt_ns: tuple[int, ...]
    transit_ns: tuple[int, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Every probe was answered."""
        return self.sent > 0 and self.received == self.sent


@dataclass(frozen=True, slots=True)
class ProbeOptions:
    """``timeout_ms`` and ``interval_us`` are wall clock, ``frame_bytes`` with Ethernet header.

    The time-out is for what is not emulated: `at` adds what an answer takes by itself.

    Without size and class, paths between hosts are tried by EV probes of MRC, otherwise by
    frames of that kind; so are the paths from a host to itself, to which no EV belongs.
    """

    count: int = 1
    timeout_ms: int = 1000
    frame_bytes: int | None = None
    dscp: int | None = None
    ecn: int | None = None
    interval_us: int = 0

    def at(self, spec: ClosSpec, tdf: int) -> ProbeOptions:
        """With the time that answers take at this dilation: a base RTT, and until a port has
        put out all probes that may be under way, were they all for one host."""
        frame_bytes = self.frame_bytes or CONTROL_FRAME_BYTES
        in_flight = MAX_IN_FLIGHT * spec.host_count
        queue_ns = serialisation_ns(in_flight * frame_bytes, spec.port_rate_bps) // spec.planes
        emulated_ns = base_rtt_ns(spec) + queue_ns
        return replace(self, timeout_ms=self.timeout_ms + emulated_ns * tdf // 1_000_000)

    def to_params(self, is_self: bool) -> dict[str, Any]:
        """Parameters of the agent's ``probe`` beside the paths."""
        optional = {"size": self.frame_bytes, "dscp": self.dscp, "ecn": self.ecn}
        given = {key: value for key, value in optional.items() if value is not None}
        return {"count": self.count, "timeout_ms": self.timeout_ms,
                "interval_us": self.interval_us, "ev_probe": not (given or is_self), **given}


def total_paths(spec: ClosSpec) -> int:
    """Paths of all ordered pairs of hosts: of one sender, times the senders."""
    return spec.host_count * sum(path_count(spec, 0, dst) for dst in range(1, spec.host_count))


def choose_paths(spec: ClosSpec, seed: int = 0) -> list[Path]:
    """Every path of every pair; on large topologies a seeded sample of `SAMPLE_PATHS`.

    A sample takes as many from each sender, a few from each of its pairs, so that
    every NIC port and T1 is met many times.
    """
    hosts = range(spec.host_count)
    if total_paths(spec) <= SAMPLE_PATHS:
        return [path for src in hosts for dst in hosts if src != dst
                for path in paths(spec, src, dst)]
    generator = random.Random(seed)
    per_sender = SAMPLE_PATHS // spec.host_count
    chosen: list[Path] = []
    for src in hosts:
        peers = [dst for dst in hosts if dst != src]
        pool: set[Path] = set()
        while len(pool) < per_sender:
            every = paths(spec, src, generator.choice(peers))
            pool.update(generator.sample(every, min(_PATHS_PER_PAIR_IN_SAMPLE, len(every))))
        chosen += sorted(pool, key=lambda path: (path.dst, path.ev))[:per_sender]
    return chosen


def probe(graph: Graph, fleet: Fleet, wanted: Iterable[Path], options: ProbeOptions,
          silent: frozenset[int] = frozenset()) -> list[Answer]:
    """Probe these paths, each from its own sender, all senders at once.

    A sender whose agent is dead, does not come back or is among ``silent`` (host
    indexes, known to be paused) answers nothing. Raises what an agent refuses.
    """
    ordered = sorted(wanted, key=lambda path: path.src)
    by_sender = {src: list(group) for src, group in groupby(ordered, lambda path: path.src)}
    asked: dict[int, Future[Any]] = {}
    for src, group in by_sender.items():
        if src in silent:
            continue
        with contextlib.suppress(AgentDied):
            asked[src] = fleet.agents[host_name(src)].submit(
                "probe", {"paths": [_to_params(graph, path) for path in group],
                          **options.to_params(any(path.is_self_probe for path in group))})
    until_s = time.monotonic() + _patience_s(by_sender.values(), options)
    answers = []
    for src, group in by_sender.items():
        rows = _rows(asked[src], until_s) if src in asked else None
        answers += [_silent(path, options) for path in group] if rows is None else [
            _answer(path, row) for path, row in zip(group, rows, strict=True)]
    return answers


def _rows(future: Future[Any], until_s: float) -> list[dict[str, Any]] | None:
    """What one sender found; None where its agent died or did not come back."""
    try:
        found = future.result(max(0.0, until_s - time.monotonic()))
    except (TimeoutError, AgentDied):
        return None
    rows: list[dict[str, Any]] = found["rows"]
    return rows


def _patience_s(groups: Iterable[Sequence[Path]], options: ProbeOptions) -> float:
    """Time-outs run as many at a time as may be in flight, doubled, plus slack."""
    longest = max(map(len, groups), default=0) * options.count
    return 5 + 2 * options.timeout_ms / 1000 * (1 + longest / MAX_IN_FLIGHT)


def _to_params(graph: Graph, path: Path) -> dict[str, Any]:
    common = {"ev": path.ev, "plane": path.plane, "address": str(path.address)}
    if path.is_self_probe:
        return {**common, "self": True}
    back = reverse(graph.spec, path)
    return {**common, "dst": str(graph.hosts[path.dst].address), "reverse": str(back.address)}


def _answer(path: Path, row: dict[str, Any]) -> Answer:
    if row["ev"] != path.ev:
        raise TestbedError(f"the agent of {host_name(path.src)} answered for another path; "
                           "take the instance down and up again")
    return Answer(path, row["sent"], row["received"], row["marked"],
                  tuple(row["rtt_ns"]), tuple(row["transit_wall_ns"]))


def _silent(path: Path, options: ProbeOptions) -> Answer:
    return Answer(path, options.count, 0, 0, ())
