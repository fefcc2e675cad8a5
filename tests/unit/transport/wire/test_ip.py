"""The headers in front of BTH, by hand from RFC 8200, RFC 768 and facts sheet 1.3."""

from __future__ import annotations

import pytest
from hypothesis import given
from unit.transport.wire.rig import ENVELOPES, load_vectors

from testbed.transport.mrc.wire import ip
from testbed.transport.mrc.wire.codec import Envelope
from testbed.transport.mrc.wire.errors import EncodeError

HERE, THERE, PATH = bytes(15) + b"\x01", bytes(15) + b"\x02", b"\xfc" + bytes(15)


def test_sizes_and_places() -> None:
    assert (ip.IPv6.size_bytes(), ip.UDP.size_bytes()) == (40, 8)
    assert (ip.INNER_OFFSET, ip.UDP_OFFSET, ip.BTH_OFFSET) == (40, 80, 88)


def test_every_byte_of_an_encapsulation() -> None:
    # Traffic class 46 << 2 | 1 = 0xb9; source port = EV bits 31..16; label = bits 15..0.
    outer, inner, udp = ip.encapsulation(HERE, THERE, PATH, 0x0203_0405, 46, 1, 20)
    assert outer.pack().hex() == "6b900405" "0044" "29" "40" + HERE.hex() + PATH.hex()
    assert inner.pack().hex() == "6b900405" "001c" "11" "40" + HERE.hex() + THERE.hex()
    assert udp.pack().hex() == "0203" "12b7" "001c" "0000"


@given(ENVELOPES)
def test_what_is_packed_is_what_is_unpacked(envelope: Envelope) -> None:
    for header in ip.encapsulation(*envelope, behind_udp_bytes=16):
        assert type(header).unpack(header.pack()) == header


def test_vectors_read_as_their_envelope() -> None:
    for vector in load_vectors():
        outer = ip.IPv6.unpack(vector.layers["outer IPv6"])
        udp = ip.UDP.unpack(vector.layers["UDP"])
        assert (outer.dscp, outer.ecn) == (vector.envelope.dscp, vector.envelope.ecn)
        assert udp.source_port << 16 | outer.flow_label == vector.envelope.ev
        assert (outer.version, outer.next_header, outer.hop_limit) == (6, 41, 64)


@pytest.mark.parametrize("length", [0, 4, 15, 17])
def test_addresses_are_16_bytes(length: int) -> None:
    with pytest.raises(EncodeError, match=f"an address of {length} bytes is not IPv6"):
        ip.encapsulation(bytes(length), THERE, PATH, 0, 0, 0, 16)
