"""A whole testbed in virtual time: hosts that run endpoints on a simulated fabric."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from testbed.faults.actions import Action
from testbed.faults.targets import Target
from testbed.sim.chaos import Chaos
from testbed.sim.conservation import Conservation, balance
from testbed.sim.counters import SimPortCounters
from testbed.sim.engine import Engine
from testbed.sim.faults import DeviceOf, Injector
from testbed.sim.host import EndpointFactory, SimHost
from testbed.sim.network import Limits, Network, default_limits
from testbed.sim.nic import SimNicPort
from testbed.sim.trace import Captured, Trace
from topologies.graph import Graph

RECEIVE_BUFFER_BYTES = 8 * 1024 * 1024  # per NIC port, what an agent asks the kernel for


class Simulation:
    """The fabric of ``graph``, one endpoint a host, at 0 ns; nothing has been sent.

    ``seed`` (0 is the fabric's) fixes losses, corruption and marks; the endpoints'
    randomness is the factory's business. ``limits`` replaces the queue thresholds,
    ``chaos`` duplicates and delays arrivals, ``is_traced`` hashes all that happens.
    ``device_of`` gives a host's device to faults that are a controller's doing.
    """

    def __init__(
        self,
        graph: Graph,
        seed: int = 0,
        *,
        endpoint_factory: EndpointFactory,
        limits: Limits | None = None,
        chaos: Chaos | None = None,
        receive_buffer_bytes: int = RECEIVE_BUFFER_BYTES,
        is_traced: bool = False,
        device_of: DeviceOf | None = None,
    ) -> None:
        self.graph = graph
        self.engine = Engine()
        self.network = Network(graph, self.engine, seed, limits or default_limits(graph.spec))
        self.hosts = tuple(
            self._host(index, endpoint_factory, receive_buffer_bytes)
            for index in range(len(graph.hosts))
        )
        self.faults = Injector(self.network, self.hosts, device_of)
        self.trace = Trace()
        if is_traced:
            self.network.watch(self.trace)
        for nic in self.network.nic_ports.values():
            nic.chaos = chaos
        for host in self.hosts:
            host.start(0)

    @property
    def now(self) -> int:
        """Emulated ns since the start."""
        return self.engine.now

    # --- Running -----------------------------------------------------------------------

    def run_until(self, end_ns: int) -> None:
        """Run everything up to and including ``end_ns``."""
        self.engine.run_until(end_ns)

    def run_while(self, predicate: Callable[[], bool], end_ns: int) -> bool:
        """Run while the predicate holds, at most to ``end_ns``; True where it ceased to."""
        return self.engine.run_while(predicate, end_ns)

    def at(self, at_ns: int, call: Callable[[], object]) -> None:
        """Have something called at a time. What posts to an endpoint kicks its host then."""
        self.engine.schedule(at_ns, _call, call)

    def kick(self, host: int) -> None:
        """Look what a host's endpoint wants, after something was posted to it."""
        self.hosts[host].kick(self.now)

    # --- Breaking ----------------------------------------------------------------------

    def inject(self, action: Action) -> None:
        """Put a fault in force now. Raises UsageError where that makes no sense."""
        self.faults.inject(action, self.now)

    def heal(self, target: Target | None = None) -> tuple[Action, ...]:
        """Take back every fault on ``target`` (None: all) now; the healed, newest first."""
        return self.faults.heal(target, self.now)

    def move(self, injects: Sequence[Action], heals: Iterable[str] = ()) -> tuple[Action, ...]:
        """Heal faults by id and inject others at once; the healed ones, newest first."""
        return self.faults.move(injects, heals, self.now)

    # --- Looking -----------------------------------------------------------------------

    def ports(self, slot: int) -> SimPortCounters:
        """The counters of one port. Raises KeyError where there is none."""
        return self.network.read(slot)

    def nic(self, host: int, plane: int) -> SimNicPort:
        """A NIC port with its counts of what was received."""
        return self.hosts[host].ports[plane]

    def capture(self, slot: int) -> list[Captured]:
        """The list that every frame passing a port is put into, as it leaves, from now on."""
        return self.network.capture(slot, self.trace)

    def conservation(self) -> Conservation:
        """The balance at this instant; its ``unexplained`` is 0 or the simulator is wrong."""
        return balance(self.engine, self.network, self.hosts)

    def _host(self, index: int, factory: EndpointFactory, buffer_bytes: int) -> SimHost:
        host = self.graph.hosts[index]
        nics = tuple(self.network.nic_ports[port.slot] for port in host.nic_ports)
        made = SimHost(host, nics, factory, self.engine.schedule, buffer_bytes)
        for nic in nics:
            nic.connect(self.network.router.route, made)
        return made


def _call(_: int, call: Callable[[], object]) -> None:
    call()
