"""Sections of a drill file: keys read one by one, and what is wrong noted with its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from testbed.errors import UsageError, did_you_mean
from testbed.intent.tree import Tree

Value = TypeVar("Value")


class Section:
    """One mapping; `finish` refuses the keys that nobody asked for.

    ``what`` names it in faults (``timeline[2]``), "" for the document itself.
    """

    def __init__(self, tree: Tree, what: str, faults: list[str]) -> None:
        self.what, self.where, self.faults = what, tree.where, faults
        self._keys_at = tree.keys_at
        self._values = tree.value if isinstance(tree.value, dict) else {}
        self._known: list[str] = []
        if not isinstance(tree.value, dict):
            faults.append(f"{tree.where}: {what}: a list of keys is expected here, like "
                          "{name: value}")

    def __contains__(self, key: str) -> bool:
        return key in self._values

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that are there."""
        return tuple(self._values)

    def take(self, key: str) -> Tree | None:
        """What was written for a key, None where nothing was."""
        self._known.append(key)
        return self._values.get(key)

    def require(self, key: str, example: str) -> Tree | None:
        """The same; its absence is a fault."""
        found = self.take(key)
        if found is None:
            self.faults.append(f"{self.where}: {self._named(key)} is missing: add '{key}: "
                               f"{example}'")
        return found

    def text(self, key: str, default: str = "") -> str:
        """A single value."""
        tree = self.take(key)
        if tree is None:
            return default
        if isinstance(tree.value, str):
            return tree.value
        self.fault(key, "a single value is expected here")
        return default

    def texts(self, key: str) -> tuple[str, ...]:
        """One value or a list of them."""
        tree = self.take(key)
        if tree is None:
            return ()
        items = tree.value if isinstance(tree.value, tuple) else (tree,)
        found = [item.value for item in items if isinstance(item.value, str)]
        if len(found) < len(items) or not found:
            self.fault(key, "a single value or a list of them is expected here")
        return tuple(found)

    def read(self, key: str, parse: Callable[[str], Value], default: Value) -> Value:
        """A single value made of its text; what ``parse`` raises becomes a fault."""
        text = self.text(key)
        if not text:
            return default
        try:
            return parse(text)
        except (UsageError, ValueError) as error:
            self.fault(key, str(error))
            return default

    def flag(self, key: str, default: bool = False) -> bool:
        """true or false."""
        text = self.text(key, str(default).lower())
        if text not in ("true", "false"):
            self.fault(key, f"'{text}' is not allowed: use true or false")
        return text == "true"

    def fault(self, key: str, sentence: str) -> None:
        """Note what is wrong with a key."""
        at = self._keys_at.get(key, self.where)
        self.faults.append(f"{at}: {self._named(key)}: {sentence}")

    def finish(self, also: tuple[str, ...] = ()) -> None:
        """Refuse what nobody asked for; ``also`` are keys that would have been read."""
        known = list(dict.fromkeys([*self._known, *also]))
        for key in self._values:
            if key not in known:
                hint = did_you_mean(key, known) or f", the keys here are {', '.join(known)}"
                at = self._keys_at[key]
                self.faults.append(f"{at}: there is no key '{self._named(key)}'{hint}")

    def _named(self, key: str) -> str:
        return f"{self.what}.{key}" if self.what else key


def sections(tree: Tree | None, what: str, faults: list[str]) -> Iterator[Section]:
    """The mappings of a list."""
    if tree is None:
        return
    if not isinstance(tree.value, tuple):
        faults.append(f"{tree.where}: {what}: a list is expected here, with lines like "
                      "'- {name: value}'")
        return
    for number, item in enumerate(tree.value):
        yield Section(item, f"{what}[{number}]", faults)
