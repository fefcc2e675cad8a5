"""testbed/agent/rtt.py: wall clock to emulated time."""

from __future__ import annotations

import pytest

from testbed.agent.rtt import emulated_rtt_ns, links_crossed


@pytest.mark.parametrize(("out", "back", "links"), [
    (3, 3, 8),  # cross-T1 and back
    (1, 1, 4),  # T0-local and back
    (0, 0, 2),  # a wire
    (3, None, 4),  # self probe NIC-T0-T1-T0-NIC
    (1, None, 2),  # self probe NIC-T0-NIC
])
def test_links_are_one_more_than_switches_each_way(
    out: int, back: int | None, links: int
) -> None:
    assert links_crossed(out, back) == links


def test_only_the_wire_shrinks_with_the_dilation() -> None:
    assert emulated_rtt_ns(7_000_000, 5000, 8, 1000) == 1400 + 8000
    assert emulated_rtt_ns(7_000_000, 1, 0, 1000) == 7_000_000
