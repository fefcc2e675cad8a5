"""The page of a run: everything is on it, nothing has to be fetched, what is missing is said."""

from __future__ import annotations

import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from unit.analysis.figures.drawing import ACTIONS
from unit.analysis.made import (
    SIMULATED,
    ev_change,
    ev_sample,
    inject,
    loss,
    made_folder,
    steady,
)

from testbed.analysis import load
from testbed.analysis.report import html, markdown, write_page, write_report
from testbed.errors import TestbedError, UsageError

EV = 0x0002_0000
TABLES: dict[str, Any] = {
    "flows": steady(300e9, 0, 100_000, 2000), "events": ACTIONS,
    "losses": [loss(56_000, 41_000, EV)], "ev_samples": [ev_sample(100_000, EV, 50, 100_000)],
    "evs": [ev_change(57_000, EV, "good", "assumed_bad")],
}
CHECK = {"name": "no loss of goodput", "word": "FAIL", "measure": "goodput", "unit": "bit/s",
         "measured": 3e11, "shown": "300.0 Gb/s", "expected": "100 % +- 3 % of before",
         "reference": "before: 390.0 Gb/s", "paper": "no steady-state loss", "look": "goodput",
         "reason": ""}
DRILL = {
    "schema_version": 1, "name": "t1-crash", "title": "A T1 switch dies", "paper": "Fig 11",
    "figure": "losses", "word": "FAIL", "reasons": ["goodput fell <b>far</b>"], "warnings": [],
    "windows": [], "checks": [CHECK], "again": "sudo python -m testbed drill run t1-crash",
    "is_simulated": False, "healed": True, "takes_s": 60,
}
RESULT = {
    "kind": "write-bw", "failures": [], "hosts": {"h0": {
        "sent": 1234, "resent": 7, "resent_by": {"nack": 1, "evidence": 4, "timer": 2},
        "timeouts": 1, "icrc_errors": 0}},
    "fidelity": [{"quantity": "lateness p99", "measured": "0.4 us", "where": "h0",
                  "limit": "0.94 us (0.1 base RTT)", "word": "trusted"}],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return made_folder(tmp_path / "run", drill=DRILL, result=RESULT, **TABLES)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of the same run, drawn once: a dozen figures take a while."""
    folder = made_folder(tmp_path_factory.mktemp("page") / "run", drill=DRILL, result=RESULT,
                         **TABLES)
    return html(load(folder))


class Reader(HTMLParser):
    """What a page says, and what it would have to fetch."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.words: list[str] = []
        self.fetched: list[str] = []
        self.ids: set[str] = set()
        self.links: list[str] = []
        self._open = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self._open = tag
        found = dict(attrs)
        if tag in ("script", "link", "iframe", "object"):
            self.fetched.append(tag)
        for key in ("src", "xlink:href", "href"):
            value = found.get(key) or ""
            if value and not value.startswith(("#", "data:")):
                self.fetched.append(value)
        if "id" in found:
            self.ids.add(found["id"])
        if tag == "a":
            self.links.append(found["href"])

    def handle_data(self, data: str) -> None:
        if self._open in ("h1", "h2", "h3") and data.strip():
            self.headings.append(data.strip())
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def test_everything_of_a_drill_is_on_the_page(page: str) -> None:
    text = Reader(page).text
    for part in ("t1-crash", "A T1 switch dies. Paper, Fig 11.", "the run itself is trusted",
                 "300.0 Gb/s", "100 % +- 3 % of before", "no steady-state loss",
                 "switch:p0-t1-2#crash", "its counters rose", "1,234", "0.94 us (0.1 base RTT)",
                 "sudo python -m testbed drill run t1-crash", "workload: write-bw",
                 "quad: 8 hosts on 4 planes of 100Gbps", "5,000 (1us emulated takes 5ms)"):
        assert part.lower() in text.lower(), part


def test_the_figure_of_the_drill_comes_first(page: str) -> None:
    headings = Reader(page).headings
    assert headings.index("Packets taken for lost") < headings.index("Further figures")
    assert headings.index("Goodput over time") > headings.index("Further figures")


def test_nothing_has_to_be_fetched(page: str) -> None:
    assert Reader(page).fetched == []
    assert "url(http" not in page
    assert "@import" not in page


def test_a_check_leads_to_its_figure(page: str) -> None:
    reader = Reader(page)
    assert reader.links == ["#goodput"]
    assert {link[1:] for link in reader.links} <= reader.ids


def test_texts_are_escaped(page: str) -> None:
    assert "fell &lt;b&gt;far&lt;/b&gt;" in page
    assert "<b>far" not in page


def test_figures_without_rows_are_said_to_be_missing(page: str) -> None:
    reader = Reader(page)
    assert "Not recorded" in reader.headings
    assert "Training steps: This run was no training job" in reader.text


def test_a_run_cut_off_says_so_loudly(tmp_path: Path) -> None:
    folder = made_folder(tmp_path / "run", manifest={
        "state": "partial", "ended_at": None,
        "verdict": {"word": "invalid", "reasons": ["the instance was killed"]}},
        events=ACTIONS, flows=TABLES["flows"][:1])
    page = html(load(folder))
    assert '<p class="alarm">This run was cut off' in page
    text = Reader(page).text
    assert "the instance was killed" in text
    assert "the counters at the end were not read" in text
    assert "Not recorded: the run ended before it was judged." in text


def test_what_could_not_be_healed_is_said_loudly(tmp_path: Path) -> None:
    folder = made_folder(tmp_path / "run", drill={**DRILL, "healed": False}, events=ACTIONS)
    assert '<p class="alarm">Not everything the drill broke' in html(load(folder))


def test_a_fault_without_evidence_is_told(tmp_path: Path) -> None:
    event = inject(10_000, "crash", "switch:p0-t1-2#crash", detail="no evidence")
    folder = made_folder(tmp_path / "run", events=[event])
    assert "NONE: its counters rose" in html(load(folder))


def test_a_simulation_has_no_verdict_on_the_run(tmp_path: Path) -> None:
    folder = made_folder(tmp_path / "run", manifest=SIMULATED)
    text = Reader(html(load(folder))).text
    assert "there is no verdict on the run" in text
    assert "spec.yaml --sim" in text


def test_a_folder_with_nothing_but_its_request_has_a_page(tmp_path: Path) -> None:
    text = Reader(html(load(made_folder(tmp_path / "run")))).text
    assert "Nothing was done to the fabric in this run." in text
    assert "What hosts sent was not recorded." in text


def test_the_same_run_has_the_same_page(page: str, folder: Path) -> None:
    again = html(load(folder)).replace(str(folder.resolve()), "FOLDER")
    assert re.sub(r"/[^ <\n]*/run\b", "FOLDER", page) == re.sub(
        r"/[^ <\n]*/run\b", "FOLDER", again)


def test_markdown_has_the_tables(folder: Path) -> None:
    text = markdown(load(folder))
    assert text.startswith("# t1-crash: FAIL\n")
    assert ("| no loss of goodput | FAIL | 300.0 Gb/s | 100 % +- 3 % of before | "
            "before: 390.0 Gb/s | no steady-state loss | goodput |") in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in rows)


def test_the_page_is_put_into_the_folder(folder: Path) -> None:
    path = write_report(folder)
    assert path == folder.resolve() / "report.html"
    assert path.read_text().startswith("<!DOCTYPE html>")
    assert [name for name in os.listdir(folder) if name.endswith(".new")] == []


def test_another_file_can_be_named(tmp_path: Path) -> None:
    folder = made_folder(tmp_path / "run")
    assert write_report(folder, tmp_path / "other.html").is_file()
    assert not (folder / "report.html").exists()


def test_a_link_in_its_place_is_replaced_and_not_followed(tmp_path: Path) -> None:
    folder = made_folder(tmp_path / "run")
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (folder / "report.html").symlink_to(precious)
    (folder / ".report.html.new").symlink_to(precious)
    with pytest.raises(TestbedError, match="cannot be written"):
        write_report(folder)
    assert precious.read_text() == "mine"
    write_report(folder)
    assert precious.read_text() == "mine"
    assert not (folder / "report.html").is_symlink()


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(TestbedError, match="--out"):
        write_page(tmp_path / "missing" / "report.html", "text")


def test_what_is_no_run_has_no_report(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run folder"):
        write_report(tmp_path)
