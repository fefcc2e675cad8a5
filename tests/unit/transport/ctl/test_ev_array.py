"""How each mode fills the array, and the engine's EV of an entry in each format mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from testbed.transport.mrc.ctl.attributes import EvMode
from testbed.transport.mrc.ctl.ev_array import (
    EvProfileConfig,
    build_array,
    check_format_online,
    engine_ev,
)
from testbed.transport.mrc.ctl.ev_entries import HeldEv
from testbed.transport.mrc.ctl.ev_fields import EvField, fabric_fields
from testbed.transport.mrc.ctl.ev_format import EvFormatAttr, EvFormatMode
from testbed.transport.mrc.ctl.profile import ProfileState
from testbed.transport.mrc.ctl.values import UNPOPULATED, ApiEv, ApiEvState, api_ev
from testbed.transport.mrc.errors import Errno
from topologies.ev import make_ev

Make = Callable[..., Any]


def value(text: str) -> bytes:
    return bytes.fromhex(text).ljust(32, b"\0")


def explicit(rig: Any, count: int, fields: tuple[EvField, ...] | None = None) -> EvProfileConfig:
    return EvProfileConfig(
        mode=EvMode.EXP,
        fmt_id=rig.online_format(),
        count=count,
        fields=fields or fabric_fields(4, 8),
    )


def test_auto_takes_what_the_device_picks(rig: Any) -> None:
    held = build_array(EvProfileConfig(mode=EvMode.AUTO, count=5), [], [], rig.controller)
    paths = [(make_ev(p, 0), p) for p in range(4)] + [(make_ev(0, 1), 0)]
    assert held == [HeldEv(api_ev(ev, p), ApiEvState.GOOD, ev) for ev, p in paths]


def test_auto_may_pick_fewer_than_asked(rig: Any) -> None:
    config = EvProfileConfig(mode=EvMode.AUTO, count=100)
    assert len(build_array(config, [], [], rig.controller)) == 32


def test_explicit_keeps_the_listed_and_the_states(rig: Any) -> None:
    a, b, c = (api_ev(make_ev(p, 0), p) for p in range(3))
    before = [HeldEv(a, ApiEvState.GOOD, 0), HeldEv(b, ApiEvState.DENIED, 1)]
    held = build_array(explicit(rig, 4), [a, b, c], before, rig.controller)
    assert [(item.api, item.state) for item in held] == [
        (a, ApiEvState.GOOD),
        (b, ApiEvState.DENIED),
        (c, ApiEvState.GOOD),
        (UNPOPULATED, ApiEvState.UNKNOWN),
    ]
    assert held[3].ev is None
    assert [item.api for item in build_array(explicit(rig, 1), [a, b], [], rig.controller)] == [a]


def test_generated_spread_over_the_ports(rig: Any) -> None:
    config = EvProfileConfig(
        mode=EvMode.GEN, fmt_id=rig.online_format(), count=8, fields=fabric_fields(4, 8)
    )
    held = build_array(config, [], [], rig.controller)
    assert [(item.ev, item.api.port - 1) for item in held] == [
        (make_ev(p, u), p) for u in range(2) for p in range(4)
    ]


def test_count_is_aligned_and_limited(make_rig: Make, refused: Make) -> None:
    rig = make_rig(ev_count_align=4, max_evs_per_profile=12, max_evs=10)
    assert len(build_array(explicit(rig, 5), [], [], rig.controller)) == 8
    refused(Errno.E2BIG, build_array, explicit(rig, 13), [], [], rig.controller)
    refused(Errno.E2BIG, build_array, explicit(rig, 9), [], [], rig.controller)


def test_fields_and_format_must_agree(rig: Any, refused: Make) -> None:
    config = explicit(rig, 1, (EvField(8), EvField(8), EvField(8), EvField(8)))
    refused(Errno.E2BIG, build_array, config, [], [], rig.controller)
    config = EvProfileConfig(mode=EvMode.EXP, fmt_id=99, count=1, fields=(EvField(8),))
    refused(Errno.EINVAL, build_array, config, [], [], rig.controller)


def test_the_engines_ev_in_each_format_mode(rig: Any, refused: Make) -> None:
    fields = (EvField(8, 0x02), EvField(8, mask=0xFF, max_val=255))
    stev = explicit(rig, 1, fields)
    assert engine_ev(stev, ApiEv(value("05"), 1), rig.controller) == 0x02050000
    assert engine_ev(stev, UNPOPULATED, rig.controller) is None
    refused(Errno.EINVAL, engine_ev, stev, ApiEv(value("0501"), 1), rig.controller)

    udp = rig.online_format((16,), EvFormatMode.UDP)
    config = EvProfileConfig(mode=EvMode.EXP, fmt_id=udp, fields=(EvField(16, mask=0xFFFF),))
    assert engine_ev(config, ApiEv(value("beef"), 1), rig.controller) == 0xBEEF0000

    srv6 = rig.online_format((32, 16), EvFormatMode.SRV6)
    fields = (EvField(32, 0xFCBBBBBB), EvField(16, 0x2200, mask=0xFF, max_val=255))
    config = EvProfileConfig(mode=EvMode.EXP, fmt_id=srv6, fields=fields)
    assert engine_ev(config, ApiEv(value("03"), 1), rig.controller) == 0x03000000


def test_an_srv6_ev_has_32_bits_at_most(rig: Any, refused: Make) -> None:
    wide = (EvField(32, mask=0xFFFFFFFF), EvField(16, mask=1))
    config = EvProfileConfig(
        mode=EvMode.EXP, fmt_id=rig.online_format((32, 16), EvFormatMode.SRV6), fields=wide
    )
    refused(Errno.E2BIG, engine_ev, config, ApiEv(value("01"), 1), rig.controller)


def test_the_format_must_be_online(rig: Any, refused: Make) -> None:
    config = explicit(rig, 1)
    assert check_format_online(config, rig.controller) is rig.controller.ev_format(config.fmt_id)
    assert check_format_online(EvProfileConfig(mode=EvMode.AUTO), rig.controller) is None
    down = EvFormatAttr(state=ProfileState.OFFLINE)
    rig.controller.modify_ev_format(config.fmt_id, down)
    refused(Errno.EINVAL, check_format_online, config, rig.controller)
