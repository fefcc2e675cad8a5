"""Windows of a drill: pieces of the run between two moments, ``crash + 10rtt .. back``.

What a moment is known as before the run serves to refuse nonsense; the windows that are
measured in are those of the moments as they came.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from testbed.drills.moments import END, RESERVED, START, Point, parse_name, parse_point
from testbed.drills.raw import Section
from testbed.errors import did_you_mean
from testbed.intent.tree import Tree

RUN = "run"
"""The window that every drill has: all of it."""


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """A window as written: from one moment to before another."""

    name: str
    start: Point
    end: Point

    def __str__(self) -> str:
        return f"{self.start} .. {self.end}"


WHOLE = WindowSpec(RUN, Point(START, 0), Point(END, 0))


@dataclass(frozen=True, slots=True)
class Resolved:
    """A window of a run, emulated ns; ``reason`` says why there is none."""

    name: str
    start_ns: int = 0
    end_ns: int = 0
    reason: str = ""


def read_windows(tree: Tree | None, rtt_ns: int, known_ns: Mapping[str, int | None],
                 faults: list[str], is_sure: bool = True) -> tuple[WindowSpec, ...]:
    """The windows of a drill and the whole run; adds what is wrong to ``faults``.

    ``known_ns`` has every moment that can be named: steps, start and end; None where its time
    is known only afterwards. Unless ``is_sure`` there may be more of them, in entries that
    could not be read.
    """
    found = [WHOLE]
    if tree is None:
        return tuple(found)
    section = Section(tree, "windows", faults)
    for name in section.keys:
        text = section.text(name)
        try:
            window = _parse(parse_name(name), text, rtt_ns)
        except ValueError as error:
            section.fault(name, str(error))
            continue
        problems = list(_problems(window, known_ns, is_sure))
        for sentence in problems:
            section.fault(name, sentence)
        if not problems:
            found.append(window)
    return tuple(found)


def resolve_window(window: WindowSpec, done_ns: Mapping[str, int], end_ns: int) -> Resolved:
    """A window of a run whose steps were done at these times."""
    times: list[int] = []
    for point in (window.start, window.end):
        at_ns = {**done_ns, START: 0, END: end_ns}.get(point.ref)
        if at_ns is None:
            return Resolved(window.name, reason=f"step '{point.ref}' was not done")
        times.append(at_ns + point.offset_ns)
    start_ns, stop_ns = max(0, times[0]), min(times[1], end_ns)
    if start_ns >= stop_ns:
        return Resolved(window.name, start_ns, start_ns,
                        f"window '{window.name}' is empty: it would begin at "
                        f"{start_ns / 1000:,.1f} us and end at {stop_ns / 1000:,.1f} us")
    return Resolved(window.name, start_ns, stop_ns)


def _parse(name: str, text: str, rtt_ns: int) -> WindowSpec:
    if name == RUN:
        raise ValueError(f"every drill has the window '{RUN}', all of it: use another name")
    ends = text.split("..")
    if len(ends) != 2:
        raise ValueError(f"'{text}' is not a window: write it like crash + 10rtt .. back")
    return WindowSpec(name, parse_point(ends[0], rtt_ns), parse_point(ends[1], rtt_ns))


def _problems(window: WindowSpec, known_ns: Mapping[str, int | None],
              is_sure: bool) -> Iterator[str]:
    times: list[int | None] = []
    for point in (window.start, window.end):
        if point.ref not in known_ns:
            if not is_sure:
                return
            steps = [name for name in known_ns if name not in RESERVED]
            hint = did_you_mean(point.ref, steps)
            there = f": the steps are {', '.join(steps) or 'none'}"
            yield f"there is no step '{point.ref}'{hint or there}"
            return
        at_ns = known_ns[point.ref]
        times.append(None if at_ns is None else at_ns + point.offset_ns)
    start_ns, stop_ns = times
    is_same = window.start.ref == window.end.ref
    if is_same:
        start_ns, stop_ns = window.start.offset_ns, window.end.offset_ns
    if start_ns is not None and stop_ns is not None and start_ns >= stop_ns:
        yield (f"this window is empty, it would begin at {start_ns / 1000:,.1f} us and end at "
               f"{stop_ns / 1000:,.1f} us: write the earlier moment first")
    if start_ns is not None and start_ns < 0 and not is_same:
        yield "this window begins before the run: use a later moment"
    last_ns = known_ns[END]
    if stop_ns is not None and last_ns is not None and stop_ns > last_ns and not is_same:
        yield (f"this window ends at {stop_ns / 1000:,.1f} us, when the workload is over "
               f"({last_ns / 1000:,.1f} us): use an earlier moment, or make the workload longer")
