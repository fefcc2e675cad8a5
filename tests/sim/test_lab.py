"""The laboratory's own mistakes are said in a sentence."""

from __future__ import annotations

import pytest

from testbed.intent.topology import load_topology
from testbed.sim.lab import Lab, Stream
from topologies.graph import build_graph


def test_a_host_that_does_not_exist() -> None:
    lab = Lab(build_graph(load_topology("tiny")))
    with pytest.raises(ValueError, match="h99 does not exist: tiny has h0 to h3"):
        lab.connect(0, 99)


def test_a_stream_ends_verified_and_goodput_beyond_the_run_is_refused() -> None:
    lab = Lab(build_graph(load_topology("tiny")))
    flow = Stream(lab, *lab.connect(0, 3), until_ns=100_000).start()
    lab.sim.run_until(300_000)
    assert bytes(flow.target.view) == bytes(flow.source.view)
    assert flow.bytes_done == flow.posted * flow.size
    assert lab.sim.conservation().unexplained == 0
    with pytest.raises(ValueError, match="nothing was looked at from 900000 ns on"):
        flow.goodput_bps(0, 900_000)
