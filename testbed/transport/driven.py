"""The shape of what is driven: the one seam between a transport and who runs it.

A simulator drives it in virtual time, an agent over sockets and a clock; a transport's
endpoint has this shape, and so has an application that is wrapped around one.
"""

from __future__ import annotations

from typing import Protocol


class Driven(Protocol):
    """What a simulator or an agent drives: the transport's endpoint has this shape.

    ``now`` and deadlines are emulated ns, ports count from 0 (= plane), a set of ports
    is an int mask, a datagram is everything behind the Ethernet header.
    """

    def receive(self, port: int, datagram: bytes, now: int, /) -> None:
        """A datagram has arrived at a port."""

    def transmit(self, now: int, free_ports: int, /) -> tuple[int, bytes] | None:
        """The next datagram and one of these ports for it, None where there is none."""

    def next_deadline(self) -> int | None:
        """When ``on_deadline`` is wanted; it may change with every call."""

    def on_deadline(self, now: int, /) -> None:
        """The deadline has come."""

    def on_ports_changed(self, up_ports: int, now: int, /) -> None:
        """The ports that have carrier from now on."""
