"""`drill run` on a stage of a few lines: which instances it brings up, and what it tells."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from unit.drills.files import drill_of
from unit.drills.test_verdict import run_of

from testbed.cli import drill as command
from testbed.cli import drillrepeats
from testbed.cli.main import main
from testbed.drills import Drill, judge, load_drill
from testbed.drills.engine import Played
from testbed.drills.verdict import Judgement
from testbed.errors import InstanceError, MachineError, TestbedError
from topologies.spec import ClosSpec

PASSED = judge(drill_of(), run_of())
UNKNOWN = judge(drill_of(), run_of(events=()))


class Bench:
    """What was brought up and played; topologies in ``broken`` cannot come up, ``stuck`` not down.

    ``judgements`` and ``remarks`` are of drills by name.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.brought_up: list[str] = []
        self.played: list[tuple[str, Any]] = []
        self.broken: set[str] = set()
        self.stuck: set[str] = set()
        self.judgements: dict[str, list[Judgement]] = {}
        self.remarks: dict[str, str] = {}
        patch.setattr(command, "require_root", lambda _what: None)
        patch.setattr(command, "require_fit", lambda: None)
        patch.setattr(command, "interrupt_on_hangup", lambda: None)
        patch.setattr(command, "control_for", self._control)
        patch.setattr(command, "play", self._play)

    @contextmanager
    def _control(self, spec: ClosSpec, *_more: object) -> Iterator[None]:
        self.brought_up.append(spec.name)
        if spec.name in self.broken:
            raise MachineError(f"{spec.name} cannot come up: 9 GB of memory are missing")
        yield
        if spec.name in self.stuck:
            raise InstanceError(f"{spec.name} does not go down")

    def _play(self, drill: Drill, _stage: object) -> Played:
        self.played.append((drill.name, drill.workload.get("seed")))
        found = self.judgements.get(drill.name, [PASSED])
        judgement = found[(len(self.played) - 1) % len(found)]
        return Played(drill, Path("runs/x"), replace(judgement, name=drill.name), 1.5,
                      self.remarks.get(drill.name, ""))


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bench:
    monkeypatch.chdir(tmp_path)
    return Bench(monkeypatch)


def names(suite: ElementTree.Element) -> list[str | None]:
    return [case.get("name") for case in suite.iter("testcase")]


def test_each_topology_is_brought_up_once_for_all_drills(bench: Bench) -> None:
    assert main(["drill", "run", "all"]) == 0
    drills = [load_drill(name) for name in command.drill_names()]
    topologies = list(dict.fromkeys(drill.topology.name for drill in drills))
    assert len(topologies) > 1
    assert bench.brought_up == topologies
    assert sorted(name for name, _ in bench.played) == sorted(drill.name for drill in drills)


def test_topologies_that_differ_in_a_value_are_two() -> None:
    one = drill_of()
    other = replace(one, topology=replace(one.topology, port_rate_bps=50 * 10**9))
    assert command._by_topology([one, other, one]) == [[one, one], [other]]


def test_a_topology_that_cannot_come_up_fails_its_drills_and_no_others(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    drills = [load_drill(name) for name in command.drill_names()]
    first = drills[0].topology.name
    bench.broken = {first}
    assert main(["drill", "run", "all", "--json", "--junit", "junit.xml"]) == 3
    out, err = capsys.readouterr()
    words = {found["name"]: found["word"] for found in json.loads(out)}
    assert words == {drill.name: "ERROR" if drill.topology.name == first else "PASS"
                     for drill in drills}
    assert f"testbed: {drills[0].name}: {first} cannot come up" in err
    root = ElementTree.parse("junit.xml").getroot()
    assert sorted(map(str, names(root))) == sorted(words)
    assert root.get("errors") == str(list(words.values()).count("ERROR"))


def test_an_instance_that_does_not_go_down_is_told_and_stops_nothing(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    topologies = {name: load_drill(name).topology.name for name in command.drill_names()}
    first = next(name for name, found in topologies.items() if found != topologies["t1-crash"])
    bench.stuck = {topologies[first]}
    assert main(["drill", "run", first, "t1-crash"]) == 4
    assert [name for name, _ in bench.played] == [first, "t1-crash"]
    out, err = capsys.readouterr()
    assert "does not go down" in err
    assert f"ERROR    {first}" in out


def test_how_long_all_of_them_take_yet_is_told(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["drill", "run", "t1-crash", "t0-crash"]) == 0
    first, second = [line for line in capsys.readouterr().err.splitlines() if "-crash: " in line]
    takes_s = sum(load_drill(name).takes_s for name in ("t1-crash", "t0-crash"))
    assert f"; 2 drills left, about {command.drilltables.wall_text(takes_s)}" in first
    assert "left" not in second
    assert bench.played


# --- Seeds and repeats -------------------------------------------------------------------


class Loaded:
    """A run's folder with a recovery of one milestone, ns."""

    def __init__(self, at_ns: int) -> None:
        self._at_ns = at_ns

    def recovery(self) -> Any:
        from testbed.analysis.recovery import TYPES, pd

        row = dict.fromkeys(TYPES) | {
            "name": "crash", "target": "switch:p0-t1-1#crash", "t_inject_ns": 0, "hit_evs": 1,
            "out_evs": 1, "back_evs": 0, "first_out_ns": self._at_ns,
            "first_out_rtt": self._at_ns / 10_000}
        return pd.DataFrame([row], columns=list(TYPES)).astype(dict(TYPES))


@pytest.fixture
def _recoveries(monkeypatch: pytest.MonkeyPatch) -> None:
    found = iter([20_000, 50_000, 40_000])
    monkeypatch.setattr(drillrepeats, "load", lambda _folder: Loaded(next(found)))


@pytest.mark.usefixtures("_recoveries")
def test_a_seed_is_of_the_first_and_the_rest_follow(bench: Bench) -> None:
    assert main(["drill", "run", "t1-crash", "--seed", "7", "--repeat", "3"]) == 0
    assert [seed for _, seed in bench.played] == [7, 8, 9]


def test_how_to_run_it_again_names_a_seed_that_is_not_the_drill_s() -> None:
    own = drill_of()
    again = [judge(drill, run_of()).again for drill in command.repeats(own, None, 2)]
    assert again == ["sudo python -m testbed drill run test",
                     "sudo python -m testbed drill run test --seed 2"]
    (other,) = command.repeats(own, 9, 1)
    assert judge(other, run_of()).again.endswith(" --seed 9")
    assert command.repeats(own, 1, 1) == [own]


@pytest.mark.usefixtures("_recoveries")
def test_repeats_end_in_percentiles_in_us_and_rtt_of_those_that_measured_anything(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.judgements = {"t1-crash": [PASSED, UNKNOWN, PASSED]}
    assert main(["drill", "run", "t1-crash", "--repeat", "3"]) == 1
    *_, title, header, row = capsys.readouterr().out.splitlines()
    assert title == ("t1-crash: recovery over 2 repeats, 1 that showed nothing left out, in "
                     "emulated us and base RTTs")
    assert " ".join(header.split()) == (
        "step fault milestone seen p50 us p95 us max us p50 rtt p95 rtt max rtt")
    assert row.split() == ["crash", "switch:p0-t1-1#crash", "first_out", "2", "20.0", "50.0",
                           "50.0", "2.0", "5.0", "5.0"]


@pytest.mark.usefixtures("_recoveries")
def test_percentiles_are_in_the_last_document_of_a_drill(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["drill", "run", "t1-crash", "--repeat", "3", "--json"]) == 0
    first, second, third = json.loads(capsys.readouterr().out)
    assert not {"repeats"} & (first.keys() | second.keys())
    assert (third["repeats"]["runs"], third["repeats"]["counted"]) == (3, 3)
    rows = {row["milestone"]: row for row in third["repeats"]["recovery"]}
    assert (rows["first_out"]["p50_ns"], rows["first_out"]["max_rtt"]) == (40_000, 5)
    assert rows["last_back"]["p50_ns"] is None
    assert len(bench.played) == 3


def test_too_few_repeats_that_measured_anything_are_told(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.judgements = {"t1-crash": [PASSED, UNKNOWN]}
    main(["drill", "run", "t1-crash", "--repeat", "2"])
    assert capsys.readouterr().out.endswith(
        "t1-crash: 1 of 2 repeats can be counted, too few for percentiles\n")


# --- What cannot be written --------------------------------------------------------------


def test_a_verdict_that_could_not_be_kept_is_told_all_the_same(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.remarks = {"t1-crash": "drill.json cannot be written: free some space and run again"}
    assert main(["drill", "run", "t1-crash", "--junit", "junit.xml"]) == 5
    out, err = capsys.readouterr()
    assert out.startswith("PASS  ")
    assert "testbed: t1-crash: drill.json cannot be written: free some space" in err
    assert "free some space" in Path("junit.xml").read_text()
    assert main(["drill", "run", "t1-crash", "--json"]) == 5
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["word"], told["remark"]) == ("PASS", bench.remarks["t1-crash"])


@pytest.mark.parametrize(("words", "told"), [
    (["t1-crash", "--junit", "missing/junit.xml"], "--junit missing/junit.xml cannot be written"),
    (["t1-crash", "--junit", "."], "--junit . cannot be written: name a file"),
    (["all", "t1-crash"], "`all` is every drill of the library: leave out t1-crash"),
    (["t1-crash", "--seed", "-1"], "--seed -1 is not allowed: use 0 to 9223372036854775807"),
    (["t1-crash", "--seed", "9223372036854775807", "--repeat", "2"], "use 0 to 92233720368547758"),
])
def test_what_makes_no_sense_is_told_before_anything_is_run(
    bench: Bench, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    assert main(["drill", "run", *words]) == 2
    assert told in capsys.readouterr().err
    assert (bench.brought_up, bench.played) == ([], [])


def test_junit_xml_is_its_user_s_and_a_disk_that_is_full_then_takes_no_verdict(
    bench: Bench, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Any] = []
    monkeypatch.setattr(command, "replace_file", lambda *given: written.append(given))
    monkeypatch.setattr(command.os, "geteuid", lambda: 0)
    monkeypatch.setenv("SUDO_UID", "4321")
    monkeypatch.setenv("SUDO_GID", "4322")
    assert main(["drill", "run", "t1-crash", "--junit", "junit.xml"]) == 0
    ((path, text, owner),) = written
    assert (str(path), owner) == ("junit.xml", (4321, 4322))
    assert "t1-crash" in text

    def refuse(*_given: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(command, "replace_file", refuse)
    capsys.readouterr()
    assert main(["drill", "run", "t1-crash", "--json", "--junit", "junit.xml"]) == 5
    out, err = capsys.readouterr()
    assert json.loads(out)[0]["word"] == "PASS"
    assert "testbed: junit.xml cannot be written (no space left on device)" in err
    assert bench.played


def test_a_drill_that_fails_goes_with_a_sentence(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_drill: Drill, _stage: object) -> Played:
        raise TestbedError("h2 is gone")

    monkeypatch.setattr(command, "play", fail)
    assert main(["drill", "run", "t1-crash"]) == 5
    assert "testbed: t1-crash: h2 is gone" in capsys.readouterr().err
    assert bench.brought_up
