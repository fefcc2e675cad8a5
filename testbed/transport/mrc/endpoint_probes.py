"""Endpoint requests on their way and whom their answers are for (facts sheet 4.15).

The 16-bit id is private to the requestor and not used again while an answer may be in
flight; an answer later than the time stamp's wrap could not be dated anyway.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from testbed.transport.mrc.clock import WRAP_NS

# on_answer(rtt_ns, port the response came in on, now_ns)
OnAnswer = Callable[[int, int, int], None]

_MAX_OUTSTANDING = 4096


class _Outstanding(NamedTuple):
    sent_at_ns: int
    key: object
    askers: list[OnAnswer]

    def on_answer(self, rtt_ns: int, port: int, now_ns: int) -> None:
        for tell in self.askers:
            tell(rtt_ns, port, now_ns)


class EndpointProbes:
    """Requests that wait for their response, oldest first; at most 4096, then the oldest goes."""

    def __init__(self) -> None:
        self._by_id: dict[int, _Outstanding] = {}
        self._by_key: dict[object, int] = {}
        self._next_id = 0

    def __len__(self) -> int:
        return len(self._by_id)

    def open(self, key: object, on_answer: OnAnswer, now_ns: int) -> int:
        """A request is about to leave; its id. ``key`` says what it asks, for :meth:`join`."""
        self._expire(now_ns)
        if len(self._by_id) >= _MAX_OUTSTANDING:
            self._close(next(iter(self._by_id)))
        while self._next_id in self._by_id:
            self._next_id = self._next_id + 1 & 0xFFFF
        request_id = self._next_id
        self._next_id = request_id + 1 & 0xFFFF
        self._by_id[request_id] = _Outstanding(now_ns, key, [on_answer])
        self._by_key[key] = request_id
        return request_id

    def join(self, key: object, on_answer: OnAnswer, since_ns: int) -> bool:
        """Wait for an answer somebody else asked for since then; False where nobody did.

        QPs to one peer share their EV probes so (choice 22).
        """
        request_id = self._by_key.get(key)
        waiting = None if request_id is None else self._by_id.get(request_id)
        if request_id is None or waiting is None or waiting.sent_at_ns < since_ns:
            return False
        waiting.askers.append(on_answer)
        return True

    def answered(self, request_id: int, now_ns: int) -> OnAnswer | None:
        """Whom to tell of this response; None where nobody waits (any more)."""
        self._expire(now_ns)
        return self._close(request_id)

    def _expire(self, now_ns: int) -> None:
        """Forget what can no longer be dated."""
        while self._by_id:
            oldest = next(iter(self._by_id))
            if self._by_id[oldest].sent_at_ns > now_ns - WRAP_NS:
                return
            self._close(oldest)

    def _close(self, request_id: int) -> OnAnswer | None:
        waiting = self._by_id.pop(request_id, None)
        if waiting is None:
            return None
        if self._by_key.get(waiting.key) == request_id:
            del self._by_key[waiting.key]
        return waiting.on_answer
