"""The NIC's arithmetic against the fabric's: every address by two ways."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.forwarding.paths import make_path, paths
from testbed.forwarding.routes import host_routes
from testbed.intent.topology import load_topology
from testbed.transport.mrc.srv6 import RouteError
from topologies.ev import make_ev
from topologies.names import host_address
from topologies.spec import ClosSpec

SPECS = {name: load_topology(name) for name in ("tiny", "quad", "octo", "rack4", "wide", "full")}


def address_of_host(spec: ClosSpec, host: int) -> bytes:
    return host_address(spec.t0_of(host), spec.downlink_of(host)).packed


@pytest.mark.parametrize("name", ["tiny", "quad", "octo", "rack4"])
def test_every_ev_of_every_pair_gives_its_path(name: str) -> None:
    spec = SPECS[name]
    for src in range(spec.host_count):
        routes = host_routes(spec, src)
        for dst in set(range(spec.host_count)) - {src}:
            template = routes.lookup(address_of_host(spec, dst))
            assert template.is_cross_t1 is spec.is_cross_t1(src, dst)
            for path in paths(spec, src, dst):
                assert template.address(path.ev) == path.address.packed, path


@settings(max_examples=40)
@given(st.sampled_from(["wide", "full"]), st.data())
def test_so_does_any_pair_of_the_large_ones(name: str, data: st.DataObject) -> None:
    spec = SPECS[name]
    hosts = st.integers(0, spec.host_count - 1)
    src, dst = data.draw(hosts), data.draw(hosts)
    template = host_routes(spec, src).lookup(address_of_host(spec, dst))
    turns = range(spec.t1_per_plane) if spec.is_cross_t1(src, dst) else [None]
    for plane, t1 in product(range(spec.planes), turns):
        expected = make_path(spec, src, dst, plane, t1).address.packed
        assert template.address(make_ev(plane, t1 or 0)) == expected


def test_hosts_that_do_not_exist() -> None:
    spec = SPECS["tiny"]
    with pytest.raises(ValueError, match="host h4 does not exist"):
        host_routes(spec, 4)
    routes = host_routes(spec, 0)
    for t0, downlink in ((0, 2), (1, 2)):
        with pytest.raises(RouteError, match="is no host"):
            routes.lookup(host_address(t0, downlink).packed)
    with pytest.raises(RouteError, match="no route leads"):
        routes.lookup(host_address(2, 0).packed)
