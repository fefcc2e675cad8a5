"""Back-to-back RDMA writes, as `ib_write_bw` does (perftest; MRC paper 5.2.1).

On each sending channel ``depth`` writes are posted at a time; each completion posts the
next, until ``iters`` of them are posted or ``duration_ns`` is over. A host may send, only
receive, or both; a connection is used in both directions by sending at both its ends.

A message counts where it completes: when its peer's Transport ACK is there. Completions
come a few at a time, so a short window may hold up to a few messages per QP too many.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from testbed.transport.mrc.completion import Completion, WcStatus
from workloads.connections import MAX_CONNECTION, MAX_WORK_REQUESTS, Channel, failures
from workloads.content import Content, check_targets, written_by
from workloads.params import Fields, WorkloadError
from workloads.timeline import Timeline, total

KIND = "write-bw"
DEFAULT_DEPTH = 128  # perftest's TX depth
MAX_SIZE = 1 << 30
MAX_ITERS = 1 << 31
MAX_DURATION_NS = 3600 * 10**9

_MARGIN_SHARE = 10  # of a duration, at its beginning, is not measured
_BINS_PER_DURATION = 1000
_FIRST_BIN_NS = 64  # where the end is not known
_PEAK_WINDOWS = 20
_LEAST_MESSAGES = 16  # in a window of the peak, so that single messages do not make it


@dataclass(frozen=True, slots=True, kw_only=True)
class BandwidthPlan:
    """Writes of ``size`` bytes, ``depth`` at a time, from buffers of ``slots`` messages.

    Exactly one of ``iters`` (messages per sending channel) and ``duration_ns`` is given;
    ``sends`` are the connections this host sends on.
    """

    size: int
    depth: int
    slots: int
    iters: int | None
    duration_ns: int | None
    sends: tuple[int, ...]

    def to_params(self) -> dict[str, Any]:
        """As JSON, with its kind; `from_params` reads it back."""
        return {
            "kind": KIND,
            "size": self.size,
            "depth": self.depth,
            "slots": self.slots,
            "iters": self.iters,
            "duration_ns": self.duration_ns,
            "sends": list(self.sends),
        }

    @classmethod
    def from_params(cls, params: object) -> BandwidthPlan:
        """Read JSON; raises WorkloadError at the first fault."""
        take = Fields(params, "program")
        take.word("kind", (KIND,))
        plan = cls(
            size=take.integer("size", 1, MAX_SIZE),
            depth=take.integer("depth", 1, MAX_WORK_REQUESTS),
            iters=take.optional_integer("iters", 1, MAX_ITERS),
            duration_ns=take.optional_integer("duration_ns", 1, MAX_DURATION_NS),
            slots=take.integer("slots", 1, MAX_ITERS),
            sends=take.integers("sends", 0, MAX_CONNECTION),
        )
        take.finish()
        check_length(plan.iters, plan.duration_ns)
        if plan.slots < min(plan.depth, plan.iters or plan.depth):
            raise WorkloadError(
                f"{plan.slots} slots are fewer than the {plan.depth} writes at a time: "
                "a message would be overwritten before it is sent, give as many"
            )
        return plan


def check_length(iters: int | None, duration_ns: int | None) -> None:
    """Raise WorkloadError unless exactly one of the two is given."""
    if (iters is None) == (duration_ns is None):
        raise WorkloadError(
            f"iters is {iters} and duration_ns {duration_ns}: give one of them, the other none"
        )


class _Sender:
    """One sending channel: what it posted, and when how much of that completed."""

    __slots__ = ("channel", "content", "done", "first_post_ns", "is_posting", "last_done_ns",
                 "posted", "timeline", "window_bytes")  # fmt: skip

    def __init__(self, channel: Channel, content: Content) -> None:
        self.channel = channel
        self.content = content
        self.posted = self.done = self.window_bytes = 0
        self.is_posting = True
        self.first_post_ns: int | None = None
        self.last_done_ns: int | None = None
        self.timeline = Timeline(0, _FIRST_BIN_NS)


class WriteBandwidth:
    """The program; its source buffers must be filled (`fill_sources`) before it starts.

    Raises WorkloadError where a channel does not fit the plan.
    """

    def __init__(self, plan: BandwidthPlan, channels: Mapping[int, Channel]) -> None:
        self.plan = plan
        self._channels = channels
        self._senders = {number: self._sender(number) for number in plan.sends}
        self._begin_ns = 0  # of what is measured, in a run of a given duration
        self._end_ns = 1 << 62

    def _sender(self, number: int) -> _Sender:
        channel, plan = self._channels.get(number), self.plan
        if channel is None:
            raise WorkloadError(f"connection {number} is to be sent on but not there: plan it")
        needed = plan.size * plan.slots
        if channel.source.length < needed or channel.qp.max_send_wr < plan.depth:
            raise WorkloadError(
                f"connection {number} has {channel.source.length} bytes and room for "
                f"{channel.qp.max_send_wr} writes: give {needed} bytes and {plan.depth} writes"
            )
        return _Sender(channel, written_by(channel.host, channel, plan.size, plan.slots))

    def fill_sources(self) -> None:
        """Make the content of everything that will be sent; takes 3 ns a byte."""
        for sender in self._senders.values():
            sender.content.fill(sender.channel.source.view)

    # --- Running -----------------------------------------------------------------------

    def start(self, now_ns: int) -> None:
        """Post the first ``depth`` writes of every sending channel."""
        width_ns, duration_ns = _FIRST_BIN_NS, self.plan.duration_ns
        if duration_ns is not None:
            self._begin_ns = now_ns + duration_ns // _MARGIN_SHARE
            self._end_ns = now_ns + duration_ns
            width_ns = -(-duration_ns // _BINS_PER_DURATION)
        for sender in self._senders.values():
            sender.timeline = Timeline(now_ns, width_ns)
            sender.first_post_ns = now_ns
            for _ in range(self.plan.depth):
                self._post(sender, now_ns)

    def on_completion(self, channel: Channel, completion: Completion, now_ns: int) -> None:
        """Count it, and post the next."""
        sender = self._senders[channel.connection]
        if completion.status is not WcStatus.SUCCESS:
            sender.is_posting = False
            return
        length = completion.byte_len
        sender.done += 1
        sender.last_done_ns = now_ns
        if now_ns < self._end_ns:
            sender.timeline.add(now_ns, length)
            if now_ns >= self._begin_ns:
                sender.window_bytes += length
        self._post(sender, now_ns)

    def _post(self, sender: _Sender, now_ns: int) -> None:
        """Post one more, unless that was all."""
        number = sender.posted
        channel = sender.channel
        if number == self.plan.iters or now_ns >= self._end_ns or channel.is_failed:
            sender.is_posting = False
        if not sender.is_posting:
            return
        offset = sender.content.stamp(channel.source.view, number)
        channel.post_write(number, offset, self.plan.size, now_ns)
        sender.posted = number + 1

    def next_timer_ns(self) -> int | None:
        """Never: completions say when it is over."""
        return None

    def busy_until_ns(self) -> int | None:
        """Until its timer."""
        return self.next_timer_ns()

    def on_timer(self, now_ns: int) -> None:
        """Nothing was wanted."""

    def stop(self, now_ns: int) -> None:
        """Post nothing more; what is posted still completes."""
        for sender in self._senders.values():
            sender.is_posting = False

    @property
    def is_done(self) -> bool:
        """All is posted that will be, and has completed or failed; at once for a receiver."""
        return not any(
            sender.is_posting or sender.channel.outstanding for sender in self._senders.values()
        )

    # --- Results -----------------------------------------------------------------------

    def progress(self) -> dict[str, int]:
        """What has completed so far."""
        messages = sum(sender.done for sender in self._senders.values())
        return {"bytes_done": messages * self.plan.size, "messages_done": messages}

    def result(self) -> dict[str, Any]:
        """``channels``: a row per sending channel, for `average_bps` and `peak_bps`.

        A row's window is what is measured: in a run of a given duration all of it but
        the first tenth, otherwise first post to last completion. ``failures`` has the QPs
        that failed, receiving ones too.
        """
        return {
            "kind": KIND,
            "channels": [self._row(sender) for sender in self._senders.values()],
            "failures": failures(self._channels.values()),
        }

    def _row(self, sender: _Sender) -> dict[str, Any]:
        channel, size = sender.channel, self.plan.size
        row = {
            "connection": channel.connection,
            "host": channel.host,
            "peer": channel.peer,
            "size": size,
            "posted": sender.posted,
            "messages": sender.done,
            "bytes": sender.done * size,
            "first_post_ns": sender.first_post_ns,
            "last_done_ns": sender.last_done_ns,
            **self._window(sender),
            "timeline": sender.timeline.to_params(),
            "failure": channel.failure,
        }
        return {**row, "average_bps": average_bps([row]), "peak_bps": peak_bps([row])}

    def _window(self, sender: _Sender) -> dict[str, int]:
        if self.plan.duration_ns is not None:
            start_ns, end_ns = self._begin_ns, self._end_ns
        else:
            start_ns = sender.first_post_ns or 0
            end_ns = start_ns if sender.last_done_ns is None else sender.last_done_ns
        return {
            "window_start_ns": start_ns,
            "window_ns": end_ns - start_ns,
            "window_bytes": sender.window_bytes,
        }

    def verify(self, peers: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
        """Every byte of these connections' targets: see `check_targets`."""
        return check_targets(self._channels, peers, self.plan.size, self.plan.slots)


def average_bps(rows: Iterable[Mapping[str, Any]]) -> float:
    """Bits per second of all these channels together, from the earliest beginning of their
    windows to the latest end; 0 where nothing was measured.
    """
    rows = list(rows)
    start_ns, end_ns = _span(rows)
    done: int = sum(row["window_bytes"] for row in rows)
    return done * 8e9 / (end_ns - start_ns) if end_ns > start_ns else 0.0


def peak_bps(rows: Iterable[Mapping[str, Any]]) -> float:
    """Bits per second in the best of 20 equal parts of that span, all channels together.

    The parts are whole bins of the timeline. There are fewer where they would hold fewer
    than 16 messages on average: the peak of a short run is its average.
    """
    rows = list(rows)
    average = average_bps(rows)
    messages: int = sum(row["window_bytes"] // row["size"] for row in rows)
    parts = min(_PEAK_WINDOWS, messages // _LEAST_MESSAGES)
    if parts < 2:
        return average
    line = total([Timeline.from_params(row["timeline"]) for row in rows])
    start_ns, end_ns = _span(rows)
    first = (start_ns - line.start_ns) // line.width_ns
    last = -(-(end_ns - line.start_ns) // line.width_ns)
    step = -(-(last - first) // parts)
    best = max(line.between(i, i + step) for i in range(first, last, step))
    return max(average, best * 8e9 / (step * line.width_ns))


def _span(rows: Iterable[Mapping[str, Any]]) -> tuple[int, int]:
    """From the first beginning of a window to the last end."""
    windows = [(row["window_start_ns"], row["window_ns"]) for row in rows]
    start_ns = min((start_ns for start_ns, _ in windows), default=0)
    return start_ns, max((start_ns + window_ns for start_ns, window_ns in windows), default=0)
