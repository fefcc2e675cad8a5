"""testbed/agent/nic.py: how long frames keep a port busy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.agent.nic import NicPort
from topologies.numbers import ETHERNET_BYTES


def test_a_frame_takes_its_size_over_the_rate() -> None:
    port = NicPort(2, 100_000_000_000)
    assert port.bit == 4
    assert port.begin(bytes(4238 - ETHERNET_BYTES), 1_000) == 1_339
    assert (port.sent_frames, port.sent_bytes) == (1, 4238)
    assert port.frame_ns(8 * 4238) == 2712


@given(
    st.lists(st.integers(60, 9000), min_size=1, max_size=200),
    st.integers(10**9, 16 * 10**11),
)
def test_back_to_back_frames_are_exact_over_time(sizes: list[int], rate_bps: int) -> None:
    """What rounding to whole ns adds to one frame the next makes up."""
    port, now_ns = NicPort(0, rate_bps), 0
    for size in sizes:
        now_ns = port.begin(bytes(size), now_ns)
    exact_ns = sum(size + ETHERNET_BYTES for size in sizes) * 8 * 10**9 / rate_bps
    assert now_ns == pytest.approx(exact_ns, abs=1)


def test_an_idle_port_begins_at_once() -> None:
    port = NicPort(0, 10**9)
    port.begin(bytes(86), 0)
    assert port.begin(bytes(86), 5_000) == 5_800
