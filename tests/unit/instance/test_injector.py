"""Whose doing a lost carrier is: known before it is taken, and no longer than it is ours."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from unit.instance.run_fakes import GRAPH

from testbed.errors import TestbedError, UsageError
from testbed.faults.actions import LinkDown, Loss
from testbed.faults.targets import NicTarget
from testbed.instance.conservation import Conservation
from testbed.instance.injector import Injector
from testbed.metrics.ports import PortCounters, Tally
from topologies.graph import NicPort

NIC = GRAPH.hosts[3].nic_ports[1]
OTHER = GRAPH.hosts[0].nic_ports[0]
TARGET = NicTarget(3, 1)


@dataclass(frozen=True)
class Config:
    """The part of a port's configuration that faults change."""

    blackhole: bool = False
    loss_ratio: float = 0.0
    corrupt_ratio: float = 0.0


class Fabric:
    """Keeps what it was told; ``on_carrier`` is called while links go or come back."""

    def __init__(self) -> None:
        self.graph = GRAPH
        self.done: list[tuple[str, frozenset[int]]] = []
        self.configs: dict[int, Config] = {}
        self.dark: set[int] = set()
        self.lost: dict[int, Tally] = {}
        self.on_carrier: Callable[[], None] = lambda: None
        self.ports = SimpleNamespace(read_all=self._read_all, write=self.configs.__setitem__)
        self.wiring = SimpleNamespace(states=self._states)

    def base_config(self, _slot: int) -> Config:
        return Config()

    def take_down(self, slots: frozenset[int]) -> None:
        self._move("down", slots)
        self.dark |= slots

    def bring_back(self, slots: frozenset[int]) -> None:
        self._move("back", slots)
        self.dark -= slots

    def flushed(self) -> Mapping[int, Tally]:
        return dict(self.lost)

    def _move(self, what: str, slots: frozenset[int]) -> None:
        if slots:
            self.done.append((what, slots))
            self.on_carrier()

    def _read_all(self, slots: Iterable[int]) -> dict[int, PortCounters]:
        return {slot: PortCounters() for slot in slots}

    def _states(self) -> dict[int, str]:
        dark = {GRAPH.port(slot).peer.slot for slot in self.dark}
        return {nic.slot: "DOWN" if nic.slot in dark else "UP"
                for host in GRAPH.hosts for nic in host.nic_ports}


class Bench:
    """An injector over a fabric, and the balance that hears of carriers from agents."""

    def __init__(self) -> None:
        self.fabric = Fabric()
        hosts = SimpleNamespace(fleet=SimpleNamespace(agents={}))
        parts: Any = (self.fabric, hosts)
        self.injector = Injector(*parts)
        self.balance = Conservation(parts[0], self.injector, parts[1])
        self.seen: list[frozenset[int]] = []
        self.fabric.on_carrier = lambda: self.seen.append(self.injector.dark_on_purpose)

    def is_taken_for_somebody_else_s(self, nic: NicPort) -> bool:
        """An agent tells that this carrier is gone."""
        self.balance.note_carrier_lost(nic)
        return bool({nic.slot, nic.peer.slot} & self.balance._dark)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_carrier_is_ours_to_take_before_it_goes_and_until_it_is_back(bench: Bench) -> None:
    slots = frozenset({NIC.peer.slot})
    told = bench.injector.inject(LinkDown(TARGET))
    assert told["evidence"] == f"0 frames dropped, no carrier on {NIC.interface}"
    assert (bench.seen, bench.injector.dark_on_purpose) == ([slots], slots)
    bench.injector.heal(TARGET)
    assert bench.fabric.done == [("down", slots), ("back", slots)]
    assert (bench.seen, bench.injector.dark_on_purpose) == ([slots, slots], frozenset())


def test_agents_that_tell_while_it_happens_do_not_blame_somebody_else(bench: Bench) -> None:
    blamed: list[bool] = []
    bench.fabric.on_carrier = lambda: blamed.append(bench.is_taken_for_somebody_else_s(NIC))
    bench.injector.inject(LinkDown(TARGET))
    assert blamed == [False]
    assert not bench.is_taken_for_somebody_else_s(NIC)
    assert bench.is_taken_for_somebody_else_s(OTHER)
    bench.injector.heal(None)
    assert blamed == [False, False]
    assert bench.is_taken_for_somebody_else_s(NIC)  # nothing of ours is in force any more


def test_a_fault_that_leaves_carriers_alone_owns_none(bench: Bench) -> None:
    bench.injector.inject(Loss(TARGET, 0.5))
    assert (bench.seen, bench.injector.dark_on_purpose) == ([], frozenset())
    assert bench.is_taken_for_somebody_else_s(NIC)


def test_what_a_dying_link_flushed_is_the_fault_s(bench: Bench) -> None:
    slot = NIC.peer.slot
    bench.fabric.lost = {slot: Tally(3, 300)}
    told = bench.injector.inject(LinkDown(TARGET))
    assert "3 flushed from the queue" in told["evidence"]
    assert bench.injector.flushed == {slot: Tally(3, 300)}


def test_a_fault_that_is_in_force_is_refused_and_changes_nothing(bench: Bench) -> None:
    bench.injector.inject(LinkDown(TARGET))
    before = (bench.injector.state, bench.injector.dark_on_purpose)
    with pytest.raises(UsageError):
        bench.injector.inject(LinkDown(TARGET))
    assert (bench.injector.state, bench.injector.dark_on_purpose) == before


def test_a_fabric_that_fails_half_way_is_put_back(bench: Bench) -> None:
    healthy = bench.injector.state

    def fail() -> None:
        bench.fabric.on_carrier = lambda: None
        raise TestbedError("ip refused")

    bench.fabric.on_carrier = fail
    with pytest.raises(TestbedError, match="ip refused"):
        bench.injector.inject(LinkDown(TARGET))
    assert bench.injector.state == healthy
    assert bench.fabric.dark == set()
    assert [what for what, _ in bench.fabric.done] == ["down", "back"]
    assert set(bench.fabric.configs.values()) == {Config()}
    assert bench.injector.active() == []
