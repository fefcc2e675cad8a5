"""Whether to believe a run: what was measured of the emulation, held against limits.

    trusted    the machine kept up; the figures are those of the emulated network
    degraded   it nearly did: within three times the limits
    invalid    it did not, frames are missing, or something of the testbed failed

The limits are those of design.md section 7, in one table, with the sentence each is told in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import inf, isnan
from typing import Any, Literal

from testbed.metrics.lateness import Lateness
from testbed.units import format_count, format_time_ns

Word = Literal["trusted", "degraded", "invalid"]
WORDS: tuple[Word, ...] = ("trusted", "degraded", "invalid")

_MACHINE = "this machine"
# Of all cores, from which on it may be why: a quiet neighbour takes less (measured: 0.008).
_STOLEN_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a run measured of itself. Times are emulated ns, over ``duration_ns`` > 0.

    lateness        by host: how late its agent was, every time something was due
    lost_ns         by NIC port: how long it stood still with frames to send because its
                    agent was late
    drain_error     by switch port: ratio by which it fell behind its rate (0.02 is 2 %)
    switch_lateness by switch: how late it was to read what had reached it, every time somebody
                    looked and something waited; none where a data plane cannot tell
    idle_cores      cores of ``cores`` that had nothing to do, on average
    stolen_cores    cores of ``cores`` that a hypervisor gave to others, on average: not judged
                    by itself, but told where something else is not trusted
    unexplained     by place: frames missing from the balance (below 0: too many)
    kernel_drops    by port: frames the kernel dropped before an agent read them
    late_events_ns  by scripted action: how late it was done
    transit_drift_ns by links crossed: how much longer frames take through the idle fabric after
                    the run than it assumed
    failures        an agent died, stopped answering or was paused: a sentence each
    """

    base_rtt_ns: int
    duration_ns: int
    lateness: Mapping[str, Lateness]
    lost_ns: Mapping[str, int]
    drain_error: Mapping[str, float]
    idle_cores: float
    cores: int
    stolen_cores: float = 0.0
    switch_lateness: Mapping[str, Lateness] = field(default_factory=dict)
    unexplained: Mapping[str, int] = field(default_factory=dict)
    kernel_drops: Mapping[str, int] = field(default_factory=dict)
    late_events_ns: Mapping[str, int] = field(default_factory=dict)
    failures: tuple[str, ...] = ()
    transit_drift_ns: Mapping[str, float] = field(default_factory=dict)

    def to_document(self) -> dict[str, Any]:
        """Plain JSON types, for fidelity.json."""
        names = ("base_rtt_ns", "duration_ns", "idle_cores", "stolen_cores", "cores")
        by_place = ("lost_ns", "drain_error", "unexplained", "kernel_drops", "late_events_ns",
                    "transit_drift_ns")
        return {
            **{name: getattr(self, name) for name in names},
            "lateness": {host: found.to_dict() for host, found in self.lateness.items()},
            "switch_lateness": {
                switch: found.to_dict() for switch, found in self.switch_lateness.items()},
            **{name: dict(getattr(self, name)) for name in by_place},
            "failures": list(self.failures),
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """trusted, degraded or invalid, and a sentence for everything that speaks against it."""

    word: Word
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Quantity:
    """A row of the table: up to ``trusted`` is trusted, up to ``degraded`` degraded.

    With ``is_floor`` from there upwards. Limits count in ``unit``: base RTTs, shares of 1,
    cores or frames.
    """

    name: str
    read: Callable[[Evidence], Mapping[str, float]]
    unit: Literal["rtt", "share", "cores", "balance", "frames"]
    trusted: Fraction
    degraded: Fraction
    sentence: str
    remedy: str = "run again with a larger --tdf"
    is_floor: bool = False

    def word(self, value: float, scale: int) -> Word:
        """The verdict on one value; what is no number is invalid."""
        if self._is_within(value, float(self.trusted * scale)):
            return "trusted"
        return "degraded" if self._is_within(value, float(self.degraded * scale)) else "invalid"

    def _is_within(self, value: float, bound: float) -> bool:
        if self.is_floor:
            return value >= bound
        return (abs(value) if self.unit == "balance" else value) <= bound

    def badness(self, value: float) -> float:
        """Greater is worse."""
        if isnan(value):
            return inf
        return -value if self.is_floor else abs(value) if self.unit == "balance" else value


def _median(evidence: Evidence) -> dict[str, float]:
    return {host: found.quantile_ns(0.5) for host, found in evidence.lateness.items()}


def _p99(evidence: Evidence) -> dict[str, float]:
    return {host: found.quantile_ns(0.99) for host, found in evidence.lateness.items()}


def _latest(evidence: Evidence) -> dict[str, float]:
    return {host: found.max_ns for host, found in evidence.lateness.items()}


def _transit_drift(evidence: Evidence) -> dict[str, float]:
    return {links: abs(drift_ns) for links, drift_ns in evidence.transit_drift_ns.items()}


def _switch_p90(evidence: Evidence) -> dict[str, float]:
    return {switch: found.quantile_ns(0.9) for switch, found in evidence.switch_lateness.items()}


def _nic_rate_error(evidence: Evidence) -> dict[str, float]:
    return {port: lost / evidence.duration_ns for port, lost in evidence.lost_ns.items()}


def _idle_cores(evidence: Evidence) -> dict[str, float]:
    return {_MACHINE: evidence.idle_cores}


_NONE = Fraction(0)
# Move these only with evidence. Degraded is three times trusted, or a third of a floor.
_TABLE = (
    _Quantity("unexplained loss", lambda e: e.unexplained, "balance", _NONE, _NONE,
              "{measured} at {where}"),
    _Quantity("kernel drops", lambda e: e.kernel_drops, "frames", _NONE, _NONE,
              "the kernel dropped {measured} at {where} before the agent read them"),
    _Quantity("late event", lambda e: e.late_events_ns, "rtt", Fraction(1, 2), Fraction(1, 2),
              "the action '{where}' was done {measured} late"),
    # Every frame leaves late by this, and a latency is longer by it: with 0.02 base RTT, half a
    # round trip of 2 bytes by 4.6 %.
    _Quantity("lateness median", _median, "rtt", Fraction(1, 50), Fraction(3, 50),
              "the agent of {where} was {measured} late or more every other time"),
    # So is a latency by this: agents hold frames for the link delays less the transit they assume.
    _Quantity("transit drift", _transit_drift, "rtt", Fraction(1, 50), Fraction(3, 50),
              "how long frames over {where} take through this machine changed by {measured} in "
              "the run", "run again, or with a larger --tdf"),
    _Quantity("lateness p99", _p99, "rtt", Fraction(1, 10), Fraction(3, 10),
              "the agent of {where} was {measured} late or more one time in a hundred"),
    _Quantity("lateness max", _latest, "rtt", Fraction(1), Fraction(3),
              "the agent of {where} was once {measured} late"),
    _Quantity("switch lateness p90", _switch_p90, "rtt", Fraction(1, 10), Fraction(3, 10),
              "switch {where} was {measured} late or more with what had reached it, one time "
              "in ten"),
    _Quantity("NIC rate error", _nic_rate_error, "share", Fraction(1, 100), Fraction(3, 100),
              "NIC port {where} stood still for {measured} of the run with frames to send, "
              "because its agent was late"),
    _Quantity("switch port rate error", lambda e: e.drain_error, "share", Fraction(1, 100),
              Fraction(3, 100), "switch port {where} fell {measured} behind its rate"),
    _Quantity("idle CPU", _idle_cores, "cores", Fraction(1, 10), Fraction(1, 30),
              "{where} had only {measured} idle",
              "end other programs or run again with a larger --tdf", is_floor=True),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Finding:
    """The worst of one quantity: where, what, and at how many other places it is not trusted."""

    quantity: _Quantity
    where: str
    value: float
    word: Word
    others: int


def limits() -> dict[str, str]:
    """Up to what, or from what on, every quantity is trusted: what was trusted under other
    limits may not be under these."""
    return {quantity.name: str(quantity.trusted) for quantity in _TABLE}


def judge(evidence: Evidence) -> Verdict:
    """The verdict on a run, with a reason for everything that is not trusted, worst first."""
    broken = [*evidence.failures, *_missing(evidence)]
    findings = [] if evidence.duration_ns <= 0 else _findings(evidence)
    told = sorted((f for f in findings if f.word != "trusted"),
                  key=lambda f: WORDS.index(f.word), reverse=True)
    word = "invalid" if broken else told[0].word if told else "trusted"
    reasons = [*broken, *(_reason(evidence, finding) for finding in told)]
    return Verdict(word, (*reasons, *(_causes(evidence) if told else ())))


def describe(evidence: Evidence) -> list[dict[str, str]]:
    """Rows for a table: quantity, the worst measured and where, the trusted limit, the word.

    Failures are not in it: `judge` tells them.
    """
    if evidence.duration_ns <= 0:
        return []
    return [
        {"quantity": finding.quantity.name,
         "measured": _text(evidence, finding.quantity, finding.value), "where": finding.where,
         "limit": _limit_text(evidence, finding.quantity, finding.quantity.trusted),
         "word": finding.word}
        for finding in _findings(evidence)
    ]


def _causes(evidence: Evidence) -> Iterator[str]:
    """What is no reason by itself, but may be behind the others."""
    if evidence.stolen_cores >= _STOLEN_SHARE * evidence.cores:
        yield (f"a hypervisor gave {evidence.stolen_cores:.2g} of {evidence.cores} cores to other "
               "machines than this one meanwhile: run again when they rest")


def _missing(evidence: Evidence) -> Iterator[str]:
    """What must have been measured but was not: no evidence is not good evidence."""
    if evidence.duration_ns <= 0:
        yield "the run has no duration, so nothing was measured: let it run longer"
    if not any(found.count for found in evidence.lateness.values()):
        yield ("no agent measured how late it was, so no figure of this run can be believed: "
               "run again")


def _findings(evidence: Evidence) -> list[_Finding]:
    scales = {"rtt": evidence.base_rtt_ns}
    found = []
    for quantity in _TABLE:
        # Nothing counted is 0 frames; a time or a rate that was never measured has no row.
        values = quantity.read(evidence) or _nothing(quantity)
        if values:
            found.append(_worst(quantity, values, scales.get(quantity.unit, 1)))
    return found


def _nothing(quantity: _Quantity) -> Mapping[str, float]:
    return {"-": 0} if quantity.unit in ("balance", "frames") else {}


def _worst(quantity: _Quantity, values: Mapping[str, float], scale: int) -> _Finding:
    where = max(values, key=lambda place: quantity.badness(values[place]))
    bad = sum(quantity.word(value, scale) != "trusted" for value in values.values())
    word = quantity.word(values[where], scale)
    return _Finding(quantity, where, values[where], word, max(0, bad - 1))


def _reason(evidence: Evidence, finding: _Finding) -> str:
    quantity = finding.quantity
    measured = _text(evidence, quantity, finding.value)
    if quantity.unit == "balance":
        measured += " unaccounted for" if finding.value > 0 else " too many came out"
    what = quantity.sentence.format(where=finding.where, measured=measured)
    others = f" (and {finding.others} more like it)" if finding.others else ""
    return f"{what}{others}, {_allowance(evidence, finding)}: {quantity.remedy}"


def _allowance(evidence: Evidence, finding: _Finding) -> str:
    """The limit that was broken: of a trusted run, of a degraded one, or of any."""
    quantity = finding.quantity
    verb = "needs" if quantity.is_floor else "allows"
    if finding.word == "degraded":
        return f"a trusted run {verb} {_limit_text(evidence, quantity, quantity.trusted)}"
    whose = "a run" if quantity.trusted == quantity.degraded else "a degraded run"
    return f"{whose} {verb} {_limit_text(evidence, quantity, quantity.degraded)}"


def _limit_text(evidence: Evidence, quantity: _Quantity, limit: Fraction) -> str:
    scale = evidence.base_rtt_ns if quantity.unit == "rtt" else 1
    text = _text(evidence, quantity, float(limit * scale))
    if quantity.unit == "rtt":
        return f"{text} ({float(limit):g} base RTT)"
    return text


def _text(evidence: Evidence, quantity: _Quantity, value: float) -> str:
    """A value in the unit people read."""
    match quantity.unit:
        case "rtt":
            return format_time_ns(int(float(f"{value:.4g}")))
        case "share":
            return f"{100 * value:.3g} %"
        case "cores":
            return f"{value:.2g} of {format_count(evidence.cores, 'core')}"
        case _:
            return format_count(int(abs(value)), "frame")
