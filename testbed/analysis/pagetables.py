"""The tables of a report: cells as texts, made from the frames and documents of a run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from testbed.analysis.figures.style import natural
from testbed.analysis.run import Run
from testbed.faults.chronicle import NO_EVIDENCE
from testbed.intent.options import format_binary_size

_MOST_ROWS = 100  # of what happened; all of it is in the folder's tables
_MOST_WARNINGS = 20
# A figure, perhaps with a unit, the same in brackets in another one, and lines below it.
_FIGURE = re.compile(r"-?[0-9][0-9,]*(\.[0-9]+)?( [A-Za-z/%]+)?( \(.*\))?(\n.*)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells below a header; ``note`` says what is missing, or how to read it.

    A cell may have two lines.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def is_numeric(self, column: int) -> bool:
        """All cells of it are figures, so they are set to the right."""
        cells = [row[column] for row in self.rows if row[column] != "-"]
        return bool(cells) and all(_FIGURE.fullmatch(cell) for cell in cells)


def checks(drill: Mapping[str, Any]) -> Table:
    """Every check of a drill: measured and expected, and the paper's value beside them."""
    rows = [(check["name"], check["word"], _shown(check), check["expected"],
             check.get("reference") or "-", check.get("paper") or "-", check.get("look") or "-")
            for check in drill["checks"]]
    return Table(("Check", "", "Measured", "Expected", "Reference", "Paper", "See"), rows)


def _shown(check: Mapping[str, Any]) -> str:
    if check.get("measured") is None:
        return str(check.get("reason") or "nothing to measure")
    return str(check.get("shown") or f"{check['measured']:.4g} {check['unit']}".rstrip())


def timeline(run: Run) -> Table:
    """What the script did, when, how late, and what shows that it bit."""
    actions = run.actions
    if actions.empty:
        return Table((), (), "Nothing was done to the fabric in this run.")
    rows = [(*_began(row.t_ns, run.base_rtt_ns), str(row.name), str(row.what),
             str(row.target), us(row.late_ns), _evidence(row))
            for row in actions.iloc[:_MOST_ROWS].itertuples()]
    more = len(actions) - len(rows)
    return Table(("us", "base RTT", "Step", "", "Fault", "late by", "Evidence"), rows,
                 f"{more:,} more are in tables/events.parquet." if more else "")


def _began(t_ns: int, base_rtt_ns: int) -> tuple[str, str]:
    """In us and in base RTTs; what was there when emulated time began has no time."""
    if t_ns < 0:
        return "before", "-"
    return f"{t_ns / 1e3:,.1f}", f"{t_ns / base_rtt_ns:,.1f}"


def _evidence(row: Any) -> str:
    found = text(row.evidence)
    if text(row.detail) == NO_EVIDENCE:
        return f"NONE{': ' + found if found != '-' else ''}"
    return found


def warnings(run: Run) -> Iterator[str]:
    """Sentences of what went wrong on the way."""
    told = run.events[run.events["kind"] == "warning"]["detail"].tolist()
    yield from map(str, told[:_MOST_WARNINGS])
    if len(told) > _MOST_WARNINGS:
        yield f"{len(told) - _MOST_WARNINGS} more warnings are in tables/events.parquet"


_MILESTONES = (
    ("first_lost", "first lost"), ("first_evidence", "sender knew"), ("first_out", "first EV out"),
    ("last_out", "last EV out"), ("last_on_path", "last lost"), ("goodput_back", "goodput back"),
    ("first_probe", "good probe"), ("first_back", "first EV back"), ("last_back", "last EV back"),
    ("goodput_restored", "goodput restored"),
)


def recovery(run: Run) -> Table:
    """The anatomy of recovery, a row per fault."""
    faults = run.recovery()
    if faults.empty:
        return Table((), (), "No fault was put in force in this run.")
    rows = [(f"{row['name']}\n{row['target']}", f"{row['out_evs']} of {row['hit_evs']}",
             *(_moment(row, name) for name, _ in _MILESTONES), _kilobytes(row["lost_bytes"]))
            for _, row in faults.iloc[:_MOST_ROWS].iterrows()]
    header = ("Fault", "EVs out", *(label for _, label in _MILESTONES), "missed")
    return Table(header, rows, "Times in us and in base RTTs, up to goodput back since the fault, "
                 "from good probe on since it was healed; a dash where it did not happen. Goodput "
                 "is seen in whole samples; 0 where it never fell. Missed is what "
                 "the fall of goodput cost.")


def _moment(row: Any, name: str) -> str:
    if pd.isna(row[f"{name}_ns"]):
        return "-"
    told = f"{us(row[f'{name}_ns'])}\n{float(row[f'{name}_rtt']):,.2f} rtt"
    return told + (f"\n{row['evidence']}" if name == "first_evidence" else "")


def _kilobytes(amount: Any) -> str:
    return "-" if pd.isna(amount) else f"{float(amount) / 1e3:,.0f} KB"


def sizes(run: Run) -> Table | None:
    """Collectives by size as nccl-tests counts; None of other workloads."""
    times = run.collective_times()
    counted = times[times["iteration"] >= 0]
    if counted.empty:
        return None
    rows = [(format_binary_size(int(size)), str(len(found)), us(found["time_ns"].mean()),
             us(found["time_ns"].max()), f"{found['algbw_bytes_per_s'].mean() / 1e9:.2f} GB/s",
             f"{found['busbw_bytes_per_s'].mean() / 1e9:.2f} GB/s",
             "yes" if found["verified"].all() else "NO") for size, found in
            counted.groupby("bytes")]
    return Table(("Array", "Iterations", "mean", "slowest", "algbw", "busbw", "verified"), rows)


def hosts(run: Run) -> Table:
    """What every host sent and sent again: from its counters, or from samples of a run cut off."""
    header = ("Host", "sent", "sent again", "after a NACK", "found missing by SACKs", "by timer",
              "timeouts", "damaged")
    told = run.result.get("hosts")
    if told:
        rows = [(name, *_counts(told[name])) for name in sorted(told, key=natural)]
        return Table(header, rows, "Packets.")
    columns = ["sent_packets", "resent_packets", "lost_nack", "lost_evidence", "lost_timer"]
    if run.flows.empty:
        return Table((), (), "What hosts sent was not recorded.")
    sums = run.flows.groupby("host")[columns].sum()
    rows = [(str(host), *(f"{sums.loc[host, column]:,}" for column in columns), "-", "-")
            for host in sorted(sums.index, key=natural)]
    return Table(header, rows, "Packets, from the samples there are; the counters at the end "
                 "were not read.")


def _counts(found: Mapping[str, Any]) -> list[str]:
    by = found["resent_by"]
    return [f"{count:,}" for count in (found["sent"], found["resent"], by["nack"], by["evidence"],
                                       by["timer"], found["timeouts"], found["icrc_errors"])]


def fidelity(run: Run) -> Table:
    """What the verdict on the run rests on, worst first as it was judged."""
    told = run.result.get("fidelity") or ()
    if told:
        return Table(("Quantity", "worst", "where", "limit of a trusted run", ""),
                     [(row["quantity"], row["measured"], row["where"], row["limit"], row["word"])
                      for row in told])
    if run.is_simulated:
        return Table((), (), "A simulation cannot be late: its figures are those of a machine "
                     "that keeps up.")
    return Table((), (), "Not recorded: the run ended before it was judged.")


def us(time_ns: Any) -> str:
    """ns as ``12.3 us``; a dash where there is none."""
    return "-" if pd.isna(time_ns) else f"{float(time_ns) / 1e3:,.1f} us"


_SCALES = {"bit/s": (1e9, "Gb/s", 1), "ns": (1e3, "us", 1),
           "bytes/s": (1e9, "GB/s", 2), "B/s": (1e9, "GB/s", 2)}


def figure_text(value: Any, unit: str) -> str:
    """A figure in the unit people read; what is no number as it is."""
    if isinstance(value, str | bool | list | tuple):
        return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    if pd.isna(value):
        return "-"
    if unit in _SCALES:
        scale, name, digits = _SCALES[unit]
        return f"{float(value) / scale:,.{digits}f} {name}"
    if float(value).is_integer() or abs(value) >= 1000:
        return f"{value:,.0f} {unit}".rstrip()
    return f"{float(value):,.4g} {unit}".rstrip()


def text(value: Any) -> str:
    """A dash for what is missing or empty."""
    return "-" if pd.isna(value) or value == "" else str(value)
