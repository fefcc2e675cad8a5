"""NIC ports and the loop that drives an endpoint."""

from __future__ import annotations

import pytest
from sim.sim_fakes import DATA_BYTES, TINY, Bench, Fake, fail, make_datagram, on_path

from testbed.errors import TestbedError
from testbed.faults.targets import parse_target
from testbed.forwarding.paths import paths
from testbed.sim.simulation import Simulation
from topologies.graph import Host
from topologies.numbers import serialisation_ns

RATE_BPS = TINY.spec.port_rate_bps
PATHS = paths(TINY.spec, 0, 3)
LOCAL = paths(TINY.spec, 0, 1)


def frames(count: int, plane: int = 0, **fields: int) -> list[bytes]:
    path = next(path for path in PATHS if path.plane == plane)
    return [on_path(TINY, path, number=number, **fields) for number in range(count)]


def test_a_port_sends_back_to_back_at_the_nominal_rate() -> None:
    bench = Bench(TINY)
    nic = TINY.hosts[0].nic_ports[0]
    captured = bench.sim.capture(nic.slot)
    bench.post(0, 0, *frames(1000))
    bench.finish()
    times = [item.at_ns for item in captured]
    assert times == [serialisation_ns(n * DATA_BYTES, RATE_BPS) for n in range(1000)]


def test_ports_that_fall_free_together_are_offered_together() -> None:
    bench = Bench(TINY)
    bench.post_at(10, 0, 0, *frames(3))
    bench.post_at(10, 0, 1, *frames(3, plane=1))
    bench.finish()
    free = [(now, mask) for now, mask in bench.fake(0).asked if now >= 10]
    assert free[:3] == [(10, 0b11), (10, 0b10), (10, 0b10)]
    assert (349, 0b11) in free
    assert free[-1] == (10 + 3 * 339, 0b11)


def test_an_idle_endpoint_is_asked_no_more() -> None:
    bench = Bench(TINY)
    bench.finish()
    assert bench.fake(0).asked == [(0, 0b11)]
    assert bench.sim.engine.events_run == 0


def test_deadlines_move_either_way() -> None:
    bench = Bench(TINY)
    fake = bench.fake(0)
    fake.deadlines = [1000]
    bench.sim.kick(0)
    bench.sim.at(100, lambda: (fake.deadlines.append(400), bench.sim.kick(0)))
    bench.sim.at(200, lambda: (fake.deadlines.clear(), fake.deadlines.append(1500)))
    bench.sim.run_until(3000)
    assert fake.fired == [1500]
    # Woken at 400 in vain; the deadline of 1000, long replaced, wakes nobody.
    assert sorted({now for now, _ in fake.asked}) == [0, 100, 400, 1500]


def test_a_deadline_in_the_past_comes_now() -> None:
    bench = Bench(TINY)
    bench.sim.run_until(50)
    bench.fake(0).deadlines = [3, 70]
    bench.sim.kick(0)
    bench.sim.run_until(100)
    assert bench.fake(0).fired == [50, 70]


def test_a_deadline_that_never_moves_is_an_error() -> None:
    bench = Bench(TINY)
    fake = bench.fake(0)
    fake.on_deadline = lambda now: None  # type: ignore[method-assign]
    fake.deadlines = [5]
    bench.sim.kick(0)
    with pytest.raises(TestbedError, match="keeps a deadline"):
        bench.sim.run_until(5)


def test_a_busy_port_is_an_error() -> None:
    class Stubborn(Fake):
        def transmit(self, now: int, free_ports: int) -> tuple[int, bytes] | None:
            return (0, frames(1)[0]) if self.host.index == 0 else None

    with pytest.raises(TestbedError, match="port 0, which is not free"):
        Simulation(TINY, endpoint_factory=Stubborn)


def test_a_datagram_beyond_the_mtu_is_an_error() -> None:
    bench = Bench(TINY)
    with pytest.raises(TestbedError, match="its MTU is 9000"):
        bench.post(0, 0, frames(1, size=9015)[0])


@pytest.mark.parametrize("datagram", [b"", b"\x60" + bytes(39), bytes(200)])
def test_what_is_no_srv6_is_noise(datagram: bytes) -> None:
    bench = Bench(TINY)
    bench.post(0, 0, datagram)
    bench.finish()
    counters = bench.sim.ports(TINY.hosts[0].nic_ports[0].slot)
    assert (counters.noise.frames, counters.offered.frames) == (1, 0)
    assert bench.sim.conservation().unexplained == 0


def test_a_paused_host_gets_its_frames_when_it_continues() -> None:
    bench = Bench(TINY)
    bench.sim.inject(fail("host:h3", "pause"))
    bench.fake(3).deadlines = [2000]
    bench.post(0, 0, *frames(5))
    bench.finish()
    assert bench.fake(3).received == []
    assert bench.sim.conservation().held == 5
    bench.sim.run_until(50_000)
    bench.sim.heal(parse_target("host:h3"))
    assert bench.fake(3).numbers == [0, 1, 2, 3, 4]
    assert {now for now, *_ in bench.fake(3).received} == {50_000}
    bench.finish()
    assert bench.fake(3).fired == [50_000]


def test_a_paused_host_sends_nothing_more() -> None:
    bench = Bench(TINY)
    bench.post(0, 0, *frames(10))
    bench.sim.run_until(1000)  # the third frame is on its way
    bench.sim.inject(fail("host:h0", "pause"))
    bench.finish()
    assert bench.fake(3).numbers == [0, 1, 2]
    bench.sim.heal()
    bench.finish()
    assert bench.fake(3).numbers == list(range(10))


def test_the_receive_buffer_of_a_paused_host_is_bounded() -> None:
    bench = Bench(TINY, receive_buffer_bytes=2 * (DATA_BYTES - 14))
    bench.sim.inject(fail("host:h3", "pause"))
    bench.post(0, 0, *frames(5))
    bench.finish()
    balance = bench.sim.conservation()
    assert (balance.held, balance.overflowed, balance.unexplained) == (2, 3, 0)
    bench.sim.heal()
    assert bench.fake(3).numbers == [0, 1]


def test_a_killed_host_is_gone_and_a_new_one_comes() -> None:
    bench = Bench(TINY)
    bench.sim.inject(fail("host:h3", "pause"))
    bench.post(0, 0, *frames(2))
    bench.finish()
    bench.sim.inject(fail("host:h3", "kill"))
    bench.post(0, 0, *frames(3))
    bench.finish()
    balance = bench.sim.conservation()
    assert (balance.held, balance.unreceived, balance.unexplained) == (0, 5, 0)
    bench.sim.run_until(60_000)
    bench.sim.heal()
    assert [fake.born_ns for fake in bench.all_made[3]] == [0, 60_000]
    bench.post(0, 0, *frames(1))
    bench.finish()
    assert bench.fake(3).numbers == [0]
    assert bench.all_made[3][0].received == []


def test_a_new_endpoint_hears_of_ports_without_carrier() -> None:
    bench = Bench(TINY)
    bench.sim.inject(fail("host:h3", "kill"))
    bench.sim.inject(fail("nic:h3:p1"))
    bench.sim.run_until(10)
    bench.sim.heal(parse_target("host:h3"))
    assert bench.fake(3).ports_seen == [(10, 0b01)]


def test_a_frame_of_a_t0_group_crosses_one_switch() -> None:
    bench = Bench(TINY)
    datagram = on_path(TINY, LOCAL[0])
    assert datagram == make_datagram(
        TINY.hosts[0].address, TINY.hosts[1].address, LOCAL[0].address, LOCAL[0].ev
    )
    bench.post(0, 0, datagram)
    bench.finish()
    assert [now for now, *_ in bench.fake(1).received] == [339 + 1000 + 336 + 1000]


def test_hosts_are_those_of_the_graph() -> None:
    seen: list[Host] = []

    def make(host: Host, now: int) -> Fake:
        seen.append(host)
        return Fake(host, now)

    Simulation(TINY, endpoint_factory=make)
    assert tuple(seen) == TINY.hosts
