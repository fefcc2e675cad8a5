"""EV format profiles: how many bits each field of an EV has, in wire order (7.2).

A field is only a width. STEV with 8, 4 and 4 bits is one format; SRv6 with 32 bits of
locator and four uSIDs of 16 another. What is put into the fields is the EV profile's.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag

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
from testbed.transport.mrc.errors import Errno, MrcError


class EvFormatMode(IntFlag):
    """Where in the packet the EV goes (1.3)."""

    STEV = 1  # flow label and UDP source port
    SRV6 = 2  # outer IPv6 destination, one SRH segment
    UDP = 4  # UDP source port


MODE_BITS = {EvFormatMode.STEV: 32, EvFormatMode.SRV6: 256, EvFormatMode.UDP: 16}


@dataclass(frozen=True, slots=True, kw_only=True)
class EvFormatConfig:
    """What an EV format profile holds; ``fields`` are widths in bits, in wire order."""

    mode: EvFormatMode | Unset = UNSET
    fields: tuple[int, ...] | Unset = UNSET


@dataclass(frozen=True, slots=True, kw_only=True)
class EvFormatAttr(EvFormatConfig):
    """What a modify call gives and a query returns."""

    state: ProfileState | Unset = UNSET


class EvFormatProfile(Profile[EvFormatConfig, object, None]):
    """One format; the EV profiles that are ONLINE with it are its users.

    ``modes`` and ``max_width`` (bits) are what the device supports.
    """

    kind = ProfileKind.EV_FORMAT

    def __init__(self, profile_id: int, modes: EvFormatMode, max_width: int) -> None:
        super().__init__(profile_id, EvFormatConfig())
        self._modes = modes
        self._max_width = max_width

    @property
    def mode(self) -> EvFormatMode:
        """Where the EVs of this format go; set from OFFLINE on."""
        return known(self.config.mode)

    def widths(self) -> tuple[int, ...]:
        """The widths in bits, in wire order. Raises EINVAL where none are configured yet."""
        self.check_query()
        if isinstance(self.config.fields, Unset):
            raise MrcError(Errno.EINVAL, f"{self} has no fields yet: modify its fields first")
        return self.config.fields

    def modify(self, attr: EvFormatAttr) -> None:
        """Change attributes and take a step, or change nothing.

        Raises EINVAL (attribute, value or step not possible), E2BIG (fields wider than the
        mode or the device carries), EBUSY (an EV profile that uses it is ONLINE).
        """
        self.check_request(given(attr), attr.state, Capability(0))
        draft = merged(self.config, attr)
        self._check_mode(draft)
        self._check_fields(draft)
        if not isinstance(attr.state, Unset):
            self.check_needs(draft, attr.state)
        self.config = draft
        if not isinstance(attr.state, Unset):
            self.enter(attr.state)

    def query(self, capacity: int | None = None) -> EvFormatAttr:
        """State, mode and fields; ``capacity`` is the room for fields, None for enough.

        Raises EINVAL in INIT, E2BIG with the needed length where the room is too small.
        """
        self.check_query()
        widths = self.config.fields
        if capacity is not None and not isinstance(widths, Unset) and len(widths) > capacity:
            raise MrcError(
                Errno.E2BIG,
                f"{self} has {len(widths)} fields and room is for {capacity}: make room",
                count=len(widths),
            )
        return EvFormatAttr(mode=self.config.mode, fields=widths, state=self.state)

    def _check_mode(self, draft: EvFormatConfig) -> None:
        mode = draft.mode
        if isinstance(mode, Unset):
            return
        if mode not in MODE_BITS or mode not in self._modes:
            raise MrcError(
                Errno.EINVAL, f"{self} cannot have mode {mode!r}: use one mode of the device"
            )

    def _check_fields(self, draft: EvFormatConfig) -> None:
        if isinstance(draft.fields, Unset):
            return
        if not draft.fields or min(draft.fields) < 1:
            raise MrcError(
                Errno.EINVAL, f"{self} has fields {draft.fields}: give widths of 1 bit or more"
            )
        limit = self._max_width
        if not isinstance(draft.mode, Unset):
            limit = min(limit, MODE_BITS[draft.mode])
        if sum(draft.fields) > limit:
            raise MrcError(
                Errno.E2BIG,
                f"{self} has fields of {sum(draft.fields)} bits, its mode and device carry "
                f"{limit}: make them narrower",
            )
