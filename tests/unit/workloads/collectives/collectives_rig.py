"""Schedules carried out on symbols: all ranks at once, messages in any order, nothing missed.

Element e of INPUT of rank r is the multiset {(r, e)}; sums are multisets, and what has not
been written is None. From the moment a message is posted until it is delivered its target
holds None, as nobody may rely on any of it, and its source must stay as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from random import Random
from typing import Any, NamedTuple

from workloads.collectives.catalogue import OPERATIONS
from workloads.collectives.exchange import Exchange
from workloads.collectives.schedule import Area, Expected, Receive, Schedule, Send, Shape, Span

ALGORITHMS = [(operation, algorithm)
              for operation, about in OPERATIONS.items() for algorithm in about.algorithms]


class Broken(AssertionError):
    """A schedule does what no schedule may."""


def need(condition: bool, *what: object) -> None:
    """Raise Broken, naming the thing, where the condition does not hold."""
    if not condition:
        raise Broken(*what)


def schedules_of(operation: str, algorithm: str, shape: Shape) -> list[Schedule]:
    """Every rank's part."""
    make = OPERATIONS[operation].algorithms[algorithm]
    return [make(rank, shape) for rank in range(shape.ranks)]


# --- what holds for any schedules ------------------------------------------------------


def check_match(schedules: Sequence[Schedule], count: int) -> None:
    """Every message is received exactly once, where it is expected, inside the areas."""
    sends = Counter((rank, send.peer, send.tag)
                    for rank, schedule in enumerate(schedules) for send in schedule.sends)
    receives = Counter((receive.peer, rank, receive.tag)
                       for rank, schedule in enumerate(schedules) for receive in schedule.receives)
    need(sends == receives, "sent but not received, or the reverse", sends - receives,
         receives - sends)
    need(not sends or max(sends.values()) == 1, "two messages of one name", sends)
    for (_, send), (_, receive) in matches(schedules):
        target = (Area.OUTPUT if receive.own is None else Area.STAGING,
                  receive.start if receive.own is None else receive.staged)
        need(send.count == receive.count, "lengths differ", send, receive)
        need(not send.count or (send.target, send.target_start) == target, "place", send, receive)
        need(0 <= send.tag < 1 << 16, "tag", send)
        for start in (send.start, send.target_start, receive.start, receive.staged):
            need(0 <= start <= start + send.count <= count, "outside", send, receive)


Name = tuple[int, int]  # rank and index of a receive


def matches(schedules: Sequence[Schedule]) -> list[tuple[tuple[int, Send], tuple[Name, Receive]]]:
    """Every send, with its rank, and the receive it is for."""
    receives = {(receive.peer, rank, receive.tag): ((rank, index), receive)
                for rank, schedule in enumerate(schedules)
                for index, receive in enumerate(schedule.receives)}
    return [((rank, send), receives[rank, send.peer, send.tag])
            for rank, schedule in enumerate(schedules) for send in schedule.sends]


def longest_chain(schedules: Sequence[Schedule]) -> int:
    """Messages that must follow each other: the latency of a collective in messages."""
    senders = {name: sender for sender, (name, _) in matches(schedules)}

    @cache
    def length(name: Name) -> int:
        rank, send = senders[name]
        own = schedules[name[0]].receives[name[1]]
        before = [length((rank, index)) for index in send.after]
        return max([1 + max(before, default=0)] + [length((name[0], i)) for i in own.after])

    return max((length(name) for name in senders), default=0)


def loads(schedules: Sequence[Schedule]) -> Counter[tuple[int, int]]:
    """Elements from rank to rank."""
    found: Counter[tuple[int, int]] = Counter()
    for rank, schedule in enumerate(schedules):
        for send in schedule.sends:
            found[rank, send.peer] += send.count
    return found


def out_of(schedules: Sequence[Schedule]) -> list[int]:
    """Elements that each rank sends."""
    return [sum(send.count for send in schedule.sends) for schedule in schedules]


def into(schedules: Sequence[Schedule]) -> list[int]:
    """Elements that each rank receives."""
    return [sum(item.count for item in schedule.receives) for schedule in schedules]


# --- carrying them out -----------------------------------------------------------------


class Symbols:
    """The areas of one rank: what `Exchange` calls tensors."""

    def __init__(self, rank: int, count: int) -> None:
        self.areas: list[list[Any]] = [
            [Counter({(rank, e): 1}) for e in range(count)], [None] * count, [None] * count]
        self.busy: set[tuple[Area, int]] = set()  # written to by a message nobody has used yet

    def read(self, area: Area, start: int, count: int) -> list[Any]:
        found = self.areas[area][start : start + count]
        need(None not in found, "reads what is not there", area, start, count)
        return found

    def write(self, area: Area, start: int, values: Sequence[Any]) -> None:
        self.areas[area][start : start + len(values)] = values

    def claim(self, area: Area, start: int, count: int) -> None:
        """A message to this place was posted."""
        places = {(area, e) for e in range(start, start + count)}
        need(area is not Area.INPUT and not places & self.busy, "overwrites", area, start, count)
        self.busy |= places
        self.write(area, start, [None] * count)

    def release(self, area: Area, start: int, count: int) -> None:
        """What came was used, or is where it belongs."""
        self.busy -= {(area, e) for e in range(start, start + count)}

    def copy(self, span: Span) -> None:
        self.claim(Area.OUTPUT, *span)
        self.write(Area.OUTPUT, span.start, self.read(Area.INPUT, *span))
        self.release(Area.OUTPUT, *span)

    def add(self, receive: Receive) -> None:
        assert receive.own is not None
        start, count = receive.start, receive.count
        own, staged = self.read(receive.own, start, count), (Area.STAGING, receive.staged, count)
        total = [a + b for a, b in zip(own, self.read(*staged), strict=True)]
        self.claim(Area.OUTPUT, start, count)
        self.write(Area.OUTPUT, start, total)
        self.release(Area.OUTPUT, start, count)
        self.write(Area.STAGING, receive.staged, [None] * count)
        self.release(*staged)


class Message(NamedTuple):
    """On its way from rank ``source``."""

    source: int
    send: Send
    content: list[Any]


class Run:
    """All ranks of a collective; ``seed`` decides what happens next, of all that could.

    Ranks in ``held`` do not begin before the rest has come as far as it can.
    """

    def __init__(self, schedules: Sequence[Schedule], count: int, seed: int = 0,
                 held: Iterable[int] = (), memories: Sequence[Any] = ()) -> None:  # fmt: skip
        check_match(schedules, count)
        self.memories = memories or [Symbols(rank, count) for rank in range(len(schedules))]
        self.exchanges = [Exchange(schedule, self.memories[rank], partial(self._post, rank))
                          for rank, schedule in enumerate(schedules)]
        self._receives = {(rank, item.peer, item.tag): item
                          for rank, schedule in enumerate(schedules) for item in schedule.receives}
        self._random = Random(seed)
        self._begun: set[int] = set()
        self._early: dict[int, list[tuple[int, int]]] = {}
        held = set(held)
        self._next: list[Callable[[], None]] = [
            partial(self._begin, rank) for rank in range(len(schedules)) if rank not in held]
        self.go_on()
        self.complete_without = self.complete
        self._next = [partial(self._begin, rank) for rank in held]
        self.go_on()

    @property
    def complete(self) -> list[int]:
        """Ranks that have everything they were to receive."""
        return [rank for rank, exchange in enumerate(self.exchanges)
                if rank in self._begun and not exchange.unreceived]

    def go_on(self) -> None:
        """Until nothing is left to happen."""
        while self._next:
            chosen = self._random.randrange(len(self._next))
            self._next[chosen], self._next[-1] = self._next[-1], self._next[chosen]
            self._next.pop()()

    def check(self, expect: Callable[[int], Iterable[Expected]]) -> None:
        """Everything completed, and OUTPUT is exactly what it must be."""
        for rank, (exchange, memory) in enumerate(zip(self.exchanges, self.memories, strict=True)):
            need(exchange.is_complete, "not complete", rank)
            need(not memory.busy, "left over", rank, memory.busy)
            for start, count, ranks, source in expect(rank):
                due = [Counter({(other, source + e): 1 for other in ranks}) for e in range(count)]
                found = memory.areas[Area.OUTPUT][start : start + count]
                need(found == due, "result", rank, start, found, due)

    def _begin(self, rank: int) -> None:
        self._begun.add(rank)
        self.exchanges[rank].start(0)
        for peer, tag in self._early.pop(rank, ()):
            self._arrived(rank, peer, tag)

    def _post(self, rank: int, send: Send, now_ns: int) -> None:
        content = list(self.memories[rank].read(send.source, send.start, send.count))
        self.memories[send.peer].claim(send.target, send.target_start, send.count)
        self._next.append(partial(self._deliver, Message(rank, send, content)))

    def _deliver(self, message: Message) -> None:
        source, send, content = message
        now = self.memories[source].read(send.source, send.start, send.count)
        need(now == content, "its source changed on the way", source, send)
        self.memories[send.peer].write(send.target, send.target_start, content)
        self._next.append(self.exchanges[source].on_sent)
        if send.peer in self._begun:
            self._arrived(send.peer, source, send.tag)
        else:
            self._early.setdefault(send.peer, []).append((source, send.tag))

    def _arrived(self, rank: int, peer: int, tag: int) -> None:
        receive = self._receives[rank, peer, tag]
        if receive.own is None:
            self.memories[rank].release(Area.OUTPUT, receive.start, receive.count)
        self.exchanges[rank].on_received(peer, tag, 0)


def run(operation: str, algorithm: str, shape: Shape, seed: int = 0) -> Run:
    """Carry out a collective and check what came of it."""
    done = Run(schedules_of(operation, algorithm, shape), shape.count, seed)
    done.check(lambda rank: OPERATIONS[operation].expect(rank, shape))
    return done
