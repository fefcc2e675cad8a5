"""A host's device as the laboratory opens it, and two applications' way to RTS."""

from __future__ import annotations

import pytest
from unit.transport.engine_rig import PEER, RTT, SELF, SPEC, START, device

from testbed.transport.mrc.choices import DEFAULT_TIMEOUT
from testbed.transport.mrc.ctl.attributes import NSCC_ALGORITHM
from testbed.transport.mrc.ctl.ev_entries import EvOperation
from testbed.transport.mrc.ctl.profile import ProfileState
from testbed.transport.mrc.ctl.values import ApiEvState, api_ev
from testbed.transport.mrc.device import (
    CC_CROSS_T1,
    CC_T0_LOCAL,
    EV_PROFILE,
    PeerInfo,
    add_ev_profile,
    cc_defaults,
    connect,
    every_path,
    make_qp,
    narrow_ev_profile,
)
from testbed.transport.mrc.qp import QpState
from testbed.transport.mrc.qp_attributes import QpCap, Retry
from topologies.ev import make_ev
from topologies.numbers import base_rtt_ns

LOCAL_RTT = base_rtt_ns(SPEC, cross_t1=False)


def test_every_path_by_plane_then_uplink() -> None:
    evs = [(make_ev(p, u), p) for p in (0, 1) for u in (0, 1)]
    assert [tuple(path) for path in every_path(SPEC)] == evs
    assert [tuple(path) for path in every_path(SPEC, 1)] == [evs[0], evs[2]]


def test_the_address_is_the_hosts() -> None:
    assert device(0).endpoint.address == SELF
    assert device(2).endpoint.address == PEER


def test_the_default_profiles_are_online() -> None:
    controller = device(0).controller
    evs = controller.query_ev_profile(EV_PROFILE, EvOperation.QUERY_EV_ARRAY)
    assert (evs.state, evs.count, evs.min_active) == (ProfileState.ONLINE, 4, 2)
    assert [(e.ev, e.state) for e in evs.entries] == [
        (api_ev(*path), ApiEvState.GOOD) for path in every_path(SPEC)
    ]
    for profile_id, rtt_ns in ((CC_CROSS_T1, RTT), (CC_T0_LOCAL, LOCAL_RTT)):
        attr = controller.query_cc_profile(profile_id)
        assert (attr.state, attr.algorithm) == (ProfileState.ONLINE, NSCC_ALGORITHM)
        assert attr.config.base_rtt == rtt_ns  # type: ignore[union-attr]


def test_a_pairs_base_rtt_and_window_are_its_own_and_the_target_is_the_fabrics() -> None:
    cross, local = (cc_defaults(SPEC, cross_t1=each) for each in (True, False))
    assert (cross.base_rtt, local.base_rtt) == (RTT, LOCAL_RTT)
    assert local.max_cwnd < cross.max_cwnd
    assert (local.target_delay, local.alpha > 0) == (cross.target_delay, True)


def test_a_profile_with_spares() -> None:
    controller = device(0).controller
    add_ev_profile(controller, 7, SPEC, active_per_port=1)
    profile = controller.ev_profile(7)
    assert (profile.count, profile.active_per_port, profile.min_active) == (4, 1, 2)


def test_a_narrow_profile_has_the_first_uplinks_of_each_plane() -> None:
    controller = device(0).controller
    number = narrow_ev_profile(controller, active=1, spares=0)
    profile = controller.ev_profile(number)
    assert number != EV_PROFILE
    assert [(entry.ev, entry.port) for entry in profile.entries()] == [
        (make_ev(plane, 0), plane) for plane in range(SPEC.planes)]
    assert (profile.active_per_port, profile.min_active) == (1, SPEC.planes)
    assert narrow_ev_profile(controller, active=1, spares=1) != number


@pytest.mark.parametrize(("active", "spares"), [(0, 1), (1, -1), (SPEC.t1_per_plane, 1)])
def test_a_narrow_profile_is_not_wider_than_the_plane(active: int, spares: int) -> None:
    controller = device(0).controller
    with pytest.raises(ValueError, match="are not possible: use 1 active or more, and"):
        narrow_ev_profile(controller, active=active, spares=spares)
    assert controller.free_evs() == controller.attributes.max_evs - SPEC.planes * SPEC.t1_per_plane


@pytest.mark.parametrize(("max_wimm", "expected"), [(None, 20), (5, 5), (99, 20)])
def test_connect_takes_the_smaller_of_what_both_can(max_wimm: int | None, expected: int) -> None:
    context = device(0)
    cq = context.create_cq()
    qp = make_qp(context, cq, cq, START, cc_profile=CC_CROSS_T1)
    assert qp.state is QpState.INIT
    mine = PeerInfo(SELF, qp.qp_num, 11, 4096, 10, 4, QpCap.DYNAMIC_MPR)
    peer = PeerInfo(PEER, 0x99, 22, 1024, 20, 6, QpCap.DYNAMIC_MPR)
    connect(context, qp, mine, peer, START, max_wimm=max_wimm)
    told = context.query_qp(qp)
    assert (told.dest_qp_num, told.dest_gid, told.rq_psn, told.sq_psn) == (0x99, PEER, 22, 11)
    assert (told.path_mtu, told.max_wimm_dest, told.max_wimm) == (1024, 10, expected)
    assert (told.mpr_dest, told.mpr, told.cap) == (4, 6, QpCap.DYNAMIC_MPR)
    assert (told.retry, told.timeout) == (Retry(), DEFAULT_TIMEOUT)


def test_the_range_is_dynamic_only_where_both_sides_say_so() -> None:
    context = device(0)
    cq = context.create_cq()
    qp = make_qp(context, cq, cq, START, cc_profile=CC_CROSS_T1)
    mine = PeerInfo(SELF, qp.qp_num, 1, 4096, cap=QpCap.DYNAMIC_MPR | QpCap.PEER_NO_TRIM_NACK)
    connect(context, qp, mine, PeerInfo(PEER, 0x99, 1, 4096), START)
    assert context.query_qp(qp).cap == QpCap.PEER_NO_TRIM_NACK


def test_a_port_without_carrier_is_down_for_the_controller() -> None:
    context = device(0)
    context.endpoint.on_ports_changed(0b10, START)
    assert [context.controller.is_port_up(port) for port in (1, 2)] == [False, True]
