"""What running costs: the smallest trusted time dilation, frames per second, CPU per frame.

For each topology and data plane: a calibration (one pair, and all hosts at line rate), then
one pair at its dilation, and bare frames over the same paths, which no protocol slows down:
how far time must be slowed for them, and what a frame costs.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from commands import ROOT, testbed

from testbed.instance.calibrator import across
from testbed.instance.client import Control
from testbed.instance.machine import read_cpu_times
from testbed.intent.dilation import least_tdf, line_rate_pps, round_up_125
from topologies.graph import Graph, build_graph
from topologies.spec import ClosSpec

BLASTER = Path(__file__).with_name("blaster.py")
CASES = [(name, plane) for name in ("tiny", "quad", "octo") for plane in ("ovs", "linux")]
BLAST_S = 1.0
RUN_S = 3
PATIENCE_S = 600.0
LOST = 0.001  # of bare frames, at most, where a dilation counts as carried


class Blaster:
    """Bare frames between hosts of a running instance."""

    def __init__(self, name: str, graph: Graph) -> None:
        self._graph = graph
        with Control(name) as control:
            self._pids = control.call("nodes")["pids"]

    def blast(self, pairs: list[tuple[int, int]], pps: float) -> tuple[int, int, float]:
        """(sent, received, CPU seconds of the machine) of one second of frames per pair."""
        counters = [self._count(dst) for _, dst in pairs]
        for counter in counters:
            assert counter.stdout is not None
            counter.stdout.readline()
        before = read_cpu_times()
        senders = [self._send(src, dst, pps) for src, dst in pairs]
        sent = sum(int(sender.communicate()[0]) for sender in senders)
        received = sum(int(counter.communicate()[0]) for counter in counters)
        after = read_cpu_times()
        ticks = os.sysconf("SC_CLK_TCK")
        busy = (after.total - before.total) - (after.idle - before.idle)
        return sent, received, busy / ticks

    def _count(self, host: int) -> subprocess.Popen[str]:
        ports = [port.interface for port in self._graph.hosts[host].nic_ports]
        return self._start(host, "count", str(BLAST_S + 8), *ports)

    def _send(self, src: int, dst: int, pps: float) -> subprocess.Popen[str]:
        spec = self._graph.spec
        return self._start(src, "send", str(src), str(dst), spec.name, spec.dataplane, str(pps),
                           str(BLAST_S))

    def _start(self, host: int, *words: str) -> subprocess.Popen[str]:
        pid = self._pids[self._graph.hosts[host].name]
        return subprocess.Popen(
            ["nsenter", "-t", str(pid), "-n", sys.executable, str(BLASTER), *words],
            stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


def bare_frames(name: str, spec: ClosSpec, senders: int, from_tdf: int) -> dict[str, Any]:
    """The smallest dilation at which bare frames at line rate all arrive, trying downwards.

    ``cpu_us`` is what a frame costs there, ``same_cpu_us`` what it costs at ``from_tdf``: a data
    plane that polls takes a core at any rate, so only equal rates compare.
    """
    blaster = Blaster(name, build_graph(spec))
    pairs = across(spec)[:senders]
    found: dict[str, Any] = {"tdf": None, "cpu_us": None, "same_cpu_us": None}
    tdf = from_tdf
    while tdf >= round_up_125(least_tdf(spec)):
        with Control(name) as control:
            control.call("set_tdf", {"tdf": tdf})
        pps = line_rate_pps(spec, 1) / tdf
        sent, received, cpu_s = blaster.blast(pairs, pps)
        if received < sent * (1 - LOST):
            break
        cpu_us = 1e6 * cpu_s / received
        same_cpu_us = cpu_us if tdf == from_tdf else found["same_cpu_us"]
        found = {"tdf": tdf, "cpu_us": cpu_us, "same_cpu_us": same_cpu_us}
        tdf = next(step for step in (tdf * 2 // 5, tdf // 2) if round_up_125(step) == step)
    return found


def calibrated(name: str, spec: ClosSpec) -> dict[str, int]:
    """The smallest trusted dilations."""
    with Control(name) as control:
        pair = control.call("calibrate", {"senders": 1}, PATIENCE_S)
        every = control.call("calibrate", {"senders": spec.host_count}, PATIENCE_S)
    return {"pair_tdf": pair["pair_tdf"], "all_tdf": every["all_tdf"]}


def measure(topology: str, dataplane: str) -> dict[str, Any]:
    """One row of the table."""
    name = f"bench-{topology}"
    testbed("up", topology, "-d", "--name", name, "--dataplane", dataplane)
    try:
        with Control(name) as control:
            spec = ClosSpec(**control.call("nodes")["spec"])
        far = across(spec)[0][1]
        with tempfile.TemporaryDirectory() as folder:
            known = calibrated(name, spec)
            duration_us = max(50, RUN_S * 1_000_000 // known["pair_tdf"])
            run = testbed("run", "write-bw", "h0", f"h{far}", "--name", name, "--out", folder,
                          "--duration", f"{duration_us}us", "--tdf", str(known["pair_tdf"]))
        sent = sum(host["sent"] for host in run["hosts"].values())
        busy_s = run["busy_cores"] * run["wall_s"]
        pair = bare_frames(name, spec, 1, known["pair_tdf"])
        every = bare_frames(name, spec, spec.host_count, known["all_tdf"])
        return {
            "topology": topology, "dataplane": dataplane, "pair_tdf": known["pair_tdf"],
            "all_tdf": known["all_tdf"], "verdict": run["verdict"]["word"],
            "pps": sent / run["wall_s"], "cpu_us": 1e6 * busy_s / sent,
            "bare_pair_tdf": pair["tdf"], "bare_all_tdf": every["tdf"],
            "bare_same_us": pair["same_cpu_us"], "bare_cpu_us": pair["cpu_us"],
        }
    finally:
        testbed("down", "--name", name)


def main() -> None:
    """Print the table."""
    columns = ("topology", "dataplane", "pair_tdf", "all_tdf", "bare_pair_tdf", "bare_all_tdf",
               "pps", "cpu_us", "bare_same_us", "bare_cpu_us", "verdict")
    rows = [measure(*case) for case in CASES]
    print("  ".join(f"{column:>13}" for column in columns))
    for row in rows:
        cells = (f"{row[column]:.1f}" if isinstance(row[column], float) else str(row[column])
                 for column in columns)
        print("  ".join(f"{cell:>13}" for cell in cells))
