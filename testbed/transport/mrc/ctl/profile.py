"""The life of a profile, the same for all three kinds (facts sheet section 7.1).

        INIT  <---->  OFFLINE  <---->  ONLINE

INIT is untouched; OFFLINE is configured but not usable; ONLINE is usable by QPs (an EV
format: by EV profiles). ``NEEDS`` is the whole of it: its keys are the legal steps, its
values the attributes a step needs, given in the same call or an earlier one. Two kinds of
need are waived by what the profile is: an AUTO EV profile has neither format nor fields,
and a CC profile without algorithm has no config. The entries of an explicit EV profile are
checked by ev_profile.py. The step back to INIT forgets everything.

``MODIFIABLE`` says which attributes a call may give in which state; a capability of the
device adds to it. A call that breaks either table raises and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from enum import Enum, IntFlag
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, TypeVar

from testbed.transport.mrc.errors import Errno, MrcError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


class ProfileKind(Enum):
    """The three kinds of profile, as error messages name them."""

    EV_FORMAT = "EV format profile"
    EV = "EV profile"
    CC = "CC profile"


class ProfileState(Enum):
    """Where a profile is in its life."""

    INIT = "INIT"
    OFFLINE = "OFFLINE"
    ONLINE = "ONLINE"


class Capability(IntFlag):
    """What a device may offer beyond the base (7.8); the bit positions are the header's."""

    EV_PROFILE_MODIFY_ONLINE = 1 << 0
    CC_PROFILE_MODIFY_ONLINE = 1 << 1
    EV_EVENTS = 1 << 2
    EV_CONTIGUOUS_ONLY = 1 << 3
    PRECISE_DROP_CNT = 1 << 4
    EV_PROBES = 1 << 5


class Unset(Enum):
    """The value of an attribute nobody has given."""

    UNSET = "unset"

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset.UNSET

_INIT, _OFFLINE, _ONLINE = ProfileState.INIT, ProfileState.OFFLINE, ProfileState.ONLINE
_FORMAT, _EV, _CC = ProfileKind.EV_FORMAT, ProfileKind.EV, ProfileKind.CC

Step = tuple[ProfileState, ProfileState]

NEEDS: Mapping[Step, Mapping[ProfileKind, frozenset[str]]] = {
    (_INIT, _OFFLINE): {
        _FORMAT: frozenset({"mode"}),
        _EV: frozenset({"mode", "fmt_id", "count", "fields"}),
        _CC: frozenset({"algorithm"}),
    },
    (_OFFLINE, _ONLINE): {
        _FORMAT: frozenset({"fields"}),
        _EV: frozenset({"min_active", "event_mask"}),
        _CC: frozenset({"config"}),
    },
    (_ONLINE, _OFFLINE): {_FORMAT: frozenset(), _EV: frozenset(), _CC: frozenset()},
    (_OFFLINE, _INIT): {_FORMAT: frozenset(), _EV: frozenset(), _CC: frozenset()},
}

_EV_CONFIG = frozenset(
    {"mode", "fmt_id", "count", "fields", "min_active", "event_mask", "active_per_port"}
)
# The array of an EV profile exists from OFFLINE on, so there is nothing to replace in INIT.
MODIFIABLE: Mapping[tuple[ProfileKind, ProfileState], frozenset[str]] = {
    (_FORMAT, _INIT): frozenset({"state", "mode", "fields"}),
    (_FORMAT, _OFFLINE): frozenset({"state", "mode", "fields"}),
    (_FORMAT, _ONLINE): frozenset({"state"}),
    (_EV, _INIT): frozenset({"state"}) | _EV_CONFIG,
    (_EV, _OFFLINE): frozenset({"state", "replace_ev", "modify_ev_state"}) | _EV_CONFIG,
    (_EV, _ONLINE): frozenset({"state", "modify_ev_state"}),
    (_CC, _INIT): frozenset({"state", "algorithm", "config"}),
    (_CC, _OFFLINE): frozenset({"state", "algorithm", "config"}),
    (_CC, _ONLINE): frozenset({"state"}),
}
MODIFIABLE_WITH: Mapping[tuple[ProfileKind, ProfileState], tuple[Capability, frozenset[str]]] = {
    (_EV, _ONLINE): (
        Capability.EV_PROFILE_MODIFY_ONLINE,
        frozenset({"event_mask", "replace_ev", "fields"}),
    ),
    (_CC, _ONLINE): (Capability.CC_PROFILE_MODIFY_ONLINE, frozenset({"config"})),
}

Value = TypeVar("Value")
Config = TypeVar("Config", bound="DataclassInstance")
User = TypeVar("User")
Change = TypeVar("Change")


def given(attributes: DataclassInstance) -> frozenset[str]:
    """The names of the attributes somebody has given a value."""
    names = (item.name for item in fields(attributes))
    return frozenset(name for name in names if getattr(attributes, name) is not UNSET)


def merged(config: Config, attributes: DataclassInstance) -> Config:
    """A copy of ``config`` with every attribute of its own that ``attributes`` gives."""
    own = {item.name for item in fields(config)}
    changes: dict[str, Any] = {
        name: getattr(attributes, name) for name in given(attributes) if name in own
    }
    return replace(config, **changes)


def known(value: Value | Unset) -> Value:
    """The value of an attribute that the tables above guarantee to be set by now."""
    if isinstance(value, Unset):
        raise AssertionError("an attribute is used before the step that needs it")
    return value


class Profile(Generic[Config, User, Change]):
    """One profile of a device: its id, state, configuration, users and observers.

    ``users`` use the profile: it cannot leave ONLINE before they are gone. Observers hear
    of changes made while ONLINE, after the change; ``generation`` counts these.
    """

    kind: ClassVar[ProfileKind]

    def __init__(self, profile_id: int, config: Config) -> None:
        self.profile_id = profile_id
        self.state = ProfileState.INIT
        self.generation = 0
        self.users: list[User] = []
        self.config = config
        self._untouched = config
        self._observers: list[Callable[[Change], None]] = []

    def __str__(self) -> str:
        return f"{self.kind.value} {self.profile_id}"

    def register_user(self, user: User) -> None:
        """Note that ``user`` uses this profile. Raises EINVAL unless it is ONLINE (8.2)."""
        self.check_online()
        self.users.append(user)

    def unregister_user(self, user: User) -> None:
        """Forget one registration of ``user``. Raises EINVAL where there is none."""
        if user not in self.users:
            raise MrcError(
                Errno.EINVAL, f"{self} is not used by {user!r}: unregister what was registered"
            )
        self.users.remove(user)

    def subscribe(self, callback: Callable[[Change], None]) -> None:
        """Call ``callback`` with every change made while ONLINE, right after it."""
        self._observers.append(callback)

    def unsubscribe(self, callback: Callable[[Change], None]) -> None:
        """Stop calling ``callback``; harmless where it was never subscribed."""
        if callback in self._observers:
            self._observers.remove(callback)

    def check_online(self) -> None:
        """Raises EINVAL unless the profile is ONLINE."""
        if self.state is not ProfileState.ONLINE:
            raise MrcError(
                Errno.EINVAL, f"{self} is {self.state.value}, only an ONLINE one can be used"
            )

    def check_query(self) -> None:
        """Raises EINVAL in INIT: queries are for OFFLINE and ONLINE (7.1)."""
        if self.state is ProfileState.INIT:
            raise MrcError(Errno.EINVAL, f"{self} is INIT and has nothing to query: configure it")

    def check_destroy(self) -> None:
        """Raises EBUSY while ONLINE."""
        if self.state is ProfileState.ONLINE:
            raise MrcError(Errno.EBUSY, f"{self} is ONLINE: take it OFFLINE, then destroy it")

    def check_request(
        self, names: frozenset[str], target: ProfileState | Unset, capabilities: Capability
    ) -> None:
        """Raises EINVAL or EBUSY where the tables forbid these attributes or this step."""
        self._check_modifiable(names, capabilities)
        if isinstance(target, Unset):
            return
        if (self.state, target) not in NEEDS:
            legal = " or ".join(after.value for before, after in NEEDS if before is self.state)
            raise MrcError(
                Errno.EINVAL,
                f"{self} cannot go from {self.state.value} to {target.value}: go to {legal}",
            )
        if target is ProfileState.INIT and names != {"state"}:
            raise MrcError(
                Errno.EINVAL, f"{self} forgets everything on its way to INIT: give the state alone"
            )
        if self.state is ProfileState.ONLINE and self.users:
            raise MrcError(
                Errno.EBUSY, f"{self} has {len(self.users)} users: end these before OFFLINE"
            )

    def check_needs(
        self, config: Config, target: ProfileState, waived: frozenset[str] = frozenset()
    ) -> None:
        """Raises EINVAL where an attribute is missing that the step to ``target`` needs."""
        missing = NEEDS[self.state, target][self.kind] - given(config) - waived
        if missing:
            raise MrcError(
                Errno.EINVAL,
                f"{self} lacks {', '.join(sorted(missing))} to go {target.value}: "
                "give what is missing in this call or before",
            )

    def enter(self, target: ProfileState) -> None:
        """Take a step that has been checked."""
        self.state = target
        if target is ProfileState.INIT:
            self.config = self._untouched

    def announce(self, change: Change) -> None:
        """Count a change made while ONLINE and tell every observer."""
        self.generation += 1
        for callback in tuple(self._observers):
            callback(change)

    def _check_modifiable(self, names: frozenset[str], capabilities: Capability) -> None:
        allowed = MODIFIABLE[self.kind, self.state]
        capability, extra = MODIFIABLE_WITH.get(
            (self.kind, self.state), (Capability(0), frozenset[str]())
        )
        if capability in capabilities:
            allowed |= extra
        refused = names - allowed
        if refused:
            raise MrcError(
                Errno.EINVAL,
                f"{self} is {self.state.value}, where this device lets nobody change "
                f"{', '.join(sorted(refused))}: move it to another state first",
            )
