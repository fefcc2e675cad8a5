"""A program on an endpoint: what it is told, when, and that failures raise nothing."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import pytest
from unit.workloads.workload_rig import FAR, SPEC, Wires

from testbed.transport.driven import Driven
from testbed.transport.mrc.completion import Completion, WcStatus
from testbed.transport.mrc.endpoint import Endpoint
from testbed.transport.mrc.qp import QpFailed
from workloads.application import Application
from workloads.connections import Channel, HostSetup
from workloads.job import plan_write_bandwidth

JOB = plan_write_bandwidth(SPEC, 0, FAR, size=64, qps=2, iters=4, depth=4)
CALLS = [name for name in vars(Driven) if not name.startswith("_")]


class Script:
    """A program that notes what it is told, and does what a test says."""

    def __init__(self, setup: HostSetup) -> None:
        self.channels = setup.channels
        self.told: list[tuple[Any, ...]] = []
        self.timer_ns: int | None = None
        self.timer_step_ns: int | None = None
        self.posts_at_start = 0
        self.posts_again = 0
        self.is_done = False

    def start(self, now_ns: int) -> None:
        self.told.append(("start", now_ns))
        for number in range(self.posts_at_start):
            self.channels[number % 2].post_write(number, 0, 8, now_ns)

    def on_completion(self, channel: Channel, completion: Completion, now_ns: int) -> None:
        self.told.append((channel.connection, completion.wr_id, completion.status, now_ns))
        if self.posts_again:
            self.posts_again -= 1
            channel.post_write(100 + self.posts_again, 0, 8, now_ns)

    def next_timer_ns(self) -> int | None:
        return self.timer_ns

    def on_timer(self, now_ns: int) -> None:
        self.told.append(("timer", now_ns))
        self.timer_ns = None
        if self.timer_step_ns is not None:
            self.timer_ns = now_ns + self.timer_step_ns

    def stop(self, now_ns: int) -> None:
        self.told.append(("stop", now_ns))
        self.timer_ns = None

    def progress(self) -> dict[str, int]:
        return {"bytes_done": 0, "messages_done": 0}

    def result(self) -> dict[str, Any]:
        return {"channels": []}

    def verify(self, peers: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
        return {}


def scripted() -> tuple[Wires, Script, Application]:
    """Two hosts that run scripts; that of the first."""
    wires = Wires(JOB, lambda setup, program: Script(setup))
    app = wires.apps[0]
    assert isinstance(app.program, Script)
    return wires, app.program, app


@pytest.mark.parametrize("name", CALLS)
def test_endpoint_and_application_are_driven_alike(name: str) -> None:
    """Every call of the protocol, with as many positional arguments."""
    wanted = list(inspect.signature(getattr(Driven, name)).parameters)[1:]
    for driven in (wires_endpoint(), scripted()[2]):
        assert len(inspect.signature(getattr(driven, name)).parameters) == len(wanted)


def wires_endpoint() -> Endpoint:
    return scripted()[0].setups[0].context.endpoint


def test_completions_go_to_the_channel_they_are_of() -> None:
    wires, script, _ = scripted()
    script.posts_at_start = 3
    wires.start().run(100_000)
    assert script.told[0] == ("start", 0)
    # One way there and one back, for each.
    assert len(script.told) == 4
    assert set(script.told[1:]) == {
        (0, 0, WcStatus.SUCCESS, 4000), (1, 1, WcStatus.SUCCESS, 4000),
        (0, 2, WcStatus.SUCCESS, 4000),
    }  # fmt: skip
    assert [channel.outstanding for channel in script.channels.values()] == [0, 0]


def test_what_a_completion_posts_leaves_in_the_same_call() -> None:
    wires, script, _ = scripted()
    script.posts_at_start, script.posts_again = 1, 2
    wires.start().run(100_000)
    assert [row[-1] for row in script.told] == [0, 4000, 8000, 12_000]


def test_more_completions_than_a_batch_are_all_handed_over() -> None:
    job = plan_write_bandwidth(SPEC, 0, FAR, size=8, qps=2, iters=300, depth=300)
    wires = Wires(job, lambda setup, program: Script(setup))
    script = wires.apps[0].program
    assert isinstance(script, Script)
    script.posts_at_start = 600
    wires.start().run(10_000_000)
    for connection in (0, 1):
        seen = [row[1] for row in script.told[1:] if row[0] == connection]
        assert seen == list(range(connection, 600, 2))


def test_a_timer_is_a_deadline_and_comes_on_time() -> None:
    wires, script, app = scripted()
    wires.run(100_000)  # what the endpoints have to tell each other first
    script.timer_ns, script.timer_step_ns = 150_000, 50_000
    assert app.next_deadline() != 150_000  # nobody has asked the program yet
    app.start(100_000)
    assert app.next_deadline() == 150_000
    wires.run(300_000)
    assert script.told[1:] == [("timer", 150_000), ("timer", 200_000), ("timer", 250_000),
                               ("timer", 300_000)]  # fmt: skip
    app.stop(300_000)
    assert app.next_deadline() is None


def test_the_endpoints_deadline_is_not_put_off_by_a_later_timer() -> None:
    wires, script, app = scripted()
    script.posts_at_start = 1
    wires.lose = lambda now, host, datagram: True
    script.timer_ns = 10**9
    wires.start()
    endpoint = wires.setups[0].context.endpoint
    deadline_ns = endpoint.next_deadline()
    assert deadline_ns is not None
    assert app.next_deadline() == deadline_ns < 10**9
    app.on_deadline(deadline_ns)
    assert endpoint.next_deadline() != deadline_ns
    assert ("timer", deadline_ns) not in script.told


def test_a_timer_does_not_wake_the_endpoint_early(monkeypatch: pytest.MonkeyPatch) -> None:
    _, script, app = scripted()
    script.timer_ns = 10
    app.start(0)
    calls: list[int] = []
    monkeypatch.setattr(Endpoint, "on_deadline", lambda _, now_ns: calls.append(now_ns))
    app.on_deadline(10)
    assert ("timer", 10) in script.told
    assert calls == []


def test_a_qp_that_fails_is_told_and_remembered_and_raises_nothing() -> None:
    wires, script, app = scripted()
    script.posts_at_start = 4
    wires.lose = lambda now, host, datagram: True
    wires.start().run(50_000_000)
    statuses: dict[int, list[WcStatus]] = {0: [], 1: []}
    for connection, _, status, _ in script.told[1:]:
        statuses[connection].append(status)
    assert statuses == {n: [WcStatus.RETRY_EXCEEDED, WcStatus.FLUSHED] for n in (0, 1)}
    assert app.failures == {}
    events = app.poll_events()
    failed = [event for event in events if isinstance(event, QpFailed)]
    assert {event.qp_num for event in failed} == {c.qp.qp_num for c in script.channels.values()}
    assert app.failures == {n: script.channels[n].qp.failure for n in (0, 1)}
    assert app.poll_events() == []
    assert len(app.failures) == 2


def test_posting_on_a_failed_qp_completes_at_once() -> None:
    wires, script, app = scripted()
    qp = script.channels[0].qp
    wires.setups[0].context.endpoint.fail(qp, WcStatus.RETRY_EXCEEDED, "no answer", 0)
    script.posts_at_start, script.posts_again = 1, 3
    app.start(0)
    assert [row[2] for row in script.told[1:]] == [WcStatus.FLUSHED] * 4
    assert script.channels[0].outstanding == 0


def test_ports_that_change_reach_the_endpoint() -> None:
    wires, _, app = scripted()
    app.on_ports_changed(0b10, 5)
    assert wires.setups[0].context.endpoint.up_ports == 0b10


# --- Recording ---------------------------------------------------------------------------


def test_a_recorder_wakes_the_application_and_not_the_program() -> None:
    wires, script, app = scripted()
    rows: list[str] = []
    app.record(5_000, lambda table, _values: rows.append(table))
    wires.start()
    script.told.clear()
    assert app.next_deadline() is not None
    app.on_deadline(5_000)
    assert ("timer", 5_000) not in script.told
    script.timer_ns = 9_000
    app.on_deadline(9_000)
    assert script.told[-1] == ("timer", 9_000)


def test_events_reach_who_polls_although_they_are_recorded() -> None:
    wires, script, app = scripted()
    script.posts_at_start = 4
    app.record(2_000, lambda _table, _values: None)
    plain, plain_script, plain_app = scripted()
    plain_script.posts_at_start = 4
    for each in (wires, plain):
        each.start().run(until_ns=40_000)
    assert app.poll_events() == plain_app.poll_events() != []
    assert app.poll_events() == []


def test_after_the_end_nothing_is_sampled() -> None:
    wires, _, app = scripted()
    app.record(5_000, lambda _table, _values: None)
    wires.start()
    app.finish_recording(7_000)
    deadline_ns = app.next_deadline()
    assert deadline_ns is None or deadline_ns != 10_000
