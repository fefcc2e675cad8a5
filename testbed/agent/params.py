"""Typed reading of what came as JSON: a fault names the key, the value, what is allowed."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from typing import Any

from testbed.errors import TestbedError

_MISSING: Any = object()


class ParamsError(TestbedError):
    """The parameters of a request are not what the method takes."""


class Params:
    """One JSON object, read key by key; `finish` refuses keys nobody read.

    `where` names the object in errors, e.g. ``probe.paths[3]``. A `default` makes
    a key optional.
    """

    def __init__(self, values: object, where: str) -> None:
        if not isinstance(values, Mapping):
            raise ParamsError(f"{where} is {_shown(values)}, expected an object")
        self._values = values
        self._where = where
        self._read: set[str] = set()

    def integer(self, key: str, low: int, high: int, default: int = _MISSING) -> int:
        """An integer from `low` to `high`, both included."""
        value = self._take(key, default)
        if type(value) is int and low <= value <= high:
            return value
        raise self._refusal(key, value, f"an integer from {low} to {high}")

    def boolean(self, key: str, default: bool = _MISSING) -> bool:
        """true or false."""
        value = self._take(key, default)
        if isinstance(value, bool):
            return value
        raise self._refusal(key, value, "true or false")

    def string(self, key: str) -> str:
        """A string that is not empty."""
        value = self._take(key)
        if isinstance(value, str) and value:
            return value
        raise self._refusal(key, value, "a string")

    def text(self, key: str) -> str:
        """A string, "" where the key is absent."""
        value = self._take(key, "")
        if isinstance(value, str):
            return value
        raise self._refusal(key, value, "a string")

    def mapping(self, key: str, default: Any = _MISSING) -> Mapping[str, Any]:
        """A JSON object as it is. A `default` makes the key optional."""
        value = self._take(key, default)
        if isinstance(value, Mapping):
            return value
        raise self._refusal(key, value, "an object")

    def list(self, key: str) -> list[Any]:
        """A list as it is, empty where the key is absent."""
        value = self._take(key, [])
        if isinstance(value, list):
            return value
        raise self._refusal(key, value, "a list")

    def address(self, key: str) -> bytes:
        """An IPv6 address as text; returns its 16 bytes."""
        value = self._take(key)
        try:
            return socket.inet_pton(socket.AF_INET6, value)
        except (OSError, TypeError, ValueError):
            raise self._refusal(key, value, "an IPv6 address") from None

    def mac(self, key: str) -> bytes:
        """A MAC address as text with colons; returns its 6 bytes."""
        value = self._take(key)
        try:
            parts = bytes.fromhex(value.replace(":", ""))
        except (AttributeError, ValueError):
            parts = b""
        if len(parts) == 6 and value.count(":") == 5:
            return parts
        raise self._refusal(key, value, "a MAC address such as 02:00:00:00:00:01")

    def objects(self, key: str, at_most: int) -> Iterator[Params]:
        """The objects of a list of 1 to `at_most` entries."""
        value = self._take(key)
        if not isinstance(value, list) or not 1 <= len(value) <= at_most:
            raise self._refusal(key, value, f"a list of 1 to {at_most} objects")
        where = f"{self._where}.{key}"
        return (Params(entry, f"{where}[{i}]") for i, entry in enumerate(value))

    def finish(self) -> None:
        """Raise ParamsError if the object has keys that were not read."""
        unknown = self._values.keys() - self._read
        if unknown:
            raise ParamsError(
                f"{self._where} has unknown key {sorted(map(str, unknown))[0]!r}: "
                f"it takes {', '.join(sorted(self._read))}"
            )

    def _take(self, key: str, default: Any = _MISSING) -> Any:
        self._read.add(key)
        value = self._values.get(key, default)
        if value is _MISSING:
            raise ParamsError(f"{self._where} lacks {key!r}: add it")
        return value

    def _refusal(self, key: str, value: object, expected: str) -> ParamsError:
        return ParamsError(f"{self._where}.{key} is {_shown(value)}, expected {expected}")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
