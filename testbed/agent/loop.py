"""The event loop: descriptors that call back, and waiting until a nanosecond.

epoll alone waits in milliseconds, which is a hundred frames; select() waits in
microseconds but only for few descriptors. So the loop selects on one descriptor,
the epoll set itself, and then asks the set what is ready.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable


class Loop:
    """Level-triggered; single-threaded. `wait` runs the callbacks of ready descriptors."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[], None]] = {}

    def add(self, fd: int, on_ready: Callable[[], None], events: int = select.EPOLLIN) -> None:
        """Call `on_ready` whenever `fd` has one of `events`, an error or a hang-up.

        The callback must consume what made it ready (an error by reading it), or
        it is called again at once. Raises PermissionError for a regular file.
        """
        self._epoll.register(fd, events)
        self._callbacks[fd] = on_ready

    def remove(self, fd: int) -> None:
        """Forget a descriptor that was added; call it before closing the descriptor."""
        self._epoll.unregister(fd)
        del self._callbacks[fd]

    def wait(self, until_ns: int | None) -> None:
        """Wait until something is ready or CLOCK_MONOTONIC reaches `until_ns` (None: forever).

        Descriptors are looked at also where the time has passed already: after a
        stop of the whole process, what waits in a pipe comes before the deadline.
        """
        timeout_s = None if until_ns is None else max(0, until_ns - time.monotonic_ns()) / 1e9
        ready, _, _ = select.select([self._epoll], [], [], timeout_s)
        if not ready:
            return
        for fd, _ in self._epoll.poll(0):
            callback = self._callbacks.get(fd)  # an earlier callback may have removed it
            if callback is not None:
                callback()

    def close(self) -> None:
        """Give the epoll set back."""
        self._epoll.close()
