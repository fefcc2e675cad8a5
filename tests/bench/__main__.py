"""`make bench`: bring-up, switch ports, the transport's and the simulator's speed.

Tables only, no verdict: timings on a shared machine are for reading. Run as
``python tests/bench [--repeat N] [--only up|ports|wire|transport|sim|run|collectives|
recording]``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "fabric")]

# Seconds to ready that the project promises on its build machine, packages installed.
LIMITS_S = {"tiny": 4.0, "quad": 8.0, "octo": 15.0, "wide": 60.0}
CASES = [("tiny", "ovs"), ("tiny", "linux"), ("quad", "ovs"), ("quad", "linux"),
         ("octo", "ovs"), ("octo", "linux"), ("rack4", "ovs"), ("wide", "linux"),
         ("wide", "ovs")]


def testbed(*words: str) -> str:
    """Run one command; its stdout."""
    done = subprocess.run([sys.executable, "-m", "testbed", *words], cwd=ROOT, text=True,
                          capture_output=True, check=False)
    if done.returncode:
        sys.exit(f"testbed {' '.join(words)} failed: {done.stderr}")
    return done.stdout


def measure_up(topology: str, dataplane: str) -> dict[str, Any]:
    """Bring it up and down once."""
    name = f"bench-{topology}"
    run = json.loads(testbed("up", topology, "-d", "--json", "--name", name,
                             "--dataplane", dataplane))
    run["resident_mb"] = json.loads(testbed("status", "--json", "--name", name))["resident_mb"]
    began = time.monotonic()
    testbed("down", "--name", name)
    return run | {"down_s": time.monotonic() - began}


def bench_up(repeat: int) -> None:
    """Stage times of every case."""
    from testbed.analysis.stages import ready_summary, stage_frame, stage_medians

    runs = [measure_up(topology, dataplane)
            for _ in range(repeat) for topology, dataplane in CASES]
    print(f"\nUp to ready, wall-clock seconds, {repeat} runs each\n")
    print(ready_summary(runs, LIMITS_S).round(2).to_string(na_rep="-"))
    print("\nMedian seconds by stage (agents start beside ports and switches)\n")
    print(stage_medians(stage_frame(runs)).round(2).T.to_string(na_rep="-"))


def bench_ports() -> None:
    """Configured and measured drain rates."""
    import port_rate

    print("\nSwitch ports: drain rate held, data and control offered together\n")
    port_rate.main()


def bench_wire() -> None:
    """Encoding and decoding of single packets."""
    import wire_rate

    print("\nOne packet, microseconds (best of several runs)\n")
    wire_rate.main()


def bench_run() -> None:
    """What MRC on the emulated fabric costs, beside bare frames over the same paths."""
    import run_cost

    print("\nRuns: smallest trusted time dilation (one pair, all hosts), frames/s, CPU per frame\n")
    run_cost.main()


def bench_transport() -> None:
    """A pair of endpoints on one core, nothing else."""
    import transport_rate

    print("\nOne pair of endpoints, 4096-byte payloads, both ends on one core\n")
    transport_rate.main()


def bench_sim() -> None:
    """The simulator alone, then with MRC in it."""
    import mrc_sim_rate
    import sim_rate

    print("\nSimulator of octo, endpoints that only blast\n")
    sim_rate.main()
    print("\nSimulator of octo, MRC endpoints\n")
    mrc_sim_rate.main()


def bench_collectives() -> None:
    """Collectives on the fabric and in the simulator."""
    import collectives

    print("\nCollectives: emulated fabric beside the simulator\n")
    collectives.main()


def bench_recording() -> None:
    """What it costs to write down what happens."""
    import recording

    print("\nRecording: CPU seconds of simulated runs without and with it, and an agent's work\n")
    recording.main()


BENCHES = {"ports": bench_ports, "wire": bench_wire, "transport": bench_transport,
           "sim": bench_sim, "run": bench_run,
           "collectives": bench_collectives, "recording": bench_recording}


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", choices=["up", *BENCHES])
    arguments = parser.parse_args()
    if arguments.only in (None, "up"):
        bench_up(arguments.repeat)
    for name, bench in BENCHES.items():
        if arguments.only in (None, name):
            bench()


if __name__ == "__main__":
    main()
