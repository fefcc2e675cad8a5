"""Loss rules a to c: what makes a suspect, and what a SACK must show first (facts sheet 4.8)."""

from __future__ import annotations

from typing import Any

from testbed.transport.mrc.ev.rotation import Entry, PathEv
from testbed.transport.mrc.reliability.loss import (
    _MAX_WINDOW_FACTOR,
    LossDetector,
    Shown,
)
from testbed.transport.mrc.reliability.outstanding import ACKED, LOST, Packet
from topologies.ev import make_ev

WINDOW = 1_000
ANY: Any = None
ALL = Shown(1, 0, 1 << 30, 10)


class Bench:
    """A detector, and packets sent on named EVs: the first digit is the plane."""

    def __init__(self, *, is_pinned: bool = True) -> None:
        self.loss = LossDetector(WINDOW, is_pinned=is_pinned)
        self.entries: dict[str, Entry] = {}
        self._psn = 0

    def send(self, ev: str, now_ns: int, again: Packet | None = None) -> Packet:
        plane, uplink = map(int, ev)
        entry = self.entries.setdefault(ev, Entry(PathEv(make_ev(plane, uplink), plane), b""))
        self._psn += again is None
        packet = again or Packet(self._psn, ANY, 0, 0, 100, entry)
        packet.entry, packet.state = entry, 0
        self.loss.on_sent(packet, now_ns)
        return packet

    def ack(self, *packets: Packet, answered: Packet | None = None, dead: int = 0,
            made: int = 10) -> None:  # fmt: skip
        for packet in packets:
            packet.state = ACKED
        self.loss.on_acknowledged(list(packets), answered, dead, made)

    def lost(self, shown: Shown = ALL) -> list[int]:
        packets = self.loss.verdicts(shown)
        for packet in packets:
            packet.state = LOST
        return [packet.psn for packet in packets]


def test_rule_a_what_left_before_on_the_same_ev_is_gone() -> None:
    bench = Bench()
    first, other, second, later = (bench.send(ev, 0) for ev in ("00", "01", "00", "00"))
    bench.ack(second)
    assert bench.lost() == [first.psn]
    assert bench.lost() == []
    assert (other.state, later.state) == (0, 0)


def test_rule_a_holds_within_a_class_only() -> None:
    bench = Bench()
    first, second, third = (bench.send("00", 0) for _ in range(3))
    bench.send("00", 10, again=first)
    bench.ack(first, answered=first)  # a resend, in TRIMMABLE_RETX, may overtake
    assert bench.lost() == []
    bench.ack(third)
    assert bench.lost() == [second.psn]


def test_rule_a_needs_pinned_paths() -> None:
    bench = Bench(is_pinned=False)
    bench.send("00", 0)
    bench.ack(bench.send("00", 1))
    assert bench.lost() == []
    bench.ack(bench.send("00", WINDOW))
    assert bench.lost() == [1]


def test_rule_b_what_left_a_window_earlier_on_the_same_plane_is_gone() -> None:
    bench = Bench()
    bench.send("00", 0)
    bench.send("00", 1)
    bench.send("10", 0)
    bench.ack(bench.send("01", WINDOW))
    assert bench.lost() == [1]
    bench.ack(bench.send("01", WINDOW + 1))
    assert bench.lost() == [2]


def test_rule_b_on_a_dead_plane_any_plane_is_evidence() -> None:
    bench = Bench()
    dead, alive = bench.send("00", 0), bench.send("20", 0)
    bench.ack(bench.send("10", WINDOW), dead=0b001)
    assert bench.lost() == [dead.psn]
    assert alive.state == 0


def test_a_resend_whose_answer_is_unclear_proves_nothing() -> None:
    bench = Bench()
    bench.send("01", 5)
    packet = bench.send("00", 0)
    bench.send("00", 2 * WINDOW, again=packet)
    bench.ack(packet, answered=None)
    assert bench.lost() == []


def test_a_resend_answered_as_such_is_evidence() -> None:
    bench = Bench()
    bench.send("01", 5)
    packet = bench.send("00", 0)
    bench.send("00", 2 * WINDOW, again=packet)
    bench.ack(packet, answered=packet)
    assert bench.lost() == [1]


def test_rule_c_what_a_probe_overtook_by_a_window_is_gone() -> None:
    bench = Bench()
    old, young = bench.send("00", 0), bench.send("01", 1)
    bench.loss.on_probe_answered(WINDOW, [old, young], 10)
    bench.loss.on_probe_answered(WINDOW, [old, young], 10)
    assert bench.lost() == [old.psn]
    assert bench.lost() == []


def test_the_verdict_waits_for_a_sack_that_shows_the_psn() -> None:
    bench = Bench()
    packets = [bench.send("00", 0) for _ in range(100)]
    bench.ack(packets[-1])
    assert bench.lost(Shown(2, 30, 39, 10)) == [2, *range(30, 40)]
    assert bench.lost(Shown(2, 30, 39, 10)) == []
    assert bench.lost(Shown(1, 1, 99, 10)) == [1, *range(3, 30), *range(40, 100)]


def test_the_verdict_waits_for_a_sack_made_no_earlier_than_the_evidence() -> None:
    bench = Bench()
    bench.send("00", 0)
    bench.ack(bench.send("00", 0), made=20)
    assert bench.lost(Shown(1, 1, 64, 19)) == []
    assert bench.lost(Shown(1, 1, 64, 20)) == [1]


def test_a_suspect_that_arrives_or_is_sent_again_meanwhile_is_none() -> None:
    bench = Bench()
    found, resent = bench.send("00", 0), bench.send("00", 0)
    bench.ack(bench.send("00", 0))
    found.state = ACKED
    bench.send("01", 5, again=resent)
    assert bench.lost() == []


def test_a_wrong_verdict_doubles_the_window_up_to_a_limit() -> None:
    bench, widths = Bench(), []
    for _ in range(8):
        bench.loss.on_spurious()
        widths.append(bench.loss.window_ns)
    limit = _MAX_WINDOW_FACTOR * WINDOW
    assert limit >= 2 * WINDOW
    assert widths == [min(WINDOW << i, limit) for i in range(1, 9)]


def test_books_of_sent_packets_are_cleared_as_answers_come() -> None:
    bench = Bench()
    for i in range(5_000):
        bench.ack(bench.send(f"{i % 2}{i % 3}", i))
    queues = [*bench.loss._by_ev.values(), *bench.loss._by_port.values()]
    assert sum(map(len, queues)) <= 8
    assert not bench.loss._suspects


def test_evs_no_longer_used_are_forgotten() -> None:
    """The controller may replace a profile at any time; a QP lives long."""
    bench = Bench()
    for i in range(5_000):
        bench.entries["00"] = Entry(PathEv(make_ev(i // 256 % 16, i % 256), 0), b"")
        bench.ack(bench.send("00", i))
    assert len(bench.loss._by_ev) < 1_500
