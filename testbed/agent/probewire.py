"""The payload of a path probe.

    magic 2 | kind 1 | echo 1 | id 4 | sent_at 8 | reverse address 16 | padding

All big-endian. A probe carries the outer address of the way back, so the
responder needs no table: it answers out of the port the probe came in on. The
reply repeats id and sending time, has the nanoseconds of the way out where the
address was, and tells in `echo` what the probe met: bit 7 = congestion marked,
bits 0..6 = switches crossed. Frames of any size and class, for questions that the
EV probes of MRC cannot ask: what a full-size frame meets, how long a switch takes.
"""

from __future__ import annotations

import enum
import struct
from typing import NamedTuple

from testbed.agent.frames import FrameError
from topologies.numbers import ENCAPSULATION_BYTES

_LAYOUT = struct.Struct("!2sBBIQ16s")
MAGIC = b"\xa5\x5e"
_CE_BIT = 0x80
_NO_ADDRESS = bytes(16)

PAYLOAD_BYTES = _LAYOUT.size
MIN_FRAME_BYTES = ENCAPSULATION_BYTES + PAYLOAD_BYTES
"""The smallest probe on the wire, Ethernet header included: 134 bytes."""


class Kind(enum.IntEnum):
    """A request is answered by the other host; self comes back to its sender by itself."""

    REQUEST = 1
    REPLY = 2
    SELF = 3


_KINDS = {int(kind): kind for kind in Kind}


class Probe(NamedTuple):
    """`id` is 32 bits, `sent_at_ns` the sender's wall clock, `reverse` 16 bytes.

    `hops_out` (0..127) and `met_ce` are filled in by the responder.
    """

    kind: Kind
    id: int
    sent_at_ns: int
    reverse: bytes = _NO_ADDRESS
    hops_out: int = 0
    met_ce: bool = False

    @property
    def transit_ns(self) -> int:
        """Of a reply: the wall-clock time of the way out, by the two hosts' common clock."""
        return int.from_bytes(self.reverse[:8], "big", signed=True)

    def pack(self) -> bytes:
        """32 bytes."""
        echo = self.hops_out | (_CE_BIT if self.met_ce else 0)
        return _LAYOUT.pack(MAGIC, self.kind, echo, self.id, self.sent_at_ns, self.reverse)

    def reply(self, hops_out: int, met_ce: bool, received_at_ns: int) -> Probe:
        """The answer to this request, which crossed so many switches."""
        transit = (received_at_ns - self.sent_at_ns).to_bytes(8, "big", signed=True)
        return Probe(Kind.REPLY, self.id, self.sent_at_ns, transit + bytes(8), hops_out, met_ce)


def parse_probe(payload: bytes) -> Probe:
    """The probe in a UDP payload; FrameError where there is none (or a trimmed one)."""
    if len(payload) < PAYLOAD_BYTES:
        raise FrameError(f"a payload of {len(payload)} bytes is too short for a probe")
    magic, kind, echo, probe_id, sent_at_ns, reverse = _LAYOUT.unpack_from(payload)
    if magic != MAGIC or kind not in _KINDS:
        raise FrameError("the payload is not a path probe")
    return Probe(
        _KINDS[kind], probe_id, sent_at_ns, reverse, echo & ~_CE_BIT, bool(echo & _CE_BIT)
    )
