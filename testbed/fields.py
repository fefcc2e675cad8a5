"""Reading what came as JSON: a fault names the key, the value and what is allowed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

from testbed.errors import TestbedError, did_you_mean

MISSING: Any = object()


class Fields:
    """One JSON object, read key by key; `finish` refuses keys nobody read.

    ``where`` names the object in errors, e.g. ``probe.paths[3]``. An optional key may be
    absent or null; a ``default`` makes a key optional, too. Faults raise ``error``.
    """

    error: ClassVar[type[TestbedError]] = TestbedError

    def __init__(self, values: object, where: str) -> None:
        if not isinstance(values, Mapping):
            raise self.error(f"{where} is {_shown(values)}: give an object")
        self._values = values
        self._where = where
        self._read: set[str] = set()

    def integer(self, key: str, low: int, high: int, default: int = MISSING) -> int:
        """An integer from ``low`` to ``high``, both included."""
        value = self.take(key, default)
        if type(value) is int and low <= value <= high:
            return value
        raise self.refusal(key, value, f"an integer from {low} to {high}")

    def optional_integer(self, key: str, low: int, high: int) -> int | None:
        """The same, or None."""
        return None if self._is_absent(key) else self.integer(key, low, high)

    def boolean(self, key: str, default: bool = MISSING) -> bool:
        """true or false."""
        value = self.take(key, default)
        if isinstance(value, bool):
            return value
        raise self.refusal(key, value, "true or false")

    def word(self, key: str, choices: Collection[str]) -> str:
        """One of these words."""
        value = self.take(key)
        if isinstance(value, str) and value in choices:
            return value
        hint = did_you_mean(value, choices) if isinstance(value, str) else ""
        raise self.refusal(key, value, f"{' or '.join(sorted(choices))}{hint}")

    def octets(self, key: str, length: int) -> bytes:
        """This many bytes, as hex digits."""
        value = self.take(key)
        try:
            octets = bytes.fromhex(value)
        except (TypeError, ValueError):
            octets = b""
        if len(octets) == length:
            return octets
        raise self.refusal(key, value, f"{2 * length} hex digits")

    def integers(self, key: str, low: int, high: int) -> tuple[int, ...]:
        """A list of integers, each from ``low`` to ``high``."""
        values = self.items(key)
        for value in values:
            if type(value) is not int or not low <= value <= high:
                raise self.refusal(key, value, f"integers from {low} to {high}")
        return tuple(values)

    def items(self, key: str, default: Any = MISSING) -> list[Any]:
        """A list of anything."""
        value = self.take(key, default)
        if isinstance(value, list | tuple):
            return list(value)
        raise self.refusal(key, value, "a list")

    def mapping(self, key: str, default: Any = MISSING) -> Mapping[str, Any]:
        """An object of anything."""
        value = self.take(key, default)
        if isinstance(value, Mapping):
            return value
        raise self.refusal(key, value, "an object")

    def optional_mapping(self, key: str) -> Mapping[str, Any] | None:
        """The same, or None."""
        return None if self._is_absent(key) else self.mapping(key)

    def finish(self) -> None:
        """Raise ``error`` where the object has keys that were not read."""
        unknown = sorted(str(key) for key in self._values.keys() - self._read)
        if unknown:
            hint = did_you_mean(unknown[0], self._read)
            raise self.error(
                f"{self._where} has unknown key '{unknown[0]}'{hint}: "
                f"it takes {', '.join(sorted(self._read))}"
            )

    # --- For kinds of values that not everybody reads ----------------------------------

    def take(self, key: str, default: Any = MISSING) -> Any:
        """The value as it is; raises ``error`` where it is missing."""
        self._read.add(key)
        value = self._values.get(key, default)
        if value is MISSING:
            raise self.error(f"{self._where} lacks '{key}': add it")
        return value

    def refusal(self, key: str, value: object, expected: str) -> TestbedError:
        """What to raise for a value that is not as ``expected``."""
        return self.error(f"{self._where}.{key} is {_shown(value)}: give {expected}")

    @property
    def where(self) -> str:
        """The name of the object."""
        return self._where

    def _is_absent(self, key: str) -> bool:
        self._read.add(key)
        return self._values.get(key) is None


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
