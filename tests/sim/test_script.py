"""Scripts in virtual time: every step at exactly its moment, everything healed at the end."""

from __future__ import annotations

from typing import Any

from testbed.faults.actions import Action, make_action
from testbed.faults.script import After, At, Script, Step, When
from testbed.faults.targets import parse_target
from testbed.intent.topology import load_topology
from testbed.sim.jobs import JobResult, run_job
from topologies.graph import build_graph
from workloads.collectives.plan import plan_collective
from workloads.job import plan_write_bandwidth

TINY = build_graph(load_topology("tiny"))
CRASH = make_action(parse_target("switch:p0-t1-0"))
CRASH_ID = "switch:p0-t1-0#crash"


def fault(target: str, kind: str | None = None, ratio: float | None = None) -> Action:
    return make_action(parse_target(target), kind, ratio)


def played(script: Script, duration_ns: int = 300_000) -> JobResult:
    job = plan_write_bandwidth(TINY.spec, 0, 3, size=32768, qps=2, duration_ns=duration_ns)
    found = run_job(TINY, job, 1, script=script)
    assert found.conservation.unexplained == 0
    return found


def told(found: JobResult) -> list[tuple[Any, ...]]:
    return [(row["t_ns"], row["name"], row["what"], row["target"]) for row in found.actions
            if row["kind"] == "action"]


def test_every_step_at_its_moment() -> None:
    found = played((
        Step("crash", At(40_000), (CRASH,)),
        Step("loss", After("crash", 1_234), (fault("link:p1-t0-0:p1-t1-1", "loss", 0.3),)),
        Step("back", At(100_000), heals=(CRASH_ID,))))
    assert told(found)[:3] == [
        (40_000, "crash", "inject", CRASH_ID),
        (41_234, "loss", "inject", "link:p1-t0-0:p1-t1-1#loss"),
        (100_000, "back", "heal", CRASH_ID)]
    assert told(found)[3][1:] == ("end", "heal", "link:p1-t0-0:p1-t1-1#loss")
    assert all(row["late_ns"] in (0, None) for row in found.actions)
    assert not any(row["detail"] for row in found.actions), "all of them have bitten"
    assert sum(qp.requester.counters.resent for qp in found.contexts[0].endpoint.qps.values()
               if qp.requester) > 0


def test_what_is_due_before_the_start_is_there_from_the_first_packet() -> None:
    found = played((Step("bad", At(-1), (fault("switch:p0-t1-0", "blackhole"),)),), 60_000)
    assert told(found)[0] == (0, "bad", "inject", "switch:p0-t1-0#blackhole")
    first, = {qp.paths.entry(0).sent for qp in list(found.contexts[0].endpoint.qps.values())[:1]
              if qp.paths and qp.paths.entry(0)}
    assert first < 20


def test_several_faults_begin_in_one_instant() -> None:
    links = tuple(fault(f"nic:h0:p{plane}") for plane in range(1))
    found = played((Step("glitch", At(50_000), (*links, CRASH)),
                    Step("over", At(60_000), heals=("nic:h0:p0#down", CRASH_ID))))
    assert [row[0] for row in told(found)] == [50_000, 50_000, 60_000, 60_000]


def test_a_fault_nothing_met_has_no_evidence() -> None:
    """Nobody sends over the links of hosts that do not take part."""
    found = played((Step("idle", At(10_000), (fault("nic:h1:p0", "loss", 0.5),)),), 60_000)
    assert {row["detail"] for row in found.actions} == {"no evidence"}


def test_a_step_that_waits_for_the_ranks() -> None:
    job = plan_collective(TINY.spec, "allreduce", tuple(range(4)), sizes=(256 << 10,), iters=4,
                          warmup=1, seed=1)
    found = run_job(TINY, job, 1, script=(
        Step("crash", When("all ranks", "iteration", 2), (CRASH,)),
        Step("never", When("all ranks", "step", 2), (fault("nic:h0:p1"),))))
    rows = sorted(row["begun_ns"] for result in found.results.values()
                  for row in result["iterations"] if row["iteration"] == 2)
    ends = [row["ended_ns"] for result in found.results.values()
            for row in result["iterations"] if row["iteration"] == 2]
    crash = next(row for row in found.actions if row["name"] == "crash")
    assert crash["t_ns"] < max(ends)
    assert crash["t_ns"] > max(row["ended_ns"] for result in found.results.values()
                               for row in result["iterations"] if row["iteration"] == 0)
    assert rows
    undone = [row for row in found.actions if row["kind"] == "warning"]
    assert [row["name"] for row in undone] == ["never"]


def test_the_same_script_twice_is_the_same_run() -> None:
    script = (Step("crash", At(40_000), (CRASH,)), Step("back", At(90_000), heals=(CRASH_ID,)))
    first, second = played(script), played(script)
    assert list(first.actions) == list(second.actions)
    assert first.results == second.results
