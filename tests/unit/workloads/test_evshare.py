"""``1+1`` and what it is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workloads.evshare import EvShare, parse_ev_share


@given(st.builds(EvShare, st.integers(1, 9999), st.integers(0, 9999)))
def test_it_is_read_back_as_written(share: EvShare) -> None:
    assert parse_ev_share(str(share)) == share
    assert share.per_plane == share.active + share.spares


def test_a_single_number_has_no_spares() -> None:
    assert parse_ev_share("2") == parse_ev_share(" 2 + 0 ") == EvShare(2, 0)


@pytest.mark.parametrize("text", ["", "0", "0+1", "1+", "+1", "1+1+1", "-1", "1.5", "one", "12345"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number of EVs: write active and spare ones"):
        parse_ev_share(text)
