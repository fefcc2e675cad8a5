"""MRC on the emulated fabric: bytes arrive whatever happens to the network, and books balance."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from testbed_process import Running, eventually, expected_code
from unit.tools.dissector_rig import decode

from testbed.metrics.tables import TABLES
from testbed.sim.jobs import run_job
from testbed.transport.mrc.wire.codes import WRITE_OPCODES
from topologies.graph import build_graph
from topologies.spec import ClosSpec
from workloads.job import Job, plan_permutation, plan_write_bandwidth, plan_write_latency
from workloads.write_latency import half_latency

pytestmark = pytest.mark.root

SIZE = 32_768
TDF = 5_000
SLOW_TDF = 20_000  # for figures: as slow as it takes to be trusted on a slow machine
MESSAGES, QPS = 60, 4
KEPT_BYTES = MESSAGES * QPS * SIZE


def spec_of(instance: Running) -> ClosSpec:
    return instance.graph().spec


def kept(instance: Running, src: int = 0, dst: int = 3) -> Job:
    """Writes of which every byte is kept and compared."""
    return plan_write_bandwidth(spec_of(instance), src, dst, size=SIZE, qps=QPS, iters=MESSAGES,
                                depth=32, seed=7, is_every_message_kept=True)


def require_whole(result: dict[str, Any], checked_bytes: int = KEPT_BYTES) -> None:
    """Everything arrived, nothing else did, and no frame is missing from the balance."""
    assert result["failures"] == []
    assert result["verified"]["checked_bytes"] == checked_bytes
    assert result["verified"]["wrong_bytes"] == 0
    balance = {row["quantity"]: row for row in result["fidelity"]
               if row["quantity"] in ("unexplained loss", "kernel drops")}
    assert [row["word"] for row in balance.values()] == ["trusted"] * 2, balance


def with_fault(instance: Running, job: Job, out: Path, *faults: dict[str, Any],
               tdf: int = TDF) -> dict[str, Any]:
    """Run a job and inject faults when a part of it is over; they are healed afterwards."""
    number = instance.begin(job, tdf, out)
    instance.wait_until_running(number, 0.15)
    for fault in faults:
        instance.call("fail", **fault)
    result = instance.finish(number)
    told = instance.call("heal")
    assert len(told) == len(faults)
    return {**result, "told": told}


def total(result: dict[str, Any], name: str) -> int:
    return sum(host[name] for host in result["hosts"].values())


# --- What users run ----------------------------------------------------------------------


def test_write_bw_ends_with_a_table_a_verdict_and_a_folder(
    healthy: Running, tmp_path: Path
) -> None:
    code, result = healthy.run("write-bw", "h0", "h3", "--iters", "50", "--depth", "16",
                               "--tdf", str(TDF), "--verify", out=tmp_path)
    assert code == expected_code(result)
    require_whole(result, 4 * 50 * SIZE)
    folder = Path(result["folder"])
    names = {path.name for path in folder.iterdir()}
    assert names == {"COMPLETE", "events.jsonl", "fidelity.json", "manifest.json", "result.json",
                     "spec.yaml", "tables"}
    assert {path.stem for path in (folder / "tables").iterdir()} == set(TABLES)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["state"], manifest["tdf"]) == ("complete", TDF)
    assert manifest["verdict"] == result["verdict"]


def test_a_run_is_as_fast_as_the_simulator_says(healthy: Running, tmp_path: Path) -> None:
    """Within 2 %, over enough messages that a few more or fewer do not make it."""
    job = plan_write_bandwidth(spec_of(healthy), 0, 3, size=SIZE, qps=QPS,
                               duration_ns=300_000, depth=32, seed=1)
    result = healthy.job_until_trusted(job, SLOW_TDF, tmp_path)
    simulated = run_job(build_graph(spec_of(healthy)), job, 1)
    assert average(result["streams"]) == pytest.approx(
        average(simulated.results[0]["channels"]), rel=0.02)


def average(streams: list[dict[str, Any]]) -> float:
    return sum(row["average_bps"] for row in streams)


@pytest.mark.parametrize(("dst", "size"), [(1, 2), (3, 2), (3, 4096)])
def test_latency_is_the_simulators(
    healthy: Running, tmp_path: Path, dst: int, size: int
) -> None:
    """A full frame also takes its time to leave every switch, with nothing in its way."""
    result = healthy.run_until_trusted(
        "write-lat", "h0", f"h{dst}", "--iters", "30", "--size", str(size), tdf=10_000,
        out=tmp_path)
    job = plan_write_latency(spec_of(healthy), 0, dst, size=size, iters=30, seed=1)
    simulated = run_job(build_graph(spec_of(healthy)), job, 1)
    typical_ns = half_latency(simulated.results[0]["latency_ns"]).typical
    assert half_latency(result["latency_ns"]).typical == pytest.approx(typical_ns, rel=0.05)


def test_a_latency_run_is_slow_enough_for_one(healthy: Running, tmp_path: Path) -> None:
    _, result = healthy.run("write-lat", "h0", "h3", "--iters", "2", out=tmp_path)
    assert result["tdf"] == 10_000


# --- Faults on the way -------------------------------------------------------------------


def test_an_uplink_fails(healthy: Running, tmp_path: Path) -> None:
    result = with_fault(healthy, kept(healthy), tmp_path, {"target": "link:p0-t0-0:p0-t1-1"})
    require_whole(result)
    assert total(result, "resent") > 0
    assert {row["ev"] for row in result["evs_out"]} == {"0x0001"}


def test_a_t1_crashes(healthy: Running, tmp_path: Path) -> None:
    result = with_fault(healthy, kept(healthy), tmp_path, {"target": "switch:p1-t1-0"})
    require_whole(result)
    assert {row["ev"] for row in result["evs_out"]} == {"0x0100"}


def test_a_nic_port_fails(healthy: Running, tmp_path: Path) -> None:
    result = with_fault(healthy, kept(healthy), tmp_path, {"target": "nic:h3:p1"})
    require_whole(result)
    assert any(event["event"] == "peer ports" for event in result["events"])


def test_one_percent_is_lost_everywhere(healthy: Running, tmp_path: Path) -> None:
    faults = [{"target": f"plane:{plane}", "kind": "loss", "ratio": "1%"} for plane in (0, 1)]
    result = with_fault(healthy, kept(healthy), tmp_path, *faults)
    require_whole(result)
    assert total(result, "resent") > 0


def test_corruption_is_found_and_repaired(healthy: Running, tmp_path: Path) -> None:
    """The iCRC drops it, retransmission repairs it, nothing wrong is ever delivered."""
    fault = {"target": "port:p0-t1-1:p0-t0-1", "kind": "corrupt", "ratio": "5%"}
    result = with_fault(healthy, kept(healthy), tmp_path, fault)
    require_whole(result)
    assert total(result, "icrc_errors") > 0
    assert total(result, "resent") > 0


def test_incast_is_trimmed_and_arrives(healthy: Running, tmp_path: Path) -> None:
    """Three hosts write to one: its ports trim, NACKs ask again, every byte arrives."""
    job = plan_permutation(spec_of(healthy), [(0, 3), (1, 3), (2, 3)], size=SIZE, qps=2,
                           iters=40, depth=40, seed=3)
    before = healthy.call("ports", account="trimmed")
    result = healthy.finish(healthy.begin(job, TDF, tmp_path))
    after = healthy.call("ports", account="trimmed")
    require_whole(result, 3 * 2 * 40 * SIZE)
    trimmed = sum(after.values()) - sum(before.values())
    assert trimmed > 0
    nacked = sum(host["resent_by"]["nack"] for host in result["hosts"].values())
    assert nacked == trimmed


# --- What happens to hosts ---------------------------------------------------------------


def test_a_port_taken_down_by_hand_is_noticed_and_survived(
    healthy: Running, tmp_path: Path
) -> None:
    """`ip link` inside the host, not through our API; the books leave that link out."""
    pid = healthy.call("node", name="h3")["pid"]
    number = healthy.begin(kept(healthy), TDF, tmp_path)
    healthy.wait_until_running(number, 0.15)
    link = ["nsenter", "-t", str(pid), "-n", "ip", "link", "set", "h3-eth1"]
    subprocess.run([*link, "down"], check=True)
    try:
        result = healthy.finish(number)
    finally:
        subprocess.run([*link, "up"], check=True)
    require_whole(result)
    told = [event for event in result["events"] if event["event"] == "peer ports"]
    assert told[-1]["up_ports"] == 0b01
    eventually(lambda: healthy.call("status")["paths_ok"] == 40)


def test_a_run_begins_on_a_fabric_that_is_broken(healthy: Running, tmp_path: Path) -> None:
    """How long frames take through it cannot be measured then: it is known from before."""
    healthy.call("fail", target="nic:h0:p0")
    try:
        result = healthy.finish(healthy.begin(kept(healthy), TDF, tmp_path))
    finally:
        healthy.call("heal")
    require_whole(result)
    quantities = {row["quantity"] for row in result["fidelity"]}
    assert "lateness p99" in quantities
    assert "transit drift" not in quantities


def test_a_stopped_host_fails_its_peers_queue_pairs_and_the_run_says_so(
    healthy: Running, tmp_path: Path
) -> None:
    """Stopped for longer than the retry budget of 1.4 ms emulated: 3 s on the wall clock."""
    number = healthy.begin(kept(healthy), 2_000, tmp_path)
    healthy.wait_until_running(number, 0.15)
    healthy.call("fail", target="host:h3")
    result = healthy.finish(number)
    healthy.call("heal")
    text = "\n".join(result["failures"])
    assert "of h0 to h3 failed" in text
    assert "no answer from its peer within the retry budget" in text
    assert "h3" in text
    assert "is stopped" in text
    assert result["verdict"]["word"] == "invalid"
    assert {row["failure"]["status"] for row in result["streams"]} == {"retry exceeded"}


def test_a_killed_agent_ends_the_run(healthy: Running, tmp_path: Path) -> None:
    number = healthy.begin(kept(healthy), 2_000, tmp_path)
    healthy.wait_until_running(number, 0.15)
    healthy.call("fail", target="host:h3", kind="kill")
    result = healthy.finish(number)
    healthy.call("heal")
    assert any("h3" in sentence and "killed" in sentence for sentence in result["failures"])
    after = healthy.finish(healthy.begin(kept(healthy), TDF, tmp_path))
    require_whole(after)


# --- What is seen meanwhile --------------------------------------------------------------


def test_status_and_paths_show_a_run(healthy: Running, tmp_path: Path) -> None:
    job = plan_write_bandwidth(spec_of(healthy), 0, 3, size=SIZE, qps=QPS, duration_ns=2_000_000,
                               depth=32, seed=1)
    number = healthy.begin(job, TDF, tmp_path)
    healthy.wait_until_running(number, 0.1)
    healthy.call("fail", target="link:p0-t0-0:p0-t1-0")

    def is_left() -> bool:
        rows = healthy.call("paths", src=0, dst=3)
        return rows[0]["evs"] is not None and rows[0]["evs"]["states"].get("assumed_bad") == QPS

    def is_good() -> bool:  # a marked packet makes an EV skip its turn now and then
        row = healthy.call("paths", src=0, dst=3)[1]
        return (row["state"], row["evs"]["states"]) == ("ok", {"good": QPS})

    eventually(is_left, 20)
    eventually(is_good, 20)
    assert healthy.call("status")["tdf"] == TDF

    def is_told() -> bool:
        rows = {row["host"]: row for row in healthy.call("status")["run"]["hosts"]}
        return rows["h0"]["goodput_bps"] > 0 and rows["h0"]["active_evs"] == [QPS, 2 * QPS]

    eventually(is_told, 20)
    text = healthy.command("status").stdout
    assert "not probed while a run is under way" in text
    assert "ACTIVE EVS BY PLANE" in text
    busy = healthy.command("run", "write-bw", "h0", "h1", "--out", str(tmp_path))
    assert (busy.returncode, "busy with run" in busy.stderr) == (4, True)
    healthy.call("heal")
    healthy.call("run_stop", number=number)
    assert healthy.finish(number)["is_stopped"]


def test_an_agent_at_rest_is_small_again_after_runs(healthy: Running, tmp_path: Path) -> None:
    """What a run took is given back; libraries it has loaded stay, shared by all agents (so
    they count once). `test_agents_are_small` has an agent that has run nothing."""
    require_whole(healthy.finish(healthy.begin(kept(healthy), TDF, tmp_path)))
    for agent in healthy.call("status")["agents"]:
        memory = Path(f"/proc/{agent['pid']}/smaps_rollup").read_text()
        share_kb = int(memory.split("Pss:")[1].split()[0])
        assert share_kb < 40_000, agent


def test_a_capture_has_every_write_and_its_headers(healthy: Running, tmp_path: Path) -> None:
    code, result = healthy.run("write-bw", "h0", "h3", "--iters", "10", "--qps", "1", "--tdf",
                               str(TDF), "--pcap", out=tmp_path)
    assert code == expected_code(result)
    assert result["failures"] == []
    folder = Path(result["folder"], "pcap")
    assert {path.name for path in folder.iterdir()} == {
        f"h{host}-eth{plane}.pcap" for host in (0, 3) for plane in (0, 1)}
    for host in (0, 3):  # what one has sent the other has received
        psns: list[int] = []
        states: list[str] = []
        for plane in (0, 1):
            rows = decode(folder / f"h{host}-eth{plane}.pcap",
                          ["mrc.bth.opcode", "mrc.bth.psn", "mrc.ev.plane", "mrc.cc.rcvd_bytes"])
            here = [row for row in rows if int(row[0], 0) in WRITE_OPCODES]
            assert {int(row[2], 0) for row in here} == {plane}
            psns += [int(row[1], 0) for row in here]
            states += [row[3] for row in rows if row[3]]
        assert sorted(psns) == list(range(min(psns), min(psns) + 10 * 8))
        assert states, "answers carry the state of congestion control"


def test_ports_and_agents_follow_the_dilation_of_a_run(healthy: Running, tmp_path: Path) -> None:
    """In place: the queues stay, the rates are those of the run, and it drains at them."""
    for tdf in (5_000, 20_000):
        job = plan_write_bandwidth(spec_of(healthy), 0, 3, size=SIZE, qps=1, iters=20, depth=20)
        before = healthy.call("status")["uptime_s"]
        result = healthy.finish(healthy.begin(job, tdf, tmp_path))
        require_whole(result, 20 * SIZE)
        assert healthy.call("status")["tdf"] == tdf
        emulated_us = max(row["last_done_ns"] for row in result["streams"]) / 1000
        wall_s = healthy.call("status")["uptime_s"] - before
        assert wall_s >= emulated_us * tdf / 1e6
    assert healthy.call("status")["problems"] == []
