"""The receiving half, packet by packet, against a peer that the test plays."""

from __future__ import annotations

from typing import Any

import pytest
from unit.transport.engine_rig import PEER, PEER_PSN, PEER_QPN, RTT, Lone

from testbed.transport.mrc.completion import Completion, WcOpcode, WcStatus
from testbed.transport.mrc.control import _LIMIT
from testbed.transport.mrc.endpoint import QpFailed
from testbed.transport.mrc.qp import QpState
from testbed.transport.mrc.wire.codes import NackReason, Opcode
from testbed.transport.mrc.wire.packets import Nack, Sack, TransportAck, nominal_bytes
from topologies.ev import make_ev
from topologies.numbers import Dscp, Ecn

P = PEER_PSN
FIRST, MIDDLE, LAST = Opcode.WRITE_FIRST, Opcode.WRITE_MIDDLE, Opcode.WRITE_LAST
LAST_IMM, ONLY_IMM = Opcode.WRITE_LAST_WITH_IMM, Opcode.WRITE_ONLY_WITH_IMM
INVALID, ACCESS = 0x61, 0x62


def answers(lone: Lone, kind: type) -> list[Any]:
    return [out.packet for out in lone.sent() if isinstance(out.packet, kind)]


def sacks(lone: Lone) -> list[Sack]:
    return answers(lone, Sack)


def middle(lone: Lone, psn: int, size: int = 64, **fields: Any) -> None:
    """A packet in the midst of a message: nothing but its PSN counts."""
    fields = {"opcode": MIDDLE, "offset": 4096} | fields
    lone.write(psn, bytes(size), dmalen=4096, **fields)


def shown(sack: Sack) -> list[int]:
    """PSNs a SACK's bitmap shows as received."""
    base = sack.cack_psn + sack.sack_offset
    return [base + i for i in range(64) if sack.sack_bitmap >> i & 1]


# --- 4.5 When a SACK goes --------------------------------------------------------------


def test_4_5_trigger_1_every_16_kib_of_packets() -> None:
    lone = Lone()
    size = nominal_bytes(1024)
    enough = -(-16 * 1024 // size)
    for i in range(enough - 1):
        middle(lone, P + i, 1024)
    assert lone.sent() == []
    middle(lone, P + enough - 1, 1024)
    (sack,) = sacks(lone)
    assert (sack.cack_psn, sack.ack_psn_offset) == (P + enough - 1, 0)
    for i in range(enough - 1):
        middle(lone, P + enough + i, 1024)
    assert lone.sent() == []  # the count starts anew


def test_4_5_trigger_1_a_short_packet_counts_1_kib_and_16_kib_are_enough() -> None:
    lone = Lone()
    for i in range(15):
        middle(lone, P + i, 4)
    assert lone.sent() == []
    middle(lone, P + 15, 4)
    assert len(sacks(lone)) == 1


def test_4_5_trigger_2_the_a_bit_and_all_fields_of_the_answer() -> None:
    lone = Lone()
    middle(lone, P, 100)
    middle(lone, P + 2, 101, a=True, stamp=0x1234, ev=make_ev(1, 1), port=1)
    (out,) = lone.sent()
    assert out.port == 1
    assert out.packet == Sack(
        PEER_QPN, 0, False, 2, 0, make_ev(1, 1), lone.qp.qp_num, PEER_QPN, P, 8, 1, 0b10,
        0x1234, 1, False, 0, -(-(nominal_bytes(100) + nominal_bytes(101)) // 256),
    )  # fmt: skip
    assert out.arrival.dscp == Dscp.CONTROL
    assert out.datagram[1] >> 4 & 3 == Ecn.NOT_ECT
    assert (out.arrival.destination, out.ev) == (PEER, make_ev(1, 1))


def test_4_5_trigger_3_congestion_on_the_way() -> None:
    lone = Lone()
    middle(lone, P, ce=True)
    (sack,) = sacks(lone)
    assert (sack.m, sack.pr, sack.tx_timestamp) == (1, False, 0xBEEF)


def test_4_5_trigger_4_a_retransmission() -> None:
    lone = Lone()
    middle(lone, P, rtx=True)
    (sack,) = sacks(lone)
    assert (sack.m, sack.cack_psn) == (0, P)


def test_4_5_trigger_5_a_reliability_probe_is_answered_with_all_that_is_known() -> None:
    lone = Lone()
    middle(lone, P)
    middle(lone, P + 3)
    before = nominal_bytes(64) * 2
    lone.probe(0xCAFE, stamp=0x4321, ce=True, ev=make_ev(0, 1))
    (sack,) = sacks(lone)
    assert (sack.pr, sack.probe_id, sack.ack_psn_offset, sack.m) == (True, 0xCAFE, 0, 1)
    assert (sack.entropy, sack.tx_timestamp, sack.cack_psn) == (make_ev(0, 1), 0x4321, P)
    assert shown(sack) == [P + 3]
    assert sack.rcvd_bytes == -(-before // 256)


def test_4_10_two_probes_get_two_answers() -> None:
    lone = Lone()
    lone.probe(1)
    lone.probe(0)
    assert [(s.pr, s.probe_id, s.m) for s in sacks(lone)] == [(True, 1, 0), (True, 0, 0)]


def test_4_5_trigger_6_duplicates_above_and_below_the_edge() -> None:
    lone = Lone()
    lone.write(P, b"first", stamp=1)
    middle(lone, P + 2, stamp=2)
    lone.sent()
    lone.write(P, b"other", stamp=3)
    (below, ack) = (out.packet for out in lone.sent())
    assert (below.cack_psn, below.ack_psn_offset, below.tx_timestamp) == (P, 0, 3)
    assert ack == TransportAck(PEER_QPN, P, 0x1F, 1)
    middle(lone, P + 2, stamp=4)
    (above,) = (out.packet for out in lone.sent())
    assert (above.cack_psn, above.ack_psn_offset, above.tx_timestamp) == (P, 2, 4)
    assert lone.target_bytes[:5] == b"first"
    responder: Any = lone.qp.responder
    assert responder.counters.duplicates == 2
    assert responder.rcvd_bytes == nominal_bytes(5) + nominal_bytes(64)


def test_4_4_a_transport_ack_is_repeated_once_per_rtt_at_most() -> None:
    lone = Lone()
    lone.write(P, b"x")
    lone.sent()
    acks = 0
    for _ in range(40):
        lone.now += RTT // 10
        lone.write(P, b"x", rtx=True)
        acks += len(answers(lone, TransportAck))
    assert acks in (4, 5)


def test_4_5_the_offset_of_a_very_old_duplicate_is_bounded() -> None:
    lone = Lone()
    lone.write(P - 40_000, b"x")
    assert sacks(lone)[0].ack_psn_offset == -0x8000


def test_4_5_unsent_plain_sacks_are_one_with_the_newest_trigger() -> None:
    lone = Lone()
    for i in range(5):
        middle(lone, P + i, a=True, stamp=i, ev=make_ev(0, i % 2))
    (sack,) = sacks(lone)
    assert (sack.cack_psn, sack.tx_timestamp, sack.entropy) == (P + 4, 4, make_ev(0, 0))
    middle(lone, P + 5, a=True)
    assert len(sacks(lone)) == 1


def test_4_5_sacks_that_say_more_are_sent_each() -> None:
    lone = Lone()
    middle(lone, P, a=True, stamp=1)
    middle(lone, P + 1, ce=True, stamp=2)
    lone.probe(7, stamp=3)
    middle(lone, P + 2, ce=True, stamp=4)
    middle(lone, P + 3, a=True, stamp=5)
    found = [(s.m, s.pr, s.tx_timestamp, s.cack_psn) for s in sacks(lone)]
    assert found == [(0, False, 5, P + 3), (1, False, 2, P + 3), (0, True, 3, P + 3),
                     (1, False, 4, P + 3)]  # fmt: skip


def test_4_14_each_plane_has_its_own_answer() -> None:
    lone = Lone()
    middle(lone, P, a=True, port=0)
    middle(lone, P + 1, a=True, port=1)
    assert [out.port for out in lone.sent() if isinstance(out.packet, Sack)] == [0, 1]


def test_4_14_answers_leave_on_another_plane_where_the_triggers_is_down() -> None:
    lone = Lone()
    middle(lone, P, a=True, port=1)
    lone.endpoint.on_ports_changed(0b01, lone.now)
    assert [o.port for o in lone.sent() if isinstance(o.packet, Sack)] == []  # lost with its port
    middle(lone, P + 1, a=True, port=1)
    (out,) = (o for o in lone.sent() if isinstance(o.packet, Sack))
    assert (out.port, out.ev >> 24, out.packet.entropy) == (0, 0, make_ev(1, 0))


def test_4_14_a_full_queue_of_answers_silences_nobody_for_good() -> None:
    lone = Lone()
    for i in range(_LIMIT):
        lone.probe(i & 0xFFFF)
    lone.write(P, b"lost: the queue is full")
    middle(lone, P + 1, a=True)
    assert len(lone.sent()) == _LIMIT
    lone.write(P + 2, b"x", msn=1, a=True)
    kinds = {type(out.packet) for out in lone.sent()}
    assert kinds == {Sack, TransportAck}


def test_2_2_bitmaps_of_sacks_together_tell_every_psn() -> None:
    lone = Lone()
    received = {P + i for i in range(1, 300) if i % 7}
    for psn in sorted(received):
        middle(lone, psn, 4)
    lone.sent()
    told: set[int] = set()
    for i in range(6):
        lone.probe(i)
        told |= {psn for s in sacks(lone) for psn in shown(s)}
    assert told == received


def test_psns_wrap_between_two_packets() -> None:
    lone = Lone(peer_psn=(1 << 24) - 1)
    lone.write((1 << 24) - 1, b"a")
    lone.write(1 << 24, b"b", msn=1, a=True)
    outs = [out.packet for out in lone.sent()]
    assert {packet.psn for packet in outs if isinstance(packet, TransportAck)} == {0}
    assert {packet.cack_psn for packet in outs if isinstance(packet, Sack)} == {0}


# --- 4.4 NACKs -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dscp", "reason"),
    [
        (Dscp.TRIMMED, NackReason.TRIMMED),
        (Dscp.TRIMMED_LASTHOP, NackReason.TRIMMED_LASTHOP),
    ],
)
def test_4_4_1_a_trimmed_packet_is_refused_with_where_it_was_cut(
    dscp: int, reason: NackReason
) -> None:
    lone = Lone()
    lone.trimmed(P + 5, dscp, port=1, ev=make_ev(1, 1))
    (out,) = lone.sent()
    assert out.packet == Nack(
        PEER_QPN, reason, make_ev(1, 1), lone.qp.qp_num, PEER_QPN, P + 5, 0xBEEF
    )
    assert (out.port, out.arrival.dscp) == (1, Dscp.CONTROL)
    lone.write(P + 5, b"whole")  # it was not taken as received
    assert lone.qp.responder.counters.accepted == 1  # type: ignore[union-attr]


def test_4_4_1_a_trimmed_duplicate_is_a_duplicate() -> None:
    lone = Lone()
    lone.write(P, b"x")
    lone.sent()
    lone.trimmed(P)
    assert [type(out.packet) for out in lone.sent()] == [Sack, TransportAck]


def test_4_4_1_without_trim_nack_a_trimmed_packet_is_dropped() -> None:
    lone = Lone()
    lone.qp.responder._can_trim_nack = False  # type: ignore[union-attr]
    lone.trimmed(P)
    assert lone.sent() == []


def test_4_4_3_the_window_is_lenient_beyond_it_is_a_nack_and_far_away_silence() -> None:
    lone = Lone(mpr=1)
    middle(lone, P + 127)  # p - cack = 128
    assert lone.sent() == []
    middle(lone, P + 128)
    (nack,) = answers(lone, Nack)
    assert (nack.nack_reason, nack.nack_psn) == (NackReason.PSN_OOR_WINDOW, P + 128)
    middle(lone, P + (1 << 23))
    assert lone.sent() == []
    counters: Any = lone.qp.responder.counters  # type: ignore[union-attr]
    assert (counters.accepted, counters.beyond, counters.far) == (1, 1, 1)
    middle(lone, P)
    middle(lone, P + 128)
    assert counters.accepted == 3


# --- 4.4, 4.6 Placing and completing ---------------------------------------------------


def test_4_4_6_payload_is_placed_at_once_in_any_order() -> None:
    lone = Lone()
    parts = [(LAST, 8, b"ijk"), (FIRST, 0, b"abcd"), (MIDDLE, 4, b"efgh")]
    for psn, (opcode, offset, data) in zip((P + 2, P, P + 1), parts, strict=True):
        lone.write(psn, data, opcode=opcode, offset=offset, dmalen=11)
        assert bytes(lone.target_bytes[offset : offset + len(data)]) == data
    assert answers(lone, TransportAck) == [TransportAck(PEER_QPN, P + 2, 0x1F, 1)]


def test_4_1_4_a_packet_that_asks_gets_a_transport_ack_when_the_edge_passes_it() -> None:
    lone = Lone()
    middle(lone, P + 1, a=True)
    assert answers(lone, TransportAck) == []
    lone.write(P, bytes(8), opcode=FIRST, dmalen=64)
    assert answers(lone, TransportAck) == [TransportAck(PEER_QPN, P + 1, 0x1F, 0)]


def test_unsent_transport_acks_are_one_that_says_the_newest() -> None:
    lone = Lone()
    for i in range(4):
        lone.write(P + i, b"x", msn=i)
    assert answers(lone, TransportAck) == [TransportAck(PEER_QPN, P + 3, 0x1F, 4)]


def test_4_6_immediates_complete_in_order_when_everything_before_has_come() -> None:
    lone = Lone()
    for wr_id in (91, 92, 93):
        lone.context.post_recv(lone.qp, wr_id)
    lone.write(P + 3, b"cc", opcode=ONLY_IMM, imm=3, msn=2, rqmsn=1, se=True)
    lone.write(P + 2, b"bb", opcode=LAST_IMM, imm=2, msn=1, rqmsn=0, dmalen=4, offset=2)
    lone.write(P + 1, b"bb", opcode=FIRST, msn=1, rqmsn=0, dmalen=4)
    assert lone.received() == []
    lone.write(P, b"a")
    kind = WcOpcode.RECV_RDMA_WITH_IMM
    number = lone.qp.qp_num
    assert lone.received() == [
        Completion(91, WcStatus.SUCCESS, kind, number, 4, 2, False),
        Completion(92, WcStatus.SUCCESS, kind, number, 2, 3, True),
    ]
    assert answers(lone, TransportAck) == [TransportAck(PEER_QPN, P + 3, 0x1F, 3)]


def test_4_6_duplicates_complete_nothing_twice() -> None:
    lone = Lone()
    for wr_id in (1, 2):
        lone.context.post_recv(lone.qp, wr_id)
    for _ in range(3):
        lone.write(P, b"x", opcode=ONLY_IMM, imm=5)
    assert len(lone.received()) == 1


def test_a_write_of_nothing_needs_no_key_and_completes() -> None:
    lone = Lone()
    lone.context.post_recv(lone.qp, 1)
    lone.write(P, b"", opcode=ONLY_IMM, imm=0, rkey=0, va=0)
    (completion,) = lone.received()
    assert (completion.imm, completion.byte_len) == (0, 0)


def test_msn_and_rqmsn_wrap_at_16_bits_and_aeths_msn_at_24() -> None:
    lone = Lone()
    responder: Any = lone.qp.responder
    responder._msn, responder._rqmsn = (1 << 24) - 1, 0xFFFF
    for wr_id in (1, 2):
        lone.context.post_recv(lone.qp, wr_id)
    lone.write(P, b"x", opcode=ONLY_IMM, imm=1, msn=0xFFFF, rqmsn=0xFFFF)
    assert answers(lone, TransportAck)[0].msn == 0
    lone.write(P + 1, b"x", opcode=ONLY_IMM, imm=2, msn=0, rqmsn=0)
    assert answers(lone, TransportAck)[0].msn == 1
    assert [c.imm for c in lone.received()] == [1, 2]


def test_4_5_rcvd_bytes_wraps_at_24_bits_and_rounds_up() -> None:
    lone = Lone()
    responder: Any = lone.qp.responder
    responder.rcvd_bytes = (1 << 32) - 256
    middle(lone, P, 64, a=True)
    assert sacks(lone)[0].rcvd_bytes == 0  # 256 x 2^24, less 256, and 152 rounded up


def test_4_6_immediates_that_were_delivered_make_room() -> None:
    lone = Lone(max_wimm=2)
    for i in range(7):
        lone.context.post_recv(lone.qp, i)
        lone.write(P + i, b"x", opcode=ONLY_IMM, imm=i, msn=i, rqmsn=i)
    assert len(lone.received()) == 7
    responder: Any = lone.qp.responder
    assert responder.rcvd_bytes == 7 * nominal_bytes(1, has_immediate=True)


# --- 4.21 Refusals ---------------------------------------------------------------------


def refused(lone: Lone, psn: int, code: int, msn: int = 0) -> None:
    """The QP has gone to ERROR and says why, once."""
    naks = [p for p in answers(lone, TransportAck) if p.is_nak]
    assert naks == [TransportAck(PEER_QPN, psn, code, msn)]
    assert lone.qp.state is QpState.ERROR
    (event,) = (e for e in lone.context.poll_events() if isinstance(e, QpFailed))
    assert event.status is WcStatus.FLUSHED
    assert "refused" in event.reason


def test_4_21_a_bad_key_is_an_access_error_and_writes_nothing() -> None:
    lone = Lone()
    lone.write(P, b"evil", rkey=lone.target.rkey ^ 1)
    refused(lone, P, ACCESS)
    assert not any(lone.target_bytes)


@pytest.mark.parametrize(
    ("opcode", "va", "dmalen"),
    [
        (Opcode.WRITE_ONLY, -1, 8),
        (Opcode.WRITE_ONLY, (1 << 16) - 7, 8),
        (FIRST, (1 << 16) - 64, 65),  # this packet would fit, its message does not
        (MIDDLE, (1 << 16) - 7, 4096),
        (MIDDLE, -1, 4096),
        (LAST, 100, 109),  # begins below the region
        (LAST, (1 << 16) - 7, 8),
    ],
)
def test_4_21_out_of_bounds_is_an_access_error_and_writes_nothing(
    opcode: Opcode, va: int, dmalen: int
) -> None:
    lone = Lone()
    lone.write(P, b"8 bytes.", opcode=opcode, offset=va, dmalen=dmalen)
    refused(lone, P, ACCESS)
    assert not any(lone.target_bytes)


def test_what_fits_exactly_is_placed() -> None:
    lone = Lone()
    lone.write(P, b"8 bytes.", offset=(1 << 16) - 8)
    assert bytes(lone.target_bytes[-8:]) == b"8 bytes."
    assert lone.qp.state is QpState.RTS


def test_4_4_6_a_refusal_waits_for_its_turn() -> None:
    lone = Lone()
    lone.write(P + 1, b"evil", rkey=1, msn=1)
    assert lone.qp.state is QpState.RTS
    assert answers(lone, TransportAck) == []
    lone.write(P, b"good")
    refused(lone, P + 1, ACCESS, msn=1)
    assert bytes(lone.target_bytes[:4]) == b"good"


def test_4_6_an_immediate_without_a_receive_is_invalid() -> None:
    lone = Lone()
    lone.write(P, b"x", opcode=ONLY_IMM, imm=1)
    refused(lone, P, INVALID)


@pytest.mark.parametrize(("msn", "rqmsn"), [(1, 0), (0, 1), (0xFFFF, 0)])
def test_4_6_an_immediate_out_of_turn_is_invalid(msn: int, rqmsn: int) -> None:
    lone = Lone()
    lone.context.post_recv(lone.qp, 7)
    lone.write(P, b"x", opcode=ONLY_IMM, imm=1, msn=msn, rqmsn=rqmsn)
    refused(lone, P, INVALID)
    assert [(c.wr_id, c.status) for c in lone.received()] == [(7, WcStatus.FLUSHED)]


def test_2_3_a_write_with_a_wrong_msn_is_invalid_and_rqmsn_does_not_matter_there() -> None:
    lone = Lone()
    lone.write(P, b"x", rqmsn=55)
    assert lone.qp.state is QpState.RTS
    lone.write(P + 1, b"x", msn=5)
    refused(lone, P + 1, INVALID, msn=1)


@pytest.mark.parametrize(("immediates", "is_fine"), [(2, True), (3, False)])
def test_4_6_more_immediates_than_agreed_on_are_invalid(immediates: int, is_fine: bool) -> None:
    lone = Lone(max_wimm=2)
    for wr_id in range(5):
        lone.context.post_recv(lone.qp, wr_id)
    for i in reversed(range(immediates)):
        lone.write(P + i, b"x", opcode=ONLY_IMM, imm=i, msn=i, rqmsn=i)
    if is_fine:
        assert len(lone.received()) == 2
        assert lone.qp.state is QpState.RTS
    else:
        refused(lone, P, INVALID)


def test_4_21_a_nak_is_repeated_once_per_rtt_while_the_peer_goes_on() -> None:
    lone = Lone()
    lone.write(P, b"x", rkey=1)
    lone.sent()
    times = []
    for _ in range(35):
        lone.now += RTT // 10
        middle(lone, P + 1)
        times += [out.at_ns for out in lone.sent()]
    assert len(times) == 3
    lone.now += RTT
    lone.probe(1)
    (nak,) = answers(lone, TransportAck)
    assert (nak.psn, nak.syndrome) == (P, ACCESS)
    lone.trimmed(P + 2)
    assert lone.sent() == []


def test_after_a_refusal_nothing_is_placed() -> None:
    lone = Lone()
    lone.write(P, b"x", rkey=1)
    lone.write(P + 1, b"late", msn=1, offset=8)
    assert not any(lone.target_bytes)


def test_an_ack_that_waits_when_its_qp_refuses_is_dropped_for_the_nak() -> None:
    lone = Lone()
    lone.write(P, b"x")
    lone.write(P + 1, b"y", msn=1, rkey=1)
    acks = answers(lone, TransportAck)
    assert [(ack.psn, ack.syndrome) for ack in acks] == [(P + 1, ACCESS)]


def test_in_error_by_the_applications_word_nothing_is_answered() -> None:
    lone = Lone()
    lone.endpoint.fail(lone.qp, WcStatus.FLUSHED, "test", lone.now)
    middle(lone, P, a=True)
    lone.trimmed(P + 1)
    lone.probe(3)
    assert lone.sent() == []
