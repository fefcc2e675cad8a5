"""Contents of collectives: from a seed, reduced with numpy, checked to the last element.

Element e of rank r's input is 0, 1, 2 or 3, by SHAKE-128 of seed and rank: sums over up to 85
ranks are exact even in bfloat16, so a result is right or wrong, never nearly right. Every
`STRIDE_BYTES`th byte begins a stamp: an element that follows from place and number of the
collective instead, so that every full packet of one collective differs from that of the one
before and of the one before that (they repeat after three). All ranks have the same stamps: if
they differed by rank, the change from one number to the next could cancel out in a sum.

Nothing that is left of an earlier collective can pass for a result: OUTPUT is poisoned before
each, every element being made no number, and so is STAGING where no peer can have written to it
yet. Where time is short only the stamps are poisoned and compared: then every full packet is
known to be of this collective, and no more.

The only user of numpy here; ml_dtypes gives it the bfloat16 it lacks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import shake_128
from typing import Any

import ml_dtypes
import numpy as np

from workloads.collectives.layout import Layout
from workloads.collectives.schedule import Area, Expected, Receive, Span

STRIDE_BYTES = 4096

_VALUES = 4  # of an element: 0..3
_STAMPS = 3  # values of a stamp: 1..3, so that one too few or too many shows
_PER_BYTE = 4  # elements made of a byte of the hash
_BLOCK = 1 << 20  # elements made of one hash
# The four elements of every byte of the hash, side by side.
_ELEMENTS = np.array([sum((byte >> 2 * i) % _VALUES << 8 * i for i in range(_PER_BYTE))
                      for byte in range(256)], "<u4")
# At a time; both take about a tenth of a millisecond, and an agent does nothing else meanwhile.
_COMPARED = 1 << 16  # elements
_POISONED_BYTES = 1 << 20
_NO_NUMBER = 0xFF  # as every byte of an element

_Elements = np.ndarray[Any, np.dtype[np.uint8]]

DTYPES: dict[str, np.dtype[Any]] = {
    "float": np.dtype(np.float32),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}


@dataclass(frozen=True, slots=True)
class Compared:
    """How many elements were compared and how many were wrong; where the first was."""

    elements: int = 0
    wrong: int = 0
    first_wrong: int | None = None

    def __add__(self, other: Compared) -> Compared:
        first = self.first_wrong if self.first_wrong is not None else other.first_wrong
        return Compared(self.elements + other.elements, self.wrong + other.wrong, first)


class Tensors:
    """The areas of one rank for one collective, over its registered memory ``view``."""

    def __init__(self, view: memoryview, layout: Layout, seed: int, rank: int) -> None:
        self.layout = layout
        self._seed, self._rank = seed, rank
        dtype = DTYPES[layout.dtype]
        self._stride = STRIDE_BYTES // dtype.itemsize
        self._areas = tuple(
            np.frombuffer(view, dtype, layout.count, offset) for offset in layout.offsets)
        self._sums: dict[Expected, _Elements] = {}  # without stamps

    def fill_input(self) -> None:
        """Put this rank's contents into INPUT."""
        self._areas[Area.INPUT][:] = pattern(self._seed, self._rank, 0, self.layout.count)

    def expect(self, expected: Iterable[Expected]) -> None:
        """Work out these sums ahead: that takes longer than anything else here."""
        for span in expected:
            self._sum(span)

    def stamp_input(self, number: int) -> None:
        """Make the stamps of INPUT those of collective ``number``."""
        stamped = self._areas[Area.INPUT][:: self._stride]
        stamped[:] = _stamps(0, len(stamped), number)

    def copy(self, span: Span) -> None:
        """Take these elements from INPUT to OUTPUT."""
        end = span.start + span.count
        self._areas[Area.OUTPUT][span.start : end] = self._areas[Area.INPUT][span.start : end]

    def add(self, receive: Receive) -> None:
        """Reduce what has arrived in STAGING with one's own part, into OUTPUT."""
        assert receive.own is not None
        start, end = receive.start, receive.start + receive.count
        staged = self._areas[Area.STAGING][receive.staged : receive.staged + receive.count]
        np.add(self._areas[receive.own][start:end], staged,
               out=self._areas[Area.OUTPUT][start:end])

    # --- checking ------------------------------------------------------------------

    def poison(self, *areas: Area) -> Iterator[None]:
        """Make every element of these areas no number, a slice with every `next`."""
        for area in areas:
            octets = self._areas[area].view(np.uint8)
            for start in range(0, len(octets), _POISONED_BYTES):
                octets[start : start + _POISONED_BYTES] = _NO_NUMBER
                yield

    def poison_stamps(self, expected: Iterable[Expected]) -> None:
        """The same for the stamps in OUTPUT alone."""
        for span in expected:
            self._stamped(span)[:] = np.nan

    def check_stamps(self, expected: Iterable[Expected], number: int) -> int:
        """How many stamps in OUTPUT are not those of collective ``number``: 0 if all is well."""
        wrong = 0
        for span in expected:
            found = self._stamped(span)
            due = self._due(span, len(found), number)
            wrong += int(np.count_nonzero(found.astype(np.float32) != due))
        return wrong

    def check(self, expected: Iterable[Expected], number: int) -> Compared:
        """Compare every element of OUTPUT that has a meaning with what it must be."""
        return sum(self.compare(expected, number), Compared())

    def compare(self, expected: Iterable[Expected], number: int) -> Iterator[Compared]:
        """The same, a slice with every `next`."""
        for span in expected:
            sums = self._sum(span)
            for start in range(0, span.count, _COMPARED):
                count = min(_COMPARED, span.count - start)
                yield self._compare(Expected(span.start + start, count, span.ranks,
                                             span.source + start), sums[start:], number)

    def _compare(self, span: Expected, sums: _Elements, number: int) -> Compared:
        found = self._areas[Area.OUTPUT][span.start : span.start + span.count]
        wrong = found.astype(np.float32) != sums[: span.count]
        stamps = self._stamped(span)
        due = self._due(span, len(stamps), number)
        at = self._first_stamp(span) * self._stride - span.source
        wrong[at :: self._stride] = stamps.astype(np.float32) != due
        differs = np.flatnonzero(wrong)
        first_wrong = span.start + int(differs[0]) if len(differs) else None
        return Compared(span.count, len(differs), first_wrong)

    def _stamped(self, span: Expected) -> Any:
        """The elements of OUTPUT that must be stamps."""
        at = span.start + self._first_stamp(span) * self._stride - span.source
        return self._areas[Area.OUTPUT][at : span.start + span.count : self._stride]

    def _due(self, span: Expected, count: int, number: int) -> Any:
        """The first ``count`` stamps of a span."""
        return len(span.ranks) * _stamps(self._first_stamp(span), count, number)

    def _first_stamp(self, span: Expected) -> int:
        """The number of the first stamp in what OUTPUT has there."""
        return -(-span.source // self._stride)

    def _sum(self, span: Expected) -> _Elements:
        """What must be there but for the stamps; 85 ranks have at most 255."""
        if span not in self._sums:
            total = np.zeros(span.count, np.uint8)
            for rank in span.ranks:
                total += pattern(self._seed, rank, span.source, span.count)
            self._sums[span] = total
        return self._sums[span]


def pattern(seed: int, rank: int, start: int, count: int) -> _Elements:
    """Elements ``start`` to ``start + count`` of a rank's input before it is stamped."""
    # SHAKE-128 gives its output from the beginning only: blocks keep what is thrown away small.
    end = start + count
    blocks = range(start // _BLOCK, -(-end // _BLOCK))
    made = [_block(seed, rank, block, min(_BLOCK, end - block * _BLOCK)) for block in blocks]
    values = np.concatenate(made) if made else np.zeros(0, np.uint8)
    return values[start - start // _BLOCK * _BLOCK :][:count]


def _block(seed: int, rank: int, block: int, count: int) -> _Elements:
    """The first ``count`` elements of a block, or a few more."""
    digest = shake_128(f"{seed} {rank} {block}".encode()).digest(-(-count // _PER_BYTE))
    return _ELEMENTS[np.frombuffer(digest, np.uint8)].view(np.uint8)


def _stamps(first: int, count: int, number: int) -> Any:
    return 1 + (np.arange(first, first + count) + number) % _STAMPS
