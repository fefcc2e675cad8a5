"""testbed/agent/driver.py: a driver whose clock is advanced by hand."""

from __future__ import annotations

import random
from collections import deque
from functools import partial

import pytest

from testbed.agent.clock import EmulatedClock
from testbed.agent.driver import CATCH_UP_FRAMES, Driver, Timing
from testbed.errors import TestbedError
from topologies.numbers import ETHERNET_BYTES, HOP_LIMIT

TDF = 1000
ZERO_NS = 7_000_000
RATE_BPS = 100_000_000_000
FRAME_BYTES = 4238
FRAME_NS = 339.04
CATCH_UP_NS = 2712
TRANSIT_NS = {2: 50_000, 4: 150_000}


class Endpoint:
    """Sends what it is given to send, on the port it is given for it, and notes everything."""

    def __init__(self) -> None:
        self.waiting: deque[tuple[int | None, bytes]] = deque()
        self.deadline_ns: int | None = None
        self.chosen: list[tuple[int, int]] = []
        self.received: list[tuple[int, int, bytes]] = []
        self.deadlines: list[int] = []
        self.carrier: list[tuple[int, int]] = []
        self.is_stuck = False

    def receive(self, port: int, datagram: bytes, now: int) -> None:
        self.received.append((now, port, datagram))

    def transmit(self, now: int, free_ports: int) -> tuple[int, bytes] | None:
        if not self.waiting:
            return None
        wanted, datagram = self.waiting[0]
        port = (free_ports & -free_ports).bit_length() - 1 if wanted is None else wanted
        if not free_ports >> port & 1:
            return None
        self.waiting.popleft()
        self.chosen.append((now, port))
        return port, datagram

    def next_deadline(self) -> int | None:
        return self.deadline_ns

    def on_deadline(self, now: int) -> None:
        self.deadlines.append(now)
        if not self.is_stuck:
            self.deadline_ns = None

    def on_ports_changed(self, up_ports: int, now: int) -> None:
        self.carrier.append((up_ports, now))


class Bench:
    """A driver of two ports, what it put on the wire, and the wall clock."""

    def __init__(self, link_delay_ns: int = 1000) -> None:
        self.wall_ns = ZERO_NS
        self.endpoint = Endpoint()
        self.wire: list[tuple[int, int, bytes]] = []
        self.seen: list[tuple[int, int, bool]] = []
        self.started: list[int] = []
        timing = Timing(EmulatedClock(ZERO_NS, TDF), link_delay_ns, RATE_BPS, 4096, TRANSIT_NS)
        self.driver = Driver(
            self.endpoint, [partial(self.send, 0), partial(self.send, 1)], timing,
            lambda: self.wall_ns,
            lambda now, plane, _data, is_in: self.seen.append((now, plane, is_in)),
            self.started.append,
        )  # fmt: skip

    def send(self, plane: int, datagram: bytes) -> None:
        self.wire.append((self.wall_ns, plane, datagram))

    def give(self, frames: int, port: int | None = None) -> None:
        datagram = bytes(FRAME_BYTES - ETHERNET_BYTES)
        self.endpoint.waiting.extend([(port, datagram)] * frames)

    def look(self, emulated_ns: float) -> None:
        """Look at this time, having read the sockets then."""
        self.wall_ns = ZERO_NS + int(emulated_ns * TDF)
        self.driver.advance(self.wall_ns)


def frame(links: int, text: bytes = b"x") -> memoryview:
    header = bytearray(ETHERNET_BYTES + 40)
    header[ETHERNET_BYTES + 7] = HOP_LIMIT - (links - 1)
    return memoryview(bytes(header) + text)


def test_frames_are_chosen_when_a_port_is_free_and_leave_a_frame_time_later() -> None:
    bench = Bench()
    bench.give(3, port=0)
    bench.look(0)
    assert bench.started == [0]
    assert bench.endpoint.chosen == [(0, 0)]
    assert bench.wire == []
    bench.look(339)
    assert [plane for _, plane, _ in bench.wire] == [0]
    assert bench.endpoint.chosen == [(0, 0), (339, 0)]
    bench.look(678)
    bench.look(1018)
    assert [now for now, _ in bench.endpoint.chosen] == [0, 339, 678]
    assert len(bench.wire) == 3


def test_the_rate_is_exact_however_late_the_looks_are() -> None:
    """Over 100 us, looks up to 8 frames late: as many frames as the rate allows, no fewer."""
    bench, generator = Bench(), random.Random(1)
    bench.give(10_000)
    now_ns = 0.0
    while now_ns < 100_000:
        bench.look(now_ns)
        now_ns += generator.uniform(0, CATCH_UP_NS - FRAME_NS)
    bench.look(100_000)
    assert len(bench.wire) == 2 * int(100_000 / FRAME_NS)
    assert all(port.lost_ns == 0 for port in bench.driver.ports)
    last_ns, _ = bench.endpoint.chosen[-1]
    assert 100_000 - FRAME_NS < last_ns <= 100_000


def test_what_is_later_than_the_catch_up_is_lost_and_counted() -> None:
    bench = Bench()
    bench.give(100, port=1)
    bench.look(0)
    bench.look(50_000)
    assert len(bench.wire) == 1 + CATCH_UP_FRAMES
    assert bench.driver.ports[1].lost_ns == 50_000 - CATCH_UP_NS - 339
    assert bench.driver.ports[0].lost_ns == 0
    assert bench.driver.lateness.max_ns == 50_000 - 339


def test_a_port_that_was_idle_has_lost_nothing() -> None:
    bench = Bench()
    bench.look(0)
    bench.give(1)
    bench.driver.kick()
    bench.look(60_000)
    assert [port.lost_ns for port in bench.driver.ports] == [0, 0]


def test_a_frame_arrives_when_its_propagation_is_over_less_the_real_transit() -> None:
    bench = Bench()
    bench.look(10_000)
    received_at_ns = bench.wall_ns
    bench.driver.arrive(1, frame(4, b"far"), received_at_ns)
    bench.driver.arrive(0, frame(2, b"near"), received_at_ns)
    bench.look(11_949)
    assert bench.endpoint.received == []
    bench.look(20_000)
    near, far = bench.endpoint.received
    assert (near[0], near[1], near[2][-4:]) == (20_000 - CATCH_UP_NS, 0, b"near")
    assert (far[0], far[1], far[2][-3:]) == (20_000 - CATCH_UP_NS, 1, b"far")


@pytest.mark.parametrize(
    ("links", "payload_bytes", "due_ns"),
    # A full frame takes 335.7 ns at every switch on the way (1.01 x 100 Gb/s), one of 54
    # bytes 4.3 ns.
    [(2, 0, 11_954), (4, 0, 13_862), (2, 4184, 12_285), (4, 4184, 14_857)],
)
def test_the_endpoint_is_told_when_a_frame_was_due_not_when_python_looked(
    links: int, payload_bytes: int, due_ns: int
) -> None:
    bench = Bench()
    bench.look(0)
    bench.look(10_000)
    bench.driver.arrive(0, frame(links, bytes(payload_bytes)), bench.wall_ns)
    bench.look(due_ns - 1)
    assert bench.endpoint.received == []
    bench.look(due_ns + 700)
    assert [now for now, _, _ in bench.endpoint.received] == [due_ns]
    assert bench.driver.lateness.max_ns == 700


def test_a_transit_longer_than_the_delay_holds_nothing_back() -> None:
    bench = Bench(link_delay_ns=10)
    bench.look(10_000)
    assert bench.driver.lookahead_ns == 0
    bench.driver.arrive(0, frame(2), bench.wall_ns)
    bench.look(10_010)
    assert [now for now, _, _ in bench.endpoint.received] == [10_004]


def test_nothing_is_done_beyond_what_unread_frames_could_precede() -> None:
    """The sockets were read at 0: a frame received just after is due 1.95 us later."""
    bench = Bench()
    bench.endpoint.deadline_ns = 5_000
    bench.wall_ns = ZERO_NS + 6_000 * TDF
    bench.driver.advance(ZERO_NS)
    assert bench.endpoint.deadlines == []
    bench.driver.advance(bench.wall_ns)
    assert bench.endpoint.deadlines == [5_000]


def test_frames_of_an_unknown_hop_limit_are_handed_on_at_once() -> None:
    bench = Bench()
    bench.look(1_000)
    strange = bytearray(frame(2))
    strange[ETHERNET_BYTES + 7] = 255
    bench.driver.arrive(0, memoryview(bytes(strange)), bench.wall_ns)
    bench.look(1_000)
    assert len(bench.endpoint.received) == 1


def test_time_never_goes_back() -> None:
    bench = Bench()
    bench.look(0)
    bench.wall_ns = ZERO_NS + 10_000 * TDF
    bench.driver.kick()
    bench.endpoint.deadline_ns = 3
    bench.look(10_000)
    assert bench.endpoint.deadlines == [10_000]
    assert bench.driver.lateness.max_ns == 0  # asked for in the past, it was due at once


def test_a_deadline_that_does_not_move_is_an_error() -> None:
    bench = Bench()
    bench.endpoint.is_stuck, bench.endpoint.deadline_ns = True, 10
    with pytest.raises(TestbedError, match="keeps a deadline"):
        bench.look(10)


def test_a_port_without_carrier_is_not_offered() -> None:
    bench = Bench()
    bench.look(0)
    bench.driver.set_carrier(0b10)
    assert bench.endpoint.carrier == [(0b10, 0)]
    bench.give(2)
    bench.driver.kick()
    assert bench.endpoint.chosen == [(0, 1)]
    bench.driver.set_carrier(0b11)
    assert bench.endpoint.chosen == [(0, 1), (0, 0)]


def test_when_to_look_again() -> None:
    bench = Bench()
    bench.look(0)
    assert bench.driver.next_due_wall_ns() is None
    assert bench.driver.is_quiet
    bench.endpoint.deadline_ns = 900
    assert bench.driver.next_due_wall_ns() == ZERO_NS + 900 * TDF
    bench.give(1)
    bench.driver.kick()
    assert bench.driver.next_due_wall_ns() == ZERO_NS + 339 * TDF
    assert not bench.driver.is_quiet


def test_a_crowd_is_more_than_one_short_message_has_under_way() -> None:
    bench = Bench()
    bench.look(0)
    crowded = []
    for number in range(20):
        bench.driver.arrive(0, frame(2, bytes([number])), bench.wall_ns)
        crowded.append(bench.driver.is_crowded)
    assert crowded == [False] * 16 + [True] * 4


def test_a_capture_sees_what_leaves_and_what_arrives_at_its_time() -> None:
    bench = Bench()
    bench.give(1, port=1)
    bench.look(0)
    bench.driver.arrive(0, frame(2), ZERO_NS)
    bench.look(400)
    bench.look(1_954)
    assert bench.seen == [(339, 1, False), (1_954, 0, True)]
