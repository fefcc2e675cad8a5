"""One schedule under way on one rank: what may be sent now, what is still to come.

    start          copies are taken, and what waits for nothing is posted
    on_received    a message is there: it is added if it is to be, and what waited is posted
    on_sent        a message was acknowledged
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from workloads.collectives.schedule import Receive, Schedule, Send
from workloads.params import WorkloadError

if TYPE_CHECKING:  # numpy is imported by those who compute, not by those who plan
    from workloads.collectives.tensors import Tensors

Post = Callable[[Send, int], None]
"""Post this message, at this time in ns."""


class Exchange:
    """``schedule`` on ``tensors`` (None where no message has any elements).

    Complete when every receive is, and every message sent was acknowledged, so that the
    areas may be used again.
    """

    __slots__ = ("_complete", "_early", "_followers", "_index", "_missing", "_post", "_receives",
                 "_sends", "_successors", "_tensors", "copies", "unacknowledged", "unreceived",
                 "unsent")  # fmt: skip

    def __init__(self, schedule: Schedule, tensors: Tensors | None, post: Post) -> None:
        self._sends, self._receives = schedule.sends, schedule.receives
        self.copies = schedule.copies
        self._tensors, self._post = tensors, post
        self._index = {(item.peer, item.tag): i for i, item in enumerate(schedule.receives)}
        self._complete = bytearray(len(schedule.receives))
        self._early: set[int] = set()  # arrived, but others come before them
        self._missing = [len(send.after) for send in schedule.sends]
        self._followers: dict[int, list[int]] = {}  # sends that wait, by receive
        self._successors: dict[int, list[int]] = {}  # receives that wait, by receive
        self.unreceived = len(schedule.receives)
        self.unsent = len(schedule.sends)
        self.unacknowledged = 0
        for number, send in enumerate(schedule.sends):
            for receive in send.after:
                self._followers.setdefault(receive, []).append(number)
        for number, item in enumerate(schedule.receives):
            for receive in item.after:
                self._successors.setdefault(receive, []).append(number)

    @property
    def is_complete(self) -> bool:
        """Nothing is to come, to send, or to be acknowledged."""
        return not (self.unreceived or self.unsent or self.unacknowledged)

    @property
    def awaited(self) -> set[int]:
        """The ranks of which a message is still to come."""
        return {item.peer for number, item in enumerate(self._receives)
                if not self._complete[number] and number not in self._early}

    def start(self, now_ns: int) -> None:
        """Begin."""
        if self._tensors is not None:
            for span in self.copies:
                self._tensors.copy(span)
        for number, missing in enumerate(self._missing):
            if not missing:
                self._send(number, now_ns)

    def on_received(self, peer: int, tag: int, now_ns: int) -> None:
        """Message ``tag`` of rank ``peer`` is there. Raises WorkloadError where none is due."""
        number = self._index.get((peer, tag))
        if number is None or self._complete[number] or number in self._early:
            raise WorkloadError(
                f"message {tag} of rank {peer} is not due or came twice: its sender and this "
                "rank do not run the same collective"
            )
        self._early.add(number)
        self._complete_from(number, now_ns)

    def on_sent(self) -> None:
        """A message was acknowledged."""
        self.unacknowledged -= 1

    def _complete_from(self, number: int, now_ns: int) -> None:
        """Complete this receive if its turn has come, and those that waited for it."""
        turn = [number]
        while turn:
            number = turn.pop()
            receive = self._receives[number]
            if number not in self._early or not all(self._complete[i] for i in receive.after):
                continue
            self._early.remove(number)
            self._apply(receive)
            self._complete[number] = 1
            self.unreceived -= 1
            for follower in self._followers.get(number, ()):
                self._missing[follower] -= 1
                if not self._missing[follower]:
                    self._send(follower, now_ns)
            turn += self._successors.get(number, ())

    def _apply(self, receive: Receive) -> None:
        if receive.own is not None and receive.count:
            assert self._tensors is not None
            self._tensors.add(receive)

    def _send(self, number: int, now_ns: int) -> None:
        self.unsent -= 1
        self.unacknowledged += 1
        self._post(self._sends[number], now_ns)
