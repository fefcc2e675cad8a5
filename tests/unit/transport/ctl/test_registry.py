"""Profiles by id: 64 bits, chosen or given, limited."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from testbed.transport.mrc.ctl.cc_profile import CcProfile
from testbed.transport.mrc.ctl.profile import Capability, ProfileKind, ProfileState
from testbed.transport.mrc.ctl.registry import Registry
from testbed.transport.mrc.errors import Errno

Make = Callable[..., Any]


def registry(limit: int = 3) -> Registry[CcProfile]:
    return Registry(ProfileKind.CC, limit, lambda number: CcProfile(number, (), Capability(0)))


def test_ids_are_chosen_or_given() -> None:
    items = registry()
    assert [items.create(None), items.create(2**64 - 1), items.create(None)] == [1, 2**64 - 1, 2]
    assert items.get(2**64 - 1).profile_id == 2**64 - 1
    assert items.find(3) is None
    assert [item.profile_id for item in items] == [1, 2**64 - 1, 2]


@pytest.mark.parametrize("profile_id", [-1, 2**64, 7])
def test_ids_refused(profile_id: int, refused: Make) -> None:
    items = registry()
    items.create(7)
    refused(Errno.EINVAL, items.create, profile_id)


def test_room(refused: Make) -> None:
    items = registry(limit=1)
    items.create(None)
    refused(Errno.ENOMEM, items.create, None)
    items.destroy(1)
    assert items.create(None) == 1


def test_destroy(refused: Make) -> None:
    items = registry()
    refused(Errno.EINVAL, items.destroy, 1)
    refused(Errno.EINVAL, items.get, 1)
    items.create(1)
    items.get(1).state = ProfileState.ONLINE
    refused(Errno.EBUSY, items.destroy, 1)
    assert items.get(1).state is ProfileState.ONLINE
