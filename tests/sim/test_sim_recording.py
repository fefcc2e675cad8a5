"""Simulated runs that are recorded: nothing changes by it, and the rows balance."""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import Any

import pytest

from testbed.faults.actions import HostKill, make_action
from testbed.faults.targets import HostTarget, parse_target
from testbed.metrics.ports import Tally
from testbed.metrics.tables import TABLES, check_rows
from testbed.sim import jobs
from testbed.sim.jobs import JobResult, run_job
from testbed.sim.simulation import Simulation
from testbed.transport.mrc.endpoint import EvChanged
from topologies.graph import build_graph
from topologies.numbers import base_rtt_ns
from topologies.spec import ClosSpec
from workloads.job import plan_write_bandwidth

SPEC = ClosSpec("four", 4, 2, 2, 2, 100 * 10**9, 1000)
GRAPH = build_graph(SPEC)
SAMPLE_NS = 2 * base_rtt_ns(SPEC)
JOB = plan_write_bandwidth(SPEC, 0, 2, size=65_536, qps=2, iters=40, depth=8)
TROUBLE = (
    (30_000, make_action(parse_target("link:p1-t0-0:p1-t1-0"), "down", None)),
    (60_000, make_action(parse_target("ev:h0:h2:0x0201"), "loss", 0.2)),
)


@cache
def job(sample_ns: int | None = SAMPLE_NS, is_troubled: bool = True) -> JobResult:
    return run_job(GRAPH, JOB, 3, faults=TROUBLE if is_troubled else (), sample_ns=sample_ns)


def total(found: JobResult, table: str, column: str, **where: object) -> int:
    return sum(row[column] for row in found.tables[table]
               if all(row[key] == value for key, value in where.items()))


def test_recording_changes_nothing_of_the_run() -> None:
    plain, recorded = job(None), job()
    assert plain.tables == {}
    assert plain.ended_ns == recorded.ended_ns
    assert plain.results == recorded.results
    assert plain.conservation == recorded.conservation
    changes = [{host: [e for e in found.events[host] if isinstance(e, EvChanged)]
                for host in found.events} for found in (plain, recorded)]
    assert changes[0] == changes[1]


def test_the_same_seed_gives_the_same_rows() -> None:
    again = run_job(GRAPH, JOB, 3, faults=TROUBLE, sample_ns=SAMPLE_NS)
    assert again.tables == job().tables


def test_every_table_is_there_and_fits() -> None:
    assert job().tables.keys() == TABLES.keys()
    for name, rows in job().tables.items():
        check_rows(name, rows)
    assert {name for name, rows in job().tables.items() if rows} >= {
        "messages", "flows", "evs", "ev_samples", "losses", "probes", "ports", "events"}


def test_what_was_acknowledged_is_what_was_asked_for() -> None:
    assert total(job(), "flows", "acked_bytes") == 2 * 40 * 65_536
    assert len(job().tables["messages"]) == 2 * 40


def test_losses_add_up_by_cause() -> None:
    found = job()
    causes = Counter(row["cause"] for row in found.tables["losses"])
    assert sum(causes.values()) > 0
    for cause in ("nack", "evidence", "timer"):
        assert causes[cause] == total(found, "flows", f"lost_{cause}")
    assert sum(causes.values()) - causes["nack"] == total(found, "ev_samples", "lost")


def test_losses_and_changes_are_about_the_paths_that_were_broken() -> None:
    for table in ("losses", "evs"):
        rows = job().tables[table]
        paths = {(row["plane"], row["t1"]) for row in rows if row["t_ns"] >= 30_000
                 and row.get("cause") in ("evidence", "timer", "loss_inferred")}
        assert paths == {(1, 0), (2, 1)}


def test_ports_count_every_frame_that_passed_them() -> None:
    found = job(is_troubled=False)
    data_packets = sum(row["sent_packets"] for row in found.tables["flows"])
    t1_frames = total(found, "ports", "tx_frames", tier=1)
    assert t1_frames >= data_packets  # and answers, the other way
    assert total(found, "ports", "dropped_loss") == 0


def test_drops_at_ports_say_their_cause() -> None:
    assert total(job(), "ports", "dropped_ev") > 0
    rows = job().tables["ports"]
    assert {row["plane"] for row in rows if row["dropped_ev"]} == {2}


def test_the_last_look_at_ports_is_at_the_end() -> None:
    frames = sum(tally.frames for tally in port_frames(job()))
    assert total(job(), "ports", "tx_frames") == frames


def port_frames(found: JobResult) -> list[Tally]:
    """What passed the switch ports of a run like this one, by their own counters."""
    seen: list[Simulation] = []

    class Kept(Simulation):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            seen.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "Simulation", Kept)
        again = run_job(GRAPH, JOB, 3, faults=TROUBLE, sample_ns=SAMPLE_NS)
    assert again.ended_ns == found.ended_ns
    return [port.read().passed for port in seen[0].network.switch_ports.values()]


def test_ports_are_looked_at_every_fifth_sample() -> None:
    times = sorted({row["t_ns"] for row in job().tables["ports"]})
    assert all(at_ns % (5 * SAMPLE_NS) == 0 for at_ns in times[:-1])


def test_a_host_that_was_killed_leaves_the_rows_it_had() -> None:
    found = run_job(GRAPH, JOB, 3, faults=[(70_000, HostKill(HostTarget(0)))],
                    sample_ns=SAMPLE_NS)
    times = [row["t_ns"] for row in found.tables["flows"] if row["host"] == "h0"]
    assert times
    assert max(times) <= 70_000
