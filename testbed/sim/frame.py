"""A datagram on its way: what switches do to it is noted, and written once, on arrival.

Offsets count from the start of the datagram, that is behind the Ethernet header: outer
IPv6 at 0, inner IPv6 at 40, UDP at 80.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import pack_into, unpack_from
from typing import NamedTuple

from testbed.sim.engine import Callback
from topologies.numbers import (
    CONTROL_CLASS,
    ENCAPSULATION_BYTES,
    ETHERNET_BYTES,
    IPV6_BYTES,
    NEXT_HEADER_IPV6,
    NEXT_HEADER_UDP,
    TRIMMABLE_CLASS,
    TRIMMED_FRAME_BYTES,
)

OUTER_NEXT_HEADER = 6
# Hop limit, source and destination of the outer header lie side by side: the three
# things a way through the fabric depends on, and all it changes.
WAY = slice(7, IPV6_BYTES)
_INNER_NEXT_HEADER = IPV6_BYTES + 6
_INNER_LABEL = slice(IPV6_BYTES + 2, IPV6_BYTES + 4)
_INNER_ADDRESSES = slice(IPV6_BYTES + 8, 2 * IPV6_BYTES)
_UDP = 2 * IPV6_BYTES
_TRIMMED_BYTES = TRIMMED_FRAME_BYTES - ETHERNET_BYTES
_DSCP_BITS = 0x3F << 6  # in the first 16 bits of an IPv6 header
_CE_BITS = 3 << 4  # in the second byte of an IPv6 header

# By traffic class: what DSCP and ECN mean to a switch.
IS_CONTROL = tuple(tc >> 2 in CONTROL_CLASS for tc in range(256))
IS_TRIMMABLE = tuple(tc >> 2 in TRIMMABLE_CLASS for tc in range(256))
ECN_BITS = 3


class Route(NamedTuple):
    """Where frames of one host port, hop limit and outer address go.

    ``steps[i]`` is what happens at the i-th switch, and last on arrival at a NIC port;
    ``headers[i]`` are the 33 bytes at ``WAY`` behind i switches. ``drop_reason`` says
    why the last step is a switch that drops.
    """

    steps: tuple[Callback, ...]
    headers: tuple[bytes, ...]
    drop_reason: str


class Changes:
    """What switches did to one frame; most frames have none."""

    __slots__ = ("flips", "is_marked", "trimmed_dscp")

    def __init__(self) -> None:
        self.is_marked = False
        self.trimmed_dscp = 0  # 0: whole
        self.flips: list[int] = []  # bits from the start of the datagram


class Frame:
    """One datagram between a NIC port and its end. ``size`` has the Ethernet header."""

    __slots__ = ("changes", "data", "hop", "is_control", "route", "size", "traffic_class")

    def __init__(
        self, data: bytes, size: int, is_control: bool, traffic_class: int, route: Route
    ) -> None:
        self.data = data
        self.size = size
        self.is_control = is_control
        self.traffic_class = traffic_class  # as sent
        self.route = route
        self.hop = 0
        self.changes: Changes | None = None

    @property
    def is_trimmable(self) -> bool:
        """True where a switch may cut it to a header."""
        return IS_TRIMMABLE[self.traffic_class] and self.size > TRIMMED_FRAME_BYTES

    def mark(self) -> None:
        """Set CE on the outer header."""
        self._change().is_marked = True

    def trim(self, dscp: int) -> None:
        """Cut behind TSETH; what is left travels as control."""
        self._change().trimmed_dscp = dscp
        self.size = TRIMMED_FRAME_BYTES
        self.is_control = True

    def flip(self, random32: int) -> None:
        """Flip one bit beyond what a trimmed frame keeps, chosen by 32 random bits."""
        bit = random32 * (self.size - TRIMMED_FRAME_BYTES) * 8 >> 32
        self._change().flips.append(_TRIMMED_BYTES * 8 + bit)

    def _change(self) -> Changes:
        if self.changes is None:
            self.changes = Changes()
        return self.changes

    def written(self, header: bytes) -> bytes:
        """The datagram as it is on the wire, with these bytes at ``WAY``."""
        data = self.data
        if self.changes is None:
            return b"".join((data[:7], header, data[40:]))
        return _written(data, header, self.changes)


def _written(data: bytes, header: bytes, changes: Changes) -> bytes:
    written = bytearray(data[:_TRIMMED_BYTES] if changes.trimmed_dscp else data)
    written[WAY] = header
    if changes.trimmed_dscp:
        _write_trimmed(written, changes.trimmed_dscp)
    else:
        _write_flips(written, changes.flips)
    if changes.is_marked:
        written[1] |= _CE_BITS
    return bytes(written)


def _write_trimmed(written: bytearray, dscp: int) -> None:
    pack_into("!H", written, 4, _TRIMMED_BYTES - IPV6_BYTES)
    pack_into("!H", written, IPV6_BYTES + 4, _TRIMMED_BYTES - _UDP)
    pack_into("!H", written, _UDP + 4, _TRIMMED_BYTES - _UDP)
    for offset in (0, IPV6_BYTES):
        (word,) = unpack_from("!H", written, offset)
        pack_into("!H", written, offset, word & ~_DSCP_BITS | dscp << 6)


def _write_flips(written: bytearray, flips: Sequence[int]) -> None:
    for bit in flips:
        written[bit >> 3] ^= 1 << (bit & 7)


def is_srv6(datagram: bytes) -> bool:
    """True for what a switch port counts as traffic; the rest is noise."""
    return (
        len(datagram) >= ENCAPSULATION_BYTES - ETHERNET_BYTES
        and datagram[OUTER_NEXT_HEADER] == NEXT_HEADER_IPV6
    )


def flow_of(datagram: bytes) -> tuple[bytes, bytes] | None:
    """(inner addresses, EV) as an EV fault names them; None where it is not UDP.

    EV bits 31..16 travel in the UDP source port, 15..0 in the flow label (facts 1.3).
    """
    if datagram[_INNER_NEXT_HEADER] != NEXT_HEADER_UDP:
        return None
    return datagram[_INNER_ADDRESSES], datagram[_UDP : _UDP + 2] + datagram[_INNER_LABEL]
