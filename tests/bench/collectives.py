"""Collectives on the emulated fabric beside the simulator, and what their links could carry."""

from __future__ import annotations

import tempfile
from typing import Any

from commands import testbed

from testbed.intent.topology import load_topology
from topologies.numbers import data_frame_bytes

# topology, data plane, what is run
CASES = [
    ("quad", "ovs", ("allreduce", "--sizes", "16M", "--iters", "2", "--warmup", "0")),
    ("quad", "ovs", ("allreduce", "--sizes", "4M", "--iters", "2", "--algo", "tree",
                     "--warmup", "0")),
    ("quad", "ovs", ("alltoall", "--sizes", "4M", "--iters", "2", "--warmup", "0")),
    ("rack4", "ovs", ("allreduce", "--sizes", "4M", "--iters", "2", "--warmup", "0")),
    ("wide", "linux", ("allreduce", "--sizes", "1M", "--iters", "1", "--warmup", "0",
                       "--tdf", "200000")),
]


def possible_bytes_per_s(topology: str) -> float:
    """What of a host's line rate can be payload."""
    spec = load_topology(topology)
    payload = spec.payload_bytes / data_frame_bytes(spec.payload_bytes)
    return spec.planes * spec.port_rate_bps / 8 * payload


def measure(topology: str, dataplane: str, words: tuple[str, ...]) -> dict[str, Any]:
    """One row of the table."""
    name = f"bench-{topology}"
    testbed("up", topology, "-d", "--name", name, "--dataplane", dataplane)
    try:
        with tempfile.TemporaryDirectory() as folder:
            run = testbed("run", *words, "--name", name, "--out", folder)
    finally:
        testbed("down", "--name", name)
    with tempfile.TemporaryDirectory() as folder:
        simulated = testbed("run", *words, "--sim", "--topology", topology, "--out", folder)
    (size,), (expected,) = run["sizes"], simulated["sizes"]
    possible = possible_bytes_per_s(topology)
    return {
        "topology": topology, "plane": dataplane, "what": f"{words[0]} {run['algorithm']}",
        "ranks": len(run["ranks"]), "size": words[2], "tdf": run["tdf"],
        "time_us": (size["time_ns"] or 0) / 1e3,
        "busbw_GB/s": (size["busbw_bytes_per_s"] or 0) / 1e9,
        "of_possible_%": 100 * (size["busbw_bytes_per_s"] or 0) / possible,
        "simulated_us": expected["time_ns"] / 1e3, "wrong": size["wrong"],
        "wall_s": run["wall_s"], "verdict": run["verdict"]["word"],
    }


def main() -> None:
    """Print the table."""
    rows = [measure(*case) for case in CASES]
    print("  ".join(f"{column:>13}" for column in rows[0]))
    for row in rows:
        cells = (f"{value:.1f}" if isinstance(value, float) else str(value)
                 for value in row.values())
        print("  ".join(f"{cell:>13}" for cell in cells))
