"""What `drill list` and `drill show` say."""

from __future__ import annotations

from unit.drills.files import TRAIN, drill_of, timed
from unit.drills.test_verdict import run_of

from testbed.cli.drilltables import judgement_text, list_document, list_text, show_text
from testbed.drills import drill_names, judge, load_drill


def test_the_list_has_a_line_per_drill_and_the_sum_of_times() -> None:
    text = list_text([drill_of(), drill_of()])
    header, first, second, _, total = text.splitlines()
    assert header.split() == ["drill", "topology", "paper", "takes", "--sim", "what"]
    assert first == second == "test   tiny      Fig 0  10s    1s     A test"
    assert total == "all: 20s on the fabric, 2s with --sim"


def test_the_list_for_programs_says_the_same() -> None:
    assert list_document([drill_of()])[0] == {
        "name": "test", "title": "A test", "paper": "Fig 0: nothing", "topology": "tiny",
        "figure": "goodput", "budget_packets": 1000, "takes_s": 10.0, "takes_sim_s": 1.0}


def test_show_says_what_is_done_when_and_what_must_be_seen() -> None:
    text = show_text(drill_of())
    assert "crash            at 40.0 rtt                  inject switch:p0-t1-1#crash" in text
    assert "back             at 80.0 rtt                  heal switch:p0-t1-1#crash" in text
    assert "broken       crash + 94.04us .. back" in text
    assert "kept: goodput in broken 100 % +- 5 % of before; paper: kept" in text
    assert "steady (steady state): goodput in before >= 90 % of line rate" in text


def test_show_tells_every_kind_of_moment_and_what_is_healed_at_the_end() -> None:
    text = show_text(timed(
        "name: a, loss: nic:h0:p0, ratio: 5%, at: start",
        "name: b, fail: nic:h1:p0, after: a + 5rtt",
        "name: c, fail: nic:h2:p0, when: all ranks in step 2, plus: 1rtt",
        "name: d, fail: nic:h3:p0, when: any rank past 50 %", workload=TRAIN))
    for words in ("before the start", "5.0 rtt after a", "all ranks in step 2 + 1.0 rtt",
                  "any rank past 50 %", "nic:h0:p0#loss 5 %",
                  "(end) heal nic:h0:p0#loss, nic:h1:p0#down, nic:h2:p0#down,"):
        assert words in " ".join(text.split())
    assert "nothing is done" in show_text(timed())


def test_every_drill_of_the_library_can_be_shown() -> None:
    for name in drill_names():
        assert max(map(len, show_text(load_drill(name)).splitlines())) <= 96


def test_a_judgement_tells_checks_reasons_and_how_to_run_it_again() -> None:
    text = judgement_text(judge(drill_of(), run_of(broken=150e9)))
    assert text.startswith("FAIL  test: A test\n")
    assert "  because kept: measured 150.0 Gb/s" in text
    assert text.endswith("  again: sudo python -m testbed drill run test\n")
