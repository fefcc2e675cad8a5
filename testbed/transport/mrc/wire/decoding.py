"""Datagram to packet in one step; :mod:`.headers` explains the format.

What arrives is judged like this. Refused: what is not IPv6 in IPv6 with UDP to an MRC port
(extension headers and SRH too), lengths that do not add up, a damaged iCRC, an unknown
opcode, and any number that says the rest is laid out in another way (BTH.tver, type and nh).
Ignored: reserved bits, p_key, var_res, m of BTH, tsr, ftype, cc_type and cc_fl, vendor_info,
the UDP checksum, the outer source address, BTH.psn where a later header repeats it. Codes of
a field are passed on even if they have no name here.

Every packet received goes through here, so headers are read together, tuples are made
without their Python constructor, and flags are plain masks.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any, NamedTuple

from testbed.transport.mrc.choices import ACCEPTED_UDP_PORTS, ENDPOINT_QPN
from testbed.transport.mrc.serial import PSN_MASK
from testbed.transport.mrc.wire.codes import (
    ACK_KIND,
    IMMEDIATE_OPCODES,
    NAK_KIND,
    SYNDROME_KIND_MASK,
    WRITE_OPCODES,
    Opcode,
)
from testbed.transport.mrc.wire.crc import crc32
from testbed.transport.mrc.wire.errors import DecodeError, IcrcError
from testbed.transport.mrc.wire.headers import (
    AETH,
    EETH,
    ERTH,
    NETH,
    PETH,
    SETH,
    CCState,
    Header,
)
from testbed.transport.mrc.wire.icrc import INTACT, front_crc, icrc, var_res_shift
from testbed.transport.mrc.wire.ip import BTH_OFFSET, INNER_OFFSET, UDP_OFFSET
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
    ICRC_BYTES,
    IMMDT_BYTES,
    IPV6_BYTES,
    METH_BYTES,
    NEXT_HEADER_IPV6,
    NEXT_HEADER_UDP,
    RETH_BYTES,
    TSETH_BYTES,
    UDP_PORT,
    Dscp,
)

# What nobody looks at is left out.
_FRONT = Struct("!IHBB16x16s IHBx16s16s 2H H2x")  # two IPv6, UDP
_BTH = Struct("!BB2xII")
_STAMPED_WRITE = Struct("!BB2xII HHH2xQII")  # BTH, METH, TSETH, RETH
_UNSTAMPED_WRITE = Struct("!HHQII")  # METH, RETH
_WORD = Struct("!I")  # ImmDt, AETH
_STAMP = Struct("!H")
_SETH = Struct("!HHIHHIxBhQ HHI")  # and CCState
_NETH = Struct("!HBxIHHI2xH")
_PETH = Struct("!H2xH2xHHH2x")
_ERTH = Struct("!H2xI4xH2x")
_EETH = Struct("!H26xH6x")

_BODY_OFFSET = BTH_OFFSET + BTH_BYTES
_STAMP_OFFSET = _BODY_OFFSET + METH_BYTES
_UNSTAMPED_OFFSET = _BODY_OFFSET + METH_BYTES + RETH_BYTES  # payload without TSETH, ImmDt
_STAMPED_OFFSET = _UNSTAMPED_OFFSET + TSETH_BYTES
_SHORTEST_WRITE = _UNSTAMPED_OFFSET + ICRC_BYTES
_SE, _PAD_SHIFT, _TVER = 0x80, 4, 0x0F  # BTH byte 1
_VAR_RES = 4  # BTH byte
_A, _RTX, _TS = 1 << 31, 1 << 29, 1 << 28  # BTH bytes 8 to 11
_PR, _M_SHIFT = 2, 5  # SETH bytes 0 and 1
_EETH_OP_SHIFT = 2
_TYPE_AND_NH = 0xFF80  # first 16 bits of SETH, NETH, PETH, ERTH, EETH
_TRIMMED_CLASSES = frozenset(map(int, (Dscp.TRIMMED, Dscp.TRIMMED_LASTHOP)))
_ECN_CE = 3

# The seven fields of an arrival before its packet, where the datagram ends, what its CRC from
# BTH on begins with and comes to, three lengths. A datagram is never as long as _NOWHERE: one
# whose front is that of a trimmed packet, or adds up to nothing, is looked at more closely.
_Way = tuple[bytes, bytes, bytes, int, int, bool, int]
_Front = tuple[_Way, int, int, int, tuple[int, int, int]]
_NOWHERE = 1 << 30
_FRONTS: dict[bytes, _Front] = {}
_FRONTS_KEPT = 8192
_new = tuple.__new__


class Arrival(NamedTuple):
    """A packet with what its way told. Addresses are 16 raw bytes.

    ``path_address`` is what is left of the uSID list; ``dscp`` and ``hop_limit`` are the
    outer header's; ``is_ce``: marked in the outer or the inner header.
    """

    source: bytes
    destination: bytes
    path_address: bytes
    ev: int
    dscp: int
    is_ce: bool
    hop_limit: int
    packet: Packet


def decode(datagram: bytes | memoryview) -> Arrival:
    """What a datagram says; the payload of a Write is a view into it, not a copy.

    The buffer has to stay as it is while such a view is in use. Bytes behind the outer
    length (Ethernet padding) are cut. A packet in a trimmed class becomes a Trimmed,
    whether its lengths were rewritten or still promise what was cut off (4.17). Raises
    IcrcError for damage on the way, DecodeError for anything else that is no MRC packet.
    """
    front = bytes(datagram[:BTH_OFFSET])
    known = _FRONTS.get(front) or _read_front(front, len(datagram))
    way, end, crc, intact, lengths = known
    if len(datagram) < end:
        return _decode_remains(datagram, way, lengths)
    view = memoryview(datagram)
    if crc32(view[BTH_OFFSET:end], crc) != intact:
        _check_again(view, end)
    is_write = end >= _SHORTEST_WRITE and view[BTH_OFFSET] in WRITE_OPCODES
    packet = _decode_write(view, end) if is_write else _decode_control(view, end)
    return _new(Arrival, (*way, packet))


def _read_front(front: bytes, size: int) -> _Front:
    """What IPv6, IPv6 and UDP say; the newest fronts are kept, as few of them come often.

    Whatever follows from them alone is worked out here, once for all packets behind them.
    """
    if size < _BODY_OFFSET:
        raise _too_short(size)
    (
        outer_word, outer_bytes, outer_next, hop_limit, path_address,
        inner_word, inner_bytes, inner_next, source, destination,
        udp_source, udp_destination, udp_bytes,
    ) = fields = _FRONT.unpack(front)  # fmt: skip
    if (
        outer_word >> 28 != 6
        or inner_word >> 28 != 6
        or outer_next != NEXT_HEADER_IPV6
        or inner_next != NEXT_HEADER_UDP
        or udp_destination not in ACCEPTED_UDP_PORTS
    ):
        raise _unreadable(fields)
    if len(_FRONTS) >= _FRONTS_KEPT:
        _FRONTS.clear()
    dscp = outer_word >> 22 & 0x3F
    is_ce = outer_word >> 20 & 3 == _ECN_CE or inner_word >> 20 & 3 == _ECN_CE
    ev = udp_source << 16 | inner_word & 0xFFFF
    end = UDP_OFFSET + udp_bytes
    is_whole = (
        dscp not in _TRIMMED_CLASSES
        and inner_bytes == udp_bytes
        and outer_bytes == udp_bytes + IPV6_BYTES
        and end >= _BODY_OFFSET + ICRC_BYTES
    )
    read = _FRONTS[front] = (
        (source, destination, path_address, ev, dscp, is_ce, hop_limit),
        end if is_whole else _NOWHERE,
        front_crc(front[INNER_OFFSET:]),
        # The CRC runs over BTH as it came, with the shortcut for the byte that is masked.
        INTACT ^ var_res_shift(end - _BODY_OFFSET) if is_whole else 0,
        (outer_bytes, inner_bytes, udp_bytes),
    )
    return read


def _decode_remains(
    datagram: bytes | memoryview, way: _Way, lengths: tuple[int, int, int]
) -> Arrival:
    """A datagram that is shorter than its front says, or in a trimmed class."""
    size = len(datagram)
    if size < _BODY_OFFSET:
        raise _too_short(size)
    opcode, flags, dqp, bits = _BTH.unpack_from(datagram, BTH_OFFSET)
    if flags & _TVER:
        raise _other_version(flags)
    outer_bytes, inner_bytes, udp_bytes = lengths
    if way[4] not in _TRIMMED_CLASSES:
        raise _mismeasured(size, outer_bytes, inner_bytes, udp_bytes)
    shortest = min(INNER_OFFSET + outer_bytes, UDP_OFFSET + min(inner_bytes, udp_bytes))
    packet = _decode_trimmed(datagram, min(size, shortest), opcode, dqp & PSN_MASK, bits)
    return _new(Arrival, (*way, packet))


def _check_again(view: memoryview, end: int) -> None:
    """The shortcut found a wrong iCRC in view[:end]: raise, unless it took a byte for 0 wrongly."""
    flags = view[BTH_OFFSET + 1]
    if flags & _TVER:
        raise _other_version(flags)
    front, behind = view[INNER_OFFSET:_BODY_OFFSET], view[_BODY_OFFSET:end]
    if not view[BTH_OFFSET + _VAR_RES] or icrc(front, behind) != INTACT:
        raise IcrcError("the iCRC does not fit: the packet was damaged, drop it")


def _decode_write(view: memoryview, end: int) -> Write:
    """The write in view[:end], whose iCRC is good; it holds BTH, METH and RETH at least."""
    # Read as if there were a time stamp, as there nearly always is.
    (
        opcode, flags, dqp, bits, rqmsn, msn, tx_timestamp, va, rkey, dmalen,
    ) = _STAMPED_WRITE.unpack_from(view, BTH_OFFSET)  # fmt: skip
    if flags & _TVER:
        raise _other_version(flags)
    start = _STAMPED_OFFSET
    if not bits & _TS:
        rqmsn, msn, va, rkey, dmalen = _UNSTAMPED_WRITE.unpack_from(view, _BODY_OFFSET)
        tx_timestamp, start = None, _UNSTAMPED_OFFSET
    has_imm = opcode in IMMEDIATE_OPCODES
    if has_imm:
        start += IMMDT_BYTES
    stop = end - ICRC_BYTES - (flags >> _PAD_SHIFT & 3)
    if stop < start or end & 3:
        raise _ill_measured_write()
    imm = _WORD.unpack_from(view, start - IMMDT_BYTES)[0] if has_imm else None
    return _new(Write, (
        opcode, dqp & PSN_MASK, bits & PSN_MASK, bits & _A != 0, bits & _RTX != 0,
        flags & _SE != 0, tx_timestamp, msn, rqmsn, va, rkey, dmalen, imm, view[start:stop],
    ))  # fmt: skip


def _decode_control(view: memoryview, end: int) -> Packet:
    """The packet without payload in view[:end], whose iCRC is good."""
    opcode, flags, dqp, bits = _BTH.unpack_from(view, BTH_OFFSET)
    if flags & _TVER:
        raise _other_version(flags)
    if opcode in WRITE_OPCODES:
        raise _ill_measured_write()
    known = _CONTROL.get(opcode)
    if known is None:
        raise DecodeError(f"opcode {opcode:#04x} is not MRC's: drop it")
    right_end, decoder = known
    if end != right_end or flags >> _PAD_SHIFT & 3:
        raise DecodeError(
            f"{Opcode(opcode).name} of {end} bytes and pad {flags >> _PAD_SHIFT & 3}: "
            f"it has {right_end} and 0"
        )
    return decoder(view, dqp & PSN_MASK, bits & PSN_MASK)


def _decode_ack(view: memoryview, dqp: int, psn: int) -> TransportAck:
    (word,) = _WORD.unpack_from(view, _BODY_OFFSET)
    syndrome = word >> 24
    if syndrome & SYNDROME_KIND_MASK not in (ACK_KIND, NAK_KIND):
        raise DecodeError(f"syndrome {syndrome:#04x} is neither an ACK nor a NAK of MRC")
    return _new(TransportAck, (dqp, psn, syndrome, word & PSN_MASK))


def _decode_sack(view: memoryview, dqp: int, psn: int) -> Sack:
    (
        first, reference, entropy, spdcid, dpdcid, cack_psn, mpr, sack_offset, sack_bitmap,
        tx_timestamp, ooo_count, last,
    ) = _SETH.unpack_from(view, _BODY_OFFSET)  # fmt: skip
    if first & _TYPE_AND_NH:
        raise _other_format("SETH", first)
    pr = first & _PR != 0
    if pr:
        ack_psn_offset, probe_id = 0, reference
    else:
        ack_psn_offset, probe_id = (reference ^ 0x8000) - 0x8000, 0  # two's complement
    return _new(Sack, (
        dqp, first >> _M_SHIFT & 3, pr, ack_psn_offset, probe_id, entropy, spdcid, dpdcid,
        cack_psn & PSN_MASK, mpr, sack_offset, sack_bitmap, tx_timestamp, ooo_count & 0x7FFF,
        last >= 1 << 31, last >> 24 & 0x7F, last & 0xFFFFFF,
    ))  # fmt: skip


def _decode_nack(view: memoryview, dqp: int, psn: int) -> Nack:
    (
        first, reason, entropy, spdcid, dpdcid, nack_psn, tx_timestamp,
    ) = _NETH.unpack_from(view, _BODY_OFFSET)  # fmt: skip
    if first & _TYPE_AND_NH:
        raise _other_format("NETH", first)
    return Nack(dqp, reason, entropy, spdcid, dpdcid, nack_psn & PSN_MASK, tx_timestamp)


def _decode_probe(view: memoryview, dqp: int, psn: int) -> ReliabilityProbe:
    fields = _PETH.unpack_from(view, _BODY_OFFSET)
    if fields[0] & _TYPE_AND_NH:
        raise _other_format("PETH", fields[0])
    return ReliabilityProbe(dqp, *fields[1:])


def _decode_request(view: memoryview, dqp: int, psn: int) -> EndpointRequest:
    first, mask, tx_timestamp = _ERTH.unpack_from(view, _BODY_OFFSET)
    _require_endpoint("ERTH", first, dqp, psn)
    return EndpointRequest(psn, first & 3, mask, tx_timestamp)


def _decode_response(view: memoryview, dqp: int, psn: int) -> EndpointResponse:
    first, tx_timestamp = _EETH.unpack_from(view, _BODY_OFFSET)
    _require_endpoint("EETH", first, dqp, psn)
    return EndpointResponse(psn, first >> _EETH_OP_SHIFT & 3, tx_timestamp)


def _decode_trimmed(
    datagram: bytes | memoryview, end: int, opcode: int, dqp: int, bits: int
) -> Trimmed:
    """What is left of a write in datagram[:end]; its iCRC is gone."""
    if end < _BODY_OFFSET:
        raise DecodeError(f"a trimmed packet of {end} bytes is too short to hold BTH")
    if opcode not in WRITE_OPCODES:
        raise DecodeError(f"opcode {opcode:#04x} came trimmed, but only writes can be trimmed")
    tx_timestamp = None
    if bits & _TS and end >= _STAMP_OFFSET + TSETH_BYTES:
        (tx_timestamp,) = _STAMP.unpack_from(datagram, _STAMP_OFFSET)
    return Trimmed(opcode, dqp, bits & PSN_MASK, tx_timestamp)


def _too_short(size: int) -> DecodeError:
    return DecodeError(f"a datagram of {size} bytes is too short to hold BTH")


def _ill_measured_write() -> DecodeError:
    return DecodeError("a write is too short for its headers or not padded to 4 bytes")


def _other_version(flags: int) -> DecodeError:
    return DecodeError(f"transport version {flags & _TVER} is not MRC's: only 0 is known")


def _require_endpoint(header: str, first: int, dqp: int, psn: int) -> None:
    if first & _TYPE_AND_NH:
        raise _other_format(header, first)
    if dqp != ENDPOINT_QPN or psn >> 16:
        raise DecodeError(
            f"an endpoint packet to QPN {dqp} with id {psn:#x}: "
            f"QPN {ENDPOINT_QPN} and 16 bits are right"
        )


def _other_format(header: str, first: int) -> DecodeError:
    return DecodeError(
        f"{header} of type {first >> 12} and next header {first >> 7 & 31}: only 0 is known"
    )


def _unreadable(front: tuple[Any, ...]) -> DecodeError:
    """Why the fixed fields of a datagram are not those of MRC."""
    outer_word, inner_word, port = front[0], front[5], front[11]
    return DecodeError(
        f"no MRC packet: IP versions {outer_word >> 28} and {inner_word >> 28}, next headers "
        f"{front[2]} and {front[7]}, UDP port {port}; "
        f"6, 6, {NEXT_HEADER_IPV6}, {NEXT_HEADER_UDP} and {UDP_PORT} are right"
    )


def _mismeasured(size: int, outer_bytes: int, inner_bytes: int, udp_bytes: int) -> DecodeError:
    return DecodeError(
        f"lengths do not add up: outer IPv6 {outer_bytes}, inner IPv6 {inner_bytes}, UDP "
        f"{udp_bytes} in a datagram of {size} bytes"
    )


def _end(*headers: type[Header]) -> int:
    """Where a datagram with these headers behind BTH ends, iCRC included."""
    return _BODY_OFFSET + sum(header.size_bytes() for header in headers) + ICRC_BYTES


# Opcode -> where its datagram ends (iCRC included), what reads it.
_CONTROL: dict[int, tuple[int, Callable[[memoryview, int, int], Packet]]] = {
    Opcode.TRANSPORT_ACK: (_end(AETH), _decode_ack),
    Opcode.SACK: (_end(SETH, CCState), _decode_sack),
    Opcode.NACK: (_end(NETH), _decode_nack),
    Opcode.RELIABILITY_PROBE: (_end(PETH), _decode_probe),
    Opcode.ENDPOINT_REQUEST: (_end(ERTH), _decode_request),
    Opcode.ENDPOINT_RESPONSE: (_end(EETH), _decode_response),
}
