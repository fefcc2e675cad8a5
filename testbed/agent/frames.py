"""Pack and parse the SRv6 uSID frame every data port carries.

    Ethernet 14 | outer IPv6 40 (next header 41) | inner IPv6 40 (next header 17)
    | UDP 8 | payload

(facts sheet 1.1 and 5.1.) The outer destination is the list of uSIDs that the
switches shift away; the inner header is the hosts' own and names no plane. The
entropy value travels in both flow labels and in the UDP source port, because
the list is gone when the frame arrives (facts sheet 1.3). The UDP checksum is
0: the frame is covered by the transport's own CRC, as in RoCEv2.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

from testbed.errors import TestbedError
from topologies.numbers import (
    ENCAPSULATION_BYTES,
    ETHERTYPE_IPV6,
    HOP_LIMIT,
    IPV6_BYTES,
    NEXT_HEADER_IPV6,
    NEXT_HEADER_UDP,
    UDP_BYTES,
    UDP_PORT,
    Dscp,
    Ecn,
)

_HEADERS = struct.Struct("!6s6sH IHBB16s16s IHBB16s16s HHHH")
assert _HEADERS.size == ENCAPSULATION_BYTES

MAX_PAYLOAD_BYTES = 0xFFFF - IPV6_BYTES - UDP_BYTES

_EXPECTED = (ETHERTYPE_IPV6, NEXT_HEADER_IPV6, NEXT_HEADER_UDP, UDP_PORT)
_TRIMMED_CLASSES = frozenset(map(int, (Dscp.TRIMMED, Dscp.TRIMMED_LASTHOP)))
_ECN_CE = int(Ecn.CE)  # plain integers: comparing enum members costs more than the rest


class FrameError(TestbedError):
    """The bytes are not an IPv6-in-IPv6 UDP frame of this fabric."""


@dataclass(frozen=True, slots=True)
class FrameHeaders:
    """What a sender decides about a frame.

    MACs are 6 bytes, addresses 16 bytes; `ev` 32 bits; `dscp` 0..63; `ecn`
    0..3; `hop_limit` 0..255. The outer source is the inner source.
    """

    dst_mac: bytes
    src_mac: bytes
    path_address: bytes
    source: bytes
    destination: bytes
    ev: int
    dscp: int
    ecn: int = 0
    hop_limit: int = HOP_LIMIT

    def pack(self, payload_bytes: int) -> bytes:
        """The 102 header bytes of a frame with so many payload bytes after them.

        They depend on nothing else, so a sender of many equal-sized frames packs
        them once and appends each payload. Raises FrameError where a field
        does not fit.
        """
        if not 0 <= payload_bytes <= MAX_PAYLOAD_BYTES:
            raise FrameError(
                f"a payload of {payload_bytes} bytes does not fit a frame: "
                f"use 0 to {MAX_PAYLOAD_BYTES}"
            )
        traffic_class = self.dscp << 2 | self.ecn
        word = 6 << 28 | traffic_class << 20 | self.ev & 0xFFFF
        udp_bytes = UDP_BYTES + payload_bytes
        try:
            return _HEADERS.pack(
                self.dst_mac, self.src_mac, ETHERTYPE_IPV6,
                word, IPV6_BYTES + udp_bytes, NEXT_HEADER_IPV6, self.hop_limit,
                self.source, self.path_address,
                word, udp_bytes, NEXT_HEADER_UDP, self.hop_limit, self.source, self.destination,
                self.ev >> 16, UDP_PORT, udp_bytes, 0,
            )  # fmt: skip
        except struct.error as error:
            raise FrameError(f"{self} does not fit the frame format: {error}") from None


class FrameFacts(NamedTuple):
    """What a frame says on arrival (a NamedTuple: one is made per frame received).

    `hops` counts the switches crossed; `is_ce` is congestion marked on the outer
    or inner header; `is_trimmed` says a switch cut the payload and marked the
    frame so; `is_truncated` that the UDP length promises more than arrived.
    `payload` is what arrived of it, Ethernet padding removed.
    """

    ev: int
    source: bytes
    destination: bytes
    path_address: bytes
    hops: int
    dscp: int
    is_ce: bool
    is_trimmed: bool
    is_truncated: bool
    payload: bytes


def parse(frame: bytes | memoryview) -> FrameFacts:
    """The facts of one received frame.

    Lengths that promise more than the frame holds are accepted: whether a
    trimming switch rewrites them is open (facts sheet 4.17). Raises FrameError
    for everything that is not a frame of this fabric.
    """
    if len(frame) < ENCAPSULATION_BYTES:
        raise FrameError(f"a frame of {len(frame)} bytes is shorter than its headers")
    (
        _, _, ethertype,
        outer_word, _, outer_next, hop_limit, _, path_address,
        inner_word, _, inner_next, _, source, destination,
        udp_source, udp_destination, udp_bytes, _,
    ) = _HEADERS.unpack_from(frame)  # fmt: skip
    if (ethertype, outer_next, inner_next, udp_destination) != _EXPECTED:
        raise FrameError("not IPv6 in IPv6 with UDP to the MRC port")
    if outer_word >> 28 != 6 or inner_word >> 28 != 6:
        raise FrameError("an IP header whose version is not 6")
    if udp_bytes < UDP_BYTES:
        raise FrameError(f"a UDP length of {udp_bytes} is shorter than the UDP header")
    if hop_limit > HOP_LIMIT:
        raise FrameError(f"a hop limit of {hop_limit} is above what any sender here uses")
    end = ENCAPSULATION_BYTES + udp_bytes - UDP_BYTES
    dscp = outer_word >> 22 & 0x3F
    return FrameFacts(
        ev=udp_source << 16 | inner_word & 0xFFFF,
        source=source,
        destination=destination,
        path_address=path_address,
        hops=HOP_LIMIT - hop_limit,
        dscp=dscp,
        is_ce=_ECN_CE in (outer_word >> 20 & 3, inner_word >> 20 & 3),
        is_trimmed=dscp in _TRIMMED_CLASSES,
        is_truncated=end > len(frame),
        payload=bytes(frame[ENCAPSULATION_BYTES:end]),
    )
