"""The fast encoder against the headers packed one by one, and what it must refuse."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.transport.wire.rig import ENVELOPES, PACKETS, load_vectors, reference, writes

from testbed.errors import TestbedError
from testbed.transport.mrc.wire.codec import Envelope, encode
from testbed.transport.mrc.wire.errors import EncodeError
from testbed.transport.mrc.wire.packets import Packet, Write

VECTORS = {type(vector.packet).__name__: vector for vector in reversed(load_vectors())}
ENVELOPE = VECTORS["Write"].envelope


@given(ENVELOPES, PACKETS)
def test_it_equals_the_headers_in_a_row(envelope: Envelope, packet: Packet) -> None:
    assert encode(envelope, packet).hex() == reference(envelope, packet).hex()


@given(ENVELOPES, writes(bytes(range(256)) * 16))
def test_so_do_full_payloads(envelope: Envelope, packet: Write) -> None:
    for size in range(4093, 4097):
        cut = packet._replace(payload=packet.payload[:size])
        expected = reference(envelope, cut)
        assert encode(envelope, cut) == expected
        assert encode(envelope, cut._replace(payload=memoryview(cut.payload))) == expected


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("Write", "opcode", 0xDC), ("Write", "opcode", 0x0A), ("Write", "dqp", 1 << 24),
        ("Write", "psn", 1 << 24), ("Write", "psn", -1), ("Write", "tx_timestamp", 1 << 16),
        ("Write", "tx_timestamp", -1), ("Write", "msn", 1 << 16), ("Write", "rqmsn", -1),
        ("Write", "va", 1 << 64), ("Write", "rkey", 1 << 32), ("Write", "dmalen", 1 << 32),
        ("Write", "imm", 1 << 32), ("Write", "imm", None), ("Write", "opcode", 0xCA),
        ("Write", "payload", bytes(0x10000)), ("Write", "payload", bytes(65470)),
        ("TransportAck", "psn", 1 << 24), ("TransportAck", "msn", 1 << 24),
        ("TransportAck", "msn", -1), ("TransportAck", "syndrome", 0x20),
        ("TransportAck", "syndrome", 0x11F),
        ("Sack", "m", 4), ("Sack", "probe_id", 1), ("Sack", "ack_psn_offset", 0x8000),
        ("Sack", "ack_psn_offset", -0x8001), ("Sack", "cack_psn", 1 << 24),
        ("Sack", "sack_offset", 0x8000), ("Sack", "sack_bitmap", 1 << 64),
        ("Sack", "ooo_count", 0x8000), ("Sack", "rcv_cwnd_pen", 128), ("Sack", "mpr", 256),
        ("Sack", "rcvd_bytes", 1 << 24), ("Sack", "rcvd_bytes", -1), ("Sack", "pr", True),
        ("Nack", "nack_reason", 256), ("Nack", "nack_psn", 1 << 24), ("Nack", "dqp", -1),
        ("Nack", "entropy", 1 << 32), ("ReliabilityProbe", "probe_id", 1 << 16),
        ("EndpointRequest", "request_id", 1 << 16), ("EndpointRequest", "op", 4),
        ("EndpointRequest", "port_status_mask", 1 << 32),
        ("EndpointResponse", "request_id", 1 << 16), ("EndpointResponse", "op", -1),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(kind: str, field: str, value: Any) -> None:
    vector = VECTORS[kind]
    packet = vector.packet._replace(**{field: value})
    with pytest.raises(EncodeError, match=r"does not fit|cannot be sent"):
        encode(vector.envelope, packet)


@pytest.mark.parametrize("kind", ["Write", "Sack"])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("source", bytes(15)), ("destination", b""), ("path_address", bytes(17)),
        ("ev", 1 << 32), ("ev", -1), ("dscp", 64), ("dscp", -1), ("ecn", 4), ("ecn", -1),
    ],
)  # fmt: skip
def test_so_is_an_envelope(kind: str, field: str, value: Any) -> None:
    vector = VECTORS[kind]
    with pytest.raises(EncodeError, match=r"does not fit|cannot be sent"):
        encode(vector.envelope._replace(**{field: value}), vector.packet)


NO_NUMBERS = {"payload", "a", "rtx", "se", "r_c", "pr"}
WIDE = st.integers(-(1 << 70), 1 << 70) | st.integers(-2, 300)


@given(PACKETS, st.data())
def test_no_field_can_change_another(packet: Packet, data: st.DataObject) -> None:
    """Any number in any field: refused, or exactly what the headers make of it."""
    names = [name for name in packet._fields if name not in NO_NUMBERS]
    changed = packet._replace(**{data.draw(st.sampled_from(names)): data.draw(WIDE)})
    try:
        datagram = encode(ENVELOPE, changed)
    except EncodeError:
        return
    assert datagram == reference(ENVELOPE, changed)


def test_the_error_is_the_house_s_and_short() -> None:
    packet = VECTORS["Write"].packet
    with pytest.raises(TestbedError) as caught:
        encode(ENVELOPE, packet._replace(psn=1 << 24, payload=bytes(4096)))
    assert len(str(caught.value)) < 300
