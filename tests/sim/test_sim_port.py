"""One egress port against two little models: the port program's judge, and a server."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from port_rig import port_random
from sim.sim_fakes import DATA_BYTES, OCTO, make_datagram

from testbed.metrics.ports import Tally
from testbed.sim.counters import SimPortCounters
from testbed.sim.engine import Engine
from testbed.sim.frame import IS_CONTROL, Frame, Route
from testbed.sim.port import EgressPort
from topologies.numbers import (
    PortThresholds,
    fabric_thresholds,
    last_hop_thresholds,
    serialisation_ns,
)

SLOT = 1000
RATE_BPS = 101 * 10**9
DELAY_NS = 1000
FABRIC, LAST_HOP = fabric_thresholds(OCTO.spec), last_hop_thresholds(OCTO.spec)
WAY = bytes(33)
WIDE = PortThresholds(0, 0, 0, 1 << 30, 1 << 30)  # never acts
A, B = (host.address for host in OCTO.hosts[:2])


class PortBench:
    """A port, what is offered to it, and what comes out."""

    def __init__(
        self, thresholds: PortThresholds = FABRIC, faces_host: bool = False, seed: int = 0
    ) -> None:
        self.engine = Engine()
        self.port = EgressPort(
            SLOT, seed, self.engine.schedule, RATE_BPS, DELAY_NS, thresholds, faces_host
        )
        self.route = Route((self.port.offer_callback, self._arrive), (WAY, WAY), "")
        self.arrived: list[tuple[int, int]] = []
        self.frames: list[Frame] = []

    def _arrive(self, now: int, frame: Frame) -> None:
        self.arrived.append((now, self.frames.index(frame)))

    def offer_at(
        self, at_ns: int, size: int = DATA_BYTES, dscp: int = 4, ecn: int = 2
    ) -> Frame:
        traffic_class = dscp << 2 | ecn
        datagram = make_datagram(A, B, A, size=size, dscp=dscp, ecn=ecn)
        frame = Frame(datagram, size, IS_CONTROL[traffic_class], traffic_class, self.route)
        self.frames.append(frame)
        self.engine.schedule(at_ns, self.port.offer_callback, frame)
        return frame

    def finish(self) -> SimPortCounters:
        while (at_ns := self.engine.next_event_ns()) is not None:
            self.engine.run_until(at_ns)
        counters = self.port.read()
        assert counters.unexplained == Tally()
        return counters


def hold_ns(size: int) -> int:
    return serialisation_ns(size, RATE_BPS)


# --- The models ------------------------------------------------------------------------


@dataclass
class JudgeModel:
    """judge() of port.bpf.c for a healthy port, in fractions of a byte."""

    limits: PortThresholds
    seed: int
    now_ns: int = 0
    control: Fraction = Fraction(0)
    data: Fraction = Fraction(0)
    draws: int = 0

    def judge(self, at_ns: int, size: int, dscp: int, ecn: int) -> str:
        budget = Fraction(RATE_BPS, 8 * 10**9) * (at_ns - self.now_ns)
        self.now_ns = at_ns
        sent = min(budget, self.control)
        self.control -= sent
        self.data -= min(budget - sent, self.data)
        ramp = port_random(self.seed, SLOT, self.draws)[1]
        self.draws += 1
        if dscp in (46, 12, 16):
            return self._control(size, "control")
        if dscp in (4, 8) and size > 122 and 0 < self.limits.trim_bytes <= self.data:
            return self._control(122, "trimmed")
        return self._data(size, ecn, ramp)

    def _control(self, size: int, name: str) -> str:
        if self.control >= self.limits.control_bytes:
            return "dropped control"
        self.control += size
        return name

    def _data(self, size: int, ecn: int, ramp: int) -> str:
        low, high = self.limits.ecn_min_bytes, self.limits.ecn_max_bytes
        depth = int(self.data)
        if self.data >= self.limits.drop_bytes:
            return "dropped tail"
        self.data += size
        is_marked = ecn and high and depth > low and ramp * (high - low) >> 32 < depth - low
        return "marked" if is_marked else "data"


def served(accepted: list[tuple[int, int, bool]]) -> dict[int, Fraction]:
    """When each (at ns, size, is control) has left a strict priority server, by index."""
    left: dict[int, Fraction] = {}
    wire, waiting = Fraction(-1), list(enumerate(accepted))
    while waiting:
        index, (at_ns, size, _) = waiting[0]
        if wire < at_ns:  # idle: whoever comes first is served at once
            wire = Fraction(at_ns)
        else:
            here = [item for item in waiting if item[1][0] <= wire]
            index, (at_ns, size, _) = min(here, key=lambda item: (not item[1][2], item[0]))
        waiting = [item for item in waiting if item[0] != index]
        wire += Fraction(size * 8 * 10**9, RATE_BPS)
        left[index] = wire
    return left


def outcome(frame: Frame, is_arrived: bool) -> str:
    if not is_arrived:
        return "dropped"
    changes = frame.changes
    if changes is not None and changes.trimmed_dscp:
        return "trimmed"
    if changes is not None and changes.is_marked:
        return "marked"
    return "control" if frame.is_control else "data"


KINDS = ((DATA_BYTES, 4, 2), (DATA_BYTES, 8, 1), (DATA_BYTES, 0, 0), (150, 46, 0),
         (120, 4, 2), (122, 12, 2), (1000, 4, 2), (5000, 46, 0))  # fmt: skip
SMALL = PortThresholds(10_000, 30_000, 40_000, 60_000, 12_000)
ARRIVALS = st.lists(
    st.tuples(st.sampled_from((0, 0, 1, 50, 335, 336, 2000)), st.sampled_from(KINDS)),
    max_size=60,
)


@settings(max_examples=150)
@given(ARRIVALS, st.integers(0, 3))
def test_every_verdict_is_that_of_the_port_program(
    arrivals: list[tuple[int, tuple[int, int, int]]], seed: int
) -> None:
    bench = PortBench(SMALL, seed=seed)
    model, expected, now = JudgeModel(SMALL, (seed << 32) + SLOT), [], 0
    for gap_ns, (size, dscp, ecn) in arrivals:
        now += gap_ns
        expected.append(model.judge(now, size, dscp, ecn))
        bench.offer_at(now, size, dscp, ecn)
    bench.finish()
    arrived = {index for _, index in bench.arrived}
    found = [outcome(frame, i in arrived) for i, frame in enumerate(bench.frames)]
    assert found == [word.split()[0] for word in expected]


@settings(max_examples=150, suppress_health_check=[HealthCheck.filter_too_much])
@given(ARRIVALS)
def test_frames_leave_as_from_a_server_that_prefers_control(
    arrivals: list[tuple[int, tuple[int, int, int]]],
) -> None:
    bench, accepted, now = PortBench(WIDE), [], 0
    for gap_ns, (size, dscp, ecn) in arrivals:
        now += gap_ns
        bench.offer_at(now, size, dscp, ecn)
        accepted.append((now, size, dscp in (12, 46)))
    expected = served(accepted)
    # Whether a frame that comes within a ns of a departure is in time, rounding decides.
    assume(all(abs(at - end) > 1 for at, *_ in accepted for end in expected.values()))
    bench.finish()
    found = {index: at_ns - DELAY_NS for at_ns, index in bench.arrived}
    assert found == {index: int(end + Fraction(1, 2)) for index, end in expected.items()}


# --- By hand ---------------------------------------------------------------------------


def test_one_frame_takes_serialisation_and_flight() -> None:
    bench = PortBench()
    bench.offer_at(5)
    counters = bench.finish()
    assert bench.arrived == [(5 + 336 + 1000, 0)]
    assert hold_ns(DATA_BYTES) == 336
    assert counters.offered == counters.passed_data == Tally(1, DATA_BYTES)


def test_the_rate_is_exact_over_a_long_burst() -> None:
    bench = PortBench(WIDE)
    for _ in range(1000):
        bench.offer_at(0)
    bench.finish()
    assert bench.arrived[-1][0] == hold_ns(1000 * DATA_BYTES) + DELAY_NS


def test_a_burst_is_marked_then_trimmed_from_the_thresholds_on() -> None:
    bench = PortBench()
    frames = [bench.offer_at(0) for _ in range(60)]
    counters = bench.finish()
    first_trimmed = -(-FABRIC.trim_bytes // DATA_BYTES)
    found = [outcome(frame, True) for frame in frames]
    assert found.index("trimmed") == first_trimmed == 28
    assert set(found[first_trimmed:]) == {"trimmed"}
    depths = [index * DATA_BYTES for index in range(first_trimmed)]
    sure = [word for word, d in zip(found, depths, strict=False) if d >= FABRIC.ecn_max_bytes]
    never = [word for word, d in zip(found, depths, strict=False) if d <= FABRIC.ecn_min_bytes]
    assert set(sure) == {"marked"}
    assert set(never) == {"data"}
    assert counters.trimmed == Tally(32, 32 * (DATA_BYTES - 122))
    assert counters.data_max_bytes == first_trimmed * DATA_BYTES


def test_a_last_hop_never_marks_and_trims_later() -> None:
    bench = PortBench(LAST_HOP, faces_host=True)
    frames = [bench.offer_at(0) for _ in range(60)]
    counters = bench.finish()
    found = [outcome(frame, True) for frame in frames]
    assert "marked" not in found
    assert found.index("trimmed") == -(-LAST_HOP.trim_bytes // DATA_BYTES) == 42
    assert frames[-1].changes is not None
    assert frames[-1].changes.trimmed_dscp == 16
    assert counters.marked == Tally()


def test_untrimmable_data_is_dropped_at_four_bdp() -> None:
    bench = PortBench()
    for _ in range(130):
        bench.offer_at(0, dscp=0)
    counters = bench.finish()
    passed = -(-FABRIC.drop_bytes // DATA_BYTES)
    assert counters.passed_data.frames == passed == 111
    assert counters.dropped_tail == Tally(130 - passed, (130 - passed) * DATA_BYTES)


def test_control_has_a_cap_of_its_own() -> None:
    bench = PortBench()
    for _ in range(600):
        bench.offer_at(0, 150, dscp=46)
    passed = -(-FABRIC.control_bytes // 150)
    assert bench.finish().dropped_control == Tally(600 - passed, (600 - passed) * 150)


def test_control_overtakes_what_waits_but_not_what_is_being_sent() -> None:
    bench = PortBench()
    bench.offer_at(0)
    bench.offer_at(0)
    bench.offer_at(100, 150, dscp=46)
    bench.finish()
    assert [index for _, index in bench.arrived] == [0, 2, 1]
    assert bench.arrived[1][0] == hold_ns(DATA_BYTES + 150) + DELAY_NS


def test_control_that_waits_is_not_part_of_the_data_depth() -> None:
    bench = PortBench()
    for _ in range(10):
        bench.offer_at(0)
        bench.offer_at(0, 150, dscp=46)
    bench.engine.run_until(0)
    assert bench.port.depths_bytes(0) == (1500, 10 * DATA_BYTES)
    # Nothing of the data is sent, by the virtual queue, until the control is: 119 ns.
    assert bench.port.depths_bytes(100) == (237, 10 * DATA_BYTES)
    assert bench.port.depths_bytes(200) == (0, 10 * DATA_BYTES + 1500 - 2525)


def test_a_flush_takes_the_queue_and_leaves_what_is_being_sent() -> None:
    bench = PortBench()
    for _ in range(5):
        bench.offer_at(0)
    bench.engine.run_until(100)
    assert bench.port.waiting_frames() == 4
    assert bench.port.flush() == Tally(4, 4 * DATA_BYTES)
    assert bench.port.depths_bytes(100)[1] < DATA_BYTES
    bench.offer_at(200)
    counters = bench.finish()
    assert [index for _, index in bench.arrived] == [0, 5]
    assert bench.arrived[1][0] == hold_ns(2 * DATA_BYTES) + DELAY_NS
    assert counters.flushed == Tally(4, 4 * DATA_BYTES)
