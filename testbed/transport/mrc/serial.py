"""Numbers that wrap on the wire and never inside.

PSN and AETH.msn have 24 bits, MSN and RQMSN 16, rcvd_bytes 24. The engine counts on
without end and truncates only when a header is written; what arrives is expanded to the
count nearest to one it knows (RFC 1982 in spirit), so that comparing two numbers is ``<``.
"""

from __future__ import annotations

PSN_BITS = 24
PSN_MASK = (1 << PSN_BITS) - 1
RCVD_BYTES_BITS = 24
MSN_BITS = 16
MSN_MASK = (1 << MSN_BITS) - 1


def expand(value: int, near: int, bits: int = PSN_BITS) -> int:
    """The number congruent to ``value`` modulo 2^bits that is closest to ``near``.

    The result lies in near - 2^(bits-1) .. near + 2^(bits-1) - 1 and may be negative.
    """
    half = 1 << bits - 1
    return near + ((value - near + half) & (half << 1) - 1) - half


def signed(value: int, bits: int) -> int:
    """``value`` modulo 2^bits read as two's complement."""
    half = 1 << bits - 1
    return ((value + half) & (half << 1) - 1) - half
