"""`testbed paths`: with what queue pairs make of them, and without."""

from __future__ import annotations

import json
from typing import Any

import pytest

from testbed.cli import paths
from testbed.cli.main import main


def row(ev: str, plane: int, t1: int | None, state: str = "ok",
        evs: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"ev": ev, "plane": plane, "t1": t1, "address": f"fcbb:bbbb:{plane}::",
            "state": state, "evs": evs}


def live(sent: int = 0, marked: int = 0, lost: int = 0, **states: int) -> dict[str, Any]:
    return {"states": states, "sent": sent, "marked": marked, "lost": lost}


class Control:
    """Answers `paths` with rows."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.asked: list[tuple[str, dict[str, int]]] = []
        self.name = ""

    def __call__(self, name: str) -> Control:
        self.name = name
        return self

    def __enter__(self) -> Control:
        return self

    def __exit__(self, *_exc: object) -> None:
        return None

    def call(self, method: str, params: dict[str, int]) -> list[dict[str, Any]]:
        self.asked.append((method, params))
        return self.rows


@pytest.fixture
def control(monkeypatch: pytest.MonkeyPatch) -> Control:
    control = Control()
    monkeypatch.setattr(paths, "Control", control)
    return control


def told(capsys: pytest.CaptureFixture[str], *words: str) -> list[list[str]]:
    """The cells of the table; its columns stand two spaces apart at least."""
    assert main(["paths", *words]) == 0
    return [[cell for cell in line.split("  ") if cell]
            for line in capsys.readouterr().out.splitlines()]


def test_paths_of_an_idle_instance(
    control: Control, capsys: pytest.CaptureFixture[str]
) -> None:
    control.rows = [row("0x0000", 0, 0), row("0x0101", 1, 1, "failed")]
    found = told(capsys, "h0", "h3", "--name", "lab")
    assert [[cell.strip() for cell in line] for line in found] == [
        ["EV", "PLANE", "T1", "ADDRESS", "STATE"],
        ["0x0000", "0", "0", "fcbb:bbbb:0::", "ok"],
        ["0x0101", "1", "1", "fcbb:bbbb:1::", "failed"]]
    assert (control.name, control.asked) == ("lab", [("paths", {"src": 0, "dst": 3})])


def test_a_path_inside_a_t0_has_no_t1(
    control: Control, capsys: pytest.CaptureFixture[str]
) -> None:
    control.rows = [row("0x0000", 0, None)]
    assert [cell.strip() for cell in told(capsys, "h0", "h1")[1]] == [
        "0x0000", "0", "-", "fcbb:bbbb:0::", "ok"]


def test_paths_while_queue_pairs_use_them(
    control: Control, capsys: pytest.CaptureFixture[str]
) -> None:
    control.rows = [
        row("0x0000", 0, 0, evs=live(100, 7, 0, good=4)),
        row("0x0001", 0, 1, "failed", live(90, 0, 3, good=1, assumed_bad=3)),
        row("0x0100", 1, 0, evs=live(0, 0, 0, **{"good, spare": 4})),
        row("0x0101", 1, 1)]
    cells = [[cell.strip() for cell in line] for line in told(capsys, "h0", "h3")]
    assert cells[0][5:] == ["MRC", "SENT", "MARKED", "LOST"]
    assert [line[4:] for line in cells[1:]] == [
        ["ok", "good", "100", "7", "0"],
        ["failed", "1 good, 3 assumed_bad", "90", "0", "3"],
        ["ok", "good, spare", "0", "0", "0"],
        ["ok", "-", "0", "0", "0"]]


def test_json_has_everything(control: Control, capsys: pytest.CaptureFixture[str]) -> None:
    control.rows = [row("0x0000", 0, 0, evs=live(100, 7, 0, good=4))]
    assert main(["paths", "h0", "h3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == control.rows


def test_of_a_topology_there_is_no_state(
    control: Control, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = [[cell.strip() for cell in line]
             for line in told(capsys, "h0", "h3", "--topology", "tiny")]
    assert cells[0] == ["EV", "PLANE", "T1", "ADDRESS", "STATE"]
    assert [line[:3] for line in cells[1:]] == [
        ["0x0000", "0", "0"], ["0x0001", "0", "1"], ["0x0100", "1", "0"], ["0x0101", "1", "1"]]
    assert {line[4] for line in cells[1:]} == {"-"}
    assert len({line[3] for line in cells[1:]}) == 4
    assert control.asked == []


@pytest.mark.parametrize(("words", "sentence"), [
    (["zero", "h1"], "'zero' is not a host"),
    (["h0", "h0", "--topology", "tiny"], "no path to itself"),
    (["h0", "h9", "--topology", "tiny"], "h9 does not exist"),
])
def test_mistakes(
    control: Control, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["paths", *words]) == 2
    assert sentence in capsys.readouterr().err
    assert control.asked == []
