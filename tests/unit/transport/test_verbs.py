"""The application API: every error of every call, states, queues, news (facts sheet 8)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from unit.transport.engine_rig import (
    CC_OFF,
    MTU,
    PEER,
    PEER_PSN,
    PSN,
    RKEY,
    START,
    VA,
    Lone,
    device,
)

from testbed.transport.mrc.completion import WcOpcode, WcStatus
from testbed.transport.mrc.ctl.cc_profile import CcProfileAttr
from testbed.transport.mrc.ctl.ev_entries import EvEntry, EvOperation
from testbed.transport.mrc.ctl.ev_format import EvFormatMode
from testbed.transport.mrc.ctl.ev_profile import EvProfileAttr
from testbed.transport.mrc.ctl.probes import ProbeKind, ProbeRequest
from testbed.transport.mrc.ctl.profile import UNSET, ProfileState
from testbed.transport.mrc.ctl.values import ApiEvState, api_ev
from testbed.transport.mrc.device import EV_PROFILE
from testbed.transport.mrc.endpoint import QpFailed
from testbed.transport.mrc.errors import Errno, MrcError
from testbed.transport.mrc.ev.states import EvState
from testbed.transport.mrc.memory import Access
from testbed.transport.mrc.qp import QpState
from testbed.transport.mrc.qp_attributes import QpAttr, QpCap, Retry
from testbed.transport.mrc.verbs import QpHint, SendWr
from testbed.transport.mrc.wire.codes import EndpointOp, Opcode
from testbed.transport.mrc.wire.packets import EndpointRequest, EndpointResponse, Write
from topologies.ev import make_ev

INIT = QpAttr(state=QpState.INIT, qp_hint=None, ev_profile_id=1, cc_profile_id=1)
RTR = QpAttr(state=QpState.RTR, dest_qp_num=0x77, dest_gid=PEER, rq_psn=5, path_mtu=MTU,
             max_wimm_dest=128, mpr_dest=8, cap=QpCap.NONE)  # fmt: skip
RTS = QpAttr(state=QpState.RTS, sq_psn=9, max_wimm=128, mpr=8, retry=Retry(), timeout=6)
ERROR, RESET = QpAttr(state=QpState.ERROR), QpAttr(state=QpState.RESET)
STEPS = {QpState.INIT: INIT, QpState.RTR: RTR, QpState.RTS: RTS}
EV = make_ev(0, 1)


def errno_of(call: Any, *arguments: Any, **keywords: Any) -> Errno:
    with pytest.raises(MrcError) as caught:
        call(*arguments, **keywords)
    return caught.value.errno


class Fresh:
    """A context with a QP in a state."""

    def __init__(self, state: QpState = QpState.RESET) -> None:
        self.context = device(0)
        self.cq = self.context.create_cq()
        self.qp = self.context.create_qp(self.cq, self.cq)
        for target, attr in STEPS.items():
            if self.qp.state is state or state is QpState.ERROR:
                break
            self.context.modify_qp(self.qp, attr, START)
            assert self.qp.state is target
        if state is QpState.ERROR:
            self.context.modify_qp(self.qp, ERROR, START)


# --- Objects ---------------------------------------------------------------------------


def test_completion_queues() -> None:
    fresh = Fresh()
    context = fresh.context
    assert errno_of(context.create_cq, 0) is Errno.EINVAL
    assert errno_of(context.destroy_cq, fresh.cq) is Errno.EBUSY
    foreign = device(1).create_cq()
    assert errno_of(context.destroy_cq, foreign) is Errno.EINVAL
    context.destroy_qp(fresh.qp)
    context.destroy_cq(fresh.cq)
    assert errno_of(context.destroy_cq, fresh.cq) is Errno.EINVAL


def test_queue_pairs() -> None:
    fresh = Fresh()
    context, cq = fresh.context, fresh.cq
    foreign = device(1).create_cq()
    assert errno_of(context.create_qp, cq, foreign) is Errno.EINVAL
    assert errno_of(context.create_qp, foreign, cq) is Errno.EINVAL
    assert errno_of(context.create_qp, cq, cq, max_send_wr=0) is Errno.EINVAL
    assert errno_of(context.create_qp, cq, cq, max_recv_wr=0) is Errno.EINVAL
    context.destroy_qp(fresh.qp)
    assert errno_of(context.destroy_qp, fresh.qp) is Errno.EINVAL
    assert errno_of(context.modify_qp, fresh.qp, INIT, START) is Errno.EINVAL
    assert errno_of(context.query_qp, fresh.qp) is Errno.EINVAL


def test_8_3_qp_hints() -> None:
    fresh = Fresh()
    context = fresh.context
    first, second = (context.create_qp_hint(QpHint(i)) for i in range(2))
    assert errno_of(context.destroy_qp_hint, 99) is Errno.EINVAL
    assert errno_of(context.modify_qp, fresh.qp, replace(INIT, qp_hint=99), START) is Errno.EINVAL
    context.modify_qp(fresh.qp, replace(INIT, qp_hint=first), START)
    assert errno_of(context.destroy_qp_hint, first) is Errno.EBUSY
    context.destroy_qp_hint(second)
    context.modify_qp(fresh.qp, RESET, START)
    context.destroy_qp_hint(first)
    assert errno_of(context.destroy_qp_hint, first) is Errno.EINVAL


def test_memory_regions() -> None:
    context = device(0)
    region = context.reg_mr(bytearray(8))
    assert context.reg_mr(bytearray(8), Access.LOCAL_WRITE).access == Access.LOCAL_WRITE
    context.dereg_mr(region)
    with pytest.raises(ValueError, match="not registered"):
        context.dereg_mr(region)


# --- States ----------------------------------------------------------------------------


def test_8_2_the_way_to_rts_and_what_the_qp_was_told() -> None:
    fresh = Fresh()
    told: dict[str, Any] = {}
    assert fresh.context.query_qp(fresh.qp) == QpAttr(state=QpState.RESET)
    for target, attr in STEPS.items():
        fresh.context.modify_qp(fresh.qp, attr, START)
        told |= {n: getattr(attr, n) for n in attr.__slots__ if getattr(attr, n) is not UNSET}
        assert fresh.context.query_qp(fresh.qp) == QpAttr(**told)
        assert fresh.qp.state is target
    fresh.context.modify_qp(fresh.qp, RESET, START)
    assert fresh.context.query_qp(fresh.qp) == QpAttr(state=QpState.RESET)


@pytest.mark.parametrize("before", QpState)
@pytest.mark.parametrize("target", QpState)
def test_8_2_every_step_is_taken_or_refused_without_a_trace(
    before: QpState, target: QpState
) -> None:
    fresh = Fresh(before)
    attr = STEPS.get(target) or QpAttr(state=target)
    order = [QpState.RESET, QpState.INIT, QpState.RTR, QpState.RTS]
    is_next = before in order[:3] and target is order[order.index(before) + 1]
    told = fresh.context.query_qp(fresh.qp)
    if is_next or target in (QpState.RESET, QpState.ERROR):
        fresh.context.modify_qp(fresh.qp, attr, START)
        assert fresh.qp.state is target
    else:
        assert errno_of(fresh.context.modify_qp, fresh.qp, attr, START) is Errno.EINVAL
        assert fresh.context.query_qp(fresh.qp) == told


@pytest.mark.parametrize(
    ("before", "attr"),
    [
        (QpState.RESET, replace(INIT, ev_profile_id=77)),
        (QpState.RESET, replace(INIT, cc_profile_id=77)),
        (QpState.INIT, replace(RTR, dest_gid=bytes(16))),
        (QpState.INIT, replace(RTR, mpr_dest=0)),
    ],
)
def test_8_2_a_refused_step_changes_nothing(before: QpState, attr: QpAttr) -> None:
    fresh = Fresh(before)
    controller = fresh.context.controller
    users = lambda: (len(controller.ev_profile(1).users), len(controller.cc_profile(1).users))  # noqa: E731
    before_users, told = users(), fresh.context.query_qp(fresh.qp)
    assert errno_of(fresh.context.modify_qp, fresh.qp, attr, START) is Errno.EINVAL
    assert (users(), fresh.context.query_qp(fresh.qp)) == (before_users, told)
    assert fresh.qp.responder is None


@pytest.mark.parametrize("state", [QpState.INIT, QpState.RTR, QpState.RTS])
@pytest.mark.parametrize("leaves", ["destroy", "reset", "error then reset"])
def test_7_1_profiles_are_busy_while_a_qp_uses_them(state: QpState, leaves: str) -> None:
    fresh = Fresh(state)
    context = fresh.context
    offline = ProfileState.OFFLINE
    steps = [(context.controller.modify_cc_profile, CcProfileAttr(state=offline)),
             (context.controller.modify_ev_profile, EvProfileAttr(state=offline))]  # fmt: skip
    assert [errno_of(call, 1, attr) for call, attr in steps] == [Errno.EBUSY] * 2
    if leaves == "error then reset":
        context.modify_qp(fresh.qp, ERROR, START)
        assert [errno_of(call, 1, attr) for call, attr in steps] == [Errno.EBUSY] * 2
    if leaves == "destroy":
        context.destroy_qp(fresh.qp)
    else:
        context.modify_qp(fresh.qp, RESET, START)
    assert not context.controller.ev_profile(1)._observers
    for call, attr in steps:
        call(1, attr)
    other = context.create_qp(fresh.cq, fresh.cq)
    assert errno_of(context.modify_qp, other, INIT, START) is Errno.EINVAL


def test_a_cc_profile_that_is_off_and_says_no_rtt_cannot_be_used() -> None:
    fresh = Fresh()
    controller = fresh.context.controller
    controller.create_cc_profile(9)
    for attr in (CcProfileAttr(algorithm=None, state=ProfileState.OFFLINE),
                 CcProfileAttr(state=ProfileState.ONLINE)):  # fmt: skip
        controller.modify_cc_profile(9, attr)
    fresh.context.modify_qp(fresh.qp, replace(INIT, cc_profile_id=9), START)
    assert errno_of(fresh.context.modify_qp, fresh.qp, RTR, START) is Errno.EINVAL


def test_rtr_receives_and_cannot_send() -> None:
    lone = Lone()
    qp = lone.context.create_qp(lone.send_cq, lone.recv_cq)
    lone.context.modify_qp(qp, INIT, START)
    assert errno_of(lone.context.post_recv, qp, 1) is Errno.EINVAL
    lone.context.modify_qp(qp, RTR, START)
    lone.context.post_recv(qp, 1)
    lone.write(5, b"x", opcode=Opcode.WRITE_ONLY_WITH_IMM, imm=4, dqp=qp.qp_num)
    assert [(c.wr_id, c.imm) for c in lone.received()] == [(1, 4)]
    wr = SendWr(1, lone.source, VA, RKEY, length=1)
    assert errno_of(lone.context.post_send, qp, wr, START) is Errno.EINVAL


def test_a_qp_works_again_after_error_and_reset_and_remembers_nothing() -> None:
    lone = Lone()
    lone.post(MTU)
    lone.sent()
    for attr in (ERROR, RESET, replace(INIT, cc_profile_id=CC_OFF), RTR, RTS):
        lone.context.modify_qp(lone.qp, attr, START)
    assert [status for _, status in lone.statuses()] == [WcStatus.FLUSHED]
    lone.post(2 * MTU)
    outs = lone.writes()
    assert [(o.packet.psn, o.packet.msn) for o in outs] == [(9, 0), (10, 0)]
    lone.ack(10, 1)
    assert [status for _, status in lone.statuses()] == [WcStatus.SUCCESS]
    lone.write(5, b"again")
    assert bytes(lone.target_bytes[:5]) == b"again"


def test_a_destroyed_or_reset_qp_is_silent_and_hears_nothing() -> None:
    for leave in (lambda lone: lone.context.destroy_qp(lone.qp),
                  lambda lone: lone.context.modify_qp(lone.qp, RESET, START)):  # fmt: skip
        lone = Lone()
        lone.post(4 * MTU)
        leave(lone)
        lone.write(PEER_PSN, b"x", a=True)
        lone.ack(PSN, 1)
        assert (lone.sent(), lone.statuses()) == ([], [])
        assert lone.endpoint.counters.unknown_qp == 2
        while lone.endpoint.next_deadline() is not None:
            lone.wake()
        assert lone.sent() == []


def test_answers_that_wait_when_a_qp_is_destroyed_still_leave() -> None:
    lone = Lone()
    lone.write(PEER_PSN, b"x", a=True)
    lone.context.destroy_qp(lone.qp)
    assert len(lone.sent()) == 2


# --- Work ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"length": -1},
        {"length": (1 << 20) + 1},
        {"length": (1 << 31) + 1},
        {"offset": -1, "length": 4},
        {"offset": 1 << 20, "length": 1},
        {"imm": 1 << 32},
        {"imm": -1},
        {"remote_va": -1},
        {"remote_va": 1 << 64, "length": 0},
        {"remote_va": (1 << 64) - 7, "length": 8},
        {"rkey": 1 << 32},
        {"rkey": -1},
    ],
)
def test_a_write_that_cannot_be_is_refused_when_it_is_posted(changes: dict[str, int]) -> None:
    lone = Lone()
    wr = replace(SendWr(1, lone.source, VA, RKEY), **changes)
    assert errno_of(lone.context.post_send, lone.qp, wr, START) is Errno.EINVAL
    assert (lone.sent(), lone.statuses()) == ([], [])


def test_a_write_to_the_last_bytes_of_all_is_sent() -> None:
    lone = Lone()
    lone.post(2 * MTU, remote_va=(1 << 64) - 2 * MTU)
    assert [out.packet.va for out in lone.sent()] == [(1 << 64) - 2 * MTU, (1 << 64) - MTU]


def test_without_a_length_the_rest_of_the_region_is_written() -> None:
    lone = Lone()
    wr = SendWr(1, lone.source, VA, RKEY, offset=(1 << 20) - 10)
    lone.context.post_send(lone.qp, wr, START)
    (out,) = lone.sent()
    assert bytes(out.packet.payload) == bytes(lone.memory[-10:])


def test_a_foreign_or_forgotten_region_is_refused() -> None:
    lone = Lone()
    region = lone.context.reg_mr(bytearray(8))
    lone.context.dereg_mr(region)
    wr = SendWr(1, region, VA, RKEY, length=8)
    assert errno_of(lone.context.post_send, lone.qp, wr, START) is Errno.EINVAL


@pytest.mark.parametrize("state", [QpState.RESET, QpState.INIT, QpState.RTR])
def test_sending_needs_rts(state: QpState) -> None:
    fresh = Fresh(state)
    wr = SendWr(1, fresh.context.reg_mr(bytearray(8)), VA, RKEY)
    assert errno_of(fresh.context.post_send, fresh.qp, wr, START) is Errno.EINVAL
    if state is not QpState.RTR:
        assert errno_of(fresh.context.post_recv, fresh.qp, 1) is Errno.EINVAL


def test_full_queues_refuse_and_room_comes_with_completions() -> None:
    lone = Lone()
    lone.qp.max_send_wr = lone.qp.max_recv_wr = 2
    for wr_id in (1, 2):
        lone.post()
        lone.context.post_recv(lone.qp, wr_id)
    wr = SendWr(9, lone.source, VA, RKEY, length=1)
    assert errno_of(lone.context.post_send, lone.qp, wr, START) is Errno.ENOMEM
    assert errno_of(lone.context.post_recv, lone.qp, 9) is Errno.ENOMEM
    lone.sent()
    lone.ack(PSN, 1)
    lone.context.post_send(lone.qp, wr, START)
    lone.write(PEER_PSN, b"x", opcode=Opcode.WRITE_ONLY_WITH_IMM, imm=4)
    lone.context.post_recv(lone.qp, 9)


@pytest.mark.parametrize("imm", [None, 3])
def test_in_error_posted_work_is_flushed_at_once(imm: int | None) -> None:
    lone = Lone()
    lone.context.post_recv(lone.qp, 50)
    lone.context.modify_qp(lone.qp, ERROR, START)
    lone.context.modify_qp(lone.qp, ERROR, START)
    wr_id = lone.post(imm=imm, is_signaled=False)
    lone.context.post_recv(lone.qp, 51)
    assert lone.statuses() == [(wr_id, WcStatus.FLUSHED)]
    received = [(c.wr_id, c.status, c.opcode) for c in lone.received()]
    kind = WcOpcode.RECV_RDMA_WITH_IMM
    assert received == [(50, WcStatus.FLUSHED, kind), (51, WcStatus.FLUSHED, kind)]
    events = [e for e in lone.context.poll_events() if isinstance(e, QpFailed)]
    assert [event.reason for event in events] == ["its application said so"]


@pytest.mark.parametrize("side", ["send", "receive"])
def test_an_overrun_queue_takes_its_qp_to_error(side: str) -> None:
    lone = Lone()
    queue = lone.send_cq if side == "send" else lone.recv_cq
    queue.depth = 1
    for i in (1, 2):
        lone.post()
        lone.context.post_recv(lone.qp, i)
    lone.sent()
    if side == "send":
        lone.ack(PSN + 1, 2)
    else:
        for i in (0, 1):
            lone.write(PEER_PSN + i, b"x", opcode=Opcode.WRITE_ONLY_WITH_IMM, imm=i, msn=i, rqmsn=i)
    assert queue.is_overrun
    assert lone.qp.state is QpState.ERROR
    (event,) = (e for e in lone.context.poll_events() if isinstance(e, QpFailed))
    assert "overran" in event.reason
    assert len(lone.context.poll_cq(queue)) == 1


# --- The controller --------------------------------------------------------------------


def set_state(lone: Lone, ev: int, state: ApiEvState, port: int = 0) -> None:
    entry = EvEntry(api_ev(ev, port), state=state)
    lone.context.controller.modify_ev_profile(
        EV_PROFILE, EvProfileAttr(operation=EvOperation.MODIFY_EV_STATE, entries=(entry,))
    )


def test_a_denied_ev_carries_nothing_until_it_is_good_again() -> None:
    lone = Lone()
    set_state(lone, EV, ApiEvState.DENIED)
    lone.post(16 * MTU)
    assert EV not in {out.ev for out in lone.writes()}
    set_state(lone, EV, ApiEvState.GOOD)
    lone.post(16 * MTU)
    assert EV in {out.ev for out in lone.writes()}


def test_a_qp_that_comes_later_takes_the_states_of_the_profile() -> None:
    lone = Lone()
    set_state(lone, EV, ApiEvState.DENIED)
    set_state(lone, make_ev(1, 0), ApiEvState.ASSUMED_BAD, 1)
    qp: Any = lone.add_qp(0x78)
    assert qp.paths.entry(EV).state is EvState.DENIED
    assert qp.paths.entry(make_ev(1, 0)).state is EvState.ASSUMED_BAD
    assert qp.paths.next_probe_at() is not None


def test_an_ev_the_controller_calls_bad_is_probed_by_an_idle_qp_too() -> None:
    lone = Lone()
    set_state(lone, EV, ApiEvState.ASSUMED_BAD)
    lone.wake()
    assert [type(out.packet) for out in lone.sent()] == [EndpointRequest]


def test_work_that_waited_for_an_ev_goes_on_when_the_controller_gives_one() -> None:
    lone = Lone()
    evs = [(make_ev(p, u), p) for p in (0, 1) for u in (0, 1)]
    for ev, port in evs:
        set_state(lone, ev, ApiEvState.DENIED, port)
    lone.post(MTU)
    assert lone.sent() == []
    set_state(lone, EV, ApiEvState.GOOD)
    assert [out.ev for out in lone.writes()] == [EV]


def test_7_6_ev_events_tell_states_and_drops_since_the_last_one() -> None:
    lone = Lone()
    events = lone.context.controller.create_ev_event_cq()
    paths: Any = lone.qp.paths
    paths.on_marked(EV, START)  # SKIP is none of the API's states
    paths.on_loss_inferred(EV, START)
    lone.context.poll_events()
    paths.set_state(EV, EvState.GOOD, START)
    lone.context.poll_events()
    paths.on_loss_inferred(EV, START)
    paths.on_loss_inferred(EV, START)
    # The first two waited unpolled and are one: the newest state, all drops.
    api = api_ev(EV, 0)
    assert [(e.ev, e.state, e.drop_count) for e in events.poll(9)] == [(api, ApiEvState.GOOD, 1)]
    lone.context.poll_events()
    assert [(e.state, e.drop_count) for e in events.poll(9)] == [(ApiEvState.ASSUMED_BAD, 2)]


def test_7_6_a_bad_ev_that_returns_into_skip_is_good_for_the_controller() -> None:
    lone = Lone()
    events = lone.context.controller.create_ev_event_cq()
    paths: Any = lone.qp.paths
    paths.on_loss_inferred(EV, START)
    lone.context.poll_events()
    events.poll(9)
    now = START
    for _ in range(3):
        now = paths.next_probe_at()
        paths.probes_due(now)
        paths.on_probe_answered(EV, now + 1, True)
    assert paths.entry(EV).state is EvState.SKIP
    lone.context.poll_events()
    assert [e.state for e in events.poll(9)] == [ApiEvState.GOOD]


def test_7_6_drops_are_counted_anew_after_a_reset() -> None:
    lone = Lone()
    events = lone.context.controller.create_ev_event_cq()
    for losses in (3, 2):
        paths: Any = lone.qp.paths
        for _ in range(losses):
            paths.on_loss_inferred(EV, START)
        lone.context.poll_events()
        assert [e.drop_count for e in events.poll(9)] == [losses]
        for attr in (RESET, INIT, RTR, RTS):
            lone.context.modify_qp(lone.qp, attr, START)


def probe(number: int, destination: bytes = PEER, mask: int = 0) -> ProbeRequest:
    return ProbeRequest(number, bytes(16), destination, EvFormatMode.STEV, api_ev(EV, 0), mask)


@pytest.mark.parametrize("kind", ProbeKind)
def test_7_7_a_batch_of_probes_is_sent_and_its_answers_counted(kind: ProbeKind) -> None:
    lone = Lone()
    is_probe = kind is ProbeKind.EV_PROBE
    mask = 0 if is_probe else 0b110
    batch = lone.context.controller.start_probes(
        kind, [probe(i, mask=mask) for i in (5, 6)], dscp=4, timeout_ns=50_000, now_ns=START
    )
    lone.context.run_probes(batch, dscp=4)
    outs = lone.sent()
    op = EndpointOp.EV_PROBE if is_probe else EndpointOp.PORT_STATUS_UPDATE
    assert [(o.packet.op, o.packet.port_status_mask, o.ev, o.port) for o in outs] == [
        (op, mask >> 1, EV, 0)
    ] * 2
    assert {out.arrival.dscp for out in outs} == {4}
    lone.now += 1_280
    lone.feed(EndpointResponse(outs[1].packet.request_id, op, outs[1].packet.tx_timestamp), port=1)
    assert not batch.is_done(lone.now)
    assert [(r.req_id, r.port, r.rtt_ns) for r in batch.result(START + 50_000)] == [(6, 2, 1_280)]


def test_7_7_a_probe_without_a_route_is_refused() -> None:
    lone = Lone()
    batch = lone.context.controller.start_probes(
        ProbeKind.EV_PROBE, [probe(1, bytes(16))], dscp=0, timeout_ns=1, now_ns=START
    )
    assert errno_of(lone.context.run_probes, batch, dscp=0) is Errno.EINVAL


def test_writes_of_an_unsignaled_kind_complete_silently() -> None:
    lone = Lone()
    lone.post(is_signaled=False)
    assert [type(out.packet) for out in lone.sent()] == [Write]
    lone.ack(PSN, 1)
    assert lone.statuses() == []
    assert lone.qp.requester.messages == type(lone.qp.requester.messages)()  # type: ignore
