"""`testbed run` against an instance of a few lines: what is asked, shown, and returned."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from testbed.cli import run
from testbed.cli.main import main
from testbed.errors import InstanceError, TestbedError
from testbed.intent.topology import load_topology

SPEC = load_topology("tiny")
RESULT = {
    "kind": "write-bw", "parameters": {"workload": "write-bw", "src": "h0", "dst": "h3"},
    "topology": {"name": "tiny", "planes": 2, "port_rate_bps": 10**11, "payload_bytes": 4096},
    "dataplane": "ovs", "tdf": 2000, "streams": [], "latency_ns": [], "hosts": {},
    "evs_out": [], "verified": {"checked_bytes": 5, "wrong_bytes": 0},
    "verdict": {"word": "trusted", "reasons": []}, "folder": "runs/x", "failures": [],
    "wall_s": 1.0,
}


def state(phase: str = "running", **more: Any) -> dict[str, Any]:
    return {"number": 7, "phase": phase, "notes": [], "emulated_ns": 400_000,
            "bytes_done": 40_000_000, "share": 0.4, "wall_s": 8.0, "result": None, **more}


def result(**changes: Any) -> dict[str, Any]:
    return state("done", result={**RESULT, **changes})


class Instance:
    """Stands in for `Control`; ``states`` are what `run_state` says, one after another.

    One that is an exception is raised, as Ctrl-C and errors of the instance are.
    """

    def __init__(self) -> None:
        self.states: list[Any] = [result()]
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.names: list[str] = []
        self.on_stop: Callable[[], None] = lambda: None

    def __call__(self, name: str) -> Instance:
        self.names.append(name)
        return self

    def __enter__(self) -> Instance:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.calls.append(("closed", {}))

    def call(self, method: str, params: dict[str, Any] | None = None) -> Any:
        self.calls.append((method, params or {}))
        match method:
            case "nodes":
                return {"spec": asdict(SPEC)}
            case "run_start":
                return 7
            case "run_stop":
                return self.on_stop()
        found = self.states.pop(0)
        if isinstance(found, BaseException):
            raise found
        return found

    def asked(self, method: str) -> list[dict[str, Any]]:
        return [params for name, params in self.calls if name == method]


class Clock:
    """Stands in for ``time``; a nap moves it."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.naps: list[float | BaseException] = []

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        nap = self.naps.pop(0) if self.naps else seconds
        if isinstance(nap, BaseException):
            raise nap
        self.now_s += nap


class Terminal(io.StringIO):
    """A terminal of 80 columns."""

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return 99


@pytest.fixture
def instance(monkeypatch: pytest.MonkeyPatch) -> Instance:
    instance = Instance()
    monkeypatch.setattr(run, "Control", instance)
    return instance


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(run, "time", clock)
    return clock


def make_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Standard error is one from now on. No fixture: pytest puts its own there after these."""
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr(os, "get_terminal_size", lambda _fd: os.terminal_size((80, 24)))
    return terminal


# --- What is asked -----------------------------------------------------------------------


def test_a_command_line_becomes_a_request(instance: Instance, tmp_path: Path) -> None:
    code = main(["run", "write-bw", "h0", "h3", "-s", "64KiB", "-q", "2", "-n", "50", "-t", "16",
                 "--seed", "9", "-b", "--verify", "--pcap", "--snap", "128", "--recalibrate",
                 "--tdf", "500", "--out", str(tmp_path / "a"), "--name", "lab"])
    assert code == 0
    assert instance.names == ["lab"]
    (asked,) = instance.asked("run_start")
    assert asked["request"] == {
        "workload": "write-bw", "src": "h0", "dst": "h3", "size": "64KiB", "qps": 2,
        "iters": 50, "depth": 16, "seed": 9, "snap": "128B", "tdf": 500, "bidirectional": True,
        "verify": True, "capture": True, "recalibrate": True}
    assert asked["folder"] == str(tmp_path / "a")
    assert instance.asked("run_state") == [{"number": 7}]
    assert instance.calls[-1] == ("closed", {})


def test_what_is_not_said_is_the_default(
    instance: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    main(["run", "write-lat", "h0", "h1"])
    (asked,) = instance.asked("run_start")
    assert asked["request"]["iters"] == 100
    assert asked["request"]["tdf"] == "auto"
    assert asked["folder"] == str(tmp_path / "runs")  # the instance has another directory


@pytest.mark.parametrize(("environment", "owner"), [
    ({"SUDO_UID": "1234", "SUDO_GID": "1235"}, {"uid": 1234, "gid": 1235}),
    ({"SUDO_UID": "1234"}, {"uid": 1234, "gid": os.getgid()}),
    ({}, {"uid": os.getuid(), "gid": os.getgid()}),
])
def test_the_folder_is_for_who_called_sudo(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str],
    owner: dict[str, int]
) -> None:
    for name in ("SUDO_UID", "SUDO_GID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    main(["run", "write-bw", "h0", "h3"])
    (asked,) = instance.asked("run_start")
    assert {key: asked[key] for key in ("uid", "gid")} == owner


@pytest.mark.parametrize(("words", "sentence"), [
    (["write-bv", "h0", "h3"], "no workload 'write-bv', did you mean 'write-bw'"),
    (["write-bw", "h0", "h4"], "h4 does not exist: tiny has h0 to h3"),
    (["write-bw", "h0", "h3", "--verify"], "--verify keeps every message"),
    (["write-lat", "h0", "h3", "-q", "2"], "--qps is not for write-lat"),
])
def test_a_mistake_begins_nothing(
    instance: Instance, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *words]) == 2
    assert sentence in capsys.readouterr().err
    assert instance.asked("run_start") == []


# --- What comes back ---------------------------------------------------------------------


@pytest.mark.parametrize(("changes", "code"), [
    ({}, 0),
    ({"verdict": {"word": "degraded", "reasons": ["late"]}}, 0),
    ({"verdict": {"word": "invalid", "reasons": ["later"]}}, 1),
    ({"verified": {"checked_bytes": 5, "wrong_bytes": 1}}, 1),
    ({"failures": ["queue pair 3 failed"]}, 1),
    ({"verified": {"checked_bytes": 5, "wrong_bytes": 0, "unchecked": 1}}, 1),
    ({"is_complete": False}, 1),
    ({"is_complete": True}, 0),
])
def test_exit_codes(
    instance: Instance, changes: dict[str, Any], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    instance.states = [result(**changes)]
    assert main(["run", "write-bw", "h0", "h3"]) == code
    told = capsys.readouterr()
    assert " verdict         : " in told.out
    assert told.err == ""


@pytest.mark.parametrize("changes", [{}, {"failures": ["queue pair 3 failed"]}])
def test_json_is_exactly_one_document(
    instance: Instance, changes: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    noted = state("calibrating", notes=["calibrating: one host"])
    instance.states = [noted, state(), result(**changes)]
    code = main(["run", "write-bw", "h0", "h3", "--json"])
    assert code == (1 if changes else 0)
    assert json.loads(capsys.readouterr().out) == {**RESULT, **changes}


@pytest.mark.parametrize(("error", "code"), [
    (TestbedError("the run cannot begin: h2 is silent"), 5),
    (InstanceError("instance 'default' went down; bring it up again"), 4),
])
def test_an_error_of_the_run_is_one_sentence(
    instance: Instance, error: TestbedError, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    instance.states = [state(), error]
    assert main(["run", "write-bw", "h0", "h3", "--json"]) == code
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", f"testbed: {error}\n")


def test_an_error_is_shown_after_the_line_of_progress_was_ended(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = make_terminal(monkeypatch)
    instance.states = [state(), TestbedError("the run cannot begin: h2 is silent")]
    assert main(["run", "write-bw", "h0", "h3"]) == 5
    progress, error = terminal.getvalue().split("\r\033[K")[1:]
    assert "40 %" in progress
    assert error == "testbed: the run cannot begin: h2 is silent\n"


# --- Progress ----------------------------------------------------------------------------


def test_without_a_terminal_progress_is_a_line_now_and_then(
    instance: Instance, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    instance.states = [*(state(share=n / 100) for n in range(20, 90)), result()]
    clock.naps = [0.5] * 70
    main(["run", "write-bw", "h0", "h3"])
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3  # 35 s, a line every 10
    assert lines[0].startswith("0.400 ms emulated  800.0 Gb/s  41 %")
    assert "\r" not in "".join(lines)


def test_it_asks_a_few_times_a_second(instance: Instance, clock: Clock) -> None:
    instance.states = [*(state() for _ in range(50)), result()]
    main(["run", "write-bw", "h0", "h3"])
    assert 0.1 <= (clock.now_s - 100) / 50 <= 0.5


def test_on_a_terminal_one_line_is_written_over(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = make_terminal(monkeypatch)
    instance.states = [state(share=0.1), state(share=0.2), result()]
    main(["run", "write-bw", "h0", "h3"])
    first, second, end = terminal.getvalue().split("\r\033[K")[1:]
    assert " 10 %" in first
    assert " 20 %" in second
    assert end == ""
    assert "\n" not in terminal.getvalue()


def test_what_calibration_finds_is_told_once_each(
    instance: Instance, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = "calibrating: transit", "calibrating: one host: trusted"
    instance.states = [state("calibrating"), state("calibrating", notes=[one]),
                       state("calibrating", notes=[one]), state("calibrating", notes=[one, two]),
                       state(notes=[one, two]), result()]
    instance.states[-1]["notes"] = [one, two, "last"]
    main(["run", "write-bw", "h0", "h3"])
    assert capsys.readouterr().err.splitlines() == [one, two, "last"]


def test_a_sentence_does_not_stand_behind_the_line_of_progress(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = make_terminal(monkeypatch)
    instance.states = [state("preparing"), state("calibrating", notes=["calibrating: transit"]),
                       result()]
    instance.states[-1]["notes"] = ["calibrating: transit"]
    main(["run", "write-bw", "h0", "h3"])
    shown = [line.rpartition("\r\033[K")[2] for line in terminal.getvalue().split("\n")]
    assert shown == ["calibrating: transit", ""]


# --- Ctrl-C ------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["in the call", "while it naps"])
def test_ctrl_c_once_ends_the_run_and_waits_for_its_result(
    instance: Instance, clock: Clock, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if where == "in the call":
        instance.states = [state(), KeyboardInterrupt(), state("finishing"), result()]
    else:
        instance.states = [state(), state("finishing"), result()]
        clock.naps = [KeyboardInterrupt()]
    assert main(["run", "write-bw", "h0", "h3", "--json"]) == 130
    assert instance.asked("run_stop") == [{"number": 7}]
    told = capsys.readouterr()
    assert json.loads(told.out) == RESULT
    assert told.err == "ending the run; what is under way is finished (Ctrl-C again leaves it)\n"


def test_ctrl_c_twice_leaves_the_run_to_itself(
    instance: Instance, capsys: pytest.CaptureFixture[str]
) -> None:
    instance.states = [KeyboardInterrupt(), state("finishing"), KeyboardInterrupt()]
    assert main(["run", "write-bw", "h0", "h3"]) == 130
    assert len(instance.asked("run_stop")) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines()[-1] == "interrupted"
    assert instance.calls[-1] == ("closed", {})


def test_ctrl_c_while_the_run_is_being_stopped(
    instance: Instance, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    instance.states, instance.on_stop = [KeyboardInterrupt()], interrupt
    assert main(["run", "write-bw", "h0", "h3"]) == 130
    assert capsys.readouterr().out == ""


def test_ctrl_c_while_calibrating_ends_without_a_result(
    instance: Instance, capsys: pytest.CaptureFixture[str]
) -> None:
    why = "the run was ended while this machine was being calibrated"
    instance.states = [state("calibrating", notes=["calibrating: transit"]), KeyboardInterrupt(),
                       state("calibrating", notes=["calibrating: transit"]), InstanceError(why)]
    assert main(["run", "write-bw", "h0", "h3", "--json"]) == 130
    assert instance.asked("run_stop") == [{"number": 7}]
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines() == [
        "calibrating: transit",
        "ending the run; what is under way is finished (Ctrl-C again leaves it)", why,
        "interrupted"]
    assert instance.calls[-1] == ("closed", {})


def test_a_terminal_that_has_gone_does_not_end_the_run(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_terminal(monkeypatch)

    def gone(_fd: int) -> os.terminal_size:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "get_terminal_size", gone)
    instance.states = [state(), state(), result()]
    assert main(["run", "write-bw", "h0", "h3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == RESULT


def test_ctrl_c_clears_the_line_of_progress(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = make_terminal(monkeypatch)
    instance.states = [state(), KeyboardInterrupt(), result()]
    main(["run", "write-bw", "h0", "h3"])
    before, _, _ = terminal.getvalue().partition("ending the run")
    assert before.endswith("\r\033[K")


# --- Other workloads ---------------------------------------------------------------------


COLLECTIVE = {
    **RESULT, "kind": "collective", "operation": "allreduce", "algorithm": "ring",
    "dtype": "float", "redop": "sum", "ranks": ["h0", "h1"], "sizes": [],
    "parameters": {"workload": "allreduce", "algo": "ring", "qps": 4, "channels": 1,
                   "segment": "64KiB", "warmup": 1, "iters": 4, "placement": "local"},
}
TRAINING = {
    **RESULT, "kind": "training", "ranks": ["h0", "h1"], "steps": [],
    "training": {"steps_per_s": 0.0, "undisturbed_steps_per_s": None, "loss_share": None,
                 "slowest_step": None, "baseline": "median of this run"},
    "parameters": {"workload": "train", "gradients": "1MiB", "buckets": 1, "compute": "1ms",
                   "jitter": "5%", "placement": "local", "dtype": "float", "algo": "ring",
                   "qps": 4},
}
PERMUTATION = {**RESULT, "parameters": {
    "workload": "permutation", "size": "32KiB", "qps": 4, "depth": 128, "hosts": ["h0", "h1"],
    "placement": "local"}}


@pytest.mark.parametrize(("words", "found", "told"), [
    (["write-bw", "h0", "h3"], RESULT, "RDMA_Write BW Test"),
    (["allreduce"], COLLECTIVE, "# Avg bus bandwidth    : N/A"),
    (["train"], TRAINING, "Data-parallel training"),
    (["permutation"], PERMUTATION, "RDMA_Write Permutation BW Test"),
])
def test_every_workload_has_its_table(
    instance: Instance, words: list[str], found: dict[str, Any], told: str,
    capsys: pytest.CaptureFixture[str]
) -> None:
    instance.states = [state("done", result=found)]
    assert main(["run", *words]) == 0
    assert told in capsys.readouterr().out
    (asked,) = instance.asked("run_start")
    assert asked["request"]["workload"] == words[0]


@pytest.mark.parametrize("words", [
    ["write-bw", "h0", "h3", "-q", "2", "--tdf", "9"],
    ["write-bw", "-q", "2", "h0", "h3", "--tdf", "9"],
    ["write-bw", "h0", "-q", "2", "--tdf", "9", "h3"],
    ["-q", "2", "write-bw", "--tdf", "9", "h0", "h3"],
])
def test_hosts_may_stand_anywhere(instance: Instance, words: list[str]) -> None:
    assert main(["run", *words]) == 0
    (asked,) = instance.asked("run_start")
    request = asked["request"]
    assert [request[key] for key in ("src", "dst", "qps", "tdf")] == ["h0", "h3", 2, 9]


def test_an_option_nobody_knows_is_refused(
    instance: Instance, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["run", "write-bw", "h0", "--qqs", "2", "h3"])
    assert left.value.code == 2
    assert "unrecognized arguments: --qqs" in capsys.readouterr().err
    assert instance.calls == []


def test_a_collective_in_full(instance: Instance, tmp_path: Path) -> None:
    instance.states = [state("done", result=COLLECTIVE)]
    assert main(["run", "allreduce", "--sizes", "1M,2M", "-n", "3", "-w", "2", "--hosts", "h3,h0",
                 "-d", "bfloat16", "--algo", "tree", "--channels", "2", "--segment", "128K",
                 "--pcap", "--out", str(tmp_path)]) == 0
    (asked,) = instance.asked("run_start")
    assert asked["request"] == {
        "workload": "allreduce", "sizes": ["1MiB", "2MiB"], "iters": 3, "warmup": 2,
        "hosts": ["h3", "h0"], "placement": "given", "dtype": "bfloat16", "algo": "tree",
        "qps": 4, "channels": 2, "segment": "128KiB", "seed": 1, "snap": "256B", "tdf": "auto",
        "capture": True, "recalibrate": False}


@pytest.mark.parametrize("found", [
    {**COLLECTIVE, "sizes": [{"size_bytes": 8, "count": 2, "time_ns": 1, "median_ns": 1,
                              "slowest_ns": 1, "lost_ns": 0,
                              "algbw_bytes_per_s": 8e9, "busbw_bytes_per_s": 8e9, "wrong": 1}]},
    {**COLLECTIVE, "failures": ["rank 1 (h1) was lost"]},
    {**COLLECTIVE, "verified": {"checked_bytes": 5, "wrong_bytes": 1}},
])
def test_a_collective_that_is_wrong_is_told_by_its_exit_code(
    instance: Instance, found: dict[str, Any]
) -> None:
    instance.states = [state("done", result=found)]
    assert main(["run", "allreduce"]) == 1


def test_progress_of_a_collective(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = make_terminal(monkeypatch)
    instance.states = [state(turn=[4 << 20, 1]), state("done", result=COLLECTIVE)]
    main(["run", "allreduce", "--iters", "7"])
    assert "4 MiB, iteration 2 of 7" in terminal.getvalue()


def test_the_run_to_compare_with_is_found_from_anywhere(
    instance: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    instance.states = [state("done", result=TRAINING)]
    main(["run", "train", "--against", "runs/quiet"])
    (asked,) = instance.asked("run_start")
    assert asked["request"]["against"] == str(tmp_path / "runs" / "quiet")


# --- Spec files --------------------------------------------------------------------------


def spec_file(folder: Path, text: str) -> str:
    path = folder / "lab.yaml"
    path.write_text(text)
    return str(path)


def test_a_spec_is_run_with_what_was_typed_laid_over_it(
    instance: Instance, tmp_path: Path
) -> None:
    path = spec_file(tmp_path, "workload: write-bw\nsrc: h0\ndst: h3\nduration: 2ms\nqps: 2\n"
                               "topology: tiny\ntdf: 500\n")
    assert main(["run", path, "-n", "9", "--pcap", "--tdf", "700"]) == 0
    (asked,) = instance.asked("run_start")
    request = asked["request"]
    assert "duration" not in request
    assert "topology" not in request
    assert [request[key] for key in ("iters", "qps", "tdf", "capture")] == [9, 2, 700, True]


@pytest.mark.parametrize(("text", "words", "sentence"), [
    ("workload: train\ntopology: quad\n", [],
     "this spec is for quad, but instance 'lab' is tiny: run `testbed up quad` first"),
    ("workload: train\nsteps: 0\n", [], "lab.yaml:2: steps 0 is not allowed: use 1 to 1000"),
    ("workload: train\nhosts: [h9, h0]\n", [],
     "lab.yaml:2: hosts: host h9 does not exist: tiny has"),
    ("workload: train\nhosts: [h1, h0]\n", ["--hosts", "h9,h0"],
     "--hosts: host h9 does not exist: tiny has"),
    ("workload: write-bw\nsrc: h0\ndst: h1\niters: 4\nduration: 1ms\n", [],
     "lab.yaml:4: iters and "),
    ("workload: train\nmicrobatches: 4\n", [],
     "lab.yaml:2: microbatches is of no use without pipeline"),
    ("workload: train\n", ["h0"], "says by itself which hosts take part: leave out h0"),
    ("workload: train\n", ["--topology", "tiny"], "--topology is for simulations"),
])
def test_a_spec_that_does_not_fit_begins_nothing(
    instance: Instance, tmp_path: Path, text: str, words: list[str], sentence: str,
    capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", spec_file(tmp_path, text), *words, "--name", "lab"]) == 2
    assert sentence in capsys.readouterr().err
    assert instance.asked("run_start") == []


TWO_FAULTS = "workload: write-bw\nsrc: h0\ndst: h99\nsize: 4TB\ndurration: 1ms\n"


def test_faults_of_a_file_and_of_its_topology_are_told_together(
    instance: Instance, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", spec_file(tmp_path, TWO_FAULTS), "--name", "lab"]) == 2
    told = capsys.readouterr().err
    assert "lab.yaml:5: there is no key 'durration', did you mean 'duration'?" in told
    assert "host h99 does not exist: tiny has" in told
    assert "lab.yaml:4: size" in told
    assert told.count("durration") == told.count("4TB") == 1


def test_faults_of_a_file_are_told_where_no_instance_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", spec_file(tmp_path, TWO_FAULTS), "--name", "nobody"]) == 2
    told = capsys.readouterr().err
    assert "there is no key 'durration'" in told
    assert "h99" not in told


# --- Simulations -------------------------------------------------------------------------


class Simulator:
    """Stands in for `testbed.instance.simulated`; what it was asked is kept."""

    def __init__(self, found: dict[str, Any]) -> None:
        self.found = {**found, "verdict": None, "tdf": None}
        self.asked: list[tuple[Any, str]] = []
        self.places: list[tuple[str, Path]] = []

    def simulate(self, request: Any, spec: Any, what: str, parent: Path,
                 owner: Any) -> dict[str, Any]:
        self.asked.append((request, spec.name))
        self.places.append((what, parent))
        return {**self.found, "folder": str(parent / what)}


@pytest.fixture
def simulator(monkeypatch: pytest.MonkeyPatch) -> Simulator:
    simulator = Simulator(COLLECTIVE)
    monkeypatch.setattr(run, "import_module", lambda _name: simulator)
    return simulator


@pytest.mark.parametrize(("words", "topology"), [
    ([], "quad"), (["--topology", "tiny"], "tiny"),
])
def test_a_simulation_needs_no_instance(
    instance: Instance, simulator: Simulator, words: list[str], topology: str,
    capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "allreduce", "--hosts", "2", "--sim", *words]) == 0
    ((request, name),) = simulator.asked
    assert (request.hosts, name) == ((0, 1), topology)
    assert instance.names == []
    told = capsys.readouterr()
    assert "# verdict         : none, in the simulator nothing can be late" in told.out
    assert told.err == f"simulating allreduce-2 on {topology}\n"
    assert simulator.places == [("allreduce-2-sim", Path("runs"))]
    assert "# run folder      : runs/allreduce-2-sim\n" in told.out


def test_a_simulation_of_a_spec_is_on_its_topology(
    simulator: Simulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = spec_file(tmp_path, "workload: allreduce\ntopology: octo\n")
    assert main(["run", path, "--sim", "--json"]) == 0
    assert simulator.asked[0][1] == "octo"
    found = json.loads(capsys.readouterr().out)
    assert found == {**simulator.found, "folder": "runs/allreduce-8-sim"}
    main(["run", path, "--sim", "--topology", "tiny"])
    assert simulator.asked[1][1] == "tiny"


def test_a_simulation_that_went_wrong_has_the_same_exit_code(simulator: Simulator) -> None:
    simulator.found["failures"] = ["rank 1 (h1) was lost"]
    assert main(["run", "allreduce", "--sim"]) == 1
