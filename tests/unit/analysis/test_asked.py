"""What a measure is asked about."""

from __future__ import annotations

import pytest
from unit.analysis.made import flow, made_run

from testbed.analysis import Window
from testbed.analysis.asked import KEYS, resolve
from testbed.errors import UsageError

RUN = made_run(flows=[flow(1000, acked_bytes=40_960), flow(2000, qp=2, host="h1"),
                      flow(2000, qp=3, host="h4", sent_packets=0)])


def asked(start: int = 0, end: int = 2000, **texts: str) -> object:
    return resolve(RUN, Window(start, end), texts, "goodput", tuple(KEYS))


def test_texts_are_read() -> None:
    found = resolve(RUN, Window(0, 1), {"ev": "0x0203", "plane": "2", "size": "1MiB",
                                        "host": "h0"}, "x", tuple(KEYS))
    assert found.values == {"ev": 0x0203_0000, "plane": 2, "size": 1 << 20, "host": "h0"}
    assert found.get("peer") is None


@pytest.mark.parametrize("key", KEYS)
def test_the_example_of_a_key_is_one(key: str) -> None:
    asked(**{key: KEYS[key][1]})


def test_a_key_or_value_that_is_none_is_told() -> None:
    with pytest.raises(UsageError, match="takes no 'hots', did you mean 'host'"):
        asked(hots="h0")
    with pytest.raises(UsageError, match="rank: 'first' is none: write one like 0"):
        asked(rank="first")


def test_rows_are_chosen_by_the_columns_they_have() -> None:
    found = resolve(RUN, Window(0, 2000), {"host": "h1", "plane": "3"}, "x", tuple(KEYS))
    assert list(found.chosen(RUN.flows)["qp"]) == [2]


def test_counts_take_the_part_that_lies_in_the_window() -> None:
    found = resolve(RUN, Window(500, 9000), {"host": "h0"}, "x", tuple(KEYS))
    assert found.sum_of(RUN.flows, "sent_packets") == pytest.approx(5)
    assert len(found.during(RUN.flows)) == 1


def test_who_only_answers_does_not_send() -> None:
    def sends(host: str) -> bool:
        return resolve(RUN, Window(0, 1), {"host": host}, "x", tuple(KEYS)).has_flows

    assert [sends(host) for host in ("h0", "h4", "h7")] == [True, False, False]
