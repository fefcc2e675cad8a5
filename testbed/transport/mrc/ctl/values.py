"""The values that cross the controller API: an EV of 32 bytes with its port, and its states.

    value   0..3 STEV (0..1 UDP) | SRv6: 0..15 address, 16..31 the one SRH segment
    port    from 1; 0 only in the unpopulated EV

Inside the engine the same EV is a 32-bit integer and its port counts from 0 (= plane). The
conversion happens here and nowhere else (facts sheet sections 1.3 and 7.3).
"""

from __future__ import annotations

from enum import IntFlag
from typing import NamedTuple

EV_VALUE_BYTES = 32
EV_VALUE_BITS = 8 * EV_VALUE_BYTES
WIRE_EV_BYTES = 4


class ApiEvState(IntFlag):
    """The states of an EV as the API counts them (7.3); SKIP does not exist here."""

    GOOD = 1
    ASSUMED_BAD = 2
    DENIED = 4
    UNKNOWN = 1 << 31


SETTABLE_STATES = frozenset({ApiEvState.GOOD, ApiEvState.ASSUMED_BAD, ApiEvState.DENIED})
EVENT_STATES = ApiEvState.GOOD | ApiEvState.ASSUMED_BAD


class ApiEv(NamedTuple):
    """An EV as a controller writes it: 32 bytes, and the port counted from 1."""

    value: bytes
    port: int

    def __str__(self) -> str:
        digits = self.value.hex().rstrip("0")
        return f"0x{digits or '0'} of port {self.port}"


# What every entry of an explicit EV profile holds until it is replaced (7.3).
UNPOPULATED = ApiEv(bytes(EV_VALUE_BYTES), 0)


def api_ev(ev: int, port: int) -> ApiEv:
    """The engine's EV (32 bits) on ``port`` (from 0) as the API writes it.

    Raises ValueError where ev or port is out of range.
    """
    if not 0 <= ev < 1 << 8 * WIRE_EV_BYTES or port < 0:
        raise ValueError(f"EV {ev:#x} on port {port} is none: give 32 bits and a port from 0")
    return ApiEv(ev.to_bytes(WIRE_EV_BYTES, "big").ljust(EV_VALUE_BYTES, b"\0"), port + 1)


def wire_ev(ev: ApiEv) -> tuple[int, int]:
    """The engine's (EV, port from 0) of an EV in STEV or UDP layout.

    Raises ValueError where a byte behind the first four is set or the port is 0.
    """
    if len(ev.value) != EV_VALUE_BYTES or any(ev.value[WIRE_EV_BYTES:]) or ev.port < 1:
        raise ValueError(f"EV {ev} has no form of 32 bits: set its first four bytes and a port")
    return int.from_bytes(ev.value[:WIRE_EV_BYTES], "big"), ev.port - 1
