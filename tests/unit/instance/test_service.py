"""What is told of faults while one is being moved."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

from unit.instance.run_fakes import GRAPH

from testbed.faults.actions import make_action
from testbed.faults.desired import desired_state
from testbed.faults.targets import parse_target
from testbed.instance.service import Service

LINK = "link:p0-t0-0:p0-t1-0"


class Injector:
    """An injector by whose state a fault is in force from the middle of a move on."""

    def __init__(self) -> None:
        self.state = desired_state(GRAPH, ())
        self.lock = threading.RLock()

    def held(self) -> Any:
        return self.lock


def service_of(injector: Injector) -> Service:
    service = object.__new__(Service)
    wiring = SimpleNamespace(states=lambda: dict.fromkeys(
        (slot for link in GRAPH.links for slot in (link.a.slot, link.b.slot)), "UP"))
    testbed: Any = SimpleNamespace(injector=injector, fabric=SimpleNamespace(wiring=wiring))
    service._testbed, service._graph = testbed, GRAPH
    return service


def test_a_link_fails_for_nobody_before_that_is_noted() -> None:
    injector, seen = Injector(), list[dict[str, str]]()
    service = service_of(injector)
    assert {row["state"] for row in service._links()} == {"up"}
    watcher = threading.Thread(target=lambda: seen.extend(service._links()))
    with injector.held():
        injector.state = desired_state(GRAPH, [make_action(parse_target(LINK))])
        watcher.start()
        watcher.join(0.05)
        assert seen == []
    watcher.join(20)
    assert [row["name"] for row in seen if row["state"] != "up"] == [LINK]
