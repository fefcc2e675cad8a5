"""Where the areas of a rank lie in its registered memory, the same on every rank.

    | INPUT of all sizes | STAGING of all sizes | OUTPUT of size 0 | of size 1 | ...

Sizes of a sweep run one after the other, so they share what is only used meanwhile; each keeps
its result until it is checked at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from workloads.collectives.schedule import Area

ITEM_BYTES = {"float": 4, "bfloat16": 2}
_ALIGNMENT = 4096


class Layout(NamedTuple):
    """Byte offsets of INPUT, OUTPUT and STAGING, each of ``count`` elements of ``dtype``."""

    offsets: tuple[int, int, int]
    count: int  # type: ignore[assignment]
    dtype: str

    def at(self, area: Area, element: int) -> int:
        """The byte offset of an element."""
        return self.offsets[area] + element * ITEM_BYTES[self.dtype]


def layouts(sizes: Sequence[int], dtype: str, base: int = 0) -> list[Layout]:
    """A layout for each size, in bytes, from offset ``base`` on."""
    largest = _aligned(max(sizes))
    found, output = [], base + 2 * largest
    for size in sizes:
        found.append(Layout((base, output, base + largest), size // ITEM_BYTES[dtype], dtype))
        output += _aligned(size)
    return found


def memory_bytes(sizes: Sequence[int]) -> int:
    """What `layouts` needs, in bytes."""
    return 2 * _aligned(max(sizes)) + sum(map(_aligned, sizes))


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
