"""Conversations with switches, in memory: what is sent, what is reported, what is left be."""

from dataclasses import replace
from typing import Any

import pytest
from openflow_net import HEADER, Switch, wire

from controllers import compat
from controllers.fleet import Event, Fleet, Step
from testbed.forwarding.plan import Plan, Rule, SwitchPlan

RULE = Rule(0x1809, 1, "p0-t0-4-e1", "02:00:00:00:00:03", "02:00:00:00:00:04")
T0 = SwitchPlan("p0-t0-4", 77, 0x0804, (RULE,))
T1 = SwitchPlan("p0-t1-0", 78, 0x1000, (replace(RULE, usid=0x0804),))
PLAN = Plan((T0, T1))
NEW_T0 = replace(T0, rules=(RULE, replace(RULE, usid=0x1003, port=2)))
NEW_PLAN = Plan((NEW_T0, T1))


class Parent:
    """Carries a step out against fake switches, and collects the events in order."""

    def __init__(self, fleet: Fleet, *switches: Switch) -> None:
        self.fleet = fleet
        self.switches = {switch.datapath.id: switch for switch in switches}
        self.now_ns = 1_000_000_000

    def carry_out(self, step: Step) -> list[Event]:
        events = list(step.events)
        for message in step.messages:
            datapath = message.datapath
            for answer in self.switches[datapath.id].handle(wire(message)):
                reply = compat.message_from_wire(datapath, *HEADER.unpack_from(answer), answer)
                events += self.take(reply)
        return events

    def take(self, reply: Any) -> list[Event]:
        if not isinstance(reply, compat.parser.OFPFlowStatsReply):
            return []
        self.now_ns += 2_000_000
        is_last = not reply.flags & compat.ofproto.OFPMPF_REPLY_MORE
        return self.carry_out(
            self.fleet.on_stats_received(reply.datapath, reply.body, is_last, self.now_ns)
        )

    def join(self, dpid: int) -> list[Event]:
        datapath = self.switches[dpid].datapath
        return self.carry_out(self.fleet.on_switch_joined(datapath, self.now_ns))


@pytest.fixture(params=[1000, 1], ids=["whole", "in-parts"])
def parent(request: pytest.FixtureRequest) -> Parent:
    """Two empty switches; their statistics come in one message, or one per rule."""
    return Parent(Fleet(PLAN), Switch(77, request.param), Switch(78, request.param))


def names(events: list[Event]) -> list[str]:
    return [event["event"] for event in events]


def test_an_empty_switch_is_programmed_and_proven(parent: Parent) -> None:
    [event] = parent.join(77)
    assert event.pop("ms") >= 4.0  # two answers, 2 ms each by this clock
    assert event == {"event": "switch", "name": "p0-t0-4", "flows": 4, "is_changed": True}


def test_ready_comes_once_with_the_last_switch(parent: Parent) -> None:
    assert names(parent.join(77)) == ["switch"]
    events = parent.join(78)
    assert names(events) == ["switch", "ready"]
    assert events[-1] == {"event": "ready", "switches": 2}


def test_a_switch_that_holds_the_plan_is_left_alone(parent: Parent) -> None:
    parent.join(77)
    switch = parent.switches[77]
    switch.log.clear()
    parent.fleet = Fleet(PLAN)  # the controller was started again
    [event] = parent.join(77)
    assert event["is_changed"] is False
    assert switch.log == ["read"]


def test_a_switch_that_a_person_changed_is_put_right(parent: Parent) -> None:
    parent.join(77)
    del parent.switches[77].tables[1][0]
    parent.fleet = Fleet(PLAN)
    [event] = parent.join(77)
    assert event["is_changed"] is True
    assert len(parent.switches[77].tables[1]) == 2


def test_a_switch_that_does_not_obey_is_a_mismatch(parent: Parent) -> None:
    parent.switches[77].is_deaf = True
    [event] = parent.join(77)
    assert (event["event"], event["name"]) == ("mismatch", "p0-t0-4")
    assert "the drop rule of table 0 is missing" in event["differences"]


def test_a_switch_of_no_plan_is_a_stranger_and_gets_nothing(parent: Parent) -> None:
    stranger = Switch(99)
    parent.switches[99] = stranger
    assert parent.join(99) == [{"event": "stranger", "dpid": 99}]
    assert stranger.log == []


def test_leaving_is_told_once_and_ready_comes_again(parent: Parent) -> None:
    parent.join(77)
    parent.join(78)
    datapath = parent.switches[78].datapath
    left = parent.fleet.on_switch_left(datapath)
    assert left == Step(events=[{"event": "left", "name": "p0-t1-0"}])
    assert parent.fleet.on_switch_left(datapath) == Step()
    assert names(parent.join(78)) == ["switch", "ready"]


def test_the_end_of_a_replaced_connection_is_not_told(parent: Parent) -> None:
    parent.join(77)
    old = parent.switches[77].datapath
    parent.switches[77].datapath = type(old)(77)
    parent.join(77)
    assert parent.fleet.on_switch_left(old) == Step()


def test_answers_of_a_replaced_connection_are_ignored(parent: Parent) -> None:
    old = parent.switches[77].datapath
    parent.fleet.on_switch_joined(old, 0)
    new = type(old)(77)
    parent.fleet.on_switch_joined(new, 0)
    assert parent.fleet.on_stats_received(old, [], True, 0) == Step()


def test_a_new_plan_reaches_every_connected_switch(parent: Parent) -> None:
    parent.join(77)
    parent.join(78)
    for switch in parent.switches.values():
        switch.log.clear()
    events = parent.carry_out(parent.fleet.load(NEW_PLAN, parent.now_ns))
    assert [(e["event"], e.get("name"), e.get("is_changed")) for e in events] == [
        ("switch", "p0-t0-4", True), ("switch", "p0-t1-0", False), ("ready", None, None),
    ]
    assert [line.split()[0] for line in parent.switches[77].log] == [
        "read", *["add"] * 5, "barrier", "delete", "barrier", "read",
    ]
    assert parent.switches[78].log == ["read"]


def test_a_new_plan_disowns_a_switch_it_lacks(parent: Parent) -> None:
    parent.join(77)
    parent.join(78)
    events = parent.carry_out(parent.fleet.load(Plan((T0,)), parent.now_ns))
    assert events[0] == {"event": "stranger", "dpid": 78}
    assert names(events[1:]) == ["switch", "ready"]


def test_a_new_plan_adopts_a_stranger(parent: Parent) -> None:
    parent.fleet = Fleet(Plan((T0,)))
    parent.join(77)
    assert names(parent.join(78)) == ["stranger"]
    events = parent.carry_out(parent.fleet.load(PLAN, parent.now_ns))
    assert [event.get("name") for event in events] == ["p0-t0-4", "p0-t1-0", None]
    assert parent.fleet.on_switch_left(parent.switches[78].datapath).events == [
        {"event": "left", "name": "p0-t1-0"}
    ]


def test_a_new_plan_during_the_first_conversation_wins(parent: Parent) -> None:
    first = parent.fleet.on_switch_joined(parent.switches[77].datapath, parent.now_ns)
    second = parent.fleet.load(NEW_PLAN, parent.now_ns)
    events = parent.carry_out(first) + parent.carry_out(second)
    assert set(names(events)) == {"switch"}
    assert events[-1]["flows"] == 5
    assert len(parent.switches[77].tables[1]) == 3


def test_a_plan_that_contradicts_itself_changes_nothing(parent: Parent) -> None:
    parent.join(77)
    with pytest.raises(ValueError, match="one datapath id"):
        parent.fleet.load(Plan((T0, replace(T1, dpid=77))), parent.now_ns)
    assert parent.carry_out(parent.fleet.verify())[0]["switches"] == 1


def test_verify_answers_when_every_switch_did(parent: Parent) -> None:
    parent.join(77)
    parent.join(78)
    events = parent.carry_out(parent.fleet.verify())
    none = {"strays": 0, "misses": 0}
    assert events == [{"event": "verified", "switches": 2, "differences": {},
                       "drops": {"p0-t0-4": none, "p0-t1-0": none}}]


def test_verify_tells_differences_and_repairs_nothing(parent: Parent) -> None:
    parent.join(77)
    del parent.switches[77].tables[0][0]
    [event] = parent.carry_out(parent.fleet.verify())
    assert event["differences"] == {
        "p0-t0-4": ["the rule of table 0 for uSID 0x0804 is missing"],
        "p0-t1-0": ["the switch is not connected"],
    }
    assert len(parent.switches[77].tables[0]) == 1


def test_verify_does_not_wait_for_a_switch_that_leaves(parent: Parent) -> None:
    parent.join(77)
    parent.join(78)
    parent.fleet.verify()
    assert names(parent.fleet.on_switch_left(parent.switches[77].datapath).events) == ["left"]
    events = parent.fleet.on_switch_left(parent.switches[78].datapath).events
    assert names(events) == ["left", "verified"]
    assert set(events[1]["differences"]) == {"p0-t0-4", "p0-t1-0"}


def test_verify_without_any_switch_answers_at_once() -> None:
    [event] = Fleet(PLAN).verify().events
    assert event["switches"] == 0
    assert set(event["differences"]) == {"p0-t0-4", "p0-t1-0"}


def test_a_refused_message_is_told_with_its_switch(parent: Parent) -> None:
    step = parent.fleet.on_error_received(parent.switches[77].datapath, "OFPET_BAD_ACTION")
    assert step.events == [
        {"event": "refused", "name": "p0-t0-4", "reason": "OFPET_BAD_ACTION"}
    ]
