"""The controller: access, ports, EV events and probes of one device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from testbed.transport.mrc.ctl.attributes import ALL_CAPABILITIES, NSCC_ALGORITHM
from testbed.transport.mrc.ctl.cc_profile import CcProfileAttr
from testbed.transport.mrc.ctl.ev_entries import EvEntry, EvOperation
from testbed.transport.mrc.ctl.ev_events import EvEvent, EvEventCq
from testbed.transport.mrc.ctl.ev_fields import EvField
from testbed.transport.mrc.ctl.ev_format import EvFormatAttr, EvFormatMode
from testbed.transport.mrc.ctl.ev_profile import EvProfileAttr
from testbed.transport.mrc.ctl.probes import ProbeKind, ProbeRequest
from testbed.transport.mrc.ctl.profile import Capability, ProfileState
from testbed.transport.mrc.ctl.values import ApiEvState, api_ev
from testbed.transport.mrc.errors import Errno
from topologies.ev import make_ev

GOOD, BAD, DENIED, _ = ApiEvState
A = api_ev(make_ev(0, 0), 0)
Make = Callable[..., Any]


def probe(req_id: int) -> ProbeRequest:
    return ProbeRequest(req_id, bytes(16), bytes(16), EvFormatMode.STEV, A)


def start(rig: Any, *req_ids: int, now_ns: int = 0) -> Any:
    return rig.controller.start_probes(
        ProbeKind.EV_PROBE,
        [probe(req_id) for req_id in req_ids],
        dscp=4,
        timeout_ns=100,
        now_ns=now_ns,
    )


def calls(rig: Any) -> list[Callable[[], object]]:
    """Every call of the controller's, with arguments that do not matter."""
    c = rig.controller
    return [
        c.create_ev_format,
        lambda: c.modify_ev_format(1, EvFormatAttr()),
        lambda: c.query_ev_format(1),
        lambda: c.destroy_ev_format(1),
        c.create_ev_profile,
        lambda: c.modify_ev_profile(1, EvProfileAttr()),
        lambda: c.query_ev_profile(1),
        lambda: c.destroy_ev_profile(1),
        c.create_cc_profile,
        lambda: c.modify_cc_profile(1, CcProfileAttr()),
        lambda: c.query_cc_profile(1),
        lambda: c.destroy_cc_profile(1),
        lambda: c.set_port(1, False),
        lambda: c.is_port_up(1),
        c.create_ev_event_cq,
        lambda: c.destroy_ev_event_cq(EvEventCq(1, lambda *_: True)),
        lambda: start(rig, 1),
    ]


def test_every_call_needs_the_privilege(make_rig: Make, refused: Make) -> None:
    for call in calls(make_rig(is_privileged=False)):
        refused(Errno.EPERM, call)


def test_every_call_needs_the_device(rig: Any, refused: Make) -> None:
    rig.controller.is_lost = True
    for call in calls(rig):
        refused(Errno.EIO, call)


def test_ids_nobody_has(rig: Any, refused: Make) -> None:
    c = rig.controller
    for call in (c.query_ev_format, c.query_ev_profile, c.query_cc_profile):
        refused(Errno.EINVAL, call, 5)
    for call in (c.ev_profile, c.cc_profile, c.ev_format):
        refused(Errno.EINVAL, call, 5)


def test_the_kinds_number_apart(rig: Any) -> None:
    c = rig.controller
    assert c.create_ev_format() == c.create_ev_profile() == c.create_cc_profile() == 1


def test_room_for_profiles(make_rig: Make, refused: Make) -> None:
    c = make_rig(max_ev_formats=0, max_ev_profiles=0, max_cc_profiles=0).controller
    for call in (c.create_ev_format, c.create_ev_profile, c.create_cc_profile):
        refused(Errno.ENOMEM, call)


def test_a_qp_takes_an_online_cc_profile(rig: Any, refused: Make) -> None:
    c = rig.controller
    number = c.create_cc_profile(9)
    c.modify_cc_profile(number, CcProfileAttr(algorithm=None, state=ProfileState.OFFLINE))
    refused(Errno.EINVAL, c.cc_profile, number)
    c.modify_cc_profile(number, CcProfileAttr(state=ProfileState.ONLINE))
    assert c.cc_profile(number).algorithm is None
    refused(Errno.EINVAL, c.modify_cc_profile, number, CcProfileAttr(algorithm=NSCC_ALGORITHM))
    refused(Errno.EBUSY, c.destroy_cc_profile, number)


# --- Ports ---------------------------------------------------------------------------
def test_a_disabled_port_reads_as_down(rig: Any) -> None:
    c = rig.controller
    c.set_port(2, False)
    c.set_port(2, False)
    assert not c.is_port_up(2)
    assert (c.is_port_enabled(1), c.is_port_enabled(0)) == (False, True)
    c.set_port(2, True)
    c.set_port(2, True)
    assert c.is_port_up(2)
    assert rig.port_calls == [(1, False), (1, True)]
    rig.link_up[1] = False
    assert not c.is_port_up(2)
    assert c.is_port_up(1)


@pytest.mark.parametrize("port", [-1, 0, 5])
def test_ports_nobody_has(rig: Any, port: int, refused: Make) -> None:
    refused(Errno.EINVAL, rig.controller.set_port, port, False)
    refused(Errno.EINVAL, rig.controller.is_port_up, port)
    assert rig.port_calls == []


# --- EV events -----------------------------------------------------------------------
@pytest.mark.parametrize(
    ("mask", "posted"), [(GOOD, [GOOD]), (BAD, [BAD]), (GOOD | BAD, [GOOD, BAD]), (0, [])]
)
def test_events_pass_the_profiles_mask(rig: Any, mask: int, posted: list[ApiEvState]) -> None:
    c = rig.controller
    number = rig.online_profile(event_mask=ApiEvState(mask))
    cq = c.create_ev_event_cq()
    for state in (GOOD, BAD, DENIED):
        assert c.post_ev_event(number, 0, 0, 1, state) is (state in posted)
        assert cq.poll(9) == ([EvEvent(number, A, 1, state)] if state in posted else [])


def test_an_event_names_the_ev_as_the_controller_wrote_it(rig: Any) -> None:
    short = api_ev(0x05000000, 2)
    number = rig.online_profile([short], fields=(EvField(8, 2), EvField(8, mask=0xFF)))
    cq = rig.controller.create_ev_event_cq()
    assert rig.controller.post_ev_event(number, make_ev(2, 5), 2, 7, BAD)
    assert cq.poll(1) == [EvEvent(number, short, 7, BAD)]


def test_no_event_without_profile_ev_or_queue(rig: Any) -> None:
    c = rig.controller
    number = rig.online_profile()
    assert not c.post_ev_event(number, 0, 0, 1, BAD)
    cq = c.create_ev_event_cq()
    assert not c.post_ev_event(99, 0, 0, 1, BAD)
    assert not c.post_ev_event(number, make_ev(0, 7), 0, 1, BAD)
    assert not c.post_ev_event(number, 0, 1, 1, BAD)
    rig.modify(number, state=ProfileState.OFFLINE)
    assert not c.post_ev_event(number, 0, 0, 1, BAD)
    assert len(cq) == 0


def test_every_queue_hears_until_it_is_destroyed(rig: Any, refused: Make) -> None:
    c = rig.controller
    number = rig.online_profile()
    first, second = c.create_ev_event_cq(), c.create_ev_event_cq()
    c.post_ev_event(number, 0, 0, 1, BAD)
    c.destroy_ev_event_cq(first)
    refused(Errno.EINVAL, c.destroy_ev_event_cq, first)
    c.post_ev_event(number, 0, 0, 1, BAD)
    assert (first.poll(9)[0].drop_count, second.poll(9)[0].drop_count) == (1, 2)


def test_drops_are_one_without_precise_counts(make_rig: Make) -> None:
    rig = make_rig(capabilities=ALL_CAPABILITIES & ~Capability.PRECISE_DROP_CNT)
    number = rig.online_profile()
    cq = rig.controller.create_ev_event_cq()
    for drops in (5, 0):
        rig.controller.post_ev_event(number, 0, 0, drops, BAD)
        assert cq.poll(1)[0].drop_count == min(drops, 1)


def test_replaced_evs_make_room_for_new_events(make_rig: Make) -> None:
    rig = make_rig(max_evs=4)
    number = rig.online_profile()
    cq = rig.controller.create_ev_event_cq()
    old = A
    for uplink in range(1, 8):
        new = api_ev(make_ev(0, uplink), 0)
        entry = EvEntry(old, new, GOOD)
        rig.modify(number, operation=EvOperation.REPLACE_EV, entries=(entry,))
        assert rig.controller.post_ev_event(number, make_ev(0, uplink), 0, 1, BAD)
        assert len(cq) <= 4
        old = new
    assert cq.poll(9)[-1].ev == old


def test_no_events_without_the_capability(make_rig: Make, refused: Make) -> None:
    rig = make_rig(capabilities=Capability(0))
    refused(Errno.ENOTSUP, rig.controller.create_ev_event_cq)


# --- Probes --------------------------------------------------------------------------
def test_no_probes_without_the_capability(make_rig: Make, refused: Make) -> None:
    refused(Errno.ENOTSUP, start, make_rig(capabilities=Capability(0)), 1)


def test_an_id_is_free_again_when_answered_or_out_of_time(rig: Any, refused: Make) -> None:
    first = start(rig, 1, 2)
    refused(Errno.EAGAIN, start, rig, 3, 2, now_ns=99)
    first.on_response(2, 0, 10, 50)
    start(rig, 2, now_ns=99)
    start(rig, 1, now_ns=100)


def test_a_refused_batch_reserves_no_ids(rig: Any, refused: Make) -> None:
    refused(Errno.EINVAL, start, rig, 1, 1)
    start(rig, 1)
    refused(Errno.EAGAIN, start, rig, 1, 2)
    start(rig, 2)


def test_too_many_outstanding(make_rig: Make, refused: Make) -> None:
    rig = make_rig(max_probes=2)
    start(rig, 1)
    refused(Errno.ENOMEM, start, rig, 2, 3)
    start(rig, 2)
    start(rig, 3, 4, now_ns=100)
