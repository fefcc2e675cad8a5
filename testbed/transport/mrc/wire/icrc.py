"""The invariant CRC at the end of every packet: RoCEv2's rule over the inner IPv6 header.

It is the CRC-32 of Ethernet over eight bytes of ones (where InfiniBand has a local route
header), then inner IPv6, UDP, BTH and everything behind it, with the fields a network may
change forced to ones: traffic class, flow label, hop limit, UDP checksum and BTH byte 4
(facts sheet 1.4). So ECN marks and DSCP may change on the way, the flags of BTH and the
UDP source port may not. It travels least significant byte first.
"""

from __future__ import annotations

from testbed.transport.mrc.wire.crc import crc32
from topologies.numbers import BTH_BYTES, IPV6_BYTES, UDP_BYTES

FRONT_BYTES = IPV6_BYTES + UDP_BYTES + BTH_BYTES
"""Inner IPv6 header, UDP and BTH: the part with fields to be masked."""

_MASKED = bytearray(FRONT_BYTES)
_MASKED[0:4] = b"\x0f\xff\xff\xff"  # traffic class and flow label, not the version
_MASKED[7] = 0xFF  # hop limit
_MASKED[IPV6_BYTES + 6 : IPV6_BYTES + 8] = b"\xff\xff"  # UDP checksum
_VAR_RES = 4  # variant reserved byte of BTH
_MASKED[IPV6_BYTES + UDP_BYTES + _VAR_RES] = 0xFF
_MASK = int.from_bytes(_MASKED, "big")
_AFTER_ROUTE_HEADER = crc32(b"\xff" * 8)

_FRONT_MASK = _MASK >> 8 * BTH_BYTES  # without BTH
_SHIFTS: dict[int, int] = {}

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


def front_crc(ip_and_udp: bytes) -> int:
    """Where the iCRC stands after inner IPv6 and UDP (48 bytes, as sent or as arrived).

    For whoever sends or receives many packets behind the same front: go on with
    ``crc32(everything from BTH on, front_crc)`` and correct by :func:`var_res_shift`.
    """
    size = IPV6_BYTES + UDP_BYTES
    masked = (int.from_bytes(ip_and_udp, "big") | _FRONT_MASK).to_bytes(size, "big")
    return crc32(masked, _AFTER_ROUTE_HEADER)


def var_res_shift(behind_bth_bytes: int) -> int:
    """What to XOR into a CRC that took BTH's variant reserved byte as 0 instead of ones.

    A CRC is linear: what changing one byte does to it depends only on how many bytes
    follow. ``behind_bth_bytes`` counts those behind BTH; at most 65,535 are remembered.
    """
    shift = _SHIFTS.get(behind_bth_bytes)
    if shift is None:
        after = bytes(BTH_BYTES - _VAR_RES - 1 + behind_bth_bytes)
        shift = _SHIFTS[behind_bth_bytes] = crc32(b"\xff" + after) ^ crc32(b"\x00" + after)
    return shift
