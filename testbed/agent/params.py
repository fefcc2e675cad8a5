"""Reading the parameters of requests to an agent."""

from __future__ import annotations

import socket
from collections.abc import Iterator

from testbed.errors import TestbedError
from testbed.fields import Fields


class ParamsError(TestbedError):
    """The parameters of a request are not what the method takes."""


class Params(Fields):
    """One JSON object; faults raise ParamsError. Addresses are those of the data network."""

    error = ParamsError

    def string(self, key: str) -> str:
        """A string that is not empty."""
        value = self.take(key)
        if isinstance(value, str) and value:
            return value
        raise self.refusal(key, value, "a string")

    def text(self, key: str) -> str:
        """A string, "" where the key is absent."""
        value = self.take(key, "")
        if isinstance(value, str):
            return value
        raise self.refusal(key, value, "a string")

    def address(self, key: str) -> bytes:
        """An IPv6 address as text; returns its 16 bytes."""
        value = self.take(key)
        try:
            return socket.inet_pton(socket.AF_INET6, value)
        except (OSError, TypeError, ValueError):
            raise self.refusal(key, value, "an IPv6 address") from None

    def mac(self, key: str) -> bytes:
        """A MAC address as text with colons; returns its 6 bytes."""
        value = self.take(key)
        try:
            parts = bytes.fromhex(value.replace(":", ""))
        except (AttributeError, ValueError):
            parts = b""
        if len(parts) == 6 and value.count(":") == 5:
            return parts
        raise self.refusal(key, value, "a MAC address such as 02:00:00:00:00:01")

    def objects(self, key: str, at_most: int) -> Iterator[Params]:
        """The objects of a list of 1 to ``at_most`` entries."""
        value = self.take(key)
        if not isinstance(value, list) or not 1 <= len(value) <= at_most:
            raise self.refusal(key, value, f"a list of 1 to {at_most} objects")
        return (Params(entry, f"{self.where}.{key}[{i}]") for i, entry in enumerate(value))
