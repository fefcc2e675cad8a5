"""What arrives, written once: marks, cuts and flipped bits in any combination."""

from __future__ import annotations

import pytest
from sim.sim_fakes import TINY, make_datagram

from testbed.sim.frame import IS_CONTROL, IS_TRIMMABLE, Frame, Route, flow_of, is_srv6

A, B = (host.address for host in TINY.hosts[:2])
WAY = bytes(range(33))
ROUTE = Route((), (WAY,), "")


def make_frame(size: int = 4238, **fields: int) -> Frame:
    datagram = make_datagram(A, B, A, 0x0102_0304, size=size, **fields)
    return Frame(datagram, size, False, datagram[0] << 4 & 255 | datagram[1] >> 4, ROUTE)


def test_an_untouched_frame_changes_its_way_only() -> None:
    frame = make_frame()
    assert frame.written(WAY) == frame.data[:7] + WAY + frame.data[40:]


def test_a_mark_is_on_the_outer_header_only() -> None:
    frame = make_frame(ecn=1)
    plain = frame.written(WAY)
    frame.mark()
    marked = frame.written(WAY)
    assert marked[1] == plain[1] | 0x30
    assert marked[:1] + marked[2:] == plain[:1] + plain[2:]


def test_a_cut_keeps_ecn_mark_and_flow_label() -> None:
    frame = make_frame(ecn=2)
    frame.mark()
    frame.trim(16)
    cut = frame.written(WAY)
    assert (len(cut), frame.size, frame.is_control) == (108, 122, True)
    assert int.from_bytes(cut[:4], "big") == 6 << 28 | 16 << 22 | 3 << 20 | 0x0304
    assert int.from_bytes(cut[40:44], "big") == 6 << 28 | 16 << 22 | 2 << 20 | 0x0304
    assert cut[4:6] == (68).to_bytes(2, "big")
    assert cut[44:46] == cut[84:86] == (28).to_bytes(2, "big")
    assert cut[86:] == frame.data[86:108]
    assert not frame.is_trimmable


@pytest.mark.parametrize("random32", [0, 1 << 31, (1 << 32) - 1])
def test_a_flip_is_beyond_what_a_cut_keeps(random32: int) -> None:
    frame = make_frame(200)
    plain = frame.written(WAY)
    frame.flip(random32)
    damaged = frame.written(WAY)
    changed = [i for i in range(186) if plain[i] != damaged[i]]
    assert len(changed) == 1
    assert 108 <= changed[0] < 186
    frame.trim(12)
    assert frame.written(WAY)[86:] == plain[86:108]


def test_a_bit_flipped_twice_is_whole_again() -> None:
    frame = make_frame()
    plain = frame.written(WAY)
    frame.flip(77)
    frame.flip(77)
    assert frame.written(WAY) == plain


def test_classes() -> None:
    assert {tc >> 2 for tc in range(256) if IS_CONTROL[tc]} == {46, 12, 16}
    assert {tc >> 2 for tc in range(256) if IS_TRIMMABLE[tc]} == {4, 8}
    assert make_frame(123).is_trimmable
    assert not make_frame(122).is_trimmable


def test_the_flow_of_a_datagram() -> None:
    frame = make_frame()
    assert flow_of(frame.data) == (A.packed + B.packed, bytes.fromhex("01020304"))
    other = bytearray(frame.data)
    other[46] = 6
    assert flow_of(bytes(other)) is None


def test_srv6_has_all_its_headers() -> None:
    datagram = make_frame(102).data
    assert is_srv6(datagram)
    assert not is_srv6(datagram[:-1])
    assert not is_srv6(datagram[:6] + b"\x11" + datagram[7:])
