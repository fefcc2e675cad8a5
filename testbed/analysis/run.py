"""A finished run: its tables as frames, and the questions people ask as methods.

All times are emulated ns from the start of the run, rates bit/s of payload. Nothing here
changes a table; every answer is a new frame in long form, a row per thing and moment. The
questions are answered in modules of their own and can be asked of bare frames there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import pandas as pd

from testbed.analysis import evstates, fairness, goodput, heatmap, iterations, losses
from testbed.analysis.frames import Window, where
from testbed.units import parse_time_ns
from topologies.numbers import base_rtt_ns
from topologies.spec import ClosSpec

DEFAULT_BIN_RTTS = 2  # where no row says how often it was sampled


class Tables(Protocol):
    """Where frames come from."""

    def frame(self, name: str) -> pd.DataFrame:
        """A table of `testbed.metrics.tables.TABLES`, typed; the same object each time."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One run folder, read.

    ``spec`` is the resolved request with its topology, ``result`` the result document ({}
    where the run was cut off before it), ``drill`` the judgement of a drill or None,
    ``fidelity_report`` what the verdict rests on ({} in the simulator).
    """

    path: Path
    manifest: Mapping[str, Any]
    spec: Mapping[str, Any]
    topology: ClosSpec
    result: Mapping[str, Any]
    drill: Mapping[str, Any] | None
    fidelity_report: Mapping[str, Any]
    tables: Tables

    # --- What it was -------------------------------------------------------------------

    @property
    def is_partial(self) -> bool:
        """It did not come to its end: what is there is what was measured until then."""
        return self.manifest.get("state") != "complete"

    @property
    def is_simulated(self) -> bool:
        """It ran in the simulator, where nothing can be late."""
        return bool(self.manifest.get("dataplane") == "simulator")

    @property
    def verdict_word(self) -> str | None:
        """trusted, degraded or invalid; None of a run that was simulated or is not closed."""
        verdict = self.manifest.get("verdict")
        return verdict["word"] if verdict and not self.is_simulated else None

    @property
    def tdf(self) -> int | None:
        """How much slower than real it ran; None in the simulator."""
        return None if self.is_simulated else self.manifest.get("tdf")

    @property
    def base_rtt_ns(self) -> int:
        """An unloaded round trip through a T1, the ``rtt`` of drills."""
        return base_rtt_ns(self.topology)

    @property
    def end_ns(self) -> int:
        """When its work was over.

        With a duration, when no more was posted; else the last completion. What was still
        under way then, and probes of paths that stay dead, may come later. 0 where nothing
        was recorded.
        """
        last_ns = self.done_ns
        with contextlib.suppress(ValueError):
            asked_ns = parse_time_ns(str(self.spec.get("duration") or ""))
            return min(asked_ns, last_ns) if last_ns else asked_ns
        return last_ns

    @property
    def done_ns(self) -> int:
        """When the last message, iteration or step was completed; 0 where nothing was.

        Messages without a byte, of barriers, do not count: one is after the last iteration.
        """
        for names in ((("messages", "t_done_ns"), ("collectives", "t_end_ns"),
                       ("steps", "t_end_ns")), (("flows", "t_ns"),)):
            frames = [(self.tables.frame(name), column) for name, column in names]
            ends = [(frame[frame["bytes"] > 0] if "bytes" in frame else frame)[column].max()
                    for frame, column in frames]
            found = [int(end) for end in ends if not pd.isna(end)]
            if found:
                return max(found)
        return 0

    # --- Its tables --------------------------------------------------------------------

    @property
    def messages(self) -> pd.DataFrame:
        """A row per posted verb."""
        return self.tables.frame("messages")

    @property
    def flows(self) -> pd.DataFrame:
        """A row per queue pair and interval."""
        return self.tables.frame("flows")

    @property
    def evs(self) -> pd.DataFrame:
        """A row per change of an EV's state or place."""
        return self.tables.frame("evs")

    @property
    def ev_samples(self) -> pd.DataFrame:
        """A row per host, peer, EV and interval."""
        return self.tables.frame("ev_samples")

    @property
    def losses(self) -> pd.DataFrame:
        """A row per packet its sender took for lost."""
        return self.tables.frame("losses")

    @property
    def probes(self) -> pd.DataFrame:
        """A row per EV probe that was answered."""
        return self.tables.frame("probes")

    @property
    def ports(self) -> pd.DataFrame:
        """A row per switch port and interval."""
        return self.tables.frame("ports")

    @property
    def collectives(self) -> pd.DataFrame:
        """A row per iteration and rank."""
        return self.tables.frame("collectives")

    @property
    def steps(self) -> pd.DataFrame:
        """A row per training step and rank."""
        return self.tables.frame("steps")

    @property
    def events(self) -> pd.DataFrame:
        """A row per thing that happened."""
        return self.tables.frame("events")

    @property
    def fidelity(self) -> pd.DataFrame:
        """A row per host and interval, and one of the machine: lateness, idle cores."""
        return self.tables.frame("fidelity")

    @property
    def actions(self) -> pd.DataFrame:
        """What its script did, or somebody by hand, in order: faults put in force (inject) and
        taken back (heal)."""
        return where(self.events, kind="action").reset_index(drop=True)

    # --- Goodput -----------------------------------------------------------------------

    @property
    def sample_ns(self) -> int:
        """The interval of its samples, which is also the default bin."""
        return goodput.usual_interval_ns(self.flows) or DEFAULT_BIN_RTTS * self.base_rtt_ns

    def goodput(self, by: Sequence[str] = ("host",), window: Window | None = None,
                bin_ns: int | None = None) -> pd.DataFrame:
        """Payload acknowledged over time: columns by..., t_ns (end of bin), goodput_bps.

        ``by``: any of host, peer, qp, plane; () is all together. Every sender has every bin,
        with 0 where nothing arrived. By plane it is counted in whole packets of EVs, which
        are sampled more rarely. Without a window: from 0 to the last sample. Raises
        UsageError for a key that does not exist or an empty bin.
        """
        rows = self._acked(by)
        bins = bin_ns or goodput.usual_interval_ns(rows) or self.sample_ns
        return goodput.goodput_frame(rows, by, window or self._whole(rows), bins)

    def mean_goodput_bps(self, window: Window | None = None, host: str | None = None,
                         peer: str | None = None, plane: int | None = None,
                         qp: int | None = None) -> float:
        """Payload acknowledged in a window, over its width; 0 where nothing was.

        Without a window: from 0 to `end_ns`.
        """
        window = window or Window(0, self.end_ns)
        rows = where(self._acked(() if plane is None else ("plane",)),
                     host=host, peer=peer, plane=plane, qp=qp)
        return goodput.bytes_within(rows, window) * 8e9 / max(1, window.width_ns)

    def _acked(self, by: Sequence[str]) -> pd.DataFrame:
        return goodput.acked(self.flows, self.ev_samples, self.topology.payload_bytes, by)

    def _whole(self, rows: pd.DataFrame) -> Window:
        return Window(0, max(1, self.end_ns, int(rows["t_ns"].max()) if len(rows) else 0))

    # --- Paths -------------------------------------------------------------------------

    def ev_timeline(self, host: str | None = None, peer: str | None = None) -> pd.DataFrame:
        """In which state each EV of each queue pair was, and since when until when.

        Columns host, peer, qp, ev, plane, t1, state, is_active, start_ns, end_ns; the rows of
        an EV follow each other from 0 to the end without a gap. An EV carries data where
        ``is_active`` and its state is good or skip.
        """
        return evstates.ev_timeline(
            where(self.evs, host=host, peer=peer), where(self.flows, host=host, peer=peer),
            where(self.ev_samples, host=host, peer=peer), self.end_ns)

    def path_heatmap(self, what: str = "acked_packets", host: str | None = None,
                     peer: str | None = None, window: Window | None = None) -> pd.DataFrame:
        """A count of `ev_samples` as a table: a row per plane, a column per T1.

        Traffic that stays in one T0 has a column ``local``. Raises UsageError for a column
        that does not exist.
        """
        rows = where(self.ev_samples, host=host, peer=peer)
        return heatmap.path_heatmap(rows, self.topology, what, window)

    # --- Losses and what follows them ----------------------------------------------------

    def retransmissions(self, by: Literal["cause", "plane", "host"] = "cause",
                        bin_ns: int | None = None) -> pd.DataFrame:
        """Packets taken for lost, and so sent again, over time: t_ns (end of bin), by, packets."""
        end_ns = self._whole(self.losses).end_ns
        return losses.retransmissions(self.losses, by, end_ns, bin_ns or self.sample_ns)

    def recovery(self) -> pd.DataFrame:
        """One row per fault that was put in force: how it was noticed, left and come back from.

        See `testbed.analysis.recovery` for the columns.
        """
        from testbed.analysis.recovery import recovery  # it needs a Run itself

        return recovery(self)

    # --- Shares and times ----------------------------------------------------------------

    def fairness(self, window: Window | None = None,
                 by: Sequence[str] = ("host", "peer")) -> pd.DataFrame:
        """Each flow's share: columns by..., goodput_bps, share (of all), of_mean (1 is fair)."""
        return fairness.shares(self._acked(by), by, window or Window(0, self.end_ns))

    def jain(self, window: Window | None = None,
             by: Sequence[str] = ("host", "peer")) -> float:
        """Jain's index of the flows, 1/n (one has all) to 1 (all alike); NaN without traffic."""
        return fairness.jain(self.fairness(window, by)["goodput_bps"].to_numpy(dtype=float))

    def step_times(self) -> pd.DataFrame:
        """A row per training step: step, t_start_ns, t_end_ns, time_ns, and means over ranks."""
        return iterations.step_times(self.steps)

    def rank_step_times(self) -> pd.DataFrame:
        """A row per training step and rank: its times, and time_ns from begin to end."""
        return iterations.rank_step_times(self.steps)

    def collective_times(self) -> pd.DataFrame:
        """A row per iteration of a collective: size, time, algbw and busbw as nccl-tests count.

        Warm-up iterations (below 0) included; incomplete ones are left out.
        """
        return iterations.collective_times(self.collectives)
