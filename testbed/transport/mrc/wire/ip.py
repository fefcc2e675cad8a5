"""IPv6 and UDP around an MRC packet, and where the entropy value hides in them.

    outer IPv6    to the list of uSIDs that switches shift away; next header 41
    inner IPv6    from host to host, untouched on the way; next header 17
    UDP           RoCE's port; the source port is the upper half of the EV

The lower half of the EV is the low 16 bits of the flow label (facts sheet 1.3). Both
headers carry it; the inner one counts, since the outer may be gone on arrival. The
checksum of UDP is sent as 0, as RoCEv2 does, and not looked at: the iCRC covers more.
"""

from __future__ import annotations

from dataclasses import dataclass

from testbed.transport.mrc.wire.errors import EncodeError
from testbed.transport.mrc.wire.headers import Header, layout
from topologies import ev as entropy
from topologies.numbers import (
    HOP_LIMIT,
    IPV6_BYTES,
    NEXT_HEADER_IPV6,
    NEXT_HEADER_UDP,
    UDP_BYTES,
    UDP_PORT,
)

ADDRESS_BYTES = 16
INNER_OFFSET = IPV6_BYTES
UDP_OFFSET = 2 * IPV6_BYTES
BTH_OFFSET = UDP_OFFSET + UDP_BYTES
"""Where things begin in a datagram."""


@dataclass(frozen=True, slots=True)
class IPv6(Header):
    """IPv6 header (RFC 8200 section 3), its traffic class as DSCP and ECN.

        0-3                                   4-5              6             7
        version:4 dscp:6 ecn:2 flow_label:20 | payload_length | next_header | hop_limit
        8-23     24-39
        source | destination

    Addresses are 128-bit numbers here, see :func:`address_number`.
    """

    LAYOUT = layout(
        "version:4 dscp:6 ecn:2 flow_label:20 payload_length:16 next_header:8 hop_limit:8 "
        "source:128 destination:128"
    )
    dscp: int
    ecn: int
    flow_label: int
    payload_length: int
    next_header: int
    source: int
    destination: int
    hop_limit: int = HOP_LIMIT
    version: int = 6


@dataclass(frozen=True, slots=True)
class UDP(Header):
    """UDP header (RFC 768): ``source_port | destination_port | length | checksum``."""

    LAYOUT = layout("source_port:16 destination_port:16 length:16 checksum:16")
    source_port: int
    length: int
    destination_port: int = UDP_PORT
    checksum: int = 0


def address_number(address: bytes) -> int:
    """16 raw bytes as the number the header holds. Raises EncodeError for other lengths."""
    if len(address) != ADDRESS_BYTES:
        raise EncodeError(
            f"an address of {len(address)} bytes is not IPv6: use {ADDRESS_BYTES} raw bytes"
        )
    return int.from_bytes(address, "big")


def encapsulation(
    source: bytes, destination: bytes, path_address: bytes, ev: int, dscp: int, ecn: int,
    behind_udp_bytes: int,
) -> tuple[IPv6, IPv6, UDP]:
    """The three headers in front of BTH, for so many bytes behind UDP (iCRC included).

    The outer source is the host's own address, as in the inner header.
    """  # fmt: skip
    udp_bytes = UDP_BYTES + behind_udp_bytes
    label = entropy.flow_label(ev)
    here, there = address_number(source), address_number(destination)
    path = address_number(path_address)
    return (
        IPv6(dscp, ecn, label, IPV6_BYTES + udp_bytes, NEXT_HEADER_IPV6, here, path),
        IPv6(dscp, ecn, label, udp_bytes, NEXT_HEADER_UDP, here, there),
        UDP(entropy.udp_source_port(ev), udp_bytes),
    )
