"""The iCRC against the appendix's number and against scapy's implementation of the rule."""

from __future__ import annotations

from hypothesis import given, settings
from scapy.compat import raw
from scapy.contrib.roce import BTH
from scapy.layers.inet6 import IPv6
from unit.transport.wire.rig import ENVELOPES, PACKETS, reference

from testbed.transport.mrc.wire.codec import Envelope
from testbed.transport.mrc.wire.icrc import INTACT, icrc
from testbed.transport.mrc.wire.packets import Packet

APPENDIX_FRONT = bytes.fromhex(
    "6220567800441140 fd000000000000000000000000000001 fd000000000000000000000000000002"
    "123412b700440000 cb00ffff00000123 90000064"
)
APPENDIX_BEHIND = bytes.fromhex(
    "00000001 beef0001 1122334455667788a1b2c3d400000010 cafef00d 000102030405060708090a0b0c0d0e0f"
)


def scapy_icrc(inner: bytes) -> bytes:
    """What scapy computes for a packet from its inner IPv6 header to before the iCRC."""
    packet = IPv6(inner + bytes(4))
    return bytes(packet[BTH].compute_icrc(raw(packet[BTH])))


def test_the_appendix() -> None:
    assert icrc(APPENDIX_FRONT, APPENDIX_BEHIND).to_bytes(4, "little").hex() == "25dcc560"


def test_pieces_make_no_difference_and_the_right_icrc_gives_the_constant() -> None:
    one, two = APPENDIX_BEHIND[:7], memoryview(APPENDIX_BEHIND)[7:]
    assert icrc(APPENDIX_FRONT, one, b"", two) == icrc(APPENDIX_FRONT, APPENDIX_BEHIND)
    assert icrc(APPENDIX_FRONT, APPENDIX_BEHIND, bytes.fromhex("25dcc560")) == INTACT
    assert icrc(APPENDIX_FRONT, APPENDIX_BEHIND, bytes.fromhex("25dcc561")) != INTACT


@settings(max_examples=60)
@given(ENVELOPES, PACKETS)
def test_scapy_agrees(envelope: Envelope, packet: Packet) -> None:
    """Whatever scapy makes of MRC's headers, it sees the same bytes."""
    inner = reference(envelope, packet)[40:]
    assert inner[-4:].hex() == scapy_icrc(inner[:-4]).hex()
