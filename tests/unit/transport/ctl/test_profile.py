"""The life of a profile: facts sheet 7.1 stated again, every state against every step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest

from testbed.transport.mrc.ctl.profile import (
    MODIFIABLE,
    MODIFIABLE_WITH,
    NEEDS,
    UNSET,
    Capability,
    Profile,
    ProfileKind,
    ProfileState,
    Unset,
    given,
    known,
    merged,
)
from testbed.transport.mrc.errors import Errno

INIT, OFFLINE, ONLINE = ProfileState
FORMAT, EV, CC = ProfileKind
ALL = Capability(0x3F)
LEGAL = [(INIT, OFFLINE), (OFFLINE, ONLINE), (ONLINE, OFFLINE), (OFFLINE, INIT)]

NEEDED = {
    (FORMAT, INIT): "mode",
    (FORMAT, OFFLINE): "fields",
    (EV, INIT): "mode fmt_id count fields",
    (EV, OFFLINE): "min_active event_mask",
    (CC, INIT): "algorithm",
    (CC, OFFLINE): "config",
}
EVERY = {
    FORMAT: "state mode fields",
    EV: "state mode fmt_id count fields min_active event_mask active_per_port",
    CC: "state algorithm config",
}
OPERATIONS = "replace_ev modify_ev_state"
ONLINE_WITH_CAPABILITY = {FORMAT: "", EV: "event_mask replace_ev fields", CC: "config"}


@dataclass(frozen=True)
class Config:
    mode: int | Unset = UNSET
    fields: int | Unset = UNSET


@dataclass(frozen=True)
class Attr(Config):
    state: ProfileState | Unset = UNSET


def profile(kind: ProfileKind, state: ProfileState = INIT) -> Profile[Any, Any, Any]:
    class OfKind(Profile[Config, object, str]):
        pass

    OfKind.kind = kind
    made = OfKind(7, Config())
    made.state = state
    return made


def allowed(kind: ProfileKind, state: ProfileState, with_capability: bool) -> set[str]:
    if state is not ONLINE:
        more = OPERATIONS if kind is EV and state is OFFLINE else ""
        return {*EVERY[kind].split(), *more.split()}
    names = {"state"} | ({"modify_ev_state"} if kind is EV else set())
    return names | (set(ONLINE_WITH_CAPABILITY[kind].split()) if with_capability else set())


@pytest.mark.parametrize(
    ("kind", "before", "after"), [*product(ProfileKind, ProfileState, ProfileState)]
)
def test_every_step(
    kind: ProfileKind, before: ProfileState, after: ProfileState, refused: Callable[..., Any]
) -> None:
    item = profile(kind, before)
    call = (frozenset({"state"}), after, ALL)
    if (before, after) in LEGAL:
        item.check_request(*call)
        item.enter(after)
        assert item.state is after
    else:
        error = refused(Errno.EINVAL, item.check_request, *call)
        assert f"from {before.value} to {after.value}" in str(error)
        assert item.state is before


@pytest.mark.parametrize(("kind", "step"), [*product(ProfileKind, LEGAL)])
def test_what_every_step_needs(kind: ProfileKind, step: tuple[ProfileState, ProfileState]) -> None:
    going_up = step in ((INIT, OFFLINE), (OFFLINE, ONLINE))
    needed = set(NEEDED[kind, step[0]].split()) if going_up else set()
    assert NEEDS[step][kind] == needed


def test_the_tables_have_no_other_rows() -> None:
    assert set(NEEDS) == set(LEGAL)
    assert set(MODIFIABLE) == set(product(ProfileKind, ProfileState))
    assert set(MODIFIABLE_WITH) == {(EV, ONLINE), (CC, ONLINE)}


@pytest.mark.parametrize(("kind", "state"), [*product(ProfileKind, ProfileState)])
@pytest.mark.parametrize("has_capability", [False, True])
def test_every_attribute_in_every_state(
    kind: ProfileKind, state: ProfileState, has_capability: bool, refused: Callable[..., Any]
) -> None:
    item = profile(kind, state)
    other = (
        Capability.CC_PROFILE_MODIFY_ONLINE if kind is EV else Capability.EV_PROFILE_MODIFY_ONLINE
    )
    capabilities = ALL if has_capability else other
    for name in {*EVERY[kind].split(), *OPERATIONS.split(), "algorithm", "mode"}:
        call = (frozenset({name}), UNSET, capabilities)
        if name in allowed(kind, state, has_capability):
            item.check_request(*call)
        else:
            assert name in str(refused(Errno.EINVAL, item.check_request, *call))


def test_missing_needs_are_named(refused: Callable[..., Any]) -> None:
    item = profile(FORMAT)
    assert "lacks mode" in str(refused(Errno.EINVAL, item.check_needs, Config(), OFFLINE))
    item.check_needs(Config(mode=1), OFFLINE)
    item.check_needs(Config(), OFFLINE, frozenset({"mode"}))


def test_the_way_to_init_takes_nothing_along_and_forgets(refused: Callable[..., Any]) -> None:
    item = profile(FORMAT, OFFLINE)
    item.config = Config(mode=1)
    refused(Errno.EINVAL, item.check_request, frozenset({"state", "mode"}), INIT, ALL)
    item.enter(INIT)
    assert item.config == Config()


def test_users_keep_it_online(refused: Callable[..., Any]) -> None:
    item = profile(CC, ONLINE)
    user = object()
    item.register_user(user)
    down = (frozenset({"state"}), OFFLINE, ALL)
    refused(Errno.EBUSY, item.check_request, *down)
    refused(Errno.EBUSY, item.check_destroy)
    item.unregister_user(user)
    refused(Errno.EINVAL, item.unregister_user, user)
    item.check_request(*down)


@pytest.mark.parametrize("state", [INIT, OFFLINE])
def test_only_an_online_one_is_used(state: ProfileState, refused: Callable[..., Any]) -> None:
    item = profile(EV, state)
    refused(Errno.EINVAL, item.register_user, object())
    item.check_destroy()
    assert item.users == []


def test_init_is_not_queried(refused: Callable[..., Any]) -> None:
    refused(Errno.EINVAL, profile(EV).check_query)
    profile(EV, OFFLINE).check_query()
    profile(EV, ONLINE).check_query()


def test_observers_hear_changes_until_they_leave() -> None:
    item, heard = profile(EV, ONLINE), []
    item.subscribe(heard.append)
    item.announce("a")
    item.unsubscribe(heard.append)
    item.unsubscribe(heard.append)
    item.announce("b")
    assert (heard, item.generation) == (["a"], 2)


def test_merging_takes_what_is_given() -> None:
    assert merged(Config(mode=1, fields=2), Attr(fields=3, state=ONLINE)) == Config(1, 3)
    assert given(Attr(fields=0)) == {"fields"}
    assert known(0) == 0
    with pytest.raises(AssertionError):
        known(UNSET)
