"""One flat tuple per kind of packet: what the engine handles, free of layout.

Numbers are as on the wire: PSN 24 bits, msn and rqmsn 16, AETH's msn 24, wrapped. Field
names are the specification's. Time stamps are opaque to whoever echoes them, so what
resolution an arriving one has (tsr) is kept nowhere: its maker knows, and an echo has no
such bit. spdcid and dpdcid are the low 16 bits of the QPN of the sender and receiver of
the packet; nobody reads them (facts sheet 2.8).
"""

from __future__ import annotations

from typing import NamedTuple

from testbed.transport.mrc.choices import NOMINAL_HEADER_BYTES
from testbed.transport.mrc.wire.codes import ACK_KIND, SYNDROME_KIND_MASK
from topologies.numbers import (
    BTH_BYTES,
    ICRC_BYTES,
    IMMDT_BYTES,
    METH_BYTES,
    RETH_BYTES,
    TSETH_BYTES,
    UDP_BYTES,
)


class Write(NamedTuple):
    """One packet of an RDMA write; its opcode says which part of the message it is.

    ``va`` is where this payload goes, ``dmalen`` the bytes of the whole message.
    ``tx_timestamp`` None: no TSETH. ``imm`` is None exactly where the opcode has none.
    ``payload`` is without padding; decoded, it is a view into the datagram.
    """

    opcode: int
    dqp: int
    psn: int
    a: bool
    rtx: bool
    se: bool
    tx_timestamp: int | None
    msn: int
    rqmsn: int
    va: int
    rkey: int
    dmalen: int
    imm: int | None
    payload: bytes | memoryview


class TransportAck(NamedTuple):
    """Transport ACK or NAK: every packet up to ``psn``, ``msn`` messages completed."""

    dqp: int
    psn: int
    syndrome: int
    msn: int

    @property
    def is_nak(self) -> bool:
        """True where the message was refused; ``syndrome`` is then a NakCode."""
        return self.syndrome & SYNDROME_KIND_MASK != ACK_KIND


class Sack(NamedTuple):
    """Selective acknowledgement, with what congestion control needs (see headers.SETH).

    ``pr``: it answers reliability probe ``probe_id``, and ``ack_psn_offset`` is 0;
    otherwise ``probe_id`` is 0 and cack_psn + ack_psn_offset (signed) is the PSN that
    caused it. ``rcvd_bytes`` is in units of 256 bytes, modulo 2^24.
    """

    dqp: int
    m: int
    pr: bool
    ack_psn_offset: int
    probe_id: int
    entropy: int
    spdcid: int
    dpdcid: int
    cack_psn: int
    mpr: int
    sack_offset: int
    sack_bitmap: int
    tx_timestamp: int
    ooo_count: int
    r_c: bool
    rcv_cwnd_pen: int
    rcvd_bytes: int


class Nack(NamedTuple):
    """A packet was refused: its PSN, its EV and a NackReason (or a number unknown here)."""

    dqp: int
    nack_reason: int
    entropy: int
    spdcid: int
    dpdcid: int
    nack_psn: int
    tx_timestamp: int


class ReliabilityProbe(NamedTuple):
    """Asks the responder for a SACK with ``pr`` set; takes no PSN."""

    dqp: int
    probe_id: int
    spdcid: int
    dpdcid: int
    tx_timestamp: int


class EndpointRequest(NamedTuple):
    """To QPN 2: try a path, or tell the mask of ports that work (0 for an EV probe).

    ``op`` is an EndpointOp or a reserved number; ``request_id`` has 16 bits.
    """

    request_id: int
    op: int
    port_status_mask: int
    tx_timestamp: int


class EndpointResponse(NamedTuple):
    """The answer, known by its id; ``op`` of an arriving one is not to be relied on (2.12)."""

    request_id: int
    op: int
    tx_timestamp: int


class Trimmed(NamedTuple):
    """A write whose payload a switch cut off: still known by its PSN, and the EV it came on.

    Without iCRC, so nothing of it is proven. ``tx_timestamp`` is None where the write had
    no TSETH or lost it. Switches make these; encoding one is refused.
    """

    opcode: int
    dqp: int
    psn: int
    tx_timestamp: int | None


Packet = (
    Write
    | TransportAck
    | Sack
    | Nack
    | ReliabilityProbe
    | EndpointRequest
    | EndpointResponse
    | Trimmed
)

_WRITE_UDP_BYTES = UDP_BYTES + BTH_BYTES + METH_BYTES + RETH_BYTES + ICRC_BYTES


def nominal_bytes(
    payload_bytes: int, has_timestamp: bool = True, has_immediate: bool = False
) -> int:
    """Nominal size of a write packet: UDP length + 40, the unit of windows (8.3.1).

    A full 4096-byte packet counts 4184, whatever is wrapped around it on the way.
    """
    padded_bytes = payload_bytes + 3 & ~3
    optional_bytes = TSETH_BYTES * has_timestamp + IMMDT_BYTES * has_immediate
    return NOMINAL_HEADER_BYTES + _WRITE_UDP_BYTES + optional_bytes + padded_bytes
