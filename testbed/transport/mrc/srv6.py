"""From destination and EV to outer address: the routes a NIC is configured with.

The controller gives each NIC a table of its own: which prefix of hosts is behind which T0.
A queue pair looks its destination up once, which leaves an address with holes; every packet
fills these from its EV (facts sheet 5.2), so 256 EVs cost 256 small integers, not routes:

    cross-T1    block : T0 of source : T1 : T0 of destination : downlink
                        plane          plane, uplink  plane     plane
    T0-local    block : T0 : downlink
                        plane  plane

The plane goes into every uSID, the T0 uplink into the T1's index; uplink n of every T0
leads to T1 n (:mod:`topologies.usid`). A T0-local pair has one path per plane, whatever
uplink its EV names.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from testbed.errors import TestbedError
from topologies.ev import split_ev
from topologies.usid import (
    INDEX_LIMIT,
    MAX_USIDS,
    PLANE_LIMIT,
    USID_BITS,
    Kind,
    address_of,
    encode,
)

ADDRESS_BYTES = 16
_ADDRESS_BITS = 8 * ADDRESS_BYTES
_PLANE_ONE = encode(1, Kind.T0, 0) - encode(0, Kind.T0, 0)  # what plane 1 adds to a uSID
_T1_SHIFT = USID_BITS * (MAX_USIDS - 2)  # the T1 is second in the list


class RouteError(TestbedError, LookupError):
    """No route leads to a destination, or an EV fits no path."""


class PathTemplate:
    """The way to one destination with holes for plane and uplink.

    ``source_t0`` and ``destination_t0`` are T0 indexes in their plane, ``downlink`` counts
    the destination's place at its T0 from 0. Raises RouteError where one does not fit.
    """

    __slots__ = ("_addresses", "_base", "_per_plane", "_per_uplink")

    def __init__(self, source_t0: int, destination_t0: int, downlink: int) -> None:
        last = (Kind.DOWNLINK, downlink)
        if source_t0 == destination_t0:
            stops = [(Kind.T0, source_t0), last]
        else:
            stops = [(Kind.T0, source_t0), (Kind.T1, 0), (Kind.T0, destination_t0), last]
        try:
            self._base = int(address_of([encode(0, kind, index) for kind, index in stops]))
        except ValueError as error:
            raise RouteError(f"this path cannot be written as uSIDs: {error}") from None
        places = range(MAX_USIDS - len(stops), MAX_USIDS)
        self._per_plane = sum(_PLANE_ONE << USID_BITS * place for place in places)
        self._per_uplink = 1 << _T1_SHIFT if len(stops) > 2 else 0
        self._addresses: dict[int, bytes] = {}

    @property
    def is_cross_t1(self) -> bool:
        """True where paths climb to a T1, so that EVs of one plane name different ones."""
        return bool(self._per_uplink)

    def address(self, ev: int) -> bytes:
        """The outer destination, 16 bytes, of this EV; remembered, at most one for each EV.

        Raises RouteError where the EV names a plane beyond 7 or has low bits set.
        """
        known = self._addresses.get(ev)
        return known if known is not None else self._fill(ev)

    def _fill(self, ev: int) -> bytes:
        try:
            plane, uplink = split_ev(ev)
        except ValueError as error:
            raise RouteError(str(error)) from None
        if plane >= PLANE_LIMIT:
            raise RouteError(f"plane {plane} of EV {ev:#010x} fits no uSID: use 0 to 7")
        number = self._base + plane * self._per_plane + uplink * self._per_uplink
        return self._addresses.setdefault(ev, number.to_bytes(ADDRESS_BYTES, "big"))


@dataclass(frozen=True, slots=True)
class Route:
    """All hosts under one prefix are at one T0, in the order of their addresses.

    ``prefix`` is 16 raw bytes of which ``prefix_bits`` count. The bits behind them, less
    ``first_host``, are the downlink of a host, 0 to ``downlinks`` - 1.
    """

    prefix: bytes
    prefix_bits: int
    source_t0: int
    destination_t0: int
    downlinks: int
    first_host: int = 0

    def downlink_of(self, destination: bytes) -> int:
        """The downlink of this address under the prefix. Raises RouteError beyond the last."""
        host_bits = _ADDRESS_BITS - self.prefix_bits
        number = int.from_bytes(destination, "big") & (1 << host_bits) - 1
        downlink = number - self.first_host
        if not 0 <= downlink < min(self.downlinks, INDEX_LIMIT):
            raise RouteError(
                f"{destination.hex(':', 2)} is no host: its T0 has {self.downlinks} downlinks, "
                "look at the peer's address"
            )
        return downlink


class Routes:
    """The table of one NIC: longest prefix of an inner destination wins.

    Raises RouteError where a prefix is not 16 bytes, or two routes have the same one.
    """

    __slots__ = ("_by_length",)

    def __init__(self, routes: Iterable[Route]) -> None:
        tables: dict[int, dict[int, Route]] = {}
        for route in routes:
            table = tables.setdefault(route.prefix_bits, {})
            key = _top_bits(route.prefix, route.prefix_bits)
            if key in table:
                raise RouteError(
                    f"{route.prefix.hex(':', 2)}/{route.prefix_bits} has two routes: keep one"
                )
            table[key] = route
        self._by_length = sorted(tables.items(), reverse=True)

    def lookup(self, destination: bytes) -> PathTemplate:
        """The template for an inner destination address, made anew: once per queue pair.

        Raises RouteError where no prefix covers it or no host has it.
        """
        for prefix_bits, table in self._by_length:
            route = table.get(_top_bits(destination, prefix_bits))
            if route is not None:
                downlink = route.downlink_of(destination)
                return PathTemplate(route.source_t0, route.destination_t0, downlink)
        raise RouteError(
            f"no route leads to {destination.hex(':', 2)}: the controller has to give this "
            "NIC a prefix that covers it"
        )


def _top_bits(address: bytes, bits: int) -> int:
    if len(address) != ADDRESS_BYTES or not 0 <= bits <= _ADDRESS_BITS:
        raise RouteError(
            f"{address.hex()}/{bits} is no IPv6 prefix: give {ADDRESS_BYTES} raw bytes, 0 to 128"
        )
    return int.from_bytes(address, "big") >> _ADDRESS_BITS - bits
