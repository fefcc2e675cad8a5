"""Any workload: from a command line, a document or a spec file to its resolved request."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from testbed.errors import UsageError, did_you_mean
from testbed.intent import collective, run, traffic, train
from testbed.intent.collective import CollectiveRequest
from testbed.intent.options import (
    LIST_KEYS,
    Label,
    RawRequest,
    Table,
    option_name,
    raw_of,
    require_none,
)
from testbed.intent.run import RunRequest
from testbed.intent.spectopology import require_topology, topology_of
from testbed.intent.traffic import TrafficRequest
from testbed.intent.train import TrainRequest
from topologies.spec import ClosSpec

__all__ = ["KINDS", "TABLES", "Request", "Spec", "from_document", "load_spec", "read_spec",
           "require_topology", "resolve", "topology_of"]

Request = RunRequest | CollectiveRequest | TrafficRequest | TrainRequest

_MODULES = (run, collective, traffic, train)
TABLES: Mapping[str, Table] = {
    kind: table for module in _MODULES for kind, table in module.TABLES.items()}
KINDS: tuple[str, ...] = tuple(TABLES)

_Read = Callable[[RawRequest, ClosSpec, Label], tuple[Request, list[str]]]
_READ: Mapping[str, _Read] = {
    kind: module.read for module in _MODULES for kind in module.TABLES}
_KEYS = {key for table in TABLES.values() for key in table.keys}
SPEC_VERSION = 1
_ABOUT = ("schema_version", "topology")  # of a spec file, not of the workload
_STAND_INS = ("h0", "h1")
_MAX_FILE_CHARACTERS = 1_000_000


def resolve(raw: RawRequest, spec: ClosSpec, label: Label = option_name) -> Request:
    """The request these options make on this topology.

    Raises UsageError that lists everything wrong at once.
    """
    request, faults = _resolve(raw, spec, label)
    require_none(faults)
    assert request is not None
    return request


def from_document(document: Mapping[str, Any], spec: ClosSpec, label: Label = str,
                  known: Collection[str] = ()) -> Request:
    """Read what ``to_document`` wrote, or a person in its manner; see `resolve`.

    What a run's spec.yaml has besides (its topology, the version of its schema) is left to
    others. ``label`` says what a key is called where it was written (`Spec.where`), ``known``
    are the faults that were found there (`Spec.faults`). Raises UsageError that lists
    everything wrong.
    """
    about = {key: value for key, value in document.items() if key not in _ABOUT}
    kind = about.get("workload")
    if not isinstance(kind, str):
        require_none(list(known))
        raise UsageError("workload is missing: add 'workload: ...', one of " + ", ".join(KINDS))
    shape: list[str] = []  # what the reader of a file has found already, and said where
    raw = raw_of(about, TABLES.get(_nearest(kind), TABLES["write-bw"]), _KEYS, shape)
    request, found = _resolve(raw, spec, label)
    new = [fault for fault in found if not any(said.endswith(fault) for said in known)]
    require_none([*(known or shape), *new])
    assert request is not None
    return request


def _resolve(raw: RawRequest, spec: ClosSpec, label: Label) -> tuple[Request | None, list[str]]:
    """The request, to be believed only where there are no faults."""
    faults: list[str] = []
    kind = _nearest(raw.workload)
    if kind != raw.workload:
        faults.append(_unknown_workload(raw.workload))
    if kind not in TABLES:
        return None, faults
    table = TABLES[kind]
    faults += _operand_faults(kind, table, raw.operands)
    foreign = sorted({*raw.texts, *raw.flags} - _judged_keys(kind))
    faults += [_foreign(key, kind, label) for key in foreign]
    operands = (*raw.operands, *_STAND_INS[len(raw.operands):])[:len(table.operands)]
    own = replace(
        raw, workload=kind, operands=operands, flags=raw.flags - set(foreign),
        texts={key: text for key, text in raw.texts.items() if key not in foreign})
    request, found = _READ[kind](own, spec, label)
    return request, faults + found


def _nearest(word: str) -> str:
    """The workload that was meant, so that what is written beside it can be judged too."""
    from difflib import get_close_matches  # errors are rare, importing this module is not

    return word if word in TABLES else next(iter(get_close_matches(word, KINDS, n=1)), "")


def _unknown_workload(word: str) -> str:
    hint = did_you_mean(word, KINDS) or f": use {', '.join(KINDS)}"
    return f"there is no workload '{word}'{hint}"


def _operand_faults(kind: str, table: Table, operands: Collection[str]) -> list[str]:
    wanted = " ".join(name.upper() for name in table.operands)
    if len(operands) == len(table.operands):
        return []
    if not wanted:
        return [f"{kind} takes no host as a word ({' '.join(operands)}): name hosts with --hosts"]
    there = " ".join(operands) or "nothing"
    return [f"{kind} needs {wanted}, not {there}: write `run {kind} {wanted}`"]


def _judged_keys(kind: str) -> set[str]:
    # write-lat says by itself why it lacks what write-bw has.
    return TABLES["write-bw" if kind in run.KINDS else kind].keys


def _foreign(key: str, kind: str, label: Label) -> str:
    owners = [owner for owner, table in TABLES.items() if key in table.keys]
    if not owners:
        return f"there is no key '{key}'{did_you_mean(key, TABLES[kind].keys)}"
    return f"{label(key)} is for {_listed(owners)}, not for {kind}: leave it out"


def _listed(words: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


# --- Spec files ------------------------------------------------------------------------


class Spec(NamedTuple):
    """A spec file: its document, where each key was, as ``file:line: key``, and what is wrong
    with it on any topology, each with file and line."""

    document: dict[str, Any]
    where: Label
    faults: tuple[str, ...]


def read_spec(path: str | Path) -> Spec:
    """Read a YAML file; `from_document` takes it further, with the topology and the faults.

    Faults are unknown and repeated keys, values of the wrong shape, those no topology would
    allow and topologies that are none. Raises UsageError for what cannot be read at all.
    """
    source = _Source(str(path))
    document, faults = source.read(_read_text(Path(path)))
    version = document.get("schema_version", SPEC_VERSION)
    if str(version) != str(SPEC_VERSION):
        raise UsageError(f"spec {path} is of version {version}, and this testbed reads version "
                         f"{SPEC_VERSION}: use the testbed that made the run")
    return Spec(document, source.label, tuple(faults))


def load_spec(path: str | Path) -> tuple[dict[str, Any], str | None]:
    """The document of a YAML file, and the name of the topology it is for, if it says so.

    Raises UsageError that lists all its faults; see `read_spec`.
    """
    document, _, faults = read_spec(path)
    require_none(faults, f"spec {path}")
    about = document.get("topology")
    name = about.get("name") if isinstance(about, dict) else about
    return document, name


def _read_text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_MAX_FILE_CHARACTERS + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"spec {path} cannot be read: {reason}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"spec {path} is not text: save it as UTF-8") from error
    if len(text) > _MAX_FILE_CHARACTERS:
        raise UsageError(f"spec {path} is too large: a dozen lines are expected")
    return text


class _Source:
    """One file under reading: where keys were, and what is wrong with it."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._lines: dict[str, int] = {}
        self._faults: list[str] = []

    def read(self, text: str) -> tuple[dict[str, Any], list[str]]:
        """The document, and what is wrong."""
        found = self._pairs(self._compose(text), "")
        kind = found["workload"].value if "workload" in found else ""
        if not kind or kind not in TABLES:
            self._faults.append(
                f"{self._where('workload')}: {_unknown_workload(kind)}" if kind else
                f"{self._label}: workload is missing: add 'workload: ...'")
        table = TABLES.get(_nearest(kind))
        document = {key: self._value(key, node, table) for key, node in found.items()}
        if table is not None:
            self._faults += [f"{self._label}: {key} is missing: add '{key}: ...'"
                             for key in table.operands if key not in found]
        self._judge_topology(document)
        return document, self._faults

    def label(self, key: str) -> str:
        """A key with its place; one that is not there is just itself."""
        return f"{self._where(key)}: {key}" if key in self._lines else key

    def _judge_topology(self, document: Mapping[str, Any]) -> None:
        about = document.get("topology")
        if about is None or (isinstance(about, dict) and None in about.values()):
            return  # or its shape was a fault
        try:
            topology_of(document)
        except UsageError as error:
            first, *others = str(error).splitlines()
            for sentence in others or [first]:
                self._faults.append(self._placed(sentence.strip()))

    def _placed(self, sentence: str) -> str:
        """What is wrong with a topology, with the line of the key it is about."""
        own = [key for key in self._lines if key.startswith("topology.") and (
            sentence.startswith(key.replace(".", ": ", 1) + ":")
            or f"no key '{key.partition('.')[2]}'" in sentence)]
        return f"{self._where(own[0] if own else 'topology')}: {sentence}"

    def _compose(self, text: str) -> yaml.MappingNode:
        try:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = f"{self._label}:{mark.line + 1}" if mark else self._label
            problem = getattr(error, "problem", None) or " ".join(str(error).split())
            raise UsageError(f"{where}: this is not YAML: {problem}") from error
        except RecursionError as error:
            raise UsageError(f"{self._label}: this is nested too deeply: write a flat "
                             "list") from error
        if not isinstance(node, yaml.MappingNode):
            raise UsageError(f"{self._label}: this is not a list of keys: write lines like "
                             "'workload: allreduce'")
        return node

    def _pairs(self, node: yaml.MappingNode, prefix: str) -> dict[str, Any]:
        """The value of every key that is there once."""
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self._faults.append(f"{self._label}:{line}: this key is not a word: write lines "
                                    "like 'workload: allreduce'")
            elif key_node.value in found:
                first = self._where(prefix + key_node.value)
                self._faults.append(f"{self._label}:{line}: {key_node.value}: already set at "
                                    f"{first}, remove one")
            else:
                found[key_node.value] = value_node
                self._lines[prefix + key_node.value] = line
        return found

    def _where(self, key: str) -> str:
        return f"{self._label}:{self._lines[key]}" if key in self._lines else self._label

    def _value(self, key: str, node: yaml.Node, table: Table | None) -> Any:
        """A key's value as plain types; None where it is a fault."""
        where = self._where(key)
        if key == "topology" and isinstance(node, yaml.MappingNode):
            return {name: self._single(f"topology.{name}", value)
                    for name, value in self._pairs(node, "topology.").items()}
        if table is not None and key not in table.keys and key in _KEYS:
            self._faults.append(f"{where}: {_foreign(key, _kind_of(table), str)}")
            return None
        is_list = isinstance(node, yaml.SequenceNode) and key in LIST_KEYS
        singles = [self._single(key, item) for item in (node.value if is_list else [node])]
        parts = [part for part in singles if part is not None]
        if len(parts) < len(singles):
            return None
        return self._judged(key, ",".join(parts), where, table)

    def _single(self, key: str, node: yaml.Node) -> str | None:
        if isinstance(node, yaml.ScalarNode):
            return str(node.value)
        self._faults.append(f"{self._where(key)}: {key}: a single value is expected here")
        return None

    def _judged(self, key: str, text: str, where: str, table: Table | None) -> Any:
        if table is None:
            return text
        if key in table.flags:
            if text not in ("true", "false"):
                self._faults.append(f"{where}: {key}: '{text}' is not allowed: use true or false")
            return text == "true"
        if key in table.options:
            try:
                table.options[key].read(text, f"{where}: {key}")
            except ValueError as error:
                self._faults.append(str(error))
        elif key not in (known := ["workload", *table.operands, "tdf", *_ABOUT]):
            words = [*known, *sorted(table.keys)]
            hint = did_you_mean(key, words) or f", the keys are {', '.join(words)}"
            self._faults.append(f"{where}: there is no key '{key}'{hint}")
        return text


def _kind_of(table: Table) -> str:
    return next(kind for kind, other in TABLES.items() if other is table)
