"""One list of vectors drives encoder and decoder: whole, cut at every byte, bytes behind it,
and every bit flipped."""

from __future__ import annotations

import pytest
from unit.transport.wire.rig import Vector, load_vectors

from testbed.transport.mrc.wire.codec import decode, encode
from testbed.transport.mrc.wire.codes import NackReason, NakCode, Opcode
from testbed.transport.mrc.wire.errors import DecodeError, EncodeError, IcrcError
from testbed.transport.mrc.wire.packets import EndpointRequest, Nack, Sack, TransportAck, Trimmed

VECTORS = load_vectors()
WHOLE = [vector for vector in VECTORS if not vector.is_trimmed]
TRIMMED = [vector for vector in VECTORS if vector.is_trimmed]
# Bytes of the inner IPv6 header to BTH that the network may change (facts sheet 1.4), by
# their mask; hop limit, UDP checksum, BTH byte 4, flow label.
VARIANT = {40: 0x0F, 41: 0xFF, 42: 0xFF, 43: 0xFF, 47: 0xFF, 86: 0xFF, 87: 0xFF, 92: 0xFF}


def each(vectors: list[Vector]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", vectors, ids=lambda vector: vector.name)


def check(vector: Vector, datagram: bytes | memoryview) -> None:
    arrival = decode(datagram)
    envelope = vector.envelope
    assert arrival.packet == vector.packet
    assert type(arrival.packet) is type(vector.packet)
    assert (arrival.source, arrival.destination) == (envelope.source, envelope.destination)
    assert arrival.path_address == envelope.path_address
    assert (arrival.ev, arrival.dscp) == (envelope.ev, envelope.dscp)
    assert (arrival.is_ce, arrival.hop_limit) == (False, 64)


@each(WHOLE)
def test_the_encoder_writes_it(vector: Vector) -> None:
    assert encode(vector.envelope, vector.packet).hex(" ") == vector.datagram.hex(" ")


@each(TRIMMED)
def test_the_encoder_refuses_what_only_switches_make(vector: Vector) -> None:
    with pytest.raises(EncodeError, match="switches make them"):
        encode(vector.envelope, vector.packet)


@each(VECTORS)
def test_the_decoder_reads_it(vector: Vector) -> None:
    check(vector, vector.datagram)
    check(vector, memoryview(vector.datagram))


@each(WHOLE)
def test_what_comes_behind_it_is_cut(vector: Vector) -> None:
    for tail in (b"\x00", b"\xff" * 17, vector.datagram):
        check(vector, vector.datagram + tail)
        check(vector, memoryview(tail + vector.datagram + tail)[len(tail):])


@each(WHOLE)
def test_cut_anywhere_it_is_refused(vector: Vector) -> None:
    for end in range(len(vector.datagram)):
        with pytest.raises(DecodeError, match=r"too short|do not add up"):
            decode(vector.datagram[:end])


@each(TRIMMED)
def test_cut_anywhere_a_trimmed_one_is_known_as_long_as_there_is_bth(vector: Vector) -> None:
    assert isinstance(vector.packet, Trimmed)
    for end in range(len(vector.datagram)):
        if end < 100:
            with pytest.raises(DecodeError, match="too short to hold BTH"):
                decode(vector.datagram[:end])
        else:
            stamp = vector.packet.tx_timestamp if end >= 108 else None
            packet = decode(vector.datagram[:end]).packet
            assert packet == vector.packet._replace(tx_timestamp=stamp)


@each(WHOLE)
def test_a_flipped_bit_is_noticed_unless_the_network_may_flip_it(vector: Vector) -> None:
    for position in range(40, len(vector.datagram)):
        for mask in (1 << bit for bit in range(8)):
            changed = bytearray(vector.datagram)
            changed[position] ^= mask
            if VARIANT.get(position, 0) & mask:
                assert decode(bytes(changed)).packet == vector.packet
            else:
                with pytest.raises(DecodeError) as caught:
                    decode(bytes(changed))
                # What is looked at before the iCRC: version, lengths, next header, UDP
                # port and length, transport version. All else is damage.
                seen_first = {40, 44, 45, 46, 82, 83, 84, 85, 89}
                assert isinstance(caught.value, IcrcError) or position in seen_first


def test_no_opcode_and_no_code_is_left_out() -> None:
    opcodes = {vector.datagram[88] for vector in WHOLE}
    assert opcodes == set(map(int, Opcode))
    packets = [vector.packet for vector in WHOLE]
    reasons = {packet.nack_reason for packet in packets if isinstance(packet, Nack)}
    assert set(map(int, NackReason)) < reasons
    syndromes = {packet.syndrome for packet in packets if isinstance(packet, TransportAck)}
    assert syndromes == {0x1F, *map(int, NakCode)}
    assert {packet.pr for packet in packets if isinstance(packet, Sack)} == {True, False}
    assert {packet.op for packet in packets if isinstance(packet, EndpointRequest)} == {0, 1}
    stamped = {(vector.datagram[88], "TSETH" in vector.layers) for vector in WHOLE}
    assert {(code, has) for code in range(0xC6, 0xCC) for has in (True, False)} <= stamped
