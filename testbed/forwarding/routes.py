"""What the controller tells each NIC: one prefix per T0, by arithmetic from the spec."""

from __future__ import annotations

from testbed.transport.mrc.srv6 import Route, Routes
from topologies.names import host_address
from topologies.spec import ClosSpec

_PREFIX_BITS = 64  # host_address: one /64 per T0
_FIRST_HOST = 1  # and the host on downlink 0 has interface id 1


def host_routes(spec: ClosSpec, host: int) -> Routes:
    """The routes of a host, given by index, to every host of the fabric.

    Its own address is among them: packets to it turn round at its T0, like the short
    self probe. Raises ValueError where the host does not exist.
    """
    own_t0 = spec.t0_of(host)
    return Routes(
        Route(
            prefix=host_address(t0, 0).packed,
            prefix_bits=_PREFIX_BITS,
            source_t0=own_t0,
            destination_t0=t0,
            downlinks=spec.hosts_per_t0,
            first_host=_FIRST_HOST,
        )
        for t0 in range(spec.t0_per_plane)
    )
