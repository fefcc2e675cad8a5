"""One NIC's engine: datagrams to nobody, ports, probes, and two of them on a scripted wire."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from unit.transport.engine_rig import (
    CC_OFF,
    MTU,
    PEER,
    PEER_PSN,
    PSN,
    RTT,
    SELF,
    START,
    Flight,
    Lone,
    Out,
    Pair,
    device,
    flush,
    mark,
    trim,
)

from testbed.transport.mrc.clock import timestamp
from testbed.transport.mrc.completion import WcStatus
from testbed.transport.mrc.device import PeerInfo, connect, make_qp
from testbed.transport.mrc.endpoint import EvChanged, PeerPortsChanged, QpFailed
from testbed.transport.mrc.ev.states import EvState
from testbed.transport.mrc.qp import QpState
from testbed.transport.mrc.qp_attributes import Retry
from testbed.transport.mrc.srv6 import Routes
from testbed.transport.mrc.wire.codec import Envelope, encode
from testbed.transport.mrc.wire.codes import EndpointOp, NackReason
from testbed.transport.mrc.wire.packets import (
    EndpointRequest,
    EndpointResponse,
    Nack,
    ReliabilityProbe,
    Sack,
    TransportAck,
    Write,
)
from topologies.ev import make_ev
from topologies.numbers import Dscp

PROBE, UPDATE = EndpointOp.EV_PROBE, EndpointOp.PORT_STATUS_UPDATE
STRANGER = PEER[:-1] + b"\x02"


def requests(lone: Lone, op: EndpointOp) -> list[Out]:
    """Endpoint requests that leave now."""
    return [o for o in lone.sent()
            if isinstance(o.packet, EndpointRequest) and o.packet.op == op]  # fmt: skip


def answer(lone: Lone, out: Out) -> None:
    lone.feed(
        EndpointResponse(out.packet.request_id, out.packet.op, out.packet.tx_timestamp),
        port=out.port,
    )


# --- Datagrams that reach nobody -------------------------------------------------------


def test_each_cause_is_counted_and_nothing_else_happens() -> None:
    lone = Lone()
    counters = lone.endpoint.counters
    good = lambda **way: lone.write(PEER_PSN, b"data", a=True, **way)  # noqa: E731
    good(dqp=0x999)
    good(source=STRANGER)
    good(destination=PEER)
    lone.endpoint.receive(0, b"", lone.now)
    lone.endpoint.receive(0, bytes(200), lone.now)
    lone.feed(TransportAck(0x55, 0, 0x1F, 0))
    assert (counters.unknown_qp, counters.not_for_us, counters.malformed) == (3, 1, 2)
    assert counters.received == 6
    assert lone.sent() == []
    assert not any(lone.target_bytes)


@pytest.mark.parametrize("at", [81, 100, 120, 135, 140])
def test_a_damaged_packet_is_an_icrc_error(at: int) -> None:
    sender, lone = Lone(), Lone()
    sender.post(64)
    datagram = bytearray(sender.sent()[0].datagram)
    datagram[at] ^= 4
    lone.endpoint.receive(0, datagram, lone.now)
    assert lone.endpoint.counters.icrc_errors == 1
    assert lone.sent() == []


def test_a_qp_that_is_not_yet_rtr_is_unknown() -> None:
    context = device(0)
    cq = context.create_cq()
    qp = context.create_qp(cq, cq)
    packet = TransportAck(qp.qp_num, 0, 0x1F, 0)
    envelope = Envelope(PEER, SELF, bytes(16), 0, 0, 0)
    context.endpoint.receive(0, encode(envelope, packet), 0)
    assert context.endpoint.counters.unknown_qp == 1


def test_qp_numbers_are_unique_and_come_round() -> None:
    lone = Lone()
    assert lone.qp.qp_num == 3
    lone.endpoint._next_qpn = (1 << 24) - 1
    assert lone.endpoint.new_qp_num() == (1 << 24) - 1
    assert lone.endpoint.new_qp_num() == 4
    lone.endpoint.qps[(1 << 24) - 1] = lone.qp
    lone.endpoint._next_qpn = (1 << 24) - 1
    assert lone.endpoint.new_qp_num() == 4


# --- 4.15 Endpoint requests as the one who answers --------------------------------------


@pytest.mark.parametrize("op", [PROBE, UPDATE])
def test_4_15_a_request_is_answered_on_its_path_in_the_control_class(op: EndpointOp) -> None:
    lone = Lone()
    lone.feed(EndpointRequest(0xABC, op, 0b11 if op is UPDATE else 0, 0x77), port=1,
              ev=make_ev(1, 1), source=STRANGER)  # fmt: skip
    (out,) = lone.sent()
    assert out.packet == EndpointResponse(0xABC, op, 0x77)
    assert (out.port, out.ev, out.arrival.destination) == (1, make_ev(1, 1), STRANGER)
    assert (out.arrival.dscp, out.datagram[1] >> 4 & 3) == (Dscp.CONTROL, 0)
    assert out.arrival.path_address == lone.endpoint.routes.lookup(STRANGER).address(out.ev)


def test_a_request_without_a_way_back_is_counted() -> None:
    lone = Lone()
    lone.feed(EndpointRequest(1, PROBE, 0, 0), source=bytes(16))
    lone.feed(EndpointRequest(1, PROBE, 0, 0), ev=make_ev(0, 0) | 1)
    assert lone.endpoint.counters.unroutable == 2
    assert lone.sent() == []
    assert Lone(routes=None).endpoint.counters.unroutable == 0


def test_4_15_a_peers_port_that_is_down_is_not_used_until_it_is_back() -> None:
    lone = Lone()
    other = lone.add_qp(0x78)
    lone.feed(EndpointRequest(1, UPDATE, 0b01, timestamp(lone.now)))
    for qp in (lone.qp, other):
        lone.post(8 * MTU, qp=qp)
    assert {out.port for out in lone.writes()} == {0}
    lone.now += 1_280
    lone.feed(EndpointRequest(2, UPDATE, 0b11, timestamp(lone.now)))
    for qp in (lone.qp, other):
        lone.post(8 * MTU, qp=qp)
    assert {out.port for out in lone.writes()} == {0, 1}
    events = [e for e in lone.context.poll_events() if isinstance(e, PeerPortsChanged)]
    assert events == [PeerPortsChanged(PEER, 0b01, START),
                      PeerPortsChanged(PEER, 0b11, START + 1_280)]  # fmt: skip


def test_4_15_an_overtaken_update_is_answered_and_ignored() -> None:
    lone = Lone()
    lone.now += 12_800
    lone.feed(EndpointRequest(2, UPDATE, 0b01, timestamp(lone.now)))
    lone.feed(EndpointRequest(1, UPDATE, 0b11, timestamp(lone.now - 1_280)))
    assert [type(out.packet) for out in lone.sent()] == [EndpointResponse] * 2
    lone.post(8 * MTU)
    assert {out.port for out in lone.writes()} == {0}


def test_4_15_what_a_peer_said_before_there_was_a_qp_counts_for_it() -> None:
    lone = Lone()
    lone.feed(EndpointRequest(2, UPDATE, 0b10, 0), source=STRANGER)
    lone.context.destroy_qp(lone.qp)
    lone.feed(EndpointRequest(2, UPDATE, 0b10, 0))
    lone.qp = lone.add_qp()
    lone.post(4 * MTU)
    assert {out.port for out in lone.writes()} == {1}


# --- 4.15 Telling our ports --------------------------------------------------------------


def lose_port_1(lone: Lone) -> list[Out]:
    lone.endpoint.on_ports_changed(0b01, lone.now)
    return requests(lone, UPDATE)


def test_4_15_every_peer_is_told_every_two_rtts_eight_times_then_ever_more_rarely() -> None:
    lone = Lone()
    outs = lose_port_1(lone)
    for _ in range(15):
        lone.wake()
        outs += requests(lone, UPDATE)
    gaps = [(b.at_ns - a.at_ns) // RTT for a, b in pairwise(outs)]
    assert gaps == [2] * 8 + [4, 8, 16, 32, 64, 64, 64]
    assert {out.packet.port_status_mask for out in outs} == {0b01}
    assert {(out.arrival.destination, out.arrival.dscp) for out in outs} == {(PEER, Dscp.CONTROL)}
    assert lone.endpoint.counters.port_updates == 16


def test_4_15_a_peer_all_of_whose_qps_have_failed_is_told_no_more() -> None:
    lone = Lone()
    lose_port_1(lone)
    lone.endpoint.fail(lone.qp, WcStatus.FLUSHED, "test", lone.now)
    lone.wake()
    assert (lone.sent(), lone.endpoint.next_deadline()) == ([], None)


def test_4_15_repetitions_take_another_live_plane_each() -> None:
    lone = Lone()
    lose_port_1(lone)
    lone.now += 128
    lone.endpoint.on_ports_changed(0b11, lone.now)
    outs = requests(lone, UPDATE)
    for _ in range(3):
        lone.wake()
        outs += requests(lone, UPDATE)
    ports = [out.port for out in outs]
    assert all(a != b for a, b in pairwise(ports))


def test_4_15_an_answer_ends_the_repetitions() -> None:
    lone = Lone()
    (out,) = lose_port_1(lone)
    lone.now += RTT
    answer(lone, out)
    lone.wake()
    assert (lone.sent(), lone.endpoint.next_deadline()) == ([], None)


def test_4_15_the_newest_change_wins_also_against_answers_to_an_older_one() -> None:
    lone = Lone()
    (old,) = lose_port_1(lone)
    lone.now += 128
    lone.endpoint.on_ports_changed(0b10, lone.now)
    (new,) = requests(lone, UPDATE)
    assert new.packet.port_status_mask == 0b10
    answer(lone, old)
    lone.wake()
    lone.wake()  # the first was the older one's
    (again,) = requests(lone, UPDATE)
    assert again.packet.port_status_mask == 0b10
    answer(lone, new)
    lone.wake()
    assert requests(lone, UPDATE) == []


def test_4_15_an_update_that_waited_for_its_port_says_what_is_true_when_it_leaves() -> None:
    lone = Lone()
    lone.endpoint.on_ports_changed(0b01, lone.now)
    lone.endpoint.on_ports_changed(0b11, lone.now)
    lone.now += 128
    masks = [out.packet.port_status_mask for out in requests(lone, UPDATE)]
    assert masks == [0b11, 0b11]


def test_4_15_only_peers_with_qps_are_told_and_a_new_one_hears_at_once() -> None:
    lone = Lone()
    lone.context.destroy_qp(lone.qp)
    assert lose_port_1(lone) == []
    lone.qp = lone.add_qp(is_introduced=False)
    (out,) = requests(lone, UPDATE)
    assert out.packet.port_status_mask == 0b01
    lone.add_qp(0x78)
    assert requests(lone, UPDATE) == []  # it is being told


def test_4_15_a_peer_that_was_told_of_a_loss_hears_that_it_is_over_with_its_next_qp() -> None:
    lone = Lone()
    lose_port_1(lone)
    lone.context.destroy_qp(lone.qp)
    lone.endpoint.on_ports_changed(0b11, lone.now)
    assert lone.sent() == []
    lone.qp = lone.add_qp(is_introduced=False)
    assert [o.packet.port_status_mask for o in requests(lone, UPDATE)] == [0b11]


def test_no_change_no_news() -> None:
    lone = Lone()
    lone.endpoint.on_ports_changed(0b11, lone.now)
    assert lone.sent() == []


def test_a_port_that_is_down_sends_nothing_and_what_waited_there_is_lost() -> None:
    lone = Lone()
    lone.write(PEER_PSN, b"x", a=True, port=1)
    lone.post(8 * MTU)
    lone.endpoint.on_ports_changed(0b01, lone.now)
    outs = lone.sent()
    assert {out.port for out in outs} == {0}
    assert not [out for out in outs if isinstance(out.packet, Sack | TransportAck)]
    assert lone.endpoint.controls.dropped == 2


def test_7_8_a_port_disabled_by_the_controller_is_down_until_enabled() -> None:
    lone = Lone()
    lone.now += 10 * RTT
    lone.endpoint.on_deadline(lone.now)
    controller = lone.context.controller
    controller.set_port(1, False)
    assert not controller.is_port_up(1)
    (told,) = requests(lone, UPDATE)
    assert told.packet.port_status_mask == 0b10
    lone.post(8 * MTU)
    assert {out.port for out in lone.writes()} == {1}
    lone.endpoint.on_ports_changed(0b01, lone.now)  # the enabled one loses its carrier
    assert lone.endpoint.up_ports == 0
    lone.endpoint.on_ports_changed(0b11, lone.now)
    assert lone.endpoint.up_ports == 0b10
    controller.set_port(1, True)
    assert (lone.endpoint.up_ports, controller.is_port_up(1)) == (0b11, True)


def test_7_8_a_change_by_the_controller_is_dated_with_the_last_call_of_any_kind() -> None:
    lone = Lone()
    lone.now += 100 * RTT
    lone.sent()
    lone.context.controller.set_port(1, False)
    assert lone.endpoint.next_deadline() == lone.now + 2 * RTT


# --- EV probes ---------------------------------------------------------------------------


def make_bad(lone: Lone, ev: int, qp: Any = None) -> None:
    (qp or lone.qp).paths.on_loss_inferred(ev, lone.now)
    lone.endpoint.kick(qp or lone.qp, lone.now)


def test_4_11_a_bad_ev_is_probed_each_four_rtts_and_back_after_three_answers() -> None:
    lone, ev = Lone(), make_ev(1, 1)
    make_bad(lone, ev)
    for i in range(3):
        lone.wake()
        (out,) = requests(lone, PROBE)
        assert lone.now == START + (i + 1) * 4 * RTT
        assert (out.port, out.ev, out.arrival.dscp) == (1, ev, Dscp.NO_TRIM)
        assert out.packet == EndpointRequest(i, PROBE, 0, timestamp(lone.now))
        lone.now += RTT
        answer(lone, out)
    entry = lone.qp.paths.entry(ev)  # type: ignore[union-attr]
    assert entry is not None
    assert entry.state is EvState.GOOD
    changes = [e.change.after for e in lone.context.poll_events() if isinstance(e, EvChanged)]
    assert changes == [EvState.ASSUMED_BAD, EvState.GOOD]
    assert lone.endpoint.counters.ev_probes == 3


def test_22_two_qps_to_one_peer_share_their_probes() -> None:
    lone, ev = Lone(), make_ev(0, 1)
    other = lone.add_qp(0x78)
    make_bad(lone, ev)
    make_bad(lone, ev, other)
    for _ in range(3):
        lone.wake()
        (out,) = requests(lone, PROBE)
        answer(lone, out)
    for qp in (lone.qp, other):
        assert qp.paths.entry(ev).state is EvState.GOOD  # type: ignore[union-attr]
    assert lone.endpoint.counters.ev_probes == 3


def test_4_15_a_lost_ev_probe_is_not_repeated_but_followed_later() -> None:
    lone = Lone()
    make_bad(lone, make_ev(0, 1))
    times = []
    for _ in range(4):
        lone.wake()
        times += [out.at_ns - START for out in requests(lone, PROBE)]
    assert times == [4 * RTT, 8 * RTT, 16 * RTT, 32 * RTT]


def test_4_14_who_only_receives_probes_for_a_way_back_and_uses_it() -> None:
    lone = Lone()
    lone.write(PEER_PSN, b"x", a=True, ev=make_ev(0, 0))
    lone.sent()
    lone.wake()
    assert lone.now == START + RTT
    (out,) = requests(lone, PROBE)
    answer(lone, out)
    other = make_ev(out.port, 1 - (out.ev >> 16 & 1))
    lone.write(PEER_PSN + 1, b"x", msn=1, a=True, port=out.port, ev=other)
    assert {o.ev for o in lone.sent()} == {out.ev}


def test_4_14_data_that_was_acknowledged_confirms_the_way_back() -> None:
    lone = Lone()
    lone.post(MTU)
    (out,) = lone.sent()
    lone.sack(PSN, out)
    other = make_ev(out.port, 1 - (out.ev >> 16 & 1))
    lone.write(PEER_PSN, b"x", a=True, port=out.port, ev=other)
    assert {o.ev for o in lone.sent()} == {out.ev}


def test_an_answer_after_the_qp_is_gone_harms_nobody() -> None:
    lone = Lone()
    make_bad(lone, make_ev(0, 1))
    lone.wake()
    (out,) = requests(lone, PROBE)
    lone.context.destroy_qp(lone.qp)
    answer(lone, out)
    answer(lone, out)
    lone.feed(EndpointResponse(0x4321, PROBE, 0))
    assert lone.sent() == []


def test_requests_for_anybody_need_no_qp() -> None:
    lone, heard = Lone(), []
    lone.endpoint.packets.request(
        STRANGER, make_ev(1, 0), 1, PROBE, lambda *told: heard.append(told), dscp=Dscp.TRIMMABLE
    )
    (out,) = requests(lone, PROBE)
    assert (out.port, out.arrival.destination, out.arrival.dscp) == (1, STRANGER, Dscp.TRIMMABLE)
    lone.now += 1_280
    answer(lone, out)
    answer(lone, out)
    assert heard == [(1_280, 1, lone.now)]


def test_answers_go_before_requests_and_these_before_data() -> None:
    lone = Lone()
    lone.post(MTU)
    lone.endpoint.packets.request(PEER, 0, 0, PROBE, lambda *_: None)
    lone.write(PEER_PSN, b"x", a=True)
    kinds = [type(out.packet) for out in lone.sent(0b01)]
    assert kinds == [TransportAck, Sack, EndpointRequest, Write]


def test_two_qps_send_in_turn() -> None:
    lone = Lone(mtu=4096)
    other = lone.add_qp(0x78)
    lone.post(5 * 4096)
    lone.post(5 * 4096, qp=other)
    turns = [out.packet.dqp for out in lone.sent()]
    leads = [turns[:i].count(0x77) - turns[:i].count(0x78) for i in range(11)]
    assert (min(leads), max(leads), leads[-1]) == (0, 1, 0)


# --- Two engines on a scripted wire --------------------------------------------------------


def finish(pair: Pair, writes: int = 1) -> None:
    """Run; every write must complete well, and every QP be fine."""
    pair.run()
    done = pair.completions(pair.send_cqs, 0)
    assert [(c.wr_id, c.status) for c in done] == [
        (i + 1, WcStatus.SUCCESS) for i in range(writes)
    ]
    assert [qp.state for qp in pair.qps] == [QpState.RTS] * 2
    requester: Any = pair.qps[0].requester
    assert (requester.window.packets, requester.cc.inflight_pkts) == ({}, 0)
    assert -256 < requester.cc.inflight <= 0
    assert (requester.cc.backlog, requester.cc.waiting_rtx, requester.cc.rtx_backlog) == (0, 0, 0)


def times_sent(pair: Pair) -> Counter[int]:
    return Counter(flight.packet.psn for flight in pair.sends())


def is_nth_write(flight: Flight, *numbers: int) -> bool:
    """A first transmission of one of these packets, counted from 0."""
    packet = flight.packet
    return (flight.host == 0 and isinstance(packet, Write) and not packet.rtx
            and packet.psn - PSN in numbers)  # fmt: skip


def test_without_loss_each_packet_is_sent_once_and_a_round_trip_is_enough() -> None:
    pair = Pair()
    source, target = pair.write(40 * MTU + 3)
    finish(pair)
    assert target == source
    assert set(times_sent(pair).values()) == {1}
    assert pair.contexts[0].endpoint.next_deadline() is None
    acks = pair.sends(TransportAck, 1)
    assert [ack.at_ns for ack in acks] == [START + RTT // 2]


def test_exactly_what_was_lost_is_sent_again_once() -> None:
    dropped = (0, 5, 6, 20, 38, 39)
    pair = Pair(script=lambda f: [] if is_nth_write(f, *dropped) else None)
    source, target = pair.write(40 * MTU)
    finish(pair)
    assert target == source
    assert times_sent(pair) == Counter({PSN + i: 1 + (i in dropped) for i in range(40)})


def test_4_17_trimmed_packets_come_again_within_a_round_trip_on_another_ev() -> None:
    cut = (3, 17, 30)
    pair = Pair(script=lambda f: [(0, trim(f.datagram))] if is_nth_write(f, *cut) else None)
    source, target = pair.write(40 * MTU)
    finish(pair)
    assert target == source
    nacks = pair.sends(Nack, 1)
    assert [n.packet.nack_reason for n in nacks] == [NackReason.TRIMMED] * 3
    by_psn: dict[int, list[Flight]] = {}
    for flight in pair.sends():
        by_psn.setdefault(flight.packet.psn, []).append(flight)
    assert {psn for psn, all_ in by_psn.items() if len(all_) > 1} == {PSN + i for i in cut}
    for i in cut:
        first, again = by_psn[PSN + i]
        assert again.at_ns - first.at_ns <= RTT
        assert again.packet == first.packet._replace(
            rtx=True, a=False, tx_timestamp=timestamp(again.at_ns)
        )
        assert again.datagram[80:82] != first.datagram[80:82]  # UDP source port: the EV


def test_reordering_and_duplication_change_nothing_but_the_order() -> None:
    def shuffle(f: Flight) -> list[tuple[int, bytes]]:
        return [(f.number * 7919 % 1_000, f.datagram), (f.number * 104_729 % 2_000, f.datagram)]

    pair = Pair(script=shuffle)
    source, target = pair.write(60 * MTU)
    for wr_id in (1, 2, 3):
        pair.contexts[1].post_recv(pair.qps[1], wr_id)
    others = [pair.write(3 * MTU, wr_id, imm=wr_id) for wr_id in (2, 3)]
    pair.run()
    assert target == source
    assert all(a == b for a, b in others)
    done = pair.completions(pair.send_cqs, 0)
    assert [(c.wr_id, c.status) for c in done] == [(i, WcStatus.SUCCESS) for i in (1, 2, 3)]
    assert [(c.wr_id, c.imm) for c in pair.completions(pair.recv_cqs, 1)] == [(1, 2), (2, 3)]


def test_damage_is_like_loss_and_counted() -> None:
    def damage(f: Flight) -> list[tuple[int, bytes]] | None:
        if not is_nth_write(f, 4, 9):
            return None
        return [(0, f.datagram[:150] + bytes([f.datagram[150] ^ 1]) + f.datagram[151:])]

    pair = Pair(script=damage)
    source, target = pair.write(30 * MTU)
    finish(pair)
    assert target == source
    assert pair.contexts[1].endpoint.counters.icrc_errors == 2


def test_marks_skip_evs_and_cost_no_retransmission() -> None:
    pair = Pair(script=lambda f: [(0, mark(f.datagram))] if is_nth_write(f, 1, 2) else None)
    source, target = pair.write(30 * MTU)
    finish(pair)
    assert target == source
    assert set(times_sent(pair).values()) == {1}
    changes = [e.change.after for e in pair.contexts[0].poll_events() if isinstance(e, EvChanged)]
    assert EvState.SKIP in changes


@pytest.mark.parametrize("kind", [Sack, TransportAck])
def test_all_answers_of_one_kind_may_be_lost_for_a_while(kind: type) -> None:
    pair = Pair(script=lambda f: [] if f.at_ns < START + 8 * RTT and isinstance(f.packet, kind)
                else None)  # fmt: skip
    writes = [pair.write(20 * MTU)]
    pair.run()
    pair.now = max(pair.now, START + 8 * RTT)
    writes.append(pair.write(20 * MTU, 2))
    finish(pair, 2)
    assert all(source == target for source, target in writes)


def test_4_1_without_any_sack_transport_acks_alone_complete_everything() -> None:
    pair = Pair(cc_profile=CC_OFF, script=lambda f: [] if isinstance(f.packet, Sack) else None)
    source, target = pair.write(20 * MTU)
    pair.run(3 * RTT)
    assert target == source
    assert [c.status for c in pair.completions(pair.send_cqs, 0)] == [WcStatus.SUCCESS]


def test_4_10_a_lost_tail_is_found_by_a_probe_before_the_timer() -> None:
    pair = Pair(script=lambda f: [] if is_nth_write(f, 9) else None, timeout=10)
    source, target = pair.write(10 * MTU)
    finish(pair)
    assert target == source
    assert len(pair.sends(ReliabilityProbe)) == 1
    assert pair.sends()[-1].at_ns < START + 5 * RTT


def test_a_plane_that_swallows_everything_is_left() -> None:
    pair = Pair(script=lambda f: [] if f.port == 1 else None, timeout=8)
    writes = [pair.write(50 * MTU, wr_id) for wr_id in (1, 2, 3)]
    finish(pair, 3)
    assert all(source == target for source, target in writes)


def test_a_peer_that_is_away_costs_the_whole_retry_budget_then_the_qp() -> None:
    pair = Pair(script=lambda f: [], retry=Retry(1, 1))
    pair.write(3 * MTU)
    pair.run()
    (event,) = (e for e in pair.contexts[0].poll_events() if isinstance(e, QpFailed))
    assert (event.status, event.at_ns) == (WcStatus.RETRY_EXCEEDED, START + 4 * 65_536)
    assert pair.qps[1].state is QpState.RTS  # it learns nothing (4.21)


def test_4_21_a_refusal_ends_both_ends_even_where_the_nak_is_lost_twice() -> None:
    naks = []

    def lose_naks(f: Flight) -> list[tuple[int, bytes]] | None:
        if isinstance(f.packet, TransportAck) and f.packet.is_nak:
            naks.append(f)
            return [] if len(naks) < 3 else None
        return None

    pair = Pair(script=lose_naks)
    source, target = pair.write(3 * MTU)
    region = pair.contexts[1].endpoint.memory
    rkey = next(iter(region._remote_by_rkey))
    del region._remote_by_rkey[rkey]
    pair.run()
    assert target == bytes(3 * MTU) != source
    assert [qp.state for qp in pair.qps] == [QpState.ERROR] * 2
    assert [c.status for c in pair.completions(pair.send_cqs, 0)] == [
        WcStatus.REMOTE_ACCESS_ERROR
    ]
    assert len(naks) == 3
    assert all(b.at_ns - a.at_ns >= RTT for a, b in pairwise(naks))


def test_psn_wrap_under_loss() -> None:
    lost = (3, 17, 25)
    drop = lambda f: [] if not f.host and f.number in lost else None  # noqa: E731
    pair = Pair(psn=(1 << 24) - 20, script=drop)
    source, target = pair.write(40 * MTU)
    finish(pair)
    assert target == source


def test_the_same_twice_sends_the_same_bytes_at_the_same_times() -> None:
    logs = []
    for _ in range(2):
        pair = Pair(script=lambda f: [] if f.number % 9 == 4 else None)
        pair.write(50 * MTU)
        pair.run()
        logs.append([(f.at_ns, f.port) for f in pair.log if not isinstance(f.packet, Write)])
    assert logs[0] == logs[1]
    assert logs[0]


def test_a_nic_without_routes_opens_all_the_same() -> None:
    assert device(0, routes=Routes([])).endpoint.next_deadline() is None


# --- The first QP to a peer, and ports the controller has disabled ---------------------


def test_the_first_qp_to_a_peer_tells_it_our_ports_even_if_all_are_up() -> None:
    """A NIC that was restarted must undo what its peers remember of its earlier life."""
    context = device(0)
    lone_cq = context.create_cq()
    qps = [make_qp(context, lone_cq, lone_cq, 0, cc_profile=CC_OFF) for _ in range(2)]
    mine, peer = (PeerInfo(address, 3, 0, 4096) for address in (SELF, PEER))
    for qp in qps:
        connect(context, qp, mine, peer, 0)
    told = [out.packet for out in flush(context, 0, -1)]
    assert [(p.op, p.port_status_mask) for p in told if isinstance(p, EndpointRequest)] == [
        (EndpointOp.PORT_STATUS_UPDATE, context.endpoint.all_ports)
    ]


def test_a_port_the_controller_disabled_hears_nothing() -> None:
    lone = Lone()
    lone.context.controller.set_port(1, False)
    before = lone.endpoint.counters.malformed
    lone.endpoint.receive(0, b"anything", lone.now)
    lone.endpoint.receive(1, b"anything", lone.now)
    assert lone.endpoint.counters.port_disabled == 1
    assert lone.endpoint.counters.malformed == before + 1
