"""A bench for the switch port program: a sender, one port, a receiver.

Namespaces here have no name: each lives as long as a descriptor of this process
holds it, so a test that dies leaves nothing behind. Frames are written and read
with `struct`, and random decisions foretold, independently of the code under test.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path
from statistics import median
from typing import Any, Self

from pyroute2 import IPRoute

from testbed.fabric import shaping
from testbed.fabric.bpf import PortProgram
from testbed.fabric.portmap import PortConfig, PortMap
from testbed.fabric.shaping import PortTraffic
from testbed.metrics.ports import PortCounters, Tally
from topologies.numbers import PortThresholds

CLONE_NEWNET = 0x4000_0000
ETH_P_ALL = 3
SOL_PACKET = 263
PACKET_IGNORE_OUTGOING = 23
SO_TIMESTAMPNS = 35
SO_RCVBUFFORCE = 33
RECEIVE_BUFFER_BYTES = 64 << 20
RTNH_F_ONLINK = 4
PATIENCE_S = 20.0  # how long a condition may take before the test gives up

PORT = 1000  # slot and interface index of the port under test
PEER = 1001

FAST_BPS = 400_000_000
FROZEN_BPS = 8  # a virtual queue at one byte per second: it only grows, whatever the clock
WIDE_OPEN = PortThresholds(0, 0, 0, 1 << 30, 1 << 30)
DATA_BYTES = 4238

HOST_A = IPv6Address("2001:db8:0:1::1")
HOST_B = IPv6Address("2001:db8:0:2::7")
OUTER_DESTINATION = IPv6Address("fcbb:bbbb:2104:2203:2109:2309::")

_libc = ctypes.CDLL(None, use_errno=True)


# --- Namespaces ----------------------------------------------------------------------


def _check(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), what)


def _own_network() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


class Network:
    """A network namespace without a name, IPv6 of the kernel switched off in it."""

    def __init__(self) -> None:
        home = _own_network()
        try:
            _check(_libc.unshare(CLONE_NEWNET), "unshare")
            self.fd = _own_network()
            set_ipv6(False, "default")
            self.ipr = IPRoute()
        finally:
            _check(_libc.setns(home, CLONE_NEWNET), "setns")
            os.close(home)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """This thread is in the namespace for the body."""
        home = _own_network()
        try:
            _check(_libc.setns(self.fd, CLONE_NEWNET), "setns")
            yield
        finally:
            _check(_libc.setns(home, CLONE_NEWNET), "setns")
            os.close(home)

    def close(self) -> None:
        """The namespace ends with its last descriptor, its interfaces with it."""
        self.ipr.close()
        os.close(self.fd)


def set_ipv6(is_on: bool, interface: str) -> None:
    """Switch the kernel's IPv6 on an interface of the present namespace."""
    path = Path(f"/proc/sys/net/ipv6/conf/{interface}/disable_ipv6")
    path.write_text("0" if is_on else "1")


def join(a: Network, index_a: int, b: Network, index_b: int, mtu: int = 9000) -> None:
    """A veth pair `e<index>`, both ends up."""
    attributes = [
        ("IFLA_IFNAME", f"e{index_b}"), ("IFLA_MTU", mtu), ("IFLA_NET_NS_FD", b.fd),
    ]  # fmt: skip
    # pyroute2's own `peer` argument would lose the index.
    data = {"attrs": [("VETH_INFO_PEER", {"index": index_b, "attrs": attributes})]}
    info = {"attrs": [("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", data)]}
    a.ipr.link("add", ifname=f"e{index_a}", index=index_a, mtu=mtu, IFLA_LINKINFO=info)
    a.ipr.link("set", index=index_a, state="up")
    b.ipr.link("set", index=index_b, state="up")


# --- Frames --------------------------------------------------------------------------


def make_frame(
    size: int = DATA_BYTES,
    *,
    dscp: int = 4,
    ecn: int = 2,
    ev: int = 0x0203_0000,
    source: IPv6Address = HOST_A,
    destination: IPv6Address = HOST_B,
    outer_destination: IPv6Address = OUTER_DESTINATION,
    mac: bytes = bytes.fromhex("020000000002"),
    number: int = 0,
) -> bytes:
    """An SRv6 frame of ``size`` bytes with the Ethernet header, at least 106.

    The four bytes after UDP are ``number``; the rest counts up.
    """
    label = ev & 0xFFFF
    word = 6 << 28 | dscp << 22 | ecn << 20 | label
    udp_bytes = size - 94
    body = (number.to_bytes(4, "big") + bytes(range(256)) * (size // 256 + 1))[: size - 102]
    return b"".join((
        mac, bytes.fromhex("020000000001"), b"\x86\xdd",
        struct.pack("!IHBB", word, size - 54, 41, 64), source.packed, outer_destination.packed,
        struct.pack("!IHBB", word, udp_bytes, 17, 64), source.packed, destination.packed,
        struct.pack("!HHHH", ev >> 16, 4791, udp_bytes, 0),
        body,
    ))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Decoded:
    """The fields of a frame the port may touch, and the number `make_frame` gave it."""

    size: int
    outer_length: int
    inner_length: int
    udp_length: int
    outer_dscp: int
    inner_dscp: int
    outer_ecn: int
    inner_ecn: int
    outer_label: int
    inner_label: int
    number: int


def decode(frame: bytes) -> Decoded:
    """Read a frame of `make_frame` back at fixed offsets."""
    outer, outer_length = struct.unpack_from("!IH", frame, 14)
    inner, inner_length = struct.unpack_from("!IH", frame, 54)
    udp_length, _, number = struct.unpack_from("!HHI", frame, 98)
    return Decoded(
        len(frame), outer_length, inner_length, udp_length,
        outer >> 22 & 0x3F, inner >> 22 & 0x3F, outer >> 20 & 3, inner >> 20 & 3,
        outer & 0xFFFFF, inner & 0xFFFFF, number,
    )  # fmt: skip


def random_at(seed: int, index: int) -> int:
    """splitmix64 by position, written again from the paper to foretell the program."""
    mask = 2**64 - 1
    z = (seed + (index + 1) * 0x9E3779B97F4A7C15) & mask
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & mask
    z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
    return z ^ z >> 31


def port_random(seed: int, slot: int, frame: int) -> tuple[int, int, int, int]:
    """The four 32-bit values of a port's n-th frame: loss, ECN, corruption, which bit."""
    stream = random_at(seed, slot)
    first, second = random_at(stream, 2 * frame), random_at(stream, 2 * frame + 1)
    low = 2**32 - 1
    return first >> 32, first & low, second >> 32, second & low


# --- Sockets -------------------------------------------------------------------------


class Sender:
    """A packet socket that puts frames on one interface."""

    def __init__(self, network: Network, index: int) -> None:
        with network.entered():
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            self.socket.bind((f"e{index}", 0))
        self.socket.setblocking(False)

    def send(self, *frames: bytes) -> None:
        """Send each frame; the port never pushes back, so this never blocks."""
        for frame in frames:
            self.socket.send(frame)


class Receiver:
    """A packet socket that takes what arrives at one interface, with kernel times."""

    def __init__(self, network: Network, index: int) -> None:
        with network.entered():
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            self.socket.bind((f"e{index}", ETH_P_ALL))
        self.socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
        self.socket.setblocking(False)

    def receive(self, count: int) -> list[bytes]:
        """The next ``count`` frames; AssertionError if they do not come in time."""
        return [frame for _, frame in self.timed(count)]

    def timed(self, count: int) -> Iterator[tuple[int, bytes]]:
        """The next ``count`` frames, each after its kernel receive time in ns."""
        for received in range(count):
            ready, _, _ = select.select([self.socket], [], [], PATIENCE_S)
            assert ready, f"only {received} of {count} frames arrived"
            frame, control, _, _ = self.socket.recvmsg(1 << 14, 64)
            seconds, nanoseconds = struct.unpack("qq", control[0][2])
            yield seconds * 10**9 + nanoseconds, frame

    def pending(self) -> list[bytes]:
        """What has arrived and was not taken yet."""
        frames = []
        with contextlib.suppress(BlockingIOError):
            while True:
                frames.append(self.socket.recv(1 << 14))
        return frames


# --- The rig -------------------------------------------------------------------------


class PortRig:
    """Sender, one port (slot `PORT`), receiver. A context manager.

    ``config`` is the port's; ``drain_rate_bps`` is what HTB drains at, None for an
    unshaped port. They differ on purpose where a test wants the virtual queue to
    stand still (`FROZEN_BPS`) while frames go through at once.
    """

    def __init__(self, config: PortConfig, drain_rate_bps: int | None = FAST_BPS) -> None:
        self._config = config
        self._drain_rate_bps = drain_rate_bps
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self.near, self.far = self._new(Network), self._new(Network)
        join(self.near, PORT, self.far, PEER)
        self.program = self._stack.enter_context(PortProgram(slots=2048))
        self.ports = PortMap(self.program)
        self.ports.write(PORT, self._config)
        if self._drain_rate_bps is None:
            shaping.attach_unshaped(self.near.ipr, PORT, self.program.fd)
        else:
            shaping.attach(self.near.ipr, PORT, self._drain_rate_bps, self.program.fd)
        self.sender = Sender(self.near, PORT)
        self.receiver = Receiver(self.far, PEER)
        self._stack.callback(self.sender.socket.close)
        self._stack.callback(self.receiver.socket.close)
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def _new(self, kind: Callable[[], Network]) -> Network:
        network = kind()
        self._stack.callback(network.close)
        return network

    @property
    def counters(self) -> PortCounters:
        """The port's counters, conservation checked."""
        counters = self.ports.read(PORT)
        assert_conserved(counters)
        return counters

    @property
    def traffic(self) -> PortTraffic:
        """What the kernel counted behind the port."""
        return shaping.read_traffic(self.near.ipr)[PORT]


    @property
    def waiting(self) -> Tally:
        """What waits in the port's queues, read without its other counters."""
        return shaping.read_waiting(self.near.ipr, PORT)


class SeriesRig:
    """Sender, a namespace that forwards through two ports in series, receiver.

    In the middle namespace frames come in at 1001, leave through port 1002, come in
    again at its other end 1003, and leave through port 1004. Which way out is decided
    by the way in, as the destination stays the same. A context manager.
    """

    PORTS = (1002, 1004)

    def __init__(self, first: PortConfig, second: PortConfig) -> None:
        self._configs = (first, second)
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        near, self.middle, far = (self._network() for _ in range(3))
        join(near, 1000, self.middle, 1001)
        join(self.middle, 1002, self.middle, 1003)
        join(self.middle, 1004, far, 1005)
        self._forward(1001, 1002)
        self._forward(1003, 1004)
        program = self._stack.enter_context(PortProgram(slots=2048))
        self.ports = PortMap(program)
        for slot, config in zip(self.PORTS, self._configs, strict=True):
            self.ports.write(slot, config)
            shaping.attach(self.middle.ipr, slot, FAST_BPS, program.fd)
        self.sender, self.receiver = Sender(near, 1000), Receiver(far, 1005)
        self._stack.callback(self.sender.socket.close)
        self._stack.callback(self.receiver.socket.close)
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def _network(self) -> Network:
        network = Network()
        self._stack.callback(network.close)
        return network

    def _mac(self, index: int) -> str:
        return self.middle.ipr.get_links(index)[0].get_attr("IFLA_ADDRESS")

    def _forward(self, way_in: int, way_out: int) -> None:
        """What comes in at one interface leaves through the other, to whoever is there."""
        ipr = self.middle.ipr
        with self.middle.entered():
            for index in (way_in, way_out):
                Path(f"/proc/sys/net/ipv6/conf/e{index}/addr_gen_mode").write_text("1")
                set_ipv6(True, f"e{index}")
            Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")
        # Both ends of a veth pair in one namespace: the neighbour is the other end.
        other = self._mac(way_out + 1) if way_out == 1002 else "02:00:00:00:00:05"
        ipr.neigh("add", dst="fe80::1", lladdr=other, ifindex=way_out, state="permanent")
        ipr.route("add", family=socket.AF_INET6, dst="::/0", gateway="fe80::1",
                  oif=way_out, table=way_in, flags=RTNH_F_ONLINK)  # fmt: skip
        ipr.rule("add", family=socket.AF_INET6, iifname=f"e{way_in}", table=way_in,
                 priority=way_in)  # fmt: skip

    def addressed(self, frames: list[bytes]) -> list[bytes]:
        """The frames, sent to the interface where the middle namespace takes them."""
        mac = bytes.fromhex(self._mac(1001).replace(":", ""))
        return [mac + frame[6:] for frame in frames]

    @property
    def counters(self) -> tuple[PortCounters, PortCounters]:
        """Both ports' counters, conservation checked."""
        first, second = (self.ports.read(slot) for slot in self.PORTS)
        assert_conserved(first)
        assert_conserved(second)
        return first, second


def assert_conserved(counters: PortCounters) -> None:
    """Every frame and byte offered is passed, dropped by a cause, or cut off."""
    assert counters.unexplained == Tally(0, 0), counters


def wait_until(condition: Callable[[], Any], what: str) -> None:
    """Poll until the condition holds."""
    give_up_at = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up_at, f"never happened: {what}"
        time.sleep(0.002)


# --- Measuring a rate ----------------------------------------------------------------


Arrivals = list[tuple[int, int]]
"""Kernel receive time in ns and size in bytes of every frame."""

_WINDOW_NS, _WINDOW_FRAMES = 2_000_000, 3  # whichever is longer


def keep_busy(drain_rate_bps: int, seconds: float) -> Arrivals:
    """What comes out of a port of this rate that is never idle, data and control together.

    A burst of data fills the port for about ``seconds``; one control frame follows for
    every ten frames that arrive.
    """
    size = DATA_BYTES if drain_rate_bps >= 5_000_000 else 1000
    frames = max(100, int(drain_rate_bps * seconds / 8 / size))
    control = frames // 12
    arrivals: Arrivals = []
    config = PortConfig(drain_rate_bps, WIDE_OPEN)
    with PortRig(config, drain_rate_bps) as rig:
        rig.sender.send(*[make_frame(size)] * frames)
        acknowledgement = make_frame(150, dscp=46, ecn=0)
        sent = 0
        for at_ns, frame in rig.receiver.timed(frames + control):
            arrivals.append((at_ns, len(frame)))
            if len(arrivals) % 10 == 0 and sent < control:
                rig.sender.send(acknowledgement)
                sent += 1
        assert rig.counters.passed == rig.traffic.sent
        assert rig.counters.passed_control.frames == control
    # The first frames are HTB's burst, and frames that came before the kernel had its
    # receive time stamps switched on (it defers that) carry the time of reading instead.
    return arrivals[len(arrivals) // 5 :]


def mean_rate_bps(arrivals: Arrivals) -> float:
    """Wall-clock bit/s.

    HTB sends a frame first and waits for its length after, so the last one is not in.
    """
    sent_bytes = sum(size for _, size in arrivals[:-1])
    return sent_bytes * 8e9 / (arrivals[-1][0] - arrivals[0][0])


def usual_rate_bps(arrivals: Arrivals) -> float:
    """Wall-clock bit/s half of the time, by windows of some frames.

    A machine that stands still for longer than HTB's burst lasts (0.2 ms at 400 Mb/s) makes
    any mean too low; it spoils the windows it stands still in.
    """
    frame_ns = (arrivals[-1][0] - arrivals[0][0]) / (len(arrivals) - 1)
    step = max(_WINDOW_FRAMES, round(_WINDOW_NS / frame_ns))
    windows = [arrivals[at : at + step + 1] for at in range(0, len(arrivals) - step, step)]
    assert len(windows) >= 5, "too few frames for a rate"
    return median(map(mean_rate_bps, windows))
