"""The invariant CRC at the end of every packet: RoCEv2's rule over the inner IPv6 header.

It is the CRC-32 of Ethernet over eight bytes of ones (where InfiniBand has a local route
header), then inner IPv6, UDP, BTH and everything behind it, with the fields a network may
change forced to ones: traffic class, flow label, hop limit, UDP checksum and BTH byte 4
(facts sheet 1.4). So ECN marks and DSCP may change on the way, the flags of BTH and the
UDP source port may not. It travels least significant byte first.
"""

from __future__ import annotations

from zlib import crc32

from topologies.numbers import BTH_BYTES, IPV6_BYTES, UDP_BYTES

FRONT_BYTES = IPV6_BYTES + UDP_BYTES + BTH_BYTES
"""Inner IPv6 header, UDP and BTH: the part with fields to be masked."""

_MASKED = bytearray(FRONT_BYTES)
_MASKED[0:4] = b"\x0f\xff\xff\xff"  # traffic class and flow label, not the version
_MASKED[7] = 0xFF  # hop limit
_MASKED[IPV6_BYTES + 6 : IPV6_BYTES + 8] = b"\xff\xff"  # UDP checksum
_MASKED[IPV6_BYTES + UDP_BYTES + 4] = 0xFF  # variant reserved byte of BTH
_MASK = int.from_bytes(_MASKED, "big")
_AFTER_ROUTE_HEADER = crc32(b"\xff" * 8)

INTACT = 0x2144DF1C
"""What :func:`icrc` gives where the last four bytes are the right iCRC: always this."""


def icrc(front: bytes | memoryview, *behind: bytes | memoryview) -> int:
    """The iCRC of a packet as a number; on the wire it is ``.to_bytes(4, "little")``.

    ``front`` is the inner IPv6 header, UDP and BTH (60 bytes, as sent or as arrived),
    ``behind`` everything after BTH but the iCRC itself, in any number of pieces.
    """
    masked = (int.from_bytes(front, "big") | _MASK).to_bytes(FRONT_BYTES, "big")
    crc = crc32(masked, _AFTER_ROUTE_HEADER)
    for piece in behind:
        crc = crc32(piece, crc)
    return crc
