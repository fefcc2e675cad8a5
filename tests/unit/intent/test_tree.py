"""YAML as a tree: places, keys that are there twice, and texts that are no documents."""

from __future__ import annotations

import pytest

from testbed.errors import UsageError
from testbed.intent.tree import read_tree


def test_everything_is_text_and_knows_its_line() -> None:
    faults: list[str] = []
    tree = read_tree("a: 1\nb:\n  - x: true\n  - [y, 0x0003]\n", "f.yaml", faults)
    assert tree.plain() == {"a": "1", "b": [{"x": "true"}, ["y", "0x0003"]]}
    assert not faults
    assert isinstance(tree.value, dict)
    assert tree.keys_at == {"a": "f.yaml:1", "b": "f.yaml:2"}
    assert tree.value["b"].where == "f.yaml:3"


def test_keys_that_are_there_twice_or_no_words_are_faults() -> None:
    faults: list[str] = []
    read_tree("a: 1\na: 2\n[b]: 3\n", "f.yaml", faults)
    assert faults == ["f.yaml:2: a: already set at f.yaml:1, remove one",
                      "f.yaml:3: this key is not a word: write lines like 'name: value'"]


@pytest.mark.parametrize(("text", "complaint"), [
    ("- a\n", "f.yaml: this is not a list of keys"),
    ("a: [1\n", "f.yaml:2: this is not YAML"),
    ("a: " + "[" * 30 + "]" * 30, "f.yaml:1: this is nested too deeply"),
    ("a: &x [*x]\n", "nested too deeply"),
    ("a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{b}: &{b} [{','.join(['*' + a] * 9)}]\n" for a, b in zip("abcdef", "bcdefg",
                                                                   strict=True)),
     "nested too deeply"),
])
def test_what_is_no_document_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(UsageError) as error:
        read_tree(text, "f.yaml", [])
    assert complaint in str(error.value)
