"""What tshark, which knows nothing of us, sees on the wire hop by hop."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path

import pytest
from testbed_process import Running

from testbed.forwarding.egress import egress_slots
from testbed.forwarding.paths import Path as FabricPath
from testbed.forwarding.paths import path_of_ev
from topologies.ev import flow_label, format_ev, parse_ev, udp_source_port
from topologies.graph import Graph
from topologies.numbers import HOP_LIMIT, UDP_PORT
from topologies.usid import shift

pytestmark = pytest.mark.root

FIELDS = ("ipv6.dst", "ipv6.src", "ipv6.hlim", "ipv6.nxt", "ipv6.flow", "udp.srcport",
          "udp.dstport", "eth.src", "eth.dst")


@dataclass(frozen=True, slots=True)
class Decoded:
    """tshark's view of one frame; pairs are (outer, inner)."""

    dst: tuple[IPv6Address, IPv6Address]
    src: tuple[IPv6Address, IPv6Address]
    hop_limit: tuple[int, int]
    next_header: tuple[int, int]
    flow: tuple[int, int]
    ports: tuple[int, int]
    macs: tuple[str, str]


def capture(running: Running, graph: Graph, path: FabricPath, folder: Path) -> list[Decoded]:
    """One probe along the path, captured as it leaves each node on the way."""
    with ExitStack() as stack:
        taps = [_tap(stack, running, graph, slot, folder) for slot in egress_slots(graph, path)]
        (row,) = running.call("probe", src=path.src, dst=path.dst, ev=format_ev(path.ev), count=1)
        assert row["received"] == 1
        for process, _file in taps:
            assert process.wait(timeout=20) == 0
        return [_decode(file) for _process, file in taps]


def _tap(stack: ExitStack, running: Running, graph: Graph, slot: int,
         folder: Path) -> tuple[subprocess.Popen[str], Path]:
    port = graph.port(slot)
    file = folder / f"{port.interface}.pcap"
    pid = running.call("node", name=port.node)["pid"]
    process = stack.enter_context(subprocess.Popen(
        ["nsenter", "-t", str(pid), "-n", "tcpdump", "-i", port.interface, "-Q", "out", "-c", "1",
         "-U", "--immediate-mode", "-Z", "root", "-w", str(file), "ip6 proto 41"],
        stderr=subprocess.PIPE, text=True))
    stack.callback(process.kill)
    assert process.stderr
    assert any("listening on" in line for line in process.stderr)
    return process, file


def _decode(file: Path) -> Decoded:
    fields = [word for field in FIELDS for word in ("-e", field)]
    done = subprocess.run(["tshark", "-r", str(file), "-T", "fields", "-E", "separator=;",
                           "-E", "occurrence=a", *fields],
                          capture_output=True, text=True, check=True)
    (line,) = done.stdout.splitlines()
    row = dict(zip(FIELDS, (cell.split(",") for cell in line.split(";")), strict=True))
    return Decoded(
        dst=_pair(row["ipv6.dst"], IPv6Address), src=_pair(row["ipv6.src"], IPv6Address),
        hop_limit=_pair(row["ipv6.hlim"], int), next_header=_pair(row["ipv6.nxt"], int),
        flow=_pair(row["ipv6.flow"], lambda text: int(text, 0)),
        ports=(int(row["udp.srcport"][0]), int(row["udp.dstport"][0])),
        macs=(row["eth.src"][0], row["eth.dst"][0]))


def _pair(cells: list[str], read: object) -> tuple:  # type: ignore[type-arg]
    assert len(cells) == 2, cells
    return tuple(read(cell) for cell in cells)  # type: ignore[operator]


@pytest.mark.parametrize("ev", ["0x0000", "0x0101"])
def test_the_outer_address_shifts_hop_by_hop_and_the_inner_packet_is_intact(
    healthy: Running, tmp_path: Path, ev: str
) -> None:
    graph = healthy.graph()
    path = path_of_ev(graph.spec, 0, 3, parse_ev(ev))
    frames = capture(healthy, graph, path, tmp_path)
    assert len(frames) == 4, "NIC, T0, T1, T0"
    outer = path.address
    for hop, (frame, slot) in enumerate(zip(frames, egress_slots(graph, path), strict=True)):
        port = graph.port(slot)
        assert frame.dst == (outer, graph.hosts[3].address)
        assert frame.src == (graph.hosts[0].address, graph.hosts[0].address)
        assert frame.hop_limit == (HOP_LIMIT - hop, HOP_LIMIT)
        assert frame.next_header == (41, 17)
        assert frame.flow == (flow_label(path.ev),) * 2
        assert frame.ports == (udp_source_port(path.ev), UDP_PORT)
        assert frame.macs == (port.mac, port.peer.mac)
        outer = shift(outer)
