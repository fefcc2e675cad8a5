"""Carrier of the data ports, as the kernel announces it (rtnetlink, RFC 3549).

A netlink socket of our own and not pyroute2: it is forty lines, and its import
would double the start-up time of every agent.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from testbed.errors import TestbedError

_RTM_NEWLINK = 16
_RTM_DELLINK = 17
_RTM_GETLINK = 18
_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_REQUEST_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_GROUP_LINK = 1
_ATTRIBUTE_CARRIER = 33
_IFF_UP = 0x1

_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, pid
_LINK = struct.Struct("=BxHiII")  # family, type, index, flags, change
_ATTRIBUTE = struct.Struct("=HH")  # length, type
_RECEIVE_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class LinkState:
    """One announcement: `has_carrier` is False also for an interface that is down or gone."""

    index: int
    has_carrier: bool


class CarrierWatch:
    """Follows the carrier of some interfaces, by index, and reports the changes."""

    def __init__(self, indexes: frozenset[int]) -> None:
        self._state = dict.fromkeys(indexes, False)
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """Subscribe, then learn the present state. Blocks for one answer of the kernel."""
        self._socket = sock = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
        )
        sock.bind((0, _GROUP_LINK))
        self._refresh()

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
        assert self._socket is not None, "watch used before open() or after close()"
        return self._socket

    def has_carrier(self, index: int) -> bool:
        """Whether this interface can carry frames, as far as was read."""
        return self._state[index]

    def read_changes(self) -> list[LinkState]:
        """The changes since the last call, in order; returns at once."""
        before = dict(self._state)
        changes: list[LinkState] = []
        while True:
            try:
                data = self._sock.recv(_RECEIVE_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return changes
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self._refresh()  # announcements were lost: compare with what is now
                return _differences(before, self._state)
            changes += self._apply(data)

    def _refresh(self) -> None:
        """Ask for all links and read until the dump is done."""
        body = _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        self._sock.send(
            _HEADER.pack(_HEADER.size + len(body), _RTM_GETLINK, _REQUEST_DUMP, 1, 0) + body
        )
        done = False
        while not done:
            data = self._sock.recv(_RECEIVE_BYTES)
            done = any(kind == _NLMSG_DONE for kind, _ in _messages(data))
            self._apply(data)

    def _apply(self, data: bytes) -> list[LinkState]:
        news = []
        for link in link_states(data):
            if self._state.get(link.index, link.has_carrier) != link.has_carrier:
                self._state[link.index] = link.has_carrier
                news.append(link)
        return news


def link_states(data: bytes) -> Iterator[LinkState]:
    """What a buffer of rtnetlink messages says about links."""
    for kind, body in _messages(data):
        if kind == _NLMSG_ERROR:
            code = -struct.unpack_from("=i", body)[0]
            raise TestbedError(f"the kernel refused to list interfaces: {os.strerror(code)}")
        if kind in (_RTM_NEWLINK, _RTM_DELLINK):
            _, _, index, flags, _ = _LINK.unpack_from(body)
            carrier = _carrier(body[_LINK.size :])
            yield LinkState(index, kind == _RTM_NEWLINK and bool(flags & _IFF_UP) and carrier)


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _HEADER.size:
        length, kind, *_ = _HEADER.unpack_from(data)
        if length < _HEADER.size:
            raise TestbedError("a netlink message is shorter than its header: links are lost")
        yield kind, data[_HEADER.size : length]
        data = data[length + 3 & ~3 :]


def _carrier(attributes: bytes) -> bool:
    while len(attributes) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(attributes)
        if kind & 0x3FFF == _ATTRIBUTE_CARRIER:
            return attributes[_ATTRIBUTE.size] == 1
        attributes = attributes[max(_ATTRIBUTE.size, length + 3 & ~3) :]
    return False


def _differences(before: dict[int, bool], after: dict[int, bool]) -> list[LinkState]:
    return [LinkState(i, carrier) for i, carrier in after.items() if before[i] != carrier]
