"""What recording costs: the same run with and without, and an agent's work per sample and row."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from testbed.agent.recording import Recording
from testbed.instance.sampling import sample_interval_ns
from testbed.intent.topology import load_topology
from testbed.metrics.lateness import Lateness
from testbed.sim.jobs import run_job
from topologies.graph import build_graph
from topologies.spec import ClosSpec
from workloads.application import Application
from workloads.job import Job, plan_permutation, plan_write_bandwidth

_ROUNDS = 3


def jobs(spec: ClosSpec) -> dict[str, Job]:
    """By name: one pair, and every host to another."""
    count = spec.host_count
    pairs = [(host, (host + count // 2) % count) for host in range(count)]
    return {
        "one pair": plan_write_bandwidth(spec, 0, count - 1, size=32_768, qps=4, iters=400,
                                         depth=32),
        "permutation": plan_permutation(spec, pairs, size=32_768, qps=4, iters=40, depth=32),
    }


def cpu_s(work: Callable[[], Any]) -> float:
    """The best of several rounds."""
    best = float("inf")
    for _ in range(_ROUNDS):
        began_s = time.process_time()
        work()
        best = min(best, time.process_time() - began_s)
    return best


def measure(topology: str, name: str, job: Job, spec: ClosSpec) -> dict[str, Any]:
    """One row of the table of whole runs."""
    graph, sample_ns = build_graph(spec), sample_interval_ns(job, spec)
    found = run_job(graph, job, 1, sample_ns=sample_ns)
    plain_s = cpu_s(lambda: run_job(graph, job, 1))
    recorded_s = cpu_s(lambda: run_job(graph, job, 1, sample_ns=sample_ns))
    return {
        "topology": topology, "what": name,
        "packets": sum(row["sent_packets"] for row in found.tables["flows"]),
        "rows": sum(len(rows) for rows in found.tables.values()),
        "samples": found.ended_ns // sample_ns, "plain_s": plain_s, "recorded_s": recorded_s,
        "ratio": recorded_s / plain_s,
    }


class _Timed:
    """Stands around `Application._on_timer`: how long each sample took, us."""

    def __init__(self) -> None:
        self.took_us: list[float] = []
        self._real = Application._on_timer

    def __enter__(self) -> _Timed:
        timed, real = self.took_us, self._real

        def on_timer(application: Application, now_ns: int) -> None:
            began_ns = time.perf_counter_ns()
            real(application, now_ns)
            timed.append((time.perf_counter_ns() - began_ns) / 1e3)

        Application._on_timer = on_timer  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        Application._on_timer = self._real  # type: ignore[method-assign]


def samples(topology: str, name: str, job: Job, spec: ClosSpec) -> str:
    """How long a host takes for a sample; every fifth has a row for each EV, too."""
    with _Timed() as timed:
        run_job(build_graph(spec), job, 1, sample_ns=sample_interval_ns(job, spec))
    took = sorted(timed.took_us)
    return (f"{topology:>8}  {name:>12}  a sample: median {took[len(took) // 2]:.0f} us, "
            f"p95 {took[int(0.95 * len(took))]:.0f} us, longest {took[-1]:.0f} us")


def agent_side() -> list[str]:
    """What the agent does with rows when it has time."""
    row = (18_808, 18_808, "h0", "h5", 3, 123, 456_789, 4_567_890, 2, 0, 1, 0, 45_678, 700_800,
           9_409, 32, 255)
    with tempfile.TemporaryDirectory() as folder:
        recording = Recording(Path(folder) / "h0.jsonl", "h0", 18_808)
        recording.open()
        keep_us = _each_us(lambda: recording.write("flows", row), 20_000)
        text_us = _each_us(lambda: recording.pump(0, 10**9), 300) / 64
        recording.flush()
        for _ in range(2_500):
            recording.write("flows", row)
        recording._encode(2_500)
        batch_us = _each_us(recording._put_out, 1)
        lateness = Lateness()
        for late_ns in range(0, 100_000, 7):
            lateness.record(late_ns)
        recording.watch(lateness, lambda: 0)
        fidelity_us = _each_us(lambda: recording._note_fidelity(1), 20)
        recording.close()
    return [f"keeping a row {keep_us:.2f} us, turning it into text {text_us:.1f} us",
            f"writing a batch of 256 KiB {batch_us:.0f} us",
            f"a row of lateness {fidelity_us:.0f} us"]


def _each_us(work: Callable[[], Any], times: int) -> float:
    began_ns = time.perf_counter_ns()
    for _ in range(times):
        work()
    return (time.perf_counter_ns() - began_ns) / 1e3 / times


def main() -> None:
    """Print the tables."""
    rows, lines = [], []
    for topology in ("quad", "octo"):
        spec = load_topology(topology)
        for name, job in jobs(spec).items():
            rows.append(measure(topology, name, job, spec))
            lines.append(samples(topology, name, job, spec))
    print("  ".join(f"{column:>11}" for column in rows[0]))
    for row in rows:
        cells = (f"{value:.3f}" if isinstance(value, float) else str(value)
                 for value in row.values())
        print("  ".join(f"{cell:>11}" for cell in cells))
    print("\n" + "\n".join([*lines, *agent_side()]))
