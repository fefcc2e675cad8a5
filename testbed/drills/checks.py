"""Checks of a drill, read: what is measured, when, of whom, and what is expected of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from testbed.analysis.asked import KEYS
from testbed.analysis.figures import FIGURES
from testbed.analysis.measures import MEASURES
from testbed.drills.drill import Check, Reference
from testbed.drills.expect import BYTE_RATE, RATE, TIME, Expectation, parse_expectation
from testbed.drills.raw import Section, sections
from testbed.drills.windows import RUN
from testbed.errors import did_you_mean
from testbed.intent.run import RunRequest
from testbed.intent.traffic import TrafficRequest
from testbed.intent.tree import Tree
from testbed.intent.workload import Request
from topologies.names import host_name, parse_host
from topologies.numbers import CONTROL_FRAME_BYTES, data_frame_bytes, serialisation_ns
from topologies.spec import ClosSpec

NOMINAL, PATH = "nominal", "path"
_OF_WORDS = (NOMINAL, PATH)
_OF_ONE_PAIR = ("flow_goodput_min",)  # measures that are one flow's, whoever is asked about
_OWN_KEYS = ("name", "measure", "in", "expect", "of", "steady", "paper", "look")


@dataclass(frozen=True, slots=True)
class Setting:
    """What checks may speak of: the fabric, what runs on it, windows, steps, the figure.

    ``is_sure``: nothing was wrong with windows and steps, so that what is missing is missing.
    """

    spec: ClosSpec
    rtt_ns: int
    request: Request | None
    windows: Collection[str]
    steps: Collection[str]
    figure: str
    is_sure: bool = True


def read_checks(tree: Tree | None, setting: Setting, faults: list[str]) -> tuple[Check, ...]:
    """The checks of a drill; adds what is wrong with them to ``faults``."""
    found: list[Check] = []
    for section in sections(tree, "checks", faults):
        had = len(faults)
        check = _Reader(section, setting).read()
        section.finish((*_OWN_KEYS, *_keys_of(section.text("measure"))))
        if check is None or len(faults) > had:
            continue
        if check.name in (other.name for other in found):
            section.fault("name", f"two checks are called '{check.name}': give each a name of "
                                  "its own")
        found.append(check)
    return tuple(found)


class _Reader:
    """One pass over a check."""

    def __init__(self, section: Section, setting: Setting) -> None:
        self._section, self._setting = section, setting

    def read(self) -> Check | None:
        """The check, None where its measure does not exist."""
        section = self._section
        name = section.text("measure")
        if not self._knows_measure(name):
            return None
        measure = MEASURES[name]
        where = self._where(section, measure.keys)
        window = self._window(section, "in", RUN)
        of = self._reference(name, window, where)
        expect = section.read("expect", lambda text: parse_expectation(
            text, measure.unit, of is not None, self._setting.rtt_ns), None)
        if expect is None:
            if "expect" not in section:
                section.require("expect", '">= 94 %"')
            return None
        return self._check(name, window, where, of, expect)

    def _check(self, measure: str, window: str, where: Mapping[str, str],
               of: Reference | None, expect: Expectation) -> Check:
        section = self._section
        told = " ".join([measure.replace("_", " "), *where.values()])
        return Check(
            name=section.text("name") or f"{told} in {window}", measure=measure,
            unit=MEASURES[measure].unit, window=window, where=where, expect=expect, of=of,
            is_steady=section.flag("steady"), paper=section.text("paper") or None,
            look=self._look())

    def _look(self) -> str:
        """A figure's name, or several words."""
        text = self._section.text("look", self._setting.figure)
        if "look" in self._section and " " not in text and (fault := figure_fault(text)):
            self._section.fault("look", fault)
        return text

    def _knows_measure(self, name: str) -> bool:
        if not name:
            self._section.require("measure", "goodput")
            return False
        if name not in MEASURES:
            hint = did_you_mean(name, MEASURES) or f": use {', '.join(MEASURES)}"
            self._section.fault("measure", f"there is no measure '{name}'{hint}")
            return False
        return True

    def _window(self, section: Section, key: str, default: str) -> str:
        name = section.text(key, default)
        if name not in self._setting.windows and self._setting.is_sure:
            hint = did_you_mean(name, self._setting.windows)
            there = f": the windows are {', '.join(self._setting.windows)}"
            section.fault(key, f"there is no window '{name}'{hint or there}")
        return name

    # --- of whom -----------------------------------------------------------------------

    def _where(self, section: Section, keys: Sequence[str]) -> dict[str, str]:
        """What the measure is narrowed to, by the keys it knows."""
        found = {key: section.text(key) for key in keys if key in section}
        for key, text in found.items():
            if fault := self._where_fault(key, text):
                section.fault(key, fault)
        if "step" in keys and "step" not in found:
            section.require("step", next(iter(self._setting.steps), "crash"))
        return found

    def _where_fault(self, key: str, text: str) -> str:
        setting = self._setting
        read, example = KEYS[key]
        try:
            read(text)
        except ValueError:
            return f"'{text}' is none: write one like {example}"
        if key in ("host", "peer"):
            host = parse_host(text)
            if host is None or host >= setting.spec.host_count:
                return f"there is no host '{text}': use h0 to h{setting.spec.host_count - 1}"
        elif key == "plane" and not 0 <= int(text) < setting.spec.planes:
            return f"there is no plane '{text}': use 0 to {setting.spec.planes - 1}"
        elif key == "step" and text not in setting.steps and setting.is_sure:
            hint = did_you_mean(text, setting.steps)
            return f"there is no step '{text}'{hint or f': use {_listed(setting.steps)}'}"
        return ""

    # --- compared with what ------------------------------------------------------------

    def _reference(self, measure: str, window: str, where: Mapping[str, str]) -> Reference | None:
        tree = self._section.take("of")
        if tree is None:
            return None
        if isinstance(tree.value, dict):
            return self._other(Section(tree, f"{self._section.what}.of", self._section.faults),
                               measure, window, where)
        word = self._section.text("of")
        if word == NOMINAL:
            return self._nominal(measure, where)
        if word == PATH:
            return self._path(measure, where)
        if word in self._setting.windows or not self._setting.is_sure:
            if word == window:
                self._section.fault("of", "this compares a figure with itself: name another "
                                          "window")
            return Reference("window", word, measure, word, where)
        known = (*_OF_WORDS, *self._setting.windows)
        hint = did_you_mean(word, known) or f": use {', '.join(known)}"
        self._section.fault("of", f"there is nothing called '{word}' to compare with{hint}")
        return None

    def _other(self, section: Section, measure: str, window: str,
               where: Mapping[str, str]) -> Reference:
        """Another measure, another window, somebody else: what is not said stays the same."""
        name = section.text("measure", measure)
        if name not in MEASURES:
            hint = did_you_mean(name, MEASURES) or f": use {', '.join(MEASURES)}"
            section.fault("measure", f"there is no measure '{name}'{hint}")
            name = measure
        if MEASURES[name].unit != MEASURES[measure].unit:
            section.fault("measure", f"{name} is in {MEASURES[name].unit}, {measure} in "
                                     f"{MEASURES[measure].unit}: name one of the same unit")
        other = self._window(section, "in", window)
        keys = MEASURES[name].keys
        kept = {key: text for key, text in where.items() if key in keys}
        where_other = {**kept, **{key: section.text(key) for key in keys if key in section}}
        for key, text in where_other.items():
            if fault := self._where_fault(key, text):
                section.fault(key, fault)
        section.finish(("measure", "in", *keys))
        if (name, other, where_other) == (measure, window, dict(where)):
            section.faults.append(f"{section.where}: {section.what}: this compares a figure with "
                                  "itself: name another window, measure or host")
        told = " ".join([name.replace("_", " "), *where_other.values(), "in", other])
        return Reference("window", told, name, other, where_other)

    def _nominal(self, measure: str, where: Mapping[str, str]) -> Reference:
        """What the NICs meant could send at most, headers included."""
        spec = self._setting.spec
        unit = MEASURES[measure].unit
        if unit not in (RATE, BYTE_RATE):
            self._section.fault("of", f"{measure} is no rate: only rates have a nominal one")
        is_of_one = measure in _OF_ONE_PAIR or {"host", "peer", "size"} & where.keys()
        nics = 1 if is_of_one else _nics(self._setting.request)
        ports = 1 if "plane" in where else spec.planes
        value = nics * ports * spec.port_rate_bps / (8 if unit == BYTE_RATE else 1)
        return Reference("fixed", "line rate", value=value)

    def _path(self, measure: str, where: Mapping[str, str]) -> Reference:
        """Half a round trip of one message, unloaded: links and serialisations, nothing else."""
        setting = self._setting
        ends = [parse_host(where.get(key, "")) for key in ("host", "peer")]
        if MEASURES[measure].unit != TIME or None in ends:
            self._section.fault("of", "the delay of a path is compared with a time between two "
                                      "hosts: name host and peer")
            return Reference("fixed", PATH)
        src, dst = (host for host in ends if host is not None)
        size_bytes = getattr(setting.request, "size_bytes", setting.spec.payload_bytes)
        value = path_delay_ns(setting.spec, src, dst, size_bytes)
        return Reference("fixed", f"the path from {host_name(src)} to {host_name(dst)}",
                         value=value)


def figure_fault(name: str) -> str:
    """What is wrong with the name of a figure; "" where there is such a figure."""
    if name in FIGURES:
        return ""
    hint = did_you_mean(name, FIGURES) or f": use {', '.join(FIGURES)}"
    return f"there is no figure '{name}'{hint}"


def path_delay_ns(spec: ClosSpec, src: int, dst: int, size_bytes: int) -> float:
    """Half of what passes from posting a message of one packet to its acknowledgement, ns.

    A full frame of it out, a SACK back, over every link of the path; nothing waits. Raises
    ValueError where a host does not exist.
    """
    links = 4 if spec.is_cross_t1(src, dst) else 2
    out_bytes = data_frame_bytes(min(size_bytes + 3 & ~3, spec.payload_bytes))
    busy_ns = serialisation_ns(links * (out_bytes + CONTROL_FRAME_BYTES), spec.port_rate_bps)
    return (2 * links * spec.link_delay_ns + busy_ns) / 2


def _nics(request: Request | None) -> int:
    """How many NICs limit what is sent: the fewer of those that send and that receive.

    Figures of collectives are of each rank, so of one NIC.
    """
    match request:
        case RunRequest():
            return 2 if request.is_bidirectional else 1
        case TrafficRequest():
            return min(len({pair[end] for pair in request.pairs}) for end in (0, 1))
        case _:
            return 1


def _keys_of(measure: str) -> Collection[str]:
    """By what a measure can be narrowed; by anything where nobody knows it."""
    if measure in MEASURES:
        return MEASURES[measure].keys
    return {key for known in MEASURES.values() for key in known.keys}


def _listed(words: Collection[str]) -> str:
    return ", ".join(words) or "none, the timeline is empty"
