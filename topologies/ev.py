"""Entropy values: 32 bits that name exactly one path between two hosts.

    EV    31..24 plane | 23..16 uplink | 15..0 zero

Fields fill from the top, so bits 31..16 travel as the UDP source port and bits 15..0
as the low 16 bits of the IPv6 flow label (facts sheet section 1.3). People type and
read the upper 16 bits: ``0x0203`` is plane 2, uplink 3.
"""

from __future__ import annotations

import re

UPLINK_LIMIT = 256
EV_BITS = 32

_PLANE_SHIFT = 24
_UPLINK_SHIFT = 16
_TYPED = re.compile(r"0[xX][0-9a-fA-F]{1,4}")


def make_ev(plane: int, uplink: int) -> int:
    """The EV of this plane (0..255) and T0 uplink (0..255). Raises ValueError beyond."""
    if not (0 <= plane < 256 and 0 <= uplink < UPLINK_LIMIT):
        raise ValueError(f"plane {plane}, uplink {uplink} is no EV: each has 8 bits")
    return plane << _PLANE_SHIFT | uplink << _UPLINK_SHIFT


def split_ev(ev: int) -> tuple[int, int]:
    """The (plane, uplink) an EV names. Raises ValueError where its low 16 bits are set."""
    if not 0 <= ev < 1 << EV_BITS or ev & 0xFFFF:
        raise ValueError(f"{ev:#010x} is no EV of this fabric: bits 15..0 must be zero")
    return ev >> _PLANE_SHIFT, ev >> _UPLINK_SHIFT & 0xFF


def parse_ev(text: str) -> int:
    """Read an EV as people type it, ``0xPPUU``. Raises ValueError for anything else."""
    if not _TYPED.fullmatch(text):
        raise ValueError(f"'{text}' is no EV: write plane and uplink in hex, like 0x0203")
    return int(text, 16) << _UPLINK_SHIFT


def format_ev(ev: int) -> str:
    """The EV as people read it: ``0x0203`` for plane 2, uplink 3."""
    return f"{ev >> _UPLINK_SHIFT:#06x}"


def udp_source_port(ev: int) -> int:
    """The half of the EV that travels as the UDP source port, 0..65535."""
    return ev >> _UPLINK_SHIFT


def flow_label(ev: int) -> int:
    """The half of the EV that travels in the IPv6 flow label, 0..65535."""
    return ev & 0xFFFF
