"""A device with four ports for the tests of the controller API."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from testbed.transport.mrc.ctl.attributes import DeviceAttributes, EvMode, port_mask
from testbed.transport.mrc.ctl.device import Controller
from testbed.transport.mrc.ctl.ev_entries import EvEntry, EvOperation
from testbed.transport.mrc.ctl.ev_fields import FABRIC_FORMAT, fabric_fields
from testbed.transport.mrc.ctl.ev_format import EvFormatAttr, EvFormatMode
from testbed.transport.mrc.ctl.ev_profile import EvProfile, EvProfileAttr
from testbed.transport.mrc.ctl.profile import ProfileState
from testbed.transport.mrc.ctl.values import ApiEv, ApiEvState, api_ev
from testbed.transport.mrc.errors import Errno, MrcError
from topologies.ev import make_ev

PLANES, UPLINKS = 4, 8


class Rig:
    """A controller, the ports under it, and shorthands of the common calls."""

    def __init__(self, is_privileged: bool = True, **attributes: Any) -> None:
        self.link_up = dict.fromkeys(range(PLANES), True)
        self.port_calls: list[tuple[int, bool]] = []
        self.controller = Controller(
            replace(DeviceAttributes(port_mask(PLANES)), **attributes),
            auto_evs=self.auto_evs,
            ports=self,
            is_privileged=is_privileged,
        )

    def auto_evs(self, count: int) -> list[tuple[int, int]]:
        every = [(make_ev(p, u), p) for u in range(UPLINKS) for p in range(PLANES)]
        return every[:count]

    def is_link_up(self, port: int) -> bool:
        return self.link_up[port]

    def on_port_set(self, port: int, is_enabled: bool) -> None:
        self.port_calls.append((port, is_enabled))

    def online_format(self, widths: tuple[int, ...] = FABRIC_FORMAT, mode: Any = None) -> int:
        number = self.controller.create_ev_format()
        mode = mode or EvFormatMode.STEV
        attr = EvFormatAttr(mode=mode, fields=widths, state=ProfileState.OFFLINE)
        self.controller.modify_ev_format(number, attr)
        self.controller.modify_ev_format(number, EvFormatAttr(state=ProfileState.ONLINE))
        return number

    def modify(self, number: int, **attributes: Any) -> None:
        self.controller.modify_ev_profile(number, EvProfileAttr(**attributes))

    def offline_profile(self, count: int = 4, **attributes: Any) -> int:
        """An explicit profile over the fabric's format, OFFLINE and unpopulated."""
        number = self.controller.create_ev_profile()
        base: dict[str, Any] = {
            "mode": EvMode.EXP,
            "fmt_id": attributes.pop("fmt_id", None) or self.online_format(),
            "count": count,
            "fields": fabric_fields(PLANES, UPLINKS),
            "min_active": 1,
            "event_mask": ApiEvState.GOOD | ApiEvState.ASSUMED_BAD,
            "state": ProfileState.OFFLINE,
        }
        self.modify(number, **(base | attributes))
        return number

    def online_profile(self, evs: list[ApiEv] | None = None, **attributes: Any) -> int:
        """An explicit profile with one EV per plane (or these), ONLINE."""
        evs = evs or [api_ev(make_ev(p, 0), p) for p in range(PLANES)]
        number = self.offline_profile(len(evs), **attributes)
        self.populate(number, evs)
        self.modify(number, state=ProfileState.ONLINE)
        return number

    def populate(self, number: int, evs: list[ApiEv]) -> None:
        entries = tuple(EvEntry(ev_new=ev, state=ApiEvState.GOOD) for ev in evs)
        self.modify(number, operation=EvOperation.REPLACE_EV, entries=entries)

    def profile(self, number: int) -> EvProfile:
        return self.controller.ev_profile(number)

    def array(self, number: int) -> list[tuple[ApiEv, ApiEvState | None]]:
        answer = self.controller.query_ev_profile(number, EvOperation.QUERY_EV_ARRAY)
        return [(entry.ev, entry.state) for entry in answer.entries]


@pytest.fixture(scope="session")
def make_rig() -> type[Rig]:
    return Rig


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.fixture(scope="session")
def refused() -> Callable[..., MrcError]:
    """Calls ``call`` and returns the error it must raise with this errno."""

    def check(errno: Errno, call: Callable[..., object], *args: Any, **kwargs: Any) -> MrcError:
        with pytest.raises(MrcError) as caught:
            call(*args, **kwargs)
        assert caught.value.errno == errno, str(caught.value)
        return caught.value

    return check
