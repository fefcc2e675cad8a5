"""Entries of an operation: which places they mean and what they may put there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from testbed.transport.mrc.ctl.ev_entries import (
    EvEntry,
    EvFlag,
    HeldEv,
    check_new,
    find,
    state_to_set,
)
from testbed.transport.mrc.ctl.values import UNPOPULATED, ApiEv, ApiEvState, api_ev
from testbed.transport.mrc.errors import Errno

A, B = api_ev(0x00010000, 0), api_ev(0x01010000, 1)
HELD = [HeldEv(ev, ApiEvState.GOOD, 1) for ev in (A, B, A)]


def test_an_entry_means_the_first_place_or_all(refused: Callable[..., Any]) -> None:
    assert EvFlag.ALL_COPIES == 1
    assert find(HELD, EvEntry(A)) == [0]
    assert find(HELD, EvEntry(A, flags=EvFlag.ALL_COPIES)) == [0, 2]
    assert find(HELD, EvEntry(B)) == [1]
    refused(Errno.ENOENT, find, HELD, EvEntry(api_ev(5, 0)))
    refused(Errno.ENOENT, find, HELD, EvEntry(A._replace(port=2)))


@pytest.mark.parametrize(
    "ev", [None, UNPOPULATED, ApiEv(bytes(31), 1), ApiEv(bytes(32), 0), api_ev(1, 4)]
)
def test_what_cannot_populate_an_entry(ev: ApiEv | None, refused: Callable[..., Any]) -> None:
    refused(Errno.EINVAL, check_new, EvEntry(A, ev), (1, 2, 3, 4))


def test_what_can() -> None:
    assert check_new(EvEntry(A, B), (1, 2)) == B


@pytest.mark.parametrize(
    "state", [None, ApiEvState.UNKNOWN, ApiEvState(0), ApiEvState.GOOD | ApiEvState.DENIED]
)
def test_states_nobody_sets(state: ApiEvState | None, refused: Callable[..., Any]) -> None:
    refused(Errno.EINVAL, state_to_set, EvEntry(A, state=state))


@pytest.mark.parametrize("state", [ApiEvState.GOOD, ApiEvState.ASSUMED_BAD, ApiEvState.DENIED])
def test_states_a_controller_sets(state: ApiEvState) -> None:
    assert state_to_set(EvEntry(A, state=state)) == state
