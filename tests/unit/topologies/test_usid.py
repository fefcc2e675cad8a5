"""uSIDs and the addresses made of them (facts sheet section 5)."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topologies import usid
from topologies.usid import Kind

FIELDS = st.tuples(st.integers(0, 7), st.sampled_from(Kind), st.integers(0, 2047))
LISTS = st.lists(FIELDS.map(lambda fields: usid.encode(*fields)), max_size=6)


@pytest.mark.parametrize(
    ("plane", "kind", "index", "value"),
    [
        (0, Kind.T0, 0, 0x0800),
        (0, Kind.DOWNLINK, 0, 0x1800),
        (2, Kind.T0, 4, 0x4804),
        (2, Kind.T1, 3, 0x5003),
        (7, Kind.DOWNLINK, 2047, 0xFFFF),
    ],
)
def test_bits_are_where_the_plan_puts_them(
    plane: int, kind: Kind, index: int, value: int
) -> None:
    assert usid.encode(plane, kind, index) == value
    assert usid.decode(value) == usid.Usid(plane, kind, index)
    assert usid.Usid(plane, kind, index).value == value


def test_all_usids_of_a_fabric_differ_and_none_is_zero() -> None:
    values = [
        usid.encode(plane, kind, index)
        for plane in range(8)
        for kind in Kind
        for index in range(2048)
    ]
    assert len(set(values)) == len(values) == 8 * 3 * 2048
    assert 0 not in values


@pytest.mark.parametrize(("plane", "index"), [(8, 0), (-1, 0), (0, 2048), (0, -1)])
def test_fields_that_do_not_fit_are_refused(plane: int, index: int) -> None:
    with pytest.raises(ValueError, match="does not fit a uSID"):
        usid.encode(plane, Kind.T0, index)


@pytest.mark.parametrize("value", [0, 0x2001, -1, 0x10000])
def test_numbers_that_are_no_usid_are_refused(value: int) -> None:
    with pytest.raises(ValueError, match="is not a uSID"):
        usid.decode(value)


def test_an_address_reads_like_its_list() -> None:
    address = usid.address_of([0x4804, 0x5003, 0x4809, 0x5809])
    assert address == IPv6Address("fcbb:bbbb:4804:5003:4809:5809::")
    assert usid.first_usid(address) == 0x4804
    assert usid.shift(address) == IPv6Address("fcbb:bbbb:5003:4809:5809::")
    assert str(usid.prefix_of(0x4804)) == "fcbb:bbbb:4804::/48"


@settings(deadline=None)
@given(LISTS)
def test_address_and_list_are_the_same_thing(values: list[int]) -> None:
    address = usid.address_of(values)
    assert usid.usids_of(address) == tuple(values)
    assert address in usid.BLOCK


@settings(deadline=None)
@given(LISTS)
def test_shifting_takes_the_first_off_until_the_block_is_left(values: list[int]) -> None:
    address = usid.address_of(values)
    for done in range(len(values)):
        assert usid.first_usid(address) == values[done]
        address = usid.shift(address)
        assert usid.usids_of(address) == tuple(values[done + 1 :])
    assert address == usid.BLOCK.network_address
    assert usid.first_usid(address) == 0


def test_what_is_no_list_is_refused() -> None:
    with pytest.raises(ValueError, match="not in the uSID block"):
        usid.usids_of(IPv6Address("2001:db8::1"))
    with pytest.raises(ValueError, match="after the end"):
        usid.usids_of(IPv6Address("fcbb:bbbb:0800:0:1800::"))
    with pytest.raises(ValueError, match="do not fit one address"):
        usid.address_of([0x0800] * 7)
    with pytest.raises(ValueError, match="is not a uSID"):
        usid.address_of([0x0800, 0])
