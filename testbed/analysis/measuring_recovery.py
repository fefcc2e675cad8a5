"""Measures of recovery: what a step of the timeline did, see `testbed.analysis.recovery`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import pandas as pd

from testbed.analysis.asked import Asked
from testbed.analysis.frames import where
from testbed.analysis.run import Run

_STEP = ("step",)


@lru_cache(maxsize=4)
def _recovery(run: Run) -> pd.DataFrame:
    """Several checks ask the same of one run."""
    return run.recovery()


def _worst(column: str) -> Callable[[Asked], float | None]:
    def ask(asked: Asked) -> float | None:
        found = _of_step(asked)[column].dropna()
        return float(found.max()) if len(found) else None
    return ask


def _total(column: str) -> Callable[[Asked], float | None]:
    def ask(asked: Asked) -> float | None:
        found = _of_step(asked)[column].dropna()
        return float(found.sum()) if len(found) else None
    return ask


def _of_step(asked: Asked) -> pd.DataFrame:
    return where(_recovery(asked.run), name=asked.get("step"))


MEASURES: Mapping[str, tuple[str, str, tuple[str, ...], Callable[[Asked], float | None]]] = {
    "recovery_first_lost": ("ns", "inject to the first packet that was hit", _STEP,
                            _worst("first_lost_ns")),
    "recovery_first_evidence": ("ns", "inject until a sender knew", _STEP,
                                _worst("first_evidence_ns")),
    "recovery_first_ev_out": ("ns", "inject until the first EV was out", _STEP,
                              _worst("first_out_ns")),
    "recovery_ev_out": ("ns", "inject until the last EV that went was out", _STEP,
                        _worst("last_out_ns")),
    "recovery_last_on_path": ("ns", "inject to the last packet that was hit", _STEP,
                              _worst("last_on_path_ns")),
    "recovery_goodput_back": ("ns", "inject until goodput is 95 % of what is left", _STEP,
                              _worst("goodput_back_ns")),
    "recovery_first_probe": ("ns", "heal to the first answered probe", _STEP,
                             _worst("first_probe_ns")),
    "recovery_first_ev_back": ("ns", "heal until the first EV was back", _STEP,
                               _worst("first_back_ns")),
    "recovery_ev_back": ("ns", "heal until the last EV that came was back", _STEP,
                         _worst("last_back_ns")),
    "recovery_goodput_restored": ("ns", "heal until goodput is 95 % of before", _STEP,
                                  _worst("goodput_restored_ns")),
    "recovery_lost_bytes": ("bytes", "payload missing below what is left until it is back", _STEP,
                            _total("lost_bytes")),
    "recovery_hit_evs": ("", "EVs of queue pairs whose data the faults cover", _STEP,
                         _total("hit_evs")),
    "recovery_out_evs": ("", "EVs of queue pairs that went out", _STEP, _total("out_evs")),
    "recovery_back_evs": ("", "EVs of queue pairs that came back", _STEP, _total("back_evs")),
}
