"""The send window: what a SACK acknowledges, what is lost, against a plain set."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.transport.mrc.reliability.outstanding import (
    ACKED,
    IN_FLIGHT,
    LOST,
    Packet,
    SendWindow,
)

ANY: Any = None


def window_of(first: int, count: int) -> SendWindow:
    window = SendWindow(first)
    for psn in range(first, first + count):
        window.add(Packet(psn, ANY, 0, 0, 100, ANY))
    return window


def psns(packets: list[Packet]) -> list[int]:
    return [packet.psn for packet in packets]


def take(window: SendWindow, *sack: Any) -> list[int]:
    newly = window.acknowledge(*sack)
    for packet in newly:
        packet.state = ACKED
    assert all(packet.state == ACKED for packet in newly)
    return psns(newly)


def test_cumulative_and_selective_acknowledgements() -> None:
    window = window_of(100, 10)
    assert take(window, 101, 102, 0b1010) == [100, 101, 103, 105]
    assert (window.first_psn, window.next_psn, window.in_flight_count) == (102, 110, 6)
    assert list(window.packets) == [102, 104, 106, 107, 108, 109]
    assert take(window, 101, 102, 0b1010) == []
    assert take(window, 106, 107, 0) == [102, 104, 106]
    assert window.oldest is window.packets[107]


def test_the_bitmap_may_begin_below_and_far_above_the_edge() -> None:
    window = window_of(100, 10)
    assert take(window, 103, 98, 0b111_0000_0000) == [100, 101, 102, 103, 106, 107, 108]
    window = window_of(100, 200)
    assert take(window, 99, 200, 0b11) == [200, 201]


def test_an_old_sack_moves_no_edge_back_but_its_bitmap_counts() -> None:
    window = window_of(100, 10)
    take(window, 104, 105, 0)
    assert take(window, 101, 102, 0b10_0111) == [107]
    assert window.first_psn == 105


def test_the_trigger_is_acknowledged_where_the_bitmap_does_not_reach() -> None:
    window = window_of(100, 200)
    assert take(window, 99, 100, 0, 250) == [250]
    assert take(window, 99, 100, 0b10, 260) == [101, 260]
    assert take(window, 99, 100, 0, 99) == []


def test_psns_never_sent_are_ignored() -> None:
    window = window_of(100, 3)
    assert take(window, 100, 101, (1 << 64) - 1, 103) == [100, 101, 102]
    assert take(window, 200, 201, 0) == []
    assert (window.first_psn, window.in_flight_count) == (101, 0)


def test_lost_packets_come_back_lowest_first_unless_they_are_found() -> None:
    window = window_of(100, 6)
    for psn in (104, 101, 102):
        window.lose(window.packets[psn])
    assert window.in_flight_count == 3
    found = window.acknowledge(99, 100, 0b10)
    assert [packet.state for packet in found] == [LOST]
    for packet in found:
        packet.state = ACKED
    assert window.in_flight_count == 3
    packet = window.next_lost()
    assert packet is window.packets[102]
    window.resend(packet)
    assert (packet.state, window.in_flight_count) == (IN_FLIGHT, 4)
    assert window.next_lost() is window.packets[104]
    window.resend(window.packets[104])
    assert window.next_lost() is None


def test_a_packet_may_be_lost_again() -> None:
    window = window_of(100, 2)
    for _ in range(3):
        window.lose(window.packets[100])
        packet = window.next_lost()
        assert packet is not None
        window.resend(packet)
    assert (window.next_lost(), window.in_flight_count) == (None, 2)


SACKS = st.tuples(st.integers(-8, 130), st.integers(-70, 130), st.integers(0, (1 << 64) - 1),
                  st.none() | st.integers(-5, 130), st.booleans())  # fmt: skip


@settings(deadline=None, max_examples=200)
@given(st.sampled_from([0, 50, 1 << 24]), st.lists(SACKS, max_size=12))
def test_the_window_agrees_with_a_set(first: int, sacks: list[Any]) -> None:
    window, left, edge = window_of(first, 120), set(range(120)), 0
    for cack, base, bitmap, ack, loses in sacks:
        covered = {base + i for i in range(64) if bitmap >> i & 1}
        if cack < 120:
            covered |= set(range(cack + 1))
            edge = max(edge, cack + 1)
        if ack is not None:
            covered.add(ack)
        expected = left & covered
        newly = take(window, first + cack, first + base, bitmap,
                     None if ack is None else first + ack)  # fmt: skip
        assert {psn - first for psn in newly} == expected
        assert len(newly) == len(expected)
        left -= expected
        assert list(window.packets) == [first + psn for psn in sorted(left)]
        assert window.first_psn == first + edge
        if loses and window.oldest is not None and window.oldest.state == IN_FLIGHT:
            window.lose(window.oldest)
        states = [packet.state for packet in window.packets.values()]
        assert window.in_flight_count == states.count(IN_FLIGHT)
