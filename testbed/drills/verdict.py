"""What a drill has shown: every check measured, and one word for all of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from testbed.analysis import Run, Window
from testbed.analysis.measures import measure
from testbed.drills.drill import Check, Drill, Reference
from testbed.drills.expect import show
from testbed.drills.windows import RUN, Resolved, resolve_window
from testbed.faults.chronicle import BY_HAND, NO_EVIDENCE
from testbed.faults.script import faults_of, silenced_hosts
from testbed.metrics.wrong import wrong_elements
from topologies.numbers import base_rtt_ns

Word = Literal["PASS", "FAIL", "INCONCLUSIVE"]
PASS: Word = "PASS"
FAIL: Word = "FAIL"
INCONCLUSIVE: Word = "INCONCLUSIVE"
SCHEMA_VERSION = 1
_QP_FAILURES = "qp_failures"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check of one run, as texts for people beside the figure itself.

    ``measured`` is in ``unit``, None where there was nothing to measure; ``expected`` and
    ``reference`` are as :func:`testbed.drills.expect.show` writes them.
    """

    name: str
    word: Word
    measure: str
    unit: str
    measured: float | None
    shown: str
    expected: str
    reference: str | None
    paper: str | None
    look: str
    window: str
    is_steady: bool
    reason: str = ""

    def sentence(self) -> str:
        """Measured, expected and where to look, for a check that does not hold."""
        if self.measured is None:
            return f"{self.name}: {self.reason or 'there was nothing to measure'}"
        return (f"{self.name}: measured {self.shown}, expected {self.expected}; see "
                f"{self.look} of the report")


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict of a drill, its reasons, and everything they rest on."""

    name: str
    title: str
    paper: str
    figure: str
    word: Word
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    windows: tuple[Resolved, ...]
    checks: tuple[CheckResult, ...]
    again: str
    is_simulated: bool
    healed: bool
    takes_s: float

    def to_document(self) -> dict[str, Any]:
        """What drill.json holds."""
        return {
            "schema_version": SCHEMA_VERSION,
            **{key: value for key, value in asdict(self).items()
               if key not in ("windows", "checks")},
            "reasons": list(self.reasons), "warnings": list(self.warnings),
            "windows": [{"name": window.name, "start_ns": window.start_ns,
                         "end_ns": window.end_ns} for window in self.windows
                        if not window.reason],
            "checks": [asdict(check) for check in self.checks],
        }


def judge(drill: Drill, run: Run) -> Judgement:
    """The verdict of a drill that was run.

    INCONCLUSIVE where the figures cannot be believed, whatever the checks say: the run is
    partial or invalid, a simulation went wrong, the steady state did not hold, a step was not
    done (but for a run that a check finds to have ended early because queue pairs failed), or a
    fault left no evidence that it bit. Otherwise FAIL where a check does not hold or anything
    arrived wrong; then INCONCLUSIVE where a check had nothing to measure or something could not
    be healed; then PASS. A run that was only degraded, a packet budget that was exceeded, or a
    flap that bit nothing where some of a series were enough, is a warning.
    """
    done_ns = _done_ns(run)
    end_ns = run.end_ns if drill.duration_ns is None else drill.duration_ns
    windows = {spec.name: resolve_window(spec, done_ns, end_ns) for spec in drill.windows}
    checks = tuple(_check(check, drill, run, windows) for check in drill.checks)
    checks = (*checks, _bytes_check(run))
    is_broken = any(c.measure == _QP_FAILURES and c.word == FAIL for c in checks)
    unforeseen, foreseen = _failures(drill, run, is_broken)
    doubts = [*_doubts_of_run(run), *unforeseen,
              *_doubts_of_script(drill, run, done_ns, is_broken), *_doubts_of_steady_state(checks)]
    unhealed = tuple(_unhealed(run))
    word, reasons = _decide(doubts, checks, unhealed)
    return Judgement(
        name=drill.name, title=drill.title, paper=drill.paper, figure=drill.figure, word=word,
        reasons=tuple(reasons), warnings=(*_warnings(drill, run), *foreseen),
        windows=tuple(windows.values()), checks=checks, again=again(drill, run.is_simulated),
        is_simulated=run.is_simulated, healed=not unhealed,
        takes_s=drill.takes(run.is_simulated))


def again(drill: Drill, is_simulated: bool) -> str:
    """The command that runs it once more."""
    seed = "" if drill.other_seed is None else f" --seed {drill.other_seed}"
    if is_simulated:
        return f"python -m testbed drill run {drill.ask}{seed} --sim"
    return f"sudo python -m testbed drill run {drill.ask}{seed}"


def _decide(doubts: Sequence[str], checks: Sequence[CheckResult],
            unhealed: Sequence[str]) -> tuple[Word, list[str]]:
    """The word, and everything that speaks against a PASS; see `judge` for the order."""
    # Of the gate the doubts tell.
    judged = [check for check in checks if not check.is_steady]
    failed = [check.sentence() for check in judged if check.word == FAIL]
    unknown = [check.sentence() for check in judged if check.word == INCONCLUSIVE]
    if doubts:
        return INCONCLUSIVE, [*doubts, *failed, *unknown, *unhealed]
    if failed:
        return FAIL, [*failed, *unknown, *unhealed]
    if unknown or unhealed:
        return INCONCLUSIVE, [*unknown, *unhealed]
    return PASS, []


# --- checks --------------------------------------------------------------------------------


def _check(check: Check, drill: Drill, run: Run, windows: Mapping[str, Resolved]) -> CheckResult:
    """Measure it, and what it is compared with."""
    measured, reason = _measured(run, check.measure, check.where, windows[check.window])
    reference: float | None = None
    if check.of is not None and not reason:
        reference, reason = _reference(run, check.of, windows)
        if not reason and not reference:
            reason = f"there is nothing to compare it with, {check.of.text} is 0"
    if reason:
        return _result(check, drill, INCONCLUSIVE, None, None, reason)
    assert measured is not None
    holds = check.expect.holds(measured, reference)
    return _result(check, drill, PASS if holds else FAIL, measured, reference, "")


def _reference(run: Run, of: Reference,
               windows: Mapping[str, Resolved]) -> tuple[float | None, str]:
    if of.source == "fixed":
        return of.value, ""
    return _measured(run, of.measure, of.where, windows[of.window])


def _measured(run: Run, name: str, where: Mapping[str, str],
              window: Resolved) -> tuple[float | None, str]:
    """A figure, or the reason why there is none."""
    if window.reason:
        return None, window.reason
    found = measure(run, name, Window(window.start_ns, window.end_ns), where)
    if found is None or math.isnan(found):
        told = " of " + ", ".join(f"{key} {text}" for key, text in where.items()) if where else ""
        return None, f"there was no {name.replace('_', ' ')}{told} in window '{window.name}'"
    return float(found), ""


def _result(check: Check, drill: Drill, word: Word, measured: float | None,
            reference: float | None, reason: str) -> CheckResult:
    rtt_ns = base_rtt_ns(drill.topology)
    expected, told = check.expect.text, None
    if check.of is not None:
        expected = f"{check.expect.text} of {check.of.text}"
        if reference is not None:
            told = f"{check.of.text}: {show(reference, check.unit, rtt_ns)}"
            expected += f" ({show(reference, check.unit, rtt_ns)})"
    return CheckResult(
        name=check.name, word=word, measure=check.measure, unit=check.unit, measured=measured,
        shown=show(measured, check.unit, rtt_ns), expected=expected, reference=told,
        paper=check.paper, look=check.look, window=check.window, is_steady=check.is_steady,
        reason=reason)


def _bytes_check(run: Run) -> CheckResult:
    """Every drill has this one: what arrived is what was written."""
    wrong = wrong_elements(run.result)
    word = INCONCLUSIVE if wrong is None else FAIL if wrong else PASS
    return CheckResult(
        name="everything that was compared arrived as written", word=word,
        measure="wrong_elements", unit="", measured=None if wrong is None else float(wrong),
        shown=show(wrong, ""), expected="0", reference=None, paper=None,
        look="result.json", window=RUN, is_steady=False,
        reason="" if wrong is not None else "nothing was compared")


# --- doubts and warnings -------------------------------------------------------------------


def _done_ns(run: Run) -> dict[str, int]:
    """When each step that was done was done: it has a row per fault it began or ended."""
    scripted = run.actions[run.actions["name"] != BY_HAND]
    first = scripted.drop_duplicates("name")
    return {str(name): int(at_ns) for name, at_ns in zip(first["name"], first["t_ns"],
                                                         strict=True)}


def _doubts_of_run(run: Run) -> Iterator[str]:
    if run.is_partial:
        yield "the run was cut off before its end"
    if run.verdict_word == "invalid":
        verdict = run.result.get("verdict") or run.manifest.get("verdict") or {}
        why = "; ".join(verdict.get("reasons", ())) or "see fidelity.json"
        yield f"the run is invalid: {why}"
    by_hand = run.actions[run.actions["name"] == BY_HAND]
    if len(by_hand):
        targets = [str(target) for target in by_hand["target"]]
        yield (f"somebody put {_some(targets)} in force, or healed it, beside the script: play "
               "it again without")


def _failures(drill: Drill, run: Run, is_broken: bool) -> tuple[list[str], list[str]]:
    """What failed in a run beside its checks: (what makes it worth nothing, what is told).

    On the fabric the verdict of the run has judged it. A simulation has none: frames that are
    unaccounted for are its own fault, and a lost rank is to be expected only where the script
    silences a host or queue pairs failed, which a check tells.
    """
    told = [str(reason) for reason in run.result.get("failures") or ()]
    if not run.is_simulated:
        return [], told
    has_cause = is_broken or bool(silenced_hosts(drill.script))
    foreseen = [reason for reason in told if has_cause and reason.startswith("rank ")]
    return [reason for reason in told if reason not in foreseen], foreseen


def _doubts_of_script(drill: Drill, run: Run, done_ns: Mapping[str, int],
                      is_broken: bool) -> Iterator[str]:
    told = {str(row["name"]): str(row["detail"]) for _, row in run.events.iterrows()
            if row["kind"] == "warning" and row["what"] == "not done"}
    for step in drill.script:
        if step.name not in done_ns and not is_broken:
            yield told.get(step.name) or f"step '{step.name}' was not done"
    unproven = _unproven(run)
    for group in drill.groups:
        injected = [str(action.target) for step, action in faults_of(drill.script)
                    if step.name in group.steps]
        missed = [target for step, target in unproven if step in group.steps]
        enough = len(injected) if group.enough is None else group.enough
        if missed and len(injected) - len(missed) < enough:
            yield (f"nothing shows that '{group.name}' bit on {_some(missed)}: did anything "
                   "pass there?")


def _doubts_of_steady_state(checks: Sequence[CheckResult]) -> Iterator[str]:
    for check in checks:
        if check.is_steady and check.word != PASS:
            yield f"the steady state did not hold: {check.sentence()}"


def _warnings(drill: Drill, run: Run) -> Iterator[str]:
    if run.verdict_word == "degraded":
        verdict = run.result.get("verdict") or run.manifest.get("verdict") or {}
        yield "the run is degraded: " + "; ".join(verdict.get("reasons", ()))
    sent = int(run.flows["sent_packets"].sum())
    if sent > drill.budget_packets:
        yield (f"{sent:,} packets were sent, the drill says at most {drill.budget_packets:,}: "
               "correct 'packets', or make the workload shorter")
    unproven = _unproven(run)
    for group in drill.groups:
        missed = [target for step, target in unproven if step in group.steps]
        if missed and group.enough is not None:
            yield f"{len(missed)} of the faults of '{group.name}' met no traffic"


def _unproven(run: Run) -> list[tuple[str, str]]:
    """(step, fault) of everything that began and left no evidence."""
    rows = run.actions
    rows = rows[(rows["what"] == "inject") & (rows["detail"] == NO_EVIDENCE)]
    return [(str(name), str(target)) for name, target in zip(rows["name"], rows["target"],
                                                             strict=True)]


def _unhealed(run: Run) -> Iterator[str]:
    """Faults that began more often than they ended."""
    rows = run.actions
    for target, found in rows.groupby("target"):
        begun, ended = (int((found["what"] == what).sum()) for what in ("inject", "heal"))
        if begun > ended:
            yield f"{target} was not healed: use `heal` before the next run"


def _some(words: Sequence[str]) -> str:
    few = list(dict.fromkeys(words))
    return ", ".join(few[:3]) + (f" and {len(few) - 3} more" if len(few) > 3 else "")
