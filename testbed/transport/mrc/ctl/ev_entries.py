"""The entries of an EV profile and of the operations on them (facts sheet section 7.3).

An operation carries a list of entries that are processed one by one. The first failure
ends it: entries before it stay changed, and the error's ``count`` says how many they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, IntFlag
from typing import NamedTuple

from testbed.transport.mrc.ctl.values import (
    EV_VALUE_BYTES,
    SETTABLE_STATES,
    UNPOPULATED,
    ApiEv,
    ApiEvState,
)
from testbed.transport.mrc.errors import Errno, MrcError


class EvOperation(Enum):
    """What to do with a list of entries. The sheet gives no numbers, so words."""

    REPLACE_EV = "replace_ev"
    MODIFY_EV_STATE = "modify_ev_state"
    QUERY_EV_STATE = "query_ev_state"
    QUERY_EV_ARRAY = "query_ev_array"


MODIFYING = frozenset({EvOperation.REPLACE_EV, EvOperation.MODIFY_EV_STATE})


class EvFlag(IntFlag):
    """How an entry of an operation is meant."""

    ALL_COPIES = 1  # every equal entry of the profile, not just the first


class EvEntry(NamedTuple):
    """One entry of an operation, or of a query's answer.

    REPLACE_EV takes ``ev``, ``ev_new`` and ``state``, MODIFY_EV_STATE ``ev`` and ``state``,
    QUERY_EV_STATE ``ev``. Answers fill ``ev`` and ``state``.
    """

    ev: ApiEv = UNPOPULATED
    ev_new: ApiEv | None = None
    state: ApiEvState | None = None
    flags: EvFlag = EvFlag(0)


class HeldEv(NamedTuple):
    """What a profile holds in one place; ``ev`` is the engine's EV, None if unpopulated."""

    api: ApiEv
    state: ApiEvState
    ev: int | None


class PathEntry(NamedTuple):
    """One EV as QPs take it from an ONLINE profile; ``port`` counts from 0 (= plane)."""

    ev: int
    port: int
    state: ApiEvState


class ChangeKind(Enum):
    """What happened to an EV of an ONLINE profile."""

    REPLACED = "replaced"
    STATE_SET = "state set"


class EvProfileChange(NamedTuple):
    """A change QPs follow at once.

    ``port`` (from 0) is where ``new_ev`` goes; with STATE_SET both EVs are the same.
    """

    kind: ChangeKind
    old_ev: int
    new_ev: int
    port: int
    state: ApiEvState


def check_new(entry: EvEntry, ports: Sequence[int]) -> ApiEv:
    """The EV that REPLACE_EV puts in. Raises EINVAL where it cannot populate an entry.

    ``ports`` are the device's, counted from 1.
    """
    ev = entry.ev_new
    if ev is None or ev == UNPOPULATED:
        raise MrcError(Errno.EINVAL, f"EV {entry.ev} is replaced by none: give ev_new")
    if len(ev.value) != EV_VALUE_BYTES:
        raise MrcError(
            Errno.EINVAL, f"an EV of {len(ev.value)} bytes is none: give {EV_VALUE_BYTES}"
        )
    if ev.port not in ports:
        raise MrcError(
            Errno.EINVAL, f"EV {ev} is on no port of this device: use one of {tuple(ports)}"
        )
    return ev


def find(held: Sequence[HeldEv], entry: EvEntry) -> list[int]:
    """The places of the entry's EV: all with ALL_COPIES, else the first. Raises ENOENT."""
    places = [index for index, item in enumerate(held) if item.api == entry.ev]
    if not places:
        raise MrcError(
            Errno.ENOENT, f"EV {entry.ev} is not in the profile: query its array to see what is"
        )
    return places if EvFlag.ALL_COPIES in entry.flags else places[:1]


def state_to_set(entry: EvEntry) -> ApiEvState:
    """The state an entry gives. Raises EINVAL where it is none a controller may set."""
    if entry.state is None or entry.state not in SETTABLE_STATES:
        raise MrcError(
            Errno.EINVAL, f"EV {entry.ev} cannot be set to {entry.state!r}: give one known state"
        )
    return entry.state
