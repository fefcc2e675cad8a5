"""Hosts with their parts of a job, on wires of one delay that carry everything at once."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import Any

from testbed.forwarding.routes import host_routes
from testbed.transport.mrc.device import open_device
from testbed.transport.mrc.verbs import Context
from topologies.names import host_address
from topologies.spec import ClosSpec
from workloads.application import Application
from workloads.connections import HostSetup
from workloads.job import Job, make_program

SPEC = ClosSpec("pair", 2, 2, 2, 2, 100 * 10**9, 1000)
FAR = 2  # the first host under the other T0
DELAY_NS = 2_000
ALL_PORTS = 0b11


def open_context(host: int, seed: int = 1) -> Context:
    """The device of a host."""
    return open_device(SPEC, host, host_routes(SPEC, host), Random(f"{host} {seed}"))


def set_up(job: Job) -> dict[int, HostSetup]:
    """Every host's ends, not connected."""
    return {
        host: HostSetup(open_context(host), plan.ends, SPEC.payload_bytes, Random(host),
                        plan.shared_bytes)
        for host, plan in job.hosts.items()
    }


class Wires:
    """The applications of a job, connected, at 0 ns; ``lose`` says which datagrams are lost.

    ``wrap`` replaces the program of a host, for tests that bring their own.
    """

    def __init__(
        self, job: Job, wrap: Callable[[HostSetup, Any], Any] | None = None
    ) -> None:
        self.job = job
        self.setups = set_up(job)
        self.now = 0
        self.lose: Callable[[int, int, bytes], bool] = lambda now, host, datagram: False
        told = job.swap({host: setup.describe() for host, setup in self.setups.items()})
        self.apps: dict[int, Application] = {}
        for host, setup in self.setups.items():
            setup.connect(told[host], 0)
            program = make_program(job.hosts[host].program, setup.channels)
            self.apps[host] = Application(setup, wrap(setup, program) if wrap else program)
        self._hosts = {
            host_address(SPEC.t0_of(host), SPEC.downlink_of(host)).packed: host
            for host in self.apps
        }
        self._flying: list[tuple[int, int, int, int, bytes]] = []
        self._number = 0

    def start(self) -> Wires:
        """Start every program at 0 ns."""
        for app in self.apps.values():
            app.start(0)
        return self

    def run(self, until_ns: int = 10**9) -> Wires:
        """Until every program is done and nothing flies, at most to a time."""
        while True:
            self._send()
            due = [d for app in self.apps.values() if (d := app.next_deadline()) is not None]
            next_ns = min([*due, *(item[0] for item in self._flying[:1])], default=None)
            is_over = all(app.program.is_done for app in self.apps.values()) and not self._flying
            if is_over or next_ns is None or next_ns > until_ns:
                return self
            self.now = max(self.now, next_ns)
            self._do()

    def results(self) -> dict[int, dict[str, Any]]:
        return {host: app.program.result() for host, app in self.apps.items()}

    def verify(self) -> dict[int, dict[str, Any]]:
        told = self.job.swap({host: r["channels"] for host, r in self.results().items()})
        return {host: app.program.verify(told[host]) for host, app in self.apps.items()}

    def _do(self) -> None:
        while self._flying and self._flying[0][0] <= self.now:
            _, _, host, port, datagram = heappop(self._flying)
            self.apps[host].receive(port, datagram, self.now)
        for app in self.apps.values():
            deadline_ns = app.next_deadline()
            if deadline_ns is not None and deadline_ns <= self.now:
                app.on_deadline(self.now)

    def _send(self) -> None:
        for host, app in self.apps.items():
            while (sent := app.transmit(self.now, ALL_PORTS)) is not None:
                port, datagram = sent
                if self.lose(self.now, host, datagram):
                    continue
                self._number += 1
                # The inner destination: behind the outer header, at its byte 24.
                target = self._hosts[datagram[64:80]]
                heappush(
                    self._flying, (self.now + DELAY_NS, self._number, target, port, datagram)
                )
