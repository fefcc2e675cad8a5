"""Ports take turns, and none gets far ahead of the others."""

from __future__ import annotations

from collections import Counter
from random import Random

from testbed.transport.mrc.choices import PORT_LEAD_LIMIT
from testbed.transport.mrc.ev.turns import Turns


def made(usable: int) -> Turns:
    turns = Turns(1)
    turns.reset(usable)
    return turns


def test_free_ports_are_taken_in_turn() -> None:
    turns = made(0b1011)
    taken = []
    for _ in range(6):
        taken.append(bit := turns.pick(0b1011))
        turns.took(bit)
    assert taken == [1, 2, 8, 1, 2, 8]


def test_a_port_offered_alone_waits_once_it_is_ahead_by_the_limit() -> None:
    turns = made(0b11)
    for _ in range(PORT_LEAD_LIMIT):
        assert turns.pick(0b01) == 0b01
        turns.took(0b01)
    assert turns.pick(0b01) == 0
    assert turns.pick(0b11) == 0b10
    turns.took(0b10)  # the one behind has moved on: one more may go
    assert turns.pick(0b01) == 0b01
    turns.took(0b01)
    assert turns.pick(0b01) == 0


def test_shares_stay_equal_whatever_is_offered() -> None:
    rng, turns, sent = Random(3), made(0xFF), Counter[int]()
    for _ in range(20_000):
        offered = 1 << rng.choice([0, 0, 0, 1, 2, 3, 4, 5, 6, 7])
        bit = turns.pick(offered)
        if bit:
            turns.took(bit)
            sent[bit] += 1
        if len(sent) == 8:
            assert max(sent.values()) - min(sent.values()) <= PORT_LEAD_LIMIT
    assert len(sent) == 8
    assert max(sent.values()) - min(sent.values()) <= PORT_LEAD_LIMIT


def test_a_change_of_usable_ports_starts_level() -> None:
    turns = made(0b11)
    for _ in range(PORT_LEAD_LIMIT):
        turns.took(0b01)
    turns.reset(0b101)
    assert turns.pick(0b001) == 0b001
    assert turns.pick(0b101) in (0b001, 0b100)
