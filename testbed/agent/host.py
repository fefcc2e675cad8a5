"""What a configured agent owns: data ports, their carrier, probes, and an endpoint on them.

Between runs an idle device is on the ports, so that a host answers EV probes at all times;
a run brings a device of its own, with its own clock and seed, and takes its place.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from testbed.agent.clock import EmulatedClock, realtime_ahead_ns
from testbed.agent.config import AgentConfig
from testbed.agent.dataports import DataPorts
from testbed.agent.driver import Driver
from testbed.agent.inbox import Inbox
from testbed.agent.leftover import give_back_memory
from testbed.agent.loop import Loop
from testbed.agent.port import Port
from testbed.agent.prober import ProbePath
from testbed.agent.probewire import MAGIC
from testbed.agent.probing import Probing
from testbed.agent.runs import HostRun, RunOrder, timing_of
from testbed.errors import TestbedError
from testbed.forwarding.routes import host_routes
from testbed.transport.mrc.controls import (
    NO_CONTROLS,
    Controls,
    apply_controls,
    denying_qps,
    disabled_ports,
)
from testbed.transport.mrc.device import open_device
from testbed.transport.mrc.srv6 import RouteError
from testbed.transport.mrc.verbs import Context
from testbed.transport.mrc.wire.codes import EndpointOp
from topologies.numbers import ENCAPSULATION_BYTES

_AT_LEISURE_NS = 1_000_000_000  # nothing is due for now
_MAGIC_BYTE = MAGIC[0]  # one is compared of every frame
_PAYLOAD = slice(ENCAPSULATION_BYTES, ENCAPSULATION_BYTES + len(MAGIC))


class Host:
    """The ports of one host and what runs on them. The constructor only stores."""

    def __init__(self, config: AgentConfig) -> None:
        self.config = config
        self.tdf = config.tdf
        inbox = Inbox()
        self.ports = {
            port.plane: Port(port, config.socket_buffer_bytes, inbox) for port in config.ports
        }
        self.probing = Probing(config, self.ports, self._ask)
        self.run: HostRun | None = None
        self._wires = [self.ports[plane].send_datagram for plane in sorted(self.ports)]
        self._transit_ns: Mapping[int, int] = {}
        self._data = DataPorts(self.ports, self._on_frame, self._on_carrier)
        self._driver: Driver | None = None
        self._context: Context | None = None  # the device on the ports
        self._controls = NO_CONTROLS
        self._denying_qps: dict[tuple[bytes, int], int] = {}  # the most there were, by denied EV

    def open(self, loop: Loop, on_carrier: Callable[[Port, bool], None]) -> None:
        """Open every port and the carrier watch; none stays open if one fails."""
        self._data.open(loop)
        self._tell_carrier = on_carrier
        self._idle()

    def close(self) -> None:
        """Give everything back."""
        if self.run is not None:
            self.run.close()
        self._data.close()

    # --- the loop ------------------------------------------------------------------

    def turn(self) -> None:
        """Read what has arrived, and do everything that is due."""
        read_at_ns = self._data.read()
        if self._driver is not None:
            self._driver.advance(read_at_ns)
        if self.probing.is_busy:
            self.probing.pump(time.monotonic_ns())
        if self.run is not None and self.run.is_recorded:
            self._pump_rows(self.run)

    def _pump_rows(self, run: HostRun) -> None:
        due_at_ns = self._driver.next_due_wall_ns() if self._driver is not None else None
        run.pump(_AT_LEISURE_NS if due_at_ns is None else due_at_ns - time.monotonic_ns())

    def _kernel_drops(self) -> int:
        return sum(port.read_counters().kernel_drops for port in self.ports.values())

    def next_wake_ns(self) -> int | None:
        """When `turn` is wanted at the latest, on CLOCK_MONOTONIC; None for never."""
        wake_at_ns = self.probing.next_deadline_ns() if self.probing.is_busy else None
        if self._driver is not None:
            due_at_ns = self._data.pace(self._driver)
            if wake_at_ns is None or (due_at_ns is not None and due_at_ns < wake_at_ns):
                wake_at_ns = due_at_ns
        return wake_at_ns

    def _on_frame(self, port: Port, frame: memoryview, received_at_ns: int) -> None:
        """A received frame, with CLOCK_MONOTONIC of its receipt."""
        if len(frame) <= ENCAPSULATION_BYTES:
            port.counters.foreign += 1
        elif self._driver is None or (frame[ENCAPSULATION_BYTES] == _MAGIC_BYTE
                                      and frame[_PAYLOAD] == MAGIC):
            self.probing.on_frame(port, frame, received_at_ns + realtime_ahead_ns())
        else:
            self._driver.arrive(port.config.plane, frame, received_at_ns)

    def _on_carrier(self, port: Port, has_carrier: bool) -> None:
        if self._driver is not None:
            self._driver.set_carrier(self._data.up_ports)
        self._tell_carrier(port, has_carrier)

    def _ask(self, path: ProbePath, on_answer: Callable[[int], None]) -> bool:
        """Send an EV probe along a path; False where its port is down, or there is no such path.

        A run may be under way, so whatever was asked for must not end the agent.
        """
        endpoint, driver = self.require_device().endpoint, self._driver
        assert driver is not None
        if not endpoint.up_ports >> path.plane & 1:
            return False
        try:
            endpoint.packets.request(
                path.destination, path.ev, path.plane, EndpointOp.EV_PROBE,
                lambda rtt_ns, _port, _now_ns: on_answer(rtt_ns),
            )  # fmt: skip
        except RouteError:
            return False
        driver.kick()
        return True

    def require_device(self) -> Context:
        """What is on the ports; raises TestbedError where the host has no topology."""
        if self._context is None:
            raise TestbedError("this host has no MRC device: configure it with its topology")
        return self._context

    # --- devices -------------------------------------------------------------------

    def set_tdf(self, tdf: int, transit_ns: Mapping[int, int]) -> None:
        """The time dilation and transit times that hold between runs."""
        self.tdf, self._transit_ns = tdf, transit_ns
        if self.run is None:
            self._idle()

    def prepare(self, order: RunOrder) -> HostRun:
        """Open a device for a run; it takes the ports over when the run starts."""
        if self.run is not None:
            raise TestbedError(f"run {self.run.order.number} is on this host: end it first")
        self.run = HostRun(self.config, order, self._wires, self._kernel_drops)
        return self.run

    def start(self, zero_ns: int) -> None:
        """The run's emulated time is 0 at this CLOCK_MONOTONIC time."""
        run = self.require_run()
        apply_controls(run.context, NO_CONTROLS, self._controls, 0)
        self._driver = run.start(zero_ns, self._data.up_ports)
        self._context = run.context
        self._count_denying_qps()

    def require_run(self) -> HostRun:
        """The run on this host; raises TestbedError where there is none."""
        if self.run is None:
            raise TestbedError("no run is on this host: prepare one first")
        return self.run

    def release(self) -> None:
        """End the run, whatever state it is in; the idle device is back."""
        if self.run is not None:
            self._count_denying_qps()
            self.run.close()
            self.run = None
            self._idle()
            give_back_memory()

    def control(self, controls: Controls) -> dict[str, Any]:
        """Make the device, and every one after it, what the controller says; the evidence.

        ``denied``: [peer, EV, the most queue pairs that had it DENIED since it was denied];
        ``disabled``: the ports that are, as a mask.
        """
        context = self.require_device()
        before, self._controls = self._controls, controls
        self._apply_controls(before)
        return {
            "denied": [[peer.hex(), ev, self._denying_qps[peer, ev]]
                       for peer, ev in sorted(controls.denied)],
            "disabled": disabled_ports(context),
        }

    def _apply_controls(self, before: Controls) -> None:
        context, driver = self._context, self._driver
        assert context is not None
        assert driver is not None
        if before != self._controls:
            driver.kick()  # so that it is the present in which this happens
            apply_controls(context, before, self._controls, driver.now_ns)
            driver.kick()
        self._count_denying_qps()

    def _count_denying_qps(self) -> None:
        if self._context is None:
            return
        self._denying_qps = {
            key: max(self._denying_qps.get(key, 0), denying_qps(self._context, *key))
            for key in self._controls.denied
        }

    def _idle(self) -> None:
        spec = self.config.spec
        if spec is None:
            return
        host = self.config.host
        clock = EmulatedClock(time.monotonic_ns(), self.tdf)
        context = open_device(
            spec, host, host_routes(spec, host), random.Random(f"idle {host}"))
        self._context = context
        self._driver = Driver(
            context.endpoint, self._wires, timing_of(spec, clock, self._transit_ns),
            time.monotonic_ns)
        self._driver.set_carrier(self._data.up_ports)
        self._apply_controls(NO_CONTROLS)

    # --- what it tells -------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """The part of `hello` that is known once configured."""
        return {
            "host": self.config.host,
            "tdf": self.tdf,
            "link_delay_ns": self.config.link_delay_ns,
            "ports": [
                port.config.to_params() | {"carrier": self._data.has_carrier(port)}
                for port in self.ports.values()
            ],
        }

    def counters(self) -> Mapping[str, Any]:
        """Counters of every port and of the probes, from the start of the agent."""
        return {
            "ports": [
                {"plane": plane, "interface": port.config.interface,
                 **asdict(port.read_counters())}
                for plane, port in self.ports.items()
            ],
            "probes": self.probing.counters(),
        }
