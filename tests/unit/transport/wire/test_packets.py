"""Sizes as congestion control counts them, and what an acknowledgement says."""

from __future__ import annotations

import pytest
from hypothesis import given
from unit.transport.wire.rig import ENVELOPES, reference, writes

from testbed.transport.mrc.wire.codec import Envelope
from testbed.transport.mrc.wire.codes import ACK_SYNDROME, NakCode
from testbed.transport.mrc.wire.packets import TransportAck, Write, nominal_bytes


def test_a_full_packet_counts_as_in_the_specification() -> None:
    """Facts sheet 1.5: 4184; 1.1: an immediate adds 4, no TSETH takes 4 away."""
    assert nominal_bytes(4096) == 4184
    assert nominal_bytes(4096, has_immediate=True) == 4188
    assert nominal_bytes(4096, has_timestamp=False) == 4180
    assert nominal_bytes(0) == 88
    assert nominal_bytes(1) == nominal_bytes(4) == 92


@given(ENVELOPES, writes())
def test_it_is_the_udp_length_and_40(envelope: Envelope, packet: Write) -> None:
    udp_bytes = int.from_bytes(reference(envelope, packet)[84:86], "big")
    has_stamp, has_imm = packet.tx_timestamp is not None, packet.imm is not None
    assert nominal_bytes(len(packet.payload), has_stamp, has_imm) == udp_bytes + 40


@pytest.mark.parametrize(
    ("syndrome", "is_nak"), [(ACK_SYNDROME, False), (0, False), *((c, True) for c in NakCode)]
)
def test_which_syndromes_refuse(syndrome: int, is_nak: bool) -> None:
    assert TransportAck(3, 0, syndrome, 0).is_nak is is_nak
