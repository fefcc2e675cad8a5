"""Configuration and counters of every switch port, in the maps of the port program.

`PortMap` writes what a port shall do and reads what it did: one system call per
port, no process. Ports are named by their slot (= interface index). What is
written is the whole configuration of a port, never a change to it, so whoever
holds the desired state writes it again and is done.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv6Address

from testbed.fabric.bpf import PortProgram
from testbed.metrics.ports import TALLIES, PortCounters, Tally
from topologies.numbers import PortThresholds

CERTAIN = 1 << 32  # probability 1 as the program counts it

_FACES_HOST = 1
_BLACKHOLE = 2
_HAS_EV_FAULTS = 4

NO_THRESHOLDS = PortThresholds(0, 0, 0, 0, 0)


# --- What is written and read --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PortConfig:
    """All that one egress port shall do.

    ``drain_rate_bps``: wall-clock bit/s of the virtual queues, to the whole byte per
    second as in `shaping`; 0 for a port without queue model (a NIC port), which ignores
    ``thresholds``. ``faces_host``: trimmed frames are labelled as trimmed at the last
    hop. Ratios are 0..1. ``seed`` (64 bits) fixes the fate of the n-th frame; a new
    ``epoch`` (32 bits, say the number of the run) begins the sequence anew. Ports of
    one seed still have sequences of their own.
    """

    drain_rate_bps: int = 0
    thresholds: PortThresholds = NO_THRESHOLDS
    faces_host: bool = False
    blackhole: bool = False
    loss_ratio: float = 0.0
    corrupt_ratio: float = 0.0
    seed: int = 0
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class EvFlow:
    """The frames one EV fault is about, at the egress of one port.

    ``ev`` has 32 bits; source and destination are the inner addresses.
    """

    slot: int
    ev: int
    source: IPv6Address
    destination: IPv6Address


@dataclass(frozen=True, slots=True)
class EvFault:
    """Share of a flow's frames that is dropped (0..1), and the counts so far."""

    loss_ratio: float
    seed: int = 0
    seen_frames: int = field(default=0, compare=False)
    dropped_frames: int = field(default=0, compare=False)


# --- Layouts of port.bpf.c, field for field -------------------------------------------


class ConfigLayout(ctypes.Structure):
    """struct port_config"""

    _fields_ = (
        ("drain_bytes_per_s", ctypes.c_uint64),
        ("seed", ctypes.c_uint64),
        ("loss", ctypes.c_uint64),
        ("corrupt", ctypes.c_uint64),
        ("epoch", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("ecn_min_bytes", ctypes.c_uint32),
        ("ecn_max_bytes", ctypes.c_uint32),
        ("trim_bytes", ctypes.c_uint32),
        ("drop_bytes", ctypes.c_uint32),
        ("control_bytes", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
    )


class TallyLayout(ctypes.Structure):
    """struct tally"""

    _fields_ = (("frames", ctypes.c_uint64), ("bytes", ctypes.c_uint64))


class StateLayout(ctypes.Structure):
    """struct port_state; its tallies are in the order of enum account"""

    _fields_ = (
        ("lock", ctypes.c_uint32),
        ("epoch", ctypes.c_uint32),
        ("drained_until_ns", ctypes.c_uint64),
        ("control_units", ctypes.c_uint64),
        ("data_units", ctypes.c_uint64),
        ("control_max_bytes", ctypes.c_uint64),
        ("data_max_bytes", ctypes.c_uint64),
        ("draws", ctypes.c_uint64),
        ("tallies", TallyLayout * len(TALLIES)),
    )


class EvKeyLayout(ctypes.Structure):
    """struct ev_key"""

    _fields_ = (
        ("slot", ctypes.c_uint32),
        ("ev", ctypes.c_uint32),
        ("source", ctypes.c_uint8 * 16),
        ("destination", ctypes.c_uint8 * 16),
    )


class EvFaultLayout(ctypes.Structure):
    """struct ev_fault"""

    _fields_ = (
        ("probability", ctypes.c_uint64),
        ("seed", ctypes.c_uint64),
        ("seen", ctypes.c_uint64),
        ("dropped", ctypes.c_uint64),
    )


_UNITS_PER_BYTE = 10**9


def probability_of(ratio: float) -> int:
    """A ratio 0..1 as the program counts probability: 0..2^32, to nearest."""
    if not 0.0 <= ratio <= 1.0:
        raise ValueError(f"ratio {ratio} is out of range; it must be between 0 and 1")
    return round(ratio * CERTAIN)


def ratio_of(probability: int) -> float:
    """The inverse of `probability_of`, exact for what that returns."""
    return probability / CERTAIN


def _check_config(config: PortConfig) -> None:
    limits = config.thresholds
    if 0 < config.drain_rate_bps < 8:
        raise ValueError(
            f"drain rate {config.drain_rate_bps} bit/s is below one byte per second; "
            "raise it, or write 0 for a port without queue model"
        )
    if config.drain_rate_bps and not (limits.drop_bytes and limits.control_bytes):
        raise ValueError(
            f"a port that drains at {config.drain_rate_bps} bit/s needs drop_bytes and "
            "control_bytes above 0, or it drops every frame"
        )
    if limits.ecn_min_bytes > limits.ecn_max_bytes:
        raise ValueError(
            f"ecn_min_bytes {limits.ecn_min_bytes} is above ecn_max_bytes "
            f"{limits.ecn_max_bytes}; swap them, or write 0 for both to never mark"
        )


def _encode_config(config: PortConfig, has_ev_faults: bool) -> ConfigLayout:
    _check_config(config)
    limits = config.thresholds
    flags = (
        config.faces_host * _FACES_HOST
        | config.blackhole * _BLACKHOLE
        | has_ev_faults * _HAS_EV_FAULTS
    )
    return ConfigLayout(
        drain_bytes_per_s=config.drain_rate_bps // 8,
        seed=config.seed,
        loss=probability_of(config.loss_ratio),
        corrupt=probability_of(config.corrupt_ratio),
        epoch=config.epoch,
        flags=flags,
        ecn_min_bytes=limits.ecn_min_bytes,
        ecn_max_bytes=limits.ecn_max_bytes,
        trim_bytes=limits.trim_bytes,
        drop_bytes=limits.drop_bytes,
        control_bytes=limits.control_bytes,
    )


def _decode_config(layout: ConfigLayout) -> PortConfig:
    return PortConfig(
        drain_rate_bps=layout.drain_bytes_per_s * 8,
        thresholds=PortThresholds(
            layout.ecn_min_bytes, layout.ecn_max_bytes, layout.trim_bytes,
            layout.drop_bytes, layout.control_bytes,
        ),
        faces_host=bool(layout.flags & _FACES_HOST),
        blackhole=bool(layout.flags & _BLACKHOLE),
        loss_ratio=ratio_of(layout.loss),
        corrupt_ratio=ratio_of(layout.corrupt),
        seed=layout.seed,
        epoch=layout.epoch,
    )  # fmt: skip


def _decode_state(layout: StateLayout) -> PortCounters:
    tallies = [Tally(item.frames, item.bytes) for item in layout.tallies]
    return PortCounters(
        **dict(zip(TALLIES, tallies, strict=True)),
        control_queue_bytes=layout.control_units // _UNITS_PER_BYTE,
        data_queue_bytes=layout.data_units // _UNITS_PER_BYTE,
        control_max_bytes=layout.control_max_bytes,
        data_max_bytes=layout.data_max_bytes,
    )


def _encode_flow(flow: EvFlow) -> EvKeyLayout:
    address = ctypes.c_uint8 * 16
    return EvKeyLayout(
        flow.slot, flow.ev, address(*flow.source.packed), address(*flow.destination.packed)
    )


def _decode_flow(layout: EvKeyLayout) -> EvFlow:
    return EvFlow(
        layout.slot,
        layout.ev,
        IPv6Address(bytes(layout.source)),
        IPv6Address(bytes(layout.destination)),
    )


# --- The maps ------------------------------------------------------------------------


class PortMap:
    """The ports of one loaded `PortProgram`.

    Slots are 0 to ``program.slots`` - 1; others raise `IndexError`. A slot never
    written passes every SRv6 frame and counts it. Not for two threads at once on one
    slot.
    """

    def __init__(self, program: PortProgram) -> None:
        self._slots = program.slots
        self._configs = program.map("port_config", ctypes.c_uint32, ConfigLayout)
        self._states = program.map(
            "port_state", ctypes.c_uint32, StateLayout, is_locked=True
        )
        self._ev_faults = program.map("ev_faults", EvKeyLayout, EvFaultLayout)

    def write(self, slot: int, config: PortConfig) -> None:
        """Make this the configuration of a port; its EV faults stay as they are."""
        layout = _encode_config(config, has_ev_faults=bool(self.ev_faults(slot)))
        self._configs.update(self._key(slot), layout)

    def read_config(self, slot: int) -> PortConfig:
        """What the program has, decoded: rates to the byte per second, ratios to 2^-32."""
        return _decode_config(self._config_layout(slot))

    def read(self, slot: int) -> PortCounters:
        """The counters of a port, all of one instant."""
        layout = self._states.lookup(self._key(slot))
        assert layout is not None  # an array has every index
        return _decode_state(layout)

    def read_all(self, slots: Iterable[int]) -> dict[int, PortCounters]:
        """The counters of many ports by slot, each of one instant."""
        return {slot: self.read(slot) for slot in slots}

    def set_ev_fault(self, flow: EvFlow, fault: EvFault) -> None:
        """Drop ``fault.loss_ratio`` of a flow's frames; counts of an earlier fault go on."""
        key = _encode_flow(flow)
        before = self._ev_faults.lookup(key) or EvFaultLayout()
        self._ev_faults.update(key, EvFaultLayout(
            probability_of(fault.loss_ratio), fault.seed, before.seen, before.dropped
        ))  # fmt: skip
        self._flag_ev_faults(flow.slot)

    def clear_ev_fault(self, flow: EvFlow) -> None:
        """End the fault of a flow, if there is one."""
        self._ev_faults.delete(_encode_flow(flow))
        self._flag_ev_faults(flow.slot)

    def read_ev_fault(self, flow: EvFlow) -> EvFault | None:
        """The fault of a flow with its counts so far, or None."""
        layout = self._ev_faults.lookup(_encode_flow(flow))
        if layout is None:
            return None
        return EvFault(ratio_of(layout.probability), layout.seed, layout.seen, layout.dropped)

    def ev_faults(self, slot: int | None = None) -> list[EvFlow]:
        """The flows with a fault, on one port or on all."""
        flows = [_decode_flow(key) for key in self._ev_faults.keys()]  # noqa: SIM118
        return [flow for flow in flows if slot in (None, flow.slot)]

    def _flag_ev_faults(self, slot: int) -> None:
        layout = self._config_layout(slot)
        if self.ev_faults(slot):
            layout.flags |= _HAS_EV_FAULTS
        else:
            layout.flags &= ~_HAS_EV_FAULTS
        self._configs.update(self._key(slot), layout)

    def _config_layout(self, slot: int) -> ConfigLayout:
        layout = self._configs.lookup(self._key(slot))
        assert layout is not None  # an array has every index
        return layout

    def _key(self, slot: int) -> ctypes.c_uint32:
        if not 0 <= slot < self._slots:
            raise IndexError(f"slot {slot} is outside the {self._slots} of the port program")
        return ctypes.c_uint32(slot)
