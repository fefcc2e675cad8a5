"""A small fabric on a private Open vSwitch, in a namespace of its own, for tests.

Hosts have no processes here: their NIC ports are interfaces of the same namespace,
spoken through AF_PACKET. Frames are written and read with `struct`, independently
of the code that the agents use.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address
from itertools import pairwise
from pathlib import Path
from typing import Any

from testbed.fabric.namespaces import loopback_up, network_of, quiet_ipv6
from testbed.fabric.ovs import Bridge, PrivateOvs
from testbed.forwarding.paths import Path as FabricPath
from testbed.forwarding.plan import build_plan
from topologies.graph import Graph, build_graph
from topologies.spec import ClosSpec

ROOT = Path(__file__).parents[2]
TINY = ClosSpec("tiny", 2, 2, 2, 2, 100_000_000_000, 1_000)
PATIENCE_S = 20.0  # how long a condition may take before the test gives up
MTU_BYTES = 9000

ETH_P_ALL = 3
SOL_PACKET = 263
PACKET_IGNORE_OUTGOING = 23
SO_RCVBUFFORCE = 33
RECEIVE_BUFFER_BYTES = 32 << 20

ETHERNET = struct.Struct("!6s6sH")
IPV6 = struct.Struct("!IHBB16s16s")
UDP = struct.Struct("!HHHH")
HEADER_BYTES = ETHERNET.size + 2 * IPV6.size + UDP.size


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Return when `condition` holds; fail, naming `what`, when patience ends."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S:.0f} s: {what}"
        time.sleep(0.01)


@contextlib.contextmanager
def namespace() -> Iterator[int]:
    """A quiet network namespace; gives the pid of the process that keeps it alive.

    That process ends with its standard input, so with this one at the latest.
    """
    with subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE) as keeper:
        own = Path("/proc/self/ns/net").readlink()
        theirs = Path(f"/proc/{keeper.pid}/ns/net")
        wait_until(lambda: theirs.readlink() != own, "a namespace of our own")
        with network_of(keeper.pid):
            loopback_up()
            quiet_ipv6()
        yield keeper.pid


@dataclass(frozen=True)
class Frame:
    """What a captured frame says; `rest` is all that no switch may touch."""

    eth_dst: str
    eth_src: str
    hop_limit: int
    address: IPv6Address
    rest: bytes

    @classmethod
    def read(cls, data: bytes) -> Frame:
        eth_dst, eth_src, kind = ETHERNET.unpack_from(data)
        _word, length, following, hop_limit, _source, address = IPV6.unpack_from(data, 14)
        assert (kind, following, length) == (0x86DD, 41, len(data) - 54)
        macs = eth_dst.hex(":"), eth_src.hex(":")
        return cls(*macs, hop_limit, IPv6Address(address), data[54:])


def frame(address: IPv6Address, payload: bytes, hop_limit: int = 64) -> bytes:
    """An SRv6 frame to `address` (IPv6 in IPv6 in Ethernet, UDP 4791)."""
    source = IPv6Address("2001:db8::1").packed
    inner_bytes = UDP.size + len(payload)
    return b"".join([
        ETHERNET.pack(bytes.fromhex("02ffffffffff"), bytes.fromhex("02fffffffffe"), 0x86DD),
        IPV6.pack(6 << 28, IPV6.size + inner_bytes, 41, hop_limit, source, address.packed),
        IPV6.pack(6 << 28, inner_bytes, 17, 64, source, source),
        UDP.pack(0x0100, 4791, inner_bytes, 0),
        payload,
    ])


class Interface:
    """An interface as a raw socket: sends frames, hears those that arrive."""

    def __init__(self, name: str) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self._socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
        self._socket.bind((name, ETH_P_ALL))

    def send(self, data: bytes) -> None:
        self._socket.send(data)

    def receive(self) -> Frame:
        """The next frame; fails when patience ends."""
        ready, _, _ = select.select([self._socket], [], [], PATIENCE_S)
        assert ready, "no frame arrived"
        return Frame.read(self._socket.recv(65536))

    def is_quiet(self) -> bool:
        """True where nothing has arrived that was not yet received."""
        return not select.select([self._socket], [], [], 0)[0]

    def close(self) -> None:
        self._socket.close()


class Controller:
    """The launcher as a child process of this namespace."""

    def __init__(self, keeper_pid: int, plan: Path) -> None:
        with network_of(keeper_pid):
            self._process = subprocess.Popen(
                [sys.executable, "-m", "controllers.launcher", "--plan", plan, "--port", "0"],
                cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.target = f"tcp:127.0.0.1:{self.event()['port']}"

    def event(self) -> dict[str, Any]:
        """The next event; a hang ends with the test's time-out."""
        assert self._process.stdout is not None
        event: dict[str, Any] = json.loads(self._process.stdout.readline())
        return event

    def until(self, name: str) -> list[dict[str, Any]]:
        """Every event up to and with the first of this name."""
        events = [self.event()]
        while events[-1]["event"] != name:
            events.append(self.event())
        return events

    def tell(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"cmd": command}) + "\n")
        self._process.stdin.flush()

    def verify(self) -> dict[str, Any]:
        """Have every rule read back."""
        self.tell("verify")
        return self.until("verified")[-1]

    def kill(self) -> None:
        """SIGKILL, reap, close the pipes; again does no harm."""
        self._process.kill()
        with self._process:
            pass


class Rig:
    """Every switch of `tiny` on a private Open vSwitch, with a controller."""

    def __init__(self, keeper_pid: int, folder: Path) -> None:
        self.keeper_pid = keeper_pid
        self.graph: Graph = build_graph(TINY)
        self.plan = build_plan(self.graph)
        self.plan_path = folder / "plan.json"
        self.plan_path.write_text(json.dumps(self.plan.to_dict()))
        self.ovs = PrivateOvs(folder / "ovs")
        self._interfaces: dict[str, Interface] = {}
        self._undo = contextlib.ExitStack()

    def start(self) -> None:
        with network_of(self.keeper_pid):
            subprocess.run(["ip", "-batch", "-"], input=_links(self.graph), check=True)
            self.ovs.start()
        self._undo.callback(self.ovs.stop)
        self.ovs.add_bridges([
            Bridge(switch.name, switch.dpid,
                   tuple((port.interface, port.number) for port in switch.ports))
            for switch in self.graph.switches
        ])
        self.connect()

    def connect(self) -> list[dict[str, Any]]:
        """Start a controller and wait until it is ready; gives its events."""
        self.controller = Controller(self.keeper_pid, self.plan_path)
        self._undo.callback(self.controller.kill)
        self.ovs.set_controllers([s.name for s in self.graph.switches], self.controller.target)
        return self.controller.until("ready")

    def stop(self) -> None:
        """End and close whatever was started and opened."""
        self._undo.close()

    def interface(self, name: str) -> Interface:
        """The raw socket on an interface, opened the first time it is asked for."""
        if name not in self._interfaces:
            with network_of(self.keeper_pid):
                self._interfaces[name] = Interface(name)
            self._undo.callback(self._interfaces[name].close)
        return self._interfaces[name]

    def nic(self, host: int, plane: int) -> Interface:
        return self.interface(self.graph.hosts[host].nic_ports[plane].interface)

    def nics(self) -> Iterator[Interface]:
        for link in self.graph.links:
            if link.kind == "nic":
                yield self.interface(link.a.interface)

    def ends_of(self, path: FabricPath) -> list[tuple[str, str]]:
        """(interface out, interface in) of every link of a path, sender first."""
        nodes = [self.graph.hosts[path.src].name, *path.switches]
        nodes.append(self.graph.hosts[path.dst].name)
        ports = [self.graph.port_towards(a, b) for a, b in pairwise(nodes)]
        return [(port.interface, port.peer.interface) for port in ports]


def _links(graph: Graph) -> bytes:
    lines = []
    for link in graph.links:
        a, b = (f"{end.interface} index {end.slot} address {end.mac} mtu {MTU_BYTES}"
                for end in (link.a, link.b))
        lines.append(f"link add {a} type veth peer name {b}")
        lines += [f"link set {end.interface} up" for end in (link.a, link.b)]
    return "\n".join(lines).encode()
