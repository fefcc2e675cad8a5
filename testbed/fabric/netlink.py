"""One thread for all netlink sockets of an instance.

pyroute2 opens a socket per calling thread, lazily, in whatever namespace that
thread is in: an `IPRoute` made in a host's namespace and used from another thread
silently talks to another namespace. So sockets are made and used on one thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from testbed.errors import TestbedError
from testbed.fabric.namespaces import network_of

_Result = TypeVar("_Result")


class NetlinkThread:
    """Sockets by node name; "" is the namespace of the thread that made this object."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "netlink")
        self._sockets: dict[str, IPRoute] = {}

    def run(self, work: Callable[[], _Result]) -> _Result:
        """Do ``work`` on the netlink thread and wait for it; its errors come out here."""
        if threading.current_thread().name.startswith("netlink"):
            return work()
        try:
            return self._pool.submit(work).result()
        except NetlinkError as error:
            raise TestbedError(f"the kernel refused a network change: {error.args[-1]}; "
                               "run `testbed doctor`") from error

    def open(self, node: str, pid: int | None = None) -> None:
        """Make the socket of a node in the namespace of ``pid`` (None: the own one)."""
        self.run(lambda: self._open(node, pid))

    def socket(self, node: str) -> IPRoute:
        """The socket of this node, or of the instance's namespace; inside `run` only."""
        assert threading.current_thread().name.startswith("netlink"), "use run()"
        return self._sockets.get(node, self._sockets[""])

    def nodes(self) -> list[str]:
        """Names of all nodes with a socket of their own, and "" for the instance."""
        return list(self._sockets)

    def close(self) -> None:
        """Close every socket and end the thread."""
        self.run(lambda: [ipr.close() for ipr in self._sockets.values()])
        self._pool.shutdown()

    def _open(self, node: str, pid: int | None) -> None:
        if pid is None:
            self._sockets[node] = IPRoute()
            return
        with network_of(pid):
            self._sockets[node] = IPRoute()
