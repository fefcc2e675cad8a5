"""What an agent is told about its host: the first request, `configure`."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from testbed.agent.params import Params, ParamsError
from topologies.spec import ClosSpec

# A busy machine may keep the instance from beating for many seconds; one that has died is
# noticed by the end of input, so this is for one that is stuck.
HEARTBEAT_TIMEOUT_MS = 30_000
MAX_IN_FLIGHT = 64
# 10,000 small frames, or 2,000 of 4 KB: what a stalled interpreter may have to catch up on.
SOCKET_BUFFER_BYTES = 8 * 1024 * 1024

_MAX_PORTS = 8
_MAX_INDEX = 2**31 - 1


@dataclass(frozen=True, slots=True)
class PortConfig:
    """One NIC port: `slot` is the interface index it must have, MACs are 6 bytes.

    `peer_mac` is the switch port at the other end of the link.
    """

    plane: int
    interface: str
    mac: bytes
    peer_mac: bytes
    slot: int

    def to_params(self) -> dict[str, Any]:
        """The JSON object of `configure`."""
        return {
            "plane": self.plane,
            "interface": self.interface,
            "mac": self.mac.hex(":"),
            "peer_mac": self.peer_mac.hex(":"),
            "slot": self.slot,
        }


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """A host's ports and the constants of its instance.

    `address` is the inner IPv6 address, 16 bytes; `link_delay_ns` is emulated;
    `tdf` >= 1 is wall time per emulated time; `heartbeat_timeout_ms` is the
    silence on the control channel after which the agent ends itself;
    `max_in_flight` bounds the probes under way from this host at any moment. With
    `spec`, the topology it is part of, the host has an MRC device.
    """

    host: int
    address: bytes
    ports: tuple[PortConfig, ...]
    link_delay_ns: int
    tdf: int
    heartbeat_timeout_ms: int = HEARTBEAT_TIMEOUT_MS
    max_in_flight: int = MAX_IN_FLIGHT
    socket_buffer_bytes: int = SOCKET_BUFFER_BYTES
    spec: ClosSpec | None = None

    def to_params(self) -> dict[str, Any]:
        """The parameters of `configure`; `from_params` reads them back."""
        return {
            "host": self.host,
            "address": socket.inet_ntop(socket.AF_INET6, self.address),
            "ports": [port.to_params() for port in self.ports],
            "link_delay_ns": self.link_delay_ns,
            "tdf": self.tdf,
            "heartbeat_timeout_ms": self.heartbeat_timeout_ms,
            "max_in_flight": self.max_in_flight,
            "socket_buffer_bytes": self.socket_buffer_bytes,
            "spec": asdict(self.spec) if self.spec else {},
        }

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> AgentConfig:
        """Read `configure`; raises ParamsError at the first fault."""
        take = Params(params, "configure")
        config = cls(
            host=take.integer("host", 0, _MAX_INDEX),
            address=take.address("address"),
            ports=tuple(_port(entry) for entry in take.objects("ports", _MAX_PORTS)),
            link_delay_ns=take.integer("link_delay_ns", 0, 10**12),
            tdf=take_tdf(take),
            heartbeat_timeout_ms=take.integer(
                "heartbeat_timeout_ms", 1, 10**9, HEARTBEAT_TIMEOUT_MS
            ),
            max_in_flight=take.integer("max_in_flight", 1, 65536, MAX_IN_FLIGHT),
            socket_buffer_bytes=take.integer(
                "socket_buffer_bytes", 4096, 2**30, SOCKET_BUFFER_BYTES
            ),
            spec=_spec(take.mapping("spec", {})),
        )
        take.finish()
        _refuse_doubles(config.ports)
        return config


def take_tdf(take: Params) -> int:
    """The time dilation factor: 1 to 10,000,000."""
    return take.integer("tdf", 1, 10_000_000)


def _spec(fields: Mapping[str, Any]) -> ClosSpec | None:
    if not fields:
        return None
    try:
        return ClosSpec(**fields)
    except TypeError as error:
        raise ParamsError(f"configure.spec is not a topology: {error}") from None


def _port(take: Params) -> PortConfig:
    port = PortConfig(
        plane=take.integer("plane", 0, _MAX_PORTS - 1),
        interface=take.string("interface"),
        mac=take.mac("mac"),
        peer_mac=take.mac("peer_mac"),
        slot=take.integer("slot", 1, _MAX_INDEX),
    )
    take.finish()
    return port


def _refuse_doubles(ports: tuple[PortConfig, ...]) -> None:
    planes = [port.plane for port in ports]
    if len(set(planes)) < len(planes):
        raise ParamsError(f"configure.ports names a plane twice {planes}: one port per plane")
