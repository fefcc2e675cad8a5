"""What the tests of the wire share: the vectors, packets of any kind, the reference packer.

Vectors are JSON files under tests/vectors/mrc, one per kind of packet, each with the place
its layout comes from. ``layers`` are the bytes of a whole datagram in order, in hex.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from testbed.transport.mrc.wire import headers as h
from testbed.transport.mrc.wire.codec import Envelope
from testbed.transport.mrc.wire.codes import IMMEDIATE_OPCODES, WRITE_OPCODES, Opcode
from testbed.transport.mrc.wire.icrc import icrc
from testbed.transport.mrc.wire.ip import encapsulation
from testbed.transport.mrc.wire.packets import (
    EndpointRequest,
    EndpointResponse,
    Nack,
    Packet,
    ReliabilityProbe,
    Sack,
    TransportAck,
    Trimmed,
    Write,
)

VECTORS = Path(__file__).parents[3] / "vectors" / "mrc"
KINDS: dict[str, type[Any]] = {
    "write": Write, "transport_ack": TransportAck, "sack": Sack, "nack": Nack,
    "reliability_probe": ReliabilityProbe, "endpoint_request": EndpointRequest,
    "endpoint_response": EndpointResponse, "trimmed": Trimmed,
}  # fmt: skip


@dataclass(frozen=True)
class Vector:
    """One datagram, and what it says."""

    name: str
    envelope: Envelope
    packet: Packet
    layers: dict[str, bytes]

    @property
    def datagram(self) -> bytes:
        """All layers in order."""
        return b"".join(self.layers.values())

    @property
    def is_trimmed(self) -> bool:
        """Made by a switch: decoded only."""
        return isinstance(self.packet, Trimmed)


def load_vectors() -> list[Vector]:
    """Every vector of every file."""
    found = []
    for path in sorted(VECTORS.glob("*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        assert document["source"], path
        for entry in document["vectors"]:
            envelope = {name: _value(name, item) for name, item in entry["envelope"].items()}
            packet = {name: _value(name, item) for name, item in entry["packet"].items()}
            found.append(Vector(
                f"{document['kind']}: {entry['name']}",
                Envelope(**envelope),
                KINDS[document["kind"]](**packet),
                {name: bytes.fromhex(text) for name, text in entry["layers"].items()},
            ))  # fmt: skip
    return found


def _value(name: str, item: Any) -> Any:
    if name in ("payload", "source", "destination", "path_address"):
        return bytes.fromhex(item)
    return int(item, 0) if isinstance(item, str) else item


def bits(count: int) -> st.SearchStrategy[int]:
    """Numbers of so many bits."""
    return st.integers(0, (1 << count) - 1)


ADDRESSES = st.binary(min_size=16, max_size=16)
DSCPS = bits(6).filter(lambda dscp: dscp not in (12, 16))  # the trimmed classes
ENVELOPES = st.builds(
    Envelope, source=ADDRESSES, destination=ADDRESSES, path_address=ADDRESSES,
    ev=bits(32), dscp=DSCPS, ecn=bits(2),
)  # fmt: skip


@st.composite
def writes(draw: st.DrawFn, payload: bytes | None = None) -> Write:
    """A write of any opcode, with and without time stamp."""
    opcode = draw(st.sampled_from(sorted(WRITE_OPCODES)))
    return Write(
        opcode=opcode, dqp=draw(bits(24)), psn=draw(bits(24)),
        a=draw(st.booleans()), rtx=draw(st.booleans()), se=draw(st.booleans()),
        tx_timestamp=draw(st.none() | bits(16)), msn=draw(bits(16)), rqmsn=draw(bits(16)),
        va=draw(bits(64)), rkey=draw(bits(32)), dmalen=draw(bits(32)),
        imm=draw(bits(32)) if opcode in IMMEDIATE_OPCODES else None,
        payload=draw(st.binary(max_size=64)) if payload is None else payload,
    )  # fmt: skip


@st.composite
def sacks(draw: st.DrawFn) -> Sack:
    """A SACK with any content."""
    pr = draw(st.booleans())
    return Sack(
        dqp=draw(bits(24)), m=draw(bits(2)), pr=pr,
        ack_psn_offset=0 if pr else draw(st.integers(-0x8000, 0x7FFF)),
        probe_id=draw(bits(16)) if pr else 0,
        entropy=draw(bits(32)), spdcid=draw(bits(16)), dpdcid=draw(bits(16)),
        cack_psn=draw(bits(24)), mpr=draw(bits(8)),
        sack_offset=draw(st.integers(-0x8000, 0x7FFF)), sack_bitmap=draw(bits(64)),
        tx_timestamp=draw(bits(16)), ooo_count=draw(bits(15)), r_c=draw(st.booleans()),
        rcv_cwnd_pen=draw(bits(7)), rcvd_bytes=draw(bits(24)),
    )  # fmt: skip


SYNDROMES = bits(5) | bits(5).map(lambda code: 0x60 | code)
PACKETS: st.SearchStrategy[Packet] = st.one_of(
    writes(),
    sacks(),
    st.builds(TransportAck, bits(24), bits(24), SYNDROMES, bits(24)),
    st.builds(Nack, bits(24), bits(8), bits(32), bits(16), bits(16), bits(24), bits(16)),
    st.builds(ReliabilityProbe, bits(24), bits(16), bits(16), bits(16), bits(16)),
    st.builds(EndpointRequest, bits(16), bits(2), bits(32), bits(16)),
    st.builds(EndpointResponse, bits(16), bits(2), bits(16)),
)


def reference(envelope: Envelope, packet: Packet) -> bytes:
    """The datagram as its headers packed one by one, put in order by facts sheet 1.1."""
    layers = reference_headers(packet)
    bth, body = layers[0], b"".join(layer.pack() for layer in layers[1:])
    if isinstance(packet, Write):
        body += bytes(packet.payload) + bytes(bth.pad)
    outer, inner, udp = encapsulation(*envelope, behind_udp_bytes=12 + len(body) + 4)
    front = inner.pack() + udp.pack() + bth.pack()
    return outer.pack() + front + body + icrc(front, body).to_bytes(4, "little")


def reference_headers(packet: Packet) -> list[Any]:
    """BTH and what follows it, header by header."""
    if isinstance(packet, Write):
        return _write_headers(packet)
    if isinstance(packet, TransportAck):
        bth = h.BTH(Opcode.TRANSPORT_ACK, packet.dqp, packet.psn)
        return [bth, h.AETH(packet.syndrome, packet.msn)]
    if isinstance(packet, Sack):
        return _sack_headers(packet)
    if isinstance(packet, Nack):
        return [h.BTH(Opcode.NACK, packet.dqp, packet.nack_psn), h.NETH(*packet[1:])]
    if isinstance(packet, ReliabilityProbe):
        return [h.BTH(Opcode.RELIABILITY_PROBE, packet.dqp, 0), h.PETH(*packet[1:])]
    if isinstance(packet, EndpointRequest):
        return [h.BTH(Opcode.ENDPOINT_REQUEST, 2, packet.request_id), h.ERTH(*packet[1:])]
    assert isinstance(packet, EndpointResponse)
    return [h.BTH(Opcode.ENDPOINT_RESPONSE, 2, packet.request_id), h.EETH(*packet[1:])]


def _write_headers(packet: Write) -> list[Any]:
    has_stamp = packet.tx_timestamp is not None
    found: list[Any] = [
        h.BTH(
            packet.opcode, packet.dqp, packet.psn, se=packet.se, pad=-len(packet.payload) % 4,
            a=packet.a, rtx=packet.rtx, ts=has_stamp,
        ),
        h.METH(packet.rqmsn, packet.msn),
    ]  # fmt: skip
    if packet.tx_timestamp is not None:
        found.append(h.TSETH(packet.tx_timestamp))
    found.append(h.RETH(packet.va, packet.rkey, packet.dmalen))
    if packet.imm is not None:
        found.append(h.ImmDt(packet.imm))
    return found


def _sack_headers(packet: Sack) -> list[Any]:
    seth = h.SETH(
        m=packet.m, pr=packet.pr,
        offset_or_id=packet.probe_id if packet.pr else packet.ack_psn_offset & 0xFFFF,
        entropy=packet.entropy, spdcid=packet.spdcid, dpdcid=packet.dpdcid,
        cack_psn=packet.cack_psn, mpr=packet.mpr, sack_offset=packet.sack_offset,
        sack_bitmap=packet.sack_bitmap,
    )  # fmt: skip
    return [h.BTH(Opcode.SACK, packet.dqp, packet.cack_psn), seth, h.CCState(*packet[12:])]
