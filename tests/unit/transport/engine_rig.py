"""Engines on a hand-advanced clock: a pair on a scripted wire, one fed with hand-made packets.

Ports are always free and have no rate, the wire has one fixed delay: what is left is the
protocol, at times that a test can write down.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import Any, NamedTuple

from testbed.forwarding.routes import host_routes
from testbed.transport.mrc.completion import CompletionQueue
from testbed.transport.mrc.ctl.cc_profile import CcProfileAttr
from testbed.transport.mrc.ctl.profile import ProfileState
from testbed.transport.mrc.device import (
    CC_CROSS_T1,
    PeerInfo,
    cc_defaults,
    connect,
    make_qp,
    open_device,
)
from testbed.transport.mrc.memory import MemoryRegion
from testbed.transport.mrc.qp import QueuePair
from testbed.transport.mrc.qp_attributes import QpCap, Retry
from testbed.transport.mrc.srv6 import Routes
from testbed.transport.mrc.verbs import Context, SendWr
from testbed.transport.mrc.wire.codec import Arrival, Envelope, decode, encode
from testbed.transport.mrc.wire.codes import Opcode
from testbed.transport.mrc.wire.packets import (
    Nack,
    Packet,
    ReliabilityProbe,
    Sack,
    TransportAck,
    Write,
)
from topologies.ev import make_ev
from topologies.names import host_address
from topologies.numbers import Dscp, Ecn, base_rtt_ns
from topologies.spec import ClosSpec

SPEC = ClosSpec("pair", 2, 2, 2, 2, 100 * 10**9, 1000)
RTT = base_rtt_ns(SPEC)
START = 8_000 * 128  # on a tick of the time stamp
CC_OFF = 3
MTU = 1024
SELF, PEER = (host_address(t0, 0).packed for t0 in (0, 1))
PEER_QPN, PEER_PSN, PSN = 0x77, 2_000, 1_000
VA, RKEY = 0x10_0000, 0x1234


def device(
    host: int, spec: ClosSpec = SPEC, seed: int = 1, routes: Routes | None = None, **options: Any
) -> Context:
    """The opened device of a host, with a CC profile 3 that limits nothing."""
    context = open_device(
        spec, host, routes or host_routes(spec, host), Random(f"{host} {seed}"), **options
    )
    controller = context.controller
    controller.create_cc_profile(CC_OFF)
    attr = CcProfileAttr(algorithm=None, config=cc_defaults(spec, cross_t1=True))
    controller.modify_cc_profile(CC_OFF, attr)
    for state in (ProfileState.OFFLINE, ProfileState.ONLINE):
        controller.modify_cc_profile(CC_OFF, CcProfileAttr(state=state))
    return context


def pattern(length: int, salt: int = 0) -> bytearray:
    """Bytes that differ wherever a packet might be misplaced."""
    return bytearray(Random(f"{length} {salt}").randbytes(length))


class Out(NamedTuple):
    """A datagram an engine sent, and what it says."""

    at_ns: int
    port: int
    arrival: Arrival
    datagram: bytes

    @property
    def packet(self) -> Any:
        return self.arrival.packet

    @property
    def ev(self) -> int:
        return self.arrival.ev


def flush(context: Context, now_ns: int, ports: int = -1) -> list[Out]:
    """Everything the engine has to send on these ports now."""
    out = []
    while (sent := context.endpoint.transmit(now_ns, ports)) is not None:
        out.append(Out(now_ns, sent[0], decode(sent[1]), sent[1]))
        assert len(out) < 100_000
    return out


def introduce(context: Context, now: int) -> None:
    """Every peer has heard which ports are up, so tests see what they cause themselves."""
    endpoint = context.endpoint
    endpoint.packets.queue.drop(-1, now)
    endpoint.packets.waiting.__init__()  # type: ignore[misc]
    endpoint.counters.port_updates = endpoint.packets.queue.dropped = 0
    for peer in endpoint.peers:
        peer.update = None
    endpoint.on_deadline(now)


class Lone:
    """One engine and its QP, in RTS; the test plays the peer, QPN 0x77.

    ``now`` is the test's to advance. Further QPs to the same peer come from :meth:`add_qp`.
    """

    def __init__(
        self, *, psn: int = PSN, peer_psn: int = PEER_PSN, mtu: int = MTU, mpr: int = 8,
        peer_mpr: int = 8, max_wimm: int = 128, peer_max_wimm: int = 128,
        cap: QpCap = QpCap.NONE, retry: Retry | None = None, timeout: int = 6,
        cc_profile: int = CC_OFF, **options: Any,
    ) -> None:  # fmt: skip
        self.now = START
        self.context = device(0, **options)
        self.endpoint = self.context.endpoint
        self.send_cq, self.recv_cq = self.context.create_cq(), self.context.create_cq()
        self._setup: dict[str, Any] = {
            "psn": psn, "peer_psn": peer_psn, "mtu": mtu, "mpr": mpr, "peer_mpr": peer_mpr,
            "max_wimm": max_wimm, "peer_max_wimm": peer_max_wimm, "cap": cap, "retry": retry,
            "timeout": timeout, "cc_profile": cc_profile,
        }  # fmt: skip
        self.qp = self.add_qp()
        self.memory = pattern(1 << 20)
        self.source = self.context.reg_mr(self.memory)
        self.target_bytes = bytearray(1 << 16)
        self.target = self.context.reg_mr(self.target_bytes)
        self._wr_id = 0

    def add_qp(
        self, peer_qpn: int = PEER_QPN, *, is_introduced: bool = True, **changes: Any
    ) -> QueuePair:
        """One more QP of the same kind; ``is_introduced``: the peer has heard of our ports."""
        s = self._setup | changes
        qp = make_qp(
            self.context, self.send_cq, self.recv_cq, self.now, cc_profile=s["cc_profile"],
            max_send_wr=s.get("max_send_wr", 1024),
        )  # fmt: skip
        mine = PeerInfo(
            SELF, qp.qp_num, s["psn"], s["mtu"], s["max_wimm"], s["mpr"], s["cap"]
        )
        peer = PeerInfo(
            PEER, peer_qpn, s["peer_psn"], s["mtu"], s["peer_max_wimm"], s["peer_mpr"], s["cap"]
        )
        connect(self.context, qp, mine, peer, self.now, retry=s["retry"], timeout=s["timeout"])
        if is_introduced:
            introduce(self.context, self.now)
        return qp

    # --- As an application ---------------------------------------------------------

    def post(self, length: int = 16, imm: int | None = None, qp: Any = None, **fields: Any) -> int:
        """Post a write of the first bytes of ``source``; its wr_id, from 1 on."""
        self._wr_id += 1
        wr = SendWr(self._wr_id, self.source, fields.pop("remote_va", VA),
                    fields.pop("rkey", RKEY), length=length, imm=imm, **fields)  # fmt: skip
        self.context.post_send(qp or self.qp, wr, self.now)
        return self._wr_id

    def sent(self, ports: int = -1) -> list[Out]:
        """What leaves now."""
        return flush(self.context, self.now, ports)

    def writes(self, ports: int = -1) -> list[Out]:
        """What leaves now, writes only."""
        return [out for out in self.sent(ports) if isinstance(out.packet, Write)]

    def statuses(self) -> list[tuple[int, Any]]:
        """(wr_id, status) of the send completions since the last call."""
        return [(c.wr_id, c.status) for c in self.context.poll_cq(self.send_cq, 1 << 20)]

    def received(self) -> list[Any]:
        """The receive completions since the last call."""
        return self.context.poll_cq(self.recv_cq, 1 << 20)

    def wake(self) -> None:
        """Advance to the engine's next deadline and act on it."""
        at_ns = self.endpoint.next_deadline()
        assert at_ns is not None
        self.now = max(at_ns, self.now)
        self.endpoint.on_deadline(self.now)

    # --- As the peer ---------------------------------------------------------------

    def feed(
        self, packet: Packet, *, port: int = 0, ev: int | None = None, dscp: int = Dscp.CONTROL,
        ce: bool = False, source: bytes = PEER, destination: bytes = SELF,
    ) -> None:  # fmt: skip
        """Let a packet of the peer arrive now."""
        ev = make_ev(port, 0) if ev is None else ev
        ecn = Ecn.CE if ce else Ecn.ECT0
        envelope = Envelope(source, destination, bytes(16), ev, dscp, ecn)
        self.endpoint.receive(port, encode(envelope, packet), self.now)

    def sack(
        self, cack: int, out: Out | None = None, received: tuple[int, ...] = (), *,
        rcvd_bytes: int = 0, m: int = 0, mpr: int = 8, base: int | None = None,
        ack: int | None = None, probe_id: int | None = None, **fields: Any,
    ) -> None:  # fmt: skip
        """A SACK of the peer, triggered by ``out``; ``received`` are PSNs above ``cack``."""
        base = cack + 1 if base is None else base
        bitmap = sum(1 << psn - base for psn in received if 0 <= psn - base < 64)
        if out is not None and ack is None and probe_id is None:
            ack = cack + ((out.packet.psn - cack + (1 << 23)) % (1 << 24) - (1 << 23))
        self.feed(Sack(
            self.qp.qp_num, m, probe_id is not None, 0 if ack is None else ack - cack,
            probe_id or 0, out.ev if out else 0, 0, 0, cack & 0xFFFFFF, mpr, base - cack, bitmap,
            fields.pop("tx_timestamp", out.packet.tx_timestamp if out else 0), 0, False, 0,
            rcvd_bytes,
        ))  # fmt: skip
        assert not fields

    def ack(self, psn: int, msn: int = 0, syndrome: int = 0x1F) -> None:
        """A Transport ACK or NAK of the peer."""
        self.feed(TransportAck(self.qp.qp_num, psn & 0xFFFFFF, syndrome, msn))

    def nack(self, out: Out, reason: int, **fields: Any) -> None:
        """A NACK for a packet that left."""
        packet = Nack(self.qp.qp_num, reason, out.ev, 0, 0, out.packet.psn,
                      out.packet.tx_timestamp)  # fmt: skip
        self.feed(packet._replace(**fields))

    def write(
        self, psn: int, payload: bytes = b"", *, opcode: int = Opcode.WRITE_ONLY, msn: int = 0,
        rqmsn: int = 0, offset: int = 0, imm: int | None = None, dmalen: int | None = None,
        a: bool = False, rtx: bool = False, se: bool = False, rkey: int | None = None,
        va: int | None = None, stamp: int | None = 0xBEEF, dqp: int | None = None, **way: Any,
    ) -> None:  # fmt: skip
        """A write packet of the peer arrives, to ``offset`` of ``target``."""
        way.setdefault("dscp", Dscp.TRIMMABLE)
        self.feed(
            Write(
                int(opcode), self.qp.qp_num if dqp is None else dqp, psn & 0xFFFFFF, a, rtx, se,
                stamp, msn, rqmsn, self.target.va + offset if va is None else va,
                self.target.rkey if rkey is None else rkey,
                len(payload) if dmalen is None else dmalen, imm, payload,
            ),
            **way,
        )  # fmt: skip

    def trimmed(self, psn: int, dscp: int = Dscp.TRIMMED, port: int = 0, **way: Any) -> None:
        """A write packet of the peer arrives with its payload cut off."""
        packet = Write(int(Opcode.WRITE_MIDDLE), self.qp.qp_num, psn & 0xFFFFFF, False, False,
                       False, 0xBEEF, 0, 0, self.target.va, self.target.rkey, 4096, None,
                       bytes(64))  # fmt: skip
        envelope = Envelope(PEER, SELF, bytes(16), way.get("ev", make_ev(port, 0)), dscp, 2)
        self.endpoint.receive(port, encode(envelope, packet)[:122], self.now)

    def probe(self, probe_id: int, stamp: int = 0xABCD, **way: Any) -> None:
        """A reliability probe of the peer."""
        self.feed(ReliabilityProbe(self.qp.qp_num, probe_id, 0, 0, stamp),
                  **({"dscp": Dscp.NO_TRIM} | way))  # fmt: skip


class Flight(NamedTuple):
    """A datagram on the wire; ``number`` counts what its host has sent, from 0."""

    host: int
    number: int
    at_ns: int
    port: int
    packet: Any
    datagram: bytes


# What becomes of a datagram: (extra delay, bytes) of each copy that arrives; None: unharmed.
Script = Callable[[Flight], list[tuple[int, bytes]] | None]


def trim(datagram: bytes, dscp: int = Dscp.TRIMMED) -> bytes:
    """What a switch leaves of a write: 122 bytes in another class."""
    cut = bytearray(datagram[:122])
    for at in (0, 40):
        word = int.from_bytes(cut[at : at + 4], "big") & ~(0x3F << 22) | dscp << 22
        cut[at : at + 4] = word.to_bytes(4, "big")
    return bytes(cut)


def mark(datagram: bytes) -> bytes:
    """The same datagram with CE in its outer header."""
    marked = bytearray(datagram)
    marked[1] |= 0x30
    return bytes(marked)


class Pair:
    """Two connected engines, host 0 and host 2, and the wire between them.

    ``script`` may drop, delay, copy or change each datagram; ``log`` has all of them.
    """

    def __init__(
        self, *, psn: int = PSN, mtu: int = MTU, script: Script | None = None, seed: int = 1,
        delay_ns: int = RTT // 2, cc_profile: int = CC_CROSS_T1, timeout: int = 6,
        retry: Retry | None = None, mpr: int = 8, max_wimm: int = 128, **options: Any,
    ) -> None:  # fmt: skip
        self.now = START
        self.script = script
        self.delay_ns = delay_ns
        self.log: list[Flight] = []
        self.contexts = [device(0, seed=seed, **options), device(2, seed=seed, **options)]
        self.send_cqs = [context.create_cq() for context in self.contexts]
        self.recv_cqs = [context.create_cq() for context in self.contexts]
        self.qps = [
            make_qp(context, send, recv, self.now, cc_profile=cc_profile)
            for context, send, recv in zip(
                self.contexts, self.send_cqs, self.recv_cqs, strict=True
            )
        ]
        infos = [
            PeerInfo(context.endpoint.address, qp.qp_num, psn + i, mtu, max_wimm, mpr)
            for i, (context, qp) in enumerate(zip(self.contexts, self.qps, strict=True))
        ]
        for i in (0, 1):
            connect(self.contexts[i], self.qps[i], infos[i], infos[1 - i], self.now,
                    retry=retry, timeout=timeout)  # fmt: skip
        for context in self.contexts:
            introduce(context, self.now)
        self._wire: list[tuple[int, int, int, int, bytes]] = []
        self._counts = [0, 0]
        self._order = 0

    def regions(self, length: int, salt: int = 0) -> tuple[bytearray, MemoryRegion, Any, Any]:
        """(source bytes, source region, target bytes, target region) of this many bytes."""
        source, target = pattern(length, salt), bytearray(length)
        return (source, self.contexts[0].reg_mr(source), target,
                self.contexts[1].reg_mr(target))  # fmt: skip

    def write(self, length: int, wr_id: int = 1, **fields: Any) -> tuple[bytearray, bytearray]:
        """Host 0 writes fresh bytes to host 2: (source, target)."""
        source, region, target, remote = self.regions(length, wr_id)
        wr = SendWr(wr_id, region, remote.va, remote.rkey, **fields)
        self.contexts[0].post_send(self.qps[0], wr, self.now)
        return source, target

    def _send(self) -> None:
        for host, context in enumerate(self.contexts):
            while (sent := context.endpoint.transmit(self.now, -1)) is not None:
                port, datagram = sent
                flight = Flight(host, self._counts[host], self.now, port,
                                decode(datagram).packet, datagram)  # fmt: skip
                self._counts[host] += 1
                self.log.append(flight)
                copies = self.script(flight) if self.script else None
                for extra_ns, copy in [(0, datagram)] if copies is None else copies:
                    self._order += 1
                    heappush(self._wire, (self.now + self.delay_ns + extra_ns, self._order,
                                          1 - host, port, copy))  # fmt: skip

    def run(self, for_ns: int = 50_000_000) -> None:
        """Let time pass until nothing is left to happen, at most ``for_ns``."""
        end_ns = self.now + for_ns
        while True:
            self._send()
            times = [self._wire[0][0]] if self._wire else []
            deadlines = [context.endpoint.next_deadline() for context in self.contexts]
            times += [at for at in deadlines if at is not None]
            if not times or min(times) > end_ns:
                return
            self.now = max(self.now, min(times))
            while self._wire and self._wire[0][0] <= self.now:
                _, _, host, port, datagram = heappop(self._wire)
                self.contexts[host].endpoint.receive(port, datagram, self.now)
            for context in self.contexts:
                at_ns = context.endpoint.next_deadline()
                if at_ns is not None and at_ns <= self.now:
                    context.endpoint.on_deadline(self.now)

    def completions(self, cqs: list[CompletionQueue], host: int) -> list[Any]:
        """Everything in a queue."""
        return cqs[host].poll(1 << 20)

    def sends(self, kind: type = Write, host: int = 0) -> list[Flight]:
        """What a host sent of one kind."""
        return [f for f in self.log if f.host == host and isinstance(f.packet, kind)]
