"""`run --sim` from the command line to the folder it leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from testbed.cli.main import main
from workloads.collectives.schedule import Area
from workloads.collectives.tensors import Tensors

TINY = ("--sim", "--topology", "tiny", "--json")
COLLECTIVE = ("allreduce", "--sizes", "4K,96K", "--iters", "3")
TRAIN = ("train", "--steps", "2", "--gradients", "64K", "--buckets", "2", "--compute", "100us",
         "--pipeline", "4K", "--experts", "8K", "--channels", "2")


def simulated(capsys: pytest.CaptureFixture[str], out: Path,
              *words: str) -> tuple[int, dict[str, Any]]:
    code = main(["run", *words, "--out", str(out)])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(("words", "rows"), [(COLLECTIVE, "collectives"), (TRAIN, "rank_steps")])
def test_a_stored_spec_repeats_its_run_exactly(
    words: tuple[str, ...], rows: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, first = simulated(capsys, tmp_path, *words, *TINY, "--seed", "11")
    assert code == 0
    spec = str(Path(first["folder"]) / "spec.yaml")
    code, again = simulated(capsys, tmp_path, spec, "--sim", "--json")
    assert code == 0
    assert again["folder"] != first["folder"]
    assert len(first[rows]) == len(first["ranks"]) * (2 * 4 if rows == "collectives" else 2)
    differing = {key for key in first if first[key] != again[key]}
    assert differing <= {"folder", "wall_s"}


def test_an_element_that_is_wrong_in_a_middle_iteration_is_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    add = Tensors.add

    def spoil(tensors: Tensors, receive: Any) -> None:
        add(tensors, receive)
        if tensors._rank == 2 and receive.start == 0 and receive.own is not None:
            added.append(receive)
            if len(added) == 2:  # of the warm-up and three iterations
                tensors._areas[Area.OUTPUT][5] += 1

    added: list[Any] = []
    monkeypatch.setattr(Tensors, "add", spoil)
    code, found = simulated(capsys, tmp_path, "allreduce", "--sizes", "4K", "--iters", "3", *TINY)
    assert len(added) == 4
    assert code == 1
    assert found["verified"]["wrong_bytes"] == 0  # the last iteration is right
    assert found["verified"]["wrong_elements"] == found["sizes"][0]["wrong"] > 0
    assert {row["iteration"] for row in found["collectives"] if row["wrong"]} == {0}
