"""Losses over time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.analysis.made import flow, loss, made_run

from testbed.errors import UsageError

ROWS = [loss(500, 100, 0), loss(900, 100, 0, "timer"), loss(1500, 1200, 0x0100_0000),
        loss(1600, 1200, 0x0100_0000, host="h1")]


def counts(by: str) -> dict[tuple[object, int], int]:
    run = made_run(flows=[flow(3000)], losses=ROWS)
    frame = run.retransmissions(by, bin_ns=1000)  # type: ignore[arg-type]
    return {(row[1], row[0]): row[2] for row in frame.itertuples(index=False, name=None) if row[2]}


def test_by_cause_plane_and_host() -> None:
    assert counts("cause") == {("evidence", 1000): 1, ("timer", 1000): 1, ("evidence", 2000): 2}
    assert counts("plane") == {(0, 1000): 2, (1, 2000): 2}
    assert counts("host") == {("h0", 1000): 2, ("h0", 2000): 1, ("h1", 2000): 1}


def test_every_cause_has_every_bin() -> None:
    frame = made_run(flows=[flow(2500)], losses=ROWS).retransmissions(bin_ns=1000)
    assert frame.groupby("cause")["t_ns"].apply(list).to_dict() == {
        cause: [1000, 2000, 2500] for cause in ("evidence", "nack", "timer")}


@given(st.lists(st.integers(0, 50_000), max_size=30), st.integers(1, 9000),
       st.sampled_from(["cause", "plane", "host"]))
def test_no_loss_is_forgotten(times: list[int], bin_ns: int, by: str) -> None:
    run = made_run(flows=[flow(20_000)], losses=[loss(t_ns, 0, 0) for t_ns in times])
    found = run.retransmissions(by, bin_ns)  # type: ignore[arg-type]
    assert found["packets"].sum() == len(times)


def test_a_key_or_a_bin_that_is_none_is_refused() -> None:
    run = made_run(losses=ROWS)
    with pytest.raises(UsageError, match="did you mean 'cause'"):
        run.retransmissions("cuase")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="hold nothing"):
        run.retransmissions(bin_ns=-1)
