"""A workload, planned: which hosts take part, how they are connected, what each runs.

A :class:`Job` is all that simulator and agents need, and travels as JSON. Planning is
arithmetic; everything is resolved, so the same job is the same run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from topologies.numbers import CROSS_T1_LINKS, T0_LOCAL_LINKS
from topologies.spec import ClosSpec
from workloads import write_bandwidth, write_latency
from workloads.connections import MAX_BUFFER_BYTES, MAX_HOST, MAX_SEED, Channel, End, by_connection
from workloads.params import Fields, WorkloadError
from workloads.program import Program
from workloads.write_bandwidth import DEFAULT_DEPTH, BandwidthPlan, WriteBandwidth, check_length
from workloads.write_latency import DEFAULT_SIZE, DEFAULT_WARMUP, LatencyPlan, WriteLatency

MAX_QPS = 1024
# What the buffers of one host may take: all hosts share one machine.
MAX_HOST_BYTES = 1 << 30

_UNUSED_BYTES = 1  # a buffer nobody writes from or to; verbs registers no empty one


@dataclass(frozen=True, slots=True)
class HostPlan:
    """One host's part: its ends of connections, and its program as JSON.

    ``shared_bytes`` is the length of the buffer that ends without one of their own share.
    """

    ends: tuple[End, ...]
    program: Mapping[str, Any]
    shared_bytes: int = 0

    def to_params(self) -> dict[str, Any]:
        """As JSON; `from_params` reads it back."""
        return {"ends": [end.to_params() for end in self.ends], "program": dict(self.program),
                "shared_bytes": self.shared_bytes}

    @classmethod
    def from_params(cls, params: object) -> HostPlan:
        """Read JSON; raises WorkloadError at the first fault. The program is read later."""
        take = Fields(params, "host plan")
        ends = tuple(End.from_params(end) for end in take.items("ends"))
        program = take.mapping("program")
        shared_bytes = take.integer("shared_bytes", 0, MAX_BUFFER_BYTES)
        take.finish()
        return cls(ends, program, shared_bytes)


@dataclass(frozen=True, slots=True)
class Job:
    """A planned workload.

    ``parameters`` are what it was asked for, resolved; ``hosts`` who takes part, by index.
    """

    kind: str
    parameters: Mapping[str, Any]
    seed: int
    hosts: Mapping[int, HostPlan]

    def to_params(self) -> dict[str, Any]:
        """As JSON; `from_params` reads it back."""
        return {
            "kind": self.kind,
            "parameters": dict(self.parameters),
            "seed": self.seed,
            "hosts": [{"host": host, **plan.to_params()} for host, plan in self.hosts.items()],
        }

    @classmethod
    def from_params(cls, params: object) -> Job:
        """Read JSON; raises WorkloadError at the first fault, an end without its peer's too."""
        take = Fields(params, "job")
        kind = take.word("kind", PROGRAMS)
        parameters = take.mapping("parameters")
        seed = take.integer("seed", 0, MAX_SEED)
        hosts = dict(_read_host(item) for item in take.items("hosts"))
        take.finish()
        _check_ends(hosts)
        return cls(kind, parameters, seed, hosts)

    @property
    def is_joint(self) -> bool:
        """No host can finish without all others, as in a collective."""
        return self.kind not in (write_bandwidth.KIND, write_latency.KIND)

    @property
    def senders(self) -> int:
        """How many hosts send data."""
        return sum(self.is_joint or bool(plan.program["sends"]) for plan in self.hosts.values())

    @property
    def link_counts(self) -> frozenset[int]:
        """How many links frames of it cross one way: of its T0-local pairs, its cross-T1 pairs."""
        return frozenset(CROSS_T1_LINKS if end.is_cross_t1 else T0_LOCAL_LINKS
                         for plan in self.hosts.values() for end in plan.ends)

    def swap(
        self, told: Mapping[int, Iterable[Mapping[str, Any]]]
    ) -> dict[int, dict[int, Mapping[str, Any]]]:
        """What each host must hear: the rows its peers told, by connection.

        ``told`` holds rows with a ``connection`` by the host that told them: descriptions
        for `HostSetup.connect`, rows of results for `Program.verify`. A connection that a
        peer told nothing about is left out.
        """
        keyed = {host: by_connection(rows) for host, rows in told.items()}
        return {
            host: {
                end.connection: keyed[end.peer][end.connection]
                for end in plan.ends
                if end.connection in keyed.get(end.peer, {})
            }
            for host, plan in self.hosts.items()
        }


def _read_host(params: object) -> tuple[int, HostPlan]:
    take = Fields(params, "job.hosts")
    host = take.integer("host", 0, MAX_HOST)
    plan = {"ends": take.items("ends"), "program": take.mapping("program"),
            "shared_bytes": take.integer("shared_bytes", 0, MAX_BUFFER_BYTES)}
    take.finish()
    return host, HostPlan.from_params(plan)


def _check_ends(hosts: Mapping[int, HostPlan]) -> None:
    there = {(end.connection, host, end.peer) for host, plan in hosts.items() for end in plan.ends}
    for host, plan in hosts.items():
        for end in plan.ends:
            if end.host != host or (end.connection, end.peer, host) not in there:
                raise WorkloadError(
                    f"the end of connection {end.connection} on h{host} is h{end.host}'s or has "
                    f"no other end on h{end.peer}: plan both"
                )


# --- Programs --------------------------------------------------------------------------


def make_program(params: object, channels: Mapping[int, Channel], *,
                 is_time_free: bool = False) -> Program:
    """The program a host plan names, on these channels, with its source buffers filled.

    ``is_time_free``: it may compare all it wants, as in a simulation, where that holds up nobody.
    Raises WorkloadError where a parameter is wrong or a channel does not fit.
    """
    if not isinstance(params, Mapping):
        raise WorkloadError("the program is no object: give one with its kind")
    kind = Fields(params, "program").word("kind", PROGRAMS)
    return PROGRAMS[kind](params, channels, is_time_free)


def _make_bandwidth(params: Mapping[str, Any], channels: Mapping[int, Channel],
                    _is_time_free: bool) -> Program:
    program = WriteBandwidth(BandwidthPlan.from_params(params), channels)
    program.fill_sources()
    return program


def _make_latency(params: Mapping[str, Any], channels: Mapping[int, Channel],
                  _is_time_free: bool) -> Program:
    program = WriteLatency(LatencyPlan.from_params(params), channels)
    program.fill_sources()
    return program


def _make_collective(params: Mapping[str, Any], channels: Mapping[int, Channel],
                     _is_time_free: bool) -> Program:
    # Imported where it is run: numpy takes half the memory an idle agent may have.
    from workloads.collectives.collective import Collective
    from workloads.collectives.plan import CollectivePlan

    program = Collective(CollectivePlan.from_params(params), channels)
    program.fill_sources()
    return program


def _make_training(params: Mapping[str, Any], channels: Mapping[int, Channel],
                   is_time_free: bool) -> Program:
    # Imported where it is run, like the collective.
    from workloads.training.plan import TrainingPlan
    from workloads.training.program import Training

    program = Training(TrainingPlan.from_params(params), channels, is_time_free)
    program.fill_sources()
    return program


PROGRAMS: Mapping[str, Callable[[Mapping[str, Any], Mapping[int, Channel], bool], Program]] = {
    write_bandwidth.KIND: _make_bandwidth,
    write_latency.KIND: _make_latency,
    "collective": _make_collective,
    "training": _make_training,
}

# --- Planning --------------------------------------------------------------------------


def plan_write_bandwidth(
    spec: ClosSpec, src: int, dst: int, *, size: int, qps: int, iters: int | None = None,
    duration_ns: int | None = None, is_bidirectional: bool = False, depth: int = DEFAULT_DEPTH,
    seed: int = 0, is_every_message_kept: bool = False,
) -> Job:  # fmt: skip
    """Back-to-back writes from one host to another, or both ways, over ``qps`` connections.

    ``iters`` is the messages per connection and direction; give it or ``duration_ns``.
    With ``is_every_message_kept`` each message has memory of its own, so every byte that
    was ever sent is verified; that needs ``iters``. Raises WorkloadError.
    """
    if is_every_message_kept and iters is None:
        raise WorkloadError("every message cannot be kept for a duration: give iters instead")
    parameters = {
        "src": src, "dst": dst, "size": size, "qps": qps, "iters": iters,
        "duration_ns": duration_ns, "is_bidirectional": is_bidirectional, "depth": depth,
        "is_every_message_kept": is_every_message_kept,
    }  # fmt: skip
    writes = _Writes(size, qps, iters, duration_ns, depth, is_every_message_kept)
    flows = _flows([(src, dst)], qps, is_bidirectional)
    return _bandwidth_job(spec, parameters, writes, flows, seed)


def plan_permutation(
    spec: ClosSpec, pairs: Sequence[tuple[int, int]], *, size: int, qps: int,
    iters: int | None = None, duration_ns: int | None = None, depth: int = DEFAULT_DEPTH,
    seed: int = 0,
) -> Job:  # fmt: skip
    """Back-to-back writes from the first host of each pair to the second, all at once.

    A host may be in several pairs; ``qps`` connections per pair. Raises WorkloadError.
    """
    parameters = {
        "pairs": [list(pair) for pair in pairs], "size": size, "qps": qps, "iters": iters,
        "duration_ns": duration_ns, "depth": depth,
    }  # fmt: skip
    writes = _Writes(size, qps, iters, duration_ns, depth)
    return _bandwidth_job(spec, parameters, writes, _flows(pairs, qps), seed)


def plan_incast(
    spec: ClosSpec, dst: int, senders: Sequence[int], *, size: int, qps: int,
    victim: tuple[int, int] | None = None, iters: int | None = None,
    duration_ns: int | None = None, depth: int = DEFAULT_DEPTH, seed: int = 0,
) -> Job:  # fmt: skip
    """Back-to-back writes of all ``senders`` to one host; raises WorkloadError.

    ``victim`` is a pair of other hosts that write meanwhile: what incast costs those who
    only share switches with it.
    """
    others = [] if victim is None else [victim]
    if any(host == dst or host in senders for host in others[0] if others):
        raise WorkloadError("the victim's hosts take part in the incast: name two others")
    return plan_permutation(
        spec, [*((sender, dst) for sender in senders), *others], size=size, qps=qps, iters=iters,
        duration_ns=duration_ns, depth=depth, seed=seed)


def plan_write_latency(
    spec: ClosSpec, src: int, dst: int, *, size: int = DEFAULT_SIZE, iters: int = 1000,
    warmup: int = DEFAULT_WARMUP, seed: int = 0,
) -> Job:  # fmt: skip
    """One write at a time from one host to another, over one connection.

    Raises WorkloadError.
    """
    slots = min(warmup + iters, write_latency.MAX_SLOTS)

    def program(sends: tuple[int, ...]) -> dict[str, Any]:
        plan = LatencyPlan(size=size, iters=iters, warmup=warmup, slots=slots, sends=sends)
        return LatencyPlan.from_params(plan.to_params()).to_params()

    parameters = {"src": src, "dst": dst, "size": size, "iters": iters, "warmup": warmup}
    program(())  # says what is wrong before the buffers are made of it
    buffers = _Buffers(size * slots, 1, check_range("seed", seed, 0, MAX_SEED))
    hosts = _host_plans(spec, _flows([(src, dst)], 1), buffers, program)
    return Job(write_latency.KIND, parameters, seed, hosts)


class _Flow(NamedTuple):
    """One connection, and whether ``dst`` writes too."""

    connection: int
    src: int
    dst: int
    is_both_ways: bool


class _Writes(NamedTuple):
    """What a bandwidth test is asked for."""

    size: int
    qps: int
    iters: int | None
    duration_ns: int | None
    depth: int
    is_every_message_kept: bool = False

    @property
    def slots(self) -> int:
        if self.iters is None:
            return self.depth
        return self.iters if self.is_every_message_kept else min(self.iters, self.depth)

    def program(self, sends: tuple[int, ...]) -> dict[str, Any]:
        plan = BandwidthPlan(
            size=self.size, depth=self.depth, slots=self.slots, iters=self.iters,
            duration_ns=self.duration_ns, sends=sends,
        )  # fmt: skip
        # Read back, so that a plan is held to what an agent will accept.
        return BandwidthPlan.from_params(plan.to_params()).to_params()


class _Buffers(NamedTuple):
    """What all ends of a job have in common."""

    size_bytes: int
    max_wr: int
    seed: int


def _flows(
    pairs: Iterable[tuple[int, int]], qps: int, is_both_ways: bool = False
) -> list[_Flow]:
    check_range("qps", qps, 1, MAX_QPS)
    ways = [pair for pair in pairs for _ in range(qps)]
    return [_Flow(number, src, dst, is_both_ways) for number, (src, dst) in enumerate(ways)]


def _bandwidth_job(
    spec: ClosSpec, parameters: Mapping[str, Any], writes: _Writes, flows: list[_Flow], seed: int
) -> Job:
    check_length(writes.iters, writes.duration_ns)
    writes.program(())  # says what is wrong before the buffers are made of it
    buffers = _Buffers(
        writes.size * writes.slots, writes.depth, check_range("seed", seed, 0, MAX_SEED)
    )
    hosts = _host_plans(spec, flows, buffers, writes.program)
    return Job(write_bandwidth.KIND, parameters, seed, hosts)


def _host_plans(
    spec: ClosSpec, flows: Sequence[_Flow], buffers: _Buffers,
    program: Callable[[tuple[int, ...]], dict[str, Any]],
) -> dict[int, HostPlan]:  # fmt: skip
    """The plan of every host that is in one of these flows."""
    if not flows:
        raise WorkloadError("there is no pair of hosts to write between: name one")
    ends: dict[int, list[End]] = {}
    sends: dict[int, list[int]] = {}
    for flow in flows:
        is_cross_t1 = _check_hosts(spec, flow.src, flow.dst)
        for host, peer in ((flow.src, flow.dst), (flow.dst, flow.src)):
            does_send = host == flow.src or flow.is_both_ways
            end = _end(flow, host, peer, is_cross_t1, buffers)
            ends.setdefault(host, []).append(end)
            sends.setdefault(host, []).extend([flow.connection] if does_send else [])
    for host, planned in ends.items():
        _check_memory(host, planned)
    return {
        host: HostPlan(tuple(planned), program(tuple(sends[host])))
        for host, planned in ends.items()
    }


def _end(flow: _Flow, host: int, peer: int, is_cross_t1: bool, buffers: _Buffers) -> End:
    does_send = host == flow.src or flow.is_both_ways
    is_sent_to = host == flow.dst or flow.is_both_ways
    return End(
        connection=flow.connection, host=host, peer=peer, is_cross_t1=is_cross_t1,
        source_bytes=buffers.size_bytes if does_send else _UNUSED_BYTES,
        target_bytes=buffers.size_bytes if is_sent_to else _UNUSED_BYTES,
        seed=buffers.seed, max_wr=buffers.max_wr,
    )  # fmt: skip


def _check_hosts(spec: ClosSpec, src: int, dst: int) -> bool:
    """Whether the two are cross-T1; raises WorkloadError where they are no pair of hosts."""
    try:
        is_cross_t1 = spec.is_cross_t1(src, dst)
    except ValueError as error:
        raise WorkloadError(str(error)) from None
    if src == dst:
        raise WorkloadError(f"h{src} would write to itself: name two different hosts")
    return is_cross_t1


def _check_memory(host: int, ends: Iterable[End]) -> None:
    needed = sum(end.source_bytes + end.target_bytes for end in ends)
    if needed > MAX_HOST_BYTES:
        raise WorkloadError(
            f"the buffers of h{host} would take {needed} bytes of at most {MAX_HOST_BYTES}: "
            "use smaller messages, fewer of them at a time or kept, or fewer QPs"
        )


def check_range(name: str, value: int, low: int, high: int) -> int:
    """The value; raises WorkloadError where it is out of range."""
    if type(value) is not int or not low <= value <= high:
        raise WorkloadError(f"{name} is {value}: give an integer from {low} to {high}")
    return value
