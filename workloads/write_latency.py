"""One small RDMA write at a time, as `ib_write_lat` does (perftest; MRC paper 5.2.1).

The time from posting to completion is a whole round trip: the write there, its Transport
ACK back. Results hold these; `half_latency` sums up half of them, as perftest reports it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from testbed.transport.mrc.completion import Completion, WcStatus
from workloads.connections import MAX_CONNECTION, Channel, failures
from workloads.content import Content, check_targets, written_by
from workloads.params import Fields, WorkloadError
from workloads.statistics import LatencySummary, summary

KIND = "write-lat"
DEFAULT_SIZE = 2
DEFAULT_WARMUP = 5
MAX_SIZE = 1 << 30
MAX_ITERS = 1_000_000  # each leaves a number in the result
MAX_SLOTS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyPlan:
    """``warmup`` writes of ``size`` bytes that are not measured, then ``iters`` that are.

    Buffers hold ``slots`` messages; ``sends`` is the connection this host sends on, or
    nothing.
    """

    size: int
    iters: int
    warmup: int
    slots: int
    sends: tuple[int, ...]

    def to_params(self) -> dict[str, Any]:
        """As JSON, with its kind; `from_params` reads it back."""
        return {
            "kind": KIND,
            "size": self.size,
            "iters": self.iters,
            "warmup": self.warmup,
            "slots": self.slots,
            "sends": list(self.sends),
        }

    @classmethod
    def from_params(cls, params: object) -> LatencyPlan:
        """Read JSON; raises WorkloadError at the first fault."""
        take = Fields(params, "program")
        take.word("kind", (KIND,))
        plan = cls(
            size=take.integer("size", 1, MAX_SIZE),
            iters=take.integer("iters", 1, MAX_ITERS),
            warmup=take.integer("warmup", 0, MAX_ITERS),
            slots=take.integer("slots", 1, MAX_SLOTS),
            sends=take.integers("sends", 0, MAX_CONNECTION),
        )
        take.finish()
        if len(plan.sends) > 1:
            raise WorkloadError(
                f"program.sends has {len(plan.sends)} connections: give one, writes must not "
                "wait for each other"
            )
        return plan


class WriteLatency:
    """The program; its source buffer must be filled (`fill_sources`) before it starts.

    Raises WorkloadError where a channel does not fit the plan.
    """

    def __init__(self, plan: LatencyPlan, channels: Mapping[int, Channel]) -> None:
        self.plan = plan
        self._channels = channels
        self._channel = self._sending(plan, channels)
        self._content = self._outgoing()
        self._is_posting = self._channel is not None
        self._posted = self._done = self._posted_at_ns = 0
        self._round_trips_ns: list[int] = []

    @staticmethod
    def _sending(plan: LatencyPlan, channels: Mapping[int, Channel]) -> Channel | None:
        if not plan.sends:
            return None
        channel = channels.get(plan.sends[0])
        if channel is None or channel.source.length < plan.size * plan.slots:
            raise WorkloadError(
                f"connection {plan.sends[0]} is not there or its buffer is short of "
                f"{plan.size * plan.slots} bytes: plan it"
            )
        return channel

    def _outgoing(self) -> Content | None:
        channel, plan = self._channel, self.plan
        if channel is None:
            return None
        return written_by(channel.host, channel, plan.size, plan.slots)

    def fill_sources(self) -> None:
        """Make the content of everything that will be sent."""
        if self._channel is not None and self._content is not None:
            self._content.fill(self._channel.source.view)

    # --- Running -----------------------------------------------------------------------

    def start(self, now_ns: int) -> None:
        """Post the first."""
        if self._channel is not None:
            self._post(self._channel, now_ns)

    def on_completion(self, channel: Channel, completion: Completion, now_ns: int) -> None:
        """Take the time, and post the next at once."""
        if completion.status is not WcStatus.SUCCESS:
            self._is_posting = False
            return
        if self._done >= self.plan.warmup:
            self._round_trips_ns.append(now_ns - self._posted_at_ns)
        self._done += 1
        self._post(channel, now_ns)

    def _post(self, channel: Channel, now_ns: int) -> None:
        if self._posted == self.plan.warmup + self.plan.iters or channel.is_failed:
            self._is_posting = False
        if not self._is_posting or self._content is None:
            return
        offset = self._content.stamp(channel.source.view, self._posted)
        self._posted_at_ns = now_ns
        channel.post_write(self._posted, offset, self.plan.size, now_ns)
        self._posted += 1

    def next_timer_ns(self) -> int | None:
        """Never: completions say when it is over."""
        return None

    def busy_until_ns(self) -> int | None:
        """Until its timer."""
        return self.next_timer_ns()

    def on_timer(self, now_ns: int) -> None:
        """Nothing was wanted."""

    def stop(self, now_ns: int) -> None:
        """Post nothing more."""
        self._is_posting = False

    @property
    def is_done(self) -> bool:
        """The last has completed, or the QP failed; at once for the receiver."""
        channel = self._channel
        return not self._is_posting and (channel is None or not channel.outstanding)

    # --- Results -----------------------------------------------------------------------

    def progress(self) -> dict[str, int]:
        """What has completed so far, the warm-up included."""
        return {"bytes_done": self._done * self.plan.size, "messages_done": self._done}

    def result(self) -> dict[str, Any]:
        """``latency_ns``: from post to completion of each write after the warm-up, in order;
        ``channels``: one row where this host sends; ``failures``: the QPs that failed.
        """
        return {
            "kind": KIND,
            "channels": [] if self._channel is None else [self._row(self._channel)],
            "latency_ns": list(self._round_trips_ns),
            "failures": failures(self._channels.values()),
        }

    def _row(self, channel: Channel) -> dict[str, Any]:
        return {
            "connection": channel.connection,
            "host": channel.host,
            "peer": channel.peer,
            "size": self.plan.size,
            "posted": self._posted,
            "messages": self._done,
            "bytes": self._done * self.plan.size,
            "failure": channel.failure,
        }

    def verify(self, peers: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
        """Every byte of these connections' targets: see `check_targets`."""
        return check_targets(self._channels, peers, self.plan.size, self.plan.slots)


def half_latency(round_trips_ns: Sequence[int]) -> LatencySummary:
    """What perftest prints of these post-to-completion times: figures of their halves, in ns.

    Raises ValueError where there are none.
    """
    return summary([round_trip_ns / 2 for round_trip_ns in round_trips_ns])
