"""What `run` says to people who mistype, interrupt, or ask for too much."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from testbed_process import CHECKOUT, Running, eventually, testbed

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def small(bring_up: Callable[..., Running]) -> Running:
    """`tiny` on the data plane that comes up fastest."""
    return bring_up("tiny", "--dataplane", "linux")


@pytest.mark.parametrize(("words", "said"), [
    (("write-bq", "h0", "h1"), "there is no workload 'write-bq', did you mean 'write-bw'?"),
    (("write-bw", "h0", "h4"), "h4"),
    (("write-bw", "h0", "h0"), "h0 cannot write to itself: name two hosts"),
    (("write-bw", "h0", "h1", "--iters", "5", "--duration", "1ms"), "exclude each other"),
    (("write-bw", "h0", "h1", "--size", "1GB"), "--size 1GB is not allowed: use 1B to 64MiB"),
    (("write-lat", "h0", "h1", "--qps", "4"), "--qps is not for write-lat"),
    (("write-bw", "h0", "h1", "--tdf", "1"), "is not allowed"),
    (("write-bw", "h0", "h1", "--verify"), "add --iters"),
])
def test_mistakes_are_one_sentence(
    small: Running, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    done = small.command("run", *words, "--out", str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_without_an_instance() -> None:
    done = testbed("run", "write-bw", "h0", "h1", "--name", "nobody-is-here")
    assert done.returncode == 4
    assert "is not up" in done.stderr


def test_a_folder_that_cannot_be_made(small: Running, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("mine")
    done = small.command("run", "write-lat", "h0", "h1", "--iters", "1", "--out", str(blocked))
    assert done.returncode == 2
    assert "no run folder can be made" in done.stderr
    assert blocked.read_text() == "mine"


def test_ctrl_c_ends_a_run_and_keeps_what_it_has(small: Running, tmp_path: Path) -> None:
    client = subprocess.Popen(
        [sys.executable, "-m", "testbed", "run", "write-bw", "h0", "h3", "--name", small.name,
         "--duration", "100ms", "--tdf", "20000", "--out", str(tmp_path)],
        cwd=CHECKOUT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def is_running() -> bool:
        run = small.call("status")["run"]
        return bool(run) and run["phase"] == "running"

    eventually(is_running)
    time.sleep(0.2)  # the client polls; a Ctrl-C before its first answer is another test
    client.send_signal(signal.SIGINT)
    out, said = client.communicate(timeout=60)
    assert client.returncode == 130
    assert "ending the run" in said
    assert "RDMA_Write BW Test" in out
    (folder,) = [path for path in tmp_path.iterdir() if path.name != "latest"]
    assert json.loads((folder / "manifest.json").read_text())["state"] == "partial"
    assert not (folder / "COMPLETE").exists()
    after = small.command("run", "write-lat", "h0", "h1", "--iters", "2", "--out", str(tmp_path))
    assert after.returncode == (1 if ": invalid" in after.stdout else 0), after.stderr


def test_a_run_is_reported_as_perftest_does(small: Running, tmp_path: Path) -> None:
    done = small.command("run", "write-bw", "h0", "h3", "-n", "20", "-q", "1", "--bidir",
                         "--tdf", "20000", "--out", str(tmp_path))
    assert done.returncode == (1 if ": invalid" in done.stdout else 0), done.stderr
    lines = done.stdout.splitlines()
    header = next(i for i, line in enumerate(lines) if line.startswith(" #bytes"))
    assert lines[header].split() == ["#bytes", "#iterations", "BW", "peak[Gb/sec]", "BW",
                                     "average[Gb/sec]", "MsgRate[Mpps]"]
    assert lines[header + 1].split()[:2] == ["32768", "40"]
    assert lines[header + 2].endswith("h0 -> h3")
    assert lines[header + 3].endswith("h3 -> h0")


def test_a_run_that_is_cut_off_leaves_a_partial_folder(
    bring_up: Callable[..., Running], tmp_path: Path
) -> None:
    """`down` in the middle: what there is is kept, and marked as nothing to believe in."""
    short_lived = bring_up("tiny", "--dataplane", "linux")
    client = subprocess.Popen(
        [sys.executable, "-m", "testbed", "run", "write-bw", "h0", "h3", "--name",
         short_lived.name, "--duration", "100ms", "--tdf", "20000", "--out", str(tmp_path)],
        cwd=CHECKOUT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def is_running() -> bool:
        run = short_lived.call("status")["run"]
        return bool(run) and run["phase"] == "running"

    eventually(is_running)
    short_lived.down()
    _, said = client.communicate(timeout=30)
    assert client.returncode == 4
    assert "went down" in said or "lost the instance" in said
    (folder,) = [path for path in tmp_path.iterdir() if path.name != "latest"]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["state"], manifest["verdict"]["word"]) == ("partial", "invalid")
    assert "taken down" in manifest["verdict"]["reasons"][0]
    assert not (folder / "COMPLETE").exists()
