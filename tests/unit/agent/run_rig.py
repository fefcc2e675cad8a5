"""The runs of all hosts of a job, wired to each other by hand, under a clock moved by hand."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush
from pathlib import Path
from typing import Any

import pytest

from testbed.agent import runs
from testbed.agent.config import AgentConfig, PortConfig
from testbed.agent.driver import Driver
from testbed.agent.runs import HostRun, RunOrder
from topologies.graph import build_graph
from topologies.numbers import ETHERNET_BYTES, ETHERTYPE_IPV6, HOP_LIMIT
from topologies.spec import ClosSpec
from workloads.job import Job, plan_write_bandwidth

SPEC = ClosSpec("pair", 2, 2, 2, 2, 100 * 10**9, 1000)
GRAPH = build_graph(SPEC)
FAR = 2  # the first host under the other T0
TDF = 1000
SAMPLE_NS = 20_000  # where a run is recorded
TRANSIT_NS = {2: 40_000, 4: 120_000}
BOOT_NS = 5_000_000_000

_HOP_LIMIT_AT = 7  # in a datagram: the outer header's
_INNER_DESTINATION = slice(64, 80)


class Clock:
    """Stands in for the module ``time``: moves only when told."""

    def __init__(self) -> None:
        self.now_ns = BOOT_NS

    def monotonic_ns(self) -> int:
        return self.now_ns

    def time_ns(self) -> int:
        return self.now_ns + 1_700_000_000_000_000_000


def config_of(host: int, spec: ClosSpec | None = SPEC) -> AgentConfig:
    """What the agent of this host is told, as an instance tells it."""
    node = GRAPH.hosts[host]
    ports = tuple(
        PortConfig(nic.plane, nic.interface, octets(nic.mac), octets(nic.peer.mac), nic.slot)
        for nic in node.nic_ports)
    return AgentConfig(host, node.address.packed, ports, SPEC.link_delay_ns, TDF, spec=spec)


def octets(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def small_job(**changes: Any) -> Job:
    """Eight kept messages of 20 kB on each of two connections, h0 to h2."""
    asked = {"size": 20_000, "qps": 2, "iters": 8, "depth": 4, "is_every_message_kept": True}
    return plan_write_bandwidth(SPEC, 0, FAR, **{**asked, **changes})


class Rig:
    """``runs`` of a job by host; ``lose`` says which datagrams never arrive."""

    def __init__(self, job: Job, patch: pytest.MonkeyPatch, captures: Path | None = None,
                 records: Path | None = None) -> None:
        self.job, self.clock, self.records = job, Clock(), records
        patch.setattr(runs, "time", self.clock)
        self.lose: Callable[[int, int, bytes], bool] = lambda host, plane, datagram: False
        self.drivers: dict[int, Driver] = {}
        self.runs = {
            host: HostRun(config_of(host), self.order(host, captures), self._wires(host))
            for host in job.hosts}
        self._wire: list[tuple[int, int, int, int, bytes]] = []
        self._sent = 0

    def order(self, host: int, captures: Path | None = None) -> RunOrder:
        plan = self.job.hosts[host]
        return RunOrder(3, 11, TDF, TRANSIT_NS, plan.ends, plan.program, captures, 96,
                        records=self.records, sample_ns=self.records and SAMPLE_NS)

    def connect(self) -> Rig:
        told = self.job.swap({host: run.describe() for host, run in self.runs.items()})
        for host, run in self.runs.items():
            run.connect(told[host])
        return self

    def start(self, up_ports: int = 0b11) -> Rig:
        """Emulated time 0 is 1 us from now."""
        zero_ns = self.clock.now_ns + 1_000 * TDF
        self.drivers = {host: run.start(zero_ns, up_ports) for host, run in self.runs.items()}
        return self

    def run(self, until_ns: int | None = None) -> Rig:
        """Until nothing is due any more, or just before this emulated time."""
        end_ns = None if until_ns is None else BOOT_NS + (1_000 + until_ns) * TDF
        while (due_ns := self._next_ns()) is not None and (end_ns is None or due_ns < end_ns):
            self.clock.now_ns = max(self.clock.now_ns, due_ns)
            self._deliver()
            for driver in self.drivers.values():
                driver.advance(self.clock.now_ns)
            if all(run.progress()["is_done"] and run.progress()["is_settled"]
                   for run in self.runs.values()) and not self._wire:
                break
        return self

    def results(self) -> dict[int, dict[str, Any]]:
        return {host: run.results() for host, run in self.runs.items()}

    def verify(self) -> dict[int, dict[str, Any]]:
        """Every host's comparison, with what its peers told."""
        told = self.job.swap({host: result["program"]["channels"]
                              for host, result in self.results().items()})
        return {host: run.verify(told[host]) for host, run in self.runs.items()}

    def close(self) -> None:
        for run in self.runs.values():
            run.close()

    def _next_ns(self) -> int | None:
        due = [at for driver in self.drivers.values() if (at := driver.next_due_wall_ns())]
        return min([*due, *(item[0] for item in self._wire[:1])], default=None)

    def _deliver(self) -> None:
        while self._wire and self._wire[0][0] <= self.clock.now_ns:
            at_ns, _, host, plane, frame = heappop(self._wire)
            self.drivers[host].arrive(plane, memoryview(frame), at_ns)

    def _wires(self, host: int) -> list[Callable[[bytes], None]]:
        return [partial(self._send, host, plane) for plane in range(SPEC.planes)]

    def _send(self, src: int, plane: int, datagram: bytes) -> None:
        if self.lose(src, plane, datagram):
            return
        dst = host_of(datagram)
        links = 4 if SPEC.is_cross_t1(src, dst) else 2
        frame = carried(datagram, links)
        self._sent += 1
        heappush(self._wire,
                 (self.clock.now_ns + TRANSIT_NS[links], self._sent, dst, plane, frame))


def host_of(datagram: bytes) -> int:
    """The host a datagram is for, by its inner destination."""
    address = datagram[_INNER_DESTINATION]
    return next(host.index for host in GRAPH.hosts if host.address.packed == address)


def carried(datagram: bytes, links: int) -> bytes:
    """The frame that a host receives after so many links."""
    frame = bytearray(bytes(12) + ETHERTYPE_IPV6.to_bytes(2, "big") + datagram)
    frame[ETHERNET_BYTES + _HOP_LIMIT_AT] = HOP_LIMIT - (links - 1)
    return bytes(frame)
