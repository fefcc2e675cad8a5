"""What is in the buffers of a write test, so that every byte that arrives can be checked.

A buffer holds ``slots`` messages of ``size`` bytes, used in turn: message n, from 0, is in
slot n mod slots. The bytes of a slot follow from seed, connection, the host that writes and
the slot, by SHAKE-128, so both ends can make them; the first 8 bytes of a message are its
number, from 1, where there is room for that. Of n messages each slot keeps the last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import shake_128
from operator import ne
from typing import Any

from workloads.connections import Channel
from workloads.params import WorkloadError

_NUMBER_BYTES = 8


@dataclass(frozen=True, slots=True)
class Checked:
    """The outcome of a comparison; ``first_wrong`` is None where no byte is wrong.

    ``checked_bytes`` are those a message was for: that nothing else was written is compared too,
    but nobody calls it verified.
    """

    checked_bytes: int = 0
    wrong_bytes: int = 0
    first_wrong: dict[str, Any] | None = None

    def __add__(self, other: Checked) -> Checked:
        return Checked(
            self.checked_bytes + other.checked_bytes,
            self.wrong_bytes + other.wrong_bytes,
            self.first_wrong or other.first_wrong,
        )

    def to_params(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "checked_bytes": self.checked_bytes,
            "wrong_bytes": self.wrong_bytes,
            "first_wrong": self.first_wrong,
        }


@dataclass(frozen=True, slots=True)
class Content:
    """The messages that host ``writer`` writes over a connection."""

    seed: int
    connection: int
    writer: int
    size: int
    slots: int

    def fill(self, view: memoryview) -> None:
        """Put the pattern of every slot into a source buffer."""
        for slot in range(self.slots):
            start = slot * self.size
            view[start : start + self.size] = self._pattern(slot)

    def stamp(self, view: memoryview, number: int) -> int:
        """Make a slot of the source hold message ``number``; the offset of the slot.

        Only where the message that used the slot before has completed.
        """
        offset = number % self.slots * self.size
        if self.size >= _NUMBER_BYTES:
            view[offset : offset + _NUMBER_BYTES] = _number(number)
        return offset

    def message(self, number: int) -> bytes:
        """All bytes of this message."""
        pattern = self._pattern(number % self.slots)
        if self.size < _NUMBER_BYTES:
            return pattern
        return _number(number) + pattern[_NUMBER_BYTES:]

    def check(self, view: memoryview, posted: int) -> Checked:
        """Compare a whole target buffer with what ``posted`` messages must have left in it.

        Slots no message was for must be zero.
        """
        found = Checked()
        for slot in range(self.slots):
            start = slot * self.size
            found += self._check_slot(slot, view[start : start + self.size], posted)
        return found + self._untouched(view[self.slots * self.size :], self.slots)

    def _check_slot(self, slot: int, there: memoryview, posted: int) -> Checked:
        if slot >= posted:
            return self._untouched(there, slot)
        last = posted - 1 - (posted - 1 - slot) % self.slots
        return self._compare(there, self.message(last), slot, last)

    def _untouched(self, there: memoryview, slot: int) -> Checked:
        return replace(self._compare(there, bytes(len(there)), slot, None), checked_bytes=0)

    def _compare(
        self, there: memoryview, expected: bytes, slot: int, message: int | None
    ) -> Checked:
        if there == expected:
            return Checked(len(expected))
        differs = list(map(ne, there, expected))
        offset = differs.index(True)
        return Checked(
            len(expected),
            sum(differs),
            {
                "connection": self.connection,
                "message": message,
                "slot": slot,
                "offset": offset,
                "expected": expected[offset],
                "found": there[offset],
            },
        )

    def _pattern(self, slot: int) -> bytes:
        name = f"{self.seed} {self.connection} {self.writer} {slot}"
        return shake_128(name.encode()).digest(self.size)


def written_by(writer: int, channel: Channel, size: int, slots: int) -> Content:
    """What this host, one end of the channel's connection, writes over it."""
    return Content(channel.seed, channel.connection, writer, size, slots)


def check_targets(
    channels: Mapping[int, Channel], peers: Mapping[int, Mapping[str, Any]], size: int, slots: int
) -> dict[str, Any]:
    """Compare every byte of the targets of these connections with what the peer must have left.

    ``peers`` holds the peer's row of each. It is compared only where all it ``posted`` has
    completed (``messages``, where the row tells): what is under way may be there in parts.
    As JSON: ``checked_bytes``, ``wrong_bytes``, ``first_wrong``, and ``unchecked``, the
    connections that could not be compared. Raises WorkloadError for a connection that is
    none of these, or a row without ``posted``.
    """
    found, unchecked = Checked(), []
    for number, row in peers.items():
        channel, posted = channels.get(number), row.get("posted")
        if channel is None or type(posted) is not int:
            raise WorkloadError(
                f"connection {number} is none of this host, or its peer says no 'posted': "
                "give the row of the peer's result"
            )
        if row.get("messages", posted) != posted:
            unchecked.append(number)
            continue
        found += written_by(channel.peer, channel, size, slots).check(channel.target.view, posted)
    return {**found.to_params(), "unchecked": unchecked}


def _number(number: int) -> bytes:
    return (number + 1).to_bytes(_NUMBER_BYTES, "big")
