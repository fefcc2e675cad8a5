"""testbed/agent/probing.py: two hosts whose ports are lists; frames are carried by hand."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast

import pytest

from testbed.agent.config import AgentConfig, PortConfig
from testbed.agent.frames import parse
from testbed.agent.port import Port, PortCounters
from testbed.agent.prober import ProbePath
from testbed.agent.probing import Probing, read_request
from topologies.ev import make_ev
from topologies.numbers import TRIMMED_FRAME_BYTES, Dscp
from topologies.usid import address_of

FORTH, BACK = address_of([0x1803]), address_of([0x1804])
PLANE = 1
OUTER_CLASS, OUTER_HOPS = 14, 21  # offsets of the first word and of the hop limit
INNER_CLASS = 54


class FakePort:
    """Keeps what is sent; refuses it while down."""

    def __init__(self, config: PortConfig) -> None:
        self.config = config
        self.counters = PortCounters()
        self.frames: list[bytes] = []
        self.is_down = False

    def send(self, frame: bytes) -> bool:
        if not self.is_down:
            self.frames.append(frame)
        return not self.is_down


class Host:
    def __init__(self, number: int) -> None:
        mac, peer = bytes([2, 0, 0, 0, 0, number]), bytes([2, 0, 0, 0, 0, 1 - number])
        port = PortConfig(PLANE, f"h{number}-eth1", mac, peer, 1000 + number)
        self.config = AgentConfig(number, bytes(15) + bytes([number]), (port,), 1000, 10)
        self.port = FakePort(port)
        self.asked: list[tuple[ProbePath, Callable[[int], None]]] = []
        self.probing = Probing(self.config, {PLANE: cast(Port, self.port)}, self.ask)

    def ask(self, path: ProbePath, on_answer: Callable[[int], None]) -> bool:
        self.asked.append((path, on_answer))
        return not self.port.is_down

    def start(self, is_self: bool = False, **changes: Any) -> None:
        path = {"ev": make_ev(PLANE, 2), "plane": PLANE, "address": str(FORTH)}
        path |= {"self": True} if is_self else {"dst": "::1", "reverse": str(BACK)}
        request = read_request({"paths": [path], "timeout_ms": 1000, **changes}, self.config)
        self.probing.start(7, request, 0)
        self.probing.pump(0)

    def receive(self, frame: bytes) -> None:
        self.probing.on_frame(cast(Port, self.port), memoryview(frame), time.time_ns())

    def row(self) -> dict[str, Any]:
        ((key, rows),) = self.probing.take_finished(self.config.tdf)
        assert key == 7
        return rows[0]


@pytest.fixture
def hosts() -> tuple[Host, Host]:
    return Host(0), Host(1)


def carried(frame: bytes, hops: int, mark_at: int | None = None) -> bytes:
    """The frame after so many switches, CE marked in the header at this offset."""
    data = bytearray(frame)
    data[OUTER_HOPS] -= hops
    if mark_at is not None:
        data[mark_at + 1] |= 0x30  # traffic class: the low half of byte 0, the high of byte 1
    return bytes(data)


def test_probe_is_answered_on_the_way_back_it_names(hosts: tuple[Host, Host]) -> None:
    here, there = hosts
    here.start(dscp=int(Dscp.TRIMMABLE), ecn=2, size=1000)
    (probe,) = here.port.frames
    assert len(probe) == 1000
    there.receive(carried(probe, 3))
    (reply,) = there.port.frames
    facts = parse(reply)
    assert reply[:6] == there.port.config.peer_mac
    assert facts.path_address == BACK.packed
    assert (facts.source, facts.destination) == (there.config.address, here.config.address)
    assert (facts.ev, facts.dscp, facts.hops) == (make_ev(PLANE, 2), Dscp.CONTROL, 0)
    here.receive(carried(reply, 1))
    row = here.row()
    assert (row["sent"], row["received"], row["links"], row["marked"]) == (1, 1, 4 + 2, 0)
    assert row["rtt_ns"] == [row["rtt_wall_ns"][0] // 10 + 6 * 1000]
    assert there.probing.counters()["answered"] == 1


@pytest.mark.parametrize("mark_at", [OUTER_CLASS, INNER_CLASS])
@pytest.mark.parametrize("is_out", [True, False])
def test_congestion_either_way_is_reported(
    hosts: tuple[Host, Host], is_out: bool, mark_at: int
) -> None:
    here, there = hosts
    here.start(ecn=2)
    there.receive(carried(here.port.frames[0], 1, mark_at if is_out else None))
    here.receive(carried(there.port.frames[0], 1, None if is_out else mark_at))
    assert here.row()["marked"] == 1


def test_self_probe_comes_home_unanswered(hosts: tuple[Host, Host]) -> None:
    here, _ = hosts
    here.start(is_self=True)
    here.receive(carried(here.port.frames[0], 3))
    assert len(here.port.frames) == 1
    row = here.row()
    assert (row["received"], row["links"]) == (1, 4)


def test_trimmed_probe_is_counted_not_answered(hosts: tuple[Host, Host]) -> None:
    here, there = hosts
    here.start(size=4238, dscp=int(Dscp.TRIMMABLE))
    frame = bytearray(here.port.frames[0][:TRIMMED_FRAME_BYTES])
    for offset in (OUTER_CLASS, INNER_CLASS):
        word = int.from_bytes(frame[offset:offset + 4], "big") & ~(0x3F << 22)
        frame[offset:offset + 4] = (word | int(Dscp.TRIMMED) << 22).to_bytes(4, "big")
    there.receive(bytes(frame))
    assert there.port.frames == []
    assert there.probing.counters()["trimmed"] == 1
    assert there.port.counters.foreign == 0


def test_frames_for_others_are_misrouted(hosts: tuple[Host, Host]) -> None:
    here, _ = hosts
    here.start()
    here.receive(here.port.frames[0])  # meant for the other host
    here.receive(b"\xff" * 200)
    assert (here.port.counters.misrouted, here.port.counters.foreign) == (1, 1)


def test_port_that_is_down_refuses_probe_and_reply(hosts: tuple[Host, Host]) -> None:
    here, there = hosts
    here.start()
    there.port.is_down = True
    there.receive(here.port.frames[0])
    assert there.probing.counters()["unanswered"] == 1
    there.start()
    row = there.row()
    assert (row["sent"], row["refused"], row["received"]) == (0, 1, 0)


def test_ev_probes_are_the_endpoints(hosts: tuple[Host, Host]) -> None:
    here, _ = hosts
    here.start(ev_probe=True)
    ((path, on_answer),) = here.asked
    assert (path.ev, path.plane) == (make_ev(PLANE, 2), PLANE)
    assert here.port.frames == []
    on_answer(9_472)
    row = here.row()
    assert (row["sent"], row["received"], row["rtt_ns"]) == (1, 1, [9_472])
    on_answer(9_472)
    assert here.probing.counters()["late"] == 1


def test_ev_probes_are_refused_where_the_port_is_down(hosts: tuple[Host, Host]) -> None:
    here, _ = hosts
    here.port.is_down = True
    here.start(ev_probe=True)
    assert here.row()["refused"] == 1
