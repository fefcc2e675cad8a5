"""MRC endpoints in the simulator: a device per host, connected QPs, and streams of writes.

What an agent does with sockets and a clock this does in virtual time, with the same
:class:`~testbed.transport.mrc.verbs.Context` on every host.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from testbed.forwarding.routes import host_routes
from testbed.sim.chaos import Chaos
from testbed.sim.network import Limits
from testbed.sim.simulation import Simulation
from testbed.transport.mrc.completion import Completion, CompletionQueue, WcStatus
from testbed.transport.mrc.device import (
    CC_CROSS_T1,
    CC_T0_LOCAL,
    DEFAULT_MAX_WIMM,
    DEFAULT_MPR,
    EV_PROFILE,
    PeerInfo,
    connect,
    make_qp,
    open_device,
)
from testbed.transport.mrc.endpoint import Endpoint, Event
from testbed.transport.mrc.ev.probing import EvPolicy
from testbed.transport.mrc.qp import QueuePair
from testbed.transport.mrc.qp_attributes import QpCap, Retry
from testbed.transport.mrc.requester import Requester
from testbed.transport.mrc.verbs import Context, SendWr
from topologies.graph import Graph, Host


@dataclass(slots=True)
class Side:
    """One end of a connection: host, device, queues and QP."""

    host: int
    context: Context
    send_cq: CompletionQueue
    recv_cq: CompletionQueue
    qp: QueuePair

    @property
    def requester(self) -> Requester:
        """The sending half of the QP; it exists once the two are connected."""
        assert self.qp.requester is not None
        return self.qp.requester


@dataclass(frozen=True, slots=True)
class ConnectOptions:
    """What the two ends of a connection agree on beside the defaults; see PeerInfo."""

    ev_profile: int = EV_PROFILE
    cc_profile: int | None = None
    mpr: int = DEFAULT_MPR
    max_wimm: int = DEFAULT_MAX_WIMM
    cap: QpCap = QpCap.NONE
    retry: Retry | None = None
    timeout: int | None = None
    path_mtu: int | None = None
    cq_depth: int = 1 << 16
    max_wr: int = 1 << 14


class Lab:
    """A simulated fabric whose hosts run MRC.

    ``seed`` makes everything: the fabric's random events, and a generator for each host.
    ``policy`` makes each device's EV policy. A host that is killed and restarted gets a
    new device with nothing in it.
    """

    def __init__(
        self, graph: Graph, seed: int = 0, *, limits: Limits | None = None,
        chaos: Chaos | None = None, policy: Callable[[], EvPolicy] | None = None,
        is_traced: bool = False,
    ) -> None:  # fmt: skip
        self.graph = graph
        self.spec = graph.spec
        self.seed = seed
        self.contexts: dict[int, Context] = {}
        self._policy = policy
        self._psn = random.Random(f"psn {seed}")
        self.sim = Simulation(
            graph, seed, endpoint_factory=self._open, limits=limits, chaos=chaos,
            is_traced=is_traced, device_of=self.contexts.get,
        )  # fmt: skip

    def _open(self, host: Host, now_ns: int) -> Endpoint:
        context = open_device(
            self.spec, host.index, host_routes(self.spec, host.index),
            random.Random(f"host {host.index} {self.seed} {now_ns}"),
            policy=self._policy() if self._policy else None,
        )  # fmt: skip
        self.contexts[host.index] = context
        return context.endpoint

    def connect(
        self, a: int, b: int, options: ConnectOptions | None = None
    ) -> tuple[Side, Side]:
        """A QP on each of two hosts, connected, with first PSNs drawn from the seed."""
        options = options or ConnectOptions()
        cc_profile = options.cc_profile
        if cc_profile is None:
            cc_profile = CC_CROSS_T1 if self.spec.is_cross_t1(a, b) else CC_T0_LOCAL
        sides = tuple(self._side(host, options, cc_profile) for host in (a, b))
        infos = [
            PeerInfo(
                side.context.endpoint.address, side.qp.qp_num, self._psn.getrandbits(24),
                options.path_mtu or self.spec.payload_bytes, options.max_wimm, options.mpr,
                options.cap,
            )
            for side in sides
        ]  # fmt: skip
        for side, mine, peer in zip(sides, infos, reversed(infos), strict=True):
            connect(
                side.context, side.qp, mine, peer, self.sim.now, retry=options.retry,
                timeout=options.timeout,
            )  # fmt: skip
        return sides[0], sides[1]

    def _side(self, host: int, options: ConnectOptions, cc_profile: int) -> Side:
        context = self.contexts[host]
        send_cq, recv_cq = (context.create_cq(options.cq_depth) for _ in range(2))
        qp = make_qp(
            context, send_cq, recv_cq, self.sim.now, cc_profile=cc_profile,
            ev_profile=options.ev_profile, max_send_wr=options.max_wr, max_recv_wr=options.max_wr,
        )  # fmt: skip
        return Side(host, context, send_cq, recv_cq, qp)

    def events(self) -> list[tuple[int, Event]]:
        """What happened on all hosts since the last call: (host, event)."""
        return [
            (host, event)
            for host, context in self.contexts.items()
            for event in context.poll_events()
        ]


class Stream:
    """Back-to-back writes of one size over one QP, ``depth`` of them posted at a time.

    ``size`` in bytes. Source and target buffers hold ``slots`` messages and are reused in
    turn. Completions are looked for every ``poll_ns``; posting ends at ``until_ns``.
    ``bytes_done`` grows as writes complete, ``marks`` has (ns, bytes_done) of each look,
    ``failures`` the completions that report an error; after one nothing more is posted.
    """

    def __init__(
        self, lab: Lab, side: Side, peer: Side, *, size: int = 32_768, depth: int = 128,
        slots: int = 32, poll_ns: int = 2_000, until_ns: int | None = None,
    ) -> None:  # fmt: skip
        self.side, self.peer = side, peer
        self.size, self.depth, self.slots = size, depth, slots
        self.bytes_done = self.posted = 0
        self.failures: list[Completion] = []
        self.marks: list[tuple[int, int]] = []
        data = random.Random(f"data {lab.seed}").randbytes(size * slots)
        self.source = side.context.reg_mr(bytearray(data))
        self.target = peer.context.reg_mr(bytearray(size * slots))
        self._lab = lab
        self._poll_ns, self._until_ns = poll_ns, until_ns

    def start(self) -> Stream:
        """Begin now."""
        self._look()
        return self

    def goodput_bps(self, start_ns: int, end_ns: int) -> float:
        """Bits acknowledged per second between the first looks at or after these times.

        Raises ValueError where the simulation has not come that far.
        """
        (t0, b0), (t1, b1) = self._mark(start_ns), self._mark(end_ns)
        return (b1 - b0) * 8e9 / (t1 - t0)

    def _mark(self, at_ns: int) -> tuple[int, int]:
        for mark in self.marks:
            if mark[0] >= at_ns:
                return mark
        raise ValueError(
            f"nothing was looked at from {at_ns} ns on: run the simulation {self._poll_ns} ns "
            "beyond it"
        )

    def _look(self) -> None:
        now = self._lab.sim.now
        for completion in self.side.context.poll_cq(self.side.send_cq, 1 << 16):
            if completion.status is WcStatus.SUCCESS:
                self.bytes_done += completion.byte_len
            else:
                self.failures.append(completion)
        self.marks.append((now, self.bytes_done))
        is_over = self._until_ns is not None and now >= self._until_ns
        if not is_over and not self.failures:
            self._fill(now)
        if self.side.requester.messages or not is_over:
            self._lab.sim.at(now + self._poll_ns, self._look)

    def _fill(self, now: int) -> None:
        while len(self.side.requester.messages) < self.depth:
            offset = self.posted % self.slots * self.size
            wr = SendWr(
                self.posted, self.source, self.target.va + offset, self.target.rkey, offset,
                self.size,
            )  # fmt: skip
            self.side.context.post_send(self.side.qp, wr, now)
            self.posted += 1
        self._lab.sim.kick(self.side.host)
