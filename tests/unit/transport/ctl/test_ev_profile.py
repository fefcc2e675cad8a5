"""EV profiles: life, operations, what QPs see, and every error of facts sheet 7.1 and 7.3."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from testbed.transport.mrc.ctl.attributes import ALL_CAPABILITIES, EvMode
from testbed.transport.mrc.ctl.ev_entries import (
    ChangeKind,
    EvEntry,
    EvFlag,
    EvOperation,
    EvProfileChange,
    PathEntry,
)
from testbed.transport.mrc.ctl.ev_fields import EvField, fabric_fields
from testbed.transport.mrc.ctl.ev_format import EvFormatAttr
from testbed.transport.mrc.ctl.ev_profile import EvProfileAttr
from testbed.transport.mrc.ctl.profile import UNSET, Capability, ProfileState
from testbed.transport.mrc.ctl.values import UNPOPULATED, ApiEv, ApiEvState, api_ev
from testbed.transport.mrc.errors import Errno, MrcError
from topologies.ev import make_ev

INIT, OFFLINE, ONLINE = ProfileState
GOOD, BAD, DENIED, UNKNOWN = ApiEvState
REPLACE, SET, ASK, ARRAY = EvOperation
EVS = [api_ev(make_ev(p, 0), p) for p in range(4)]
NEW = api_ev(make_ev(1, 5), 1)
ONE = EvFlag(0)
Make = Callable[..., Any]


class Qp:
    def __init__(self, states: dict[int, ApiEvState]) -> None:
        self.states = states

    def ev_state(self, ev: int) -> ApiEvState:
        return self.states.get(ev, UNKNOWN)


def replace(old: ApiEv, new: ApiEv, state: ApiEvState = GOOD, flags: EvFlag = ONE) -> EvEntry:
    return EvEntry(old, new, state, flags)


def heard(rig: Any, number: int) -> list[EvProfileChange]:
    changes: list[EvProfileChange] = []
    rig.profile(number).subscribe(changes.append)
    return changes


# --- Filling it ----------------------------------------------------------------------
def test_an_explicit_array_starts_unpopulated(rig: Any, refused: Make) -> None:
    number = rig.offline_profile(3)
    assert rig.array(number) == [(UNPOPULATED, UNKNOWN)] * 3
    assert (bytes(32), 0) == UNPOPULATED
    refused(Errno.EINVAL, rig.modify, number, state=ONLINE)
    rig.populate(number, EVS[:2])
    refused(Errno.EINVAL, rig.modify, number, state=ONLINE)
    rig.modify(number, operation=REPLACE, entries=(replace(UNPOPULATED, NEW),), state=ONLINE)
    assert rig.array(number) == [(ev, GOOD) for ev in (*EVS[:2], NEW)]


def test_qps_see_engine_evs_and_ports_from_zero(rig: Any, refused: Make) -> None:
    number = rig.offline_profile(2, active_per_port=1, min_active=2, event_mask=BAD)
    refused(Errno.EINVAL, rig.controller.ev_profile, number)
    rig.modify(
        number,
        operation=REPLACE,
        entries=(replace(UNPOPULATED, EVS[3]), replace(UNPOPULATED, NEW, DENIED)),
        state=ONLINE,
    )
    profile = rig.profile(number)
    assert profile.entries() == [
        PathEntry(0x03000000, 3, GOOD),
        PathEntry(0x01050000, 1, DENIED),
    ]
    assert (profile.min_active, profile.event_mask, profile.active_per_port) == (2, BAD, 1)
    assert profile.api_ev_of(0x01050000, 1) == NEW
    assert profile.api_ev_of(0x01050000, 2) is None


def test_auto_needs_neither_format_nor_fields(rig: Any, refused: Make) -> None:
    number = rig.controller.create_ev_profile()
    refused(Errno.EINVAL, rig.modify, number, mode=EvMode.AUTO, fields=(EvField(8),))
    rig.modify(number, mode=EvMode.AUTO, count=100, state=OFFLINE)
    rig.modify(number, min_active=8, event_mask=ApiEvState(0), state=ONLINE)
    assert rig.controller.query_ev_profile(number).count == 32
    assert [(e.ev, e.port) for e in rig.profile(number).entries()] == rig.auto_evs(100)
    assert rig.profile(number).active_per_port is None


def test_a_device_without_paths_has_no_auto_profile(rig: Any, refused: Make) -> None:
    rig.controller._auto_evs = lambda count: []
    number = rig.controller.create_ev_profile()
    rig.modify(number, mode=EvMode.AUTO, count=4, min_active=0, event_mask=GOOD, state=OFFLINE)
    assert "no EVs" in str(refused(Errno.EINVAL, rig.modify, number, state=ONLINE))


def test_generated_by_fields(rig: Any, refused: Make) -> None:
    number = rig.offline_profile(8, mode=EvMode.GEN)
    rig.modify(number, state=ONLINE)
    assert [(e.ev, e.port) for e in rig.profile(number).entries()] == rig.auto_evs(8)
    refused(Errno.EINVAL, rig.modify, number, operation=REPLACE, entries=(replace(EVS[0], NEW),))
    refused(Errno.EINVAL, rig.offline_profile, 33, mode=EvMode.GEN)


def test_count_comes_back_adjusted(make_rig: Make) -> None:
    rig = make_rig(ev_count_align=4)
    number = rig.offline_profile(5)
    assert rig.controller.query_ev_profile(number).count == 8


def test_profiles_share_the_devices_evs(make_rig: Make, refused: Make) -> None:
    rig = make_rig(max_evs=6, max_evs_per_profile=5)
    refused(Errno.E2BIG, rig.offline_profile, 6)
    first = rig.offline_profile(4)
    assert rig.controller.free_evs() == 2
    refused(Errno.E2BIG, rig.offline_profile, 3)
    rig.modify(first, count=5)
    rig.modify(first, state=INIT)
    assert rig.controller.free_evs() == 6


# --- Attributes ----------------------------------------------------------------------
@pytest.mark.parametrize(
    "wrong",
    [
        {"mode": EvMode.EXP | EvMode.GEN},
        {"mode": EvMode(0)},
        {"count": 0},
        {"min_active": -1},
        {"min_active": 5},
        {"active_per_port": 0},
        {"event_mask": GOOD | DENIED},
        {"event_mask": ApiEvState(8)},
        {"event_mask": UNKNOWN},
        {"fields": (EvField(8, mask=1, max_val=2),)},
        {"fmt_id": 77},
        {"operation": REPLACE},
        {"entries": (EvEntry(),)},
        {"operation": ASK, "entries": (EvEntry(),)},
        {"operation": ARRAY, "entries": (EvEntry(),)},
        {"operation": SET, "entries": (EvEntry(EVS[0], state=BAD),), "fields": (EvField(8),)},
        {"state": OFFLINE},
        {"state": INIT, "count": 2},
    ],
)
def test_wrong_requests_change_nothing(rig: Any, wrong: dict[str, Any], refused: Make) -> None:
    number = rig.offline_profile(4)
    before = rig.controller.query_ev_profile(number, with_fields=True)
    refused(Errno.EINVAL, rig.modify, number, **({"event_mask": GOOD} | wrong))
    assert rig.controller.query_ev_profile(number, with_fields=True) == before


@pytest.mark.parametrize("missing", ["mode", "fmt_id", "count", "fields"])
def test_offline_needs(rig: Any, missing: str, refused: Make) -> None:
    error = refused(Errno.EINVAL, rig.offline_profile, **{missing: UNSET})
    assert missing in str(error)


def test_attributes_may_be_given_before_the_step(rig: Any, refused: Make) -> None:
    number = rig.controller.create_ev_profile()
    refused(Errno.EINVAL, rig.modify, number, state=OFFLINE)
    rig.modify(number, mode=EvMode.EXP, count=1, fmt_id=rig.online_format())
    rig.modify(number, fields=fabric_fields(4, 8))
    refused(Errno.EINVAL, rig.modify, number, operation=REPLACE, entries=(EvEntry(),))
    rig.modify(number, state=OFFLINE)
    rig.populate(number, EVS[:1])
    for attributes in ({"min_active": 1}, {"event_mask": GOOD}):
        refused(Errno.EINVAL, rig.modify, number, state=ONLINE)
        rig.modify(number, **attributes)
    rig.modify(number, state=ONLINE)


def test_another_count_or_mode_reshapes_the_array(rig: Any) -> None:
    number = rig.offline_profile(2)
    rig.populate(number, EVS[:2])
    rig.modify(number, operation=SET, entries=(EvEntry(EVS[1], state=DENIED),))
    rig.modify(number, count=3)
    assert rig.array(number) == [(EVS[0], GOOD), (EVS[1], DENIED), (UNPOPULATED, UNKNOWN)]
    rig.modify(number, mode=EvMode.GEN)
    assert rig.array(number) == [(EVS[0], GOOD), (EVS[1], DENIED), (EVS[2], GOOD)]
    rig.modify(number, mode=EvMode.EXP)
    assert rig.array(number) == [(UNPOPULATED, UNKNOWN)] * 3


def test_from_auto_to_explicit_asks_for_a_format(rig: Any, refused: Make) -> None:
    number = rig.controller.create_ev_profile()
    rig.modify(number, mode=EvMode.AUTO, count=4, state=OFFLINE)
    assert "fields, fmt_id" in str(refused(Errno.EINVAL, rig.modify, number, mode=EvMode.EXP))


# --- Format --------------------------------------------------------------------------
def test_an_online_profile_holds_its_format(rig: Any, refused: Make) -> None:
    fmt = rig.online_format()
    number = rig.online_profile(fmt_id=fmt)
    down = EvFormatAttr(state=OFFLINE)
    refused(Errno.EBUSY, rig.controller.modify_ev_format, fmt, down)
    rig.modify(number, state=OFFLINE)
    rig.controller.modify_ev_format(fmt, down)
    refused(Errno.EINVAL, rig.modify, number, state=ONLINE)
    rig.controller.modify_ev_format(fmt, EvFormatAttr(state=ONLINE))
    rig.modify(number, state=ONLINE)


def test_a_format_that_changed_meanwhile_is_checked_again(rig: Any, refused: Make) -> None:
    fmt = rig.online_format()
    number = rig.offline_profile(4, fmt_id=fmt)
    rig.populate(number, EVS)
    rig.controller.modify_ev_format(fmt, EvFormatAttr(state=OFFLINE))
    rig.controller.modify_ev_format(fmt, EvFormatAttr(fields=(8, 8), state=ONLINE))
    refused(Errno.E2BIG, rig.modify, number, state=ONLINE)


# --- Operations ----------------------------------------------------------------------
def test_the_first_failure_ends_an_operation(rig: Any, refused: Make) -> None:
    number = rig.online_profile()
    changes = heard(rig, number)
    entries = (
        EvEntry(EVS[0], state=DENIED),
        EvEntry(NEW, state=DENIED),
        EvEntry(EVS[1], state=DENIED),
    )
    error = refused(Errno.ENOENT, rig.modify, number, operation=SET, entries=entries)
    assert error.count == 1
    assert [state for _, state in rig.array(number)] == [DENIED, GOOD, GOOD, GOOD]
    assert [change.new_ev for change in changes] == [make_ev(0, 0)]


def test_a_failed_operation_takes_no_step(rig: Any, refused: Make) -> None:
    number = rig.offline_profile(2)
    entries = (replace(UNPOPULATED, EVS[0]), replace(UNPOPULATED, api_ev(0, 9)))
    call = {"operation": REPLACE, "entries": entries, "state": ONLINE, "min_active": 2}
    assert refused(Errno.EINVAL, rig.modify, number, **call).count == 1
    answer = rig.controller.query_ev_profile(number)
    assert (answer.state, answer.min_active) == (OFFLINE, 2)
    assert rig.array(number) == [(EVS[0], GOOD), (UNPOPULATED, UNKNOWN)]


def test_an_illegal_step_stops_the_operation_before_it(rig: Any, refused: Make) -> None:
    number = rig.offline_profile(1, min_active=UNSET)
    entries = (replace(UNPOPULATED, EVS[0]),)
    refused(Errno.EINVAL, rig.modify, number, operation=REPLACE, entries=entries, state=ONLINE)
    assert rig.array(number) == [(UNPOPULATED, UNKNOWN)]


@pytest.mark.parametrize(
    "entry",
    [
        replace(EVS[0], UNPOPULATED),
        replace(EVS[0], api_ev(0, 4)),
        replace(EVS[0], ApiEv(b"\1", 1)),
        replace(EVS[0], api_ev(make_ev(0, 0) | 1, 0)),
        replace(EVS[0], NEW, UNKNOWN),
        EvEntry(EVS[0], NEW),
        EvEntry(EVS[0], state=GOOD),
    ],
)
def test_replacements_that_make_no_sense(rig: Any, entry: EvEntry, refused: Make) -> None:
    number = rig.online_profile()
    refused(Errno.EINVAL, rig.modify, number, operation=REPLACE, entries=(entry,))
    assert [ev for ev, _ in rig.array(number)] == EVS


def test_the_state_of_nothing_is_not_set(rig: Any, refused: Make) -> None:
    number = rig.offline_profile(1)
    entry = EvEntry(UNPOPULATED, state=DENIED)
    refused(Errno.EINVAL, rig.modify, number, operation=SET, entries=(entry,))


def test_all_copies_or_one(rig: Any) -> None:
    number = rig.offline_profile(4)
    rig.populate(number, [EVS[0], EVS[0]])
    every = replace(UNPOPULATED, NEW, flags=EvFlag.ALL_COPIES)
    rig.modify(number, operation=REPLACE, entries=(every,), state=ONLINE)
    changes = heard(rig, number)
    rig.modify(number, operation=SET, entries=(EvEntry(EVS[0], state=DENIED),))
    assert [s for _, s in rig.array(number)] == [DENIED, GOOD, GOOD, GOOD]
    all_of_new = EvEntry(NEW, state=BAD, flags=EvFlag.ALL_COPIES)
    rig.modify(number, operation=SET, entries=(all_of_new,))
    assert [s for _, s in rig.array(number)] == [DENIED, GOOD, BAD, BAD]
    assert len(changes) == 3


def test_entries_per_operation_are_limited(make_rig: Make, refused: Make) -> None:
    rig = make_rig(max_entries_per_op=1)
    number = rig.offline_profile(2)
    refused(Errno.E2BIG, rig.populate, number, EVS[:2])
    ask = rig.controller.query_ev_profile
    refused(Errno.E2BIG, ask, number, ASK, [EvEntry(), EvEntry()])
    rig.populate(number, EVS[:1])


# --- ONLINE --------------------------------------------------------------------------
def test_qps_follow_replacement_and_state(rig: Any) -> None:
    number = rig.online_profile()
    changes, before = heard(rig, number), rig.profile(number).generation
    assert rig.profile(number).api_ev_of(0, 0) == EVS[0]
    rig.modify(number, operation=REPLACE, entries=(replace(EVS[0], NEW, DENIED),))
    rig.modify(number, operation=SET, entries=(EvEntry(EVS[2], state=BAD),))
    assert changes == [
        EvProfileChange(ChangeKind.REPLACED, 0, make_ev(1, 5), 1, DENIED),
        EvProfileChange(ChangeKind.STATE_SET, make_ev(2, 0), make_ev(2, 0), 2, BAD),
    ]
    profile = rig.profile(number)
    assert profile.generation == before + 2
    assert profile.api_ev_of(0, 0) is None
    assert profile.api_ev_of(make_ev(1, 5), 1) == NEW


def test_an_observer_can_ask_for_the_new_ev_at_once(rig: Any) -> None:
    number = rig.online_profile()
    profile = rig.profile(number)
    seen = []
    profile.subscribe(lambda change: seen.append(profile.api_ev_of(change.new_ev, change.port)))
    news = [api_ev(make_ev(p, 5), p) for p in (0, 1)]
    entries = tuple(replace(old, new) for old, new in zip(EVS, news, strict=False))
    rig.modify(number, operation=REPLACE, entries=entries)
    assert seen == news


def test_other_fields_online_replace_every_ev_that_differs(rig: Any, refused: Make) -> None:
    number = rig.online_profile()
    changes = heard(rig, number)
    shifted = (EvField(8, mask=0xFF), EvField(8, 0x01, mask=0xFE), EvField(16))
    rig.modify(number, fields=shifted)
    assert [(c.old_ev, c.new_ev) for c in changes] == [
        (make_ev(p, 0), make_ev(p, 1)) for p in range(4)
    ]
    refused(Errno.E2BIG, rig.modify, number, fields=(EvField(8),) * 4)
    assert rig.controller.query_ev_profile(number, with_fields=True).fields == shifted
    assert len(changes) == 4


def test_the_event_mask_online_counts_as_a_change(rig: Any) -> None:
    number = rig.online_profile()
    changes = heard(rig, number)
    rig.modify(number, event_mask=GOOD)
    profile = rig.profile(number)
    assert (profile.event_mask, profile.generation, changes) == (GOOD, 1, [])


@pytest.mark.parametrize("name", ["mode", "fmt_id", "count", "min_active", "active_per_port"])
def test_the_rest_is_fixed_online(rig: Any, name: str, refused: Make) -> None:
    number = rig.online_profile()
    value = EvMode.EXP if name == "mode" else 1
    refused(Errno.EINVAL, rig.modify, number, **{name: value})


def test_without_the_capability_only_states_change_online(make_rig: Make, refused: Make) -> None:
    rig = make_rig(capabilities=ALL_CAPABILITIES & ~Capability.EV_PROFILE_MODIFY_ONLINE)
    number = rig.online_profile()
    refused(Errno.EINVAL, rig.modify, number, event_mask=GOOD)
    refused(Errno.EINVAL, rig.modify, number, fields=fabric_fields(4, 8))
    refused(Errno.EINVAL, rig.modify, number, operation=REPLACE, entries=(replace(EVS[0], NEW),))
    rig.modify(number, operation=SET, entries=(EvEntry(EVS[0], state=DENIED),))


def test_without_ev_events_only_an_empty_mask(make_rig: Make, refused: Make) -> None:
    rig = make_rig(capabilities=Capability(0))
    refused(Errno.EINVAL, rig.offline_profile)
    rig.offline_profile(event_mask=ApiEvState(0))


def test_modes_of_the_device(make_rig: Make, refused: Make) -> None:
    rig = make_rig(ev_modes=EvMode.AUTO)
    refused(Errno.EINVAL, rig.offline_profile)


def test_qps_keep_it_online(rig: Any, refused: Make) -> None:
    number = rig.online_profile()
    qp = Qp({})
    profile = rig.profile(number)
    profile.register_user(qp)
    refused(Errno.EBUSY, rig.modify, number, state=OFFLINE)
    refused(Errno.EBUSY, rig.controller.destroy_ev_profile, number)
    assert profile.state is ONLINE
    profile.unregister_user(qp)
    rig.modify(number, state=OFFLINE)
    refused(Errno.EINVAL, profile.register_user, qp)
    rig.controller.destroy_ev_profile(number)


# --- Queries -------------------------------------------------------------------------
def test_states_as_qps_hold_them(rig: Any) -> None:
    number = rig.online_profile()
    entries = (EvEntry(EVS[0], state=DENIED), EvEntry(EVS[3], state=BAD))
    rig.modify(number, operation=SET, entries=entries)
    assert [s for _, s in rig.array(number)] == [DENIED, GOOD, GOOD, BAD]
    evs = [make_ev(p, 0) for p in range(4)]
    profile = rig.profile(number)
    profile.register_user(Qp({evs[0]: GOOD, evs[1]: GOOD, evs[2]: GOOD}))
    profile.register_user(Qp({evs[0]: BAD, evs[1]: BAD, evs[2]: DENIED}))
    answer = rig.controller.query_ev_profile(number, ASK, [EvEntry(ev) for ev in EVS])
    assert [e.ev for e in answer.entries] == EVS
    assert [e.state for e in answer.entries] == [DENIED, BAD, GOOD, GOOD]


def test_query_errors(rig: Any, refused: Make) -> None:
    number = rig.controller.create_ev_profile()
    ask = rig.controller.query_ev_profile
    refused(Errno.EINVAL, ask, number)
    number = rig.offline_profile(4)
    refused(Errno.ENOENT, ask, number, ASK, [EvEntry(NEW)])
    refused(Errno.EINVAL, ask, number, SET)
    refused(Errno.EINVAL, ask, number, REPLACE)
    refused(Errno.EINVAL, ask, number, ARRAY, with_fields=True)
    assert refused(Errno.E2BIG, ask, number, ARRAY, capacity=3).count == 4
    assert refused(Errno.E2BIG, ask, number, with_fields=True, capacity=2).count == 3
    assert ask(number, with_fields=True, capacity=3).fields == fabric_fields(4, 8)
    assert len(ask(number, ARRAY, capacity=4).entries) == 4
    assert ask(number).fields is UNSET


def test_a_query_returns_what_was_set(rig: Any) -> None:
    fmt = rig.online_format()
    number = rig.offline_profile(4, fmt_id=fmt, active_per_port=2)
    assert rig.controller.query_ev_profile(number) == EvProfileAttr(
        state=OFFLINE,
        mode=EvMode.EXP,
        fmt_id=fmt,
        count=4,
        min_active=1,
        event_mask=GOOD | BAD,
        active_per_port=2,
    )


def test_back_to_init_everything_is_forgotten(rig: Any, refused: Make) -> None:
    number = rig.online_profile()
    refused(Errno.EINVAL, rig.modify, number, state=INIT)
    rig.modify(number, state=OFFLINE)
    rig.modify(number, state=INIT)
    assert rig.controller.free_evs() == rig.controller.attributes.max_evs
    with pytest.raises(MrcError, match="lacks count, fields, fmt_id, mode"):
        rig.modify(number, state=OFFLINE)
