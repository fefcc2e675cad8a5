"""testbed/agent/frames.py against an independent decode, and against hostile bytes."""

from __future__ import annotations

import contextlib
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.agent.frames import MAX_PAYLOAD_BYTES, FrameError, FrameHeaders, parse
from topologies.numbers import ENCAPSULATION_BYTES, TRIMMED_FRAME_BYTES, Dscp

MACS = st.binary(min_size=6, max_size=6)
ADDRESSES = st.binary(min_size=16, max_size=16)
HEADERS = st.builds(
    FrameHeaders, dst_mac=MACS, src_mac=MACS, path_address=ADDRESSES, source=ADDRESSES,
    destination=ADDRESSES, ev=st.integers(0, 2**32 - 1), dscp=st.integers(0, 63),
    ecn=st.integers(0, 3), hop_limit=st.integers(0, 64),
)

PATH = ipaddress.IPv6Address("fcbb:bbbb:4804:5003:4809:5809::").packed
HERE = ipaddress.IPv6Address("2001:db8:0:4::8").packed
THERE = ipaddress.IPv6Address("2001:db8:0:9::a").packed
EXAMPLE = FrameHeaders(
    dst_mac=bytes.fromhex("020000000001"), src_mac=bytes.fromhex("020000000002"),
    path_address=PATH, source=HERE, destination=THERE, ev=0x0203_0405,
    dscp=Dscp.CONTROL, ecn=2,
)


def build(headers: FrameHeaders, payload: bytes) -> bytes:
    return headers.pack(len(payload)) + payload


def patched(frame: bytes, offset: int, value: bytes) -> bytes:
    return frame[:offset] + value + frame[offset + len(value):]


def test_every_byte_of_a_frame() -> None:
    """Written down by hand from RFC 8200, RFC 768 and facts sheet 1.3."""
    # Traffic class 46 << 2 | 2 = 0xba; source port = EV bits 31..16; label = bits 15..0.
    expected = (
        "020000000001" "020000000002" "86dd"
        "6ba00405" "0034" "29" "40" + HERE.hex() + PATH.hex()
        + "6ba00405" "000c" "11" "40" + HERE.hex() + THERE.hex()
        + "0203" "12b7" "000c" "0000" "deadbeef"
    )
    assert build(EXAMPLE, bytes.fromhex("deadbeef")).hex() == expected


@given(HEADERS, st.binary(max_size=200))
def test_what_is_packed_is_what_is_parsed(headers: FrameHeaders, payload: bytes) -> None:
    facts = parse(build(headers, payload))
    assert facts.payload == payload
    assert (facts.ev, facts.source, facts.destination, facts.path_address) == (
        headers.ev, headers.source, headers.destination, headers.path_address
    )
    assert (facts.dscp, facts.hops) == (headers.dscp, 64 - headers.hop_limit)
    assert facts.is_ce == (headers.ecn == 3)
    assert facts.is_trimmed == (headers.dscp in (12, 16))
    assert not facts.is_truncated


@given(HEADERS, st.binary(max_size=64), st.data())
def test_any_mutation_parses_or_raises_frame_error(
    headers: FrameHeaders, payload: bytes, data: st.DataObject
) -> None:
    frame = bytearray(build(headers, payload))
    for _ in range(data.draw(st.integers(0, 8))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(frame)))
    try:
        facts = parse(memoryview(frame)[:cut])
    except FrameError:
        return
    assert len(facts.payload) <= max(0, cut - ENCAPSULATION_BYTES)
    assert 0 <= facts.hops <= 64


@given(st.binary(max_size=300))
def test_rubbish_raises_only_frame_error(data: bytes) -> None:
    with contextlib.suppress(FrameError):
        parse(data)


@pytest.mark.parametrize(("offset", "value"), [
    (12, b"\x08\x00"),  # IPv4
    (14, b"\x40"),  # outer version 4
    (20, b"\x2b"),  # routing header instead of IPv6
    (21, b"\x41"),  # outer hop limit 65
    (54, b"\x40"),  # inner version 4
    (60, b"\x06"),  # TCP
    (96, b"\x12\xb8"),  # next port
    (98, b"\x00\x07"),  # UDP length below its header
])
def test_each_wrong_field_is_refused(offset: int, value: bytes) -> None:
    frame = build(EXAMPLE, bytes(32))
    parse(frame)
    with pytest.raises(FrameError):
        parse(patched(frame, offset, value))


def test_one_byte_less_than_the_headers_is_refused() -> None:
    frame = build(EXAMPLE, b"")
    assert parse(frame).payload == b""
    with pytest.raises(FrameError, match="101 bytes"):
        parse(frame[:-1])


def test_trimmed_frame_with_old_lengths_is_accepted() -> None:
    frame = patched(build(EXAMPLE, bytes(4136)), 14, (0x6 << 28 | 12 << 22).to_bytes(4, "big"))
    facts = parse(frame[:TRIMMED_FRAME_BYTES])
    assert facts.is_trimmed
    assert facts.is_truncated
    assert len(facts.payload) == TRIMMED_FRAME_BYTES - ENCAPSULATION_BYTES


def test_ethernet_padding_is_not_payload() -> None:
    assert parse(build(EXAMPLE, b"ab") + bytes(20)).payload == b"ab"


@pytest.mark.parametrize("offset", [14, 54])
def test_ce_on_either_header_counts(offset: int) -> None:
    frame = build(EXAMPLE, b"")
    marked = int.from_bytes(frame[offset:offset + 4], "big") | 3 << 20
    assert parse(patched(frame, offset, marked.to_bytes(4, "big"))).is_ce
    assert not parse(frame).is_ce


def test_top_of_the_flow_label_is_not_part_of_the_ev() -> None:
    frame = build(EXAMPLE, b"")
    assert parse(patched(frame, 55, bytes([frame[55] | 0x0F]))).ev == EXAMPLE.ev


def test_payload_that_no_length_field_holds_is_refused() -> None:
    EXAMPLE.pack(MAX_PAYLOAD_BYTES)
    for payload_bytes in (-1, MAX_PAYLOAD_BYTES + 1):
        with pytest.raises(FrameError, match="does not fit"):
            EXAMPLE.pack(payload_bytes)


def test_field_out_of_range_is_refused() -> None:
    headers = FrameHeaders(bytes(6), bytes(6), PATH, HERE, THERE, ev=2**33, dscp=0)
    with pytest.raises(FrameError, match="does not fit"):
        headers.pack(0)
