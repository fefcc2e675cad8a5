"""The one table of sizes, code points, times and thresholds, with where each is from.

Sizes and times here are those of the real thing: bytes are never scaled, times and
rates are emulated ones (design.md section 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from topologies.spec import ClosSpec

# --- Headers, bytes (facts sheet sections 1.1 and 2) ---------------------------------
ETHERNET_BYTES = 14
IPV6_BYTES = 40
UDP_BYTES = 8
BTH_BYTES = 12
METH_BYTES = 4
TSETH_BYTES = 4
RETH_BYTES = 16
IMMDT_BYTES = 4
ICRC_BYTES = 4

# Ethernet, outer and inner IPv6, UDP: in front of every BTH.
ENCAPSULATION_BYTES = ETHERNET_BYTES + 2 * IPV6_BYTES + UDP_BYTES
DATA_OVERHEAD_BYTES = (
    ENCAPSULATION_BYTES + BTH_BYTES + METH_BYTES + TSETH_BYTES + RETH_BYTES + ICRC_BYTES
)
# What the link MTU holds beside the payload of the largest packet, a write with immediate.
MTU_OVERHEAD_BYTES = DATA_OVERHEAD_BYTES - ETHERNET_BYTES + IMMDT_BYTES

# --- Frames, bytes with Ethernet header ----------------------------------------------
CONTROL_FRAME_BYTES = 150  # a SACK, as design.md section 3 counts it (without iCRC)
TRIMMED_FRAME_BYTES = ENCAPSULATION_BYTES + BTH_BYTES + METH_BYTES + TSETH_BYTES

# --- Code points ---------------------------------------------------------------------
ETHERTYPE_IPV6 = 0x86DD
NEXT_HEADER_IPV6 = 41
NEXT_HEADER_UDP = 17
UDP_PORT = 4791  # IANA RoCEv2; facts sheet section 1.2
HOP_LIMIT = 64  # at the sender


class Dscp(IntEnum):
    """DSCP of every class of packet, in the outer and the inner header."""

    NO_TRIM = 0
    TRIMMABLE = 4
    TRIMMABLE_RETX = 8
    TRIMMED = 12
    TRIMMED_LASTHOP = 16
    CONTROL = 46


class Ecn(IntEnum):
    """The two ECN bits (RFC 3168)."""

    NOT_ECT = 0
    ECT1 = 1
    ECT0 = 2
    CE = 3


CONTROL_CLASS = frozenset({Dscp.CONTROL, Dscp.TRIMMED, Dscp.TRIMMED_LASTHOP})
TRIMMABLE_CLASS = frozenset({Dscp.TRIMMABLE, Dscp.TRIMMABLE_RETX})

# --- Paths: links crossed one way ------------------------------------------------------
T0_LOCAL_LINKS = 2
CROSS_T1_LINKS = 4

# --- Ports ---------------------------------------------------------------------------
# Switch ports drain a little faster than NICs send, so that on an uncongested path the
# NIC and not a standing queue is the bottleneck.
_DRAIN_PERCENT = 101
DRAIN_FACTOR = _DRAIN_PERCENT / 100

CONTROL_QUEUE_BYTES = 64_000
_ECN_MIN_PERCENT = 20
_ECN_MAX_PERCENT = 80
_TRIM_PERCENT = 100
_LAST_HOP_TRIM_PERCENT = 150
_DROP_PERCENT = 400


@dataclass(frozen=True, slots=True)
class PortThresholds:
    """Queue depths in bytes at which a switch port acts on an arriving frame.

    Data: CE is marked with a probability that rises from 0 at ``ecn_min_bytes`` to 1
    at ``ecn_max_bytes`` (both 0: never), trimmable frames are trimmed from
    ``trim_bytes`` on, all are dropped from ``drop_bytes`` on. Control and trimmed
    frames have a queue of their own that drops from ``control_bytes`` on.
    """

    ecn_min_bytes: int
    ecn_max_bytes: int
    trim_bytes: int
    drop_bytes: int
    control_bytes: int


def data_frame_bytes(payload_bytes: int) -> int:
    """Bytes on the link of a data packet with TSETH: 4096 of payload make 4238."""
    return payload_bytes + DATA_OVERHEAD_BYTES


DATA_FRAME_BYTES = data_frame_bytes(4096)


def serialisation_ns(frame_bytes: int, rate_bps: int) -> int:
    """Emulated ns one frame keeps a port of this rate busy, rounded to nearest."""
    return _nearest(frame_bytes * 8 * 10**9, rate_bps)


def base_rtt_ns(spec: ClosSpec, cross_t1: bool = True) -> int:
    """Emulated ns of an unloaded round trip: a full data frame out, a SACK back.

    Cross-T1 that is 8 links and 4 serialisations of each, T0-local 4 links and 2 of
    each: 9404 and 4702 ns at 100 Gb/s with 1 us links.
    """
    hops_one_way = CROSS_T1_LINKS if cross_t1 else T0_LOCAL_LINKS
    frames_bytes = data_frame_bytes(spec.payload_bytes) + CONTROL_FRAME_BYTES
    busy_ns = serialisation_ns(hops_one_way * frames_bytes, spec.port_rate_bps)
    return 2 * hops_one_way * spec.link_delay_ns + busy_ns


def bdp_bytes(spec: ClosSpec) -> int:
    """Bytes in flight on one plane at line rate: port rate x cross-T1 base RTT."""
    return _nearest(spec.port_rate_bps * base_rtt_ns(spec), 8 * 10**9)


def fabric_thresholds(spec: ClosSpec) -> PortThresholds:
    """Thresholds of a port towards another switch (design.md section 3)."""
    bdp = bdp_bytes(spec)
    return PortThresholds(
        ecn_min_bytes=_nearest(bdp * _ECN_MIN_PERCENT, 100),
        ecn_max_bytes=_nearest(bdp * _ECN_MAX_PERCENT, 100),
        trim_bytes=_nearest(bdp * _TRIM_PERCENT, 100),
        drop_bytes=_nearest(bdp * _DROP_PERCENT, 100),
        control_bytes=CONTROL_QUEUE_BYTES,
    )


def last_hop_thresholds(spec: ClosSpec) -> PortThresholds:
    """Thresholds of a T0 port towards a host: never marked, trimmed later."""
    bdp = bdp_bytes(spec)
    return PortThresholds(
        ecn_min_bytes=0,
        ecn_max_bytes=0,
        trim_bytes=_nearest(bdp * _LAST_HOP_TRIM_PERCENT, 100),
        drop_bytes=_nearest(bdp * _DROP_PERCENT, 100),
        control_bytes=CONTROL_QUEUE_BYTES,
    )


def drain_rate_bps(port_rate_bps: int, tdf: int) -> int:
    """Wall-clock bit/s at which a switch port drains under this time dilation factor."""
    return max(1, _nearest(port_rate_bps * _DRAIN_PERCENT, 100 * tdf))


def _nearest(numerator: int, denominator: int) -> int:
    return (numerator + denominator // 2) // denominator
