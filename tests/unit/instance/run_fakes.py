"""What a run meets in an instance, without one: a clock, hosts that answer, a fabric of numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

from testbed.analysis.fidelity import Evidence, judge
from testbed.errors import TestbedError
from testbed.fabric.shaping import PortTraffic
from testbed.instance.fleetrun import Outcome
from testbed.instance.measured import Measured
from testbed.intent.request import UpRequest
from testbed.metrics.lateness import Lateness
from testbed.metrics.ports import PortCounters, Tally
from topologies.graph import Graph, build_graph
from topologies.spec import ClosSpec

SPEC = ClosSpec("pair", 2, 2, 2, 2, 100 * 10**9, 1000)
GRAPH = build_graph(SPEC)
SILENT = "the agent of host {name} did not answer for {patience_s:g} s"


class FakeTime:
    """Stands in for the module ``time``: moves by `sleep`, and when told."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def monotonic(self) -> float:
        return self.now_s

    def monotonic_ns(self) -> int:
        return int(self.now_s * 1e9)

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@dataclass(slots=True)
class FakeAgent:
    """Done after so many polls, settled after so many more; ``is_silent`` answers nothing.

    ``refuses`` holds a sentence by method; ``on_poll`` is called with every `progress`.
    """

    name: str
    polls_to_done: int = 2
    polls_to_settled: int = 0
    is_silent: bool = False
    is_alive: bool = True
    refuses: dict[str, str] = field(default_factory=dict)
    on_poll: Callable[[int], None] = lambda poll: None
    polls: int = 0
    is_stopped: bool = False
    channels: list[dict[str, Any]] = field(default_factory=list)
    program: dict[str, Any] = field(default_factory=dict)  # what it says besides channels
    lost_rank: int | None = None  # what it says in progress, of a job whose hosts are ranks

    def answer(self, method: str, params: Mapping[str, Any]) -> Any:
        if method in self.refuses:
            raise TestbedError(self.refuses[method])
        return getattr(self, f"_{method}")(params)

    def _prepare(self, params: Mapping[str, Any]) -> dict[str, Any]:
        ends = [{"connection": end["connection"], "of": self.name} for end in params["ends"]]
        return {"ends": ends}

    def _progress(self, _: Mapping[str, Any]) -> dict[str, Any]:
        self.polls += 1
        self.on_poll(self.polls)
        is_done = self.is_stopped or self.polls >= self.polls_to_done
        return {"is_done": is_done, "now_ns": 1000 * self.polls, "lost_rank": self.lost_rank,
                "is_settled": self.polls >= self.polls_to_done + self.polls_to_settled}

    def _stop(self, _: Mapping[str, Any]) -> None:
        self.is_stopped = True
        self.polls_to_done = min(self.polls_to_done, self.polls)

    def _results(self, _: Mapping[str, Any]) -> dict[str, Any]:
        return {"program": {"channels": self.channels, **self.program}}

    def _verify(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {"checked_bytes": 10 * len(params["peers"]), "wrong_bytes": 0,
                "first_wrong": None, "unchecked": []}

    def _connect(self, _: Mapping[str, Any]) -> None:
        return None

    _start = _release = _connect


class FakeHosts:
    """Stands in for `Hosts`; ``asked`` is every (method, params by host) in order."""

    def __init__(self, time: FakeTime, *names: str) -> None:
        self.agents = {name: FakeAgent(name) for name in names}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.states: dict[str, str] = {}
        self._time = time

    def ask(self, method: str, params: Mapping[str, Mapping[str, Any]],
            patience_s: float) -> tuple[dict[str, Any], dict[str, str]]:
        self.asked.append((method, {name: dict(given) for name, given in params.items()}))
        answers, silent = {}, {}
        is_slow = False
        for name, given in params.items():
            agent = self.agents[name]
            if not agent.is_alive:
                silent[name] = f"the agent of host {name} was killed by a signal"
            elif agent.is_silent:
                is_slow = True
                silent[name] = SILENT.format(name=name, patience_s=patience_s)
            else:
                try:
                    answers[name] = agent.answer(method, given)
                except TestbedError as error:
                    silent[name] = str(error)
        self._time.sleep(patience_s if is_slow else 0.01)
        return answers, silent

    def alive(self) -> list[str]:
        return [name for name, agent in self.agents.items() if agent.is_alive]

    def agent_state(self, name: str) -> str:
        return self.states.get(name, "")

    def methods(self) -> list[str]:
        """What was asked, repetitions left out."""
        names = [method for method, _ in self.asked]
        return [name for at, name in enumerate(names) if at == 0 or names[at - 1] != name]

    def last(self, method: str) -> dict[str, Any]:
        return next(params for name, params in reversed(self.asked) if name == method)


class FakeFabric:
    """Numbers by slot, set by tests; at first 10 frames of 100 bytes went over every link."""

    def __init__(self, graph: Graph = GRAPH) -> None:
        self.graph = graph
        ten = Tally(10, 1000)
        self.seen = {slot: PortCounters(offered=ten, passed_data=ten) for slot in graph.slots}
        self.sent = {slot: PortTraffic(ten, Tally(), 0, True) for slot in graph.slots}
        self.drops = {switch.name: 0 for switch in graph.switches}
        self.inside = {switch.name: 0 for switch in graph.switches}
        self.lags: dict[int, int] = {}
        self.unread: dict[int, int] = {}
        self.tdf = 1000

    def counters(self) -> dict[int, PortCounters]:
        return dict(self.seen)

    def traffic(self) -> dict[int, PortTraffic]:
        return dict(self.sent)

    def lag_bytes(self, slot: int) -> int:
        """By the same numbers, unless a test says what the second reading finds."""
        seen = self.seen[slot]
        model_bytes = seen.control_queue_bytes + seen.data_queue_bytes
        return self.lags.get(slot, self.sent[slot].waiting.bytes - model_bytes)

    def unread_bytes(self) -> dict[int, int]:
        return dict(self.unread)

    def receive_drops(self) -> dict[str, int]:
        return dict(self.drops)

    def lost_inside(self) -> dict[str, int]:
        return dict(self.inside)

    def describe_dataplane(self) -> str:
        return "ovs (fake)"

    def count(self, slot: int, **changes: Any) -> None:
        """Change a port's counters."""
        self.seen[slot] = replace(self.seen[slot], **changes)

    def kernel(self, slot: int, **changes: Any) -> None:
        """Change what the kernel says of a port."""
        self.sent[slot] = replace(self.sent[slot], **changes)


def lateness(*late_ns: int) -> Lateness:
    found = Lateness()
    for ns in late_ns:
        found.record(ns)
    return found


def evidence(**changes: Any) -> Evidence:
    """Of a run that can be trusted, unless changed."""
    fields = {"base_rtt_ns": 9404, "duration_ns": 1_000_000, "lateness": {"h0": lateness(10)},
              "lost_ns": {"h0-eth0": 0}, "drain_error": {}, "idle_cores": 1.5, "cores": 2}
    return Evidence(**{**fields, **changes})


def measured(outcome: Outcome | None = None, **changes: Any) -> Measured:
    """A run that was measured, with a verdict that follows from its evidence."""
    found = evidence(**changes)
    return Measured(outcome or Outcome(is_settled=True), found, judge(found))


def request(**changes: Any) -> UpRequest:
    fields = {"name": "lab", "spec": SPEC, "tdf": 2000, "tdf_is_assumed": True}
    return UpRequest(**{**fields, **changes})


def fake_testbed(**parts: Any) -> Any:
    """What runs use of a testbed: its request, graph and fabric, and ``parts``."""
    have = {"request": request(), "graph": GRAPH, "fabric": FakeFabric(),
            "layout": SimpleNamespace(log="/run/lab/instance.log")}
    return SimpleNamespace(**{**have, **parts})
