"""A multi-plane two-tier Clos in a dozen numbers, and what those may be.

``ClosSpec`` only stores; :func:`faults` lists everything wrong with one at once, so
that a person who mistyped three values hears of three. Limits come from the uSID (3
bits of plane, 11 of index), the EV (8 bits of uplink) and Linux interface names (15
characters), and hold the paper's 131,072-NIC cluster with its 8 x 512 x 256 switches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from topologies import ev, numbers, usid

Dataplane = Literal["ovs", "linux"]
DATAPLANES: tuple[str, ...] = get_args(Dataplane)


@dataclass(frozen=True, slots=True)
class ClosSpec:
    """Shape and speed of a fabric: P disjoint planes, every host on every plane.

    ``port_rate_bps`` is one NIC or switch port in emulated bit/s, ``link_delay_ns``
    one link in emulated ns, ``mtu_bytes`` the largest frame without its Ethernet
    header, ``payload_bytes`` the RDMA payload of a full data packet. A spec with
    ``is_description_only`` can be asked about, never built.
    """

    name: str
    planes: int
    t0_per_plane: int
    t1_per_plane: int
    hosts_per_t0: int
    port_rate_bps: int
    link_delay_ns: int
    mtu_bytes: int = 9000
    payload_bytes: int = 4096
    dataplane: Dataplane = "ovs"
    description: str = ""
    is_description_only: bool = False

    @property
    def host_count(self) -> int:
        """Hosts; each has one NIC port on every plane."""
        return self.t0_per_plane * self.hosts_per_t0

    @property
    def nic_port_count(self) -> int:
        """NIC ports, which is also the number of NIC-T0 links."""
        return self.host_count * self.planes

    @property
    def t0_count(self) -> int:
        """T0 switches in all planes."""
        return self.planes * self.t0_per_plane

    @property
    def t1_count(self) -> int:
        """T1 switches in all planes."""
        return self.planes * self.t1_per_plane

    @property
    def switch_count(self) -> int:
        """Switches of both tiers in all planes."""
        return self.t0_count + self.t1_count

    @property
    def fabric_link_count(self) -> int:
        """T0-T1 links in all planes: every T0 has one to every T1 of its plane."""
        return self.t0_count * self.t1_per_plane

    @property
    def link_count(self) -> int:
        """All links, NIC-T0 and T0-T1."""
        return self.nic_port_count + self.fabric_link_count

    @property
    def switch_port_count(self) -> int:
        """All ports of all switches."""
        return self.nic_port_count + 2 * self.fabric_link_count

    def t0_of(self, host: int) -> int:
        """Index of the T0 group of this host. Raises ValueError where it does not exist."""
        return self._place(host)[0]

    def downlink_of(self, host: int) -> int:
        """The T0 downlink, from 0, of this host. Raises ValueError where it does not exist."""
        return self._place(host)[1]

    def is_cross_t1(self, src: int, dst: int) -> bool:
        """True where packets between these hosts climb to a T1: not in one T0 group."""
        return self.t0_of(src) != self.t0_of(dst)

    def _place(self, host: int) -> tuple[int, int]:
        if not 0 <= host < self.host_count:
            raise ValueError(
                f"host h{host} does not exist: {self.name} has h0 to h{self.host_count - 1}"
            )
        return divmod(host, self.hosts_per_t0)


@dataclass(frozen=True, slots=True)
class SpecFault:
    """One thing wrong with a spec: the field of ClosSpec, its value, what is allowed."""

    field: str
    value: object
    allowed: str

    def __str__(self) -> str:
        return f"{self.field} = {self.value} is not allowed: {self.allowed}"


@dataclass(frozen=True, slots=True)
class _Range:
    low: int
    high: int
    text: str


_RANGES = {
    "planes": _Range(1, usid.PLANE_LIMIT, "1 to 8 (a uSID has 3 bits of plane)"),
    "t0_per_plane": _Range(1, 512, "1 to 512"),
    "t1_per_plane": _Range(1, ev.UPLINK_LIMIT, "1 to 256 (an EV has 8 bits of uplink)"),
    "hosts_per_t0": _Range(
        1, usid.INDEX_LIMIT, "1 to 2048 (a uSID has 11 bits of downlink)"
    ),
    # The upper ends keep every queue threshold (4 BDP) within 32 bits.
    "port_rate_bps": _Range(10**9, 16 * 10**11, "1Gbps to 1.6Tbps"),
    "link_delay_ns": _Range(0, 100_000, "0ns to 100us"),
    # Linux turns IPv6 off below 1280 (RFC 8200 section 5).
    "mtu_bytes": _Range(1280, 9216, "1280B to 9216B"),
    "payload_bytes": _Range(256, 8192, "256B to 8192B"),
}


def allowed(field: str) -> str:
    """What a numeric field of ClosSpec may be, in words: ``1 to 512``."""
    return _RANGES[field].text


def faults(spec: ClosSpec) -> tuple[SpecFault, ...]:
    """Everything wrong with this spec, in the order of its fields; () where it is valid."""
    found = [
        SpecFault(field, getattr(spec, field), limits.text)
        for field, limits in _RANGES.items()
        if not limits.low <= getattr(spec, field) <= limits.high
    ]
    in_range = not {"mtu_bytes", "payload_bytes"} & {fault.field for fault in found}
    if spec.payload_bytes % 4:
        found.append(SpecFault("payload_bytes", spec.payload_bytes, "a multiple of 4B"))
    needed_bytes = spec.payload_bytes + numbers.MTU_OVERHEAD_BYTES
    if in_range and spec.mtu_bytes < needed_bytes:
        text = (
            f"at least {needed_bytes}B, a payload of {spec.payload_bytes}B with its "
            f"{numbers.MTU_OVERHEAD_BYTES}B of headers"
        )
        found.append(SpecFault("mtu_bytes", spec.mtu_bytes, text))
    if spec.dataplane not in DATAPLANES:
        found.append(SpecFault("dataplane", spec.dataplane, " or ".join(DATAPLANES)))
    return tuple(found)


def validate(spec: ClosSpec) -> ClosSpec:
    """The spec itself where it is valid; raises ValueError naming every fault otherwise."""
    if found := faults(spec):
        raise ValueError("; ".join(str(fault) for fault in found))
    return spec
