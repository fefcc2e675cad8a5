"""Every path between two hosts, and EV <-> path <-> SRv6 address, by arithmetic.

    cross-T1     block:T0:T1:T0:downlink:0:0     one path per plane and T1
    T0-local     block:T0:downlink:0:0:0:0       one path per plane, uplink 0
    self probes  block:T0:downlink (own)         one per plane
                 block:T0:T1:T0:downlink (own)   one per plane and T1

No table and no graph: a path of the 131,072-NIC cluster costs the same as one of
``tiny`` (facts sheet sections 5.2 and 5.3).
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address

from topologies import names
from topologies.ev import format_ev, make_ev, split_ev
from topologies.spec import ClosSpec
from topologies.usid import Kind, address_of, decode, encode, usids_of


@dataclass(frozen=True, slots=True)
class Path:
    """One way from a host to a host (or back to itself).

    ``src`` and ``dst`` are host indexes; ``t1`` is the T1's index in its plane, None
    where the path does not leave the T0; ``switches`` are names in the order crossed;
    ``address`` is the outer destination as it leaves the source.
    """

    src: int
    dst: int
    ev: int
    plane: int
    t1: int | None
    switches: tuple[str, ...]
    address: IPv6Address

    @property
    def is_self_probe(self) -> bool:
        """True where the path leads back to its sender."""
        return self.src == self.dst

    @property
    def link_count(self) -> int:
        """Links crossed one way."""
        return len(self.switches) + 1

    def __str__(self) -> str:
        nodes = [names.host_name(self.src), *self.switches, names.host_name(self.dst)]
        return f"{format_ev(self.ev)} {' > '.join(nodes)}"


def paths(spec: ClosSpec, src: int, dst: int) -> tuple[Path, ...]:
    """Every path from one host to another, by plane, then uplink.

    Raises ValueError where a host does not exist or both are the same (see
    :func:`self_paths`).
    """
    _require_two_hosts(src, dst)
    turns = _turns(spec, src, dst)
    return tuple(
        make_path(spec, src, dst, plane, t1) for plane in range(spec.planes) for t1 in turns
    )


def path_count(spec: ClosSpec, src: int, dst: int) -> int:
    """How many paths :func:`paths` has, without making them."""
    _require_two_hosts(src, dst)
    return spec.planes * len(_turns(spec, src, dst))


def self_paths(spec: ClosSpec, host: int) -> tuple[Path, ...]:
    """Every self-probe path of a host: NIC-T0-NIC, then NIC-T0-T1-T0-NIC, plane by plane.

    The NIC-T0-NIC path carries the EV of uplink 0; only its address tells them apart.
    """
    turns = (None, *range(spec.t1_per_plane))
    return tuple(
        make_path(spec, host, host, plane, t1) for plane in range(spec.planes) for t1 in turns
    )


def make_path(spec: ClosSpec, src: int, dst: int, plane: int, t1: int | None) -> Path:
    """The path on this plane by way of this T1, or turning at the T0 where t1 is None.

    Raises ValueError where plane, T1 or hosts do not exist, or the way does not lead
    from one to the other.
    """
    _require_way(spec, src, dst, plane, t1)
    t0s, downlink = (spec.t0_of(src), spec.t0_of(dst)), spec.downlink_of(dst)
    last = encode(plane, Kind.DOWNLINK, downlink)
    first = encode(plane, Kind.T0, t0s[0])
    if t1 is None:
        usids: tuple[int, ...] = (first, last)
        switches: tuple[str, ...] = (names.switch_name(plane, 0, t0s[0]),)
    else:
        usids = (first, encode(plane, Kind.T1, t1), encode(plane, Kind.T0, t0s[1]), last)
        switches = (
            names.switch_name(plane, 0, t0s[0]),
            names.switch_name(plane, 1, t1),
            names.switch_name(plane, 0, t0s[1]),
        )
    return Path(src, dst, make_ev(plane, t1 or 0), plane, t1, switches, address_of(usids))


def path_of_ev(spec: ClosSpec, src: int, dst: int, ev: int) -> Path:
    """The path an EV names between two hosts. Raises ValueError where it names none."""
    _require_two_hosts(src, dst)
    plane, uplink = split_ev(ev)
    turns = _turns(spec, src, dst)
    if plane >= spec.planes or uplink >= len(turns):
        raise ValueError(
            f"EV {format_ev(ev)} names no path from {names.host_name(src)} to "
            f"{names.host_name(dst)}: planes 0 to {spec.planes - 1} with uplinks 0 to "
            f"{len(turns) - 1} do"
        )
    return make_path(spec, src, dst, plane, turns[uplink])


def path_of_address(spec: ClosSpec, src: int, address: IPv6Address) -> Path:
    """The path an outer destination address describes, sent by this host.

    The address holds everything but the sender's place at its T0, hence ``src``. Raises
    ValueError where the address is no path of that host.
    """
    try:
        fields = [decode(value) for value in usids_of(address)]
        kinds = tuple(field.kind for field in fields)
        if kinds == (Kind.T0, Kind.DOWNLINK):
            t1 = None
        elif kinds == (Kind.T0, Kind.T1, Kind.T0, Kind.DOWNLINK):
            t1 = fields[1].index
        else:
            raise ValueError("its uSIDs are not T0, downlink or T0, T1, T0, downlink")
        dst = fields[-2].index * spec.hosts_per_t0 + fields[-1].index
        path = make_path(spec, src, dst, fields[0].plane, t1)
    except ValueError as error:
        raise ValueError(f"{address} is no path of {spec.name}: {error}") from error
    if path.address != address:
        raise ValueError(f"{address} is no path from {names.host_name(src)} on one plane")
    return path


def reverse(spec: ClosSpec, path: Path) -> Path:
    """The path a reply takes: the same switches in the other direction."""
    return make_path(spec, path.dst, path.src, path.plane, path.t1)


def _turns(spec: ClosSpec, src: int, dst: int) -> tuple[int | None, ...]:
    """Where packets turn round on each plane: at any T1, or at the T0 (None)."""
    return tuple(range(spec.t1_per_plane)) if spec.is_cross_t1(src, dst) else (None,)


def _require_two_hosts(src: int, dst: int) -> None:
    if src == dst:
        raise ValueError(f"{names.host_name(src)} has no path to itself: ask for self probes")


def _require_way(spec: ClosSpec, src: int, dst: int, plane: int, t1: int | None) -> None:
    if not 0 <= plane < spec.planes:
        raise ValueError(f"plane {plane} does not exist: 0 to {spec.planes - 1} do")
    if t1 is not None and not 0 <= t1 < spec.t1_per_plane:
        raise ValueError(f"T1 {t1} does not exist: 0 to {spec.t1_per_plane - 1} do")
    if src != dst and spec.is_cross_t1(src, dst) == (t1 is None):
        way = "through a T1" if t1 is None else "inside their T0"
        pair = f"{names.host_name(src)} and {names.host_name(dst)}"
        raise ValueError(f"packets between {pair} go {way}, not otherwise")
