"""The vocabulary of drill checks: figures of a run by name, each a number or nothing.

    measure(run, "goodput", Window(40_000, 90_000), {"host": "h0"})     bit/s, or None

None means that there is nothing to measure: no such host sent, no step of that name was done,
the table was not recorded. That is never a 0. Counts over samples take the part of a sample
that lies in the window; losses, changes and messages are taken one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from testbed.analysis import measuring_flows, measuring_paths, measuring_recovery, measuring_times
from testbed.analysis.asked import Asked, resolve
from testbed.analysis.frames import Window
from testbed.analysis.run import Run
from testbed.errors import UsageError, did_you_mean

Ask = Callable[[Asked], float | None]


@dataclass(frozen=True, slots=True)
class Measure:
    """``about``: one line for people; ``unit`` bit/s, ns, bytes, B/s, or "" of a number or a
    share; ``keys`` what may select (`testbed.analysis.asked.KEYS`)."""

    name: str
    unit: str
    about: str
    keys: tuple[str, ...]
    ask: Ask


MEASURES: Mapping[str, Measure] = {
    name: Measure(name, unit, about, keys, ask)
    for module in (measuring_flows, measuring_paths, measuring_times, measuring_recovery)
    for name, (unit, about, keys, ask) in module.MEASURES.items()
}


def measure(run: Run, name: str, window: Window | None = None,
            where: Mapping[str, str] | None = None) -> float | None:
    """A figure of a run in a window (default: from 0 to its end); None where there is none.

    Raises UsageError for a measure or a key that does not exist, or a value that is none.
    """
    found = MEASURES.get(name)
    if found is None:
        hint = did_you_mean(name, MEASURES)
        raise UsageError(f"there is no measure '{name}'{hint}: use one of {', '.join(MEASURES)}")
    asked = resolve(run, window or Window(0, run.end_ns), where or {}, name, found.keys)
    value = found.ask(asked)
    return None if value is None or value != value else float(value)  # NaN is no figure
