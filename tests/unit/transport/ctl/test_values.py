"""EVs as the API writes them and as the engine holds them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.transport.mrc.ctl.values import UNPOPULATED, ApiEv, ApiEvState, api_ev, wire_ev


def test_the_value_is_big_endian_in_front_and_the_port_grows_by_one() -> None:
    assert api_ev(0x02030000, 2) == ApiEv(bytes([2, 3]) + bytes(30), 3)
    assert str(api_ev(0x02030000, 2)) == "0x0203 of port 3"


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 31))
def test_both_forms_agree(ev: int, port: int) -> None:
    assert wire_ev(api_ev(ev, port)) == (ev, port)


@pytest.mark.parametrize(("ev", "port"), [(-1, 0), (1 << 32, 0), (0, -1)])
def test_no_api_form(ev: int, port: int) -> None:
    with pytest.raises(ValueError, match="is none"):
        api_ev(ev, port)


@pytest.mark.parametrize(
    "ev", [UNPOPULATED, ApiEv(bytes(31), 1), ApiEv(bytes(4) + b"\1" + bytes(27), 1)]
)
def test_no_engine_form(ev: ApiEv) -> None:
    with pytest.raises(ValueError, match="no form of 32 bits"):
        wire_ev(ev)


def test_state_bits_are_the_headers() -> None:
    assert [state.value for state in ApiEvState] == [1, 2, 4, 0x80000000]
