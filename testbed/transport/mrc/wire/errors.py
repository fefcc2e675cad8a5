"""Two sides, two errors: what the peer sent, and what this side tried to send."""

from __future__ import annotations

from testbed.errors import TestbedError


class DecodeError(TestbedError):
    """A datagram is not an MRC packet; the only thing decoding raises. Drop it and count."""


class IcrcError(DecodeError):
    """A datagram was damaged on its way: its iCRC does not fit its bytes."""


class EncodeError(TestbedError):
    """A field handed in for sending does not fit its place on the wire."""
