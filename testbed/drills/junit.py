"""Verdicts as JUnit XML, which CI systems show: a suite per topology, a case per drill.

FAIL is a failure, INCONCLUSIVE and a drill that could not be run are errors; the checks are
in system-out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from testbed.drills.verdict import FAIL, PASS, CheckResult, Judgement

# XML 1.0 section 2.2: other control characters cannot be written at all.
_UNSPEAKABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one run of a drill, in ``wall_s``; ``error`` is why there is no judgement,
    ``remark`` what of it could not be kept."""

    name: str
    topology: str
    wall_s: float
    judgement: Judgement | None = None
    error: str = ""
    remark: str = ""


def junit_xml(outcomes: Sequence[Outcome]) -> str:
    """The XML document."""
    root = ElementTree.Element("testsuites", _totals(outcomes))
    for topology in dict.fromkeys(outcome.topology for outcome in outcomes):
        mine = [outcome for outcome in outcomes if outcome.topology == topology]
        suite = ElementTree.SubElement(root, "testsuite", {"name": topology, **_totals(mine)})
        for outcome in mine:
            _add_case(suite, outcome)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _totals(outcomes: Sequence[Outcome]) -> dict[str, str]:
    kinds = [_kind(outcome) for outcome in outcomes]
    wall_s = sum(outcome.wall_s for outcome in outcomes)
    return {"tests": str(len(outcomes)), "failures": str(kinds.count("failure")),
            "errors": str(kinds.count("error")), "time": f"{wall_s:.3f}"}


def _kind(outcome: Outcome) -> str:
    judgement = outcome.judgement
    if judgement is None:
        return "error"
    return {PASS: "", FAIL: "failure"}.get(judgement.word, "error")


def _add_case(suite: ElementTree.Element, outcome: Outcome) -> None:
    case = ElementTree.SubElement(suite, "testcase", {
        "classname": f"drills.{outcome.topology}", "name": outcome.name,
        "time": f"{outcome.wall_s:.3f}"})
    judgement = outcome.judgement
    reasons = [outcome.error] if judgement is None else list(judgement.reasons)
    if kind := _kind(outcome):
        word = "ERROR" if judgement is None else judgement.word
        told = ElementTree.SubElement(case, kind, {
            "message": _speakable(reasons[0] if reasons else word), "type": word})
        told.text = _speakable("\n".join(reasons))
    if judgement is not None:
        out = ElementTree.SubElement(case, "system-out")
        lines = [*_lines(judgement), *filter(None, [outcome.remark])]
        out.text = _speakable("\n".join(lines))


def _lines(judgement: Judgement) -> Iterator[str]:
    yield f"{judgement.word}  {judgement.title} ({judgement.paper})"
    yield from map(check_line, judgement.checks)
    yield from (f"warning: {warning}" for warning in judgement.warnings)
    yield f"again: {judgement.again}"


def check_line(check: CheckResult) -> str:
    """A check on one line: ``PASS  steady: 742.1 Gb/s, expected >= 94 % of ...``."""
    paper = f" (paper: {check.paper})" if check.paper else ""
    if check.measured is None:
        return f"{check.word}  {check.name}: {check.reason}{paper}"
    return f"{check.word}  {check.name}: {check.shown}, expected {check.expected}{paper}"


def _speakable(text: str) -> str:
    return _UNSPEAKABLE.sub("?", text)
