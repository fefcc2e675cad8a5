"""What a Clos may be, and the counts that follow from it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from topologies import spec
from topologies.spec import ClosSpec

QUAD = ClosSpec("quad", 4, 2, 4, 4, 100 * 10**9, 1000)
FULL = ClosSpec("full", 8, 512, 256, 256, 100 * 10**9, 1000)


def test_counts_of_the_papers_cluster() -> None:
    assert FULL.host_count == 131_072
    assert FULL.nic_port_count == 8 * 131_072
    assert (FULL.t0_count, FULL.t1_count, FULL.switch_count) == (4096, 2048, 6144)
    assert FULL.fabric_link_count == 8 * 512 * 256
    assert FULL.link_count == 2 * 8 * 131_072
    assert spec.faults(FULL) == ()


def test_counts_of_wide() -> None:
    wide = ClosSpec("wide", 4, 8, 4, 8, 100 * 10**9, 1000)
    assert (wide.host_count, wide.nic_port_count, wide.switch_count) == (64, 256, 48)
    assert wide.switch_port_count == 512


def test_hosts_fill_t0_groups_in_order() -> None:
    assert [QUAD.t0_of(host) for host in range(8)] == [0, 0, 0, 0, 1, 1, 1, 1]
    assert [QUAD.downlink_of(host) for host in range(8)] == [0, 1, 2, 3, 0, 1, 2, 3]
    assert QUAD.is_cross_t1(3, 4)
    assert not QUAD.is_cross_t1(4, 7)


@pytest.mark.parametrize("host", [-1, 8])
def test_hosts_that_do_not_exist_are_refused(host: int) -> None:
    with pytest.raises(ValueError, match=r"quad has h0 to h7"):
        QUAD.t0_of(host)


@pytest.mark.parametrize(
    ("field", "lowest", "highest"),
    [
        ("planes", 1, 8),
        ("t0_per_plane", 1, 512),
        ("t1_per_plane", 1, 256),
        ("hosts_per_t0", 1, 2048),
        ("port_rate_bps", 10**9, 1_600_000_000_000),
        ("link_delay_ns", 0, 100_000),
        ("payload_bytes", 256, 8192),
    ],
)
def test_each_number_has_its_range(field: str, lowest: int, highest: int) -> None:
    for value in (lowest, highest):
        assert spec.faults(replace(QUAD, **{field: value})) == ()
    step = 4 if field == "payload_bytes" else 1
    for value in (lowest - step, highest + step):
        (fault,) = spec.faults(replace(QUAD, **{field: value}))
        assert (fault.field, fault.value) == (field, value)


def test_the_mtu_must_hold_payload_and_headers() -> None:
    assert spec.faults(replace(QUAD, mtu_bytes=4096 + 132)) == ()
    (fault,) = spec.faults(replace(QUAD, mtu_bytes=4096 + 131))
    assert "at least 4228B" in str(fault)
    (fault,) = spec.faults(replace(QUAD, mtu_bytes=100))
    assert str(fault) == "mtu_bytes = 100 is not allowed: 1280B to 9216B"


def test_payload_is_padded_to_four() -> None:
    (fault,) = spec.faults(replace(QUAD, payload_bytes=4097))
    assert fault.allowed == "a multiple of 4B"


def test_all_faults_are_reported_at_once() -> None:
    broken = replace(QUAD, planes=9, t0_per_plane=0, mtu_bytes=1)
    assert [fault.field for fault in spec.faults(broken)] == [
        "planes", "t0_per_plane", "mtu_bytes",
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"planes = 9 .*; t0_per_plane = 0 .*; mtu_bytes = 1 "):
        spec.validate(broken)


def test_an_unknown_data_plane_is_a_fault() -> None:
    (fault,) = spec.faults(replace(QUAD, dataplane="kernel"))  # type: ignore[arg-type]
    assert fault.allowed == "ovs or linux"
