"""A drill that was played: judged from its folder, and what is put beside it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from testbed.drills import engine
from testbed.drills.catalogue import load_drill
from testbed.drills.drill import Drill
from testbed.drills.engine import play
from testbed.drills.stages import SimStage
from testbed.drills.template import template
from testbed.errors import TestbedError
from testbed.instance.runfolder import Owner


class Stage:
    """The simulator, with something that happens meanwhile to the drill's file."""

    def __init__(self, stage: SimStage, file: Path) -> None:
        self._stage, self._file = stage, file

    def play(self, drill: Drill) -> Path:
        self._file.write_text("drill: another\n")
        return self._stage.play(drill)


@pytest.fixture(name="file")
def _file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(template("mine"))
    return path


@pytest.fixture(name="stage")
def _stage(tmp_path: Path, file: Path) -> Stage:
    return Stage(SimStage(tmp_path / "runs", Owner(os.getuid(), os.getgid())), file)


def test_what_was_played_is_kept_and_not_what_the_file_says_by_then(
    file: Path, stage: Stage
) -> None:
    played = play(load_drill(str(file)), stage)
    assert (played.folder / "drill.yaml").read_text() == template("mine")
    assert json.loads((played.folder / "drill.json").read_text())["word"] == played.judgement.word
    assert (played.remark, (played.folder / "report.html").exists()) == ("", True)


def test_a_verdict_that_cannot_be_written_is_known_all_the_same(
    file: Path, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_path: Path, name: str, _content: str) -> None:
        raise TestbedError(f"{name} cannot be written: free some space")

    monkeypatch.setattr(engine, "add_to_closed", refuse)
    played = play(load_drill(str(file)), stage)
    assert played.judgement.word == "PASS"
    assert played.remark == "drill.json cannot be written: free some space"
