"""One data port of the host: an AF_PACKET socket that counts everything it sees.

The kernel's own IPv6 is off on these interfaces; the agent is the only one who
speaks there. What the socket is set up for, and why:

    SO_RCVBUFFORCE, SO_SNDBUFFORCE  a stalled interpreter must not lose frames
    PACKET_IGNORE_OUTGOING          own frames are not received frames
    SO_TIMESTAMPNS                  arrival is when the kernel saw it, not Python
    (no filter on packet type)      frames to another MAC are seen, and counted

When the interface goes down, one receive raises ENETDOWN and sends raise it for
as long: these are port events, not failures. No re-bind is needed after it.
"""

from __future__ import annotations

import errno
import socket
import struct
from dataclasses import dataclass, field
from typing import Any

from testbed.agent.config import PortConfig
from testbed.agent.inbox import SO_TIMESTAMPNS, Inbox
from testbed.errors import MachineError, TestbedError
from topologies.numbers import ETHERTYPE_IPV6

# linux/if_packet.h, asm-generic/socket.h: constants Python's socket module lacks.
_SOL_PACKET = 263
_PACKET_STATISTICS = 6
_PACKET_IGNORE_OUTGOING = 23
_SO_SNDBUFFORCE = 32
_SO_RCVBUFFORCE = 33
_ETH_P_ALL = 0x0003

_STATISTICS = struct.Struct("=II")  # struct tpacket_stats: packets, drops

# What a send or receive says when the interface, not the program, is at fault.
_DOWN = frozenset({errno.ENETDOWN, errno.ENXIO, errno.ENODEV, errno.ENETUNREACH})
_REFUSED = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.EMSGSIZE})


@dataclass(slots=True)
class PortCounters:
    """Frames and bytes with Ethernet header, over the life of the agent.

    `foreign` frames are not of this fabric; `misrouted` ones are, but were meant
    for another host or plane; both are part of `received`. `kernel_drops` were
    lost in the socket and are not. `down_events` counts the times the interface
    was found to have gone down; `send_errors` refused frames by errno name.
    """

    sent: int = 0
    sent_bytes: int = 0
    received: int = 0
    received_bytes: int = 0
    foreign: int = 0
    misrouted: int = 0
    kernel_drops: int = 0
    down_events: int = 0
    send_errors: dict[str, int] = field(default_factory=dict)


class Port:
    """A NIC port. `open` before use, `close` after it.

    `header` is the Ethernet header of every frame that leaves here. Ports of one thread may
    share an `inbox`.
    """

    def __init__(
        self, config: PortConfig, buffer_bytes: int, inbox: Inbox | None = None
    ) -> None:
        self.config = config
        self.header = config.peer_mac + config.mac + ETHERTYPE_IPV6.to_bytes(2, "big")
        self.counters = PortCounters()
        self._buffer_bytes = buffer_bytes
        self._inbox = inbox or Inbox()
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """Bind to the interface.

        Raises MachineError where the kernel refuses a setting, TestbedError where
        the interface is absent or not the one the instance made.
        """
        name = self.config.interface
        try:
            # Protocol 0 receives nothing until bind: no frame of another interface slips in.
            self._socket = sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            self._set_options(sock)
            sock.bind((name, _ETH_P_ALL))
        except OSError as error:
            self.close()
            raise MachineError(
                f"data port {name} cannot be opened ({error}): the agent needs root and "
                "the interface in its own network namespace"
            ) from None
        self._check_identity(sock)

    def _set_options(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, self._buffer_bytes)
        sock.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, self._buffer_bytes)
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sock.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)

    def _check_identity(self, sock: socket.socket) -> None:
        """Read back what was bound: a wrong index or MAC would falsify every number."""
        want = (self.config.slot, self.config.mac)
        mac: Any = sock.getsockname()[4]
        have = (socket.if_nametoindex(self.config.interface), mac)
        if have == want:
            return
        self.close()
        raise TestbedError(
            f"data port {self.config.interface} has index {have[0]}, MAC {have[1].hex(':')}, "
            f"expected {want[0]} and {want[1].hex(':')}: the host was not built from this "
            "topology, take the instance down and up again"
        )

    def close(self) -> None:
        """Give the socket back; closing twice is fine."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def fileno(self) -> int:
        """The descriptor to poll for reading."""
        return self._sock.fileno()

    @property
    def _sock(self) -> socket.socket:
        assert self._socket is not None, "port used before open() or after close()"
        return self._socket

    def send_datagram(self, datagram: bytes) -> bool:
        """Send a datagram to the switch this port is linked to; see `send`."""
        return self.send(self.header + datagram)

    def send(self, frame: bytes) -> bool:
        """Send one whole Ethernet frame; False (and counted) where the port refuses it."""
        assert self._socket is not None, "port used before open() or after close()"
        try:
            self._socket.send(frame)
        except OSError as error:
            if error.errno not in _DOWN | _REFUSED:
                raise
            self._count_error(errno.errorcode[error.errno])
            return False
        counters = self.counters
        counters.sent += 1
        counters.sent_bytes += len(frame)
        return True

    def _count_error(self, name: str) -> None:
        errors = self.counters.send_errors
        errors[name] = errors.get(name, 0) + 1

    def receive(self) -> list[tuple[memoryview, int]]:
        """Frames that wait in the socket, at most `inbox.FRAMES`, each with its arrival.

        Arrival is wall-clock ns (CLOCK_REALTIME), taken by the kernel. Fewer than that many
        are all that waited. The views are valid until the next call of a port with the same
        inbox. Never blocks. Raises TestbedError where a frame has no stamp.
        """
        counters, fd = self.counters, self._sock.fileno()
        while True:
            try:
                frames = self._inbox.receive(fd)
            except OSError as error:
                if error.errno not in _DOWN:
                    raise
                counters.down_events += 1  # said once: what waits is behind it
                continue
            counters.received += len(frames)
            for frame, _ in frames:
                counters.received_bytes += len(frame)
            return frames

    def read_counters(self) -> PortCounters:
        """The counters, brought up to date with the kernel's."""
        raw = self._sock.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, _STATISTICS.size)
        self.counters.kernel_drops += _STATISTICS.unpack(raw)[1]  # reading resets it
        return self.counters
