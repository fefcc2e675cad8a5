"""testbed/agent/dataports.py: who wakes the agent and when; socket pairs stand in for ports."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from unit.agent.host_fakes import FakeCarrier, FakePort
from unit.agent.run_rig import Clock, config_of

from testbed.agent import clock as agent_clock
from testbed.agent import dataports
from testbed.agent.dataports import DataPorts
from testbed.agent.driver import Driver
from testbed.agent.inbox import FRAMES
from testbed.agent.loop import Loop
from testbed.agent.port import Port
from testbed.errors import MachineError

LOOKAHEAD_NS = 2_000_000
PAUSE_NS = 1_000 * 1_000 // 10  # a tenth of a link of 1 us at a dilation of 1000


class Bench:
    """Two ports, what they and their carrier told, and a driver that is due when told."""

    def __init__(self) -> None:
        self.ports = [FakePort(port) for port in config_of(0).ports]
        self.frames: list[tuple[int, bytes, int]] = []
        self.carrier_told: list[tuple[int, bool]] = []
        self.on_frame: Callable[[int], None] = lambda plane: None
        self.loop = Loop()
        self.data = DataPorts(
            cast("dict[int, Port]", dict(enumerate(self.ports))), self._on_frame,
            lambda port, has_it: self.carrier_told.append((port.config.plane, has_it)))
        self.carrier = FakeCarrier.made[-1]

    def _on_frame(self, port: Port, frame: memoryview, at_ns: int) -> None:
        self.frames.append((port.config.plane, bytes(frame), at_ns))
        self.on_frame(port.config.plane)

    def pace(self, due_at_ns: int | None, lookahead_ns: int = LOOKAHEAD_NS,
             tdf: int = 1_000, is_crowded: bool = False) -> int | None:
        timing = SimpleNamespace(link_delay_ns=1_000, clock=SimpleNamespace(tdf=tdf))
        driver: Any = SimpleNamespace(
            next_due_wall_ns=lambda: due_at_ns, lookahead_ns=lookahead_ns, timing=timing,
            is_crowded=is_crowded)
        return self.data.pace(cast(Driver, driver))

    def is_woken(self, within_ms: int) -> bool:
        """A frame that has arrived ends the wait, which is over after so long otherwise."""
        began_ns = time.monotonic_ns()
        until_ns = began_ns + within_ms * 1_000_000
        self.loop.wait(until_ns)
        return time.monotonic_ns() < until_ns


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(dataports, "time", clock)
    monkeypatch.setattr(agent_clock, "time", clock)
    monkeypatch.setattr(dataports, "CarrierWatch", FakeCarrier)
    return clock


@pytest.fixture
def bench(clock: Clock) -> Iterator[Bench]:
    bench = Bench()
    bench.data.open(bench.loop)
    yield bench
    bench.data.close()
    bench.loop.close()


def test_frames_of_all_ports_are_handed_over_on_the_monotonic_clock(
    bench: Bench, clock: Clock
) -> None:
    bench.ports[1].give(b"late", clock.time_ns() - 300)
    bench.ports[0].give(b"one", clock.time_ns() - 500)
    bench.ports[0].give(b"two", clock.time_ns() - 400)
    bench.data.read()
    now_ns = clock.monotonic_ns()
    assert sorted(bench.frames) == [
        (0, b"one", now_ns - 500), (0, b"two", now_ns - 400), (1, b"late", now_ns - 300)]
    bench.data.read()
    assert len(bench.frames) == 3


def test_all_that_was_received_by_the_time_it_tells_is_handed_over(
    bench: Bench, clock: Clock
) -> None:
    began_ns = clock.now_ns
    bench.on_frame = lambda plane: bench.ports[1 - plane].give(b"next", clock.time_ns())
    for _ in range(2 * FRAMES):
        bench.ports[0].give(b"waits", clock.time_ns())
    assert bench.data.read() == began_ns
    assert [frame for _, frame, _ in bench.frames].count(b"waits") == 2 * FRAMES


def test_ports_that_are_fed_for_ever_end_it_and_the_rest_comes_with_the_next_call(
    bench: Bench, clock: Clock
) -> None:
    bench.on_frame = lambda plane: bench.ports[plane].give(b"next", clock.time_ns())
    for _ in range(FRAMES):
        bench.ports[0].give(b"first", clock.time_ns())
    bench.data.read()
    count = len(bench.frames)
    assert FRAMES < count < 100 * FRAMES
    bench.data.read()
    assert len(bench.frames) == 2 * count


def test_a_frame_wakes_an_agent_that_has_nothing_under_way(bench: Bench, clock: Clock) -> None:
    bench.ports[0].give(b"x", clock.time_ns())
    assert bench.is_woken(within_ms=2_000)
    assert bench.pace(None) is None
    assert bench.is_woken(within_ms=2_000)


def test_frames_do_not_wake_an_agent_that_is_busy(bench: Bench, clock: Clock) -> None:
    assert bench.pace(clock.now_ns + 1) is not None
    bench.ports[0].give(b"x", clock.time_ns())
    assert not bench.is_woken(within_ms=3)
    bench.data.read()
    assert len(bench.frames) == 1  # it is read all the same, when the agent looks
    bench.ports[0].give(b"y", clock.time_ns())
    assert bench.pace(clock.now_ns + LOOKAHEAD_NS) is not None
    assert bench.is_woken(within_ms=2_000)


@pytest.mark.parametrize(("due_in_ns", "wake_in_ns"), [
    # Far away: at that time; frames wake it before.
    (LOOKAHEAD_NS, LOOKAHEAD_NS), (50 * LOOKAHEAD_NS, 50 * LOOKAHEAD_NS),
    # Soon: not sooner than a tenth of a link delay after it woke last.
    (LOOKAHEAD_NS - 1, LOOKAHEAD_NS - 1), (PAUSE_NS + 1, PAUSE_NS + 1),
    (PAUSE_NS - 1, PAUSE_NS), (0, PAUSE_NS), (-5_000_000, PAUSE_NS),
])
def test_when_to_look_again(
    bench: Bench, clock: Clock, due_in_ns: int, wake_in_ns: int
) -> None:
    bench.data.read()
    assert bench.pace(clock.now_ns + due_in_ns) == clock.now_ns + wake_in_ns


@pytest.mark.parametrize(("tdf", "pause_ns"), [
    (500, 50_000), (900, 90_000),  # a tenth of a link delay of 1 us
    (1_000, 100_000), (10_000, 100_000), (200_000, 100_000),  # what some wakes cost
])
def test_the_pause_is_short_in_emulated_time_and_on_the_wall(
    bench: Bench, clock: Clock, tdf: int, pause_ns: int
) -> None:
    bench.data.read()
    assert bench.pace(clock.now_ns, 10**9, tdf) == clock.now_ns + pause_ns


@pytest.mark.parametrize("tdf", [1_000, 20_000, 200_000])
def test_in_a_crowd_it_looks_ten_times_per_link_delay(
    bench: Bench, clock: Clock, tdf: int
) -> None:
    bench.data.read()
    assert bench.pace(clock.now_ns, 10**9, tdf, is_crowded=True) == clock.now_ns + 100 * tdf


def test_the_pause_counts_from_when_it_woke_not_from_when_it_asks(
    bench: Bench, clock: Clock
) -> None:
    bench.data.read()
    woke_at_ns = clock.now_ns
    clock.now_ns += PAUSE_NS // 2
    assert bench.pace(clock.now_ns) == woke_at_ns + PAUSE_NS
    clock.now_ns += PAUSE_NS
    assert bench.pace(clock.now_ns) == clock.now_ns


def test_a_pause_never_outlasts_what_is_known_ahead(bench: Bench, clock: Clock) -> None:
    """A frame that comes now could be due after the shortest hold: look again by then."""
    bench.data.read()
    ahead_ns = PAUSE_NS // 4
    assert bench.pace(clock.now_ns, ahead_ns) == clock.now_ns + ahead_ns
    assert bench.pace(clock.now_ns - 1, 0) == clock.now_ns


def test_without_anything_known_ahead_frames_wake_it_unless_it_is_late(
    bench: Bench, clock: Clock
) -> None:
    bench.ports[0].give(b"x", clock.time_ns())
    assert bench.pace(clock.now_ns, 0) == clock.now_ns
    assert bench.is_woken(within_ms=2_000)
    bench.pace(clock.now_ns - 1, 0)
    assert not bench.is_woken(within_ms=3)


def test_carrier_is_told_by_port_and_in_the_mask(bench: Bench) -> None:
    assert bench.data.up_ports == 0b11
    bench.carrier.change(bench.ports[1].config.slot, False)
    assert bench.data.up_ports == 0b01
    assert bench.carrier_told == []
    bench.loop.wait(time.monotonic_ns() + 2_000_000_000)
    assert bench.carrier_told == [(1, False)]
    assert bench.data.has_carrier(cast(Port, bench.ports[0]))
    assert not bench.data.has_carrier(cast(Port, bench.ports[1]))


def test_carrier_wakes_a_busy_agent(bench: Bench, clock: Clock) -> None:
    bench.pace(clock.now_ns)
    bench.carrier.change(bench.ports[0].config.slot, False)
    bench.carrier.change(bench.ports[0].config.slot, True)
    assert bench.is_woken(within_ms=2_000)
    assert bench.carrier_told == [(0, False), (0, True)]


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("part", ["the second port", "the carrier watch"])
def test_none_stays_open_if_one_fails(part: str) -> None:
    bench = Bench()
    error = MachineError("needs root")
    if part == "the carrier watch":
        bench.carrier.fails = error
    else:
        bench.ports[1].fails = error
    with pytest.raises(MachineError, match="needs root"):
        bench.data.open(bench.loop)
    assert [port.is_open for port in bench.ports] == [False, False]
    assert not bench.carrier.is_open
    bench.loop.close()
