"""The array of EVs of one profile: how each mode fills it, how an entry becomes a wire EV.

Nothing here changes anything: a profile asks for the array it would have, and adopts it
when every other check has passed (facts sheet sections 7.3 and 7.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from testbed.transport.mrc.ctl.attributes import DeviceAttributes, EvMode
from testbed.transport.mrc.ctl.ev_entries import HeldEv
from testbed.transport.mrc.ctl.ev_fields import (
    EvField,
    check_against,
    expand,
    generate,
    variable_bits,
)
from testbed.transport.mrc.ctl.ev_format import EvFormatMode, EvFormatProfile
from testbed.transport.mrc.ctl.profile import UNSET, ProfileState, Unset, known
from testbed.transport.mrc.ctl.values import (
    UNPOPULATED,
    WIRE_EV_BYTES,
    ApiEv,
    ApiEvState,
    api_ev,
)
from testbed.transport.mrc.errors import Errno, MrcError


@dataclass(frozen=True, slots=True, kw_only=True)
class EvProfileConfig:
    """What an EV profile holds beside its entries.

    ``count`` is rounded up to the device's alignment. ``min_active`` <= count: QPs do not
    assume EVs bad below it. ``event_mask``: states whose onset posts an event, GOOD and /
    or ASSUMED_BAD, 0 for none. ``active_per_port`` is a vendor attribute: how many EVs of
    each port a QP uses at once, the rest being its spares; None for all.
    """

    mode: EvMode | Unset = UNSET
    fmt_id: int | Unset = UNSET
    count: int | Unset = UNSET
    min_active: int | Unset = UNSET
    event_mask: ApiEvState | Unset = UNSET
    active_per_port: int | Unset | None = UNSET
    fields: tuple[EvField, ...] | Unset = UNSET


class EvDevice(Protocol):
    """What an EV profile needs of its device."""

    @property
    def attributes(self) -> DeviceAttributes:
        """The device's limits and modes."""

    def auto_evs(self, count: int, /) -> Sequence[tuple[int, int]]:
        """At most ``count`` EVs the device would pick: (32 bits, port from 0)."""

    def ev_format(self, fmt_id: int, /) -> EvFormatProfile:
        """The format of this id. Raises EINVAL where there is none."""

    def free_evs(self) -> int:
        """How many more EVs the device's profiles may hold."""


def build_array(
    config: EvProfileConfig, kept: Sequence[ApiEv], before: Sequence[HeldEv], device: EvDevice
) -> list[HeldEv]:
    """The entries under ``config``, which has all that INIT to OFFLINE needs.

    ``kept`` are the EVs a controller has listed so far, ``before`` the present entries: an
    EV that stays keeps its state, a new one is GOOD, an unpopulated one UNKNOWN. Raises
    E2BIG where the device has no room for so many or the format none for the fields,
    EINVAL where format, fields and EVs do not go together.
    """
    count = _adjusted(known(config.count), len(before), device)
    if config.mode == EvMode.AUTO:
        apis = [api_ev(ev, port) for ev, port in device.auto_evs(count)[:count]]
    else:
        fields = known(config.fields)
        check_against(device.ev_format(known(config.fmt_id)).widths(), fields)
        if config.mode == EvMode.GEN:
            apis = generate(fields, count, device.attributes.ports())
        else:
            apis = [*kept[:count], *[UNPOPULATED] * (count - len(kept))]
    states = {item.api: item.state for item in before} | {UNPOPULATED: ApiEvState.UNKNOWN}
    return [
        HeldEv(api, states.get(api, ApiEvState.GOOD), engine_ev(config, api, device))
        for api in apis
    ]


def engine_ev(config: EvProfileConfig, api: ApiEv, device: EvDevice) -> int | None:
    """The 32 bits the engine sends for ``api``; None for the unpopulated EV.

    STEV and UDP: the first four bytes of the expansion. SRv6: the EV itself, as it travels
    beside the address in flow label and source port (1.3); the engine makes the address of
    it per destination. Raises EINVAL where bits are set that no field takes, E2BIG where
    an SRv6 EV has more than 32.
    """
    if api == UNPOPULATED:
        return None
    if config.mode == EvMode.AUTO:
        return int.from_bytes(api.value[:WIRE_EV_BYTES], "big")
    ev_format = device.ev_format(known(config.fmt_id))
    fields = known(config.fields)
    expanded = expand(ev_format.widths(), fields, api.value)
    if ev_format.mode != EvFormatMode.SRV6:
        return int.from_bytes(expanded[:WIRE_EV_BYTES], "big")
    if variable_bits(fields) > 8 * WIRE_EV_BYTES:
        raise MrcError(
            Errno.E2BIG,
            f"EVs of {variable_bits(fields)} bits do not fit the 32 that travel with a packet: "
            "narrow the masks",
        )
    return int.from_bytes(api.value[:WIRE_EV_BYTES], "big")


def check_format_online(config: EvProfileConfig, device: EvDevice) -> EvFormatProfile | None:
    """The format, None in AUTO. Raises EINVAL unless it is ONLINE."""
    if config.mode == EvMode.AUTO:
        return None
    ev_format = device.ev_format(known(config.fmt_id))
    if ev_format.state is not ProfileState.ONLINE:
        raise MrcError(
            Errno.EINVAL, f"{ev_format} is {ev_format.state.value}: take it ONLINE first"
        )
    return ev_format


def _adjusted(count: int, held: int, device: EvDevice) -> int:
    """``count`` rounded up to the alignment. Raises E2BIG where that is too many."""
    attributes = device.attributes
    align = attributes.ev_count_align
    count = -(-count // align) * align
    room = min(attributes.max_evs_per_profile, device.free_evs() + held)
    if count > room:
        raise MrcError(
            Errno.E2BIG, f"{count} EVs are too many for this profile: {room} are left to it"
        )
    return count
