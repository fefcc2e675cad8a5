"""Raw settings: text by key with the place it came from, before anything is believed.

Both a YAML file and ``--set key=value`` are read into these, so both are judged by the
same rules and blamed with the same sentences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import yaml

from testbed.errors import UsageError


@dataclass(frozen=True, slots=True)
class RawValue:
    """What was written for a key, and where: ``lab.yaml:3`` or ``--set planes=9``."""

    text: str
    where: str


@dataclass(slots=True)
class RawSettings:
    """Everything written, with the faults found so far, one sentence each.

    ``rejected`` holds keys that were written, but with nothing usable.
    """

    values: dict[str, RawValue] = field(default_factory=dict)
    rejected: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)


def read_yaml(text: str, label: str) -> RawSettings:
    """Read a YAML mapping of single values; ``label`` names the file in every fault.

    Raises UsageError where the text as a whole is not that.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise UsageError(_syntax_fault(error, label)) from error
    except RecursionError as error:
        raise UsageError(f"{label}: this is nested too deeply: write a flat list") from error
    if not isinstance(node, yaml.MappingNode):
        raise UsageError(f"{label}: this is not a list of keys: write lines like 'planes: 4'")
    raw = RawSettings()
    for key_node, value_node in node.value:
        _read_pair(raw, key_node, value_node, label)
    return raw


def apply_sets(raw: RawSettings, sets: Sequence[str]) -> None:
    """Lay ``key=value`` options over what the file says, the last one of a key counting."""
    for option in sets:
        key, equals, text = option.partition("=")
        where = f"--set {option}"
        if not equals or not key.strip():
            raw.faults.append(f"{where}: this sets nothing: write --set key=value")
            continue
        raw.values[key.strip()] = RawValue(text.strip(), where)


def _read_pair(
    raw: RawSettings, key_node: yaml.Node, value_node: yaml.Node, label: str
) -> None:
    where = f"{label}:{key_node.start_mark.line + 1}"
    if not isinstance(key_node, yaml.ScalarNode):
        raw.faults.append(f"{where}: this key is not a word: write lines like 'planes: 4'")
    elif not isinstance(value_node, yaml.ScalarNode):
        raw.rejected.add(key_node.value)
        raw.faults.append(f"{where}: {key_node.value}: a single value is expected here")
    elif key_node.value in raw.values:
        first = raw.values[key_node.value].where
        raw.faults.append(f"{where}: {key_node.value}: already set at {first}, remove one")
    else:
        raw.values[key_node.value] = RawValue(value_node.value, where)


def _syntax_fault(error: yaml.YAMLError, label: str) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        line, column = error.problem_mark.line + 1, error.problem_mark.column + 1
        return f"{label}:{line}: this is not YAML at column {column}: {error.problem}"
    return f"{label}: this is not YAML: {' '.join(str(error).split())}"
