"""How long to wait for an answer, and how often to try again before a QP gives up.

RoCE has one count of retries at one interval. MRC has two (facts sheet 4.9, spec Table
10-1): first ``linear_cnt`` retries at the interval T = 1.024 us x 2^timeout, for paths
that fail and are replaced within microseconds; then ``exp_cnt`` retries, each waiting
twice as long as the one before, for a peer that is away. Any progress starts anew.
"""

from __future__ import annotations

from testbed.transport.mrc.choices import MAX_TIMEOUT_EXPONENT, RETRY_FOREVER, TIMEOUT_UNIT_NS

MAX_LINEAR_COUNT = 7
MAX_INTERVAL_NS = TIMEOUT_UNIT_NS << MAX_TIMEOUT_EXPONENT


class RetrySchedule:
    """The intervals of one QP's retransmission timer.

    ``timeout_exponent`` 0..24, ``linear_count`` 0..7, ``exp_count`` 0..25 where 25 means
    for ever; ValueError beyond (ranges: facts sheet 8.2). ``retries`` counts those made
    since the last progress, ``interval_ns`` is how long the current try may stay unanswered.
    """

    __slots__ = ("exp_count", "interval_ns", "linear_count", "retries", "timeout_exponent")

    def __init__(self, timeout_exponent: int, linear_count: int, exp_count: int) -> None:
        _check("timeout", timeout_exponent, MAX_TIMEOUT_EXPONENT)
        _check("retry.linear_cnt", linear_count, MAX_LINEAR_COUNT)
        _check("retry.exp_cnt", exp_count, RETRY_FOREVER)
        self.timeout_exponent = timeout_exponent
        self.linear_count = linear_count
        self.exp_count = exp_count
        self.retries = 0
        self.interval_ns = self._interval_after_ns(0)

    @property
    def budget_ns(self) -> int | None:
        """From the first transmission to giving up without any answer; None for ever."""
        if self.exp_count == RETRY_FOREVER:
            return None
        tries = range(self.linear_count + self.exp_count + 1)
        return sum(self._interval_after_ns(retries) for retries in tries)

    def on_progress(self) -> None:
        """The oldest unacknowledged PSN moved on: both counts start again."""
        if self.retries:
            self.retries = 0
            self.interval_ns = self._interval_after_ns(0)

    def on_expired(self) -> bool:
        """The interval passed in silence: True for one more retry, False when used up."""
        is_forever = self.exp_count == RETRY_FOREVER
        if not is_forever and self.retries >= self.linear_count + self.exp_count:
            return False
        self.retries += 1
        self.interval_ns = self._interval_after_ns(self.retries)
        return True

    def _interval_after_ns(self, retries: int) -> int:
        """T for the linear ones, T x 2^n for the n-th after them, capped ([24])."""
        doublings = max(retries - self.linear_count, 0)
        exponent = min(self.timeout_exponent + doublings, MAX_TIMEOUT_EXPONENT)
        return TIMEOUT_UNIT_NS << exponent


def _check(name: str, value: int, most: int) -> None:
    if not 0 <= value <= most:
        raise ValueError(f"{name} is {value}: give 0 to {most}")
