"""`testbed report`: which run is meant, where the page is put, what is printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from unit.analysis.made import made_folder, steady

from testbed.cli.main import main
from testbed.cli.report import find_run
from testbed.errors import UsageError


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one run below ``runs``, which is the latest."""
    monkeypatch.chdir(tmp_path)
    folder = made_folder(tmp_path / "runs" / "one", flows=steady(1e11, 0, 100_000, 10_000))
    (tmp_path / "runs" / "latest").symlink_to("one")
    return folder


@pytest.mark.parametrize("text", ["latest", "one", "runs/one", "runs/latest"])
def test_a_run_is_found_as_people_name_it(run: Path, text: str) -> None:
    assert find_run(text).resolve() == run


def test_a_mistyped_name_is_told_with_a_hint(run: Path) -> None:
    with pytest.raises(UsageError, match=r"no run 'onne', did you mean 'one'.*newest"):
        find_run("onne")


def test_without_any_run_the_way_to_one_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="testbed drill run"):
        find_run("latest")


def test_the_page_is_written_and_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report"]) == 0
    assert capsys.readouterr().out == f"{run / 'report.html'}\n"
    assert (run / "report.html").is_file()


def test_json_names_the_page(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "one", "--json", "--out", "page.html"]) == 0
    assert json.loads(capsys.readouterr().out) == {"report": "page.html"}
    assert Path("page.html").is_file()


def test_markdown_goes_to_stdout_or_into_a_file(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "one", "--markdown"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("# one: trusted\n")
    assert main(["report", "one", "--markdown", "--out", "page.md", "--json"]) == 0
    assert Path("page.md").read_text() == text
    assert json.loads(capsys.readouterr().out) == {"report": "page.md"}


def test_two_documents_do_not_fit_on_stdout(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "one", "--markdown", "--json"]) == 2
    assert "--out" in capsys.readouterr().err
