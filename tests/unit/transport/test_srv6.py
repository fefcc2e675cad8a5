"""Addresses from EVs, and the longest prefix to them."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.transport.mrc.srv6 import PathTemplate, Route, RouteError, Routes
from topologies.ev import make_ev
from topologies.usid import Kind, address_of, encode

INDEXES = st.integers(0, 2047)


def network(text: str, source_t0: int = 0, destination_t0: int = 1, downlinks: int = 16,
            first_host: int = 0) -> Route:
    """A route to a prefix people can read."""
    prefix = IPv6Network(text)
    return Route(prefix.network_address.packed, prefix.prefixlen, source_t0, destination_t0,
                 downlinks, first_host)


def packed(text: str) -> bytes:
    return IPv6Address(text).packed


@given(INDEXES, INDEXES, INDEXES, st.integers(0, 7), st.integers(0, 255))
def test_the_ev_fills_plane_and_uplink(
    source: int, destination: int, downlink: int, plane: int, uplink: int
) -> None:
    """Every uSID has the plane; the T1 is the uplink's; a T0-local path has no T1."""
    template = PathTemplate(source, destination, downlink)
    stops = [(Kind.T0, source), (Kind.T1, uplink), (Kind.T0, destination)]
    if source == destination:
        stops = stops[:1]
    stops.append((Kind.DOWNLINK, downlink))
    expected = address_of([encode(plane, kind, index) for kind, index in stops]).packed
    assert template.address(make_ev(plane, uplink)) == expected
    assert template.address(make_ev(plane, uplink)) is template.address(make_ev(plane, uplink))
    assert template.is_cross_t1 is (source != destination)


def test_the_worked_path() -> None:
    """Plane 2, T0 4, T1 3, T0 9, downlink 9 (facts sheet 5.3), with this fabric's numbers."""
    address = PathTemplate(4, 9, 9).address(make_ev(2, 3))
    assert IPv6Address(address) == IPv6Address("fcbb:bbbb:4804:5003:4809:5809::")
    local = PathTemplate(4, 4, 0x11).address(make_ev(2, 0))
    assert IPv6Address(local) == IPv6Address("fcbb:bbbb:4804:5811::")


def test_uplinks_make_no_difference_inside_a_t0() -> None:
    template = PathTemplate(4, 4, 2)
    assert template.address(make_ev(1, 3)) == template.address(make_ev(1, 0))
    assert template.address(make_ev(1, 0)) != template.address(make_ev(2, 0))


@pytest.mark.parametrize("ev", [make_ev(8, 0), 1, -1, 1 << 32, 0x0203_0001])
def test_evs_that_name_no_path_are_refused_and_not_remembered(ev: int) -> None:
    template = PathTemplate(0, 1, 2)
    for _ in range(2):
        with pytest.raises(RouteError, match=r"fits no uSID|is no EV"):
            template.address(ev)


@pytest.mark.parametrize("indexes", [(2048, 0, 0), (0, 2048, 0), (0, 1, 2048), (-1, 0, 0)])
def test_indexes_that_fit_no_usid_are_refused(indexes: tuple[int, int, int]) -> None:
    with pytest.raises(RouteError, match="cannot be written as uSIDs"):
        PathTemplate(*indexes)


def test_the_longest_prefix_wins() -> None:
    routes = Routes([
        network("2001:db8::/32", destination_t0=1),
        network("2001:db8:0:4::/64", destination_t0=4),
        network("2001:db8:0:4::8/128", destination_t0=8, downlinks=1),
        network("::/0", destination_t0=9),
    ])  # fmt: skip
    cases = {
        "2001:db8:0:4::8": PathTemplate(0, 8, 0), "2001:db8:0:4::9": PathTemplate(0, 4, 9),
        "2001:db8::3": PathTemplate(0, 1, 3), "::5": PathTemplate(0, 9, 5),
    }  # fmt: skip
    ev = make_ev(1, 2)
    for destination, template in cases.items():
        assert routes.lookup(packed(destination)).address(ev) == template.address(ev)


def test_downlinks_are_counted_from_the_first_host() -> None:
    routes = Routes([network("2001:db8:0:4::/64", destination_t0=4, downlinks=2, first_host=1)])
    ev = make_ev(0, 0)
    assert routes.lookup(packed("2001:db8:0:4::2")).address(ev) == PathTemplate(0, 4, 1).address(ev)
    for beyond in ("2001:db8:0:4::", "2001:db8:0:4::3", "2001:db8:0:4:8000::"):
        with pytest.raises(RouteError, match="is no host: its T0 has 2 downlinks"):
            routes.lookup(packed(beyond))


def test_where_no_route_leads() -> None:
    routes = Routes([network("2001:db8::/64")])
    with pytest.raises(RouteError, match=r"no route leads to 2001:0db8:0000:0001:.* controller"):
        routes.lookup(packed("2001:db8:0:1::"))
    with pytest.raises(LookupError):
        Routes([]).lookup(packed("::"))


def test_one_prefix_has_one_route() -> None:
    with pytest.raises(RouteError, match="two routes"):
        Routes([network("2001:db8::/64"), network("2001:db8::/64", destination_t0=2)])


@pytest.mark.parametrize(("prefix", "bits"), [(b"", 0), (bytes(15), 8), (bytes(16), 129)])
def test_what_is_no_prefix_is_refused(prefix: bytes, bits: int) -> None:
    with pytest.raises(RouteError, match="is no IPv6 prefix"):
        Routes([Route(prefix, bits, 0, 1, 1)])
    with pytest.raises(RouteError, match="is no IPv6 prefix"):
        Routes([network("::/0")]).lookup(b"short")
