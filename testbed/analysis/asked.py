"""What a measure is asked about: a run, a window of it, and what selects."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from testbed.analysis.frames import Window, where, within
from testbed.analysis.goodput import binned
from testbed.analysis.run import Run
from testbed.errors import UsageError, did_you_mean
from testbed.intent.options import parse_binary_size
from topologies.ev import parse_ev

# key -> how its text is read, and an example of it
KEYS: Mapping[str, tuple[Callable[[str], Any], str]] = {
    "host": (str, "h0"), "peer": (str, "h4"), "plane": (int, "2"), "qp": (int, "1"),
    "ev": (parse_ev, "0x0203"), "t1": (int, "1"), "switch": (str, "p0-t1-2"),
    "towards": (str, "p0-t0-1"), "cause": (str, "blackhole"), "step": (str, "crash"),
    "rank": (int, "0"), "size": (parse_binary_size, "1MiB"),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """One question. ``values`` has those of `KEYS` that were given, read."""

    run: Run
    window: Window
    values: Mapping[str, Any]

    def get(self, key: str) -> Any:
        """What was asked for, None where it does not matter."""
        return self.values.get(key)

    def chosen(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The rows of a table that have what was asked for, as far as it has such columns."""
        fitting = {key: value for key, value in self.values.items() if key in frame.columns}
        return where(frame, **fitting)

    def sum_of(self, frame: pd.DataFrame, column: str) -> float:
        """The part of a count of interval rows that lies in the window."""
        rows = self.chosen(frame)
        if not len(rows) or self.window.width_ns < 1:
            return 0.0
        found = binned(rows, (), column, self.window, self.window.width_ns)
        return float(found[column].iloc[0])

    def during(self, frame: pd.DataFrame, column: str = "t_ns") -> pd.DataFrame:
        """The rows of single moments that were asked for and lie in the window."""
        return within(self.chosen(frame), self.window, column)

    @property
    def has_flows(self) -> bool:
        """Somebody who was asked for sent something at some time."""
        return bool((self.chosen(self.run.flows)["sent_packets"] > 0).any())


def resolve(run: Run, window: Window, texts: Mapping[str, str], name: str,
            keys: Collection[str]) -> Asked:
    """Read what selects. Raises UsageError for what the measure ``name`` does not take."""
    for key in texts:
        if key not in keys:
            fitting = f"use {', '.join(keys)}" if keys else "it takes none"
            raise UsageError(f"measure '{name}' takes no '{key}'{did_you_mean(key, keys)}: "
                             f"{fitting}")
    return Asked(run, window, {key: _value(key, str(text)) for key, text in texts.items()})


def _value(key: str, text: str) -> Any:
    read, example = KEYS[key]
    try:
        return read(text)
    except ValueError:
        raise UsageError(f"{key}: '{text}' is none: write one like {example}") from None
