"""`testbed status`: every line it can have, once or again and again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from testbed.cli import status
from testbed.cli.main import main


def picture(**changes: Any) -> dict[str, Any]:
    """What an instance answers that is idle and healthy."""
    found = {
        "name": "lab", "topology": "tiny", "uptime_s": 12.4, "dataplane_detail": "ovs 3.1",
        "controller": "Ryu, 8 switches", "tdf": 2000, "hosts": 4, "switches": 8,
        "agents": [{"host": f"h{n}", "alive": n != 3} for n in range(4)],
        "links": [{"name": "nic:h0:p0", "state": "up"},
                  {"name": "link:p0-t0-0:p0-t1-0", "state": "blackhole"}],
        "paths_ok": 40, "paths_checked": 40, "paths_total": 40, "resident_mb": 123.4,
        "unexplained_frames": 0, "unbalanced_switches": [], "faults": [], "problems": [],
        "run": None,
    }
    return {**found, **changes}


def row(name: str, gbps: float) -> dict[str, Any]:
    return {"host": name, "goodput_bps": gbps * 1e9, "active_evs": [4, 3], "resent": 17,
            "lateness_p99_ns": 850}


def running(**changes: Any) -> dict[str, Any]:
    found = {"number": 7, "what": "write-bw-h0-h3", "phase": "running", "notes": [], "tdf": 5000,
             "share": 0.42, "emulated_ns": 1_234_000, "verdict": None, "error": None,
             "hosts": [row("h0", 191.96), row("h3", 0)]}
    return {**found, **changes}


def lines(verbose: bool = False, **changes: Any) -> list[str]:
    text = "\n".join(status._lines(picture(**changes), verbose))
    return [" ".join(line.split()) for line in text.splitlines()]


class Control:
    """Answers `status` with pictures; the last one is followed by Ctrl-C."""

    pictures: list[dict[str, Any]] = []  # noqa: RUF012  set anew by the fixture

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> Control:
        return self

    def __exit__(self, *_exc: object) -> None:
        return None

    def call(self, method: str) -> dict[str, Any]:
        assert method == "status"
        if not self.pictures:
            raise KeyboardInterrupt
        return self.pictures.pop(0)


@pytest.fixture
def control(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Control]]:
    Control.pictures = [picture()]
    monkeypatch.setattr(status, "Control", Control)
    monkeypatch.setattr(status, "_REFRESH_S", 0)
    yield Control
    Control.pictures = []


# --- Idle --------------------------------------------------------------------------------


def test_an_idle_instance_from_top_to_bottom() -> None:
    assert lines() == [
        "lab: tiny, up 12 s, healthy",
        "data plane ovs 3.1",
        "controller Ryu, 8 switches",
        "time dilation 2,000",
        "hosts 4, 3 agents alive",
        "switches 8",
        "links 2, 1 up",
        "paths 40 of 40 answer",
        "memory 123 MB",
        "unexplained loss 0 frames",
    ]


def test_a_sample_of_paths_says_of_how_many() -> None:
    told = lines(paths_ok=4090, paths_checked=4096, paths_total=59_136)
    assert "paths 4090 of 4096 answer, sampled from 59,136" in told


def test_faults_are_told_and_counted() -> None:
    fault = {"target": "nic:h3:p1", "kind": "down", "evidence": "no carrier on h3-eth1"}
    told = lines(faults=[fault])
    assert told[0] == "lab: tiny, up 12 s, 1 fault in force"
    assert told[-1] == "fault nic:h3:p1 down: no carrier on h3-eth1"
    assert lines(faults=[fault] * 2)[0].endswith("2 faults in force")


def test_a_problem_is_worse_than_a_fault() -> None:
    fault = {"target": "host:h3", "kind": "kill", "evidence": "has ended"}
    told = lines(problems=["sshd of h1 has ended"], faults=[fault])
    assert told[0].endswith("impaired")
    assert told[-1] == "problem sshd of h1 has ended"


def test_switches_that_cannot_be_balanced_are_counted() -> None:
    told = lines(unbalanced_switches=["p0-t0-0", "p1-t0-0"])
    assert told[-1] == "not balanced 2 switches that had a NIC link without carrier"


def test_every_link_where_it_is_asked_for() -> None:
    assert lines(verbose=True)[-3:] == [
        "LINK STATE", "nic:h0:p0 up", "link:p0-t0-0:p0-t1-0 blackhole"]


# --- Runs --------------------------------------------------------------------------------


def test_a_run_under_way_has_a_row_per_host() -> None:
    told = lines(run=running())
    assert told[-4:] == [
        "run 7 write-bw-h0-h3: running, 42 %, 1,234 us emulated, time dilation 5,000",
        "HOST SENDS (Gb/s) ACTIVE EVS BY PLANE RESENT LATE P99",
        "h0 192.0 4 3 17 850ns",
        "h3 0.0 4 3 17 850ns"]


def test_nothing_is_probed_or_balanced_while_it_runs() -> None:
    told = lines(run=running())
    assert "paths not probed while a run is under way" in told
    assert not any(line.startswith("unexplained loss") for line in told)


@pytest.mark.parametrize(("notes", "last"), [
    ([], "run 7 write-bw-h0-h3: calibrating, 0 %, 0 us emulated, time dilation 0"),
    (["transit", "one host: trusted"], "one host: trusted"),
])
def test_a_run_that_is_calibrating_says_how_far(notes: list[str], last: str) -> None:
    told = lines(run=running(phase="calibrating", notes=notes, hosts=[], share=0.0,
                             emulated_ns=-50, tdf=0))
    assert told[-1] == last
    assert "paths not probed while a run is under way" in told


@pytest.mark.parametrize("word", ["trusted", "degraded", "invalid"])
def test_a_finished_run_has_its_verdict_with_reasons(
    word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "paint", lambda text, colour: f"<{colour} {text}>")
    verdict = {"word": word, "reasons": ["h0 was late", "so was h3"]}
    told = lines(run=running(phase="done", verdict=verdict))
    colour = {"trusted": "green", "degraded": "yellow", "invalid": "red"}[word]
    assert told[-3:] == [
        f"run 7 write-bw-h0-h3: <{colour} {word}>", "h0 was late", "so was h3"]
    assert "paths 40 of 40 answer" in told
    assert "unexplained loss 0 frames" in told


@pytest.mark.parametrize("hosts", [[], [row("h0", 5)]])
def test_a_run_that_failed_says_why(
    hosts: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "paint", lambda text, colour: f"<{colour} {text}>")
    told = lines(run=running(phase="failed", hosts=hosts,
                             error="the run cannot begin: h2 is silent"))
    assert told[-1] == (
        "<red run 7 write-bw-h0-h3: failed, the run cannot begin: h2 is silent>")
    assert "paths 40 of 40 answer" in told
    assert "unexplained loss 0 frames" in told


# --- The command -------------------------------------------------------------------------


def test_once(control: type[Control], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--name", "lab"]) == 0
    assert capsys.readouterr().out.startswith("lab: tiny, up 12 s, healthy\n")


def test_json_is_the_picture(control: type[Control], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == picture()


def test_watch_and_json_exclude_each_other(
    control: type[Control], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "--watch", "--json"]) == 2
    assert "--watch and --json exclude each other" in capsys.readouterr().err
    assert len(control.pictures) == 1


@pytest.mark.parametrize("is_terminal", [True, False])
def test_watch_writes_in_place_on_a_terminal_and_plain_elsewhere(
    control: type[Control], capsys: pytest.CaptureFixture[str], is_terminal: bool,
    monkeypatch: pytest.MonkeyPatch
) -> None:
    control.pictures = [picture(uptime_s=1), picture(uptime_s=2), picture(uptime_s=3)]
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("sys.stdout.isatty", lambda: is_terminal)
    assert main(["status", "--watch"]) == 0
    out = capsys.readouterr().out
    assert [out.count(f"up {n} s") for n in (1, 2, 3)] == [1, 1, 1]
    assert out.count("\033[H\033[J") == (3 if is_terminal else 0)
    assert out.startswith("\033[H\033[J" if is_terminal else "lab: ")
    assert ("\033" in out) is is_terminal


def test_watch_rests_between_two_looks(
    control: type[Control], monkeypatch: pytest.MonkeyPatch
) -> None:
    naps: list[float] = []
    monkeypatch.setattr(status, "_REFRESH_S", 0.75)
    monkeypatch.setattr(status.time, "sleep", naps.append)
    control.pictures = [picture(), picture()]
    main(["status", "--watch"])
    assert naps == [0.75, 0.75]
