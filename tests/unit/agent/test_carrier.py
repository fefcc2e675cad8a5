"""testbed/agent/carrier.py: rtnetlink messages, built by hand."""

from __future__ import annotations

import struct

import pytest

from testbed.agent.carrier import CarrierWatch, LinkState, link_states
from testbed.errors import TestbedError

UP = 1


def attribute(kind: int, data: bytes) -> bytes:
    raw = struct.pack("=HH", 4 + len(data), kind) + data
    return raw + bytes(-len(raw) % 4)


def message(kind: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def link(index: int, carrier: int | None, flags: int = UP, kind: int = 16) -> bytes:
    attributes = attribute(3, b"h0-eth0\0")
    if carrier is not None:
        attributes += attribute(33, bytes([carrier]))
    return message(kind, struct.pack("=BxHiII", 0, 1, index, flags, 0) + attributes)


def test_carrier_is_read() -> None:
    data = link(1000, 1) + link(1001, 0)
    assert list(link_states(data)) == [LinkState(1000, True), LinkState(1001, False)]


@pytest.mark.parametrize("data", [
    link(1000, 1, flags=0),  # administratively down
    link(1000, 1, kind=17),  # deleted
    link(1000, None),  # the kernel did not say
])
def test_no_carrier(data: bytes) -> None:
    assert list(link_states(data)) == [LinkState(1000, False)]


def test_other_messages_are_passed_over() -> None:
    assert list(link_states(message(3, b"") + link(7, 1))) == [LinkState(7, True)]


def test_refusal_of_the_kernel_is_an_error() -> None:
    with pytest.raises(TestbedError, match="Operation not permitted"):
        list(link_states(message(2, struct.pack("=i", -1) + bytes(16))))


@pytest.mark.parametrize("length", [0, 4, 15])
def test_message_shorter_than_its_header_is_an_error(length: int) -> None:
    data = struct.pack("=I", length) + link(1000, 1)[4:]
    with pytest.raises(TestbedError, match="shorter than its header"):
        list(link_states(data))


def test_attribute_that_claims_no_length_ends_the_search() -> None:
    body = struct.pack("=BxHiII", 0, 1, 1000, UP, 0) + bytes(8)
    assert list(link_states(message(16, body))) == [LinkState(1000, False)]


def test_every_change_is_reported_once_and_in_order() -> None:
    watch = CarrierWatch(frozenset({1000}))
    data = link(1000, 1) + link(1000, 1) + link(5, 1) + link(1000, 0) + link(1000, 1)
    assert watch._apply(data) == [
        LinkState(1000, True), LinkState(1000, False), LinkState(1000, True)
    ]
    assert watch.has_carrier(1000)
