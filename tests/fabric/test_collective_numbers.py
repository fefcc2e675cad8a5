"""What collectives reach on the emulated fabric: the ring's bandwidth, and many ranks.

They need a machine that does nothing else: `make soak`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from test_collectives import require_exact
from testbed_process import Running

from testbed.sim.jobs import run_job
from topologies.graph import build_graph
from topologies.numbers import data_frame_bytes
from workloads.collectives.plan import plan_collective
from workloads.collectives.summary import iteration_rows, size_rows

pytestmark = [pytest.mark.root, pytest.mark.soak, pytest.mark.timeout(900)]


def test_a_ring_of_eight_has_nearly_the_bandwidth_of_the_nics(
    bring_up: Callable[..., Running], tmp_path: Path
) -> None:
    """16 MiB on quad: busbw is 90 % of what payload can have, and as in the simulator."""
    quad = bring_up("quad")
    result = quad.run_until_trusted(
        "allreduce", "--sizes", "16M", "--iters", "1", "--warmup", "0", tdf=100_000,
        out=tmp_path, require=require_exact)
    spec = quad.graph().spec
    payload = spec.payload_bytes / data_frame_bytes(spec.payload_bytes)
    possible = spec.planes * spec.port_rate_bps / 8 * payload
    (size,) = result["sizes"]
    assert size["busbw_bytes_per_s"] >= 0.9 * possible
    job = plan_collective(spec, "allreduce", range(8), sizes=[16 << 20], iters=1, seed=1)
    simulated = run_job(build_graph(spec), job, 1)
    (expected,) = size_rows(job.parameters, iteration_rows(simulated.results.values()))
    assert size["time_ns"] == pytest.approx(expected["time_ns"], rel=0.03)


@pytest.mark.parametrize(
    ("topology", "options", "ranks", "words"),
    [
        ("rack4", (), 16, ("--sizes", "4M")),
        ("wide", ("--dataplane", "linux"), 64, ("--sizes", "1M", "--tdf", "200000")),
    ],
)
def test_many_ranks_are_exact(
    bring_up: Callable[..., Running], tmp_path: Path, topology: str, options: tuple[str, ...],
    ranks: int, words: tuple[str, ...],
) -> None:  # fmt: skip
    instance = bring_up(topology, *options)
    _, result = instance.run("allreduce", *words, "--iters", "1", "--warmup", "0", out=tmp_path)
    require_exact(result)
    assert len(result["ranks"]) == ranks
