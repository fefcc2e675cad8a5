"""`testbed drill` as a user types it, in the simulator: files, verdicts, exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from testbed.analysis import load
from testbed.cli.main import main
from testbed.drills.catalogue import drill_names

SHORT = """\
drill: {name}
title: A T1 switch dies and returns
paper: none
about: Short, for tests.
topology: tiny
workload: {{workload: write-bw, src: h0, dst: h2, qps: 2, duration: 60rtt}}
packets: 20000
takes: {{fabric: 20s, sim: 1s}}
timeline:
  - {{name: crash, at: 20rtt, fail: switch:p0-t1-1}}
  - {{name: back, at: 35rtt, heal: crash}}
windows: {{before: 8rtt .. crash, broken: crash + 5rtt .. back}}
checks:
  - name: steady
    steady: true
    measure: goodput
    in: before
    expect: ">= {steady} %"
    of: nominal
  - {{name: stays, measure: goodput, in: broken, expect: ">= {stays} %", of: before}}
figure: goodput
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(name: str = "mine", steady: int = 80, stays: int = 80) -> str:
    path = Path(f"{name}.yaml")
    path.write_text(SHORT.format(name=name, steady=steady, stays=stays))
    return f"./{path}"


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any]:
    code = main(["drill", "run", *words, "--sim", "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_a_drill_that_passes(capsys: pytest.CaptureFixture[str]) -> None:
    code, (told,) = run(capsys, write(), "--junit", "junit.xml")
    assert (code, told["word"], told["healed"]) == (0, "PASS", True)
    folder = Path(told["folder"])
    assert json.loads((folder / "drill.json").read_text())["word"] == "PASS"
    assert (folder / "drill.yaml").read_text() == Path("mine.yaml").read_text()
    assert "PASS" in (folder / "report.html").read_text()
    found = load(folder)
    assert list(found.actions["what"]) == ["inject", "heal"]
    assert found.drill is not None
    suite = ElementTree.parse("junit.xml").getroot().find("testsuite")
    assert suite is not None
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == ("tiny", "1", "0")


@pytest.mark.parametrize(("changes", "word", "told"), [
    ({"stays": 120}, "FAIL", "stays: measured"),
    ({"steady": 120}, "INCONCLUSIVE", "the steady state did not hold"),
])
def test_a_drill_that_does_not_pass(capsys: pytest.CaptureFixture[str], changes: dict[str, int],
                                    word: str, told: str) -> None:
    code, (found,) = run(capsys, write(**changes))
    assert (code, found["word"]) == (1, word)
    assert told in found["reasons"][0]


def test_text_says_verdict_and_where_the_report_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drill", "run", write(), "--sim"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("PASS  mine: A T1 switch dies and returns\n")
    assert Path(out.rsplit("report: ", 1)[1].strip()).exists()


def test_repeats_differ_and_end_in_percentiles(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drill", "run", write(), "--sim", "--repeat", "2"]) == 0
    out = capsys.readouterr().out
    assert "2 of 2 passed" in out
    assert "recovery over 2 repeats" in out
    specs = [json.loads((folder / "manifest.json").read_text())["seed"]
             for folder in Path("runs").glob("*-drill-mine-sim*")]
    assert sorted(specs) == [1, 2]


def test_one_bad_drill_spoils_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    code, told = run(capsys, write("good"), write("bad", stays=120))
    assert code == 1
    assert [found["word"] for found in told] == ["PASS", "FAIL"]


def test_a_new_drill_runs_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drill", "new", "first"]) == 0
    assert "drill run ./first.yaml --sim" in capsys.readouterr().out
    code, (told,) = run(capsys, "./first.yaml")
    assert (code, told["word"]) == (0, "PASS")


@pytest.mark.parametrize(("words", "told"), [
    (["new", "No Name"], "cannot be a name"),
    (["new", "taken"], "is there already"),
    (["show", "t1-crsh"], "did you mean 't1-crash'"),
    (["run", "./nowhere.yaml"], "cannot be read"),
    (["run", "t1-crash", "--repeat", "0"], "--repeat 0 is not allowed"),
])
def test_mistakes_are_a_sentence(capsys: pytest.CaptureFixture[str], words: list[str],
                                 told: str) -> None:
    Path("taken.yaml").write_text("mine")
    assert main(["drill", *words]) == 2
    assert told in capsys.readouterr().err
    assert Path("taken.yaml").read_text() == "mine"


def test_the_library_is_listed_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drill", "list"]) == 0
    listed = capsys.readouterr().out
    for name in drill_names():
        assert f"\n{name} " in listed
        assert main(["drill", "show", name]) == 0
        assert capsys.readouterr().out.startswith(name)
    assert main(["drill", "list", "--json"]) == 0
    assert [found["name"] for found in json.loads(capsys.readouterr().out)] == list(drill_names())
