"""A share of the EVs in use: data on the active ones, a spare where one of them fails."""

from __future__ import annotations

from testbed.faults.actions import make_action
from testbed.faults.script import At, Step
from testbed.faults.targets import parse_target
from testbed.intent.topology import load_topology
from testbed.sim.jobs import JobResult, run_job
from testbed.transport.mrc.ev.rotation import Entry
from topologies.ev import format_ev, make_ev
from topologies.graph import build_graph
from workloads.evshare import EvShare
from workloads.job import plan_write_bandwidth
from workloads.narrowing import with_evs

QUAD = build_graph(load_topology("quad"))
SPEC = QUAD.spec
FAR = 7
JOB = with_evs(
    plan_write_bandwidth(SPEC, 0, FAR, size=8_192, qps=2, iters=60, depth=16, seed=3),
    SPEC, EvShare(1, 1))  # fmt: skip
FIRST, SECOND = make_ev(1, 0), make_ev(1, 1)
DEATH = make_action(parse_target(f"ev:h0:h7:{format_ev(FIRST)}"), "loss")
DENIAL = make_action(DEATH.target, "deny")


def entries(result: JobResult) -> dict[int, list[Entry]]:
    """By EV, its entry in each queue pair of h0."""
    found: dict[int, list[Entry]] = {}
    for qp in result.contexts[0].endpoint.qps.values():
        assert qp.paths is not None
        for entry in qp.paths.entries():
            found.setdefault(entry.ev, []).append(entry)
    return found


def test_every_plane_has_its_first_uplink_active_and_its_second_spare() -> None:
    result = run_job(QUAD, JOB, 1)
    assert result.is_complete
    assert result.wrong_bytes == 0
    found = entries(result)
    assert sorted(found) == sorted(
        make_ev(plane, uplink) for plane in range(SPEC.planes) for uplink in (0, 1))
    for plane in range(SPEC.planes):
        assert all(entry.is_active and entry.sent for entry in found[make_ev(plane, 0)])
        assert not any(entry.is_active or entry.sent for entry in found[make_ev(plane, 1)])


def test_a_dead_ev_gives_its_place_to_the_spare_of_its_plane() -> None:
    result = run_job(QUAD, JOB, 1, faults=[(5_000, DEATH)])
    assert result.is_complete
    assert result.wrong_bytes == 0
    found = entries(result)
    assert not any(entry.is_active for entry in found[FIRST])
    assert all(entry.is_active and entry.sent for entry in found[SECOND])
    assert not any(entry.sent for entry in found[make_ev(0, 1)])


def test_a_denied_ev_gives_its_place_to_the_spare_without_a_loss() -> None:
    result = run_job(QUAD, JOB, 1, script=(Step("deny", At(5_000), (DENIAL,)),))
    assert result.is_complete
    found = entries(result)
    assert all(entry.is_active and entry.sent for entry in found[SECOND])
    assert sum(entry.lost for of_ev in found.values() for entry in of_ev) == 0
    healed = [row for row in result.actions if "queue pairs" in str(row)]
    assert "DENIED in 2 queue pairs" in str(healed)


def test_a_host_killed_in_mid_run_and_healed_is_a_new_one_without_its_program() -> None:
    kill = make_action(parse_target("host:h7"), "kill")
    cut = make_action(parse_target("nic:h0:p1"))
    script = (Step("kill", At(5_000), (kill, cut)),
              Step("heal", At(30_000), (DENIAL,), ("host:h7#kill", "nic:h0:p1#down")))
    result = run_job(QUAD, JOB, 1, script=script)
    assert not result.is_complete
    assert FAR not in result.results
    assert result.contexts[FAR].endpoint.qps == {}
    assert all(row["failure"] is not None for row in result.rows())
    assert result.conservation.unexplained == 0
