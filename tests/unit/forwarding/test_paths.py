"""EV <-> path <-> address by arithmetic, from one host up to the paper's cluster."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.forwarding.paths import (
    Path,
    make_path,
    path_count,
    path_of_address,
    path_of_ev,
    paths,
    reverse,
    self_paths,
)
from topologies.ev import make_ev
from topologies.spec import ClosSpec

FULL = ClosSpec("full", 8, 512, 256, 256, 100 * 10**9, 1000)
QUAD = ClosSpec("quad", 4, 2, 4, 4, 100 * 10**9, 1000)
SPECS = st.builds(
    ClosSpec,
    name=st.just("any"),
    planes=st.integers(1, 8),
    t0_per_plane=st.integers(1, 512),
    t1_per_plane=st.integers(1, 256),
    hosts_per_t0=st.integers(1, 2048),
    port_rate_bps=st.just(100 * 10**9),
    link_delay_ns=st.just(1000),
)


@st.composite
def some_path(draw: st.DrawFn, *, spec: ClosSpec | None = None) -> tuple[ClosSpec, Path]:
    """A spec of any allowed size and one path of any kind in it."""
    spec = spec or draw(SPECS)
    hosts, t1s = st.integers(0, spec.host_count - 1), st.integers(0, spec.t1_per_plane - 1)
    src, dst, plane = draw(hosts), draw(hosts), draw(st.integers(0, spec.planes - 1))
    if src == dst:
        t1 = draw(st.none() | t1s)
    else:
        t1 = draw(t1s) if spec.is_cross_t1(src, dst) else None
    return spec, make_path(spec, src, dst, plane, t1)


@settings(deadline=None)
@given(some_path())
def test_an_address_gives_its_path_back(case: tuple[ClosSpec, Path]) -> None:
    spec, path = case
    assert path_of_address(spec, path.src, path.address) == path


@settings(deadline=None)
@given(some_path())
def test_an_ev_gives_its_path_back(case: tuple[ClosSpec, Path]) -> None:
    spec, path = case
    if not path.is_self_probe:
        assert path_of_ev(spec, path.src, path.dst, path.ev) == path


@settings(deadline=None)
@given(some_path())
def test_the_way_back_is_the_same_way(case: tuple[ClosSpec, Path]) -> None:
    spec, path = case
    back = reverse(spec, path)
    assert back.switches == tuple(reversed(path.switches))
    assert (back.src, back.dst, back.ev) == (path.dst, path.src, path.ev)
    assert reverse(spec, back) == path


@settings(deadline=None)
@given(st.data())
def test_addresses_never_collide_at_full_size(data: st.DataObject) -> None:
    """Two paths share an address only where nothing but the sender's downlink differs."""
    _, one = data.draw(some_path(spec=FULL))
    _, other = data.draw(some_path(spec=FULL))
    same_way = (
        (one.plane, one.t1, one.dst) == (other.plane, other.t1, other.dst)
        and FULL.t0_of(one.src) == FULL.t0_of(other.src)
    )  # fmt: skip
    assert (one.address == other.address) == same_way


@settings(max_examples=10, deadline=None)
@given(src=st.integers(0, FULL.host_count - 1), dst=st.integers(0, FULL.host_count - 1))
def test_a_pair_of_the_full_cluster_has_2048_different_paths(src: int, dst: int) -> None:
    if src == dst:
        return
    found = paths(FULL, src, dst)
    expected = 8 * 256 if FULL.is_cross_t1(src, dst) else 8
    assert len(found) == path_count(FULL, src, dst) == expected
    for key in ("ev", "address", "switches"):
        assert len({getattr(path, key) for path in found}) == expected, key


def test_every_path_of_quad_from_one_host_differs() -> None:
    found = [p for dst in range(1, 8) for p in paths(QUAD, 0, dst)] + [*self_paths(QUAD, 0)]
    assert len(found) == 3 * 4 + 4 * 16 + 4 * 5
    assert len({path.address for path in found}) == len(found)


def test_a_cross_t1_path_reads_as_in_the_contract() -> None:
    path = path_of_ev(QUAD, 0, 5, make_ev(2, 3))
    assert path.switches == ("p2-t0-0", "p2-t1-3", "p2-t0-1")
    assert path.address == IPv6Address("fcbb:bbbb:4800:5003:4801:5801::")
    assert str(path) == "0x0203 h0 > p2-t0-0 > p2-t1-3 > p2-t0-1 > h5"
    assert path.link_count == 4


def test_a_t0_local_pair_has_one_path_per_plane() -> None:
    found = paths(QUAD, 4, 6)
    assert [path.ev for path in found] == [make_ev(plane, 0) for plane in range(4)]
    assert found[1].switches == ("p1-t0-1",)
    assert found[1].address == IPv6Address("fcbb:bbbb:2801:3802::")


def test_self_probes_have_both_forms_on_every_plane() -> None:
    found = self_paths(QUAD, 5)
    assert len(found) == 4 * (1 + 4)
    assert found[0].address == IPv6Address("fcbb:bbbb:0801:1801::")
    assert found[1].address == IPv6Address("fcbb:bbbb:0801:1000:0801:1801::")
    assert all(path.is_self_probe for path in found)


@pytest.mark.parametrize(
    "ev", [make_ev(4, 0), make_ev(0, 4), make_ev(0, 0) | 1, make_ev(0, 0) | 1 << 32]
)
def test_evs_that_name_no_path_are_refused(ev: int) -> None:
    with pytest.raises(ValueError, match=r"no path|no EV"):
        path_of_ev(QUAD, 0, 5, ev)


def test_a_t0_local_pair_knows_uplink_0_only() -> None:
    with pytest.raises(ValueError, match="EV 0x0001 names no path from h0 to h1"):
        path_of_ev(QUAD, 0, 1, make_ev(0, 1))


@pytest.mark.parametrize(
    "address",
    [
        "2001:db8::1",  # outside the block
        "fcbb:bbbb::",  # no list
        "fcbb:bbbb:0800::",  # ends at a switch
        "fcbb:bbbb:0800:1000:0801:1801:1801:0",  # longer than a path
        "fcbb:bbbb:0801:1000:0801:1801::",  # begins at another T0
        "fcbb:bbbb:0800:3000:0801:1801::",  # changes plane
        "fcbb:bbbb:0800:1004:0801:1801::",  # T1 that does not exist
        "fcbb:bbbb:0800:1000:0801:1804::",  # downlink that does not exist
        "fcbb:bbbb:0800:1000:0802:1801::",  # T0 that does not exist
        "fcbb:bbbb:8800:9000:8801:9801::",  # plane that does not exist
        "fcbb:bbbb:0800:0801:1801::",  # T0 to T0
        "fcbb:bbbb:0800:0000:0801:1801::",  # a hole in the list
        "fcbb:bbbb:0800:1000:0800:1801::",  # T0-local by way of a T1
    ],
)
def test_addresses_that_are_no_path_are_refused(address: str) -> None:
    with pytest.raises(ValueError, match="no path"):
        path_of_address(QUAD, 0, IPv6Address(address))


def test_hosts_and_ways_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ValueError, match="host h8 does not exist"):
        paths(QUAD, 0, 8)
    with pytest.raises(ValueError, match="no path to itself"):
        paths(QUAD, 3, 3)
    with pytest.raises(ValueError, match="plane 4 does not exist"):
        make_path(QUAD, 0, 5, 4, 0)
    with pytest.raises(ValueError, match="T1 4 does not exist"):
        make_path(QUAD, 0, 5, 0, 4)
    with pytest.raises(ValueError, match="go through a T1"):
        make_path(QUAD, 0, 5, 0, None)
    with pytest.raises(ValueError, match="go inside their T0"):
        make_path(QUAD, 0, 1, 0, 0)


def test_a_fabric_of_one_t0_has_local_paths_only() -> None:
    lone = replace(QUAD, t0_per_plane=1)
    assert all(path.t1 is None for dst in (1, 2, 3) for path in paths(lone, 0, dst))
