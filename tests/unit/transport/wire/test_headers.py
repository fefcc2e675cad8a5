"""Each header against the hand-made vectors, its size in the tables, and hostile input."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.transport.wire.rig import PACKETS, load_vectors, reference_headers

from testbed.transport.mrc.wire import headers as h
from testbed.transport.mrc.wire.errors import DecodeError, EncodeError
from testbed.transport.mrc.wire.packets import Packet, Sack

# Bytes by table 2.13's sections of the facts sheet.
SIZES = {h.BTH: 12, h.METH: 4, h.TSETH: 4, h.RETH: 16, h.ImmDt: 4, h.AETH: 4, h.SETH: 28,
         h.CCState: 8, h.NETH: 20, h.PETH: 16, h.ERTH: 16, h.EETH: 36}
LAYERS = [
    (f"{vector.name}: {name}", getattr(h, name), data)
    for vector in load_vectors()
    for name, data in vector.layers.items()
    if hasattr(h, name)
]


@pytest.mark.parametrize(("header", "size"), SIZES.items(), ids=lambda item: str(item))
def test_sizes_are_those_of_the_tables(header: type[h.Header], size: int) -> None:
    assert header.size_bytes() == size


@pytest.mark.parametrize(
    ("header", "data"), [layer[1:] for layer in LAYERS], ids=[layer[0] for layer in LAYERS]
)
def test_vectors_unpack_and_pack_to_themselves(header: type[h.Header], data: bytes) -> None:
    assert header.unpack(data).pack() == data
    assert header.unpack(b"\xff" * 3 + data, 3) == header.unpack(memoryview(data))


def test_every_header_is_in_the_vectors() -> None:
    assert {header for _, header, _ in LAYERS} == set(SIZES)


def test_bth_field_by_field() -> None:
    """0x90 at byte 8 is a and ts, 0xa0 at byte 1 is se and two bytes of padding."""
    bth = h.BTH.unpack(bytes.fromhex("c9a0ffff0000012390fffffe"))
    assert bth == h.BTH(0xC9, 0x123, 0xFFFFFE, se=True, pad=2, a=True, ts=True)
    assert h.BTH.unpack(bytes.fromhex("c740ffffab00012320000001")) == h.BTH(
        0xC7, 0x123, 1, m=True, var_res=0xAB, rtx=True
    )


def test_sack_field_by_field() -> None:
    """Vector 2 of appendix A, and one with negative numbers."""
    seth = h.SETH.unpack(bytes.fromhex(
        "0020 0005 12345678 0123 0456 00 000064 00 08 0001 000000000000001a"
    ))  # fmt: skip
    assert (seth.m, seth.pr, seth.ack_psn_offset, seth.entropy) == (1, False, 5, 0x12345678)
    assert (seth.cack_psn, seth.mpr, seth.sack_offset, seth.sack_bitmap) == (100, 8, 1, 26)
    seth = h.SETH.unpack(bytes.fromhex(
        "0002 fffe 12345678 0123 0456 00 000064 00 08 fffd 8000000000000001"
    ))  # fmt: skip
    assert (seth.pr, seth.ack_psn_offset, seth.probe_id) == (True, -2, 0xFFFE)
    assert (seth.sack_offset, seth.sack_bitmap >> 63) == (-3, 1)


def test_time_stamps_know_their_resolution() -> None:
    assert h.TSETH.unpack(bytes.fromhex("beef8001")) == h.TSETH(0xBEEF, tsr=True)
    assert h.TSETH(0xBEEF, tsr=True).pack().hex() == "beef8001"


def test_reserved_bits_are_ignored_and_sent_as_zero() -> None:
    assert h.TSETH.unpack(bytes.fromhex("beef7ff1")).pack().hex() == "beef0001"
    assert h.EETH.unpack(b"\xff" * 36).pack().hex() == "ff8c" + "00" * 26 + "ffff" + "00" * 6


@given(PACKETS)
def test_what_is_packed_is_what_is_unpacked(packet: Packet) -> None:
    for header in reference_headers(packet):
        assert type(header).unpack(header.pack()) == header
        if isinstance(packet, Sack) and isinstance(header, h.SETH) and not packet.pr:
            assert header.ack_psn_offset == packet.ack_psn_offset


@given(st.sampled_from(list(SIZES)), st.binary(max_size=40), st.integers(-5, 45))
def test_any_bytes_are_read_or_too_short(
    header: type[h.Header], data: bytes, offset: int
) -> None:
    if 0 <= offset <= len(data) - header.size_bytes():
        again = header.unpack(header.unpack(data, offset).pack())
        assert again == header.unpack(data, offset)
    else:
        with pytest.raises(DecodeError, match=rf"{header.__name__} needs"):
            header.unpack(data, offset)


@pytest.mark.parametrize(
    ("header", "complaint"),
    [
        (h.BTH(0x100, 0, 0), r"BTH.opcode = 256 does not fit its 8 bits: use 0 to 255"),
        (h.BTH(0xCA, 0, 1 << 24), "BTH.psn"),
        (h.BTH(0xCA, -1, 0), "BTH.dqp = -1"),
        (h.RETH(1 << 64, 0, 0), "RETH.va"),
        (h.SETH(0, False, 0, 0, 0, 0, 0, 0, -32769, 0), "use -32768 to 32767"),
        (h.CCState(0, 0x8000, False, 0, 0), "CCState.ooo_count"),
    ],
)
def test_what_does_not_fit_is_refused(header: h.Header, complaint: str) -> None:
    with pytest.raises(EncodeError, match=complaint):
        header.pack()
