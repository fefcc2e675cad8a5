"""What a workload is on one host: something that posts, and hears of what completes.

A program knows no socket and no clock. It is told the time, in emulated ns, and acts by
posting through the channels it was made with; an :class:`~workloads.application.Application`
drives it. Everything it returns is JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from testbed.transport.mrc.completion import Completion
from workloads.connections import Channel


class Program(Protocol):
    """One host's part of a workload.

    A failed QP is no exception: it is recorded, and nothing more is posted on it.
    """

    def start(self, now_ns: int) -> None:
        """Begin: the channels are connected."""

    def on_completion(self, channel: Channel, completion: Completion, now_ns: int) -> None:
        """A work request of this channel has ended, well or badly."""

    def next_timer_ns(self) -> int | None:
        """When ``on_timer`` is wanted, None for never; only calls of this class move it."""

    def on_timer(self, now_ns: int) -> None:
        """That time has come; the timer must move."""

    def busy_until_ns(self) -> int | None:
        """Until when it may go on without anything completing, as it computes, say; or None."""

    def stop(self, now_ns: int) -> None:
        """Post nothing more."""

    @property
    def is_done(self) -> bool:
        """Nothing posted is unacknowledged, and nothing more will be posted."""

    def progress(self) -> dict[str, int]:
        """``bytes_done`` and ``messages_done`` so far: cheap, asked a few times a second."""

    def result(self) -> dict[str, Any]:
        """What was measured; ``channels`` is a list with one row per sending channel."""

    def verify(self, peers: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
        """Compare the target buffers with what the peers of these connections wrote.

        ``peers`` holds the peer's row of each connection to look at. It means something
        only where every write the peer posted has completed. Returns ``checked_bytes``,
        ``wrong_bytes``, ``first_wrong`` (None or where) and ``unchecked`` connections.
        """
