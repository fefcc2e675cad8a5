"""One exchange after another on symbols, without anything between: what a lane of gradients is.

Element e of INPUT of rank r in round k is the multiset {(k, r, e)}. A rank that has its
result of a round begins the next at once. The rig of the collectives says what is broken: a
message to where another is that nobody has used, one whose source changes on its way,
and a result that is not exactly the sum of this round.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Any

from unit.workloads.collectives.collectives_rig import Message, Symbols, need, schedules_of
from unit.workloads.workload_rig import SPEC

from workloads.collectives.catalogue import OPERATIONS
from workloads.collectives.exchange import Exchange
from workloads.collectives.schedule import Area, Send, Shape
from workloads.job import Job
from workloads.training.plan import plan_training


def train(ranks: int = 4, **changes: Any) -> Job:
    """A small training job on the hosts of the workload rig."""
    keys: dict[str, Any] = {"steps": 3, "gradient_bytes": 40_000, "buckets": 4,
                            "compute_ns": 600_000, "qps": 2, "seed": 5, **changes}
    return plan_training(SPEC, range(ranks), **keys)


class Rounds:
    """``rounds`` of an operation on all ranks; ``seed`` decides what happens next."""

    def __init__(
        self, operation: str, algorithm: str, shape: Shape, rounds: int, seed: int
    ) -> None:
        self._schedules = schedules_of(operation, algorithm, shape)
        self._expect = OPERATIONS[operation].expect
        self._shape, self._rounds = shape, rounds
        self._random = Random(seed)
        self._memories = [Symbols(rank, shape.count) for rank in range(shape.ranks)]
        self._exchanges: list[Exchange | None] = [None] * shape.ranks
        self.ended = [0] * shape.ranks  # rounds, by rank
        self.furthest_apart = 0
        self._early: dict[tuple[int, int], list[tuple[int, int]]] = {}
        self._next: list[Callable[[], None]] = [
            partial(self._begin, rank) for rank in range(shape.ranks)]

    def run(self) -> Rounds:
        """Until nothing is left to happen."""
        while self._next:
            self._next.pop(self._random.randrange(len(self._next)))()
        need(self.ended == [self._rounds] * self._shape.ranks, "not complete", self.ended)
        return self

    def _begin(self, rank: int) -> None:
        number, memory = self.ended[rank], self._memories[rank]
        memory.areas[Area.INPUT] = [
            Counter({(number, rank, e): 1}) for e in range(self._shape.count)]
        exchange = self._exchanges[rank] = Exchange(
            self._schedules[rank], memory, partial(self._post, rank, number))  # type: ignore[arg-type]
        exchange.start(0)
        for source, tag in self._early.pop((rank, number), ()):
            self._arrive(rank, source, tag)
        self._look(rank)

    def _post(self, rank: int, number: int, send: Send, now_ns: int) -> None:
        content = list(self._memories[rank].read(send.source, send.start, send.count))
        self._memories[send.peer].claim(send.target, send.target_start, send.count)
        self._next.append(partial(self._deliver, Message(rank, send, content), number))

    def _deliver(self, message: Message, number: int) -> None:
        source, send, content = message
        now = self._memories[source].read(send.source, send.start, send.count)
        need(now == content, "its source changed on the way", message)
        self._memories[send.peer].write(send.target, send.target_start, content)
        self._next.append(partial(self._acknowledge, source))
        if self._exchanges[send.peer] is not None and self.ended[send.peer] == number:
            self._arrive(send.peer, source, send.tag)
            self._look(send.peer)
        else:
            self._early.setdefault((send.peer, number), []).append((source, send.tag))

    def _acknowledge(self, rank: int) -> None:
        exchange = self._exchanges[rank]
        assert exchange is not None
        exchange.on_sent()
        self._look(rank)

    def _arrive(self, rank: int, source: int, tag: int) -> None:
        exchange = self._exchanges[rank]
        assert exchange is not None
        receive = next(item for item in self._schedules[rank].receives
                       if (item.peer, item.tag) == (source, tag))
        if receive.own is None:
            self._memories[rank].release(Area.OUTPUT, receive.start, receive.count)
        exchange.on_received(source, tag, 0)

    def _look(self, rank: int) -> None:
        exchange = self._exchanges[rank]
        if exchange is None or not exchange.is_complete:
            return
        self._check(rank)
        self._exchanges[rank] = None
        self.ended[rank] += 1
        self.furthest_apart = max(self.furthest_apart, max(self.ended) - min(self.ended))
        if self.ended[rank] < self._rounds:
            self._next.append(partial(self._begin, rank))

    def _check(self, rank: int) -> None:
        number = self.ended[rank]
        for start, count, ranks, source in self._expect(rank, self._shape):
            found: Sequence[Any] = self._memories[rank].areas[Area.OUTPUT][start : start + count]
            due = [Counter({(number, r, source + e): 1 for r in ranks}) for e in range(count)]
            need(found == due, "result", rank, number, found, due)
