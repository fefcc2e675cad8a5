"""The paper's first two figures on the emulated fabric: bandwidth and latency of one pair.

`octo`, 800 Gb/s hosts (MRC paper 5.2.1): 32 KB writes over 4 queue pairs, and 2-byte writes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from testbed_process import Running

from testbed.sim.jobs import run_job
from topologies.graph import build_graph
from topologies.numbers import ETHERNET_BYTES, serialisation_ns
from workloads.job import plan_write_bandwidth, plan_write_latency
from workloads.write_bandwidth import average_bps
from workloads.write_latency import half_latency

# They need a machine that does nothing else: `make test` has the same checks on `tiny`, slow
# enough that it need not.
pytestmark = [pytest.mark.root, pytest.mark.soak, pytest.mark.timeout(3600)]

NOMINAL_BPS = 800e9


@pytest.fixture(scope="module")
def octo(bring_up: Callable[..., Running]) -> Running:
    """On userspace Open vSwitch, the default."""
    return bring_up("octo")


def write_bw(octo: Running, out: Path, *words: str) -> dict[str, float]:
    """Goodput of each direction of a trusted run, as a share of 800 Gb/s."""
    result = octo.run_until_trusted("write-bw", *words, tdf=5_000, out=out)
    shares: dict[str, float] = {}
    for src in {row["src"] for row in result["streams"]}:
        rows = [row for row in result["streams"] if row["src"] == src]
        shares[src] = average_bps(rows) / NOMINAL_BPS
    return shares


def simulated(octo: Running, duration_ns: int, **more: Any) -> dict[str, float]:
    """The same shares, of the same job between h0 and h7, in the simulator."""
    spec = octo.graph().spec
    job = plan_write_bandwidth(spec, 0, 7, size=32_768, qps=4, duration_ns=duration_ns, seed=1,
                               **more)
    results = run_job(build_graph(spec), job, 1).results
    return {f"h{host}": average_bps(results[host]["channels"]) / NOMINAL_BPS
            for host in (0, 7) if host in results and results[host]["channels"]}


def test_line_rate_both_near_and_far(octo: Running, tmp_path: Path) -> None:
    """96 % of 800 Gb/s, T0-local and cross-T1 within 1 %, and as in the simulator."""
    near = write_bw(octo, tmp_path, "h0", "h1", "--duration", "600us")
    far = write_bw(octo, tmp_path, "h0", "h7", "--duration", "600us")
    assert near["h0"] >= 0.96
    assert far["h0"] >= 0.96
    assert near["h0"] == pytest.approx(far["h0"], rel=0.01)
    assert far["h0"] == pytest.approx(simulated(octo, 600_000)["h0"], rel=0.02)


def test_line_rate_over_five_milliseconds(octo: Running, tmp_path: Path) -> None:
    near = write_bw(octo, tmp_path, "h0", "h1", "--duration", "5ms")
    far = write_bw(octo, tmp_path, "h0", "h7", "--duration", "5ms")
    both = write_bw(octo, tmp_path, "h0", "h7", "--duration", "5ms", "--bidir")
    assert min(near["h0"], far["h0"]) >= 0.96
    assert near["h0"] == pytest.approx(far["h0"], rel=0.01)
    assert min(both.values()) >= 0.945
    assert far["h0"] == pytest.approx(simulated(octo, 5_000_000)["h0"], rel=0.02)
    assert both == pytest.approx(simulated(octo, 5_000_000, is_bidirectional=True), rel=0.02)


def test_latency_differs_by_the_extra_hops_and_links(octo: Running, tmp_path: Path) -> None:
    """Two more links and two more switches each way; each figure is the simulator's."""
    spec = octo.graph().spec
    typical: dict[int, float] = {}
    for dst in (1, 7):
        result = octo.run_until_trusted("write-lat", "h0", f"h{dst}", "--iters", "60",
                                        tdf=10_000, out=tmp_path)
        typical[dst] = half_latency(result["latency_ns"]).typical
        job = plan_write_latency(spec, 0, dst, size=2, iters=60, seed=1)
        simulated = half_latency(run_job(build_graph(spec), job, 1).results[0]["latency_ns"])
        assert typical[dst] == pytest.approx(simulated.typical, rel=0.05)
    frames_ns = 2 * serialisation_ns(150 + ETHERNET_BYTES, spec.port_rate_bps)
    extra_ns = 2 * spec.link_delay_ns + frames_ns
    assert typical[7] - typical[1] == pytest.approx(extra_ns, rel=0.1)
