"""The responder's window: verdicts, the edge, and SACK bitmaps, against a plain set."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.transport.mrc.reliability.received import ReceiveWindow, Verdict

RANGE = 128
WRAP = 1 << 24
STARTS = st.sampled_from([0, 1, 1_000, WRAP - 70, WRAP - 1, 5 * WRAP - 3])
ARRIVALS = st.lists(st.integers(-20, 200), max_size=150)


def window_with(psns: list[int], next_psn: int = 100, range_psns: int = 1024) -> ReceiveWindow:
    window = ReceiveWindow(next_psn, range_psns)
    for psn in psns:
        window.accept(psn)
    return window


# --- Verdicts ------------------------------------------------------------------------


@pytest.mark.parametrize("start", [100, WRAP - 3, 7 * WRAP + 5])
def test_each_place_of_a_psn_has_its_verdict(start: int) -> None:
    window = window_with([start, start + 2], start, RANGE)
    edge = start + 1  # the PSN expected
    for psn, verdict in [
        (edge, Verdict.NEW),
        (edge + 1, Verdict.DUPLICATE_ABOVE),
        (edge + 2, Verdict.NEW),
        (edge + RANGE - 1, Verdict.NEW),  # cack + range itself is still admitted
        (edge + RANGE, Verdict.BEYOND),
        (edge + (1 << 23) - 1, Verdict.BEYOND),
        (edge - 1, Verdict.DUPLICATE_BELOW),
        (edge - (1 << 23) + 1, Verdict.DUPLICATE_BELOW),
    ]:
        assert window.classify(psn % WRAP) == (verdict, psn)
    assert window.classify((edge + (1 << 23)) % WRAP)[0] is Verdict.FAR


@settings(deadline=None)
@given(STARTS, ARRIVALS)
def test_the_window_agrees_with_a_set(start: int, arrivals: list[int]) -> None:
    window = ReceiveWindow(start, RANGE)
    received: set[int] = set()
    cack, out_of_order = start - 1, 0
    for offset in arrivals:
        psn = start + offset
        verdict, unwrapped = window.classify(psn % WRAP)
        assert unwrapped == psn
        if psn <= cack:
            assert verdict is Verdict.DUPLICATE_BELOW
        elif psn > cack + RANGE:
            assert verdict is Verdict.BEYOND
        elif psn in received:
            assert verdict is Verdict.DUPLICATE_ABOVE
        else:
            assert verdict is Verdict.NEW
            received.add(psn)
            out_of_order += psn != cack + 1
            before = cack
            while cack + 1 in received:
                cack += 1
            assert window.accept(psn) == (cack > before)
        assert (window.cack, window.ooo_count) == (cack, out_of_order)
        assert window.max_received == max(received, default=start - 1)
        for other in range(start - 3, start + 205):
            assert window.is_received(other) == (other <= cack or other in received)


@pytest.mark.parametrize("psn", [99, 100, 102, 100 + 1 + RANGE])
def test_only_a_new_psn_is_accepted(psn: int) -> None:
    window = window_with([100, 102], 100, RANGE)
    with pytest.raises(ValueError, match=f"PSN {psn} is not new"):
        window.accept(psn)
    assert (window.cack, window.max_received, window.ooo_count) == (100, 102, 1)
    assert window.report() == (1, 0b10)


def test_out_of_order_packets_are_counted_up_to_fifteen_bits() -> None:
    window = ReceiveWindow(0, 40_000)
    for psn in range(1, 33_000):
        window.accept(psn)
    assert window.ooo_count == 0x7FFF
    assert window.accept(0)
    assert window.cack == 32_999


@pytest.mark.parametrize("range_psns", [0, -1, 1 << 23])
def test_a_range_that_cannot_be_tracked_is_refused(range_psns: int) -> None:
    with pytest.raises(ValueError, match=f"range of {range_psns} "):
        ReceiveWindow(0, range_psns)


# --- What a SACK reports -------------------------------------------------------------


def test_the_example_of_the_facts_sheet() -> None:
    window = window_with([6, 8], next_psn=5)
    assert window.cack == 4
    assert window.report() == (1, 0xA)


def test_nothing_above_the_edge_is_an_empty_bitmap_at_the_edge() -> None:
    assert window_with([]).report() == (1, 0)
    assert window_with([100, 101]).report() == (1, 0)


def test_the_newest_psn_is_in_bit_63_where_it_does_not_fit() -> None:
    window = window_with([101, 163])
    assert window.report() == (1, 1 << 63 | 2)  # 100 .. 163
    window.accept(164)
    assert window.report() == (1, 1 << 63 | 2)  # 100 .. 163, then
    assert window.report() == (2, 1 << 63 | 1 << 62 | 1)  # 101 .. 164, the newest
    assert window.report() == (1, 1 << 63 | 2)  # and over again


def test_reports_move_on_and_start_over() -> None:
    window = window_with([101, 170, 250, 299])
    assert [window.report()[0] for _ in range(8)] == [1, 65, 129, 137, 1, 65, 129, 137]


def test_a_report_never_begins_below_the_edge() -> None:
    window = window_with([101, 200])
    assert window.report()[0] == 1
    for psn in [100, *range(102, 190)]:
        window.accept(psn)
    assert window.cack == 189
    assert window.report() == (1, 1 << 200 - 190)


@settings(deadline=None)
@given(STARTS, st.lists(st.tuples(st.integers(0, 300), st.booleans()), max_size=120))
def test_every_report_is_true_and_a_round_of_them_is_complete(
    start: int, steps: list[tuple[int, bool]]
) -> None:
    window = ReceiveWindow(start, 1024)

    def bits() -> dict[int, bool]:
        offset, bitmap = window.report()
        assert offset >= 1
        assert 0 <= bitmap < 1 << 64
        base = window.cack + offset
        assert base <= max(window.max_received, window.cack + 1)
        return {base + bit: bool(bitmap >> bit & 1) for bit in range(64)}

    for offset, reports in steps:
        if not window.is_received(start + offset):
            window.accept(start + offset)
        if reports:
            for psn, is_set in bits().items():
                assert is_set == window.is_received(psn)
    told: dict[int, bool] = {}
    for _ in range(2 * (300 // 64 + 2)):  # a round begun and a whole one
        told |= bits()
    for psn in range(window.cack + 1, window.max_received + 1):
        assert told[psn] == window.is_received(psn)


def test_memory_is_bounded_by_the_range() -> None:
    window = ReceiveWindow(0, RANGE)
    for first in range(0, 100_000, RANGE):
        for psn in range(first + RANGE - 1, first - 1, -1):
            window.accept(psn)
            assert window._bitmap.bit_length() <= RANGE
    assert window._bitmap == 0
