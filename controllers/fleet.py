"""Where every switch stands between joining and proven right: pure, no sockets.

Each switch has one conversation, whatever started it:

    joined, or a new plan:  read -> as planned?  yes: proven
                                                 no:  install, read -> as planned?
                                                      yes: proven   no: mismatch
    asked to verify:        read -> tell the differences, change nothing

So a controller that is started again leaves a switch alone that still holds the
plan: its rules, and their counters, stay as they are.

Every entry (`on_...`, `load`, `verify`) returns a `Step`: OpenFlow messages to
send, and events for the parent process. Answers come in the order of the
questions, because one TCP connection carries both.
"""

import enum
import ipaddress
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from controllers import translate
from controllers.flows import Flow, flows_of
from testbed.forwarding.plan import Plan

Event = dict[str, Any]
NS_PER_MS = 1_000_000


@dataclass(slots=True)
class Step:
    """What to do now: messages (each knows its datapath), then events to report."""

    messages: list[Any] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)


class _Question(enum.Enum):
    """Why the rules of a switch are being read."""

    IS_INSTALL_NEEDED = enum.auto()
    IS_INSTALLED = enum.auto()
    WHAT_DIFFERS = enum.auto()


@dataclass(slots=True)
class _Switch:
    """One switch of the plan; `datapath` is None while it is not connected."""

    name: str
    flows: tuple[Flow, ...]
    datapath: Any = None
    asked_at_ns: int = 0
    is_proven: bool = False
    questions: deque[_Question] = field(default_factory=deque)
    entries: list[Any] = field(default_factory=list)


@dataclass(slots=True)
class _Round:
    """One `verify` in progress: who still owes an answer, and the answers so far."""

    owing: set[int]
    differences: dict[str, list[str]]
    drops: dict[str, dict[str, int]] = field(default_factory=dict)


class Fleet:
    """All switches of one plan.

    `now_ns` is any monotonic clock in nanoseconds; it only dates the events.
    ValueError, from the constructor and `load`, where a plan contradicts itself;
    `load` then changes nothing.
    """

    def __init__(self, plan: Plan) -> None:
        self._switches = _switches_of(plan)
        self._connected: dict[int, Any] = {}  # datapaths by id, strangers included
        self._round: _Round | None = None
        self._is_ready_pending = True

    def load(self, plan: Plan, now_ns: int) -> Step:
        """Take a new plan and bring every connected switch to it."""
        old, self._switches = self._switches, _switches_of(plan)
        self._round = None
        self._is_ready_pending = True
        step = Step()
        for dpid, datapath in self._connected.items():
            switch = self._switches.get(dpid)
            if switch is None:
                step.events.append({"event": "stranger", "dpid": dpid})
                continue
            switch.datapath, switch.asked_at_ns = datapath, now_ns
            if dpid in old:  # answers to earlier questions are still to come
                switch.questions, switch.entries = old[dpid].questions, old[dpid].entries
            step.messages += _ask(switch, _Question.IS_INSTALL_NEEDED)
        return step

    def verify(self) -> Step:
        """Ask every connected switch for its rules; answered by one `verified` event."""
        connected = {d: s for d, s in self._switches.items() if s.datapath is not None}
        away = [s.name for s in self._switches.values() if s.datapath is None]
        self._round = _Round(set(connected), {n: ["the switch is not connected"] for n in away})
        step = Step()
        for switch in connected.values():
            step.messages += _ask(switch, _Question.WHAT_DIFFERS)
        step.events += self._round_events()
        return step

    def on_switch_joined(self, datapath: Any, now_ns: int) -> Step:
        """Start with a switch whose OpenFlow handshake is done."""
        self._connected[datapath.id] = datapath
        switch = self._switches.get(datapath.id)
        if switch is None:
            return Step(events=[{"event": "stranger", "dpid": datapath.id}])
        switch.datapath, switch.asked_at_ns, switch.is_proven = datapath, now_ns, False
        switch.questions, switch.entries = deque(), []
        return Step(_ask(switch, _Question.IS_INSTALL_NEEDED))

    def on_switch_left(self, datapath: Any) -> Step:
        """Note that a connection ended; one that a newer one replaced says nothing."""
        is_current = self._connected.get(datapath.id) is datapath
        if not is_current:
            return Step()
        del self._connected[datapath.id]
        switch = self._switches.get(datapath.id)
        if switch is None:
            return Step()
        switch.datapath, switch.is_proven = None, False
        self._is_ready_pending = True
        step = Step(events=[{"event": "left", "name": switch.name}])
        if self._round and datapath.id in self._round.owing:
            self._round.owing.discard(datapath.id)
            self._round.differences[switch.name] = ["the switch left while it was asked"]
            step.events += self._round_events()
        return step

    def on_stats_received(
        self, datapath: Any, entries: Sequence[Any], is_last: bool, now_ns: int
    ) -> Step:
        """Take one part of a switch's flow statistics; the last part decides."""
        switch = self._switches.get(datapath.id)
        if switch is None or switch.datapath is not datapath or not switch.questions:
            return Step()
        switch.entries += entries
        if not is_last:
            return Step()
        present, switch.entries = switch.entries, []
        return self._answered(switch, switch.questions.popleft(), present, now_ns)

    def on_error_received(self, datapath: Any, reason: str) -> Step:
        """Report that a switch refused a message."""
        switch = self._switches.get(datapath.id)
        name = switch.name if switch else None
        return Step(events=[{"event": "refused", "name": name, "reason": reason}])

    def _answered(
        self, switch: _Switch, question: _Question, present: list[Any], now_ns: int
    ) -> Step:
        differences = translate.verify(switch.datapath, switch.flows, present)
        if question is _Question.WHAT_DIFFERS:
            return self._round_answered(switch, differences, present)
        if not differences:
            switch.is_proven = True
            is_changed = question is _Question.IS_INSTALLED
            return Step(events=[_proven(switch, is_changed, now_ns), *self._ready_events()])
        if question is _Question.IS_INSTALLED:
            event = {"event": "mismatch", "name": switch.name, "differences": differences}
            return Step(events=[event])
        switch.questions.append(_Question.IS_INSTALLED)
        return Step(translate.messages_to_install(switch.datapath, switch.flows, present))

    def _round_answered(
        self, switch: _Switch, differences: list[str], present: list[Any]
    ) -> Step:
        if self._round is None:  # a new plan came in between
            return Step()
        self._round.owing.discard(switch.datapath.id)
        self._round.drops[switch.name] = translate.drop_counts(switch.flows, present)
        if differences:
            self._round.differences[switch.name] = differences
        return Step(events=self._round_events())

    def _round_events(self) -> list[Event]:
        if self._round is None or self._round.owing:
            return []
        done, self._round = self._round, None
        return [{"event": "verified", "switches": len(done.drops),
                 "differences": done.differences, "drops": done.drops}]

    def _ready_events(self) -> list[Event]:
        """`ready`, once each time that the last switch of the plan is proven."""
        if not self._is_ready_pending or not all(s.is_proven for s in self._switches.values()):
            return []
        self._is_ready_pending = False
        return [{"event": "ready", "switches": len(self._switches)}]


def _switches_of(plan: Plan) -> dict[int, _Switch]:
    """ValueError where the plan contradicts itself."""
    block = ipaddress.IPv6Network(plan.block)
    switches = {s.dpid: _Switch(s.name, flows_of(s, block)) for s in plan.switches}
    if len(switches) != len(plan.switches):
        raise ValueError("two switches of the plan have one datapath id: build the plan again")
    return switches


def _ask(switch: _Switch, question: _Question) -> list[Any]:
    switch.questions.append(question)
    return [translate.message_to_read(switch.datapath)]


def _proven(switch: _Switch, is_changed: bool, now_ns: int) -> Event:
    elapsed_ms = (now_ns - switch.asked_at_ns) / NS_PER_MS
    return {"event": "switch", "name": switch.name, "flows": len(switch.flows),
            "ms": round(elapsed_ms, 1), "is_changed": is_changed}
