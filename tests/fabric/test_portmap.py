"""Layouts shared with the C source, and configurations and counters in the maps."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv6Address

import pytest

from testbed.fabric.bpf import PortProgram, build_object
from testbed.fabric.portmap import (
    CERTAIN,
    ConfigLayout,
    EvFault,
    EvFaultLayout,
    EvFlow,
    EvKeyLayout,
    PortConfig,
    PortMap,
    StateLayout,
    TallyLayout,
    probability_of,
    ratio_of,
)
from testbed.metrics.ports import PortCounters, Tally
from topologies.numbers import PortThresholds

BTF_KIND_STRUCT = 4
THRESHOLDS = PortThresholds(1, 2, 3, 4, 5)
FULL = PortConfig(
    drain_rate_bps=8_000, thresholds=THRESHOLDS, faces_host=True, blackhole=True,
    loss_ratio=0.25, corrupt_ratio=1.0, seed=2**64 - 1, epoch=2**32 - 1,
)  # fmt: skip
FLOW = EvFlow(7, 0x0203_0000, IPv6Address("2001:db8::1"), IPv6Address("2001:db8::2"))


@pytest.fixture
def ports() -> Iterator[PortMap]:
    with PortProgram(slots=64) as program:
        yield PortMap(program)


# --- Layouts -------------------------------------------------------------------------


def compiled_layout(name: str) -> tuple[int, dict[str, int]]:
    """Size and field offsets of a struct, as the compiler wrote them down (BTF)."""
    libbpf = ctypes.CDLL("libbpf.so.1")
    for function in ("btf__parse", "btf__type_by_id", "btf__name_by_offset"):
        getattr(libbpf, function).restype = ctypes.c_void_p
    btf = ctypes.c_void_p(libbpf.btf__parse(bytes(build_object()), None))
    number = libbpf.btf__find_by_name_kind(btf, name.encode(), BTF_KIND_STRUCT)
    address = libbpf.btf__type_by_id(btf, number)
    _, info, size = struct.unpack("III", ctypes.string_at(address, 12))
    members = ctypes.string_at(address + 12, 12 * (info & 0xFFFF))
    offsets = {
        ctypes.string_at(libbpf.btf__name_by_offset(btf, label)).decode(): bits // 8
        for label, _, bits in struct.iter_unpack("III", members)
    }
    libbpf.btf__free(btf)
    return size, offsets


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("port_config", ConfigLayout),
        ("port_state", StateLayout),
        ("tally", TallyLayout),
        ("ev_key", EvKeyLayout),
        ("ev_fault", EvFaultLayout),
    ],
)
def test_layouts_are_those_of_the_compiled_program(
    name: str, layout: type[ctypes.Structure]
) -> None:
    offsets = {field[0]: getattr(layout, field[0]).offset for field in layout._fields_}
    assert compiled_layout(name) == (ctypes.sizeof(layout), offsets)


# --- Plain values --------------------------------------------------------------------


@pytest.mark.parametrize("probability", [0, 1, 12345, CERTAIN - 1, CERTAIN])
def test_ratios_and_probabilities_are_inverses(probability: int) -> None:
    assert probability_of(ratio_of(probability)) == probability


@pytest.mark.parametrize("ratio", [-0.01, 1.01, float("nan")])
def test_a_ratio_out_of_range_is_refused(ratio: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        probability_of(ratio)


def test_counters_add_up() -> None:
    counters = PortCounters(
        offered=Tally(10, 10_000), passed_control=Tally(2, 322), passed_data=Tally(5, 5_000),
        trimmed=Tally(1, 878), dropped_tail=Tally(1, 1_000), dropped_ev=Tally(2, 2_800),
    )  # fmt: skip
    assert counters.passed == Tally(7, 5_322)
    assert counters.dropped == Tally(3, 3_800)
    assert counters.unexplained == Tally(0, 0)
    later = replace(counters, offered=Tally(12, 12_000), data_max_bytes=77)
    assert later.unexplained == Tally(2, 2_000)
    assert later.since(counters) == PortCounters(offered=Tally(2, 2_000), data_max_bytes=77)


# --- In the kernel -------------------------------------------------------------------


@pytest.mark.root
def test_a_configuration_reads_back_as_written(ports: PortMap) -> None:
    ports.write(63, FULL)
    assert ports.read_config(63) == FULL
    assert ports.read_config(62) == PortConfig()
    assert ports.read_all([62, 63]) == {62: PortCounters(), 63: PortCounters()}


@pytest.mark.root
@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (PortConfig(drain_rate_bps=8_000), "needs drop_bytes and control_bytes"),
        (replace(FULL, drain_rate_bps=7), "below one byte per second"),
        (replace(FULL, loss_ratio=2.0), "between 0 and 1"),
        (replace(FULL, thresholds=replace(THRESHOLDS, ecn_min_bytes=9)), "is above ecn_max"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused_and_changes_nothing(
    ports: PortMap, config: PortConfig, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        ports.write(1, config)
    assert ports.read_config(1) == PortConfig()


@pytest.mark.root
@pytest.mark.parametrize("slot", [-1, 64])
def test_a_slot_beyond_the_map_is_refused(ports: PortMap, slot: int) -> None:
    with pytest.raises(IndexError, match=f"slot {slot} is outside the 64"):
        ports.write(slot, PortConfig())


@pytest.mark.root
def test_ev_faults_come_and_go_beside_the_configuration(ports: PortMap) -> None:
    other = replace(FLOW, ev=1)
    ports.set_ev_fault(FLOW, EvFault(0.5, seed=3))
    ports.set_ev_fault(other, EvFault(1.0))
    ports.write(FLOW.slot, FULL)
    assert set(ports.ev_faults()) == set(ports.ev_faults(FLOW.slot)) == {FLOW, other}
    assert ports.ev_faults(8) == []
    assert ports.read_ev_fault(FLOW) == EvFault(0.5, seed=3)
    ports.clear_ev_fault(FLOW)
    ports.clear_ev_fault(FLOW)  # not there: nothing to do
    assert ports.ev_faults() == [other]
    assert ports.read_ev_fault(FLOW) is None
    assert ports.read_config(FLOW.slot) == FULL
