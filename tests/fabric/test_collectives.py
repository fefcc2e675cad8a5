"""Collectives and training on the emulated fabric: exact results, and a lost rank is named."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from testbed_process import Running, expected_code, require_right

from testbed.analysis.tables import from_parquet
from testbed.faults.actions import make_action
from testbed.faults.script import Step, When
from testbed.faults.targets import parse_target
from testbed.instance.runs import RETRY_BUDGET_NS
from testbed.intent.options import RawRequest
from testbed.intent.workload import resolve
from testbed.sim.jobs import run_job
from topologies.graph import build_graph
from topologies.numbers import base_rtt_ns
from workloads.collectives.plan import plan_collective
from workloads.collectives.summary import iteration_rows, size_rows
from workloads.job import Job

pytestmark = pytest.mark.root

TDF = "10000"
RANKS = 4


def require_exact(result: dict[str, Any]) -> None:
    """Every iteration of every size completed, and every element is right."""
    require_right(result)
    assert [row["wrong"] for row in result["sizes"]] == [0] * len(result["sizes"])
    assert all(row["iters"] > 0 for row in result["sizes"])


def slow_job(instance: Running, **changes: Any) -> Job:
    """An all-reduce that takes some seconds of wall clock at TDF 20,000."""
    keys = {"sizes": [1 << 20], "iters": 4, "seed": 3, **changes}
    return plan_collective(instance.graph().spec, "allreduce", range(RANKS), **keys)


@pytest.mark.parametrize("operation", ["allreduce", "alltoall", "broadcast"])
def test_a_collective_ends_with_exact_results_and_a_table(
    healthy: Running, tmp_path: Path, operation: str
) -> None:
    code, result = healthy.run(operation, "--sizes", "64K,256K", "--iters", "2", "--tdf", TDF,
                               out=tmp_path)
    assert code == expected_code(result)
    require_exact(result)
    assert [row["size_bytes"] for row in result["sizes"]] == [65_536, 262_144]
    rows = from_parquet((Path(result["folder"]) / "tables" / "collectives.parquet").read_bytes())
    assert len(rows) == RANKS * 2 * (2 + 1)  # with a warm-up
    assert set(rows.op) == {operation}
    assert rows.verified.all()
    assert (rows.t_end_ns > rows.t_start_ns).all()


def test_it_takes_as_long_as_in_the_simulator(healthy: Running, tmp_path: Path) -> None:
    job = slow_job(healthy, iters=2)
    result = healthy.job_until_trusted(job, 20_000, tmp_path)
    require_exact(result)
    simulated = run_job(build_graph(healthy.graph().spec), job, 1)
    (expected,) = size_rows(job.parameters, iteration_rows(simulated.results.values()))
    assert result["sizes"][0]["time_ns"] == pytest.approx(expected["time_ns"], rel=0.03)


def test_a_t1_crashes_in_the_middle(healthy: Running, tmp_path: Path) -> None:
    """Of an iteration, and the time that costs is reported; the result is exact."""
    spec = healthy.graph().spec
    texts = {"sizes": "1M", "iters": "4", "warmup": "0", "seed": "3"}
    request = resolve(RawRequest(workload="allreduce", texts=texts, tdf="20000"), spec)
    crash = Step("crash", When("all ranks", "iteration", 1, base_rtt_ns(spec)),
                 (make_action(parse_target("switch:p0-t1-0"), "crash"),))
    number = healthy.call("run_start", request=request.to_document(), folder=str(tmp_path),
                          script=[crash.to_params()], uid=os.getuid(), gid=os.getgid())
    result = healthy.finish(number)
    require_exact(result)
    assert result["evs_out"]
    (row,) = result["sizes"]
    assert row["slowest_ns"] > row["median_ns"]
    assert row["lost_ns"] > 0
    (begun,) = [found for found in result["actions"] if found["what"] == "inject"]
    rows = from_parquet((Path(result["folder"]) / "tables" / "collectives.parquet").read_bytes())
    assert ((rows.t_start_ns <= begun["t_ns"]) & (begun["t_ns"] <= rows.t_end_ns)).any()


def test_a_killed_agent_ends_it_on_all_ranks(healthy: Running, tmp_path: Path) -> None:
    """Its peers notice within their retry budget, and one sentence names the rank."""
    number = healthy.begin(slow_job(healthy, iters=50), 5_000, tmp_path)
    healthy.wait_until_running(number, 0.01)
    healthy.call("fail", target="host:h2", kind="kill")
    began_s = time.monotonic()
    result = healthy.finish(number)
    assert time.monotonic() - began_s < 2 * RETRY_BUDGET_NS * 5_000 / 1e9 + 5
    assert result["verdict"]["word"] == "invalid"
    assert len(result["failures"]) == 1, result["failures"]
    assert result["failures"][0].startswith("rank 2 (h2) was lost")
    assert result["loss"]["host"] == "h2"
    healthy.call("heal", target="host:h2")


def test_a_training_job_reports_its_steps(healthy: Running, tmp_path: Path) -> None:
    code, result = healthy.run(
        "train", "--steps", "3", "--gradients", "256K", "--buckets", "2", "--compute", "100us",
        "--pipeline", "16K", "--experts", "16K", "--tdf", TDF, out=tmp_path)
    assert code == expected_code(result)
    require_right(result)
    assert [row["wrong"] for row in result["steps"]] == [0, 0, 0]
    assert all(row["time_ns"] >= row["compute_ns"] for row in result["steps"])
    assert result["training"]["steps_per_s"] > 0
    rows = from_parquet((Path(result["folder"]) / "tables" / "steps.parquet").read_bytes())
    assert len(rows) == 3 * RANKS


def test_a_stored_spec_repeats_its_run(healthy: Running, tmp_path: Path) -> None:
    _, first = healthy.run("allgather", "--sizes", "128K", "--iters", "1", "--hosts", "h3,h0,h2",
                           "--tdf", TDF, "--seed", "11", out=tmp_path)
    _, again = healthy.run(str(Path(first["folder"]) / "spec.yaml"), out=tmp_path)
    require_exact(again)
    assert again["ranks"] == first["ranks"] == ["h3", "h0", "h2"]
    assert again["parameters"] == first["parameters"]
    assert again["tdf"] == first["tdf"]


def test_incast_with_a_victim(healthy: Running, tmp_path: Path) -> None:
    code, result = healthy.run("incast", "h3", "--senders", "h1", "--victim", "h0:h2",
                               "--duration", "300us", "--tdf", TDF, out=tmp_path)
    assert code == expected_code(result)
    assert {(row["src"], row["dst"]) for row in result["streams"]} == {("h1", "h3"), ("h0", "h2")}


def test_an_interrupted_collective_ends_at_once(healthy: Running, tmp_path: Path) -> None:
    number = healthy.begin(slow_job(healthy, iters=50), 20_000, tmp_path)
    healthy.wait_until_running(number)
    healthy.call("run_stop", number=number)
    result = healthy.finish(number)
    assert result["is_stopped"]
    assert json.loads((Path(result["folder"]) / "manifest.json").read_text())["state"] == "partial"
