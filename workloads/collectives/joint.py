"""What the programs of all ranks have in common, whatever they exchange."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from testbed.transport.mrc.completion import Completion
from workloads.collectives.direct import barrier
from workloads.collectives.group import Group
from workloads.collectives.rankplan import RankPlan
from workloads.collectives.tensors import Compared
from workloads.connections import Channel, failures


class JointProgram:
    """A program that is over when it is finished, or will never be because a rank was lost."""

    def __init__(self, plan: RankPlan, channels: Mapping[int, Channel]) -> None:
        self._channels = channels
        self._group = Group(plan.rank, plan.hosts, channels)
        self._view = next(iter(channels.values())).source.view
        self._barrier = barrier(plan.rank, len(plan.hosts))
        self._rank, self._item_bytes = plan.rank, plan.item_bytes
        self._is_finished = False

    def on_completion(self, channel: Channel, completion: Completion, now_ns: int) -> None:
        """A message has arrived, was acknowledged, or failed."""
        self._group.on_completion(channel, completion, now_ns)

    def stop(self, now_ns: int) -> None:
        """Post nothing more."""
        self._group.stop()

    def _finish(self, now_ns: int) -> None:
        """All ranks have all they wanted."""
        self._is_finished = True

    def next_timer_ns(self) -> int | None:
        """When it looks after the ranks it waits for."""
        return self._group.pulse_at_ns

    def on_timer(self, now_ns: int) -> None:
        """Nothing was heard for long."""
        pulse_at_ns = self._group.pulse_at_ns
        if pulse_at_ns is not None and pulse_at_ns <= now_ns:
            self._group.pulse(now_ns)

    def busy_until_ns(self) -> int | None:
        """None: messages say what is next."""
        return None

    @property
    def is_done(self) -> bool:
        """It is finished, or never will be, and nothing is unacknowledged."""
        return (self._is_finished or self._group.is_over) and self._group.is_quiet

    def _progress(self, share: float, turn: list[int] | None) -> dict[str, Any]:
        """``share`` of all there is to do, ``turn`` where it is."""
        loss = self._group.loss
        return {"bytes_done": self._group.sent_bytes, "messages_done": self._group.messages_done,
                "share": share, "turn": turn, "lost_rank": loss and loss.rank}

    def _result(self, kind: str, **rows: Any) -> dict[str, Any]:
        loss = self._group.loss
        return {"kind": kind, "rank": self._rank, "channels": [], **rows,
                "is_finished": self._is_finished, "loss": loss and loss.to_params(),
                "failures": failures(self._channels.values())}

    def _verified(self, found: Iterable[tuple[Mapping[str, Any], Compared]],
                  unchecked: list[int]) -> dict[str, Any]:
        """What was compared, array by array, each with the words that name it."""
        checked = wrong = 0  # elements
        first = None
        for name, compared in found:
            checked += compared.elements
            wrong += compared.wrong
            if first is None and compared.first_wrong is not None:
                first = {"rank": self._rank, **name, "element": compared.first_wrong}
        return {"checked_bytes": checked * self._item_bytes,
                "wrong_bytes": wrong * self._item_bytes, "wrong": wrong, "first_wrong": first,
                "unchecked": unchecked}
