"""uSIDs: what one names, and how a list of them is an IPv6 address (format F3216).

An address is the 32-bit block followed by up to six 16-bit uSIDs, zero filled
(RFC 9800; facts sheet section 5.1). A switch that finds its own uSID first shifts
everything behind the block left by 16 bits and forwards by what then comes first.

    uSID   15..13 plane | 12..11 kind | 10..0 index

No kind is 0, so no uSID is 0 and zeros always mean "the list ends here".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv6Address, IPv6Network

BLOCK = IPv6Network("fcbb:bbbb::/32")
USID_BITS = 16
MAX_USIDS = 6
PLANE_LIMIT = 8
INDEX_LIMIT = 2048

_PLANE_SHIFT = 13
_KIND_SHIFT = 11
_BLOCK_BITS = int(BLOCK.network_address)
_TAIL_BITS = 128 - BLOCK.prefixlen
_TAIL_MASK = (1 << _TAIL_BITS) - 1
_USID_MASK = (1 << USID_BITS) - 1


class Kind(IntEnum):
    """What a uSID names. 0 is never used."""

    T0 = 1
    T1 = 2
    DOWNLINK = 3


@dataclass(frozen=True, slots=True)
class Usid:
    """The fields of one uSID: plane 0..7, kind, index 0..2047."""

    plane: int
    kind: Kind
    index: int

    @property
    def value(self) -> int:
        """The 16-bit number, 0x0800..0xffff."""
        return encode(self.plane, self.kind, self.index)


def encode(plane: int, kind: Kind, index: int) -> int:
    """Pack a uSID into 16 bits. Raises ValueError where a field does not fit."""
    if not 0 <= plane < PLANE_LIMIT:
        raise ValueError(f"plane {plane} does not fit a uSID: 0 to {PLANE_LIMIT - 1} do")
    if not 0 <= index < INDEX_LIMIT:
        raise ValueError(f"index {index} does not fit a uSID: 0 to {INDEX_LIMIT - 1} do")
    return plane << _PLANE_SHIFT | kind << _KIND_SHIFT | index


def decode(value: int) -> Usid:
    """Unpack a 16-bit uSID. Raises ValueError for what :func:`encode` never makes."""
    if not 0 <= value <= _USID_MASK:
        raise ValueError(f"{value:#x} is not a uSID: it has more than {USID_BITS} bits")
    kind = value >> _KIND_SHIFT & 3
    if kind == 0:
        raise ValueError(f"{value:#06x} is not a uSID: its kind is 0, which names nothing")
    return Usid(value >> _PLANE_SHIFT, Kind(kind), value & INDEX_LIMIT - 1)


def address_of(usids: Sequence[int]) -> IPv6Address:
    """The address that lists these uSIDs (at most six), first to last.

    Raises ValueError where there are too many or one of them is not a uSID.
    """
    if len(usids) > MAX_USIDS:
        raise ValueError(f"{len(usids)} uSIDs do not fit one address: {MAX_USIDS} do")
    tail = 0
    for value in usids:
        if not 0 < value <= _USID_MASK:
            raise ValueError(f"{value:#x} is not a uSID: 1 to {_USID_MASK:#x} are")
        tail = tail << USID_BITS | value
    return IPv6Address(_BLOCK_BITS | tail << USID_BITS * (MAX_USIDS - len(usids)))


def usids_of(address: IPv6Address) -> tuple[int, ...]:
    """The uSIDs an address lists, first to last; () for block:: alone.

    Raises ValueError where the address is outside the block or has a uSID after a zero.
    """
    if address not in BLOCK:
        raise ValueError(f"{address} is no path: it is not in the uSID block {BLOCK}")
    tail = int(address) & _TAIL_MASK
    words = [
        tail >> USID_BITS * place & _USID_MASK for place in reversed(range(MAX_USIDS))
    ]
    length = words.index(0) if 0 in words else MAX_USIDS
    if any(words[length:]):
        raise ValueError(f"{address} is no path: it has a uSID after the end of its list")
    return tuple(words[:length])


def first_usid(address: IPv6Address) -> int:
    """The uSID a switch matches: bits 95..80 of the address, 0 at the end of the list."""
    return int(address) >> _TAIL_BITS - USID_BITS & _USID_MASK


def shift(address: IPv6Address) -> IPv6Address:
    """The address one hop later: first uSID gone, zeros filled in at the end (uN)."""
    return IPv6Address(_BLOCK_BITS | int(address) << USID_BITS & _TAIL_MASK)


def prefix_of(usid: int) -> IPv6Network:
    """The /48 a switch matches for this uSID: block and uSID."""
    return IPv6Network((int(address_of((usid,))), BLOCK.prefixlen + USID_BITS))
