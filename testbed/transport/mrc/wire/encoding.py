"""Packet to datagram in one step; :mod:`.headers` explains the format.

Every packet sent goes through here, so each kind is one ``struct`` over all of its headers
instead of one per header. ``struct`` checks whole bytes; fields of fewer bits are checked
before, since too large a PSN would set the flags beside it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from struct import Struct
from typing import Any, NamedTuple

from testbed.transport.mrc.choices import ENDPOINT_QPN, P_KEY
from testbed.transport.mrc.serial import MSN_BITS, MSN_MASK, PSN_BITS, PSN_MASK
from testbed.transport.mrc.wire.codes import (
    ACK_KIND,
    IMMEDIATE_OPCODES,
    NAK_KIND,
    SYNDROME_KIND_MASK,
    WRITE_OPCODES,
    Opcode,
)
from testbed.transport.mrc.wire.crc import crc32
from testbed.transport.mrc.wire.errors import EncodeError
from testbed.transport.mrc.wire.headers import FTYPE, NACK_CC_TYPE
from testbed.transport.mrc.wire.icrc import front_crc, var_res_shift
from testbed.transport.mrc.wire.ip import ADDRESS_BYTES, INNER_OFFSET
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
from topologies.numbers import (
    BTH_BYTES,
    HOP_LIMIT,
    ICRC_BYTES,
    IPV6_BYTES,
    NEXT_HEADER_IPV6,
    NEXT_HEADER_UDP,
    UDP_BYTES,
    UDP_PORT,
)

# Next header and hop limit are one constant number of 16 bits.
_FRONT = Struct("!IHH16s16s IHH16s16s HHHH")  # two IPv6, UDP
_BTH = "!BBHII"
_UNSTAMPED_WRITE = Struct(_BTH + "HH QII")  # METH, RETH
_STAMPED_WRITE = Struct(_BTH + "HH HH QII")  # METH, TSETH, RETH
_WORD = Struct("!I")  # ImmDt
_AETH = Struct(_BTH + "I")
_SETH = Struct(_BTH + "HHIHHIBBhQ HHBBH")  # and CCState, its rcvd_bytes as 8 + 16 bits
_NETH = Struct(_BTH + "HBBIHHIBBH")
_PETH = Struct(_BTH + "HBBHHHHHH")
_ERTH = Struct(_BTH + "HBBIIHH")
_EETH = Struct(_BTH + "H26xH6x")

_FRONTS: dict[tuple[Envelope, int], tuple[bytes, int, int]] = {}
_FRONTS_KEPT = 8192

_OUTER_NEXT = NEXT_HEADER_IPV6 << 8 | HOP_LIMIT
_INNER_NEXT = NEXT_HEADER_UDP << 8 | HOP_LIMIT
_VERSION = 6 << 28
_SE, _PAD_SHIFT = 0x80, 4  # BTH byte 1
_A, _RTX, _TS = 1 << 31, 1 << 29, 1 << 28  # BTH bytes 8 to 11
_PR, _M_SHIFT = 2, 5  # SETH bytes 0 and 1
_EETH_OP_SHIFT = 2
_PADDING = (b"", b"\x00", b"\x00\x00", b"\x00\x00\x00")
# Enum members as plain integers, read on every packet.
_TRANSPORT_ACK, _SACK, _NACK = int(Opcode.TRANSPORT_ACK), int(Opcode.SACK), int(Opcode.NACK)
_PROBE = int(Opcode.RELIABILITY_PROBE)
_REQUEST, _RESPONSE = int(Opcode.ENDPOINT_REQUEST), int(Opcode.ENDPOINT_RESPONSE)


class Envelope(NamedTuple):
    """Where a packet goes and how. Addresses are 16 raw bytes.

    ``path_address`` is the outer destination, the list of uSIDs; ``ev`` 32 bits;
    ``dscp`` 0..63 and ``ecn`` 0..3, the same in both IPv6 headers.
    """

    source: bytes
    destination: bytes
    path_address: bytes
    ev: int
    dscp: int
    ecn: int


def encode(envelope: Envelope, packet: Packet) -> bytes:
    """The datagram of a packet. Raises EncodeError where a field does not fit."""
    try:
        return _ENCODERS[type(packet)](envelope, packet)
    except struct.error as error:
        raise EncodeError(
            f"a {type(packet).__name__} cannot be sent, a field does not fit: {error}"
        ) from None


def encode_write(
    envelope: Envelope, opcode: int, dqp: int, psn: int, a: bool, rtx: bool, se: bool,
    tx_timestamp: int | None, msn: int, rqmsn: int, va: int, rkey: int, dmalen: int,
    imm: int | None, payload: bytes | memoryview,
) -> bytes:  # fmt: skip
    """The datagram of a :class:`Write` given by its fields, for who sends many.

    ``psn``, ``msn`` and ``rqmsn`` are counted without wrapping here. The opcode is one of a
    write and fits ``imm``, ``dqp`` has 24 bits: not looked at. Raises EncodeError, or
    struct.error, where another field does not fit.
    """
    # Longer than the house likes: it runs once per data packet, and calls cost.
    psn &= PSN_MASK
    size = len(payload)
    pad = -size & 3
    flags = pad << _PAD_SHIFT
    if se:
        flags |= _SE
    if a:
        psn |= _A
    if rtx:
        psn |= _RTX
    if tx_timestamp is None:
        head = _UNSTAMPED_WRITE.pack(
            opcode, flags, P_KEY, dqp, psn, rqmsn & MSN_MASK, msn & MSN_MASK, va, rkey, dmalen
        )
    else:
        head = _STAMPED_WRITE.pack(
            opcode, flags, P_KEY, dqp, psn | _TS, rqmsn & MSN_MASK, msn & MSN_MASK,
            tx_timestamp, FTYPE, va, rkey, dmalen,
        )  # fmt: skip
    if imm is not None:
        head += _WORD.pack(imm)
    size += len(head) + pad
    front, crc, shift = _FRONTS.get((envelope, size)) or _front(envelope, size)
    crc = crc32(payload, crc32(head, crc))
    if pad:
        padding = _PADDING[pad]
        crc = crc32(padding, crc) ^ shift
        return b"".join((front, head, payload, padding, crc.to_bytes(ICRC_BYTES, "little")))
    return b"".join((front, head, payload, (crc ^ shift).to_bytes(ICRC_BYTES, "little")))


def _encode_ack(envelope: Envelope, packet: TransportAck) -> bytes:
    dqp, psn, syndrome, msn = packet
    if syndrome & SYNDROME_KIND_MASK not in (ACK_KIND, NAK_KIND) or msn >> PSN_BITS:
        raise _misfit(type(packet).__name__)
    word = syndrome << 24 | msn
    return _encode_control(_AETH, envelope, _TRANSPORT_ACK, dqp, psn, word)


def encode_sack(
    envelope: Envelope, dqp: int, m: int, pr: bool, ack_psn_offset: int, probe_id: int,
    entropy: int, spdcid: int, dpdcid: int, cack_psn: int, mpr: int, sack_offset: int,
    sack_bitmap: int, tx_timestamp: int, ooo_count: int, r_c: bool, rcv_cwnd_pen: int,
    rcvd_bytes: int,
) -> bytes:  # fmt: skip
    """The datagram of a :class:`Sack` given by its fields, for who sends many.

    Raises EncodeError, or struct.error, where a field does not fit.
    """
    if pr:
        unused, reference = ack_psn_offset, probe_id
    else:
        unused, reference = probe_id, ack_psn_offset & 0xFFFF
    if (
        unused
        or not -0x8000 <= ack_psn_offset < 0x8000
        or m >> 2
        or ooo_count >> 15
        or rcv_cwnd_pen >> 7
    ):
        raise _misfit("Sack")
    return _encode_control(
        _SETH, envelope, _SACK, dqp, cack_psn,
        m << _M_SHIFT | (_PR if pr else 0), reference, entropy, spdcid, dpdcid, cack_psn,
        0, mpr, sack_offset, sack_bitmap,
        tx_timestamp, ooo_count, rcv_cwnd_pen | (0x80 if r_c else 0),
        rcvd_bytes >> 16, rcvd_bytes & 0xFFFF,
    )  # fmt: skip


def _encode_sack(envelope: Envelope, packet: Sack) -> bytes:
    return encode_sack(envelope, *packet)


def _encode_nack(envelope: Envelope, packet: Nack) -> bytes:
    dqp, reason, entropy, spdcid, dpdcid, psn, tx_timestamp = packet
    return _encode_control(
        _NETH, envelope, _NACK, dqp, psn,
        0, reason, 0, entropy, spdcid, dpdcid, psn, NACK_CC_TYPE << 4, 0, tx_timestamp,
    )  # fmt: skip


def _encode_probe(envelope: Envelope, packet: ReliabilityProbe) -> bytes:
    dqp, probe_id, spdcid, dpdcid, tx_timestamp = packet
    return _encode_control(
        _PETH, envelope, _PROBE, dqp, 0,
        0, 0, 0, probe_id, 0, spdcid, dpdcid, tx_timestamp, FTYPE,
    )  # fmt: skip


def _encode_request(envelope: Envelope, packet: EndpointRequest) -> bytes:
    request_id, op, port_status_mask, tx_timestamp = packet
    if request_id >> 16 or op >> 2:
        raise _misfit(type(packet).__name__)
    return _encode_control(
        _ERTH, envelope, _REQUEST, ENDPOINT_QPN, request_id,
        op, 0, 0, port_status_mask, 0, tx_timestamp, FTYPE,
    )  # fmt: skip


def _encode_response(envelope: Envelope, packet: EndpointResponse) -> bytes:
    request_id, op, tx_timestamp = packet
    if request_id >> 16 or op >> 2:
        raise _misfit(type(packet).__name__)
    return _encode_control(
        _EETH, envelope, _RESPONSE, ENDPOINT_QPN, request_id, op << _EETH_OP_SHIFT, tx_timestamp
    )


def _encode_trimmed(envelope: Envelope, packet: Trimmed) -> bytes:
    raise EncodeError("a Trimmed packet cannot be sent: switches make them, send the Write")


def _encode_control(
    layout: Struct, envelope: Envelope, opcode: int, dqp: int, psn: int, *fields: int
) -> bytes:
    """A packet without payload and flags: everything behind BTH is in ``fields``."""
    if (dqp | psn) >> PSN_BITS:
        raise EncodeError(f"dqp {dqp} or PSN {psn} does not fit its 24 bits: wrap it first")
    head = layout.pack(opcode, 0, P_KEY, dqp, psn, *fields)
    size = len(head)
    front, crc, shift = _FRONTS.get((envelope, size)) or _front(envelope, size)
    return front + head + (crc32(head, crc) ^ shift).to_bytes(ICRC_BYTES, "little")


def _front(envelope: Envelope, behind_bytes: int) -> tuple[bytes, int, int]:
    """IPv6, IPv6 and UDP before so many bytes (less iCRC), the iCRC up to there, its shift.

    An endpoint sends over and over to few peers, on few EVs, in few sizes: the newest
    combinations are kept.
    """
    source, destination, path_address, ev, _, _ = envelope
    word = _VERSION | _traffic_class(envelope) << 20 | ev & 0xFFFF
    udp_bytes = UDP_BYTES + behind_bytes + ICRC_BYTES
    front = _FRONT.pack(
        word, IPV6_BYTES + udp_bytes, _OUTER_NEXT, source, path_address,
        word, udp_bytes, _INNER_NEXT, source, destination,
        ev >> 16, UDP_PORT, udp_bytes, 0,
    )  # fmt: skip
    if len(_FRONTS) >= _FRONTS_KEPT:
        _FRONTS.clear()
    made = _FRONTS[envelope, behind_bytes] = (
        front, front_crc(front[INNER_OFFSET:]), var_res_shift(behind_bytes - BTH_BYTES)
    )  # fmt: skip
    return made


def _traffic_class(envelope: Envelope) -> int:
    """DSCP and ECN as one byte, with the checks ``struct`` does not make."""
    source, destination, path_address, _, dscp, ecn = envelope
    if (
        dscp >> 6
        or ecn >> 2
        or not len(source) == len(destination) == len(path_address) == ADDRESS_BYTES
    ):
        raise EncodeError(
            f"{envelope} does not fit the IPv6 headers: addresses are 16 raw bytes, "
            "DSCP has 6 bits, ECN 2"
        )
    return dscp << 2 | ecn


def _encode_write(envelope: Envelope, packet: Write) -> bytes:
    if (
        (packet.dqp | packet.psn) >> PSN_BITS
        or (packet.rqmsn | packet.msn) >> MSN_BITS
        or packet.opcode not in WRITE_OPCODES
        or (packet.imm is None) is (packet.opcode in IMMEDIATE_OPCODES)
    ):
        raise _misfit("Write")
    return encode_write(envelope, *packet)


def _misfit(kind: str) -> EncodeError:
    return EncodeError(
        f"a {kind} cannot be sent: a field is beyond its bits, or set where its packet has none"
    )


_ENCODERS: dict[type, Callable[[Envelope, Any], bytes]] = {
    Write: _encode_write,
    TransportAck: _encode_ack,
    Sack: _encode_sack,
    Nack: _encode_nack,
    ReliabilityProbe: _encode_probe,
    EndpointRequest: _encode_request,
    EndpointResponse: _encode_response,
    Trimmed: _encode_trimmed,
}
