"""How fast the simulator is: datagrams and events a second of octo at line rate.

    .venv/bin/python tests/bench/sim_rate.py [--frames N] [--profile]

Every host sends full data frames out of all eight ports, host to host across T1, with an
endpoint that does nothing else: the time is the simulator's own. The first frame of
every port has a size of its own, so that ports do not run in step.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import sys
import time
from collections.abc import Iterator
from itertools import chain, cycle
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from sim.sim_fakes import OCTO, on_path  # noqa: E402

from testbed.forwarding.paths import paths  # noqa: E402
from testbed.sim.simulation import Simulation  # noqa: E402
from topologies.graph import Host  # noqa: E402


class Blaster:
    """Always has a datagram for every port; forgets what it receives."""

    def __init__(self, host: Host, senders: int) -> None:
        peer = (host.index + 4) % 8
        self._ports = [self._endless(host.index, peer, plane) for plane in range(8)]
        self.is_sender = host.index < senders

    def _endless(self, src: int, dst: int, plane: int) -> Iterator[bytes]:
        here = [path for path in paths(OCTO.spec, src, dst) if path.plane == plane]
        odd = on_path(OCTO, here[0], size=200 + 61 * (8 * src + plane))
        return chain([odd], cycle([on_path(OCTO, path) for path in here]))

    def receive(self, port: int, datagram: bytes, now: int) -> None:
        """Nothing."""

    def transmit(self, now: int, free_ports: int) -> tuple[int, bytes] | None:
        """The next datagram for the lowest free port."""
        if not self.is_sender:
            return None
        plane = (free_ports & -free_ports).bit_length() - 1
        return plane, next(self._ports[plane])

    def next_deadline(self) -> int | None:
        """None: nothing is timed."""
        return None

    def on_deadline(self, now: int) -> None:
        """Never called."""

    def on_ports_changed(self, up_ports: int, now: int) -> None:
        """Nothing."""


def measure(frames: int, senders: int) -> tuple[float, float, Simulation]:
    """(us per datagram, us per event, what was run) for about this many datagrams."""
    simulation = Simulation(OCTO, endpoint_factory=lambda host, now: Blaster(host, senders))
    simulation.run_until(20_000)  # the pipes are full, the routes known
    before, events = simulation.conservation().received, simulation.engine.events_run
    began = time.perf_counter()
    simulation.run_until(20_000 + frames * 339 // (8 * senders))
    spent_s = time.perf_counter() - began
    received = simulation.conservation().received - before
    events = simulation.engine.events_run - events
    return spent_s * 1e6 / received, spent_s * 1e6 / events, simulation


def main() -> None:
    """Print a line per number of senders, and the profile where it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    print(f"{'senders':>7}  {'us/datagram':>11}  {'datagrams/s':>11}  {'us/event':>8}"
          f"  {'events/s':>9}  {'largest queue':>13}")  # fmt: skip
    for senders in (1, 4, 8):
        datagram_us, event_us, simulation = measure(arguments.frames, senders)
        deepest = max(port.data_max_bytes for port in simulation.network.read_all().values())
        print(f"{senders:>7}  {datagram_us:>11.2f}  {1e6 / datagram_us:>11.0f}"
              f"  {event_us:>8.2f}  {1e6 / event_us:>9.0f}  {deepest:>11} B")  # fmt: skip
    if arguments.profile:
        with cProfile.Profile() as profile:
            measure(arguments.frames // 2, 8)
        pstats.Stats(profile).sort_stats("tottime").print_stats(14)


if __name__ == "__main__":
    main()
