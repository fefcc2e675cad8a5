"""Routes are those of the plan; what has none is dropped and counted where it ends."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv6Address

import pytest
from sim.sim_fakes import OCTO, TINY, Bench, make_datagram, on_path

from testbed.forwarding.egress import egress_slots
from testbed.forwarding.paths import paths, self_paths
from testbed.metrics.ports import Tally
from topologies.graph import Graph
from topologies.usid import shift


def passed(bench: Bench) -> Counter[int]:
    """Frames that passed each port."""
    ports = [*bench.sim.network.nic_ports.values(), *bench.sim.network.switch_ports.values()]
    return Counter({port.slot: port.control_frames + port.data_frames for port in ports})


@pytest.mark.parametrize("graph", [TINY, OCTO], ids=["tiny", "octo"])
def test_a_datagram_takes_the_path_of_its_address(graph: Graph) -> None:
    bench = Bench(graph)
    hosts = range(len(graph.hosts))
    every = [path for a in hosts for b in hosts if a != b for path in paths(graph.spec, a, b)]
    every += [path for host in hosts for path in self_paths(graph.spec, host)]
    for path in every:
        before = passed(bench)
        bench.post(path.src, path.plane, on_path(graph, path, size=200))
        bench.finish()
        crossed = dict.fromkeys(egress_slots(graph, path), 1)
        assert passed(bench) - before == crossed
        _, port, _ = bench.fake(path.dst).received.pop()
        assert port == path.plane
    assert bench.sim.conservation().received == len(every)


def test_what_arrives_has_its_address_shifted_and_its_hop_limit_counted_down() -> None:
    path = paths(OCTO.spec, 0, 7)[5]
    sent = on_path(OCTO, path, number=77)
    bench = Bench(OCTO)
    bench.post(0, path.plane, sent)
    bench.finish()
    ((_, _, datagram),) = bench.fake(7).received
    assert datagram[7] == 64 - 3
    assert IPv6Address(datagram[24:40]) == shift(shift(shift(path.address)))
    assert datagram[:7] + datagram[8:24] + datagram[40:] == sent[:7] + sent[8:24] + sent[40:]


@pytest.mark.parametrize(
    ("address", "hop_limit", "switch"),
    [
        ("2001:db8::1", 64, "p0-t0-0"),  # not of the block
        ("fcbb:bbbb:800:17ff::", 64, "p0-t0-0"),  # no such T1
        ("fcbb:bbbb:801:1000::", 64, "p0-t0-0"),  # another switch's
        ("fcbb:bbbb:800:1000:8ff::", 64, "p0-t1-0"),  # no such T0
        ("fcbb:bbbb:800:1000::", 64, "p0-t1-0"),  # the list ends too soon
        ("fcbb:bbbb:800:1000:801:1800::", 3, "p0-t0-1"),  # the hop limit is too low
        ("2001:bbbb:800:1800::", 64, "p0-t0-0"),  # right uSIDs, wrong block
    ],
)
def test_an_address_without_a_rule_is_dropped_and_counted(
    address: str, hop_limit: int, switch: str
) -> None:
    bench = Bench(TINY)
    a, b = TINY.hosts[0].address, TINY.hosts[3].address
    bench.post(0, 0, make_datagram(a, b, IPv6Address(address), hop_limit=hop_limit))
    bench.finish()
    assert bench.sim.network.refused() == {switch: Tally(1, 4238)}
    balance = bench.sim.conservation()
    assert (balance.received, balance.dropped["no_rule"], balance.unexplained) == (0, 1, 0)


def test_a_way_that_is_known_is_not_searched_again() -> None:
    path = paths(TINY.spec, 0, 3)[0]
    bench = Bench(TINY)
    bench.post(0, 0, on_path(TINY, path), on_path(TINY, path))
    bench.finish()
    assert len(bench.sim.nic(0, 0)._routes) == 1
