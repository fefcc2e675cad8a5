"""Measures of EVs and of switch ports."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd

from testbed.analysis import evstates
from testbed.analysis.asked import Asked
from testbed.analysis.frames import where
from testbed.errors import UsageError, did_you_mean
from topologies.ev import split_ev

CAUSES = ("tail", "control", "blackhole", "loss", "ev")

_PAIR = ("host", "peer")
_PATH = (*_PAIR, "plane", "ev")
_PORT = ("switch", "towards", "plane")


def _moved(went: str, *of: str) -> Callable[[Asked], float | None]:
    """How many of what these columns tell apart went out, or back."""
    def ask(asked: Asked) -> float | None:
        if not asked.has_flows:
            return None
        moves = where(asked.during(evstates.transitions(asked.run.evs)), went=went)
        return float(len(moves.drop_duplicates([*of, "ev"])))
    return ask


def _active_at_end(asked: Asked) -> float | None:
    """Of the queue pair that has fewest; as its last sample in or before the window says."""
    sent = asked.chosen(asked.run.flows)
    last = sent[(sent["t_ns"] <= asked.window.end_ns) & (sent["sent_packets"] > 0)]
    last = last.drop_duplicates(["host", "peer", "qp"], keep="last")
    return float(last["active_evs"].min()) if len(last) else None


def _active_time_share(asked: Asked) -> float | None:
    """Of the window, over queue pairs and EVs asked for."""
    rows = asked.chosen(asked.run.ev_timeline())
    window = asked.window
    begun, ended = rows["start_ns"].clip(lower=window.start_ns), rows["end_ns"].clip(
        upper=window.end_ns)
    width = (ended - begun).clip(lower=0)
    carrying = rows["is_active"] & rows["state"].isin(evstates.CARRYING)
    total = width.sum()
    return float(width[carrying].sum() / total) if total else None


def _ev_count(column: str) -> Callable[[Asked], float | None]:
    def ask(asked: Asked) -> float | None:
        if not len(asked.run.ev_samples):
            return None
        return asked.sum_of(asked.run.ev_samples, column)
    return ask


def _ev_share(asked: Asked) -> float | None:
    """Packets on an EV, of those on its plane."""
    ev = asked.get("ev")
    if ev is None:
        raise UsageError("measure 'ev_share' needs an EV: add ev, like 0x0203")
    others = {**asked.values, "plane": split_ev(ev)[0], "ev": None}
    plane = Asked(asked.run, asked.window, others)
    total = plane.sum_of(asked.run.ev_samples, "sent_packets")
    return asked.sum_of(asked.run.ev_samples, "sent_packets") / total if total else None


def _plane_share(asked: Asked) -> float | None:
    """Packets on a plane, of those on all."""
    everywhere = Asked(asked.run, asked.window, {**asked.values, "plane": None})
    total = everywhere.sum_of(asked.run.ev_samples, "sent_packets")
    return asked.sum_of(asked.run.ev_samples, "sent_packets") / total if total else None


def _t1_share(asked: Asked) -> float | None:
    """Packets over the T1s of this number, one in each plane, of those over all."""
    if asked.get("t1") is None:
        raise UsageError("measure 't1_share' needs a T1: add t1, like 1")
    everywhere = Asked(asked.run, asked.window, {**asked.values, "t1": None})
    total = everywhere.sum_of(asked.run.ev_samples, "sent_packets")
    return asked.sum_of(asked.run.ev_samples, "sent_packets") / total if total else None


def _port_count(*columns: str) -> Callable[[Asked], float | None]:
    def ask(asked: Asked) -> float | None:
        if not len(asked.run.ports):
            return None
        return sum(asked.sum_of(asked.run.ports, column) for column in columns)
    return ask


def _dropped(asked: Asked) -> float | None:
    cause = asked.get("cause")
    if cause is not None and cause not in CAUSES:
        raise UsageError(f"ports drop nothing by '{cause}'{did_you_mean(cause, CAUSES)}: use "
                         f"{', '.join(CAUSES)}")
    return _port_count(*(f"dropped_{each}" for each in CAUSES if cause in (None, each)))(asked)


def _queue_max(asked: Asked) -> float | None:
    found: pd.Series = asked.during(asked.run.ports)["queue_bytes"]
    return float(found.max()) if len(found) else None


MEASURES: Mapping[str, tuple[str, str, tuple[str, ...], Callable[[Asked], float | None]]] = {
    "evs_out": ("", "paths (host, peer, EV) that were left as bad or denied", _PATH,
                _moved("out", *_PAIR)),
    "evs_back": ("", "paths (host, peer, EV) that came back into use", _PATH,
                 _moved("back", *_PAIR)),
    "qp_evs_out": ("", "EVs of queue pairs that were left as bad or denied", (*_PATH, "qp"),
                   _moved("out", *_PAIR, "qp")),
    "qp_evs_back": ("", "EVs of queue pairs that came back into use", (*_PATH, "qp"),
                    _moved("back", *_PAIR, "qp")),
    "evs_active_end": ("", "EVs that carry data at the end of the window, of the queue pair "
                       "with fewest", ("host", "peer", "qp"), _active_at_end),
    "ev_active_share": ("", "how much of the window the EVs were active and good, over all "
                        "queue pairs", (*_PATH, "qp"), _active_time_share),
    "ev_sent_packets": ("", "data packets sent on these EVs", _PATH, _ev_count("sent_packets")),
    "ev_share": ("", "packets sent on an EV, of those on its plane", ("host", "peer", "ev"),
                 _ev_share),
    "plane_share": ("", "packets sent on a plane, of those on all", ("host", "peer", "plane"),
                    _plane_share),
    "t1_share": ("", "packets sent over the T1s of this number, one in each plane, of all",
                 ("host", "peer", "plane", "t1"), _t1_share),
    "marked": ("", "data packets that arrived with an ECN mark", _PATH, _ev_count("marked")),
    "trimmed": ("", "data packets that arrived trimmed", _PATH, _ev_count("trimmed")),
    "ev_lost": ("", "data packets taken for lost without a trace", _PATH, _ev_count("lost")),
    "port_marked": ("", "frames switch ports marked", _PORT, _port_count("marked")),
    "port_trimmed": ("", "frames switch ports trimmed", _PORT, _port_count("trimmed")),
    "port_dropped": ("", f"frames switch ports dropped, by cause ({', '.join(CAUSES)}) or all",
                     (*_PORT, "cause"), _dropped),
    "port_queue_max": ("bytes", "the longest queue of a switch port at the end of a sample",
                       _PORT, _queue_max),
}
