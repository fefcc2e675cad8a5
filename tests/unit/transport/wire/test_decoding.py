"""What arrives and is believed, what is ignored and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from unit.transport.wire.rig import ENVELOPES, PACKETS, load_vectors

from testbed.transport.mrc.wire.codec import Envelope, decode, encode
from testbed.transport.mrc.wire.errors import DecodeError, IcrcError
from testbed.transport.mrc.wire.icrc import icrc
from testbed.transport.mrc.wire.packets import EndpointResponse, Packet, Sack, Trimmed, Write
from topologies.numbers import Dscp

VECTORS = {type(vector.packet).__name__: vector for vector in reversed(load_vectors())}
WRITE = VECTORS["Write"].datagram


def patched(datagram: bytes, offset: int, text: str) -> bytes:
    """Bytes replaced, iCRC made right again."""
    value = bytes.fromhex(text)
    changed = datagram[:offset] + value + datagram[offset + len(value):]
    crc = icrc(changed[40:100], changed[100:-4])
    return changed[:-4] + crc.to_bytes(4, "little")


@given(ENVELOPES, PACKETS)
def test_what_is_encoded_is_what_is_decoded(envelope: Envelope, packet: Packet) -> None:
    arrival = decode(encode(envelope, packet))
    assert arrival.packet == packet
    assert type(arrival.packet) is type(packet)
    assert arrival[:5] == envelope[:5]
    assert (arrival.is_ce, arrival.hop_limit) == (envelope.ecn == 3, 64)


def test_the_payload_is_a_view_without_padding() -> None:
    vector = VECTORS["Write"]
    packet = vector.packet._replace(payload=b"12345")
    buffer = bytearray(encode(vector.envelope, packet))
    arrived = decode(memoryview(buffer)).packet
    assert isinstance(arrived, Write)
    assert isinstance(arrived.payload, memoryview)
    assert arrived.payload == b"12345"
    buffer[-4 - 8] = ord("x")  # 8 bytes of padded payload, 4 of iCRC
    assert arrived.payload == b"x2345"


@pytest.mark.parametrize(
    ("offset", "text", "is_ce"),
    [(1, "20", False), (1, "30", True), (41, "30", True), (41, "10", False)],
)
def test_ce_counts_in_either_header(offset: int, text: str, is_ce: bool) -> None:
    """Switches mark the outer header, and what they mark is not covered by the iCRC."""
    value = bytes.fromhex(text)
    datagram = WRITE[:offset] + value + WRITE[offset + 1:]
    assert decode(datagram).is_ce is is_ce


def test_what_the_way_changes_is_told() -> None:
    shifted = bytes.fromhex("fcbbbbbb4809" + "00" * 10)
    datagram = WRITE[:7] + b"\x3d" + WRITE[8:24] + shifted + WRITE[40:]
    arrival = decode(datagram)
    assert (arrival.hop_limit, arrival.path_address) == (61, shifted)


def test_the_flow_label_of_the_inner_header_counts() -> None:
    datagram = WRITE[:1] + b"\x2f\xff\xff" + WRITE[4:]
    assert decode(datagram).ev == 0x12345678
    assert decode(WRITE[:41] + b"\x2f\xab\xcd" + WRITE[44:]).ev == 0x1234ABCD


def test_both_readings_of_the_port_are_accepted() -> None:
    assert decode(patched(WRITE, 82, "136b")).packet == decode(WRITE).packet  # 4971
    with pytest.raises(DecodeError, match="UDP port 4789"):
        decode(patched(WRITE, 82, "12b5"))


@pytest.mark.parametrize(
    ("kind", "offset", "text"),
    [
        ("Write", 90, "1234"), ("Write", 92, "ff"), ("Write", 89, "40"), ("Write", 96, "df"),
        ("Write", 106, "fff0"), ("Write", 86, "abcd"), ("Write", 8, "ff" * 16),
        ("Sack", 97, "ffffff"), ("Sack", 112, "ff"), ("Sack", 116, "ff"),
        ("Nack", 101, "7f"), ("Nack", 103, "ff"), ("Nack", 116, "ffff"),
        ("ReliabilityProbe", 97, "ffffff"), ("ReliabilityProbe", 114, "fff0"),
        ("EndpointRequest", 102, "ffff"), ("EndpointResponse", 102, "ff" * 26),
    ],
)  # fmt: skip
def test_reserved_bits_and_constants_are_ignored(kind: str, offset: int, text: str) -> None:
    """p_key, var_res, m and R of BTH, TSETH, checksum, outer source; see decoding.py."""
    vector = VECTORS[kind]
    assert decode(patched(vector.datagram, offset, text)).packet == vector.packet


@pytest.mark.parametrize(
    ("kind", "offset", "text", "complaint"),
    [
        ("Write", 0, "42", "IP versions 4 and 6"),
        ("Write", 40, "42", "IP versions 6 and 4"),
        ("Write", 6, "2b", "next headers 43 and 17"),  # SRH
        ("Write", 6, "00", "next headers 0 and 17"),  # hop-by-hop options
        ("Write", 46, "2c", "next headers 41 and 44"),  # fragment
        ("Write", 46, "06", "next headers 41 and 6"),  # TCP
        ("Write", 89, "01", "transport version 1"),
        ("Write", 4, "006d", "lengths do not add up"),
        ("Write", 4, "006b", "lengths do not add up"),
        ("Write", 44, "0045", "lengths do not add up"),
        ("Write", 84, "0043", "lengths do not add up"),
        ("Write", 84, "0000", "lengths do not add up"),
        ("Write", 84, "ffff", "lengths do not add up"),
        ("Write", 88, "04", "opcode 0x04 is not MRC's"),  # RC send only
        ("Write", 88, "dc", "SACK of 148 bytes"),
        ("TransportAck", 88, "ca", "too short for its headers"),
        ("TransportAck", 100, "20", "neither an ACK nor a NAK"),  # RNR
        ("Sack", 89, "10", "pad 1"),
        ("Sack", 88, "d1", "TRANSPORT_ACK of 140 bytes"),
        ("Sack", 100, "10", "SETH of type 1 and next header 0"),
        ("Sack", 101, "a0", "SETH of type 0 and next header 1"),
        ("Nack", 100, "10", "NETH of type 1"),
        ("ReliabilityProbe", 100, "08", "PETH of type 0 and next header 16"),
        ("EndpointRequest", 100, "80", "ERTH of type 8"),
        ("EndpointRequest", 93, "000003", "to QPN 3"),
        ("EndpointRequest", 97, "010009", "id 0x10009"),
        ("EndpointResponse", 100, "10", "EETH of type 1"),
        ("EndpointResponse", 97, "010009", "id 0x10009"),
    ],
)
def test_malformed_ones_are_refused(kind: str, offset: int, text: str, complaint: str) -> None:
    with pytest.raises(DecodeError, match=complaint) as caught:
        decode(patched(VECTORS[kind].datagram, offset, text))
    assert not isinstance(caught.value, IcrcError)


def resized(datagram: bytes, behind_bth: bytes) -> bytes:
    """The same IPs, UDP and BTH with other bytes behind, lengths and iCRC right."""
    udp_bytes = 8 + 12 + len(behind_bth) + 4
    changed = bytearray(datagram[:100] + behind_bth + bytes(4))
    changed[4:6] = (udp_bytes + 40).to_bytes(2, "big")
    changed[44:46] = changed[84:86] = udp_bytes.to_bytes(2, "big")
    return patched(bytes(changed), 0, "62")


@pytest.mark.parametrize("size", [0, 3, 4, 24, 27])
def test_a_write_too_short_for_its_headers_is_refused(size: int) -> None:
    """It has METH, TSETH, RETH and ImmDt, 28 bytes."""
    with pytest.raises(DecodeError, match="too short for its headers"):
        decode(resized(WRITE, bytes(size)))
    assert decode(resized(WRITE, bytes(28))).packet.payload == b""  # type: ignore[union-attr]


@pytest.mark.parametrize("size", [29, 30, 31, 33])
def test_a_write_that_is_not_padded_is_refused(size: int) -> None:
    with pytest.raises(DecodeError, match="not padded"):
        decode(resized(WRITE, bytes(size)))


def test_padding_cannot_reach_into_the_headers() -> None:
    with pytest.raises(DecodeError, match="too short for its headers"):
        decode(patched(resized(WRITE, bytes(28)), 89, "10"))


def test_no_packet_is_shorter_than_bth_and_icrc() -> None:
    datagram = WRITE[:4] + b"\x00\x3c" + WRITE[6:44] + b"\x00\x14" + WRITE[46:84] + b"\x00\x14"
    with pytest.raises(DecodeError, match="do not add up"):
        decode(datagram + WRITE[86:])


@pytest.mark.parametrize("kind", ["Sack", "Nack", "TransportAck", "EndpointRequest"])
def test_control_packets_cannot_be_trimmed(kind: str) -> None:
    datagram = VECTORS[kind].datagram
    with pytest.raises(DecodeError, match="only writes can be trimmed"):
        decode(patched(datagram, 0, "6300"))


@pytest.mark.parametrize("dscp", [Dscp.TRIMMED, Dscp.TRIMMED_LASTHOP])
def test_a_write_marked_trimmed_is_never_taken_as_a_write(dscp: Dscp) -> None:
    datagram = bytearray(WRITE)
    datagram[0:2] = (0x6000 | dscp << 6).to_bytes(2, "big")
    datagram[-1] ^= 1  # nobody looks at the iCRC
    arrival = decode(bytes(datagram))
    assert arrival.packet == Trimmed(0xCB, 0x123, 0x64, 0xBEEF)
    assert arrival.dscp == dscp


@pytest.mark.parametrize("offset", [4, 44, 84])
def test_a_trimmed_packet_whose_lengths_end_before_bth_is_refused(offset: int) -> None:
    """59 bytes behind the outer header, 19 behind the inner one: BTH ends at 60 and 20."""
    datagram = bytearray(VECTORS["Trimmed"].datagram)
    datagram[offset : offset + 2] = b"\x00\x3b" if offset == 4 else b"\x00\x13"
    with pytest.raises(DecodeError, match="trimmed packet of 99 bytes is too short"):
        decode(bytes(datagram))


def test_damage_has_an_error_of_its_own() -> None:
    with pytest.raises(IcrcError, match="drop it"):
        decode(WRITE[:-1] + b"\x00")


@pytest.mark.parametrize("kind", ["Write", "Sack"])
def test_the_reserved_byte_of_bth_is_not_covered(kind: str) -> None:
    """The iCRC takes it as ones whatever it is (facts sheet 1.4): the quick check cannot."""
    datagram = VECTORS[kind].datagram
    changed = datagram[:92] + b"\x5a" + datagram[93:]
    assert decode(changed).packet == decode(datagram).packet
    with pytest.raises(IcrcError, match="drop it"):
        decode(changed[:110] + bytes([changed[110] ^ 1]) + changed[111:])


def test_a_probe_answer_and_a_sack_differ_in_one_field_s_meaning() -> None:
    datagram = VECTORS["Sack"].datagram
    packet = decode(patched(datagram, 100, "0002 ffff")).packet
    assert isinstance(packet, Sack)
    assert (packet.pr, packet.ack_psn_offset, packet.probe_id) == (True, 0, 0xFFFF)
    packet = decode(patched(datagram, 100, "0000 ffff")).packet
    assert isinstance(packet, Sack)
    assert (packet.pr, packet.ack_psn_offset, packet.probe_id) == (False, -1, 0)


def test_the_id_of_a_response_counts_wherever_its_op_is() -> None:
    """One source puts op in bits 5..4 (facts sheet 2.12)."""
    packet = decode(patched(VECTORS["EndpointResponse"].datagram, 100, "0010")).packet
    assert packet == EndpointResponse(9, 0, 0x100)
