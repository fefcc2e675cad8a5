"""Entropy values: bit positions, the halves that travel, and the typed form."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topologies import ev

PLANES = st.integers(0, 7)
UPLINKS = st.integers(0, 255)


def test_fields_fill_from_the_top() -> None:
    value = ev.make_ev(2, 3)
    assert value == 0x02030000
    assert ev.udp_source_port(value) == 0x0203
    assert ev.flow_label(value) == 0
    assert ev.format_ev(value) == "0x0203"


@settings(deadline=None)
@given(PLANES, UPLINKS)
def test_plane_and_uplink_come_back(plane: int, uplink: int) -> None:
    value = ev.make_ev(plane, uplink)
    assert ev.split_ev(value) == (plane, uplink)
    assert ev.parse_ev(ev.format_ev(value)) == value
    assert ev.udp_source_port(value) << 16 | ev.flow_label(value) == value


@pytest.mark.parametrize("text", ["", "3", "0x", "0x12345", "0xGG", "x0003", " 0x3", "0x_3"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no EV"):
        ev.parse_ev(text)


@pytest.mark.parametrize("value", [1, 0x0203_0001, -1, 1 << 32])
def test_values_with_other_bits_are_refused(value: int) -> None:
    with pytest.raises(ValueError, match="is no EV"):
        ev.split_ev(value)


@pytest.mark.parametrize(("plane", "uplink"), [(256, 0), (0, 256), (-1, 0), (0, -1)])
def test_fields_that_do_not_fit_are_refused(plane: int, uplink: int) -> None:
    with pytest.raises(ValueError, match="is no EV"):
        ev.make_ev(plane, uplink)
