"""The headers of MRC, each as a small frozen value that packs and unpacks itself.

This is the layer to read; the codec does the same in one step per packet, and its tests
hold the two against each other. A layout lists fields with their bits from the first bit
of the first byte on, most significant bit first; a field without a name is reserved: sent
as 0, not looked at on arrival.

    Write                 BTH METH [TSETH] RETH [ImmDt] payload iCRC
    Transport ACK, NAK    BTH AETH iCRC
    SACK                  BTH SETH CCState iCRC
    NACK                  BTH NETH iCRC
    Reliability probe     BTH PETH iCRC
    Endpoint request      BTH ERTH iCRC
    Endpoint response     BTH EETH iCRC

(Facts sheet 1.1.) Unlike RoCE's, METH and RETH are on every packet of a write, so each can
be placed in memory alone, in whatever order it arrives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Self

from testbed.transport.mrc.choices import P_KEY
from testbed.transport.mrc.serial import signed
from testbed.transport.mrc.wire.errors import DecodeError, EncodeError

FTYPE = 1  # the only time stamp format there is (2.4)
NACK_CC_TYPE = 2  # 2.9; a SACK has 0


class Field(NamedTuple):
    """One field of a layout; name "" where it is reserved."""

    name: str
    bits: int
    is_signed: bool = False


def layout(text: str) -> tuple[Field, ...]:
    """The fields of ``"name:bits :bits name:sbits"``: named, reserved, two's complement."""
    fields = []
    for word in text.split():
        name, _, bits = word.partition(":")
        fields.append(Field(name, int(bits.lstrip("s")), bits.startswith("s")))
    return tuple(fields)


@dataclass(frozen=True, slots=True)
class Header:
    """What every header can do. Subclasses give the layout and a member for each name."""

    LAYOUT: ClassVar[tuple[Field, ...]] = ()

    @classmethod
    def size_bytes(cls) -> int:
        """Its length on the wire."""
        return sum(field.bits for field in cls.LAYOUT) // 8

    def pack(self) -> bytes:
        """Its bytes. Raises EncodeError where a member does not fit its field."""
        word = 0
        for field in self.LAYOUT:
            value = int(getattr(self, field.name)) if field.name else 0
            word = word << field.bits | self._fitted(field, value)
        return word.to_bytes(self.size_bytes(), "big")

    @classmethod
    def unpack(cls, buffer: bytes | memoryview, offset: int = 0) -> Self:
        """Read it at this offset. Raises DecodeError where the buffer ends too early."""
        size = cls.size_bytes()
        if not 0 <= offset <= len(buffer) - size:
            raise DecodeError(
                f"{cls.__name__} needs {size} bytes at offset {offset}, "
                f"the packet has {len(buffer)}"
            )
        word = int.from_bytes(buffer[offset : offset + size], "big")
        members: dict[str, int | bool] = {}
        for field in reversed(cls.LAYOUT):
            value = word & (1 << field.bits) - 1
            word >>= field.bits
            if field.name:
                members[field.name] = _member(field, value)
        return cls(**members)

    def _fitted(self, field: Field, value: int) -> int:
        """The value as the unsigned number of its field."""
        half = 1 << field.bits - 1
        low, high = (-half, half) if field.is_signed else (0, 2 * half)
        if not low <= value < high:
            raise EncodeError(
                f"{type(self).__name__}.{field.name} = {value} does not fit its "
                f"{field.bits} bits: use {low} to {high - 1}"
            )
        return value & 2 * half - 1


def _member(field: Field, value: int) -> int | bool:
    if field.bits == 1:
        return bool(value)
    return signed(value, field.bits) if field.is_signed else value


@dataclass(frozen=True, slots=True)
class BTH(Header):
    """Base transport header: which packet this is, for whom (2.1; Tables 6-3, 6-4).

        0        1                   2-3     4         5-7   8                     9-11
        opcode | se m pad:2 tver:4 | p_key | var_res | dqp | a R rtx ts inv_res:4 | psn

    se raises a solicited event, m is unused, pad counts bytes added behind the payload.
    a asks for a SACK and a Transport ACK now, rtx marks a retransmission, ts says TSETH
    follows METH. dqp and psn mean what Table 7-6 gives them for the opcode (2.2).
    """

    LAYOUT = layout(
        "opcode:8 se:1 m:1 pad:2 tver:4 p_key:16 var_res:8 dqp:24 "
        "a:1 :1 rtx:1 ts:1 inv_res:4 psn:24"
    )
    opcode: int
    dqp: int
    psn: int
    se: bool = False
    m: bool = False
    pad: int = 0
    tver: int = 0
    p_key: int = P_KEY
    var_res: int = 0
    a: bool = False
    rtx: bool = False
    ts: bool = False
    inv_res: int = 0


@dataclass(frozen=True, slots=True)
class METH(Header):
    """Message header, on every write packet (2.3; Tables 6-8, 6-9).

        0-1     2-3
        rqmsn | msn

    msn numbers all messages of the QP, rqmsn those with immediate (the receive each one
    takes); 0 on messages without. Both wrap modulo 2^16.
    """

    LAYOUT = layout("rqmsn:16 msn:16")
    rqmsn: int
    msn: int


@dataclass(frozen=True, slots=True)
class TSETH(Header):
    """Time stamp, where BTH.ts is set (2.4; Tables 6-6, 6-7).

        0-1            2-3
        tx_timestamp | tsr R:11 ftype:4

    The sender's clock in ticks of 128 ns (tsr 0) or 1 us (tsr 1). The other side sends
    it back as it came, so only who made it needs to know the tick.
    """

    LAYOUT = layout("tx_timestamp:16 tsr:1 :11 ftype:4")
    tx_timestamp: int
    tsr: bool = False
    ftype: int = FTYPE


@dataclass(frozen=True, slots=True)
class RETH(Header):
    """Where the payload goes, on every write packet (2.5; Table 6-5).

        0-7  8-11   12-15
        va | rkey | dmalen

    va is the address of this packet's payload, dmalen the length of the whole message.
    """

    LAYOUT = layout("va:64 rkey:32 dmalen:32")
    va: int
    rkey: int
    dmalen: int


@dataclass(frozen=True, slots=True)
class ImmDt(Header):
    """Immediate data: 32 bits for the receive completion, behind RETH (2.6)."""

    LAYOUT = layout("imm:32")
    imm: int


@dataclass(frozen=True, slots=True)
class AETH(Header):
    """Transport ACK or NAK (2.7).

        0          1-3
        syndrome | msn

    syndrome 0x1f acknowledges, 0x61 to 0x63 refuse. msn counts messages completed at the
    responder, modulo 2^24 (not METH's 16 bits).
    """

    LAYOUT = layout("syndrome:8 msn:24")
    syndrome: int
    msn: int


@dataclass(frozen=True, slots=True)
class SETH(Header):
    """Selective acknowledgement (2.8; Tables 7-14, 7-15). CCState follows.

        0-1                               2-3            4-7       8-9      10-11
        type:4 nh:5 m:2 R:3 pr R        | offset_or_id | entropy | spdcid | dpdcid
        12    13-15      16                 17    18-19         20-27
        res | cack_psn | cc_type:4 cc_fl:4 | mpr | sack_offset | sack_bitmap

    Everything up to cack_psn has arrived. Bit i of the bitmap, the least significant
    being 0, stands for PSN cack_psn + sack_offset + i. entropy is the EV of the packet
    that caused this SACK, m what to do about it. offset_or_id has two meanings, see its
    two properties.
    """

    LAYOUT = layout(
        "type:4 nh:5 m:2 :3 pr:1 :1 offset_or_id:16 entropy:32 spdcid:16 dpdcid:16 "
        ":8 cack_psn:24 cc_type:4 cc_fl:4 mpr:8 sack_offset:s16 sack_bitmap:64"
    )
    m: int
    pr: bool
    offset_or_id: int
    entropy: int
    spdcid: int
    dpdcid: int
    cack_psn: int
    mpr: int
    sack_offset: int
    sack_bitmap: int
    type: int = 0
    nh: int = 0
    cc_type: int = 0
    cc_fl: int = 0

    @property
    def ack_psn_offset(self) -> int:
        """pr = 0: cack_psn plus this is the PSN that caused the SACK. -32768..32767."""
        return signed(self.offset_or_id, 16)

    @property
    def probe_id(self) -> int:
        """pr = 1: the id of the reliability probe this SACK answers."""
        return self.offset_or_id


@dataclass(frozen=True, slots=True)
class CCState(Header):
    """What congestion control needs of a SACK (2.8; Tables 7-12, 7-13).

        0-1            2-3             4                  5-7
        tx_timestamp | R ooo_count:15 | r_c rcv_cwnd_pen:7 | rcvd_bytes

    tx_timestamp echoes the packet that caused the SACK, 0 if it had none. rcvd_bytes is
    in units of 256 bytes since the QP began.
    """

    LAYOUT = layout("tx_timestamp:16 :1 ooo_count:15 r_c:1 rcv_cwnd_pen:7 rcvd_bytes:24")
    tx_timestamp: int
    ooo_count: int
    r_c: bool
    rcv_cwnd_pen: int
    rcvd_bytes: int


@dataclass(frozen=True, slots=True)
class NETH(Header):
    """A packet was refused (2.9; Tables 7-16, 7-17).

        0-1               2             3             4-7       8-9      10-11
        type:4 nh:5 R:7 | nack_reason | vendor_info | entropy | spdcid | dpdcid
        12    13-15      16                 17  18-19
        res | nack_psn | cc_type:4 cc_fl:4 | R | tx_timestamp
    """

    LAYOUT = layout(
        "type:4 nh:5 :7 nack_reason:8 vendor_info:8 entropy:32 spdcid:16 dpdcid:16 "
        ":8 nack_psn:24 cc_type:4 cc_fl:4 :8 tx_timestamp:16"
    )
    nack_reason: int
    entropy: int
    spdcid: int
    dpdcid: int
    nack_psn: int
    tx_timestamp: int
    type: int = 0
    nh: int = 0
    vendor_info: int = 0
    cc_type: int = NACK_CC_TYPE
    cc_fl: int = 0


@dataclass(frozen=True, slots=True)
class PETH(Header):
    """Reliability probe: asks for a SACK with pr set (2.10; Tables 7-18, 7-19).

        0-1               2   3             4-5        6-7  8-9      10-11
        type:4 nh:5 R:7 | R | vendor_info | probe_id | R  | spdcid | dpdcid
        12-13          14-15
        tx_timestamp | tsr R:11 ftype:4
    """

    LAYOUT = layout(
        "type:4 nh:5 :7 :8 vendor_info:8 probe_id:16 :16 spdcid:16 dpdcid:16 "
        "tx_timestamp:16 tsr:1 :11 ftype:4"
    )
    probe_id: int
    spdcid: int
    dpdcid: int
    tx_timestamp: int
    type: int = 0
    nh: int = 0
    vendor_info: int = 0
    tsr: bool = False
    ftype: int = FTYPE


@dataclass(frozen=True, slots=True)
class ERTH(Header):
    """Endpoint request: try a path, or tell which ports work (2.11; Tables 7-20, 7-21).

        0-1                    2   3             4-7                8-11
        type:4 nh:5 R:5 op:2 | R | vendor_info | port_status_mask | R
        12-13          14-15
        tx_timestamp | tsr R:11 ftype:4
    """

    LAYOUT = layout(
        "type:4 nh:5 :5 op:2 :8 vendor_info:8 port_status_mask:32 :32 "
        "tx_timestamp:16 tsr:1 :11 ftype:4"
    )
    op: int
    port_status_mask: int
    tx_timestamp: int
    type: int = 0
    nh: int = 0
    vendor_info: int = 0
    tsr: bool = False
    ftype: int = FTYPE


@dataclass(frozen=True, slots=True)
class EETH(Header):
    """Endpoint response (2.12; Tables 7-22, 7-23).

        0-1                        2-27  28-29          30-35
        type:4 nh:5 R:3 op:2 R:2 | R   | tx_timestamp | R

    As long as SETH and CCState, with the time stamp in the same place. The sources differ
    about where op is; nobody needs it, the id in BTH.psn says which request this answers.
    """

    LAYOUT = layout("type:4 nh:5 :3 op:2 :2 :208 tx_timestamp:16 :48")
    op: int
    tx_timestamp: int
    type: int = 0
    nh: int = 0
