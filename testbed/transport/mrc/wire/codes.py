"""Numbers on the wire and their names (facts sheet section 3).

Packets carry plain integers, since reading an enum member costs more than the rest of a
comparison; the members compare equal to them. Numbers missing here may still arrive.
"""

from __future__ import annotations

from enum import IntEnum


class Opcode(IntEnum):
    """BTH byte 0 (3.1). The low five bits are RoCE's for reliable connections, if it has one."""

    WRITE_FIRST = 0xC6
    WRITE_MIDDLE = 0xC7
    WRITE_LAST = 0xC8
    WRITE_LAST_WITH_IMM = 0xC9
    WRITE_ONLY = 0xCA
    WRITE_ONLY_WITH_IMM = 0xCB
    TRANSPORT_ACK = 0xD1
    ENDPOINT_REQUEST = 0xD8
    ENDPOINT_RESPONSE = 0xD9
    SACK = 0xDC
    NACK = 0xDD
    RELIABILITY_PROBE = 0xDE


class NackReason(IntEnum):
    """Why a responder refused a packet (3.2, Table 7-3). Unknown ones: retransmit."""

    TRIMMED = 0x01
    TRIMMED_LASTHOP = 0x02
    NO_BITMAP = 0x06
    NO_PKT_BUFFER = 0x07
    NO_RESOURCE = 0x0A
    PSN_OOR_WINDOW = 0x0B
    UNEXP_EVENT = 0x19


class PathMark(IntEnum):
    """Field m of SETH: what the responder says about the EV (3.4). 3 is reserved: ignore."""

    NONE = 0
    SKIP_ONCE = 1
    ALWAYS_SKIP = 2


class EndpointOp(IntEnum):
    """What an endpoint request asks (3.3). 2 and 3 are reserved."""

    PORT_STATUS_UPDATE = 0
    EV_PROBE = 1


class NakCode(IntEnum):
    """The syndrome of a Transport NAK, InfiniBand's numbers (2.7)."""

    INVALID_REQUEST = 0x61
    REMOTE_ACCESS_ERROR = 0x62
    REMOTE_OPERATIONAL_ERROR = 0x63


ACK_SYNDROME = 0x1F
"""The syndrome of a Transport ACK: no end-to-end credits (2.7)."""

WRITE_OPCODES: frozenset[int] = frozenset(range(0xC6, 0xCC))
FIRST_OPCODES: frozenset[int] = frozenset(
    {Opcode.WRITE_FIRST, Opcode.WRITE_ONLY, Opcode.WRITE_ONLY_WITH_IMM}
)
"""Packets that begin a message."""
FINAL_OPCODES: frozenset[int] = frozenset(range(0xC8, 0xCC))
"""Packets that end a message: Last and Only, with and without immediate."""
IMMEDIATE_OPCODES: frozenset[int] = frozenset(
    {Opcode.WRITE_LAST_WITH_IMM, Opcode.WRITE_ONLY_WITH_IMM}
)
"""Packets that carry ImmDt."""

SYNDROME_KIND_MASK = 0xE0
ACK_KIND = 0x00
NAK_KIND = 0x60
"""Bits 7..5 of the syndrome. The others (RNR, reserved) have no place in MRC (2.7)."""
