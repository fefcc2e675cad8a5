"""Sections: what is read, and the faults of what is not as it should be."""

from __future__ import annotations

from testbed.drills.raw import Section, sections
from testbed.intent.tree import read_tree


def section_of(text: str) -> Section:
    return Section(read_tree(text, "f.yaml", []), "part", [])


def test_values_are_read_and_unknown_keys_refused_with_a_hint() -> None:
    section = section_of("name: x\nmany: [a, b]\none: a\nyes: true\nnmae: y\n")
    assert section.text("name") == "x"
    assert section.texts("many") == ("a", "b")
    assert section.texts("one") == ("a",)
    assert section.texts("none") == ()
    assert section.flag("yes")
    section.finish()
    assert section.faults == ["f.yaml:5: there is no key 'part.nmae', did you mean 'name'?"]


def test_values_of_another_shape_are_faults() -> None:
    section = section_of("name: [x]\nmany: [{a: b}]\nflag: maybe\nnumber: ten\n")
    assert section.text("name", "default") == "default"
    section.texts("many")
    assert section.flag("flag") is False
    assert section.read("number", int, 7) == 7
    section.require("missing", "5")
    assert [fault.partition(": ")[0] for fault in section.faults] == [
        "f.yaml:1", "f.yaml:2", "f.yaml:3", "f.yaml:4", "f.yaml:1"]
    assert section.faults[-1].endswith("part.missing is missing: add 'missing: 5'")


def test_what_should_be_a_list_of_sections_is_told() -> None:
    faults: list[str] = []
    tree = read_tree("a: {x: 1}\nb: [{x: 1}, word]\n", "f.yaml", [])
    assert isinstance(tree.value, dict)
    assert list(sections(None, "a", faults)) == []
    assert list(sections(tree.value["a"], "a", faults)) == []
    found = list(sections(tree.value["b"], "b", faults))
    assert [section.what for section in found] == ["b[0]", "b[1]"]
    assert "a list is expected here" in faults[0]
    assert "b[1]: a list of keys is expected here" in faults[1]
