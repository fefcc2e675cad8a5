"""Port status updates: pace and tries, and which of two is newer (facts sheet 4.15)."""

from __future__ import annotations

from testbed.transport.mrc.clock import WRAP_NS, timestamp
from testbed.transport.mrc.port_status import PeerPorts, PortUpdate, UpdateDates


def test_an_update_is_due_at_once_then_every_two_base_rtts_while_tries_are_left() -> None:
    update, sent = PortUpdate(0b01, 1000, 500), []
    while update.tries_left:
        sent.append(update.next_at_ns)
        update.on_sent(update.next_at_ns)
    assert sent == [500 + 2000 * i for i in range(8)]


def test_all_ports_are_up_until_the_peer_says_otherwise() -> None:
    ports = PeerPorts()
    assert ports.mask == -1
    assert ports.update(0b01, 7, 100)
    assert ports.mask == 0b01


def test_a_repetition_is_no_news() -> None:
    ports = PeerPorts()
    assert ports.update(0b01, 7, 100)
    assert not ports.update(0b01, 9, 200)


def test_one_that_was_overtaken_is_ignored_also_across_the_wrap() -> None:
    ports = PeerPorts()
    late_ns = WRAP_NS + 10 * 128
    assert ports.update(0b10, timestamp(late_ns), late_ns)
    assert not ports.update(0b11, timestamp(late_ns - 20 * 128), late_ns + 128)
    assert ports.mask == 0b10
    assert ports.update(0b11, timestamp(late_ns + 128), late_ns + 256)


def test_after_half_the_wrap_nothing_old_can_be_on_its_way() -> None:
    ports = PeerPorts()
    ports.update(0b10, 100, 0)
    assert not ports.update(0b01, 99, WRAP_NS // 2 - 1)
    assert ports.update(0b01, 99, WRAP_NS // 2)


def test_time_zero_counts_as_heard() -> None:
    ports = PeerPorts()
    ports.update(0b10, 5, 0)
    assert not ports.update(0b01, 4, 1)


def test_two_masks_never_have_one_stamp_and_a_repetition_keeps_its_time() -> None:
    dates = UpdateDates()
    first = dates.date_ns(0b01, 128_000)
    assert timestamp(first) == 1_000
    assert dates.date_ns(0b01, 128_010) == 128_010
    second = dates.date_ns(0b11, 128_020)
    assert timestamp(second) == 1_001
    third = dates.date_ns(0b10, 128_030)
    assert timestamp(third) == 1_002
    assert dates.date_ns(0b10, 256_000) == 256_000
