"""Reading JSON: what is taken, and the sentence where it is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from testbed.errors import UsageError
from workloads.params import Fields, WorkloadError


def test_what_fits_is_taken() -> None:
    take = Fields(
        {"n": 7, "no": None, "yes": True, "kind": "b", "gid": "00ff", "list": [1, 2],
         "object": {"a": 1}}, "thing",
    )  # fmt: skip
    assert take.integer("n", 7, 7) == take.optional_integer("n", 0, 9) == 7
    assert take.optional_integer("no", 1, 2) is take.optional_mapping("no") is None
    assert take.optional_integer("absent", 1, 2) is None
    assert take.boolean("yes") is True
    assert take.word("kind", ("a", "b")) == "b"
    assert take.octets("gid", 2) == b"\x00\xff"
    assert take.integers("list", 1, 2) == (1, 2)
    assert take.items("list") == [1, 2]
    assert take.mapping("object") == take.optional_mapping("object") == {"a": 1}
    take.finish()


@pytest.mark.parametrize(
    ("read", "sentence"),
    [
        (lambda take: take.integer("x", 0, 9), "thing lacks 'x': add it"),
        (lambda take: take.integer("n", 0, 9), "thing.n is 10: give an integer from 0 to 9"),
        (lambda take: take.integer("yes", 0, 9), "thing.yes is True: give an integer"),
        (lambda take: take.optional_integer("n", 0, 9), "thing.n is 10: give an integer"),
        (lambda take: take.boolean("n"), "thing.n is 10: give true or false"),
        (lambda take: take.word("kind", ("write-bw",)), "give write-bw, did you mean 'write-bw'?"),
        (lambda take: take.word("n", ("b", "a")), "thing.n is 10: give a or b"),
        (lambda take: take.octets("kind", 2), "thing.kind is 'wirte-bw': give 4 hex digits"),
        (lambda take: take.octets("n", 2), "thing.n is 10: give 4 hex digits"),
        (lambda take: take.integers("list", 0, 1), "thing.list is 2: give integers from 0 to 1"),
        (lambda take: take.items("n"), "thing.n is 10: give a list"),
        (lambda take: take.mapping("list"), "give an object"),
        (lambda take: take.finish(), "thing has unknown key 'kind': it takes "),
    ],
)
def test_what_does_not_fit_is_said(read: Callable[[Fields], Any], sentence: str) -> None:
    take = Fields({"n": 10, "yes": True, "kind": "wirte-bw", "list": [1, 2]}, "thing")
    with pytest.raises(WorkloadError) as caught:
        read(take)
    assert sentence in str(caught.value)


def test_no_object_and_a_mistyped_key() -> None:
    with pytest.raises(UsageError, match=r"thing is \[1\]: give an object"):
        Fields([1], "thing")
    take = Fields({"sise": 1}, "thing")
    with pytest.raises(WorkloadError, match="lacks 'size'"):
        take.integer("size", 0, 1)
    with pytest.raises(WorkloadError, match="unknown key 'sise', did you mean 'size'"):
        take.finish()


def test_a_long_value_is_cut() -> None:
    with pytest.raises(WorkloadError) as caught:
        Fields({"n": "x" * 1000}, "thing").boolean("n")
    assert len(str(caught.value)) < 120
