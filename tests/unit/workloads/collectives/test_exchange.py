"""One schedule under way: what is posted when, what is refused, when it is complete."""

from __future__ import annotations

import pytest

from workloads.collectives.exchange import Exchange
from workloads.collectives.schedule import Area, Receive, Schedule, Send, Span
from workloads.params import WorkloadError


def send(tag: int, *after: int, peer: int = 1) -> Send:
    return Send(peer, tag, 0, Area.INPUT, 0, 1, Area.STAGING, 0, after)


class Rig:
    """An exchange whose posts, copies and additions are written down in order."""

    def __init__(self, *sends: Send, receives: tuple[Receive, ...] = (),
                 copies: tuple[Span, ...] = ()) -> None:  # fmt: skip
        self.done: list[object] = []
        self.exchange = Exchange(Schedule(sends, receives, copies), self, self._post)

    def _post(self, posted: Send, now_ns: int) -> None:
        self.done.append((posted.tag, now_ns))

    def copy(self, span: Span) -> None:
        self.done.append(span)

    def add(self, receive: Receive) -> None:
        self.done.append(f"add {receive.tag}")


ADDED = tuple(Receive(2, tag, tag, 1, Area.INPUT, tag) for tag in range(3))


def test_copies_come_first_then_what_waits_for_nothing_in_order() -> None:
    rig = Rig(send(0), send(1, 0), send(2), receives=ADDED[:1], copies=(Span(0, 3),))
    rig.exchange.start(5)
    assert rig.done == [Span(0, 3), (0, 5), (2, 5)]
    rig.exchange.on_received(2, 0, 9)
    assert rig.done[3:] == ["add 0", (1, 9)]


def test_a_send_waits_for_everything_it_names() -> None:
    rig = Rig(send(0, 0, 2), receives=ADDED)
    rig.exchange.start(0)
    for tag, now in ((2, 1), (1, 2)):
        rig.exchange.on_received(2, tag, now)
    assert rig.done == ["add 2", "add 1"]
    rig.exchange.on_received(2, 0, 3)
    assert rig.done[2:] == ["add 0", (0, 3)]


def test_what_comes_early_is_added_in_its_turn() -> None:
    chain = (ADDED[0], ADDED[1]._replace(after=(0,)), ADDED[2]._replace(after=(1,)))
    rig = Rig(send(7, 2), send(8, 1), receives=chain)
    rig.exchange.start(0)
    rig.exchange.on_received(2, 2, 1)
    rig.exchange.on_received(2, 1, 2)
    assert rig.done == []
    assert rig.exchange.unreceived == 3
    rig.exchange.on_received(2, 0, 3)
    assert rig.done == ["add 0", "add 1", (8, 3), "add 2", (7, 3)]
    assert rig.exchange.unreceived == 0


def test_one_that_waits_for_two_is_added_once() -> None:
    rig = Rig(receives=(ADDED[0], ADDED[1], ADDED[2]._replace(after=(0, 1))))
    rig.exchange.start(0)
    for tag in (2, 1, 0):
        rig.exchange.on_received(2, tag, tag)
    assert rig.done == ["add 1", "add 0", "add 2"]


def test_what_is_only_put_in_place_is_not_added() -> None:
    rig = Rig(send(0, 0), receives=(Receive(2, 0, 0, 1),))
    rig.exchange.start(0)
    rig.exchange.on_received(2, 0, 4)
    assert rig.done == [(0, 4)]


def test_complete_only_when_all_that_was_sent_is_acknowledged() -> None:
    rig = Rig(send(0), send(1, 0), receives=ADDED[:1])
    assert not rig.exchange.is_complete
    rig.exchange.start(0)
    rig.exchange.on_sent()
    assert not rig.exchange.is_complete  # the second is not even posted
    rig.exchange.on_received(2, 0, 1)
    assert not rig.exchange.is_complete
    rig.exchange.on_sent()
    assert rig.exchange.is_complete


def test_not_complete_while_something_is_to_come() -> None:
    rig = Rig(send(0), receives=ADDED[:1])
    rig.exchange.start(0)
    rig.exchange.on_sent()
    assert not rig.exchange.is_complete
    rig.exchange.on_received(2, 0, 1)
    assert rig.exchange.is_complete


def test_of_nothing_it_is_complete_at_once() -> None:
    exchange = Exchange(Schedule(), None, lambda posted, now_ns: None)
    exchange.start(0)
    assert exchange.is_complete


def test_messages_of_two_peers_with_one_tag_are_told_apart() -> None:
    receives = (Receive(2, 0, 0, 1, Area.INPUT, 0), Receive(3, 0, 0, 1, Area.OUTPUT, 1, (0,)))
    rig = Rig(send(5, 0), send(6, 1), receives=receives)
    rig.exchange.start(0)
    rig.exchange.on_received(3, 0, 1)
    assert rig.done == []
    rig.exchange.on_received(2, 0, 2)
    assert rig.done == ["add 0", (5, 2), "add 0", (6, 2)]


@pytest.mark.parametrize("after", [(), (1,)])
def test_a_message_that_comes_twice_is_refused_and_changes_nothing(after: tuple[int, ...]) -> None:
    # Once when it is complete, once while it waits for its turn.
    rig = Rig(receives=(ADDED[0]._replace(after=after), ADDED[1]))
    rig.exchange.start(0)
    rig.exchange.on_received(2, 0, 1)
    before = list(rig.done)
    with pytest.raises(WorkloadError, match="message 0 of rank 2 is not due or came twice"):
        rig.exchange.on_received(2, 0, 2)
    assert rig.done == before
    assert rig.exchange.unreceived == 1 + len(after)


@pytest.mark.parametrize(("peer", "tag"), [(2, 1), (1, 0)])
def test_a_message_that_is_not_due_is_refused(peer: int, tag: int) -> None:
    rig = Rig(receives=ADDED[:1])
    rig.exchange.start(0)
    with pytest.raises(WorkloadError, match=f"message {tag} of rank {peer} is not due"):
        rig.exchange.on_received(peer, tag, 1)


def test_what_carries_nothing_needs_no_tensors() -> None:
    posted: list[int] = []
    schedule = Schedule((send(4, 0),), (Receive(2, 0, 0, 0),))
    exchange = Exchange(schedule, None, lambda sent, now_ns: posted.append(sent.tag))
    exchange.start(0)
    exchange.on_received(2, 0, 1)
    assert posted == [4]
