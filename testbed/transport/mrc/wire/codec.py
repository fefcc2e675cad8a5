"""Packet and datagram, one into the other: what the engine calls.

Sending is in :mod:`.encoding`, receiving in :mod:`.decoding`.
"""

from testbed.transport.mrc.wire.decoding import Arrival, decode
from testbed.transport.mrc.wire.encoding import Envelope, encode, encode_sack, encode_write

__all__ = ["Arrival", "Envelope", "decode", "encode", "encode_sack", "encode_write"]
