"""What the injector asks of fabric and agents, and what it takes for evidence.

Whose doing a lost carrier is: known before it is taken, and no longer than it is ours.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from unit.instance.run_fakes import GRAPH

from testbed.errors import TestbedError, UsageError
from testbed.faults.actions import Action, LinkDown, Loss, fault_id, make_action
from testbed.faults.targets import NicTarget, parse_target
from testbed.instance import injector as injector_module
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
        self.counters: dict[int, PortCounters] = {}
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
        return {slot: self.counters.get(slot, PortCounters()) for slot in slots}

    def _states(self) -> dict[int, str]:
        dark = {GRAPH.port(slot).peer.slot for slot in self.dark}
        return {nic.slot: "DOWN" if nic.slot in dark else "UP"
                for host in GRAPH.hosts for nic in host.nic_ports}


class Hosts:
    """Agents that keep what they were told; ``silent`` ones take it and do not answer."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.silent: set[str] = set()
        self.restarted: list[str] = []
        self.pids = {host.name: number for number, host in enumerate(GRAPH.hosts)}
        self.fleet = SimpleNamespace(
            agents={host.name: SimpleNamespace(is_alive=True) for host in GRAPH.hosts})

    def agent_pid(self, name: str) -> int:
        return self.pids[name]

    def restart_agent(self, name: str) -> None:
        self.restarted.append(name)
        self.fleet.agents[name].is_alive = True

    def ask(self, method: str, params: Mapping[str, Any],
            _patience_s: float) -> tuple[dict[str, Any], dict[str, str]]:
        assert method == "control"
        self.asked += params.items()
        answers = {
            name: {"denied": [[peer, ev, 2] for peer, ev in given["denied"]],
                   "disabled": given["disabled"]}
            for name, given in params.items() if name not in self.silent}
        return answers, {name: f"{name} did not answer" for name in params.keys() & self.silent}

    def told(self) -> list[tuple[str, Any]]:
        """What they were told since the last call."""
        asked, self.asked = self.asked, []
        return asked


class Bench:
    """An injector over a fabric, and the balance that hears of carriers from agents."""

    def __init__(self) -> None:
        self.fabric = Fabric()
        self.hosts = hosts = Hosts()
        parts: Any = (self.fabric, hosts)
        self.injector = Injector(*parts)
        self.balance = Conservation(parts[0], self.injector, parts[1])
        self.seen: list[frozenset[int]] = []
        self.fabric.on_carrier = lambda: self.seen.append(self.injector.dark_on_purpose)

    def is_taken_for_somebody_else_s(self, nic: NicPort) -> bool:
        """An agent tells that this carrier is gone."""
        self.balance.note_carrier_lost(nic)
        return bool({nic.slot, nic.peer.slot} & self.balance._dark)


def until(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline_s, "it never came"
        time.sleep(0.002)


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


def test_what_can_be_put_back_is_put_back_and_the_rest_is_told(bench: Bench) -> None:
    """One port of the map cannot be written any more: the others, and the link, still can."""
    write, stuck = bench.fabric.configs.__setitem__, set[int]()

    def refuse(slot: int, config: Config) -> None:
        if slot in stuck:
            raise OSError(7, "BPF map update: Argument list too long")
        write(slot, config)

    def fail() -> None:
        bench.fabric.on_carrier = lambda: None
        bench.fabric.dark |= {NIC.peer.slot}
        stuck.add(min(bench.fabric.configs))
        raise TestbedError("ip refused")

    bench.fabric.ports.write, bench.fabric.on_carrier = refuse, fail
    with pytest.raises(TestbedError, match="ip refused"):
        bench.injector.inject(LinkDown(TARGET))
    assert bench.fabric.dark == set()
    assert {slot for slot, config in bench.fabric.configs.items() if config != Config()} == stuck
    (told,) = bench.injector.failures
    assert told.startswith("faults could not be moved, and not all could be put back as it was: "
                           "OSError(7, 'BPF map update")


# --- Several at once, by name ------------------------------------------------------------


def fail(text: str, kind: str | None = None, ratio: float | None = None) -> Action:
    return make_action(parse_target(text), kind, ratio)


SECOND = NicTarget(2, 0)
BOTH = frozenset({NIC.peer.slot, GRAPH.hosts[2].nic_ports[0].peer.slot})


def test_a_move_takes_all_links_at_once_and_gives_them_back_by_name(bench: Bench) -> None:
    assert bench.injector.move([LinkDown(TARGET), LinkDown(SECOND)], ()) == []
    assert bench.fabric.done == [("down", BOTH)]
    names = [f"{TARGET}#down", f"{SECOND}#down"]
    told = bench.injector.move([Loss(TARGET, 0.5)], names)
    assert [found["target"] for found in told] == [str(SECOND), str(TARGET)]
    assert all(found["has_bitten"] for found in told)  # no carrier
    assert bench.fabric.done[1:] == [("back", BOTH)]
    assert [found["kind"] for found in bench.injector.active()] == ["loss"]


def test_a_move_that_makes_no_sense_changes_nothing(bench: Bench) -> None:
    bench.injector.move([LinkDown(TARGET)], ())
    before = bench.injector.state
    for injects, heals in (([LinkDown(SECOND), LinkDown(TARGET)], []), ([], ["nic:h0:p0#down"]),
                           ([LinkDown(NicTarget(99, 0))], [f"{TARGET}#down"])):
        with pytest.raises(UsageError):
            bench.injector.move(injects, heals)
    assert bench.injector.state == before
    assert len(bench.injector.active()) == len(bench.fabric.done) == 1


def test_a_move_the_fabric_refuses_leaves_all_as_it_was(bench: Bench) -> None:
    bench.injector.move([LinkDown(TARGET)], ())

    def refuse() -> None:
        bench.fabric.on_carrier = lambda: None
        raise TestbedError("ip refused")

    bench.fabric.on_carrier = refuse
    with pytest.raises(TestbedError, match="ip refused"):
        bench.injector.move([LinkDown(SECOND)], [f"{TARGET}#down"])
    assert [found["target"] for found in bench.injector.active()] == [str(TARGET)]
    assert bench.fabric.dark == {NIC.peer.slot}


def test_what_links_flushed_is_charged_to_the_fault_of_each(bench: Bench) -> None:
    bench.fabric.lost = {NIC.peer.slot: Tally(3, 300)}
    bench.injector.move([LinkDown(TARGET), LinkDown(SECOND), Loss(TARGET, 0.5)], ())
    said = {found["kind"] + found["target"]: found["evidence"]
            for found in bench.injector.active()}
    assert "3 flushed" in said[f"down{TARGET}"]
    assert "flushed" not in said[f"down{SECOND}"] + said[f"loss{TARGET}"]


def test_evidence_says_whether_a_fault_has_bitten(bench: Bench) -> None:
    bench.fabric.counters = {NIC.slot: PortCounters(dropped_loss=Tally(7, 700))}
    bench.injector.move([Loss(TARGET, 0.5)], ())
    (found,) = bench.injector.described([f"{TARGET}#loss"])
    assert (found["evidence"], found["has_bitten"]) == ("0 frames lost", False)
    bench.fabric.counters = {NIC.slot: PortCounters(dropped_loss=Tally(9, 900))}
    (found,) = bench.injector.described([f"{TARGET}#loss"])
    assert (found["evidence"], found["has_bitten"]) == ("2 frames lost", True)
    assert bench.injector.described([]) == []
    with pytest.raises(UsageError, match="fault nic:h0:p0#down is not active"):
        bench.injector.described(["nic:h0:p0#down"])


# --- Controllers -------------------------------------------------------------------------

DENY, DISABLE = fail("ev:h0:h3:0x0000", "deny"), fail("nic:h0:p1", "disable")
PEER = GRAPH.hosts[3].address.packed.hex()
NOTHING = {"denied": [], "disabled": 0}


def test_agents_are_told_all_their_controllers_have_set_and_only_news(bench: Bench) -> None:
    bench.injector.move([DENY, DISABLE], ())
    assert bench.hosts.told() == [("h0", {"denied": [[PEER, 0]], "disabled": 0b10})]
    bench.injector.move([LinkDown(TARGET)], ())
    assert bench.hosts.told() == []
    found = {row["kind"]: row for row in bench.injector.described(map(fault_id, (DENY, DISABLE)))}
    assert (found["deny"]["evidence"], found["deny"]["has_bitten"]) == (
        "DENIED in 2 queue pairs", True)
    assert (found["disable"]["evidence"], found["disable"]["has_bitten"]) == (
        "port disabled", True)
    bench.hosts.told()
    bench.injector.move([], [fault_id(DENY)])
    assert bench.hosts.told()[-1] == ("h0", {"denied": [], "disabled": 0b10})
    bench.injector.heal(None)
    assert bench.hosts.told()[-1] == ("h0", NOTHING)


def test_a_dead_host_is_left_out_and_told_when_it_has_a_new_agent(bench: Bench) -> None:
    agent = bench.hosts.fleet.agents["h0"]
    agent.is_alive = False
    bench.injector.move([DISABLE], ())
    assert bench.hosts.told() == []
    (found,) = bench.injector.active()
    assert (found["evidence"], found["has_bitten"]) == ("the host's device does not answer", False)
    (healed,) = bench.injector.heal(parse_target("host:h0"))
    assert healed["kind"] == "death"
    assert bench.hosts.told() == [("h0", {"denied": [], "disabled": 0b10})]


def test_a_host_is_killed_and_healed_in_moves_with_others(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = bench.hosts.fleet.agents["h0"]

    def kill(pid: int, _signal: int) -> None:
        assert pid == bench.hosts.pids["h0"]
        agent.is_alive = False

    monkeypatch.setattr(injector_module.os, "kill", kill)
    monkeypatch.setattr(injector_module, "process_state",
                        lambda pid: "S" if pid or agent.is_alive else "X")
    bench.injector.move([fail("host:h0", "kill"), DISABLE, LinkDown(TARGET)], ())
    assert bench.hosts.told() == []
    (found,) = bench.injector.described(["host:h0#kill"])
    assert (found["evidence"], found["has_bitten"]) == ("agent process 0 has ended", True)
    healed = bench.injector.move([], ["host:h0#kill", f"{TARGET}#down"])
    assert [row["target"] for row in healed] == [str(TARGET), "host:h0"]
    assert bench.hosts.restarted == ["h0"]
    assert bench.hosts.told() == [("h0", {"denied": [], "disabled": 0b10})]
    bench.injector.move([fail("host:h0", "kill")], ())
    bench.injector.move([], ["host:h0#kill"])  # another new agent, which knows nothing
    assert bench.hosts.told() == [("h0", {"denied": [], "disabled": 0b10})]


def test_an_agent_that_does_not_answer_undoes_the_move_and_is_told_anew(bench: Bench) -> None:
    bench.hosts.silent.add("h0")
    with pytest.raises(TestbedError, match="h0 did not answer; heal it"):
        bench.injector.move([DENY, LinkDown(TARGET)], ())
    assert bench.injector.active() == []
    assert bench.fabric.dark == set()
    bench.hosts.silent.clear()
    bench.hosts.told()
    bench.injector.move([LinkDown(TARGET)], ())
    assert bench.hosts.told() == [("h0", NOTHING)]  # whatever it made of what it was told


def test_the_loss_of_an_ev_is_proven_by_what_is_gone_once_it_is_healed(bench: Bench) -> None:
    """Its counts are in the map entry that the heal deletes."""
    loss = make_action(parse_target("ev:h0:h3:0x0000"), "loss", 0.2)
    entries: dict[Any, Any] = {}
    ports = bench.fabric.ports
    ports.set_ev_fault = lambda flow, _fault: entries.update(
        {flow: SimpleNamespace(dropped_frames=4, seen_frames=20)})
    ports.clear_ev_fault = entries.pop
    ports.read_ev_fault = entries.get
    bench.injector.move((loss,), ())
    (told,) = bench.injector.move((), (fault_id(loss),))
    assert entries == {}
    assert (told["has_bitten"], told["evidence"]) == (
        True, "4 of 20 frames of this EV dropped")


def test_what_a_link_took_is_told_after_it_is_back(bench: Bench) -> None:
    """Its carrier is up again by then: what was seen when it went is the evidence."""
    bench.injector.move((LinkDown(TARGET),), ())
    (told,) = bench.injector.move((), (fault_id(LinkDown(TARGET)),))
    assert (told["has_bitten"], told["evidence"]) == (
        True, f"0 frames dropped, no carrier on {NIC.interface}")
    assert bench.injector.moved_at_ns > 0


def test_who_holds_the_faults_may_move_them_and_nobody_else_sees_them(bench: Bench) -> None:
    seen: list[int] = []
    watcher = threading.Thread(target=lambda: seen.append(len(bench.injector.active())))
    with bench.injector.held():
        bench.injector.move((LinkDown(TARGET),), ())
        watcher.start()
        watcher.join(0.05)
        assert seen == []
    watcher.join(20)
    assert seen == [1]


def test_what_is_done_by_hand_is_told_and_what_a_script_does_is_not(bench: Bench) -> None:
    told: list[tuple[str, str]] = []
    injector = bench.injector
    injector.on_by_hand = lambda what, found: told.append((what, found["kind"]))
    injector.move((Loss(TARGET, 0.5),), ())
    injector.inject(LinkDown(TARGET))
    assert injector.in_force == (f"{TARGET}#loss", f"{TARGET}#down")
    injector.heal(None)
    assert told == [("inject", "down"), ("heal", "down"), ("heal", "loss")]
    told.clear()
    injector.inject(LinkDown(TARGET), 0.01)
    until(lambda: not injector.in_force)
    assert told == [("inject", "down"), ("heal", "down")]
    told.clear()
    bench.hosts.fleet.agents["h3"].is_alive = False
    injector.heal(parse_target("host:h3"))
    assert told == [("heal", "death")]
