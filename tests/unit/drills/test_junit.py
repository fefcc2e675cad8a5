"""JUnit XML: suites, cases, and what CI systems count."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

from unit.drills.files import drill_of
from unit.drills.test_verdict import run_of

from testbed.drills import judge
from testbed.drills.junit import Outcome, check_line, junit_xml

PASSED = judge(drill_of(), run_of())
FAILED = judge(drill_of(), run_of(broken=150e9))
UNKNOWN = judge(drill_of(), run_of(events=()))


def test_every_drill_is_a_case_of_its_topology() -> None:
    root = ElementTree.fromstring(junit_xml([
        Outcome("a", "tiny", 1.5, PASSED), Outcome("b", "octo", 2, FAILED),
        Outcome("c", "tiny", 3, UNKNOWN), Outcome("d", "octo", 0, error="no\x00 such <host>")]))
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("4", "1", "2")
    suites = {suite.get("name"): suite for suite in root}
    assert list(suites) == ["tiny", "octo"]
    assert suites["tiny"].get("time") == "4.500"
    cases = {case.get("name"): case for case in root.iter("testcase")}
    assert [child.tag for child in cases["a"]] == ["system-out"]
    failure, error = cases["b"].find("failure"), cases["d"].find("error")
    assert failure is not None
    assert "measured 150.0 Gb/s" in str(failure.get("message"))
    assert error is not None
    assert error.get("message") == "no? such <host>"
    unknown = cases["c"].find("error")
    assert unknown is not None
    assert unknown.get("type") == "INCONCLUSIVE"
    out = cases["b"].find("system-out")
    assert out is not None
    assert "FAIL  kept: 150.0 Gb/s" in str(out.text)


def test_a_line_tells_a_check_with_the_papers_value() -> None:
    assert check_line(FAILED.checks[1]) == (
        "FAIL  kept: 150.0 Gb/s, expected 100 % +- 5 % of before (190.0 Gb/s) (paper: kept)")
    nothing = replace(FAILED.checks[1], measured=None, word="INCONCLUSIVE", reason="no window")
    assert check_line(nothing) == "INCONCLUSIVE  kept: no window (paper: kept)"
