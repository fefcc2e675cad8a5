"""EV profiles: the EVs that QPs spread their packets over (facts sheet sections 4.11, 7.3).

Three ways to fill one. AUTO: the device picks; here that is every path of every plane, as
its driver hands them in. EXP: the controller lists them; the array starts as unpopulated
entries (32 zero bytes, port 0) that REPLACE_EV fills. GEN: generated from the fields. In
EXP and GEN an EV in the API is the string of its variable bits and ``expand`` makes the EV
of the wire; for this fabric's format (ev_fields.FABRIC_FORMAT) the two look the same.

A QP takes ``entries()``, ``min_active``, ``event_mask`` and ``active_per_port`` when it
attaches, registers itself as a user, and subscribes to follow what the controller changes
while the profile is ONLINE. The state in the profile is the controller's word; what QPs
learned from the network stays with them and is asked for in QUERY_EV_STATE.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn, Protocol

from testbed.transport.mrc.ctl.attributes import EvMode
from testbed.transport.mrc.ctl.ev_array import (
    EvDevice,
    EvProfileConfig,
    build_array,
    check_format_online,
    engine_ev,
)
from testbed.transport.mrc.ctl.ev_entries import (
    MODIFYING,
    ChangeKind,
    EvEntry,
    EvOperation,
    EvProfileChange,
    HeldEv,
    PathEntry,
    check_new,
    find,
    state_to_set,
)
from testbed.transport.mrc.ctl.ev_fields import check_fields
from testbed.transport.mrc.ctl.profile import (
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
from testbed.transport.mrc.ctl.values import EVENT_STATES, ApiEv, ApiEvState
from testbed.transport.mrc.errors import Errno, MrcError

# Attributes that make the array anew where they change.
_SHAPING = frozenset({"mode", "fmt_id", "count", "fields"})
_NOT_FOR_AUTO = frozenset({"fmt_id", "fields"})
_INIT, _OFFLINE, _ONLINE = ProfileState.INIT, ProfileState.OFFLINE, ProfileState.ONLINE


@dataclass(frozen=True, slots=True, kw_only=True)
class EvProfileAttr(EvProfileConfig):
    """What a modify call gives and a query returns.

    ``fields`` is the fields operation: given, it modifies; it never goes together with
    ``operation``, which works on ``entries``.
    """

    state: ProfileState | Unset = UNSET
    operation: EvOperation | Unset = UNSET
    entries: tuple[EvEntry, ...] = ()


class EvUser(Protocol):
    """What a QP answers about its EVs."""

    def ev_state(self, ev: int, /) -> ApiEvState:
        """How this QP holds ``ev`` (32 bits); SKIP reads as GOOD, UNKNOWN if it has none."""


class EvProfile(Profile[EvProfileConfig, EvUser, EvProfileChange]):
    """One EV profile of a device."""

    kind = ProfileKind.EV

    def __init__(self, profile_id: int, device: EvDevice) -> None:
        super().__init__(profile_id, EvProfileConfig())
        self._device = device
        self._held: list[HeldEv] = []
        self._api_of: dict[tuple[int, int], ApiEv] | None = None

    # --- What QPs and the device take from it ----------------------------------------
    @property
    def count(self) -> int:
        """How many entries the profile holds, 0 before OFFLINE."""
        return len(self._held)

    @property
    def min_active(self) -> int:
        """How many EVs a QP keeps active whatever it learns; set from ONLINE on."""
        return known(self.config.min_active)

    @property
    def event_mask(self) -> ApiEvState:
        """The states whose onset posts an event; set from ONLINE on."""
        return known(self.config.event_mask)

    @property
    def active_per_port(self) -> int | None:
        """How many EVs of each port a QP uses at once, None for all."""
        value = self.config.active_per_port
        return None if isinstance(value, Unset) else value

    def entries(self) -> list[PathEntry]:
        """The EVs as QPs use them, in the order of the array. Raises EINVAL unless ONLINE."""
        self.check_online()
        return [
            PathEntry(item.ev, item.api.port - 1, item.state)
            for item in self._held
            if item.ev is not None
        ]

    def api_ev_of(self, ev: int, port: int) -> ApiEv | None:
        """The API's form of the engine's ``ev`` on ``port`` (from 0), None if not held."""
        if self._api_of is None:
            self._api_of = {
                (item.ev, item.api.port - 1): item.api for item in self._held if item.ev is not None
            }
        return self._api_of.get((ev, port))

    def holds(self, api: ApiEv) -> bool:
        """Whether an entry is this EV of the API."""
        return any(item.api == api for item in self._held)

    # --- The controller's calls ------------------------------------------------------
    def modify(self, attr: EvProfileAttr) -> None:
        """Change attributes, process an operation, take a step; in this order.

        A call refused before its first entry changes nothing. One that fails at an entry,
        or at the step after an operation, keeps what was done up to there.
        Raises EINVAL, E2BIG (more EVs, entries or bits than there is room for), ENOENT (EV
        not found), EBUSY (QPs use it).
        """
        names, target = _requested(attr), attr.state
        self.check_request(names, target, self._device.attributes.capabilities)
        draft = merged(self.config, attr)
        self._check_values(draft, names)
        self._check_operation(attr, draft.mode)
        if not isinstance(target, Unset):
            self.check_needs(draft, target, _waived(draft))
        if target is _INIT:
            self._forget()
        elif self.state is _INIT and isinstance(target, Unset):
            self.config = draft
        elif isinstance(attr.operation, Unset):
            self._adopt(draft, names, target)
        else:
            self._adopt(draft, names, UNSET)
            self._process(attr.operation, attr.entries)
            self._adopt(self.config, frozenset(), target)

    def query(
        self,
        operation: EvOperation | None = None,
        entries: Sequence[EvEntry] = (),
        *,
        with_fields: bool = False,
        capacity: int | None = None,
    ) -> EvProfileAttr:
        """Attributes with the adjusted count, and the answer to one query operation.

        ``capacity`` is the room for the EV array or the fields, None for enough. Raises
        EINVAL (INIT, or an operation that does not go here), ENOENT (EV not found), E2BIG
        (room too small: the error's count says what is needed; or too many entries).
        """
        self.check_query()
        if operation in MODIFYING or (operation is not None and with_fields):
            self._refuse("answers one query operation or its fields: ask for one at a time")
        self._check_entry_limit(len(entries))
        fields = self.config.fields if with_fields else UNSET
        if operation is EvOperation.QUERY_EV_ARRAY:
            self._check_capacity(self.count, capacity, "EVs")
        elif not isinstance(fields, Unset):
            self._check_capacity(len(fields), capacity, "fields")
        config = self.config
        return EvProfileAttr(
            state=self.state,
            mode=config.mode,
            fmt_id=config.fmt_id,
            count=self.count,
            min_active=config.min_active,
            event_mask=config.event_mask,
            active_per_port=self.active_per_port,
            fields=fields,
            operation=UNSET if operation is None else operation,
            entries=tuple(self._answer(operation, entries)),
        )

    # --- Checks of a request, none of which change anything --------------------------
    def _check_values(self, draft: EvProfileConfig, names: frozenset[str]) -> None:
        """Raises EINVAL where an attribute has no sense by itself."""
        if not isinstance(draft.mode, Unset):
            self._check_mode(draft.mode, names)
        if not isinstance(draft.count, Unset) and draft.count < 1:
            self._refuse(f"cannot hold {draft.count} EVs: give at least 1")
        if not isinstance(draft.min_active, Unset) and draft.min_active < 0:
            self._refuse(f"cannot keep {draft.min_active} EVs active: give 0 or more")
        if isinstance(draft.active_per_port, int) and draft.active_per_port < 1:
            self._refuse(f"cannot use {draft.active_per_port} EVs per port: give 1 or more")
        if not isinstance(draft.event_mask, Unset):
            self._check_event_mask(draft.event_mask)
        if not isinstance(draft.fields, Unset):
            check_fields(draft.fields)

    def _check_mode(self, mode: EvMode, names: frozenset[str]) -> None:
        if mode.bit_count() != 1 or mode not in self._device.attributes.ev_modes:
            self._refuse(f"cannot have mode {mode!r}: use one mode of the device")
        if mode == EvMode.AUTO and "fields" in names:
            self._refuse("is AUTO and has no fields: leave them out or choose another mode")

    def _check_event_mask(self, mask: ApiEvState) -> None:
        if int(mask) & ~int(EVENT_STATES):
            self._refuse(f"cannot report {mask!r}: use GOOD and ASSUMED_BAD only")
        if mask and Capability.EV_EVENTS not in self._device.attributes.capabilities:
            self._refuse("cannot report EV events, its device has none: use mask 0")

    def _check_operation(self, attr: EvProfileAttr, mode: EvMode | Unset) -> None:
        if isinstance(attr.operation, Unset):
            if attr.entries:
                self._refuse("got entries alone: name their operation")
            return
        if not isinstance(attr.fields, Unset):
            self._refuse("takes fields or EVs in one call: modify them in two")
        if not attr.entries:
            self._refuse("got an operation on nothing: give its entries")
        if attr.operation is EvOperation.REPLACE_EV and mode != EvMode.EXP:
            self._refuse("fills its EVs by itself: REPLACE_EV needs mode EXP")
        self._check_entry_limit(len(attr.entries))

    def _check_entry_limit(self, entries: int) -> None:
        limit = self._device.attributes.max_entries_per_op
        if limit and entries > limit:
            raise MrcError(
                Errno.E2BIG, f"{entries} entries are too many for one operation: send {limit}"
            )

    def _check_capacity(self, length: int, capacity: int | None, what: str) -> None:
        if capacity is not None and length > capacity:
            raise MrcError(
                Errno.E2BIG,
                f"{self} has {length} {what} and room is for {capacity}: make room",
                count=length,
            )

    def _refuse(self, reason: str) -> NoReturn:
        raise MrcError(Errno.EINVAL, f"{self} {reason}")

    # --- Attributes and steps --------------------------------------------------------
    def _adopt(
        self, draft: EvProfileConfig, names: frozenset[str], target: ProfileState | Unset
    ) -> None:
        """Make ``draft`` the configuration and step to ``target``, or change nothing."""
        held = self._array(draft, names, target)
        if not isinstance(draft.min_active, Unset) and draft.min_active > len(held):
            self._refuse(f"cannot keep {draft.min_active} of {len(held)} EVs active: lower it")
        if target is _ONLINE:
            self._check_populated(held)
            self._hold_format(draft)
        elif target is _OFFLINE and self.state is _ONLINE:
            self._release_format()
        before, self._held, self._api_of = self._held, held, None
        self.config = draft
        if not isinstance(target, Unset):
            self.enter(target)
        elif self.state is _ONLINE and names - {"modify_ev_state", "replace_ev", "state"}:
            self._announce_difference(before)

    def _array(
        self, draft: EvProfileConfig, names: frozenset[str], target: ProfileState | Unset
    ) -> list[HeldEv]:
        """The entries under ``draft``; the present ones where nothing shapes them anew."""
        if not (names & _SHAPING or target is _ONLINE or self.state is _INIT):
            return self._held
        missing = _SHAPING - given(draft) - _waived(draft)
        if missing:
            self._refuse(f"lacks {', '.join(sorted(missing))}: give what is missing")
        listed = self.config.mode == EvMode.EXP
        kept = [item.api for item in self._held] if listed else []
        return build_array(draft, kept, self._held, self._device)

    def _check_populated(self, held: Sequence[HeldEv]) -> None:
        empty = sum(item.ev is None for item in held)
        if not held:
            self._refuse("has no EVs, its device picks none: give it paths or list EVs")
        if empty:
            self._refuse(f"has {empty} unpopulated of {len(held)} EVs: replace these first")

    def _hold_format(self, draft: EvProfileConfig) -> None:
        ev_format = check_format_online(draft, self._device)
        if ev_format is not None:
            ev_format.register_user(self)

    def _release_format(self) -> None:
        if self.config.mode != EvMode.AUTO:
            self._device.ev_format(known(self.config.fmt_id)).unregister_user(self)

    def _forget(self) -> None:
        self._held, self._api_of = [], None
        self.enter(_INIT)

    def _announce_difference(self, before: Sequence[HeldEv]) -> None:
        """Tell which EVs other fields have changed; a change of nothing else counts too."""
        generation = self.generation
        for old, new in zip(before, tuple(self._held), strict=True):
            if old != new:
                self._announce(ChangeKind.REPLACED, old, new)
        if self.generation == generation:
            self.generation += 1

    def _announce(self, kind: ChangeKind, old: HeldEv, new: HeldEv) -> None:
        if self.state is _ONLINE and old.ev is not None and new.ev is not None:
            port = new.api.port - 1
            self.announce(EvProfileChange(kind, old.ev, new.ev, port, new.state))

    # --- Operations ------------------------------------------------------------------
    def _process(self, operation: EvOperation, entries: Sequence[EvEntry]) -> None:
        """Change entry by entry; the first failure ends it, with its place as the count."""
        change = self._replace if operation is EvOperation.REPLACE_EV else self._set_state
        for place, entry in enumerate(entries):
            try:
                change(entry)
            except MrcError as error:
                raise MrcError(
                    error.errno, f"entry {place} for {self}: {error}", count=place
                ) from error

    def _replace(self, entry: EvEntry) -> None:
        places = find(self._held, entry)
        api = check_new(entry, self._device.attributes.ports())
        new = HeldEv(api, state_to_set(entry), engine_ev(self.config, api, self._device))
        self._put(ChangeKind.REPLACED, places, new)

    def _set_state(self, entry: EvEntry) -> None:
        places = find(self._held, entry)
        state = state_to_set(entry)
        if self._held[places[0]].ev is None:
            self._refuse("has an unpopulated EV there, which has no state: replace it first")
        self._put(ChangeKind.STATE_SET, places, self._held[places[0]]._replace(state=state))

    def _put(self, kind: ChangeKind, places: Sequence[int], new: HeldEv) -> None:
        for place in places:
            old, self._held[place], self._api_of = self._held[place], new, None
            self._announce(kind, old, new)

    def _answer(self, operation: EvOperation | None, entries: Sequence[EvEntry]) -> list[EvEntry]:
        if operation is EvOperation.QUERY_EV_ARRAY:
            return [EvEntry(item.api, state=self._state_of(item)) for item in self._held]
        if operation is None:
            return []
        held = (self._held[find(self._held, entry)[0]] for entry in entries)
        return [EvEntry(item.api, state=self._state_of(item)) for item in held]

    def _state_of(self, item: HeldEv) -> ApiEvState:
        """DENIED by the controller, else ASSUMED_BAD where a QP holds it so, else GOOD.

        Without QPs there is only what the controller said.
        """
        if item.ev is None or item.state == ApiEvState.DENIED or not self.users:
            return item.state
        if any(user.ev_state(item.ev) == ApiEvState.ASSUMED_BAD for user in self.users):
            return ApiEvState.ASSUMED_BAD
        return ApiEvState.GOOD


def _requested(attr: EvProfileAttr) -> frozenset[str]:
    """What a call asks to change, in the words of ``profile.MODIFIABLE``."""
    names = given(attr) - {"operation", "entries"}
    if isinstance(attr.operation, Unset):
        return names
    return names | {attr.operation.value}


def _waived(config: EvProfileConfig) -> frozenset[str]:
    """What this profile never needs: AUTO has neither format nor fields."""
    return _NOT_FOR_AUTO if config.mode == EvMode.AUTO else frozenset()
