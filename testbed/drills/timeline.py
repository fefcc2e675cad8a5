"""The timeline of a drill: its entries become a script, every step with a name and a moment.

An entry with several moves becomes several steps: the first has the entry's name, the last
that name with ``-end``, those between are numbered (``storm``, ``storm-2``, ... ``storm-end``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from testbed.drills.moments import END, START, Point, parse_name, parse_point, parse_when
from testbed.drills.moves import SERIES, VERBS, Move, Place, read_moves
from testbed.drills.raw import Section, sections
from testbed.errors import did_you_mean
from testbed.faults.actions import RATIO_KINDS, Action, EvLoss, fault_id
from testbed.faults.reach import reach
from testbed.faults.script import MAX_STEPS, After, At, Moment, Script, Step, When
from testbed.intent.tree import Tree

BEFORE_START = At(-1)
_HARD = ("down", "crash", "blackhole")
_SAME_EFFECT = {"crash": "blackhole", "blackhole": "crash", "pause": "kill", "kill": "pause"}
"""Of one target: the second of two has no effect and shares the evidence of the first."""
_MANY = ("flap", "random")
"""Verbs that do the same so often that one time may go by unnoticed."""
_MOMENT_KEYS = ("at", "after", "when", "plus")
_ENTRY_KEYS = ("name", *_MOMENT_KEYS, "evidence")


@dataclass(frozen=True, slots=True)
class Group:
    """One entry of a timeline: the steps it became.

    ``enough`` of its faults must be seen to have bitten, None of them all: one of many flaps may
    meet a link that carries nothing just then.
    """

    name: str
    verb: str
    steps: tuple[str, ...]
    enough: int | None = None


@dataclass(frozen=True, slots=True)
class Timeline:
    """``script`` in the order of its moments, as far as these are known; ``groups`` as written.

    ``known_ns`` has the time of every step whose moment does not hang on a condition.
    """

    script: Script
    groups: tuple[Group, ...]
    known_ns: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Planned:
    """A step with the entry it is from, and when it is done: (conditions before, ns since)."""

    step: Step
    verb: str
    where: str
    order: tuple[int, int]


def read_timeline(tree: Tree | None, place: Place, end_ns: int | None, faults: list[str],
                  counts: Mapping[str, int] | None = None) -> Timeline:
    """The timeline of a drill whose workload ends at ``end_ns``, None where nobody knows when.

    ``counts`` is how many there are of the units (:data:`~testbed.faults.script.UNITS`) that the
    ranks count, None where nobody knows. Adds everything that is wrong to ``faults``.
    """
    planner = _Planner(place, end_ns, faults, counts)
    for section in sections(tree, "timeline", faults):
        planner.read(section)
    planned = sorted(planner.planned, key=lambda item: item.order)
    if len(planned) > MAX_STEPS:
        faults.append(f"timeline: these are {len(planned)} steps, {MAX_STEPS} are the most: "
                      "leave some out")
    faults += _contradictions(planned, place)
    faults += _beyond(planned, end_ns)
    known = {item.step.name: max(0, item.order[1]) for item in planned if item.order[0] == 0}
    return Timeline(tuple(item.step for item in planned), tuple(planner.groups), known)


class _Planner:
    """One pass over the entries, in the order of the file."""

    def __init__(self, place: Place, end_ns: int | None, faults: list[str],
                 counts: Mapping[str, int] | None) -> None:
        self.planned: list[_Planned] = []
        self.groups: list[Group] = []
        self._place, self._end_ns, self._faults = place, end_ns, faults
        self._counts = counts
        self._orders: dict[str, tuple[int, int]] = {}
        self._open: dict[str, list[str]] = {}  # by entry: faults nothing has ended so far
        self._conditions = 0

    def read(self, section: Section) -> None:
        """Plan one entry."""
        verbs = [key for key in section.keys if key in VERBS or key == "heal"]
        # A glitch says how long links are down, which is also what can be done to one.
        verbs = [key for key in verbs if key in SERIES] or verbs
        if len(verbs) != 1:
            self._faults.append(f"{section.where}: {section.what}: {_what_to_do(section, verbs)}")
            return
        verb = verbs[0]
        name = section.read("name", parse_name, verb)
        enough = section.read("evidence", _parse_evidence, None)
        moment = self._moment(section)
        moves = self._heal(section) if verb == "heal" else read_moves(verb, section, self._place)
        if fault := _evidence_fault(enough, verb, moves):
            section.fault("evidence", fault)
        section.finish((*_ENTRY_KEYS, verb))
        if name in self._orders:
            section.fault("name", f"there is a step '{name}' already: give this entry a name of "
                                  "its own")
        elif moment is not None and moves:
            self._add(Group(name, verb, _step_names(name, len(moves)), enough),
                      moment, moves, section.where)

    def _add(self, group: Group, moment: Moment, moves: Sequence[Move], where: str) -> None:
        self.groups.append(group)
        first = group.steps[0]
        begun = self._order(moment)
        still_open = self._open.setdefault(group.name, [])
        for name, move in zip(group.steps, moves, strict=True):
            order = (begun[0], begun[1] + move.offset_ns)
            heals = (*move.heals, *self._cleared(move))
            step = Step(name, _later(moment, first, move.offset_ns), move.injects, heals)
            self._orders[name] = order
            self.planned.append(_Planned(step, group.verb, where, order))
            for ended in heals:
                self._forget(ended)
            still_open += map(fault_id, move.injects)

    def _cleared(self, move: Move) -> Iterator[str]:
        """Faults in force, as far as the file goes, on what a move rids of them."""
        targets = {str(target) for target in move.clears}
        for names in self._open.values():
            yield from (name for name in names if name.partition("#")[0] in targets)

    def _forget(self, ended: str) -> None:
        for names in self._open.values():
            if ended in names:
                names.remove(ended)

    def _heal(self, section: Section) -> list[Move]:
        """Everything these entries put in force and nothing ended so far."""
        heals: list[str] = []
        for name in section.texts("heal"):
            if name not in self._open:
                hint = did_you_mean(name, self._open) or ": name an entry above this one"
                section.fault("heal", f"there is no step '{name}'{hint}")
            elif not self._open[name]:
                section.fault("heal", f"nothing that '{name}' put in force is left to heal: leave "
                                      "it out")
            else:
                heals += reversed(self._open[name])
        return [Move(0, heals=tuple(heals))] if heals else []

    # --- when ------------------------------------------------------------------------------

    def _moment(self, section: Section) -> Moment | None:
        """When an entry begins; None where that is a fault."""
        there = [key for key in ("at", "after", "when") if key in section]
        if len(there) != 1:
            self._faults.append(f"{section.where}: {section.what}: say once when this is to be "
                                "done, with at, after or when")
            return None
        had = len(self._faults)
        delay_ns = section.read("plus", self._place.span_ns, 0)
        if "plus" in section and there[0] != "when":
            section.fault("plus", "this belongs to a condition (when): write the time into "
                                  f"'{there[0]}' itself, like crash + 5rtt")
        if there[0] == "when":
            condition = section.read("when", lambda text: parse_when(text, delay_ns), None)
            if condition and (fault := _never(condition, self._counts)):
                section.fault("when", fault)
            return condition if len(self._faults) == had else None
        key = there[0]
        point = section.read(key, lambda text: parse_point(text, self._place.rtt_ns), None)
        if point is None or len(self._faults) > had:
            return None
        return self._at(section, key, point)

    def _at(self, section: Section, key: str, point: Point) -> Moment | None:
        if key == "after" and point.ref in (START, END):
            section.fault(key, "this comes after a step: name one, or write 'at: 40rtt'")
        elif point.ref == START:
            written = section.text(key).strip()
            return BEFORE_START if written == START else At(point.offset_ns)
        elif point.ref == END and self._end_ns is None:
            section.fault(key, "nobody knows when this workload ends: give it a duration, or "
                               "use a step or a condition")
        elif point.ref == END:
            return At((self._end_ns or 0) + point.offset_ns)
        elif point.ref not in self._orders:
            hint = did_you_mean(point.ref, self._orders) or ": name an entry above this one"
            section.fault(key, f"there is no step '{point.ref}'{hint}")
        elif point.offset_ns < 0:
            section.fault(key, f"nothing can be done before '{point.ref}' because of it: use a "
                               "time after it")
        else:
            return After(point.ref, point.offset_ns)
        return None

    def _order(self, moment: Moment) -> tuple[int, int]:
        """Conditions come true in the order of the file, as far as anybody can say before."""
        match moment:
            case At(at_ns):
                return 0, at_ns
            case After(step, delay_ns):
                conditions, since_ns = self._orders[step]
                return conditions, max(0, since_ns) + delay_ns
            case When():
                self._conditions += 1
                return self._conditions, moment.delay_ns


def _never(moment: When, counts: Mapping[str, int] | None) -> str:
    """Why a condition cannot come true; "" where it can, or nobody knows."""
    if counts is None or moment.number < counts.get(moment.unit, 0):
        return ""
    if not counts:
        return "nobody counts anything in this workload: use at or after"
    if moment.unit not in counts:
        known = " or ".join("past 40 %" if unit == "share" else f"in {unit} 3" for unit in counts)
        return f"no rank of this workload counts {moment.unit}s: write it like all ranks {known}"
    if moment.unit == "share":
        return f"no rank ever is past {moment.number} %: use 0 to 100"
    last = counts[moment.unit] - 1
    return f"there is no {moment.unit} {moment.number}: they are 0 to {last}"


def _what_to_do(section: Section, verbs: Sequence[str]) -> str:
    if verbs:
        return f"{' and '.join(verbs)} are two entries: write one line for each"
    known = ("heal", *VERBS)
    hints = filter(None, (did_you_mean(key, known) for key in section.keys
                          if key not in _ENTRY_KEYS))
    return "this does nothing" + next(hints, f": write one of {', '.join(known)}")


def _parse_evidence(text: str) -> int | None:
    """How many faults must be seen to have bitten; None is each. Raises ValueError."""
    if text == "each":
        return None
    match = re.fullmatch(r"any|>= ?([1-9][0-9]{0,3})", text)
    if match is None:
        raise ValueError(f"'{text}' is not allowed: use each (every fault must be seen to have "
                         "bitten), any (one of them) or a number of them like >= 3")
    return int(match[1] or 1)


def _evidence_fault(enough: int | None, verb: str, moves: Sequence[Move]) -> str:
    """Why an entry cannot do with less than a proof of each fault; "" where it can."""
    if enough is None or not moves:
        return ""
    if verb not in _MANY:
        return (f"a {verb} does nothing where it meets no traffic: only of {' and '.join(_MANY)} "
                "some may, leave this out")
    begun = sum(len(move.injects) for move in moves)
    if enough > begun:
        return f"{enough} faults cannot have bitten where {begun} begin: ask for fewer"
    return ""


def _step_names(name: str, count: int) -> tuple[str, ...]:
    inner = [f"{name}-{number}" for number in range(2, count)]
    return (name, *inner, f"{name}-end") if count > 1 else (name,)


def _later(moment: Moment, first: str, offset_ns: int) -> Moment:
    if not offset_ns:
        return moment
    if isinstance(moment, At):
        return replace(moment, at_ns=max(0, moment.at_ns) + offset_ns)
    return After(first, offset_ns)


# --- judging the whole ------------------------------------------------------------------------


def _contradictions(planned: Sequence[_Planned], place: Place) -> Iterator[str]:
    """Faults put in force twice, ended before they began, or without any effect."""
    active: dict[str, Action] = {}
    for item in planned:
        step = item.step
        for name in step.heals:
            if active.pop(name, None) is None:
                yield (f"{item.where}: step '{step.name}' ends {name}, which is not in force at "
                       "that moment: let it begin before")
        for action in step.injects:
            name = fault_id(action)
            if name in active:
                yield (f"{item.where}: step '{step.name}' puts {name} in force, where it is "
                       "already: heal it in between")
            elif item.verb in SERIES and (other := _covering(action, active, place)):
                yield (f"{item.where}: step '{step.name}' takes down {action.target}, which "
                       f"{other} has cut off already: heal that before, or choose another")
            elif sentence := _lost_in(action, active, place):
                yield f"{item.where}: step '{step.name}' puts {name} in force, {sentence}"
            active[name] = action


def _covering(action: Action, active: Mapping[str, Action], place: Place) -> str | None:
    """A fault in force that leaves this one nothing to cut off."""
    ports = reach(place.graph, action.target).ports
    for name, other in active.items():
        if other.kind not in _HARD:
            continue
        cut = reach(place.graph, other.target).ports
        if ports & cut and len(ports) <= len(cut):
            return name
    return None


def _lost_in(action: Action, active: Mapping[str, Action], place: Place) -> str:
    """Why nothing could show that this fault bit beside those in force; "" where something could.

    What is down, crashed or blackholed drops into one account of its ports, and lets nothing by
    that could be lost or corrupted there.
    """
    other = f"{action.target}#{_SAME_EFFECT.get(action.kind)}"
    if other in active:
        return f"where {other} leaves it nothing to do: heal that before, or leave one out"
    if action.kind not in (*_HARD, *RATIO_KINDS):
        return ""
    ports = reach(place.graph, action.target).ports
    if ports <= _ports_of(_HARD, active, place):
        return "where all is cut off already: heal that before, or choose another target"
    if not isinstance(action, EvLoss) and ports <= _ports_of((action.kind,), active, place):
        return (f"where another {action.kind} is counted on the same ports: heal that before, or "
                "choose another target")
    return ""


def _ports_of(kinds: Sequence[str], active: Mapping[str, Action], place: Place) -> frozenset[int]:
    """The ports that faults of these kinds mean; a lost EV is counted by itself."""
    return frozenset[int]().union(*(
        reach(place.graph, other.target).ports for other in active.values()
        if other.kind in kinds and not isinstance(other, EvLoss)))


def _beyond(planned: Sequence[_Planned], end_ns: int | None) -> Iterator[str]:
    """Steps at times that the run does not have."""
    for item in planned:
        conditions, at_ns = item.order
        if conditions:
            continue
        if at_ns < BEFORE_START.at_ns:
            yield f"{item.where}: step '{item.step.name}' is before the start: use 'at: start'"
        if end_ns is not None and at_ns >= end_ns:
            yield (f"{item.where}: step '{item.step.name}' is at {at_ns / 1000:g}us, when the "
                   f"workload is over ({end_ns / 1000:g}us): let it begin earlier, or make the "
                   "workload longer")
