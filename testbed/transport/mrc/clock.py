"""The 16-bit time stamp of TSETH: ticks of 128 ns of the sender's protocol time.

It wraps every 8.39 ms, so an age is only known modulo that; samples of round trips that
may be older are not to be trusted (facts sheet 2.4).
"""

from __future__ import annotations

from testbed.transport.mrc.choices import TIMESTAMP_TICK_NS

_SHIFT = TIMESTAMP_TICK_NS.bit_length() - 1
WRAP_NS = TIMESTAMP_TICK_NS << 16


def timestamp(now_ns: int) -> int:
    """What TSETH carries at this time, 0..65535."""
    return now_ns >> _SHIFT & 0xFFFF


def age_ns(now_ns: int, echoed: int) -> int:
    """Ns since the time stamp was taken, a multiple of 128, modulo 8.39 ms."""
    return ((now_ns >> _SHIFT) - echoed & 0xFFFF) << _SHIFT
