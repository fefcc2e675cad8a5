"""The randomness the engine is handed: ``random.Random`` fits, and so does a test's script."""

from __future__ import annotations

from collections.abc import MutableSequence
from typing import Any, Protocol


class Rng(Protocol):
    """A seeded generator of random numbers."""

    def random(self) -> float:
        """A number in [0, 1)."""

    def getrandbits(self, k: int, /) -> int:
        """An integer of k random bits."""

    def randrange(self, stop: int, /) -> int:
        """An integer in 0 .. stop - 1."""

    def shuffle(self, x: MutableSequence[Any], /) -> None:
        """Put the items into a random order, in place."""
