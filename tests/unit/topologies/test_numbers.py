"""The table of numbers against the values stated in design.md and the facts sheet."""

from __future__ import annotations

from dataclasses import replace

import pytest

from topologies import numbers
from topologies.spec import ClosSpec

QUAD = ClosSpec("quad", 4, 2, 4, 4, 100 * 10**9, 1000)


def test_frame_sizes() -> None:
    assert numbers.data_frame_bytes(4096) == numbers.DATA_FRAME_BYTES == 4238
    assert numbers.DATA_OVERHEAD_BYTES == 142
    assert numbers.CONTROL_FRAME_BYTES == 150
    assert numbers.TRIMMED_FRAME_BYTES == 122


def test_code_points() -> None:
    table = {name: value.value for name, value in numbers.Dscp.__members__.items()}
    assert table == {
        "NO_TRIM": 0, "TRIMMABLE": 4, "TRIMMABLE_RETX": 8, "TRIMMED": 12,
        "TRIMMED_LASTHOP": 16, "CONTROL": 46,
    }  # fmt: skip
    assert not numbers.CONTROL_CLASS & numbers.TRIMMABLE_CLASS


def test_base_rtt_at_100g() -> None:
    assert numbers.base_rtt_ns(QUAD, cross_t1=True) == 9404
    assert numbers.base_rtt_ns(QUAD, cross_t1=False) == 4702


def test_base_rtt_is_links_plus_serialisations() -> None:
    slow = replace(QUAD, port_rate_bps=10**9, link_delay_ns=0)
    assert numbers.base_rtt_ns(slow) == 4 * (4238 + 150) * 8
    assert numbers.base_rtt_ns(replace(slow, link_delay_ns=100)) == 4 * 4388 * 8 + 800


def test_thresholds_in_bdp() -> None:
    bdp = numbers.bdp_bytes(QUAD)
    assert bdp == 117_550
    fabric = numbers.fabric_thresholds(QUAD)
    assert fabric == numbers.PortThresholds(23_510, 94_040, 117_550, 470_200, 64_000)
    last = numbers.last_hop_thresholds(QUAD)
    assert last == numbers.PortThresholds(0, 0, 176_325, 470_200, 64_000)


def test_thresholds_of_the_largest_allowed_port_fit_32_bits() -> None:
    extreme = replace(QUAD, port_rate_bps=16 * 10**11, link_delay_ns=100_000)
    assert numbers.fabric_thresholds(extreme).drop_bytes < 1 << 32


@pytest.mark.parametrize("tdf", [1, 3, 5000, 10_000_000])
def test_ports_drain_one_percent_faster_than_nics_send(tdf: int) -> None:
    exact = QUAD.port_rate_bps * numbers.DRAIN_FACTOR / tdf
    assert numbers.drain_rate_bps(QUAD.port_rate_bps, tdf) == pytest.approx(exact, abs=0.5)


def test_a_port_always_drains() -> None:
    assert numbers.drain_rate_bps(1, 10_000_000) == 1
