"""The sending half, packet by packet, against a peer that the test plays."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from unit.transport.engine_rig import (
    MTU,
    PEER_QPN,
    PSN,
    RKEY,
    RTT,
    START,
    VA,
    Lone,
    Out,
)

from testbed.transport.mrc.clock import WRAP_NS, timestamp
from testbed.transport.mrc.completion import WcStatus
from testbed.transport.mrc.congestion import SchedulerState
from testbed.transport.mrc.ctl.values import ApiEvState
from testbed.transport.mrc.device import CC_CROSS_T1
from testbed.transport.mrc.endpoint import QpFailed
from testbed.transport.mrc.ev.states import EvState
from testbed.transport.mrc.qp import QpState
from testbed.transport.mrc.qp_attributes import QpCap, Retry
from testbed.transport.mrc.wire.codes import NackReason, Opcode
from testbed.transport.mrc.wire.packets import ReliabilityProbe, Write, nominal_bytes
from topologies.numbers import Dscp, Ecn

T = 65_536  # the default timeout, ns
FULL = nominal_bytes(MTU)
SUCCESS, FLUSHED = WcStatus.SUCCESS, WcStatus.FLUSHED


def psns(outs: list[Out]) -> list[int]:
    return [out.packet.psn for out in outs]


def failed(lone: Lone) -> list[QpFailed]:
    return [event for event in lone.context.poll_events() if isinstance(event, QpFailed)]


def requester(lone: Lone) -> Any:
    return lone.qp.requester


# --- 4.3 Sending ---------------------------------------------------------------------


def test_4_3_1_a_message_is_cut_into_packets_with_consecutive_psns() -> None:
    lone = Lone()
    lone.post(2 * MTU + 100)
    first, middle, last = lone.sent()
    expected = [(Opcode.WRITE_FIRST, 0, MTU), (Opcode.WRITE_MIDDLE, MTU, MTU),
                (Opcode.WRITE_LAST, 2 * MTU, 100)]  # fmt: skip
    for i, (out, (opcode, offset, length)) in enumerate(
        zip((first, middle, last), expected, strict=True)
    ):
        data = bytes(lone.source.view[offset : offset + length])
        assert out.packet._replace(payload=bytes(out.packet.payload)) == Write(
            opcode, PEER_QPN, PSN + i, out is last, False, False, timestamp(START), 0, 0,
            VA + offset, RKEY, 2 * MTU + 100, None, data,
        )  # fmt: skip
        assert out.arrival.dscp == Dscp.TRIMMABLE
        assert out.datagram[1] >> 4 & 3 == Ecn.ECT0


def test_4_3_1_a_write_of_nothing_is_one_packet_without_payload() -> None:
    lone = Lone()
    wr_id = lone.post(0)
    (out,) = lone.sent()
    assert (out.packet.opcode, out.packet.dmalen) == (Opcode.WRITE_ONLY, 0)
    assert bytes(out.packet.payload) == b""
    lone.ack(PSN, 1)
    assert lone.statuses() == [(wr_id, SUCCESS)]


def test_2_3_msn_counts_messages_and_rqmsn_immediates() -> None:
    lone = Lone()
    for imm in (None, 7, None, 8):
        lone.post(MTU + 1, imm)
    numbers = [(o.packet.msn, o.packet.rqmsn, o.packet.imm) for o in lone.sent()]
    assert numbers == [
        (0, 0, None), (0, 0, None), (1, 0, None), (1, 0, 7),
        (2, 0, None), (2, 0, None), (3, 1, None), (3, 1, 8),
    ]  # fmt: skip


def test_2_3_psn_and_msn_wrap_on_the_wire_only() -> None:
    lone = Lone(psn=(1 << 24) - 2)
    requester(lone)._msn = requester(lone)._rqmsn = 0xFFFF
    ids = [lone.post(MTU + 1, imm=1), lone.post(MTU + 1, imm=2)]
    outs = lone.sent()
    assert psns(outs) == [(1 << 24) - 2, (1 << 24) - 1, 0, 1]
    assert [(o.packet.msn, o.packet.rqmsn) for o in outs] == [(0xFFFF, 0xFFFF)] * 2 + [(0, 0)] * 2
    lone.sack((1 << 24) - 2, outs[2], received=(1 << 24,))
    assert list(requester(lone).window.packets) == [(1 << 24) - 1, (1 << 24) + 1]
    lone.ack(1, 2)
    assert lone.statuses() == [(ids[0], SUCCESS), (ids[1], SUCCESS)]


def test_4_3_5_the_last_packet_of_each_message_asks_for_an_answer() -> None:
    lone = Lone()
    lone.post(3 * MTU)
    lone.post(MTU)
    assert [out.packet.a for out in lone.sent()] == [False, False, True, True]


def test_4_3_5_a_packet_asks_where_congestion_control_wants_to_know() -> None:
    lone = Lone()
    lone.qp.requester.cc.cwnd = float(2 * FULL)  # type: ignore[union-attr]
    lone.post(8 * MTU)
    assert [out.packet.a for out in lone.sent()] == [True, True]  # and then the window is full


def test_8_1_a_solicited_write_has_se_in_its_last_packet_only() -> None:
    lone = Lone()
    lone.post(2 * MTU, imm=1, is_solicited=True)
    assert [out.packet.se for out in lone.sent()] == [False, True]


def test_4_13_ports_take_turns_and_evs_do_within_them() -> None:
    lone = Lone()
    lone.post(8 * MTU)
    outs = lone.sent()
    assert len({(out.port, out.ev) for out in outs}) == 4
    assert all(a.port != b.port for a, b in pairwise(outs))
    assert all(out.ev >> 24 == out.port for out in outs)


def test_a_busy_port_is_left_alone() -> None:
    lone = Lone()
    lone.post(4 * MTU)
    assert {out.port for out in lone.sent(0b10)} == {1}


# --- 4.7, 4.6, 4.2: what holds new data back -------------------------------------------


def test_4_7_the_psn_window_is_strict_when_sending() -> None:
    lone = Lone(peer_mpr=1)
    lone.post(200 * MTU)
    outs = lone.sent()
    assert psns(outs) == list(range(PSN, PSN + 127))  # p - cack < 128, cack is PSN - 1
    lone.sack(PSN + 1, outs[1])
    assert psns(lone.sent()) == [PSN + 127, PSN + 128]
    lone.sack(PSN + 1, outs[60], received=tuple(range(PSN + 3, PSN + 60)))
    assert not [out for out in lone.sent() if not out.packet.rtx]  # holes hold the window


def test_4_7_a_dynamic_mpr_is_followed_and_a_shrink_takes_nothing_back() -> None:
    lone = Lone(peer_mpr=1, cap=QpCap.DYNAMIC_MPR)
    lone.post(600 * MTU)
    outs = lone.sent()
    lone.sack(PSN - 1, outs[0], ack=PSN - 1, mpr=2)
    outs += lone.sent()
    assert len(outs) == 255
    lone.sack(PSN - 1, outs[0], ack=PSN - 1, mpr=1)
    lone.sack(PSN - 1, outs[0], ack=PSN - 1, mpr=0)  # no statement
    assert lone.sent() == []
    lone.sack(PSN + 199, outs[199], mpr=1)
    assert len(lone.sent()) == 127 - 55


def test_4_7_without_the_capability_a_sacks_mpr_is_ignored() -> None:
    lone = Lone(peer_mpr=1)
    lone.post(600 * MTU)
    outs = lone.sent()
    lone.sack(PSN - 1, outs[0], ack=PSN - 1, mpr=32)
    assert lone.sent() == []


def test_4_6_no_more_immediates_in_flight_than_agreed_on() -> None:
    lone = Lone(max_wimm=2, peer_max_wimm=2)
    ids = [lone.post(2 * MTU, imm=i) for i in range(4)] + [lone.post(MTU)]
    outs = lone.sent()
    assert [o.packet.msn for o in outs] == [0, 0, 1, 1]
    lone.sack(PSN + 3, outs[-1])
    assert lone.sent() == []  # a SACK ends no message
    lone.ack(PSN + 1, 1)
    assert lone.statuses() == [(ids[0], SUCCESS)]
    assert [o.packet.msn for o in lone.sent()] == [2, 2]
    lone.ack(PSN + 5, 3)
    assert [o.packet.msn for o in lone.sent()] == [3, 3, 4]


def test_4_6_writes_without_immediate_are_not_counted() -> None:
    lone = Lone(peer_max_wimm=1)
    lone.post(MTU, imm=1)
    lone.post(MTU)
    lone.post(MTU)
    assert len(lone.sent()) == 3


def test_4_13_5_without_a_usable_ev_data_waits_and_goes_when_there_is_one() -> None:
    lone = Lone()
    lone.endpoint.on_ports_changed(0, lone.now)
    lone.post(MTU)
    assert lone.sent() == []
    lone.endpoint.on_ports_changed(0b10, lone.now)
    assert [out.port for out in lone.writes()] == [1]


def test_4_19_the_states_of_the_scheduler_follow_the_books_exactly() -> None:
    lone = Lone()
    cc = requester(lone).cc
    assert cc.state is SchedulerState.IDLE
    for length, imm in ((1, None), (MTU + 3, 5), (0, None), (0, 1), (MTU, None)):
        lone.post(length, imm)
    assert cc.state is SchedulerState.READY
    outs = lone.sent()
    assert (cc.backlog, cc.state) == (0, SchedulerState.PENDING)
    lone.sack(PSN + 5, outs[-1], rcvd_bytes=-(-cc.inflight // 256))
    assert cc.state is SchedulerState.IDLE
    assert -256 < cc.inflight <= 0


# --- 4.1 Completing --------------------------------------------------------------------


def test_4_1_2_a_sack_alone_completes_nothing() -> None:
    lone = Lone()
    wr_id = lone.post(2 * MTU)
    outs = lone.sent()
    lone.sack(PSN + 1, outs[1])
    assert lone.statuses() == []
    lone.ack(PSN + 1, 1)
    assert lone.statuses() == [(wr_id, SUCCESS)]


def test_4_1_a_transport_ack_alone_completes_when_sacks_are_lost() -> None:
    lone = Lone()
    ids = [lone.post(2 * MTU) for _ in range(3)]
    lone.sent()
    lone.ack(PSN + 4, 2)
    assert lone.statuses() == [(ids[0], SUCCESS), (ids[1], SUCCESS)]
    assert list(requester(lone).window.packets) == [PSN + 5]
    lone.ack(PSN + 5, 3)
    assert lone.statuses() == [(ids[2], SUCCESS)]
    assert lone.endpoint.next_deadline() is not None  # the old one, which finds nothing to do
    lone.wake()
    assert (lone.sent(), lone.endpoint.next_deadline()) == ([], None)


def test_6_2_packets_that_only_a_transport_ack_covered_leave_the_books_with_the_next_sack() -> None:
    lone = Lone()
    cc = requester(lone).cc
    lone.post(2 * MTU)
    lone.post(MTU)
    outs = lone.sent()
    lone.ack(PSN + 1, 1)
    lone.sack(PSN + 2, outs[2], rcvd_bytes=-(-3 * FULL // 256))
    assert (cc.inflight_pkts, cc.state) == (0, SchedulerState.IDLE)


def test_8_4_completions_come_in_the_order_posted_and_unsignaled_ones_do_not() -> None:
    lone = Lone()
    ids = [lone.post(MTU, is_signaled=i != 1) for i in range(3)]
    lone.sent()
    lone.ack(PSN + 2, 3)
    assert lone.statuses() == [(ids[0], SUCCESS), (ids[2], SUCCESS)]


def test_answers_to_what_was_never_sent_are_ignored() -> None:
    lone = Lone()
    lone.post(2 * MTU)
    outs = lone.sent(0)  # nothing has left
    assert outs == []
    lone.ack(PSN + 1, 1)
    lone.sack(PSN + 1, ack=PSN + 1)
    assert lone.statuses() == []
    assert len(lone.sent()) == 2
    lone.ack(PSN + 9, 1)
    lone.sack(PSN + 9, ack=PSN + 9)
    assert (lone.statuses(), lone.sent()) == ([], [])


# --- 3.2, 4.8 NACKs --------------------------------------------------------------------


@pytest.mark.parametrize("reason", [*(r for r in NackReason if r is not r.UNEXP_EVENT), 0x55])
def test_4_8_a_nack_has_its_packet_sent_again_at_once(reason: int) -> None:
    lone = Lone()
    lone.post(4 * MTU)
    outs = lone.sent()
    lone.now += RTT
    lone.nack(outs[1], reason)
    (again,) = lone.sent()
    first = outs[1].packet
    assert again.packet == first._replace(rtx=True, a=False, tx_timestamp=timestamp(lone.now))
    assert timestamp(lone.now) != first.tx_timestamp
    assert again.arrival.dscp == Dscp.TRIMMABLE_RETX
    assert again.ev != outs[1].ev
    counters = requester(lone).counters
    assert (counters.lost_by_nack, counters.resent, counters.sent) == (1, 1, 4)


def test_4_3_4_retransmissions_go_before_new_data_lowest_psn_first() -> None:
    lone = Lone(peer_mpr=1)
    lone.post(130 * MTU)
    outs = lone.sent()
    lone.sack(PSN, outs[0])
    lone.nack(outs[9], NackReason.NO_RESOURCE)
    lone.nack(outs[4], NackReason.NO_RESOURCE)
    assert psns(lone.sent()) == [PSN + 4, PSN + 9, PSN + 127]


def test_4_11_trimmed_skips_the_ev_and_last_hop_does_not() -> None:
    lone = Lone()
    lone.post(4 * MTU)
    outs = lone.sent()
    paths = lone.qp.paths
    assert paths is not None
    lone.nack(outs[0], NackReason.TRIMMED_LASTHOP)
    lone.nack(outs[1], NackReason.NO_BITMAP)
    assert [paths.entry(out.ev).state for out in outs[:2]] == [EvState.GOOD] * 2  # type: ignore
    lone.nack(outs[2], NackReason.TRIMMED)
    assert paths.entry(outs[2].ev).state is EvState.SKIP  # type: ignore[union-attr]


def test_3_2_a_nack_of_an_earlier_transmission_is_ignored() -> None:
    lone = Lone()
    lone.post(2 * MTU)
    outs = lone.sent()
    lone.now += 256
    lone.nack(outs[0], NackReason.TRIMMED)
    assert len(lone.sent()) == 1
    lone.nack(outs[0], NackReason.TRIMMED)
    lone.nack(outs[1], NackReason.TRIMMED, tx_timestamp=1)
    lone.nack(outs[1], NackReason.TRIMMED, nack_psn=PSN + 77)
    assert lone.sent() == []


def test_3_2_unexp_event_ends_the_qp() -> None:
    lone = Lone()
    ids = [lone.post(MTU), lone.post(MTU)]
    outs = lone.sent()
    lone.nack(outs[1], NackReason.UNEXP_EVENT)
    assert lone.qp.state is QpState.ERROR
    assert lone.statuses() == [(ids[0], WcStatus.REMOTE_OPERATION_ERROR), (ids[1], FLUSHED)]
    assert [event.status for event in failed(lone)] == [WcStatus.REMOTE_OPERATION_ERROR]


def test_4_17_to_a_peer_without_trim_nack_data_goes_as_no_trim() -> None:
    lone = Lone(cap=QpCap.PEER_NO_TRIM_NACK)
    lone.post(2 * MTU)
    outs = lone.sent()
    lone.nack(outs[0], NackReason.NO_RESOURCE)
    assert {out.arrival.dscp for out in outs + lone.sent()} == {Dscp.NO_TRIM}


# --- 4.8 Holes -------------------------------------------------------------------------


def on_one_ev(lone: Lone, packets: int) -> list[Out]:
    """Post and send packets, all but one EV of port 0 being denied."""
    paths = lone.qp.paths
    assert paths is not None
    for entry in list(paths.entries())[1:]:
        paths.set_state(entry.ev, EvState.DENIED, lone.now)
    lone.post(packets * MTU)
    return lone.sent()


def test_4_8_rule_a_a_hole_on_the_same_ev_is_lost_and_sent_again_once() -> None:
    lone = Lone()
    outs = on_one_ev(lone, 6)
    lone.now += RTT
    lone.sack(PSN + 1, outs[4], received=(PSN + 4,))
    assert psns(lone.sent()) == [PSN + 2, PSN + 3]
    lone.sack(PSN + 1, outs[5], received=(PSN + 4, PSN + 5))
    assert lone.sent() == []
    assert requester(lone).counters.lost_by_evidence == 2


def test_4_8_a_hole_on_another_ev_is_not_yet_lost() -> None:
    lone = Lone()
    lone.post(4 * MTU)
    outs = lone.sent()
    lone.sack(PSN - 1, outs[3], received=(PSN + 1, PSN + 2, PSN + 3))
    assert lone.sent() == []


def test_4_8_rule_b_a_hole_a_window_older_on_the_same_plane_is_lost() -> None:
    lone = Lone()
    lone.post(4 * MTU)
    outs = lone.sent()
    window_ns = requester(lone).loss.window_ns
    lone.now += window_ns
    lone.post(MTU)
    lone.post(MTU)
    outs += lone.sent()
    evidence = next(o for o in outs[4:] if o.port == outs[0].port)
    others = tuple(o.packet.psn for o in outs[:4] if o.port != outs[0].port)
    lone.sack(PSN - 1, evidence, received=(*others, evidence.packet.psn))
    lost = [o.packet.psn for o in outs[:4] if o.port == outs[0].port]
    assert psns(lone.sent()) == lost


def test_4_8_what_a_sack_does_not_show_is_not_yet_lost_but_its_edge_is() -> None:
    lone = Lone()
    outs = on_one_ev(lone, 100)
    lone.sack(PSN - 1, outs[99], base=PSN + 36, received=(PSN + 99,))
    assert psns(lone.sent()) == [PSN, *range(PSN + 36, PSN + 99)]
    lone.sack(PSN - 1, outs[99], received=tuple(range(PSN + 1, PSN + 20)), ack=PSN + 99)
    assert psns(lone.sent()) == list(range(PSN + 20, PSN + 36))


def test_4_8_on_a_dead_plane_another_plane_is_evidence() -> None:
    lone = Lone()
    lone.post(4 * MTU)
    outs = lone.sent()
    lone.endpoint.on_ports_changed(0b10, lone.now)
    lone.now += requester(lone).loss.window_ns
    lone.post(MTU)
    later = lone.writes()
    assert [out.port for out in later] == [1]
    alive = tuple(out.packet.psn for out in outs if out.port == 1)
    lone.sack(PSN - 1, later[0], received=(*alive, PSN + 4))
    assert psns(lone.writes()) == [out.packet.psn for out in outs if out.port == 0]


def test_4_8_a_spurious_verdict_doubles_the_reorder_window() -> None:
    lone = Lone()
    outs = on_one_ev(lone, 3)
    before = requester(lone).loss.window_ns
    lone.sack(PSN - 1, outs[1], received=(PSN + 1,))
    lone.sack(PSN + 1, outs[0])  # here it is, before it was sent again
    assert requester(lone).loss.window_ns == 2 * before
    counters = requester(lone).counters
    assert (counters.found, counters.spurious) == (1, 1)
    assert lone.sent() == []


def test_4_8_so_does_an_answer_to_the_transmission_that_was_given_up() -> None:
    lone = Lone()
    lone.post(4 * MTU)
    outs = lone.sent()
    before = requester(lone).loss.window_ns
    lone.now += 256
    lone.nack(outs[0], NackReason.NO_RESOURCE)
    (again,) = lone.sent()
    lone.sack(PSN, outs[0])
    assert requester(lone).loss.window_ns == 2 * before
    assert requester(lone).counters.spurious == 1
    assert again.packet.rtx


def test_4_8_exactly_what_is_missing_is_sent_again_and_nothing_twice() -> None:
    lone = Lone()
    outs = on_one_ev(lone, 64)
    missing = {PSN + i for i in (0, 3, 4, 17, 40, 62)}
    received = tuple(set(range(PSN, PSN + 64)) - missing)
    lone.now += RTT
    for _ in range(3):
        lone.sack(PSN - 1, outs[63], received=received)
    assert psns(lone.sent()) == sorted(missing)


# --- 6.3.3 Round trips -----------------------------------------------------------------


def rtt_after(lone: Lone, out: Out, rtt_ns: int) -> int:
    lone.now = out.at_ns + rtt_ns
    lone.sack(out.packet.psn, out)
    return int(requester(lone).cc.base_rtt_ns)


def test_6_3_a_packet_sent_once_gives_a_sample() -> None:
    lone = Lone()
    lone.post(MTU)
    assert rtt_after(lone, lone.sent()[0], 40 * 128) == 40 * 128
    assert requester(lone).srtt_ns == RTT + (40 * 128 - RTT) // 8


def test_6_3_a_short_packet_never_lowers_the_base_rtt() -> None:
    lone = Lone()
    lone.post(MTU - 1)
    assert rtt_after(lone, lone.sent()[0], 40 * 128) == RTT


def test_6_3_one_resent_once_counts_where_the_resend_is_answered() -> None:
    for answers_resend, expected in ((True, 30 * 128), (False, RTT)):
        lone = Lone()
        lone.post(MTU)
        (first,) = lone.sent()
        lone.now += 10 * 128
        lone.nack(first, NackReason.NO_RESOURCE)
        (again,) = lone.sent()
        assert rtt_after(lone, again, 30 * 128) == 30 * 128 or not answers_resend
        if not answers_resend:
            lone = Lone()
            lone.post(MTU)
            (first,) = lone.sent()
            lone.now += 10 * 128
            lone.nack(first, NackReason.NO_RESOURCE)
            lone.sent()
            assert rtt_after(lone, first, 40 * 128) == expected


def test_6_3_one_resent_twice_never_counts() -> None:
    lone = Lone()
    lone.post(MTU)
    (out,) = lone.sent()
    for _ in range(2):
        lone.now += 10 * 128
        lone.nack(out, NackReason.NO_RESOURCE)
        (out,) = lone.sent()
    assert rtt_after(lone, out, 30 * 128) == RTT
    assert requester(lone).srtt_ns == RTT


def test_a_nack_gives_no_sample() -> None:
    lone = Lone()
    lone.post(MTU)
    (out,) = lone.sent()
    lone.now += 1280
    lone.nack(out, NackReason.TRIMMED)
    assert requester(lone).cc.base_rtt_ns == RTT


# --- 4.9 The timer ---------------------------------------------------------------------


def expiries(lone: Lone, limit: int = 40) -> list[int]:
    """When the timer fires, from now on, until the QP gives up."""
    start, fired = lone.now, []
    while lone.qp.state is QpState.RTS and len(fired) < limit:
        before = requester(lone).counters.timeouts
        lone.wake()
        if requester(lone) and requester(lone).counters.timeouts > before:
            fired.append(lone.now - start)
        lone.sent()
    return fired


def test_4_9_linear_then_exponential_then_retry_exceeded() -> None:
    lone = Lone(retry=Retry(2, 3))
    ids = [lone.post(MTU), lone.post(MTU)]
    lone.sent()
    assert expiries(lone) == [T, 2 * T, 3 * T, 5 * T, 9 * T, 17 * T]
    assert lone.qp.state is QpState.ERROR
    assert lone.statuses() == [(ids[0], WcStatus.RETRY_EXCEEDED), (ids[1], FLUSHED)]
    (event,) = failed(lone)
    assert (event.status, event.at_ns) == (WcStatus.RETRY_EXCEEDED, START + 17 * T)
    assert lone.endpoint.next_deadline() is None
    assert lone.sent() == []


def test_4_9_no_retries_at_all() -> None:
    lone = Lone(retry=Retry(0, 0))
    lone.post(MTU)
    lone.sent()
    assert expiries(lone) == [T]


def test_4_9_for_ever_means_for_ever() -> None:
    lone = Lone(retry=Retry(0, 25))
    lone.post(MTU)
    lone.sent()
    fired = expiries(lone, 12)
    assert len(fired) == 12
    assert fired[-1] - fired[-2] == T << 11


def test_4_9_progress_of_the_edge_starts_the_counts_and_the_timer_anew() -> None:
    lone = Lone(retry=Retry(1, 1))
    lone.post(3 * MTU)
    outs = lone.sent()
    assert expiries(lone, 2) == [T, 2 * T]
    lone.now += 1_280
    lone.sack(PSN, outs[0])
    assert expiries(lone) == [T, 2 * T, 4 * T]


def test_4_9_a_transport_ack_that_moves_the_edge_is_progress_too() -> None:
    lone = Lone(retry=Retry(1, 1))
    lone.post(3 * MTU)
    lone.sent()
    assert expiries(lone, 2) == [T, 2 * T]
    lone.now += 1_280
    lone.ack(PSN + 1)  # no message ends there
    assert expiries(lone) == [T, 2 * T, 4 * T]


def test_4_9_a_sack_above_a_hole_is_no_progress() -> None:
    lone = Lone(retry=Retry(1, 0))
    lone.post(3 * MTU)
    outs = lone.sent()
    lone.now += 1_280
    lone.sack(PSN - 1, outs[2], received=(PSN + 2,))
    lone.now -= 1_280
    assert expiries(lone) == [T, 2 * T]


def test_4_9_on_expiry_the_ev_is_blamed_and_the_oldest_packet_goes_another_way() -> None:
    lone = Lone()
    lone.post(2 * MTU)
    outs = lone.sent()
    lone.now += T
    lone.endpoint.on_deadline(lone.now)
    probe, again = lone.sent()
    assert isinstance(probe.packet, ReliabilityProbe)
    assert (again.packet.psn, again.packet.rtx) == (PSN, True)
    assert again.ev != outs[0].ev
    assert lone.qp.paths.entry(outs[0].ev).state is EvState.ASSUMED_BAD  # type: ignore
    counters = requester(lone).counters
    assert (counters.lost_by_timer, counters.timeouts) == (1, 1)


def test_4_9_the_timer_runs_from_the_post_while_nothing_can_be_sent() -> None:
    lone = Lone(retry=Retry(0, 0))
    lone.endpoint.on_ports_changed(0, lone.now)
    wr_id = lone.post(MTU)
    assert expiries(lone) == [T]
    assert lone.statuses() == [(wr_id, WcStatus.RETRY_EXCEEDED)]


def test_next_deadline_is_none_while_nothing_is_posted() -> None:
    lone = Lone()
    assert requester(lone).next_deadline() is None
    assert lone.endpoint.next_deadline() is None
    lone.post(MTU)
    assert lone.endpoint.next_deadline() == START + 2 * RTT
    (out,) = lone.sent()
    lone.sack(PSN, out)
    lone.ack(PSN, 1)
    assert requester(lone).next_deadline() is None


# --- 4.10 Silence ----------------------------------------------------------------------


def test_4_10_a_silent_tail_is_asked_about_after_two_rtts_then_four_then_eight() -> None:
    lone = Lone(timeout=12)
    lone.post(MTU)
    lone.sent()
    asked = []
    while len(asked) < 8:
        lone.wake()
        asked += [out.at_ns - START for out in lone.sent() if out.packet[0] == PEER_QPN]
    gaps = [b - a for a, b in zip([0, *asked], asked, strict=False)]
    assert gaps == [2 * RTT << min(i, 6) for i in range(8)]


def test_4_10_a_probe_is_numbered_stamped_takes_no_psn_and_is_no_trim_data() -> None:
    lone = Lone()
    lone.post(MTU)
    lone.sent()
    for number in (1, 2):
        lone.wake()
        (out,) = lone.sent()
        assert out.packet == ReliabilityProbe(
            PEER_QPN, number, lone.qp.qp_num, PEER_QPN, timestamp(lone.now)
        )
        assert out.arrival.dscp == Dscp.NO_TRIM
    lone.post(MTU)
    assert psns(lone.sent()) == [PSN + 1]


def test_4_10_an_answered_probe_that_misses_a_packet_proves_it_lost() -> None:
    lone = Lone()
    lone.post(2 * MTU)
    lone.sent()
    lone.wake()
    (probe,) = lone.sent()
    lone.now += RTT
    lone.sack(PSN - 1, probe, probe_id=1, received=(PSN + 1,))
    assert psns(lone.sent()) == [PSN]
    assert requester(lone).counters.lost_by_evidence == 1


def test_4_10_an_answer_to_no_probe_proves_nothing() -> None:
    lone = Lone()
    lone.post(2 * MTU)
    lone.sent()
    lone.wake()
    (probe,) = lone.sent()
    lone.now += RTT
    lone.sack(PSN - 1, probe, probe_id=2, received=(PSN + 1,))
    assert lone.sent() == []


def test_4_10_a_probes_answer_is_an_rtt_sample_that_lowers_no_base() -> None:
    lone = Lone()
    lone.post(MTU)
    lone.sent()
    lone.wake()
    (probe,) = lone.sent()
    lone.now += 1_280
    lone.sack(PSN, probe, probe_id=1)
    assert requester(lone).srtt_ns == RTT + (1_280 - RTT) // 8
    assert requester(lone).cc.base_rtt_ns == RTT


def test_an_answer_resets_the_backoff_of_the_tail() -> None:
    lone = Lone(timeout=12)
    lone.post(2 * MTU)
    outs = lone.sent()
    for _ in range(3):
        lone.wake()
        lone.sent()
    lone.sack(PSN, outs[0])
    heard_ns = lone.now
    patience_ns = 2 * max(RTT, requester(lone).srtt_ns)
    assert requester(lone).next_deadline() == heard_ns + patience_ns


def test_a_lost_transport_ack_is_asked_for_by_the_last_packet_again() -> None:
    lone = Lone()
    wr_id = lone.post(2 * MTU + 5, imm=9)
    outs = lone.sent()
    lone.sack(PSN + 2, outs[2])
    books = requester(lone).cc.inflight
    lone.now = requester(lone).next_deadline()
    lone.endpoint.on_deadline(lone.now)
    (out,) = lone.sent()
    first = outs[2].packet
    assert out.packet == first._replace(a=True, rtx=True, tx_timestamp=timestamp(lone.now))
    assert out.arrival.dscp == Dscp.TRIMMABLE_RETX
    assert requester(lone).cc.inflight == books
    assert requester(lone).counters.solicited == 1
    lone.ack(PSN + 2, 1)
    assert lone.statuses() == [(wr_id, SUCCESS)]


def test_a_solicitation_that_waits_is_dropped_when_the_ack_comes_and_holds_nothing_up() -> None:
    lone = Lone()
    wr_id = lone.post(MTU)
    (out,) = lone.sent()
    lone.sack(PSN, out)
    lone.now = requester(lone).next_deadline()
    lone.endpoint.on_deadline(lone.now)
    lone.ack(PSN, 1)
    lone.post(MTU)
    assert [(o.packet.psn, o.packet.rtx) for o in lone.sent()] == [(PSN + 1, False)]
    assert lone.statuses() == [(wr_id, SUCCESS)]


# --- 4.11 Marks ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("m", "state"),
    [(0, EvState.GOOD), (1, EvState.SKIP), (2, EvState.ASSUMED_BAD), (3, EvState.GOOD)],
)
def test_3_4_the_mark_of_a_sack_changes_the_ev(m: int, state: EvState) -> None:
    lone = Lone()
    lone.post(4 * MTU)
    outs = lone.sent()
    lone.sack(PSN, outs[0], m=m)
    assert lone.qp.paths.entry(outs[0].ev).state is state  # type: ignore[union-attr]


def test_4_11_an_old_sack_still_marks_and_acknowledges() -> None:
    lone = Lone()
    lone.post(8 * MTU)
    outs = lone.sent()
    lone.sack(PSN + 3, outs[3])
    lone.sack(PSN, outs[6], received=(PSN + 6,), m=1)
    assert list(requester(lone).window.packets) == [PSN + 4, PSN + 5, PSN + 7]
    assert lone.qp.paths.entry(outs[6].ev).state is EvState.SKIP  # type: ignore[union-attr]


# --- 4.21 NAKs -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("syndrome", "status"),
    [
        (0x61, WcStatus.REMOTE_INVALID_REQUEST),
        (0x62, WcStatus.REMOTE_ACCESS_ERROR),
        (0x63, WcStatus.REMOTE_OPERATION_ERROR),
        (0x7F, WcStatus.REMOTE_OPERATION_ERROR),
    ],
)
def test_4_21_a_nak_completes_what_came_before_and_ends_the_qp(
    syndrome: int, status: WcStatus
) -> None:
    lone = Lone()
    ids = [lone.post(2 * MTU) for _ in range(3)]
    lone.sent()
    lone.ack(PSN + 3, 1, syndrome)
    assert lone.statuses() == [(ids[0], SUCCESS), (ids[1], status), (ids[2], FLUSHED)]
    assert lone.qp.state is QpState.ERROR
    assert [event.status for event in failed(lone)] == [status]
    lone.ack(PSN + 5, 3)
    assert lone.statuses() == []


def test_4_21_a_nak_for_the_first_psn_of_all_works_also_at_zero() -> None:
    lone = Lone(psn=0)
    wr_id = lone.post(MTU)
    lone.sent()
    lone.ack(0, 0, 0x62)
    assert lone.statuses() == [(wr_id, WcStatus.REMOTE_ACCESS_ERROR)]


def test_in_error_nothing_is_sent_any_more() -> None:
    lone = Lone()
    lone.post(100 * MTU)
    lone.sent(0)
    lone.qp.requester.error = WcStatus.FLUSHED  # type: ignore[union-attr]
    assert lone.sent() == []
    assert not requester(lone).has_work


# --- Congestion control ----------------------------------------------------------------


def test_4_3_2_the_window_holds_data_and_retransmissions_but_not_probes() -> None:
    lone = Lone(cc_profile=CC_CROSS_T1)
    cc = requester(lone).cc
    cc.cwnd = float(2 * FULL)
    lone.post(5 * MTU)
    outs = lone.sent()
    assert len(outs) == 2
    lone.nack(outs[0], NackReason.NO_RESOURCE)
    cc.cwnd = 1.0
    assert lone.sent() == []
    lone.wake()
    assert [type(out.packet) for out in lone.sent()] == [ReliabilityProbe]
    cc.cwnd = float(2 * FULL)
    lone.endpoint.kick(lone.qp, lone.now)
    assert [(o.packet.psn, o.packet.rtx) for o in lone.sent()] == [(PSN, True)]


def test_the_profile_of_evs_reads_what_the_qp_found() -> None:
    lone = Lone()
    lone.post(4 * MTU)
    outs = lone.sent()
    lone.sack(PSN, outs[0], m=2)
    profile = lone.context.controller.ev_profile(1)
    user: Any = profile.users[0]
    assert user.ev_state(outs[0].ev) is ApiEvState.ASSUMED_BAD


# --- Books at the edges ----------------------------------------------------------------


def test_a_probe_that_finds_all_arrived_has_the_transport_ack_asked_for_at_once() -> None:
    lone = Lone()
    lone.post(2 * MTU)
    lone.sent()
    lone.wake()
    (probe,) = lone.sent()
    lone.sack(PSN + 1, probe, probe_id=1)
    assert [(o.packet.psn, o.packet.rtx, o.packet.a) for o in lone.sent()] == [
        (PSN + 1, True, True)
    ]


def test_6_3_a_probes_answer_with_another_time_stamp_is_no_sample() -> None:
    lone = Lone()
    lone.post(MTU)
    lone.sent()
    lone.wake()
    (probe,) = lone.sent()
    lone.now += 1_280
    lone.sack(PSN, probe, probe_id=1, tx_timestamp=probe.packet.tx_timestamp ^ 1)
    assert requester(lone).srtt_ns == RTT


def test_6_2_a_lost_packet_that_is_found_leaves_the_books_balanced() -> None:
    lone = Lone()
    outs = on_one_ev(lone, 3)
    cc = requester(lone).cc
    lone.sack(PSN - 1, outs[1], received=(PSN + 1,), rcvd_bytes=-(-FULL // 256))
    assert (cc.waiting_rtx, cc.rtx_backlog) == (1, FULL)
    lone.sack(PSN + 1, outs[0], rcvd_bytes=-(-2 * FULL // 256))
    lone.sack(PSN + 2, outs[2], rcvd_bytes=-(-3 * FULL // 256))
    assert (cc.waiting_rtx, cc.rtx_backlog, cc.inflight_pkts) == (0, 0, 0)
    assert -256 < cc.inflight <= 0


def test_4_9_what_was_sent_again_a_moment_ago_is_not_lost_by_the_timer() -> None:
    lone = Lone()
    lone.post(MTU)
    (out,) = lone.sent()
    lone.now = START + T - 128
    lone.nack(out, NackReason.NO_RESOURCE)
    lone.sent()
    lone.now = START + T
    lone.endpoint.on_deadline(lone.now)
    counters = requester(lone).counters
    assert (counters.timeouts, counters.lost_by_timer) == (1, 0)
    assert [type(o.packet) for o in lone.sent()] == [ReliabilityProbe]


# --- What is old, absurd, or not the peer's doing --------------------------------------


def test_2_4_an_answer_after_the_time_stamps_wrap_is_no_round_trip() -> None:
    lone = Lone(retry=Retry(7, 25), cc_profile=CC_CROSS_T1)
    lone.post(4 * MTU)
    outs = lone.writes()
    before = lone.qp.requester.cc.base_rtt_ns
    lone.now += WRAP_NS + 256
    lone.sack(PSN + 3, outs[3], rcvd_bytes=17)
    assert lone.qp.requester.cc.base_rtt_ns == before
    assert lone.qp.requester.srtt_ns == before


def test_a_sack_that_counts_more_than_was_sent_is_ignored() -> None:
    lone = Lone()
    lone.post(4 * MTU)
    outs = lone.writes()
    lone.sack(PSN + 3, outs[3], rcvd_bytes=1 << 22)
    assert lone.qp.requester.window.first_psn == PSN
    lone.sack(PSN + 3, outs[3], rcvd_bytes=17)
    assert lone.qp.requester.window.first_psn == PSN + 4


def test_3_2_a_nack_without_a_time_stamp_means_the_only_transmission() -> None:
    lone = Lone()
    lone.post(2 * MTU)
    outs = lone.writes()
    lone.nack(outs[0], NackReason.TRIMMED, tx_timestamp=0)
    (again,) = [out for out in lone.writes() if out.packet.rtx]
    assert again.packet.psn == outs[0].packet.psn
    lone.nack(outs[0], NackReason.TRIMMED, tx_timestamp=0)  # which of the two?
    assert lone.writes() == []


def test_a_qp_that_had_no_turn_yet_does_not_time_out() -> None:
    lone = Lone()
    lone.post(MTU)
    for _ in range(50):
        lone.wake()
    requester = lone.qp.requester
    assert (requester.counters.timeouts, requester.error) == (0, None)
    assert [out.packet.psn for out in lone.writes()] == [PSN]


def test_4_3_a_retransmission_waits_for_another_plane() -> None:
    lone = Lone()
    lone.post(8 * MTU)
    outs = lone.writes()
    lone.nack(outs[0], NackReason.TRIMMED)
    assert lone.writes(ports=1 << outs[0].port) == []
    (again,) = lone.writes()
    assert again.packet.rtx
    assert again.port != outs[0].port
