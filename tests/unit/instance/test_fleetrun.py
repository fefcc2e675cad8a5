"""One job on hosts that answer as told: what is asked in which order, and who is waited for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from unit.instance.run_fakes import SPEC, FakeAgent, FakeHosts, FakeTime

from testbed.agent.runs import RunOrder
from testbed.errors import TestbedError
from testbed.faults.actions import make_action
from testbed.faults.script import At, Step
from testbed.faults.targets import parse_target
from testbed.instance import fleetrun
from testbed.instance.fleetrun import FleetRun, Outcome, RunPlan
from workloads.collectives.plan import plan_collective
from workloads.job import plan_permutation

JOB = plan_permutation(SPEC, [(0, 2), (1, 2)], size=100, qps=1, iters=3)
PLAN = RunPlan(7, 42, 500, JOB, {2: 10, 4: 20}, drain_s=10.0, captures=Path("/tmp/x"),
               snap_bytes=99)


class Bench:
    """A run of h0 and h1 to h2, and what it told on the way."""

    def __init__(self, time: FakeTime) -> None:
        self.time = time
        self.hosts = FakeHosts(time, "h0", "h1", "h2", "h3")
        self.progress: list[Mapping[str, Any]] = []
        self.run = FleetRun(self.hosts, PLAN, self.progress.append)  # type: ignore[arg-type]
        for name, connection in (("h0", 0), ("h1", 1)):
            self.agent(name).channels = [
                {"connection": connection, "posted": 3, "of": name}]

    def agent(self, name: str) -> FakeAgent:
        return self.hosts.agents[name]

    def finish(self) -> Outcome:
        return self.run.run()


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    time = FakeTime()
    monkeypatch.setattr(fleetrun, "time", time)
    monkeypatch.setattr(fleetrun, "_POLL_S", 0)
    return Bench(time)


def test_from_prepare_to_release(bench: Bench) -> None:
    outcome = bench.finish()
    assert bench.hosts.methods() == [
        "prepare", "connect", "start", "progress", "stop", "progress", "results", "verify",
        "release"]
    assert all(set(params) == {"h0", "h1", "h2"} for _, params in bench.hosts.asked)
    assert (outcome.failures, outcome.is_settled, outcome.is_stopped) == ([], True, False)
    assert set(outcome.results) == {"h0", "h1", "h2"}
    assert outcome.wall_s == pytest.approx(0.02)


def test_every_host_is_given_its_part_of_the_plan(bench: Bench) -> None:
    bench.finish()
    given = bench.hosts.last("prepare")
    for index, name in ((0, "h0"), (2, "h2")):
        order = RunOrder.from_params(given[name])
        assert order == RunOrder(7, 42, 500, {2: 10, 4: 20}, JOB.hosts[index].ends,
                                 JOB.hosts[index].program, Path("/tmp/x"), 99)


def test_every_host_hears_what_its_peers_described(bench: Bench) -> None:
    bench.finish()
    given = bench.hosts.last("connect")
    assert given["h0"] == {"ends": [{"connection": 0, "of": "h2"}]}
    assert given["h2"] == {"ends": [{"connection": 0, "of": "h0"}, {"connection": 1, "of": "h1"}]}


def test_all_start_at_one_time_that_is_still_to_come(bench: Bench) -> None:
    outcome = bench.finish()
    given = bench.hosts.last("start")
    assert [params["zero_ns"] for params in given.values()] == [outcome.zero_ns] * 3
    # Two answers took 10 ms each; the lead is 200 ms and 10 ms a host.
    assert outcome.zero_ns == pytest.approx(1_000e9 + 0.02e9 + 0.23e9, abs=1000)


def test_progress_is_told_with_every_poll(bench: Bench) -> None:
    bench.agent("h2").polls_to_done = 4
    bench.finish()
    assert [told["h0"]["now_ns"] for told in bench.progress] == [1000, 2000, 3000, 4000]


# --- What cannot begin -------------------------------------------------------------------


@pytest.mark.parametrize("method", ["prepare", "connect", "start"])
def test_a_host_that_refuses_ends_it_and_all_are_released(bench: Bench, method: str) -> None:
    bench.agent("h1").refuses[method] = "host h1 refused: no room"
    with pytest.raises(TestbedError, match=r"^the run cannot begin: host h1 refused: no room$"):
        bench.finish()
    assert bench.hosts.methods()[-2:] == [method, "release"]
    assert set(bench.hosts.last("release")) == {"h0", "h1", "h2"}


def test_a_host_that_is_silent_at_the_beginning_ends_it(bench: Bench) -> None:
    bench.agent("h2").is_silent = True
    with pytest.raises(TestbedError, match="cannot begin: the agent of host h2 did not answer"):
        bench.finish()
    assert bench.hosts.methods() == ["prepare", "release"]


def test_hosts_are_released_whatever_happens(bench: Bench) -> None:
    def fail(_poll: int) -> None:
        raise RuntimeError("a defect")

    bench.agent("h0").on_poll = fail
    with pytest.raises(RuntimeError, match="a defect"):
        bench.finish()
    assert bench.hosts.methods()[-1] == "release"


# --- Hosts that fall silent --------------------------------------------------------------


def test_a_silent_host_is_waited_for_as_long_as_another_works(bench: Bench) -> None:
    bench.agent("h0").polls_to_done = 20
    bench.agent("h0").on_poll = lambda poll: setattr(bench.agent("h1"), "is_silent", poll < 15)
    outcome = bench.finish()
    assert bench.agent("h0").polls >= 20
    assert outcome.failures == []
    assert outcome.is_settled
    assert set(outcome.results) == {"h0", "h1", "h2"}


def test_when_all_others_are_done_a_silent_host_is_waited_for_a_little(bench: Bench) -> None:
    bench.agent("h0").on_poll = lambda poll: setattr(bench.agent("h2"), "is_silent", True)
    bench.hosts.states["h2"] = "is stopped"
    began_s = bench.time.now_s
    outcome = bench.finish()
    # Silent for more than 3 s at a second a poll.
    assert 3.0 < outcome.wall_s < 6.0
    assert outcome.failures == [
        "the agent of host h2 did not answer for 7 s: its process is stopped"]
    assert bench.time.now_s - began_s < 15, "nobody waits for a process that does not run"
    assert set(outcome.results) == set(outcome.verified) == {"h0", "h1"}
    assert outcome.is_settled  # of those that answer


def test_where_none_can_finish_without_it_a_silent_host_ends_the_run(bench: Bench) -> None:
    """After what its peers would try to reach it, whether they noticed or not."""
    job = plan_collective(SPEC, "allreduce", (0, 2, 1), sizes=[1_200])
    bench.run._plan = replace(PLAN, job=job)
    for name in ("h0", "h1"):
        bench.agent(name).polls_to_done = 1_000
        bench.agent(name).channels = []
        bench.agent(name).program = {"rank": 0, "loss": None}
    bench.agent("h0").on_poll = lambda poll: setattr(bench.agent("h2"), "is_silent", poll > 1)
    bench.hosts.states["h2"] = "is stopped"
    outcome = bench.finish()
    assert PLAN.drain_s < outcome.wall_s < PLAN.drain_s + 3
    assert outcome.failures == [
        "rank 1 (h2) was lost: the agent of host h2 did not answer for 14 s: its process is "
        "stopped"]
    assert "verify" in bench.hosts.methods()


def test_one_that_never_hears_of_a_lost_rank_is_not_waited_for(bench: Bench) -> None:
    """h0 is cut off from all others, and knows; h1 waits for what will never come."""
    bench.run._plan = replace(PLAN, job=plan_collective(SPEC, "allreduce", (0, 2, 1),
                                                        sizes=[1_200]))
    for rank, name in enumerate(("h0", "h2", "h1")):
        agent = bench.agent(name)
        agent.channels, agent.program = [], {"rank": rank, "loss": None}
    bench.agent("h1").polls_to_done = 10**6
    lost = {"rank": 1, "noticed_by": 0, "at_ns": 9, "reason": "no answer"}
    bench.agent("h0").lost_rank, bench.agent("h0").program["loss"] = 1, lost
    outcome = bench.finish()
    assert PLAN.drain_s < outcome.wall_s < PLAN.drain_s + 1
    assert len(outcome.failures) == 1
    assert set(outcome.results) == {"h0", "h1", "h2"}


def test_a_host_that_comes_back_in_time_is_only_told_of(bench: Bench) -> None:
    """It missed the last poll of the drain, and is there when results are collected."""
    late, other = bench.agent("h2"), bench.agent("h0")
    other.on_poll = lambda poll: setattr(late, "is_silent", True)
    ask = bench.hosts.ask

    def ask_and_wake(method: str, params: Mapping[str, Any], patience_s: float) -> Any:
        if method == "results":
            late.is_silent = False
        return ask(method, params, patience_s)

    bench.hosts.ask = ask_and_wake  # type: ignore[method-assign]
    outcome = bench.finish()
    (told,) = outcome.failures
    assert told.startswith("the agent of h2 did not answer for ")
    assert float(told.split()[-2]) > 3.0
    assert set(outcome.results) == {"h0", "h1", "h2"}


def test_a_host_that_was_silent_for_a_while_only_is_no_failure(bench: Bench) -> None:
    bench.agent("h0").polls_to_done = 8
    bench.agent("h0").on_poll = lambda poll: setattr(
        bench.agent("h2"), "is_silent", 2 <= poll < 5)
    assert bench.finish().failures == []


def test_a_dead_host_is_not_waited_for(bench: Bench) -> None:
    bench.agent("h0").on_poll = lambda poll: setattr(bench.agent("h1"), "is_alive", False)
    bench.hosts.states["h1"] = "has ended"
    outcome = bench.finish()
    assert outcome.wall_s < 1.0
    assert outcome.failures == [
        "the agent of host h1 was killed by a signal: its process has ended"]
    assert set(outcome.results) == {"h0", "h2"}


def test_a_host_that_the_script_kills_is_no_failure(bench: Bench) -> None:
    kill = make_action(parse_target("host:h1"), "kill")
    script = (Step("kill", At(10), (kill,)),)
    bench.run = FleetRun(bench.hosts, replace(PLAN, script=script),  # type: ignore[arg-type]
                         bench.progress.append)
    bench.agent("h0").on_poll = lambda poll: setattr(bench.agent("h1"), "is_alive", False)
    outcome = bench.finish()
    assert outcome.failures == []
    assert outcome.foretold == ["the agent of host h1 was killed by a signal"]


def test_all_dead_is_the_end(bench: Bench) -> None:
    def die(_poll: int) -> None:
        for agent in bench.hosts.agents.values():
            agent.is_alive = False

    bench.agent("h2").on_poll = die
    outcome = bench.finish()
    assert (outcome.results, outcome.verified, outcome.is_settled) == ({}, {}, False)
    assert sorted(outcome.failures) == [
        f"the agent of host {name} was killed by a signal" for name in ("h0", "h1", "h2")]
    assert bench.time.now_s - 1_000 < 1.0  # nobody is left to wait for


# --- The end -----------------------------------------------------------------------------


def test_stop_ends_it_early(bench: Bench) -> None:
    bench.agent("h0").polls_to_done = 1_000
    bench.agent("h0").on_poll = lambda poll: bench.run.stop() if poll == 3 else None
    outcome = bench.finish()
    assert (outcome.is_stopped, outcome.is_settled) == (True, True)
    assert len(bench.progress) == 3
    assert "stop" in bench.hosts.methods()
    assert bench.hosts.methods()[-3:] == ["results", "verify", "release"]


def test_stop_before_the_run_ends_it_as_soon_as_it_has_begun(bench: Bench) -> None:
    bench.run.stop()
    outcome = bench.finish()
    assert outcome.is_stopped
    assert len(bench.progress) == 1


def test_what_is_under_way_is_waited_for(bench: Bench) -> None:
    bench.agent("h2").polls_to_settled = 5
    assert bench.finish().is_settled
    assert bench.agent("h2").polls == 7
    assert len(bench.progress) == 2


def test_but_not_for_ever(bench: Bench) -> None:
    bench.agent("h2").polls_to_settled = 10**6
    bench.run._plan = replace(PLAN, drain_s=3.0)
    began_s = bench.time.now_s
    outcome = bench.finish()
    assert not outcome.is_settled
    assert outcome.failures == [
        "what was under way at the end was not acknowledged within 3 s"]
    assert 3.0 < bench.time.now_s - began_s < 3.5
    assert set(outcome.results) == {"h0", "h1", "h2"}


# --- Verification ------------------------------------------------------------------------


def test_every_host_compares_with_what_its_peers_say_they_wrote(bench: Bench) -> None:
    outcome = bench.finish()
    given = bench.hosts.last("verify")
    assert given == {
        "h0": {"peers": []}, "h1": {"peers": []},
        "h2": {"peers": [{"connection": 0, "posted": 3, "of": "h0"},
                         {"connection": 1, "posted": 3, "of": "h1"}]}}
    checked = {name: found["checked_bytes"] for name, found in outcome.verified.items()}
    assert checked == {"h0": 0, "h1": 0, "h2": 20}


def test_what_a_silent_writer_wrote_is_not_verified(bench: Bench) -> None:
    bench.agent("h0").on_poll = lambda poll: setattr(bench.agent("h1"), "is_alive", False)
    outcome = bench.finish()
    assert set(bench.hosts.last("verify")) == {"h0", "h2"}
    assert [row["of"] for row in bench.hosts.last("verify")["h2"]["peers"]] == ["h0"]
    assert outcome.verified["h2"]["checked_bytes"] == 10


def test_a_host_that_cannot_verify_is_a_failure(bench: Bench) -> None:
    bench.agent("h2").refuses["verify"] = "host h2: connection 0 is unknown"
    outcome = bench.finish()
    assert outcome.failures == ["nothing was verified on h2: host h2: connection 0 is unknown"]
    assert set(outcome.verified) == {"h0", "h1"}
    assert set(outcome.results) == {"h0", "h1", "h2"}


def test_a_host_that_dies_while_it_verifies_is_told_with_its_state(bench: Bench) -> None:
    ask = bench.hosts.ask

    def ask_and_kill(method: str, params: Mapping[str, Any], patience_s: float) -> Any:
        if method == "verify":
            bench.agent("h2").is_alive = False
            bench.hosts.states["h2"] = "has ended"
        return ask(method, params, patience_s)

    bench.hosts.ask = ask_and_kill  # type: ignore[method-assign]
    assert bench.finish().failures == [
        "nothing was verified on h2: the agent of host h2 was killed by a signal: "
        "its process has ended"]
