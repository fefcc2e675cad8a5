"""NSCC: every procedure against numbers from the formulas, the books, and a closed loop."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.transport.mrc.cc_config import QA_THRESHOLD_OFF_NS, CcConfig
from testbed.transport.mrc.congestion import CongestionControl, NoCongestionControl, SchedulerState
from testbed.transport.mrc.nscc import Nscc

SPEED_BPS = 100 * 10**9
RTT_NS = 12_000
MTU = 4096
BDP = 150_000
TARGET_NS = 9_000
MAX_CWND = 225_000
ALPHA = 4 * 4096 / 12_000  # bytes per ns, scaling_a 1 and target_delay cancelled
CONFIG = CcConfig.defaults(SPEED_BPS, RTT_NS, MTU)


def nscc(**changes: Any) -> Nscc:
    """A window past its first adjustments: quick adapt's period runs until 21 us."""
    cc = Nscc(replace(CONFIG, **changes), is_late_marked=False)
    cc.qa_end_ns = 21_000
    return cc


def sack(
    cc: CongestionControl,
    newly: int,
    delay_ns: int | None,
    marked: bool = False,
    now: int = 1_000,
    penalty: int = 0,
    restore: bool = False,
) -> None:
    """A SACK for so many more bytes, a multiple of 256, that met this delay."""
    rcvd = cc.last_rcvd + newly // 256 & 0xFFFFFF
    rtt_ns = None if delay_ns is None else RTT_NS + delay_ns
    cc.on_sack(now, rcvd, marked, rtt_ns, penalty, restore, newly // MTU)


# --- Configuration (6.1) -------------------------------------------------------------


def test_defaults_are_those_of_the_table() -> None:
    assert CONFIG.max_cwnd == MAX_CWND
    assert CONFIG.target_delay == TARGET_NS
    assert CONFIG.alpha == pytest.approx(1.365, abs=0.001)
    assert CONFIG.fi == 20_480
    assert CONFIG.fi_scale == 0.25
    assert CONFIG.eta == pytest.approx(614.4)
    assert CONFIG.adjust_bytes_threshold == 32_768
    assert CONFIG.adjust_period_threshold == RTT_NS
    assert (CONFIG.gamma, CONFIG.max_md_jump, CONFIG.qa_gate) == (0.8, 0.5, 3)
    assert CONFIG.qa_threshold == QA_THRESHOLD_OFF_NS
    assert not CONFIG.disable_qa


def test_without_trimming_the_target_is_a_whole_rtt_and_delay_arms_quick_adapt() -> None:
    config = CcConfig.defaults(SPEED_BPS, RTT_NS, MTU, trimming=False)
    assert config.target_delay == RTT_NS
    assert config.qa_threshold == 3 * RTT_NS


def test_defaults_scale_with_speed_and_rtt() -> None:
    config = CcConfig.defaults(8 * SPEED_BPS, RTT_NS // 2, MTU)
    assert config.max_cwnd == 4 * MAX_CWND
    assert config.fi == 4 * 20_480
    assert config.alpha == pytest.approx(4 * ALPHA)


def test_a_path_shorter_than_a_packet_leaves_a_window_of_one() -> None:
    assert CcConfig.defaults(10**9, 1_000, MTU).max_cwnd == MTU


def test_every_fault_of_a_config_is_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"gamma is 1\.5") as raised:
        replace(CONFIG, gamma=1.5, max_cwnd=4095, eta=math.nan)
    assert len(str(raised.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("adjust_bytes_threshold", -1),
        ("adjust_period_threshold", -1),
        ("base_rtt", 0),
        ("eta", -0.1),
        ("fi", math.inf),
        ("fi_scale", -1.0),
        ("gamma", -0.1),
        ("max_md_jump", 1.1),
        ("qa_gate", 64),
        ("qa_threshold", -1),
        ("target_delay", 0),
        ("speed_bps", 0),
        ("mtu_bytes", 0),
    ],
)
def test_values_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"^{name} is {value} "):
        replace(CONFIG, **{name: value})


# --- Sending and the scheduler (6.4, Figure 4) ---------------------------------------


def test_a_window_below_a_packet_still_lets_one_out() -> None:
    cc = nscc()
    cc.cwnd = 100.0
    assert cc.can_send()
    cc.on_queued(MTU)
    cc.on_sent(MTU, is_rtx=False)
    assert not cc.can_send()


def test_ack_is_wanted_when_less_than_a_packet_fits() -> None:
    cc = nscc()
    cc.cwnd = 40_960.0
    wanted = []
    for _ in range(10):
        cc.on_queued(MTU)
        wanted.append(cc.on_sent(MTU, is_rtx=False))
    assert wanted == [False] * 9 + [True]


def test_ack_is_always_wanted_when_the_window_is_below_the_sack_threshold() -> None:
    cc = nscc()
    cc.cwnd = 16_383.0
    cc.on_queued(100)
    assert cc.on_sent(100, is_rtx=False)
    cc.cwnd = 16_384.0
    cc.on_queued(100)
    assert not cc.on_sent(100, is_rtx=False)


@pytest.mark.parametrize("cc", [nscc(), NoCongestionControl(RTT_NS, MTU, MAX_CWND)])
def test_scheduler_states(cc: CongestionControl) -> None:
    cc.cwnd = float(MTU)
    assert cc.state is SchedulerState.IDLE
    cc.on_queued(2 * MTU)
    assert cc.state is SchedulerState.READY
    cc.on_sent(MTU, is_rtx=False)
    assert cc.state is SchedulerState.ACTIVE
    sack(cc, MTU, None)
    assert cc.state is SchedulerState.READY
    cc.on_sent(MTU, is_rtx=False)
    assert cc.state is SchedulerState.PENDING
    cc.on_loss(MTU)
    assert cc.state is SchedulerState.READY
    cc.on_sent(MTU, is_rtx=True)
    sack(cc, MTU, None)
    assert cc.state is SchedulerState.IDLE


# --- From a SACK to its arguments (6.3) ----------------------------------------------


def test_bytes_received_are_counted_over_the_wrap_and_old_sacks_ignored() -> None:
    cc = nscc()
    cc.inflight = 100_000
    cc.last_rcvd = 0xFFFFF0
    cc.on_sack(1_000, 0x000010, False, None, 0, False, 2)
    assert (cc.inflight, cc.last_rcvd, cc.received_bytes) == (100_000 - 8_192, 0x10, 8_192)
    cc.on_sack(1_001, 0x00000F, False, None, 0, False, 0)
    assert (cc.inflight, cc.last_rcvd, cc.received_bytes) == (100_000 - 8_192, 0x10, 8_192)


# --- Quadrants (Table 8-1) and increases (6.5) ---------------------------------------


def test_not_marked_and_early_grows_in_proportion_to_the_distance() -> None:
    cc = nscc()
    cc.cwnd, cc.last_adjust_ns = 100_000.0, 1_000
    sack(cc, 8_192, 3_000)
    assert cc.inc_bytes == pytest.approx(ALPHA * 8_192 * 6_000)
    assert cc.cwnd == 100_000


def test_not_marked_and_late_grows_alike_for_all() -> None:
    cc = nscc()
    cc.cwnd, cc.last_adjust_ns = 100_000.0, 1_000
    sack(cc, 8_192, TARGET_NS)
    assert cc.inc_bytes == 20_480 * 8_192


def test_marked_and_early_does_nothing() -> None:
    cc = nscc()
    cc.cwnd, cc.last_adjust_ns, cc.avg_delay_ns = 100_000.0, 1_000, 20_000.0
    sack(cc, 8_192, TARGET_NS - 1, marked=True)
    assert (cc.cwnd, cc.inc_bytes) == (100_000, 0)


def test_marked_and_late_shrinks_by_the_excess_once_an_rtt() -> None:
    cc = nscc()
    cc.cwnd, cc.last_adjust_ns, cc.avg_delay_ns = 100_000.0, 20_000, 12_000.0
    cc.fi_count, cc.increase = 5, True
    sack(cc, 256, 12_000, marked=True, now=20_000)
    assert cc.cwnd == pytest.approx(100_000 * (1 - 0.8 * 3_000 / 12_000))  # 80,000
    assert (cc.fi_count, cc.increase, cc.last_dec_ns) == (0, False, 20_000)
    cc.qa_end_ns, cc.last_adjust_ns = 99_000, 32_000
    sack(cc, 256, 12_000, marked=True, now=32_000)
    assert cc.cwnd == pytest.approx(80_000)
    sack(cc, 256, 12_000, marked=True, now=32_001)
    assert cc.cwnd == pytest.approx(64_000)


def test_where_the_last_hop_never_marks_late_counts_as_marked() -> None:
    cc = Nscc(CONFIG)
    cc.cwnd, cc.last_adjust_ns, cc.avg_delay_ns = 100_000.0, 1_000, 12_000.0
    sack(cc, 256, 12_000, now=20_000)
    assert cc.cwnd < 100_000
    early = Nscc(CONFIG)
    early.cwnd, early.last_adjust_ns = 100_000.0, 1_000
    sack(early, 8_192, TARGET_NS - 1)
    assert early.inc_bytes > 0


def test_one_decrease_never_goes_below_max_md_jump_nor_a_packet() -> None:
    cc = nscc(max_md_jump=0.7)
    cc.cwnd, cc.last_adjust_ns, cc.avg_delay_ns = 100_000.0, 20_000, 90_000.0
    sack(cc, 256, 90_000, marked=True, now=20_000)
    assert cc.cwnd == pytest.approx(70_000)
    cc.cwnd, cc.last_dec_ns = 4_100.0, 0
    sack(cc, 256, 90_000, marked=True, now=20_000)
    assert cc.cwnd == MTU


def test_no_decrease_while_the_average_is_below_target() -> None:
    cc = nscc()
    cc.cwnd, cc.last_adjust_ns, cc.avg_delay_ns = 100_000.0, 20_000, 5_000.0
    sack(cc, 256, 30_000, marked=True, now=20_000)
    assert cc.cwnd == 100_000
    assert cc.last_dec_ns == 0


def test_fast_increase_starts_after_a_window_without_delay_and_stops_at_the_first() -> None:
    cc = nscc(adjust_bytes_threshold=10**9, adjust_period_threshold=10**9)
    cc.cwnd = 20_480.0
    for _ in range(5):  # 20,480 bytes are not more than the window yet
        sack(cc, 4_096, 127)
    assert (cc.cwnd, cc.fi_count, cc.increase) == (20_480, 20_480, False)
    collected = cc.inc_bytes
    assert collected == pytest.approx(5 * ALPHA * 4_096 * (TARGET_NS - 127))
    sack(cc, 4_096, 0)
    assert (cc.cwnd, cc.increase, cc.inc_bytes) == (20_480 + 1_024, True, collected)
    sack(cc, 4_096, 0)
    assert cc.cwnd == 20_480 + 2_048
    sack(cc, 4_096, 128)
    assert (cc.cwnd, cc.fi_count, cc.increase) == (20_480 + 2_048, 0, False)
    assert cc.inc_bytes > collected


def test_fast_increase_ends_at_the_largest_window() -> None:
    cc = nscc()
    cc.cwnd, cc.increase = 224_000.0, True
    sack(cc, 8_192, 0)
    assert cc.cwnd == MAX_CWND


def test_what_counts_as_no_delay_is_the_drivers_choice() -> None:
    cc = Nscc(CONFIG, zero_delay_ns=1_000)
    cc.qa_end_ns = 99_000
    sack(cc, 4_096, 999)
    assert cc.fi_count == 4_096
    sack(cc, 4_096, 1_000)
    assert cc.fi_count == 0


def test_fulfil_divides_by_the_window_and_adds_eta_once_a_period() -> None:
    cc = nscc()
    cc.cwnd, cc.last_adjust_ns = 100_000.0, 8_000
    sack(cc, 32_768, TARGET_NS, now=19_999)  # neither the period nor more than 8 packets
    assert (cc.cwnd, cc.received_bytes) == (100_000, 32_768)
    sack(cc, 256, TARGET_NS, now=19_999)  # more than 8 packets: no eta
    grown = 100_000 + 20_480 * 33_024 / 100_000
    assert cc.cwnd == pytest.approx(grown)
    assert (cc.inc_bytes, cc.received_bytes, cc.last_adjust_ns) == (0, 0, 8_000)
    sack(cc, 256, TARGET_NS, now=20_000)  # the period: eta
    grown += 20_480 * 256 / grown + 614.4
    assert cc.cwnd == pytest.approx(grown)
    assert cc.last_adjust_ns == 20_000


def test_fulfil_ends_at_the_largest_window() -> None:
    cc = nscc()
    sack(cc, 65_536, TARGET_NS, now=20_000)
    assert cc.cwnd == MAX_CWND


def test_without_a_sample_only_the_books_move() -> None:
    for rtt_ns in (None, 0, -5):
        cc = nscc()
        cc.cwnd, cc.inflight = 100_000.0, 65_536
        cc.on_sack(50_000, 256, True, rtt_ns, 0, False, 16)
        assert (cc.cwnd, cc.inflight, cc.base_rtt_ns) == (100_000, 0, RTT_NS)
        assert (cc.inc_bytes, cc.avg_delay_ns, cc.qa_end_ns) == (0, 0, 21_000)


# --- Delay (6.4 step 5, 6.5) ---------------------------------------------------------


def test_a_smaller_rtt_is_learned_and_the_largest_window_follows() -> None:
    cc = nscc()
    cc.on_sack(1_000, 0, False, 8_000, 0, False, 0)
    assert cc.base_rtt_ns == 8_000
    assert cc.max_cwnd == cc.cwnd == 150_000
    assert cc.config.target_delay == TARGET_NS
    cc.on_nack(1_001, MTU, False, 6_000)
    assert (cc.base_rtt_ns, cc.max_cwnd) == (6_000, 112_500)
    cc.on_nack(1_002, MTU, False, 7_000)
    cc.on_sack(1_003, 0, False, 7_000, 0, False, 0)
    assert (cc.base_rtt_ns, cc.max_cwnd) == (6_000, 112_500)


def test_a_configured_smaller_window_does_not_grow_by_learning() -> None:
    cc = nscc(max_cwnd=50_000)
    cc.on_sack(1_000, 0, False, 11_000, 0, False, 0)
    assert cc.max_cwnd == 50_000


def test_average_delay_takes_a_quarter_rtt_for_late_unmarked_samples() -> None:
    cc = nscc()
    cc.avg_delay_ns = 8_000.0
    sack(cc, 0, 10_000, marked=True)
    expected = 8_000 + 0.0125 * 2_000
    assert cc.avg_delay_ns == pytest.approx(expected)
    sack(cc, 0, 10_000)
    expected += 0.0125 * (3_000 - expected)
    assert cc.avg_delay_ns == pytest.approx(expected)
    sack(cc, 0, TARGET_NS)  # at the target is not above it
    expected += 0.0125 * (9_000 - expected)
    assert cc.avg_delay_ns == pytest.approx(expected)


# --- Losses and quick adapt (6.4, 6.5) -----------------------------------------------


def test_a_trim_takes_its_size_off_while_the_period_runs() -> None:
    cc = nscc()
    cc.inflight, cc.inflight_pkts = 40_960, 10
    cc.on_nack(1_000, MTU, True, None)
    assert cc.cwnd == MAX_CWND - MTU
    assert (cc.inflight, cc.inflight_pkts) == (36_864, 9)
    assert (cc.waiting_rtx, cc.rtx_backlog) == (1, MTU)
    assert (cc.trigger_qa, cc.bytes_ignored) == (True, MTU)
    assert cc.avg_delay_ns == pytest.approx(0.0125 * RTT_NS)


def test_other_nacks_and_losses_leave_quick_adapt_alone() -> None:
    cc = nscc()
    cc.inflight, cc.inflight_pkts = 40_960, 10
    cc.on_nack(30_000, MTU, False, None)
    assert cc.cwnd == MAX_CWND
    assert (cc.trigger_qa, cc.bytes_ignored, cc.qa_end_ns) == (False, 0, 21_000)
    cc.on_loss(MTU)
    assert cc.cwnd == MAX_CWND - MTU
    assert (cc.trigger_qa, cc.bytes_ignored, cc.qa_end_ns) == (False, MTU, 21_000)
    assert (cc.inflight, cc.inflight_pkts, cc.waiting_rtx, cc.rtx_backlog) == (32_768, 8, 2, 8_192)


def test_losses_leave_at_least_a_packet() -> None:
    cc = nscc()
    cc.cwnd = 5_000.0
    cc.on_loss(MTU)
    assert cc.cwnd == MTU
    cc.on_nack(1_000, MTU, True, None)
    assert cc.cwnd == MTU


def test_quick_adapt_takes_what_a_period_delivered() -> None:
    cc = nscc()
    cc.inflight, cc.trigger_qa = 200_192, True
    cc.inc_bytes, cc.received_bytes = 77.0, 77
    sack(cc, 8_192, 5_000, now=20_999)
    assert cc.cwnd > 200_000  # the period is not over
    cc.inc_bytes = 77.0
    sack(cc, 8_192, 5_000, now=21_000)
    assert cc.cwnd == 16_384
    assert (cc.bytes_to_ignore, cc.bytes_ignored) == (200_192 - 16_384, 0)
    assert (cc.trigger_qa, cc.achieved_bytes) == (False, 0)
    assert (cc.inc_bytes, cc.received_bytes) == (0, 0)
    assert cc.qa_end_ns == 21_000 + RTT_NS + TARGET_NS


def test_quick_adapt_then_ignores_marks_of_what_was_in_flight() -> None:
    cc = nscc()
    cc.cwnd, cc.avg_delay_ns, cc.last_adjust_ns = 16_384.0, 20_000.0, 20_000
    cc.bytes_to_ignore = 8_192
    sack(cc, 4_096, 20_000, marked=True, now=20_000)
    assert (cc.cwnd, cc.last_dec_ns) == (16_384, 0)
    sack(cc, 4_096, 20_000, marked=True, now=20_001)
    assert cc.last_dec_ns == 20_001


def test_quick_adapt_wants_little_delivered() -> None:
    cc = nscc()
    cc.trigger_qa, cc.achieved_bytes = True, (MAX_CWND >> 3)
    sack(cc, 0, 5_000, now=21_000)
    assert cc.cwnd == MAX_CWND
    assert cc.trigger_qa  # still armed for the period that begins
    cc.achieved_bytes = (MAX_CWND >> 3) - 1
    sack(cc, 0, 5_000, now=42_000)
    assert cc.cwnd == (MAX_CWND >> 3) - 1


def test_quick_adapt_is_not_for_the_first_period() -> None:
    cc = Nscc(CONFIG)
    cc.on_nack(5_000, MTU, True, None)
    assert cc.cwnd == MAX_CWND - MTU
    assert cc.qa_end_ns == 5_000 + RTT_NS + TARGET_NS
    cc.on_nack(26_000, MTU, True, None)
    assert cc.cwnd == MTU  # nothing was delivered in a whole period


def test_delay_arms_quick_adapt_without_trimming() -> None:
    cc = Nscc(CcConfig.defaults(SPEED_BPS, RTT_NS, MTU, trimming=False))
    cc.qa_end_ns = 21_000
    sack(cc, 8_192, 36_000, now=21_000)
    assert cc.cwnd == MAX_CWND
    sack(cc, 8_192, 36_001, now=cc.qa_end_ns)
    assert cc.cwnd == 8_192


def test_quick_adapt_can_be_switched_off() -> None:
    cc = nscc(disable_qa=True)
    cc.bytes_to_ignore = 10**6
    cc.on_nack(21_000, MTU, True, None)
    assert cc.cwnd == MAX_CWND - MTU
    assert cc.qa_end_ns == 21_000


# --- Penalty (6.6) -------------------------------------------------------------------


def one_rtt_under(penalty: int) -> float:
    """What is left of a window of 50 packets after the SACKs of one window, each refilled."""
    cc = nscc()
    cc.cwnd = float(MTU * 50)
    outstanding = 0
    while cc.can_send():
        cc.on_queued(MTU)
        cc.on_sent(MTU, is_rtx=False)
        outstanding += 1
    for _ in range(outstanding // 2):
        sack(cc, 2 * MTU, 100, penalty=penalty)
        while cc.can_send():
            cc.on_queued(MTU)
            cc.on_sent(MTU, is_rtx=False)
    return cc.cwnd / MTU


def test_a_penalty_of_64_for_an_rtt_halves_and_127_leaves_about_a_packet() -> None:
    assert one_rtt_under(64) == pytest.approx(25, abs=1)
    assert one_rtt_under(32) == pytest.approx(37.5, abs=1)
    assert one_rtt_under(127) <= 2


def test_penalty_saves_the_window_once_and_restore_brings_it_back() -> None:
    cc = nscc()
    cc.cwnd, cc.inflight = 100_000.0, 90_000
    sack(cc, 4_096, 100, penalty=64)
    assert cc.cwnd == 90_000 - 2_048
    sack(cc, 4_096, 100, penalty=64)
    assert (cc.saved_cwnd, cc.inc_bytes) == (100_000, 0)
    cc.last_adjust_ns = 1_000
    sack(cc, 0, 20_000)
    assert cc.saved_cwnd == 100_000  # neither penalty nor r_c: as it is
    sack(cc, 0, 20_000, restore=True)
    assert (cc.cwnd, cc.saved_cwnd) == (100_000, 0)
    sack(cc, 0, 20_000, restore=True)
    assert cc.cwnd == 100_000


def test_a_penalised_window_still_shrinks_but_does_not_grow() -> None:
    cc = nscc()
    cc.cwnd, cc.inflight, cc.last_adjust_ns = 100_000.0, 200_000, 20_000
    sack(cc, 256, 30_000, penalty=1, now=20_000)
    sack(cc, 256, 100, penalty=1, now=20_000)
    assert cc.inc_bytes == 0
    cc.avg_delay_ns = 12_000.0
    sack(cc, 0, 12_000, marked=True, penalty=1, now=20_000)
    assert cc.cwnd == pytest.approx((100_000 - 4) * 0.8)


# --- No congestion control -----------------------------------------------------------


def test_without_congestion_control_nothing_bounds_the_window() -> None:
    cc = NoCongestionControl(RTT_NS, MTU)
    for _ in range(1_000):
        cc.on_queued(MTU)
        assert cc.on_sent(MTU, is_rtx=False) is False
    assert cc.can_send()


def test_a_fixed_window_holds_whatever_happens() -> None:
    cc = NoCongestionControl(RTT_NS, MTU, window_bytes=2 * MTU)
    cc.on_queued(3 * MTU)
    cc.on_sent(MTU, is_rtx=False)
    assert cc.can_send()
    cc.on_sent(MTU, is_rtx=False)
    assert not cc.can_send()
    cc.on_nack(1_000, MTU, True, 11_000)
    cc.on_loss(MTU)
    sack(cc, 0, 50_000, marked=True, penalty=127)
    assert (cc.cwnd, cc.inflight, cc.rtx_backlog) == (2 * MTU, 0, 2 * MTU)
    assert cc.base_rtt_ns == 11_000


# --- The balance of inflight (6.4) ---------------------------------------------------


class Book:
    """Packets as the fabric sees them, to drive the window through any history."""

    def __init__(self, cc: CongestionControl, sizes: list[int]) -> None:
        self.cc = cc
        self.sizes = sizes
        self.copies = [0] * len(sizes)  # in the fabric
        self.is_lost = [False] * len(sizes)  # on the lost list
        self.is_received = [False] * len(sizes)
        self.is_acked = [False] * len(sizes)
        self.now = 0
        for size in sizes:
            cc.on_queued(size)

    def send(self, psn: int) -> None:
        if not self.is_acked[psn] and (self.is_lost[psn] or self.copies[psn] == 0):
            self.cc.on_sent(self.sizes[psn], self.is_lost[psn])
            self.is_lost[psn] = False
            self.copies[psn] += 1

    def give_up(self, psn: int, is_nack: bool) -> None:
        """The copy in flight may be in the fabric still: the verdict can be wrong."""
        if self.copies[psn] and not self.is_lost[psn] and not self.is_acked[psn]:
            self.is_lost[psn] = True
            if is_nack and not self.is_received[psn]:
                self.cc.on_nack(self.now, self.sizes[psn], True, None)
            else:
                self.cc.on_loss(self.sizes[psn])

    def arrive(self, psn: int) -> None:
        if self.copies[psn]:
            self.is_received[psn] = True

    def answer(self) -> None:
        news = [
            psn
            for psn, received in enumerate(self.is_received)
            if received and not self.is_acked[psn]
        ]
        for psn in news:
            self.is_acked[psn] = True
            if self.is_lost[psn]:
                self.is_lost[psn] = False
                self.cc.on_found(self.sizes[psn])
        self.now += 1_000
        total = sum(size for size, got in zip(self.sizes, self.is_received, strict=True) if got)
        self.cc.on_sack(
            self.now, (total + 255 >> 8) & 0xFFFFFF, False, RTT_NS, 0, False, len(news)
        )

    def act(self, verb: str, psn: int) -> None:
        match verb:
            case "send":
                self.send(psn)
            case "lose" | "nack":
                self.give_up(psn, verb == "nack")
            case "arrive":
                self.arrive(psn)
            case "answer":
                self.answer()

    def finish(self) -> None:
        for psn in range(len(self.sizes)):
            self.send(psn)
            self.arrive(psn)
        self.answer()


STEPS = st.lists(
    st.tuples(st.sampled_from(["send", "lose", "nack", "arrive", "answer"]), st.integers(0, 7)),
    max_size=60,
)


@settings(deadline=None)
@given(STEPS, st.lists(st.integers(88, 4_184), min_size=8, max_size=8))
def test_inflight_returns_to_zero_after_any_history(
    steps: list[tuple[str, int]], sizes: list[int]
) -> None:
    for cc in (Nscc(CONFIG), NoCongestionControl(RTT_NS, MTU)):
        book = Book(cc, sizes)
        for verb, psn in steps:
            book.act(verb, psn)
            assert MTU <= cc.cwnd <= cc.max_cwnd
        book.finish()
        assert -256 < cc.inflight <= 0
        assert cc.inflight_pkts == cc.waiting_rtx == cc.rtx_backlog == cc.backlog == 0
        assert cc.state is SchedulerState.IDLE


# --- A closed loop -------------------------------------------------------------------

PACKET = 4_184
PACKET_NS = PACKET * 8 * 10**9 // SPEED_BPS
ONE_WAY_NS = (RTT_NS - 2 * PACKET_NS) // 2


class Loop:
    """Flows with NICs of their own share one port, which marks, trims and delays.

    ECN rises from 0.2 to 0.8 BDP of queue, trimming begins at 1 (facts sheet 4.17).
    """

    def __init__(self, starts_ns: list[int], seed: int = 1) -> None:
        config = CcConfig.defaults(SPEED_BPS, RTT_NS, PACKET)
        self.flows = [Nscc(config) for _ in starts_ns]
        self.rng = random.Random(seed)
        self.events: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self.now = self.serial = self.port_free_ns = 0
        self.nic_free_ns = [0] * len(starts_ns)
        self.delivered = [0] * len(starts_ns)
        self.reported = [0] * len(starts_ns)
        self.queue_ns: list[int] = []
        self.trims = 0
        for flow, start_ns in enumerate(starts_ns):
            self.at(start_ns, self.send, flow)

    def at(self, when_ns: int, call: Callable[..., None], *args: Any) -> None:
        self.serial += 1
        heapq.heappush(self.events, (when_ns, self.serial, call, args))

    def run(self, until_ns: int) -> None:
        while self.events[0][0] <= until_ns:
            self.now, _, call, args = heapq.heappop(self.events)
            call(*args)

    def send(self, flow: int) -> None:
        """As a NIC does: one packet whenever it is free and the window open."""
        cc = self.flows[flow]
        if not cc.can_send() or self.nic_free_ns[flow] > self.now:
            return
        is_rtx = cc.waiting_rtx > 0
        if not is_rtx:
            cc.on_queued(PACKET)
        wants_sack = cc.on_sent(PACKET, is_rtx)
        left_ns = self.nic_free_ns[flow] = self.now + PACKET_NS
        self.at(left_ns, self.enqueue, flow, self.now, wants_sack or is_rtx)
        self.at(left_ns, self.send, flow)

    def enqueue(self, flow: int, sent_ns: int, wants_sack: bool) -> None:
        queue_ns = max(self.port_free_ns - self.now, 0)
        self.queue_ns.append(queue_ns)
        if queue_ns > RTT_NS:
            self.trims += 1
            self.at(self.now + 2 * ONE_WAY_NS, self.nack, flow, sent_ns)
            return
        self.port_free_ns = self.now + queue_ns + PACKET_NS
        marked = self.rng.random() < (queue_ns / RTT_NS - 0.2) / 0.6
        self.at(self.port_free_ns + ONE_WAY_NS, self.receive, flow, sent_ns, marked, wants_sack)

    def receive(self, flow: int, sent_ns: int, marked: bool, wants_sack: bool) -> None:
        self.delivered[flow] += PACKET
        if wants_sack or marked or self.delivered[flow] - self.reported[flow] >= 16_384:
            packets = (self.delivered[flow] - self.reported[flow]) // PACKET
            self.reported[flow] = self.delivered[flow]
            rcvd = (self.delivered[flow] + 255 >> 8) & 0xFFFFFF
            self.at(self.now + ONE_WAY_NS, self.sack, flow, sent_ns, marked, rcvd, packets)

    def sack(self, flow: int, sent_ns: int, marked: bool, rcvd: int, packets: int) -> None:
        rtt_ns = (self.now >> 7) - (sent_ns >> 7) << 7
        self.flows[flow].on_sack(self.now, rcvd, marked, rtt_ns, 0, False, packets)
        self.send(flow)

    def nack(self, flow: int, sent_ns: int) -> None:
        rtt_ns = (self.now >> 7) - (sent_ns >> 7) << 7
        self.flows[flow].on_nack(self.now, PACKET, True, rtt_ns)
        self.send(flow)

    def measure(self, until_ns: int) -> list[float]:
        """Delivered bytes a ns of each flow from now on."""
        before, start_ns = list(self.delivered), self.now
        self.queue_ns.clear()
        self.trims = 0
        self.run(until_ns)
        span_ns = until_ns - start_ns
        return [(a - b) / span_ns for a, b in zip(self.delivered, before, strict=True)]


LINE = PACKET / PACKET_NS  # bytes per ns


def jain(rates: list[float]) -> float:
    """Jain's index of fairness: 1 is equal, 1/n is one flow alone."""
    return sum(rates) ** 2 / (len(rates) * sum(rate * rate for rate in rates))


def test_one_flow_keeps_the_line_full_at_the_largest_window() -> None:
    loop = Loop([0])
    loop.run(10 * RTT_NS)
    (rate,) = loop.measure(200 * RTT_NS)
    assert rate >= 0.99 * LINE
    assert loop.flows[0].cwnd == loop.flows[0].max_cwnd
    assert max(loop.queue_ns) <= PACKET_NS


@pytest.mark.parametrize("apart_ns", [0, 40 * RTT_NS])
def test_seven_flows_share_one_port_fairly_and_hold_its_queue_near_the_target(
    apart_ns: int,
) -> None:
    loop = Loop([flow * apart_ns for flow in range(7)])
    settled_ns = 7 * apart_ns + 300 * RTT_NS
    loop.run(settled_ns)
    rates = loop.measure(settled_ns + 1_000 * RTT_NS)
    assert jain(rates) > 0.98
    assert sum(rates) >= 0.99 * LINE
    assert 0.9 * TARGET_NS < sum(loop.queue_ns) / len(loop.queue_ns) < 1.15 * TARGET_NS
    assert max(loop.queue_ns) < 1.5 * TARGET_NS
    assert loop.trims < 20


def test_a_second_flow_gets_its_share_from_one_that_holds_the_line() -> None:
    loop = Loop([0, 100 * RTT_NS])
    loop.run(200 * RTT_NS)
    rates = loop.measure(700 * RTT_NS)
    assert jain(rates) > 0.98
    assert sum(rates) >= 0.99 * LINE


def test_the_same_seed_gives_the_same_windows() -> None:
    first, second = Loop([0] * 7, seed=3), Loop([0] * 7, seed=3)
    for loop in (first, second):
        loop.run(100 * RTT_NS)
    assert [cc.cwnd for cc in first.flows] == [cc.cwnd for cc in second.flows]
