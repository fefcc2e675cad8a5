"""Instance names become part of paths and namespaces: only harmless ones pass."""

from __future__ import annotations

import pytest

from testbed.errors import UsageError
from testbed.intent.names import parse_instance_name


@pytest.mark.parametrize("name", ["a", "mrc", "lab-2", "a" * 24])
def test_harmless_names_pass(name: str) -> None:
    assert parse_instance_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "A", "2lab", "-x", "a b", "../x", "a/b", "lab\n", "a" * 25, "läb", "a_b", "a."]
)
def test_others_are_refused_with_the_rule(name: str) -> None:
    with pytest.raises(UsageError, match="cannot name an instance: use a lower-case letter"):
        parse_instance_name(name)
