"""YAML as a tree of texts, each with the place it came from, before anything is believed.

For documents with lists and mappings inside one another; what is written flat is read by
:mod:`testbed.intent.raw`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import yaml

from testbed.errors import UsageError

MAX_CHARACTERS = 1_000_000
_MAX_DEPTH = 12
_MAX_NODES = 20_000  # aliases make many of few


@dataclass(frozen=True, slots=True)
class Tree:
    """A text, a list or a mapping, and where it was written: ``drill.yaml:3``.

    ``keys_at`` says where each key of a mapping stands.
    """

    where: str
    value: str | tuple[Tree, ...] | Mapping[str, Tree]
    keys_at: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_text(self) -> bool:
        """It is one value, not a list or a mapping."""
        return isinstance(self.value, str)

    def plain(self) -> object:
        """The same as texts, lists and dicts."""
        if isinstance(self.value, str):
            return self.value
        if isinstance(self.value, tuple):
            return [item.plain() for item in self.value]
        return {key: item.plain() for key, item in self.value.items()}


def read_tree(text: str, label: str, faults: list[str]) -> Tree:
    """The document in a YAML text; ``label`` names the file.

    Adds a fault for each key that is no word or is there twice. Raises UsageError where the
    text as a whole is no YAML mapping.
    """
    if len(text) > MAX_CHARACTERS:
        raise UsageError(f"{label}: this is too large: a page is expected")
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{label}:{mark.line + 1}" if mark else label
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        raise UsageError(f"{where}: this is not YAML: {problem}") from error
    except RecursionError as error:
        raise UsageError(f"{label}: this is nested too deeply: write it flatter") from error
    if not isinstance(node, yaml.MappingNode):
        raise UsageError(f"{label}: this is not a list of keys: write lines like 'name: value'")
    return _Reader(label, faults).read(node, 0)


class _Reader:
    """One pass over the nodes of a file."""

    def __init__(self, label: str, faults: list[str]) -> None:
        self._label, self._faults = label, faults
        self._nodes = 0

    def read(self, node: yaml.Node, depth: int) -> Tree:
        where = self._where(node)
        self._nodes += 1
        if depth > _MAX_DEPTH or self._nodes > _MAX_NODES:  # an alias may hold itself
            raise UsageError(f"{where}: this is nested too deeply: write it flatter")
        if isinstance(node, yaml.SequenceNode):
            return Tree(where, tuple(self.read(item, depth + 1) for item in node.value))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, depth)
        return Tree(where, str(node.value))

    def _mapping(self, node: yaml.MappingNode, depth: int) -> Tree:
        found: dict[str, Tree] = {}
        keys_at: dict[str, str] = {}
        for key_node, value_node in node.value:
            where, key = self._where(key_node), key_node.value
            if not isinstance(key_node, yaml.ScalarNode):
                self._faults.append(f"{where}: this key is not a word: write lines like "
                                    "'name: value'")
            elif key in found:
                self._faults.append(f"{where}: {key}: already set at {keys_at[key]}, remove one")
            else:
                keys_at[key] = where
                found[key] = self.read(value_node, depth + 1)
        return Tree(self._where(node), found, keys_at)

    def _where(self, node: yaml.Node) -> str:
        return f"{self._label}:{node.start_mark.line + 1}"
