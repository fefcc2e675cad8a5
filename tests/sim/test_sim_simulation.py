"""The whole: times to the ns, what a congested frame looks like, balance, repetition."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sim.sim_fakes import DATA_BYTES, OCTO, TINY, Bench, fail, on_path

from testbed.faults.actions import fault_id
from testbed.forwarding.egress import egress_slots
from testbed.forwarding.paths import paths
from testbed.metrics.ports import Tally
from testbed.sim.chaos import Chaos
from testbed.sim.network import default_limits
from topologies.graph import Graph
from topologies.numbers import base_rtt_ns, drain_rate_bps, serialisation_ns

DRAIN_BPS = drain_rate_bps(100 * 10**9, 1)


def one_way_ns(size: int, switches: int) -> int:
    nic, switch = serialisation_ns(size, 100 * 10**9), serialisation_ns(size, DRAIN_BPS)
    return nic + switches * switch + (switches + 1) * 1000


@pytest.mark.parametrize(("dst", "switches"), [(7, 3), (1, 1)])
def test_an_unloaded_round_trip(dst: int, switches: int) -> None:
    bench = Bench(OCTO)
    out, back = paths(OCTO.spec, 0, dst)[0], paths(OCTO.spec, dst, 0)[0]
    bench.post(0, 0, on_path(OCTO, out))
    bench.finish()
    assert bench.fake(dst).received[0][0] == one_way_ns(DATA_BYTES, switches)
    bench.post(dst, 0, on_path(OCTO, back, size=150, dscp=46))
    bench.finish()
    rtt_ns = bench.fake(0).received[0][0]
    assert rtt_ns == one_way_ns(DATA_BYTES, switches) + one_way_ns(150, switches)
    # Switches send one percent faster than the NICs by which the base RTT is reckoned.
    base_ns = base_rtt_ns(OCTO.spec, cross_t1=switches == 3)
    faster_ns = switches * (DATA_BYTES + 150) * 0.08 * (1 - 100 / 101)
    assert rtt_ns == pytest.approx(base_ns - faster_ns, abs=4)


def incast(graph: Graph, senders: int, count: int, **options: object) -> Bench:
    """The hosts h0.. send to the last host, all through one T1 of plane 0."""
    bench, target = Bench(graph, **options), len(graph.hosts) - 1
    for host in range(senders):
        path = paths(graph.spec, host, target)[0]
        datagrams = [on_path(graph, path, number=host << 16 | n) for n in range(count)]
        bench.post(host, 0, *datagrams)
    bench.finish()
    return bench


def test_an_uncongested_stream_keeps_every_queue_at_one_frame() -> None:
    bench = incast(OCTO, 1, 500)
    assert {port.data_max_bytes for slot, port in bench.sim.network.read_all().items()
            if slot in bench.sim.network.switch_ports} == {0, DATA_BYTES}
    assert bench.sim.conservation().received == 500


def test_frames_of_an_incast_are_marked_and_trimmed_on_the_wire() -> None:
    bench = incast(OCTO, 4, 100)
    marked, trimmed = [], []
    for _, _, datagram in bench.fake(7).received:
        outer, outer_length = struct.unpack_from("!IH", datagram, 0)
        inner, inner_length = struct.unpack_from("!IH", datagram, 40)
        (udp_length,) = struct.unpack_from("!H", datagram, 84)
        assert inner >> 20 & 3 == 2
        assert outer_length == len(datagram) - 40
        assert inner_length == udp_length == len(datagram) - 80
        if outer >> 20 & 3 == 3:
            marked.append(datagram)
        if len(datagram) == 122 - 14:
            assert outer >> 22 & 63 == inner >> 22 & 63 == 12
            trimmed.append(datagram)
        else:
            assert outer >> 22 & 63 == inner >> 22 & 63 == 4
    uplink = bench.sim.ports(egress_slots(OCTO, paths(OCTO.spec, 0, 7)[0])[1])
    assert uplink.trimmed.frames == len(trimmed) > 50
    # No frame is both: what is trimmed is not marked at the same port.
    assert uplink.marked.frames == len(marked) > 20
    balance = bench.sim.conservation()
    assert (balance.received, balance.unexplained) == (400, 0)


def test_a_mechanism_can_be_off() -> None:
    usual = default_limits(OCTO.spec)
    off = replace(usual, fabric=replace(usual.fabric, ecn_min_bytes=0, ecn_max_bytes=0,
                                        trim_bytes=0))  # fmt: skip
    bench = incast(OCTO, 4, 200, limits=off)
    uplink = bench.sim.ports(egress_slots(OCTO, paths(OCTO.spec, 0, 7)[0])[1])
    assert uplink.marked == uplink.trimmed == Tally()
    assert uplink.dropped_tail.frames == bench.sim.conservation().dropped["dropped_tail"] > 0


def test_thresholds_that_drop_everything_are_refused() -> None:
    usual = default_limits(TINY.spec)
    with pytest.raises(ValueError, match="above 0"):
        Bench(TINY, limits=replace(usual, fabric=replace(usual.fabric, drop_bytes=0)))
    with pytest.raises(ValueError, match="swap them"):
        Bench(TINY, limits=replace(usual, fabric=replace(usual.fabric, ecn_max_bytes=1)))


def test_a_capture_shows_the_frame_as_it_leaves_each_port() -> None:
    path = paths(TINY.spec, 0, 3)[0]
    bench, slots = Bench(TINY), egress_slots(TINY, path)
    captures = [bench.sim.capture(slot) for slot in slots]
    bench.post(0, 0, on_path(TINY, path))
    bench.finish()
    ways = [(item.at_ns, item.datagram[7]) for captured in captures for item in captured]
    assert ways == [(0, 64), (1339, 63), (2675, 62), (4011, 61)]
    assert captures[3][0].datagram == bench.fake(3).received[0][2]


# --- Balance and repetition ------------------------------------------------------------

FAULTS = [fail(*words) for words in (
    ("nic:h0:p0",), ("nic:h3:p1",), ("link:p0-t0-0:p0-t1-0",), ("plane:1",),
    ("switch:p0-t0-1", "crash"), ("switch:p0-t1-1", "blackhole"), ("host:h3", "pause"),
    ("host:h2", "kill"), ("ev:h0:h3:0x0000", "loss", 0.5), ("plane:0", "loss", 0.3),
    ("plane:0", "corrupt", 0.3), ("port:h1:p0-t0-0", "loss", 0.5),
)]  # fmt: skip
STORMS = st.lists(
    st.tuples(st.integers(0, 60_000), st.sampled_from(FAULTS), st.integers(1, 30_000)),
    max_size=6, unique_by=lambda item: fault_id(item[1]),
)  # fmt: skip
WILD = Chaos(seed=3, duplicate_ratio=0.1, delay_ratio=0.2, max_delay_ns=5000)


def storm(faults: list[tuple[int, object, int]], seed: int, chaos: Chaos | None) -> Bench:
    """Everybody sends to h3 and h2 for a while, and things break and heal."""
    bench = Bench(TINY, seed, chaos=chaos, is_traced=True, receive_buffer_bytes=100_000)
    for src in range(4):
        for dst in {2, 3} - {src}:
            for path in paths(TINY.spec, src, dst):
                bench.post(src, path.plane, *[
                    on_path(TINY, path, number=n, dscp=(4, 0, 46)[n % 3],
                            size=150 if n % 3 == 2 else DATA_BYTES)
                    for n in range(40)
                ])  # fmt: skip
    for at_ns, action, for_ns in faults:
        bench.sim.at(at_ns, lambda action=action: bench.sim.inject(action))
        bench.sim.at(at_ns + for_ns, lambda action=action: bench.sim.heal(action.target))
    return bench


@settings(max_examples=25)
@given(STORMS, st.sampled_from([None, WILD]))
def test_every_frame_is_accounted_for_at_any_time(
    faults: list[tuple[int, object, int]], chaos: Chaos | None
) -> None:
    # Two faults of one target heal together, so each target breaks once.
    unique = list({str(item[1].target): item for item in faults}.values())
    bench = storm(unique, 1, chaos)
    seen: list[int] = []
    for at_ns in range(500, 100_000, 7001):
        bench.sim.at(at_ns, lambda: seen.append(bench.sim.conservation().unexplained))
        bench.sim.run_until(at_ns)
        assert bench.sim.conservation().unexplained == 0
    bench.finish()
    balance = bench.sim.conservation()
    assert set(seen) == {0}
    assert balance.unexplained == balance.in_flight == balance.held == 0
    for counters in bench.sim.network.read_all().values():
        assert counters.unexplained == Tally()


def test_same_seed_same_trace_other_seed_other_trace() -> None:
    faults = [(0, fail("plane:0", "loss", 0.3), 90_000), (5000, fail("nic:h3:p1"), 9000)]
    digests = []
    for seed in (1, 1, 2):
        bench = storm(faults, seed, WILD)
        bench.finish()
        digests.append(bench.sim.trace.digest)
    assert digests[0] == digests[1] != digests[2]


def test_watching_changes_nothing() -> None:
    results = []
    for is_traced in (True, False):
        bench = incast(OCTO, 4, 60, is_traced=is_traced)
        results.append((bench.sim.network.read_all(), bench.fake(7).received))
    assert results[0] == results[1]


def test_run_while_ends_with_the_predicate() -> None:
    bench = Bench(TINY)
    bench.post(0, 0, *[on_path(TINY, paths(TINY.spec, 0, 3)[0], number=n) for n in range(9)])
    assert bench.sim.run_while(lambda: len(bench.fake(3).received) < 4, 10**6)
    assert bench.sim.now == bench.fake(3).received[-1][0]
    assert not bench.sim.run_while(lambda: True, 10**6)
    assert bench.sim.now == 10**6
