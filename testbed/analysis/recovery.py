"""The anatomy of recovery: for every fault, what happened to traffic and when.

    inject                    t_inject_ns, of the run; ``hit_evs`` counts the EVs of queue pairs
                              that the fault covers and that carried data until then
      first_lost              the first packet that was hit left its sender
      first_evidence          a sender knew: ``evidence`` says by what: a hole in a SACK
                              (evidence), a timeout (timer), its own port (carrier), its peer
                              (port status) or its controller (controller)
      first_out .. last_out   ``out_evs`` of the EVs were taken out of use, or lost their plane
      last_on_path            the last packet that was hit left its sender
      goodput_back            goodput of all is back to 95 % of what is left, after ``lost_bytes``
    heal                      t_heal_ns, of the run
      first_probe             a probe on such an EV was answered
      first_back .. last_back ``back_evs`` of the EVs that were out came back
      goodput_restored        goodput is back to 95 % of what it was before the inject

Each of these is a column ``*_ns`` of emulated ns and ``*_rtt`` of base RTTs, until the heal
counted from the inject, after it from the heal. What did not happen is missing: a fault that
no packet met has no first_lost. Packets count as hit that were found lost, left on a covered
path not more than one base RTT before the inject and before the heal; not those that came to
a NACK, for a trimmed packet has passed.

Faults that overlap each have a row of their own, and are told apart by their paths: a loss on
a path that two of them cover stands in both rows, an EV that was out already goes out for
neither. Goodput cannot be told apart: what is left is measured between this action and the
next one, whatever that was, and never taken for more than there was before; it has no figure
where actions follow each other too quickly or traffic comes in bursts
(`testbed.analysis.settling`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from testbed.analysis import evstates, goodput
from testbed.analysis.covers import Cover, Fault, Path, faults_of
from testbed.analysis.frames import Window
from testbed.analysis.planes import SAMPLE, plane_changes
from testbed.analysis.settling import Curve

if TYPE_CHECKING:
    from testbed.analysis.run import Run

SINCE_INJECT = ("first_lost", "first_evidence", "first_out", "last_out", "last_on_path",
                "goodput_back")
SINCE_HEAL = ("first_probe", "first_back", "last_back", "goodput_restored")
MILESTONES = (*SINCE_INJECT, *SINCE_HEAL)
_PLAIN: Mapping[str, str] = {
    "name": "string", "target": "string", "t_inject_ns": "int64", "t_heal_ns": "Int64",
    "hit_evs": "int64", "out_evs": "int64", "back_evs": "int64", "evidence": "string",
    "lost_bytes": "Float64", "level_before_bps": "Float64", "level_bps": "Float64",
}
TYPES: Mapping[str, str] = {
    **_PLAIN, **{f"{name}_ns": "Int64" for name in MILESTONES},
    **{f"{name}_rtt": "Float64" for name in MILESTONES},
}
# Longer than the first retry timeout (65.5 us, 7 base RTT): what a fault did is noticed by then.
PATIENCE_RTTS = 16
_NACK = "nack"

_Row = dict[str, Any]


def recovery(run: Run) -> pd.DataFrame:
    """One row per fault of the run, in order; columns `TYPES`."""
    return pd.DataFrame(_Anatomy(run).rows(), columns=list(TYPES)).astype(dict(TYPES))


def percentiles(frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Milestones over repeats: a row per fault and milestone, from what `recovery` gave.

    Columns name, target, milestone, repeats (in how many it happened), p50_ns, p95_ns, max_ns
    and the same as ``*_rtt``. Percentiles are nearest rank.
    """
    numbered = [frame.assign(order=range(len(frame))) for frame in frames]
    together = pd.concat(numbered or [pd.DataFrame(columns=["order", *TYPES])])
    rows = []
    for (_, name, target), group in together.groupby(["order", "name", "target"], sort=True):
        for milestone in MILESTONES:
            figures = {f"{figure}_{unit}": value for unit in ("ns", "rtt") for figure, value
                       in _ranks(group[f"{milestone}_{unit}"].dropna()).items()}
            rows.append({"name": name, "target": target, "milestone": milestone,
                         "repeats": int(group[f"{milestone}_ns"].notna().sum()), **figures})
    columns = ["name", "target", "milestone", "repeats", "p50_ns", "p95_ns", "max_ns", "p50_rtt",
               "p95_rtt", "max_rtt"]
    return pd.DataFrame(rows, columns=columns)


def _ranks(values: pd.Series) -> dict[str, float]:
    if not len(values):
        return dict.fromkeys(("p50", "p95", "max"), float("nan"))
    found = values.to_numpy(dtype=float)
    p50, p95 = np.quantile(found, (0.5, 0.95), method="inverted_cdf")
    return {"p50": float(p50), "p95": float(p95), "max": float(found.max())}


@dataclass(frozen=True, slots=True)
class _Keyed:
    """Rows of a table and the path of each."""

    rows: pd.DataFrame
    keys: pd.MultiIndex

    @classmethod
    def of(cls, rows: pd.DataFrame) -> _Keyed:
        return cls(rows, pd.MultiIndex.from_frame(rows[["host", "peer", "ev"]].astype(object)))

    def on(self, paths: Collection[Path]) -> pd.DataFrame:
        """The rows on one of these paths."""
        return self.rows[self.keys.isin(list(paths))] if paths else self.rows[:0]


class _Anatomy:
    """What all faults of a run are looked up in, made once."""

    def __init__(self, run: Run) -> None:
        self._run, self._rtt_ns = run, run.base_rtt_ns
        flows = goodput.senders(run.flows)
        pairs = flows[["host", "peer"]].drop_duplicates()
        self._cover = Cover(run.topology, pairs.itertuples(index=False, name=None))
        losses = run.losses
        self._losses = _Keyed.of(losses[losses["cause"] != _NACK])
        self._probes = _Keyed.of(run.probes)
        self._timeline = run.ev_timeline()
        self._planes = plane_changes(run.events, flows, run.topology.planes)
        self._moves = _Keyed.of(self._all_moves())
        self._curve = self._all_goodput()
        times = [int(t_ns) for t_ns in run.actions["t_ns"]]
        self._action_ns = sorted({t_ns for t_ns in times if t_ns > 0})

    def _all_moves(self) -> pd.DataFrame:
        """Every time an EV of a queue pair went out of use or came back: columns of evs, ``went``
        and ``how``."""
        moves = evstates.transitions(self._run.evs)
        moves = moves.assign(how=["controller" if cause.endswith("by_controller") else ""
                                  for cause in moves["cause"]])
        evs = self._timeline[[*evstates.EV, "plane"]].drop_duplicates()
        lost = evs.merge(self._planes, on=["host", "peer", "plane"])
        columns = ["t_ns", *evstates.EV, "went", "how"]
        return pd.concat([moves[columns], lost[columns]]).sort_values(
            "t_ns", kind="stable", ignore_index=True)

    def _all_goodput(self) -> Curve:
        run = self._run
        width_ns = run.sample_ns
        bins = max(1, run.end_ns // width_ns)  # whole ones
        frame = goodput.goodput_frame(
            goodput.acked(run.flows, run.ev_samples, run.topology.payload_bytes, ()), (),
            Window(0, bins * width_ns), width_ns)
        return Curve(frame["t_ns"].to_numpy(), frame["goodput_bps"].to_numpy(), width_ns)

    # --- A fault -----------------------------------------------------------------------

    def rows(self) -> list[_Row]:
        """One per fault."""
        return [self._row(fault) for fault in faults_of(self._run.actions)]

    def _row(self, fault: Fault) -> _Row:
        paths = self._cover.paths(fault.fault_id)
        row: _Row = {"name": fault.name, "target": fault.fault_id,
                     "t_inject_ns": fault.inject_ns, "t_heal_ns": fault.heal_ns,
                     "hit_evs": self._hit_evs(paths, fault.inject_ns)}
        lost, outs = self._hit_losses(fault, paths), self._outs(fault, paths)
        row |= self._broken(fault, paths, lost, outs) | self._goodput(fault)
        if fault.heal_ns is not None:
            row |= self._healed(fault, fault.heal_ns, paths)
        row |= {f"{name}_rtt": row[f"{name}_ns"] / self._rtt_ns for name in MILESTONES
                if row.get(f"{name}_ns") is not None}
        return row

    def _hit_evs(self, paths: Collection[Path], at_ns: int) -> int:
        """Those that carried data just before."""
        at_ns = max(1, at_ns)  # what was denied from the beginning never carried any
        now = self._timeline[(self._timeline["start_ns"] < at_ns)
                             & (self._timeline["end_ns"] >= at_ns)]
        carrying = now[now["is_active"] & now["state"].isin(evstates.CARRYING)]
        return len(_Keyed.of(carrying).on(paths))

    def _hit_losses(self, fault: Fault, paths: Collection[Path]) -> pd.DataFrame:
        found = self._losses.on(paths)
        sent = found["t_sent_ns"]
        is_hit = (sent >= fault.inject_ns - self._rtt_ns) & (found["t_ns"] >= fault.inject_ns)
        for end_ns in (fault.heal_ns, fault.again_ns):
            if end_ns is not None:
                is_hit &= sent < end_ns
        return found[is_hit]

    def _outs(self, fault: Fault, paths: Collection[Path]) -> pd.DataFrame:
        """The first time each EV went out while the fault's traces could still be found."""
        until_ns = fault.again_ns
        if fault.heal_ns is not None:
            noticed_ns = fault.heal_ns + PATIENCE_RTTS * self._rtt_ns
            until_ns = noticed_ns if until_ns is None else min(until_ns, noticed_ns)
        moves = self._moves.on(paths)
        found = moves[(moves["went"] == "out") & (moves["t_ns"] >= fault.inject_ns)]
        if until_ns is not None:
            found = found[found["t_ns"] < until_ns]
        return found.drop_duplicates(evstates.EV)

    def _broken(self, fault: Fault, paths: Collection[Path], lost: pd.DataFrame,
                outs: pd.DataFrame) -> _Row:
        known_ns, how = self._first_evidence(fault, paths, lost, outs)
        return {
            "first_lost_ns": _since(fault.inject_ns, lost["t_sent_ns"].min()),
            "first_evidence_ns": _since(fault.inject_ns, known_ns), "evidence": how,
            "first_out_ns": _since(fault.inject_ns, outs["t_ns"].min()),
            "last_out_ns": _since(fault.inject_ns, outs["t_ns"].max()),
            "out_evs": len(outs), "back_evs": 0,
            "last_on_path_ns": _since(fault.inject_ns, lost["t_sent_ns"].max()),
        }

    def _first_evidence(self, fault: Fault, paths: Collection[Path], lost: pd.DataFrame,
                        outs: pd.DataFrame) -> tuple[int | None, str | None]:
        """When a sender knew, and by what; a sample shows only that it had known before."""
        told = outs[~outs["how"].isin(["", SAMPLE])]
        found = [*zip(lost["t_ns"], lost["cause"], strict=True),
                 *zip(told["t_ns"], told["how"], strict=True)]
        if not found:
            return None, None
        t_ns, how = min(found)
        return int(t_ns), str(how)

    def _healed(self, fault: Fault, heal_ns: int, paths: Collection[Path]) -> _Row:
        probes = self._probes.on(paths)
        moves = self._moves.on(paths)
        until_ns = self._run.end_ns + 1 if fault.again_ns is None else fault.again_ns
        out = set(_names(self._out_at(moves, heal_ns)))
        backs = moves[(moves["went"] == "back") & (moves["t_ns"] >= heal_ns)
                      & (moves["t_ns"] < max(until_ns, heal_ns))].drop_duplicates(evstates.EV)
        backs = backs[np.array([name in out for name in _names(backs)], dtype=bool)]
        answered = probes[(probes["t_ns"] >= heal_ns) & (probes["t_ns"] < until_ns)]
        return {
            "first_probe_ns": _since(heal_ns, answered["t_ns"].min()),
            "first_back_ns": _since(heal_ns, backs["t_ns"].min()),
            "last_back_ns": _since(heal_ns, backs["t_ns"].max()),
            "back_evs": len(backs), "goodput_restored_ns": self._restored(fault, heal_ns),
        }

    def _out_at(self, moves: pd.DataFrame, at_ns: int) -> pd.DataFrame:
        """The EVs whose last move before a moment, or soon after, was out."""
        soon_ns = at_ns + PATIENCE_RTTS * self._rtt_ns
        before = moves[(moves["t_ns"] < at_ns)
                       | ((moves["t_ns"] < soon_ns) & (moves["went"] == "out"))]
        last = before.drop_duplicates(evstates.EV, keep="last")
        return last[last["went"] == "out"]

    # --- Goodput -----------------------------------------------------------------------

    def _goodput(self, fault: Fault) -> _Row:
        before, left = self._before(fault), self._left(fault)
        if before is None or left is None:
            return {"level_before_bps": before, "level_bps": left}
        level = min(before, left)
        until_ns = self._next_action_ns(fault.inject_ns)
        back_ns = self._curve.back_ns(level, fault.inject_ns, until_ns,
                                      PATIENCE_RTTS * self._rtt_ns)
        missing = self._curve.missing_bytes(
            level, fault.inject_ns, until_ns if back_ns is None else back_ns)
        return {"level_before_bps": before, "level_bps": level, "lost_bytes": missing,
                "goodput_back_ns": _since(fault.inject_ns, back_ns)}

    def _before(self, fault: Fault) -> float | None:
        """The last settled level before it; of a series too quick to settle that before all."""
        times = [0, *(t_ns for t_ns in self._action_ns if t_ns <= fault.inject_ns)]
        for begin_ns, end_ns in reversed(list(pairwise(times))):
            level = self._curve.settled_bps(begin_ns, end_ns)
            if level is not None:
                return level
        return None

    def _left(self, fault: Fault) -> float | None:
        return self._curve.settled_bps(fault.inject_ns, self._next_action_ns(fault.inject_ns))

    def _restored(self, fault: Fault, heal_ns: int) -> int | None:
        before = self._before(fault)
        if before is None:
            return None
        back_ns = self._curve.back_ns(before, heal_ns, self._next_action_ns(heal_ns),
                                      PATIENCE_RTTS * self._rtt_ns)
        return _since(heal_ns, back_ns)

    def _next_action_ns(self, at_ns: int) -> int:
        end_ns = self._run.end_ns
        return min((t_ns for t_ns in self._action_ns if at_ns < t_ns < end_ns), default=end_ns)


def _names(moves: pd.DataFrame) -> Sequence[tuple[Any, ...]]:
    return list(moves[evstates.EV].itertuples(index=False, name=None))


def _since(begin_ns: int, at_ns: Any) -> int | None:
    """How long after; None where it never was."""
    return None if at_ns is None or pd.isna(at_ns) else int(at_ns) - begin_ns

