"""EV format profiles: modes, widths, and their errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from testbed.transport.mrc.ctl.ev_format import EvFormatAttr, EvFormatMode, EvFormatProfile
from testbed.transport.mrc.ctl.profile import UNSET, ProfileState
from testbed.transport.mrc.errors import Errno

INIT, OFFLINE, ONLINE = ProfileState
EVERY_MODE = EvFormatMode.STEV | EvFormatMode.SRV6 | EvFormatMode.UDP


def make(modes: EvFormatMode = EVERY_MODE, max_width: int = 256) -> EvFormatProfile:
    return EvFormatProfile(1, modes, max_width)


def offline(mode: EvFormatMode = EvFormatMode.STEV) -> EvFormatProfile:
    profile = make()
    profile.modify(EvFormatAttr(mode=mode, state=OFFLINE))
    return profile


def test_mode_numbers_are_the_headers() -> None:
    assert [mode.value for mode in EvFormatMode] == [1, 2, 4]


@pytest.mark.parametrize(
    ("mode", "widths"),
    [
        (EvFormatMode.STEV, (8, 4, 4)),
        (EvFormatMode.STEV, (32,)),
        (EvFormatMode.SRV6, (32, 16, 16, 16, 16)),
        (EvFormatMode.SRV6, (32, *[16] * 6, 32, *[16] * 4)),
        (EvFormatMode.UDP, (16,)),
    ],
)
def test_a_life(mode: EvFormatMode, widths: tuple[int, ...]) -> None:
    profile = make()
    profile.modify(EvFormatAttr(mode=mode))
    profile.modify(EvFormatAttr(state=OFFLINE))
    profile.modify(EvFormatAttr(fields=widths, state=ONLINE))
    assert profile.query() == EvFormatAttr(mode=mode, fields=widths, state=ONLINE)
    assert (profile.mode, profile.widths()) == (mode, widths)
    profile.modify(EvFormatAttr(state=OFFLINE))
    profile.modify(EvFormatAttr(state=INIT))
    assert profile.config.mode is UNSET


@pytest.mark.parametrize(
    ("mode", "widths", "errno"),
    [
        (EvFormatMode.STEV, (32, 1), Errno.E2BIG),
        (EvFormatMode.UDP, (17,), Errno.E2BIG),
        (EvFormatMode.SRV6, (256, 1), Errno.E2BIG),
        (EvFormatMode.STEV, (), Errno.EINVAL),
        (EvFormatMode.STEV, (8, 0), Errno.EINVAL),
        (EvFormatMode(0), (8,), Errno.EINVAL),
        (EvFormatMode.STEV | EvFormatMode.UDP, (8,), Errno.EINVAL),
    ],
)
def test_refused_and_nothing_changed(
    mode: EvFormatMode, widths: tuple[int, ...], errno: Errno, refused: Callable[..., Any]
) -> None:
    profile = make()
    refused(errno, profile.modify, EvFormatAttr(mode=mode, fields=widths, state=OFFLINE))
    assert profile.state is INIT
    assert (profile.config.mode, profile.config.fields) == (UNSET, UNSET)


def test_fields_given_first_meet_the_mode_later(refused: Callable[..., Any]) -> None:
    profile = make()
    profile.modify(EvFormatAttr(fields=(32,)))
    refused(Errno.E2BIG, profile.modify, EvFormatAttr(mode=EvFormatMode.UDP))
    profile.modify(EvFormatAttr(mode=EvFormatMode.STEV))


def test_the_device_limits_modes_and_width(refused: Callable[..., Any]) -> None:
    profile = make(EvFormatMode.SRV6, max_width=128)
    refused(Errno.EINVAL, profile.modify, EvFormatAttr(mode=EvFormatMode.STEV))
    refused(Errno.E2BIG, profile.modify, EvFormatAttr(mode=EvFormatMode.SRV6, fields=(129,)))


def test_steps_need_mode_and_fields(refused: Callable[..., Any]) -> None:
    profile = make()
    refused(Errno.EINVAL, profile.modify, EvFormatAttr(state=OFFLINE))
    profile = offline()
    refused(Errno.EINVAL, profile.modify, EvFormatAttr(state=ONLINE))
    refused(Errno.EINVAL, profile.widths)
    assert profile.query().fields is UNSET


def test_online_it_is_fixed(refused: Callable[..., Any]) -> None:
    profile = offline()
    profile.modify(EvFormatAttr(fields=(8, 8), state=ONLINE))
    refused(Errno.EINVAL, profile.modify, EvFormatAttr(fields=(16,)))
    refused(Errno.EINVAL, profile.modify, EvFormatAttr(mode=EvFormatMode.UDP, state=OFFLINE))
    assert (profile.state, profile.widths()) == (ONLINE, (8, 8))


def test_a_query_needs_room(refused: Callable[..., Any]) -> None:
    profile = make()
    refused(Errno.EINVAL, profile.query)
    profile.modify(EvFormatAttr(mode=EvFormatMode.STEV, fields=(8, 8, 16), state=OFFLINE))
    assert refused(Errno.E2BIG, profile.query, 2).count == 3
    assert profile.query(3).fields == (8, 8, 16)
