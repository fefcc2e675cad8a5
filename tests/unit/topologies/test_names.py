"""Names, MACs and addresses: forms, limits, no two alike."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest

from topologies import names, usid


def test_names_have_their_forms() -> None:
    assert names.host_name(3) == "h3"
    assert names.switch_name(1, 0, 3) == "p1-t0-3"
    assert names.nic_interface(3, 2) == "h3-eth2"
    assert names.switch_interface("p1-t0-3", 5) == "p1-t0-3-e5"
    assert (names.downlink_port(0), names.uplink_port(4, 0), names.t1_port(0)) == (1, 5, 1)


def test_the_longest_interface_name_fits_linux() -> None:
    last_port = names.uplink_port(hosts_per_t0=2048, uplink=255)
    longest = names.switch_interface(names.switch_name(7, 0, 511), last_port)
    assert len(longest) == names.MAX_INTERFACE_CHARACTERS
    assert len(names.nic_interface(512 * 2048 - 1, 7)) <= names.MAX_INTERFACE_CHARACTERS


@pytest.mark.parametrize("text", ["h", "h01", "H3", "h-1", "h3 ", "host3", "h12345678", "h٣"])
def test_what_is_no_host_is_not_read(text: str) -> None:
    assert names.parse_host(text) is None


@pytest.mark.parametrize(
    "text", ["p8-t0-0", "p1-t2-0", "p1-t0", "p1-t0-01", "p1-t0-0-e1", "P1-t0-0", "1-t0-0"]
)
def test_what_is_no_switch_is_not_read(text: str) -> None:
    assert names.parse_switch(text) is None


def test_names_are_read_back() -> None:
    assert names.parse_host(names.host_name(1_048_575)) == 1_048_575
    assert names.parse_switch(names.switch_name(7, 1, 255)) == (7, 1, 255)


def test_hosts_have_documentation_addresses_free_of_plane() -> None:
    assert names.host_address(0, 0) == IPv6Address("2001:db8::1")
    assert names.host_address(511, 2047) == IPv6Address("2001:db8:0:1ff::800")


def test_macs_are_local_unicast_and_differ() -> None:
    macs = {names.nic_mac(host, plane) for host in range(300) for plane in range(8)}
    for kind in (usid.Kind.T0, usid.Kind.T1):
        for plane in range(8):
            own = usid.encode(plane, kind, 300)
            macs |= {names.switch_mac(own, number) for number in range(1, 301)}
    assert len(macs) == 8 * 300 + 2 * 8 * 300
    first_octets = {int(mac[:2], 16) for mac in macs}
    assert first_octets == {0x02}
    assert names.nic_mac(0x0ABCDE, 7) == "02:01:07:0a:bc:de"
    assert names.switch_mac(0xF7FF, 2304) == "02:02:f7:ff:09:00"
