"""From an EV profile to the path set of one QP, and keeping the two together.

A profile lists EVs for the whole device; a QP takes those that lead to its peer. Where two
of them name the same path (inside a T0 every uplink does) the first stands for all, so that
no path is counted twice (facts sheet 5.3). What the controller changes in an ONLINE profile
reaches every QP at once; what a QP learns stays with the QP.
"""

from __future__ import annotations

from collections.abc import Callable

from testbed.transport.mrc.ctl.ev_entries import ChangeKind, EvProfileChange
from testbed.transport.mrc.ctl.ev_profile import EvProfile
from testbed.transport.mrc.ctl.values import ApiEvState
from testbed.transport.mrc.errors import Errno, MrcError
from testbed.transport.mrc.ev.pathset import PathSet
from testbed.transport.mrc.ev.probing import EvPolicy
from testbed.transport.mrc.ev.rotation import PathEv
from testbed.transport.mrc.ev.states import EvState
from testbed.transport.mrc.rng import Rng
from testbed.transport.mrc.srv6 import PathTemplate, RouteError

_API_STATE = {
    EvState.GOOD: ApiEvState.GOOD,
    EvState.SKIP: ApiEvState.GOOD,
    EvState.ASSUMED_BAD: ApiEvState.ASSUMED_BAD,
    EvState.DENIED: ApiEvState.DENIED,
}
_STATE = {
    ApiEvState.GOOD: EvState.GOOD,
    ApiEvState.ASSUMED_BAD: EvState.ASSUMED_BAD,
    ApiEvState.DENIED: EvState.DENIED,
}


class ProfilePaths:
    """A QP's share in an EV profile: its path set, and both directions of news.

    ``last_now_ns`` is the time of the QP's last call, which is the best a change by the
    controller, who has no clock here, can be dated with. ``on_followed`` is called after
    each: what the QP may do, or has to do next, may have changed with it.
    """

    def __init__(
        self, profile: EvProfile, template: PathTemplate, *, base_rtt_ns: int, rng: Rng,
        policy: EvPolicy | None, now_ns: int,
    ) -> None:  # fmt: skip
        self.profile = profile
        self.last_now_ns = now_ns
        self.on_followed: Callable[[], None] = _nothing
        self._template = template
        self._stands_for: dict[int, int] = {}  # EV of the profile -> EV in the set
        evs: dict[bytes, PathEv] = {}
        states: dict[int, ApiEvState] = {}
        entries = profile.entries()
        for entry in entries:
            address = self._address(entry.ev)
            path = evs.setdefault(address, PathEv(entry.ev, entry.port))
            self._stands_for[entry.ev] = path.ev
            states.setdefault(path.ev, entry.state)
        # A minimum is a share of the profile: with fewer distinct paths it is that share.
        min_active = -(-profile.min_active * len(evs) // len(entries))
        self.paths = PathSet(
            tuple(evs.values()), ev_min_active=min_active, base_rtt_ns=base_rtt_ns, rng=rng,
            address_of=template.address, active_per_port=profile.active_per_port, policy=policy,
            denied=[ev for ev, state in states.items() if state is ApiEvState.DENIED],
        )  # fmt: skip
        for ev, state in states.items():
            if state is ApiEvState.ASSUMED_BAD:
                self.paths.set_state(ev, EvState.ASSUMED_BAD, now_ns)
        profile.subscribe(self.on_profile_changed)

    def close(self) -> None:
        """The QP goes away."""
        self.profile.unsubscribe(self.on_profile_changed)

    def ev_state(self, ev: int) -> ApiEvState:
        """How the QP holds this EV, for QUERY_EV_STATE."""
        entry = self.paths.entry(self._stands_for.get(ev, ev))
        return ApiEvState.UNKNOWN if entry is None else _API_STATE[entry.state]

    def on_profile_changed(self, change: EvProfileChange) -> None:
        """Follow the controller."""
        state = _STATE[change.state]
        old_ev = self._stands_for.get(change.old_ev, change.old_ev)
        if change.kind is ChangeKind.STATE_SET:
            self.paths.set_state(old_ev, state, self.last_now_ns)
        else:
            self._replace(change, old_ev, state)
        self.on_followed()

    def _replace(self, change: EvProfileChange, old_ev: int, state: EvState) -> None:
        """Let a new path in, and the old one out once no entry of the profile names it.

        A path the QP has already, perhaps by another name, takes the state it is given; the
        one that is out then stays behind switched off.
        """
        new, now_ns = PathEv(change.new_ev, change.port), self.last_now_ns
        address = self._address(new.ev)
        if all(entry.ev != change.old_ev for entry in self.profile.entries()):
            self._stands_for.pop(change.old_ev, None)
        same = next((e for e in self.paths.entries() if e.path_address == address), None)
        self._stands_for[new.ev] = new.ev if same is None else same.ev
        is_out = old_ev not in self._stands_for.values()
        if same is not None:
            self.paths.set_state(same.ev, state, now_ns)
            if is_out:
                self.paths.set_state(old_ev, EvState.DENIED, now_ns)
        elif not is_out or not self.paths.replace(old_ev, new, state, now_ns):
            self.paths.add(new, state, now_ns)

    def _address(self, ev: int) -> bytes:
        try:
            return self._template.address(ev)
        except RouteError as error:
            raise MrcError(
                Errno.EINVAL,
                f"{self.profile} has an EV that leads nowhere ({error}): replace that EV",
            ) from None


def _nothing() -> None:
    pass
