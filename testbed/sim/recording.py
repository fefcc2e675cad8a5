"""What a simulated run leaves in the tables: rows of every host, and of the switch ports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from testbed.metrics.portrows import PortRows, places
from testbed.metrics.rows import by_table, row_of
from testbed.sim.simulation import Simulation
from workloads.application import Application
from workloads.recorder import SAMPLES_PER_EV_SAMPLE


class SimRecording:
    """The rows of one run: hosts every ``sample_ns``, ports every fifth of these times."""

    def __init__(self, applications: Mapping[int, Application], sample_ns: int) -> None:
        self._rows: list[tuple[str, tuple[Any, ...]]] = []
        self._ports_ns = SAMPLES_PER_EV_SAMPLE * sample_ns
        self._is_over = False
        for application in applications.values():
            application.record(sample_ns, self._write)

    def _write(self, table: str, values: tuple[Any, ...]) -> None:
        self._rows.append((table, values))

    def watch_ports(self, sim: Simulation) -> None:
        """Look at the switch ports from now on, at 0 ns."""
        self._sim = sim
        self._ports = PortRows(places(sim.graph.switches), sim.network.read_all())
        self._offered = dict.fromkeys(sim.network.switch_ports, 0)
        sim.at(self._ports_ns, self._look)

    def _look(self) -> None:
        if not self._is_over:
            self._look_at_ports()
            self._sim.at(self._sim.now + self._ports_ns, self._look)

    def _look_at_ports(self) -> None:
        network, now = self._sim.network, self._sim.now
        counters, queues = {}, {}
        for slot, seen in self._offered.items():
            port = network.switch_ports[slot]
            if port.offered_frames != seen:
                self._offered[slot] = port.offered_frames
                counters[slot] = port.read()
                queues[slot] = sum(port.depths_bytes(now))
        for values in self._ports.look(now, counters, queues):
            self._write("ports", values)

    def finish(self, running: Mapping[int, Application]) -> dict[str, list[dict[str, Any]]]:
        """The last rows, of the hosts that still run; every table with all its rows."""
        self._is_over = True
        self._look_at_ports()
        for application in running.values():
            application.finish_recording(self._sim.now)
        return by_table((table, row_of(table, values)) for table, values in self._rows)
