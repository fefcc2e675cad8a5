"""When silence means something: the two clocks of a requester.

The *tail* clock runs from the last word in either direction. After two round trips
without any, a question goes out (a reliability probe), again after twice as long each time;
it costs no PSN and repairs a lost tail within a few RTTs.

The *timer* of section 4.9 runs on the oldest unacknowledged packet, starts anew with each
advance of the left edge, and ends the QP when its retries are used up.
"""

from __future__ import annotations

from enum import Enum

from testbed.transport.mrc.choices import TAIL_PROBE_BASE_RTTS
from testbed.transport.mrc.reliability.retry import RetrySchedule

_SRTT_WEIGHT = 8
_MAX_BACKOFF = 6


class Due(Enum):
    """What has come due."""

    NOTHING = "nothing"
    QUESTION = "question"
    TIMEOUT = "timeout"


class Silence:
    """Both clocks of one QP; ``heard_at_ns`` and ``sent_at_ns`` are written by its owner.

    ``base_rtt_ns`` is the round trip to begin with, ``srtt_ns`` the smoothed one.
    """

    __slots__ = ("_backoff", "_base_rtt_ns", "_timer_at_ns", "heard_at_ns", "retry", "sent_at_ns",
                 "srtt_ns")  # fmt: skip

    def __init__(self, base_rtt_ns: int, retry: RetrySchedule) -> None:
        self.retry = retry
        self.srtt_ns = base_rtt_ns
        self.heard_at_ns = self.sent_at_ns = 0
        self._base_rtt_ns = base_rtt_ns
        self._timer_at_ns = 0
        self._backoff = 0

    @property
    def patience_ns(self) -> int:
        """How long an answer may take before its absence means something."""
        srtt_ns, base_rtt_ns = self.srtt_ns, self._base_rtt_ns
        return TAIL_PROBE_BASE_RTTS * (srtt_ns if srtt_ns > base_rtt_ns else base_rtt_ns)

    def next_at_ns(self) -> int:
        """When the first of the two comes due."""
        # Looked at after every answer, hence without a call: see patience_ns.
        srtt_ns, base_rtt_ns = self.srtt_ns, self._base_rtt_ns
        patience_ns = TAIL_PROBE_BASE_RTTS * (srtt_ns if srtt_ns > base_rtt_ns else base_rtt_ns)
        heard_at_ns, sent_at_ns = self.heard_at_ns, self.sent_at_ns
        since_ns = heard_at_ns if heard_at_ns > sent_at_ns else sent_at_ns
        tail_at_ns = since_ns + (patience_ns << self._backoff)
        return tail_at_ns if tail_at_ns < self._timer_at_ns else self._timer_at_ns

    def on_rtt(self, rtt_ns: int, base_rtt_ns: int) -> None:
        """A round trip was measured; the base RTT may have been learned anew."""
        self.srtt_ns += (rtt_ns - self.srtt_ns) // _SRTT_WEIGHT
        self._base_rtt_ns = base_rtt_ns

    def on_heard(self, now_ns: int) -> None:
        """The peer has said something."""
        self.heard_at_ns = now_ns
        self._backoff = 0

    def on_progress(self, now_ns: int) -> None:
        """The left edge moved, or a message completed: all retries are available again."""
        self.retry.on_progress()
        self._timer_at_ns = now_ns + self.retry.interval_ns

    def restart(self, now_ns: int) -> None:
        """The timer runs from now."""
        self._timer_at_ns = now_ns + self.retry.interval_ns

    def due(self, now_ns: int) -> Due:
        """What has come due by now; a question is taken as asked, its next comes later."""
        if now_ns >= self._timer_at_ns:
            return Due.TIMEOUT
        if now_ns < self.next_at_ns():
            return Due.NOTHING
        self._backoff = min(self._backoff + 1, _MAX_BACKOFF)
        self.sent_at_ns = now_ns
        return Due.QUESTION
