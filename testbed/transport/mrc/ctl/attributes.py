"""What a device can do: its limits, the modes it knows and its optional capabilities (7.8)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag

from testbed.transport.mrc.ctl.ev_format import EvFormatMode
from testbed.transport.mrc.ctl.profile import Capability

NSCC_ALGORITHM = "uet-1.0-nscc"  # the one algorithm the header defines (7.5)


def api_version(major: int, minor: int, sub: int) -> int:
    """The version of an API as one number: major << 24 | minor << 16 | sub."""
    return major << 24 | minor << 16 | sub


API_VERSION = api_version(1, 0, 1)


class EvMode(IntFlag):
    """Who fills the EVs of a profile (7.3)."""

    AUTO = 1  # the device picks
    EXP = 2  # the controller lists them
    GEN = 4  # generated from the fields


ALL_CAPABILITIES = (
    Capability.EV_PROFILE_MODIFY_ONLINE
    | Capability.CC_PROFILE_MODIFY_ONLINE
    | Capability.EV_EVENTS
    | Capability.PRECISE_DROP_CNT
    | Capability.EV_PROBES
)


@dataclass(frozen=True, slots=True)
class DeviceAttributes:
    """The fixed properties of one device.

    ``phy_port_mask``: bit N stands for port N, ports from 1, so bit 0 is never set.
    ``ev_count_align``: EV counts are rounded up to a multiple of it. ``ev_max_width`` in
    bits. ``max_entries_per_op`` 0 means no limit. The header's NULL-terminated list of
    algorithms is a tuple. Raises ValueError for a port mask without a port, an alignment
    below 1, or EV_CONTIGUOUS_ONLY, which is not modelled.
    """

    phy_port_mask: int
    api_version: int = API_VERSION
    max_ev_formats: int = 16
    max_ev_profiles: int = 64
    max_cc_profiles: int = 64
    max_evs: int = 16384
    max_evs_per_profile: int = 2048
    ev_count_align: int = 1
    ev_max_width: int = 256
    max_entries_per_op: int = 0
    max_probes: int = 4096
    ev_modes: EvMode = EvMode.AUTO | EvMode.EXP | EvMode.GEN
    ev_format_modes: EvFormatMode = EvFormatMode.STEV | EvFormatMode.SRV6 | EvFormatMode.UDP
    cc_algorithms: tuple[str, ...] = (NSCC_ALGORITHM,)
    capabilities: Capability = ALL_CAPABILITIES

    def __post_init__(self) -> None:
        if self.phy_port_mask <= 0 or self.phy_port_mask & 1:
            raise ValueError(
                f"port mask {self.phy_port_mask:#x} names no ports: set bit N for port N from 1"
            )
        if self.ev_count_align < 1:
            raise ValueError(f"EV alignment {self.ev_count_align} is below 1: use 1 for none")
        if Capability.EV_CONTIGUOUS_ONLY in self.capabilities:
            raise ValueError("a device limited to contiguous EVs is not modelled: drop that bit")

    def ports(self) -> tuple[int, ...]:
        """The ports the device has, counted from 1, in ascending order."""
        mask = self.phy_port_mask
        return tuple(port for port in range(1, mask.bit_length()) if mask >> port & 1)


def port_mask(count: int) -> int:
    """The ``phy_port_mask`` of a device with ``count`` ports: bits 1 .. count."""
    return ((1 << count) - 1) << 1
