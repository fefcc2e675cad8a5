"""The time dilation factor an instance starts with, before anything was calibrated."""

from __future__ import annotations

from testbed.errors import UsageError
from testbed.units import format_rate_bps
from topologies.numbers import data_frame_bytes, drain_rate_bps
from topologies.spec import ClosSpec

# Packets per second one busy path carries on the machine the project was measured
# on (2 cores), by the number of switch ports a userspace Open vSwitch polls. A
# calibration of this very machine replaces them.
_OVS_HOP_PPS = ((24, 59_000), (96, 48_000), (192, 27_000), (512, 13_000))
_OVS_SWITCH_HOPS = 3
_LINUX_PATH_PPS = 150_000

# What a port holds within 1 % (`make bench`), and what its qdisc can be set to at all.
PROVEN_DRAIN_BPS = 404_000_000
_MAX_DRAIN_BPS = 10_000_000_000


def least_tdf(spec: ClosSpec) -> int:
    """The smallest TDF at which ports hold their rate within 1 %."""
    return -(-drain_rate_bps(spec.port_rate_bps, 1) // PROVEN_DRAIN_BPS)


def require_drainable(spec: ClosSpec, tdf: int) -> None:
    """Raises UsageError where ports would have to drain faster than a qdisc can."""
    if drain_rate_bps(spec.port_rate_bps, tdf) > _MAX_DRAIN_BPS:
        least = -(-spec.port_rate_bps // 9_900_000_000)
        raise UsageError(f"--tdf {tdf} is not allowed: ports of {spec.name} would drain at "
                         f"{format_rate_bps(drain_rate_bps(spec.port_rate_bps, tdf))} of wall "
                         f"clock, use {least} or more")


def assumed_capacity_pps(spec: ClosSpec) -> int:
    """Full-size frames per second (wall clock) the data plane is assumed to carry."""
    if spec.dataplane == "linux":
        return _LINUX_PATH_PPS
    fitting = [pps for ports, pps in _OVS_HOP_PPS if spec.switch_port_count <= ports]
    return (fitting[0] if fitting else _OVS_HOP_PPS[-1][1]) // _OVS_SWITCH_HOPS


def line_rate_pps(spec: ClosSpec, senders: int) -> int:
    """Full frames per second (emulated) of every NIC port of so many hosts."""
    frame_bits = 8 * data_frame_bytes(spec.payload_bytes)
    return senders * spec.planes * spec.port_rate_bps // frame_bits


def assumed_tdf(spec: ClosSpec) -> int:
    """Offered line rate over assumed capacity, rounded up to 1, 2 or 5 times a power of ten."""
    return round_up_125(-(-line_rate_pps(spec, spec.host_count) // assumed_capacity_pps(spec)))


def round_up_125(value: int) -> int:
    """The smallest of 1, 2, 5, 10, 20, 50, ... that is not below ``value``."""
    decade = 1
    while True:
        for step in (1, 2, 5):
            if step * decade >= value:
                return step * decade
        decade *= 10
