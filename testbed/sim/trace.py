"""What happened, as a hash to compare runs by, and as frames captured at ports.

Same seed, same bytes, same digest. A port without a trace pays one comparison.
"""

from __future__ import annotations

from hashlib import blake2b
from struct import Struct
from typing import NamedTuple
from zlib import crc32

from testbed.sim.frame import Frame
from topologies.numbers import ETHERNET_BYTES, TRIMMED_FRAME_BYTES

_RECORD = Struct("<QIBII")  # time, slot, kind, size, checksum of bytes
_DELIVERED = 255
_HEADER_BYTES = TRIMMED_FRAME_BYTES - ETHERNET_BYTES


class Captured(NamedTuple):
    """A datagram as it left a port: judged and passed at ``at_ns``."""

    at_ns: int
    datagram: bytes


class Trace:
    """A running hash over every frame judged and delivered, and captures by slot."""

    __slots__ = ("_hash", "captures")

    def __init__(self) -> None:
        self._hash = blake2b(digest_size=16)
        self.captures: dict[int, list[Captured]] = {}

    @property
    def digest(self) -> str:
        """The hash of everything so far, in hex."""
        return self._hash.hexdigest()

    def judged(self, now: int, slot: int, verdict: int, frame: Frame) -> None:
        """A port decided about a frame; ``verdict`` is the account it is booked under."""
        checksum = crc32(frame.data[:_HEADER_BYTES])
        self._hash.update(_RECORD.pack(now, slot, verdict, frame.size, checksum))

    def passed(self, now: int, slot: int, frame: Frame, header: bytes) -> None:
        """A port let a frame through, with this outer hop limit and addresses."""
        captured = self.captures.get(slot)
        if captured is not None:
            captured.append(Captured(now, frame.written(header)))

    def delivered(self, now: int, slot: int, datagram: bytes) -> None:
        """A datagram arrived at a NIC port."""
        record = _RECORD.pack(now, slot, _DELIVERED, len(datagram), crc32(datagram))
        self._hash.update(record)
