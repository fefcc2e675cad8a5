"""Drills on the fabric: played as written, and everything healed however they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from testbed_process import CHECKOUT, Running, eventually, testbed

from testbed.analysis import load
from testbed.instance.client import Control
from testbed.instance.teardown import known_instances

pytestmark = pytest.mark.root

DRILL = """\
drill: mine
title: A T1 switch dies and returns, and a link loses
paper: none
about: Short, for tests.
topology: tiny
workload: {workload: write-bw, src: h0, dst: h2, qps: 2, duration: 100rtt, depth: 16}
tdf: 10000
packets: 30000
takes: {fabric: 20s, sim: 1s}
timeline:
  - {name: crash, at: 30rtt, fail: switch:p0-t1-1}
  - {name: lossy, after: crash + 5rtt, loss: link:p1-t0-0:p1-t1-0, ratio: 30%}
  - {name: back, at: 60rtt, heal: crash}
windows: {before: 10rtt .. crash, broken: crash + 8rtt .. back}
checks:
  - {name: steady, steady: true, measure: goodput, in: before, expect: ">= 80 %", of: nominal}
  - {name: stays, measure: goodput, in: broken, expect: ">= 75 %", of: before}
  - {name: left, measure: recovery_ev_out, step: crash, expect: "<= 30 rtt"}
figure: goodput
"""
MANY = 3


@pytest.fixture(scope="module", name="one")
def _one(bring_up: Callable[..., Running]) -> Running:
    """`tiny` once: how a drill ends does not depend on the data plane."""
    return bring_up("tiny", "--dataplane", "linux")


@pytest.fixture(name="drill")
def _drill(tmp_path: Path) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(DRILL)
    return str(path)


def folder_in(out: Path) -> Path:
    (folder,) = [path for path in out.iterdir() if path.is_dir() and path.name != "latest"]
    return folder


def begin(drill: str, out: Path, name: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "testbed", "drill", "run", drill, "--name", name, "--out", str(out)],
        cwd=CHECKOUT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_until_broken(name: str) -> dict[str, Any]:
    """Until a fault of the drill is in force, and noted; the status then."""
    found: dict[str, Any] = {}

    def is_broken() -> bool:
        if name not in known_instances():
            return False
        try:
            with Control(name) as control:
                found.update(control.call("status"))
        except Exception:
            return False  # it is still coming up
        steps = (found["run"] or {"script": []})["script"]
        return bool(found["faults"]) and any(step["done_ns"] is not None for step in steps)

    eventually(is_broken, 60)
    return found


def test_a_drill_is_played_as_written(healthy: Running, drill: str, tmp_path: Path) -> None:
    for attempt in range(MANY):  # a machine that is busy for a moment makes it inconclusive
        out = str(tmp_path / str(attempt))
        done = healthy.command("drill", "run", drill, "--json", "--out", out)
        (told,) = json.loads(done.stdout)
        if told["word"] != "INCONCLUSIVE":
            break
    assert (done.returncode, told["word"], told["healed"]) == (0, "PASS", True), told["reasons"]
    assert healthy.call("status")["faults"] == []
    run = load(told["folder"])
    actions = [(str(row["name"]), str(row["what"])) for _, row in run.actions.iterrows()]
    assert actions == [("crash", "inject"), ("lossy", "inject"), ("back", "heal"), ("end", "heal")]
    assert not any(run.actions["detail"]), "every fault has bitten"
    assert (run.actions["late_ns"].dropna() <= run.base_rtt_ns).all()
    for table in ("messages", "flows", "evs", "ev_samples", "losses", "probes", "ports",
                  "fidelity"):
        assert len(getattr(run, table)), table
    dropped = run.ports.groupby("switch")["dropped_blackhole"].sum()
    assert dropped["p0-t1-1"] + dropped["p0-t0-0"] > 0
    assert run.losses["cause"].isin(["nack", "evidence", "timer"]).all()
    assert (Path(told["folder"]) / "report.html").stat().st_size > 50_000


def test_ctrl_c_heals_everything(one: Running, drill: str, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    client = begin(drill, out, one.name)
    wait_until_broken(one.name)
    client.send_signal(signal.SIGINT)
    _, said = client.communicate(timeout=90)
    assert client.returncode == 130
    assert "Traceback" not in said
    assert one.call("status")["faults"] == []
    run = load(folder_in(out))
    assert run.is_partial
    assert len(run.flows)
    assert "crash" in set(run.actions["name"])


def test_a_killed_agent_is_told_and_all_is_healed(
    one: Running, drill: str, tmp_path: Path
) -> None:
    out = tmp_path / "runs"
    client = begin(drill, out, one.name)
    status = wait_until_broken(one.name)
    pid = next(agent["pid"] for agent in status["agents"] if agent["host"] == "h2")
    os.kill(pid, signal.SIGKILL)
    text, said = client.communicate(timeout=120)
    assert client.returncode == 1, said
    assert text.startswith("INCONCLUSIVE")
    assert "h2" in text
    assert one.call("status")["faults"] == []
    run = load(folder_in(out))
    assert len(run.flows[run.flows["host"] == "h0"])
    assert one.command("heal", "host:h2").returncode == 0


@pytest.fixture(name="own")
def _own(name: str) -> str:
    """The name of an instance that a drill brings up for itself."""
    return name


def test_an_instance_that_dies_in_mid_drill_leaves_rows_and_nothing_else(
    own: str, drill: str, tmp_path: Path
) -> None:
    out = tmp_path / "runs"
    client = begin(drill, out, own)
    status = wait_until_broken(own)
    os.kill(status["pids"]["instance"], signal.SIGKILL)
    _, said = client.communicate(timeout=90)
    assert client.returncode in (4, 5), said
    assert f"instance '{own}'" in said
    assert "Traceback" not in said
    assert own not in known_instances()
    folder = folder_in(out)
    assert json.loads((folder / "manifest.json").read_text())["state"] == "partial"
    run = load(folder)
    assert run.is_partial
    assert "crash" in set(run.actions["name"])


@pytest.fixture(name="small_disk")
def _small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with room for the beginning of a run, not for its tables."""
    place = tmp_path / "full"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48k", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_told_and_everything_goes_down(
    own: str, drill: str, small_disk: Path
) -> None:
    client = begin(drill, small_disk / "runs", own)
    text, said = client.communicate(timeout=120)
    assert client.returncode == 5
    assert "free some space" in text + said
    assert "Traceback" not in said
    assert own not in known_instances()
    folder = folder_in(small_disk / "runs")
    assert json.loads((folder / "manifest.json").read_text())["state"] == "partial"
    assert load(folder).is_partial


@pytest.mark.parametrize(("line", "told"), [
    ("  - {name: crash, at: 30rtt, fail: switch:p0-t1-7}", "p0-t1-7"),
    ("  - {name: crash, at: 300rtt, fail: switch:p0-t1-1}", "end"),
    ("  - {name: crash, at: 30rtt, fial: switch:p0-t1-1}", "did you mean 'fail'"),
])
def test_a_malformed_drill_touches_nothing(
    tmp_path: Path, line: str, told: str
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(DRILL.replace("  - {name: crash, at: 30rtt, fail: switch:p0-t1-1}", line))
    done = testbed("drill", "run", str(path), "--name", "nobody-is-here", "--out",
                   str(tmp_path / "runs"))
    assert done.returncode == 2
    assert f"{path}:" in done.stderr
    assert told in done.stderr
    assert not (tmp_path / "runs").exists()


PAUSE = """\
drill: pause
title: A host stops for a moment
paper: none
about: Short, for tests.
topology: tiny
workload: {workload: write-bw, src: h0, dst: h2, qps: 2, duration: 120rtt, depth: 16}
tdf: 10000
packets: 30000
takes: {fabric: 20s, sim: 1s}
timeline:
  - {name: stop, at: 30rtt, pause: host:h2, for: 12rtt}
windows: {before: 10rtt .. stop, stopped: stop + 4rtt .. stop + 12rtt, after: end - 30rtt .. end}
checks:
  - {name: steady, steady: true, measure: goodput, in: before, expect: ">= 80 %", of: nominal}
  - {name: nothing arrives, measure: goodput, in: stopped, expect: "<= 20 %", of: before}
  - {name: as before, measure: goodput, in: after, expect: ">= 90 %", of: before}
  - {name: no queue pair fails, measure: qp_failures, expect: "0"}
figure: goodput
"""


def test_a_host_that_the_drill_stops_does_not_make_it_invalid(
    one: Running, tmp_path: Path
) -> None:
    path = tmp_path / "pause.yaml"
    path.write_text(PAUSE)
    for attempt in range(MANY):
        out = str(tmp_path / str(attempt))
        done = one.command("drill", "run", str(path), "--json", "--out", out)
        (told,) = json.loads(done.stdout)
        if told["word"] != "INCONCLUSIVE":
            break
    assert (done.returncode, told["word"]) == (0, "PASS"), told["reasons"]
