"""The ranks of a workload and the connections between them, as one of them sees it.

A message carries in its immediate which exchange it belongs to (lane and number) and its tag:

    31..28 lane | 27..16 number of the exchange in its lane, mod 4096 | 15..0 tag

A lane is a row of exchanges that follow each other on every rank. One that a peer has begun
and this rank has not is kept until it does.

A rank that finds another lost (its queue pair failed) tells all whom it can still reach, and
they tell on: every rank stops within the retry budget and a few round trips, and names the
same rank. In the immediate of that message lane is 15, with the lost rank in bits 27..14 and
the one that noticed in 13..0.

A queue pair fails only where something is unacknowledged. A rank that waits for others, and has
heard nothing for `PULSE_NS`, therefore writes nothing at all (no bytes, no immediate) to those
it waits for: where one is cut off, that is what is not acknowledged. Whoever waits does so for
another that waits, or for the one that is lost, so somebody always finds out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from testbed.transport.mrc.completion import Completion, WcOpcode, WcStatus
from workloads.collectives.exchange import Exchange
from workloads.collectives.schedule import Schedule, Send
from workloads.connections import Channel
from workloads.params import WorkloadError

if TYPE_CHECKING:  # numpy is imported by those who compute, not by those who plan
    from workloads.collectives.tensors import Tensors

MAX_TAG = (1 << 16) - 1
# Posted per connection at all times; its requester has at most 128 immediates in flight.
RECEIVES = 256
SPARE_SENDS = 1  # per connection, to tell of a loss
PULSE_NS = 200_000  # a seventh of the retry budget, 20 times the longest base RTT

_PULSE = 1 << 32  # its work request; those of messages have 32 bits

_LOSS_LANE = 15
_LANE_SHIFT, _NUMBER_SHIFT, _NUMBERS = 28, 16, 1 << 12
_RANK_BITS = 14

OnComplete = Callable[[int], None]
"""An exchange is complete, at this time in ns."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A rank that does not take part any more; ``noticed_by`` whose queue pair failed."""

    rank: int
    noticed_by: int
    at_ns: int
    reason: str

    def to_params(self) -> dict[str, Any]:
        """As JSON."""
        return {"rank": self.rank, "noticed_by": self.noticed_by, "at_ns": self.at_ns,
                "reason": self.reason}


class Group:
    """The connections of rank ``rank``; ``hosts`` has the host of every rank.

    Raises WorkloadError where a channel leads to a host without a rank.
    """

    def __init__(self, rank: int, hosts: Sequence[int], channels: Mapping[int, Channel]) -> None:
        self.rank, self.hosts = rank, tuple(hosts)
        self.loss: Loss | None = None
        self.sent_bytes = self.messages_done = 0
        self._is_stopped = False
        self._ranks = {host: number for number, host in enumerate(self.hosts)}
        self._channels: dict[int, list[Channel]] = {}
        for _, channel in sorted(channels.items()):
            peer = self._ranks.get(channel.peer)
            if peer is None:
                raise WorkloadError(f"connection {channel.connection} leads to h{channel.peer}, "
                                    "which has no rank: plan it with one")
            self._channels.setdefault(peer, []).append(channel)
        self._exchanges: dict[int, tuple[Exchange, OnComplete]] = {}  # by lane and number
        self._numbers: dict[int, int] = {}  # of the next exchange, by lane
        self._early: dict[int, list[tuple[int, int]]] = {}
        self._active_ns = 0  # when it last began or heard something

    # --- what the program does -----------------------------------------------------

    def open(self) -> None:
        """Be ready for messages: before anything begins."""
        for channel in self._all():
            for number in range(RECEIVES):
                channel.post_recv(number)

    def begin(self, lane: int, schedule: Schedule, tensors: Tensors | None, now_ns: int,
              on_complete: OnComplete) -> None:  # fmt: skip
        """Begin the next exchange of a lane (0 to 14), which every rank begins in its turn."""
        number = self._numbers.get(lane, 0)
        self._numbers[lane] = (number + 1) % _NUMBERS
        self._active_ns = now_ns
        key = lane << _LANE_SHIFT | number << _NUMBER_SHIFT
        exchange = Exchange(
            schedule, tensors, lambda send, at_ns: self._post(key, send, tensors, at_ns))
        self._exchanges[key] = exchange, on_complete
        exchange.start(now_ns)
        for peer, tag in self._early.pop(key, ()):
            exchange.on_received(peer, tag, now_ns)
        self._look(key, now_ns)

    @property
    def pulse_at_ns(self) -> int | None:
        """When `pulse` is wanted if nothing is heard before; None while nothing is under way."""
        return self._active_ns + PULSE_NS if self._exchanges and not self.is_over else None

    def pulse(self, now_ns: int) -> None:
        """Find out whether those this rank waits for can still be reached."""
        self._active_ns = now_ns
        awaited = {peer for exchange, _ in self._exchanges.values() for peer in exchange.awaited}
        for peer in sorted(awaited):
            channels = self._channels[peer]
            if not any(channel.outstanding or channel.is_failed for channel in channels):
                channels[0].post_write(_PULSE, 0, 0, now_ns)

    def stop(self) -> None:
        """Post nothing more."""
        self._is_stopped = True

    @property
    def is_over(self) -> bool:
        """It was stopped or lost a rank: no exchange will complete any more."""
        return self._is_stopped or self.loss is not None

    @property
    def is_quiet(self) -> bool:
        """Everything that was posted has completed or failed."""
        return not any(channel.outstanding for channel in self._all())

    # --- what the device says ------------------------------------------------------

    def on_completion(self, channel: Channel, completion: Completion, now_ns: int) -> None:
        """A message has arrived, was acknowledged, or failed."""
        self._active_ns = now_ns
        if completion.status is not WcStatus.SUCCESS:
            self._lose(self._ranks[channel.peer], self.rank, now_ns, _reason(channel))
        elif completion.opcode is WcOpcode.RECV_RDMA_WITH_IMM:
            channel.post_recv(completion.wr_id)
            assert completion.imm is not None
            self._on_message(self._ranks[channel.peer], completion.imm, now_ns)
        elif completion.wr_id != _PULSE:
            self.sent_bytes += completion.byte_len
            self.messages_done += 1
            key = completion.wr_id
            if key in self._exchanges:
                self._exchanges[key][0].on_sent()
                self._look(key, now_ns)

    def _on_message(self, peer: int, imm: int, now_ns: int) -> None:
        if imm >> _LANE_SHIFT == _LOSS_LANE:
            lost = imm >> _RANK_BITS & (1 << _RANK_BITS) - 1
            self._lose(lost, imm & (1 << _RANK_BITS) - 1, now_ns, "its peer told so")
            return
        key, tag = imm & ~MAX_TAG, imm & MAX_TAG
        if key not in self._exchanges:
            self._early.setdefault(key, []).append((peer, tag))
            return
        self._exchanges[key][0].on_received(peer, tag, now_ns)
        self._look(key, now_ns)

    def _look(self, key: int, now_ns: int) -> None:
        """Whether that completed an exchange."""
        exchange, on_complete = self._exchanges[key]
        if exchange.is_complete and not self.is_over:
            del self._exchanges[key]
            on_complete(now_ns)

    # --- sending -------------------------------------------------------------------

    def _post(self, key: int, send: Send, tensors: Tensors | None, now_ns: int) -> None:
        if self.is_over:
            return
        channels = self._channels[send.peer]
        offset = remote_offset = length = 0
        if tensors is not None and send.count:
            layout = tensors.layout
            offset = layout.at(send.source, send.start)
            length = layout.at(send.source, send.start + send.count) - offset
            remote_offset = layout.at(send.target, send.target_start)
        channels[send.lane % len(channels)].post_write(
            key, offset, length, now_ns, remote_offset=remote_offset, imm=key | send.tag)

    def _all(self) -> list[Channel]:
        return [channel for channels in self._channels.values() for channel in channels]

    def _lose(self, lost: int, noticed_by: int, now_ns: int, reason: str) -> None:
        """Remember the first loss, and tell everyone who can be told."""
        if self.loss is not None:
            return
        self.loss = Loss(lost, noticed_by, now_ns, reason)
        imm = _LOSS_LANE << _LANE_SHIFT | lost << _RANK_BITS | noticed_by
        for peer, channels in self._channels.items():
            usable = [channel for channel in channels if not channel.is_failed]
            if peer != lost and usable:
                usable[0].post_write(imm, 0, 0, now_ns, imm=imm)


def _reason(channel: Channel) -> str:
    failure = channel.failure
    return failure["reason"] if failure else "its queue pair failed"
