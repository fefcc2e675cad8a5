"""The assumed time dilation factor."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.intent.dilation import (
    assumed_capacity_pps,
    assumed_tdf,
    line_rate_pps,
    round_up_125,
)
from testbed.intent.topology import load_topology


@pytest.mark.parametrize(("value", "rounded"), [(1, 1), (2, 2), (3, 5), (6, 10), (11, 20),
                                                (500, 500), (501, 1000), (4999, 5000)])
def test_rounding_goes_up_to_1_2_5(value: int, rounded: int) -> None:
    assert round_up_125(value) == rounded


@given(st.integers(1, 10**9))
def test_rounding_never_goes_down_and_less_than_triples(value: int) -> None:
    assert value <= round_up_125(value) < 3 * value


def test_quad_offers_8_hosts_times_4_ports_of_100g() -> None:
    assert line_rate_pps(load_topology("quad"), 8) == 8 * 4 * 10**11 // (8 * 4238)


@pytest.mark.parametrize("preset", ["tiny", "quad", "octo", "rack4", "wide"])
@pytest.mark.parametrize("dataplane", ["ovs", "linux"])
def test_dilated_line_rate_fits_the_assumed_capacity(preset: str, dataplane: str) -> None:
    spec = load_topology(preset, [f"dataplane={dataplane}"])
    assert line_rate_pps(spec, spec.host_count) / assumed_tdf(spec) <= assumed_capacity_pps(spec)
