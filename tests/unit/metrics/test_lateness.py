"""The histogram of lateness: small, exact where it says so, never kinder than the truth."""

from __future__ import annotations

import json
from math import ceil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.metrics.lateness import MAX_NS, Lateness, nearest_rank_of

VALUES = st.integers(0, 51).flatmap(lambda bits: st.integers(0, (1 << bits) - 1))


def filled(values: list[int]) -> Lateness:
    found = Lateness()
    for value in values:
        found.record(value)
    return found


def test_nothing_recorded_is_nothing_late() -> None:
    empty = Lateness()
    assert (empty.count, empty.max_ns, empty.total_ns, empty.quantile_ns(0.99)) == (0, 0, 0, 0)
    assert Lateness.from_dict(empty.to_dict()).to_dict() == empty.to_dict()


def test_small_values_are_exact() -> None:
    found = filled(list(range(128)))
    assert [found.quantile_ns(rank / 128) for rank in range(1, 129)] == list(range(128))


@given(VALUES)
def test_one_value_is_known_within_three_percent(value: int) -> None:
    found = filled([value, MAX_NS])
    assert value <= found.quantile_ns(0.5) <= value * 1.03


@given(st.lists(VALUES, min_size=1, max_size=60), st.sampled_from([0, 0.5, 0.99, 0.999, 1]))
def test_a_quantile_is_the_nearest_rank_and_never_below_it(values: list[int], q: float) -> None:
    found = filled(values)
    exact = sorted(values)[max(1, ceil(q * len(values))) - 1]
    assert exact <= found.quantile_ns(q) <= min(exact * 1.03, max(values))
    assert (found.count, found.max_ns, found.total_ns) == (len(values), max(values), sum(values))


@given(st.lists(VALUES, max_size=40), st.lists(VALUES, max_size=40))
def test_merging_is_recording_both(left: list[int], right: list[int]) -> None:
    merged = filled(left)
    other = filled(right)
    before = other.to_dict()
    merged.merge(other)
    assert merged.to_dict() == filled(left + right).to_dict()
    assert other.to_dict() == before


@given(st.lists(VALUES, max_size=40))
def test_json_keeps_it_all(values: list[int]) -> None:
    found = filled(values)
    again = Lateness.from_dict(json.loads(json.dumps(found.to_dict())))
    assert again.to_dict() == found.to_dict()
    again.record(7)
    assert again.count == len(values) + 1


def test_the_document_is_sparse_and_readable() -> None:
    assert filled([5, 5, 1000]).to_dict() == {
        "count": 3, "max_ns": 1000, "total_ns": 1010, "buckets": [[5, 2], [1000, 1]]}


@pytest.mark.parametrize("value", [-1, -128, MAX_NS + 1, 1 << 60])
def test_what_is_out_of_range_is_refused_and_counts_nothing(value: int) -> None:
    found = filled([3])
    with pytest.raises(ValueError, match="is no lateness"):
        found.record(value)
    assert found.to_dict() == filled([3]).to_dict()


def test_the_largest_value_fits() -> None:
    assert filled([MAX_NS, 1 << 50]).quantile_ns(1) == MAX_NS


@pytest.mark.parametrize("change", [
    {"count": 3}, {"max_ns": 900}, {"max_ns": 2000}, {"total_ns": 5}, {"total_ns": 1 << 40},
    {"buckets": []}, {"buckets": [[5, 1], [1001, 1]]}, {"buckets": [[5, 3], [1000, -1]]},
    {"buckets": [[5, 1], [1000, 1], [-1, 0]]}, {"max_ns": -1},
])
def test_a_document_that_contradicts_itself_is_refused(change: dict[str, Any]) -> None:
    document = filled([5, 1000]).to_dict()
    assert Lateness.from_dict(document).count == 2
    with pytest.raises(ValueError, match="lateness"):
        Lateness.from_dict({**document, **change})


@pytest.mark.parametrize(("q", "count", "rank"), [
    (0, 10, 1), (1, 10, 10), (0.5, 10, 5), (0.5, 11, 6), (0.99, 100, 99), (0.99, 101, 100),
    (0.07, 100, 7), (0.999, 1000, 999), (0.999, 100, 100), (0.5, 0, 0), (0.01, 1, 1),
])
def test_ranks(q: float, count: int, rank: int) -> None:
    assert nearest_rank_of(q, count) == rank


@pytest.mark.parametrize("q", [-0.01, 1.01, float("nan")])
def test_what_is_no_quantile_is_refused(q: float) -> None:
    with pytest.raises(ValueError, match="is not a quantile"):
        filled([1]).quantile_ns(q)


# --- Between two moments -----------------------------------------------------------------


def test_a_copy_counts_on_by_itself() -> None:
    first = filled([5, 1000])
    second = first.copy()
    second.record(7_000)
    assert (first.count, first.max_ns, second.count, second.max_ns) == (2, 1000, 3, 7_000)
    assert second.total_ns - first.total_ns == 7_000


def test_what_was_counted_since_is_what_was_recorded_since() -> None:
    whole = filled([5, 1000])
    before = whole.copy()
    for ns in (9, 30, 5_000):
        whole.record(ns)
    assert whole.since(before).to_dict() == filled([9, 30, 5_000]).to_dict()


def test_the_largest_since_then_is_known_to_its_bucket() -> None:
    whole = filled([9_000])
    before = whole.copy()
    whole.record(100)
    whole.record(3_000)
    largest_ns = whole.since(before).max_ns
    assert 3_000 <= largest_ns <= 3_000 * (1 + 1 / 64)


def test_nothing_since_then_is_nothing() -> None:
    whole = filled([9_000])
    since = whole.since(whole.copy())
    assert (since.count, since.max_ns, since.quantile_ns(0.99)) == (0, 0, 0)
