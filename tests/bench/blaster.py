"""Bare frames: a sender and a receiver of ready-made uSID frames over AF_PACKET.

    blaster.py send SRC DST TOPOLOGY DATAPLANE PPS SECONDS    in the sender's namespace
    blaster.py count SECONDS INTERFACE...                     in the receiver's

No protocol, nothing that adapts: full data frames round robin over every path of a pair,
paced. What the receiver counts of them is what the data plane carries.
"""

from __future__ import annotations

import select
import socket
import sys
import time

from testbed.agent.frames import FrameHeaders
from testbed.forwarding.paths import paths
from testbed.intent.topology import load_topology
from topologies.graph import build_graph
from topologies.numbers import ENCAPSULATION_BYTES, Dscp, data_frame_bytes

_ETH_P_ALL = 3
_SOL_PACKET, _IGNORE_OUTGOING = 263, 23
_FORCE_SEND, _FORCE_RECEIVE = 32, 33
_BUFFER_BYTES = 32 << 20


def open_socket(interface: str) -> socket.socket:
    """A packet socket with room for what a stalled interpreter misses."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.setsockopt(socket.SOL_SOCKET, _FORCE_SEND, _BUFFER_BYTES)
    sock.setsockopt(socket.SOL_SOCKET, _FORCE_RECEIVE, _BUFFER_BYTES)
    sock.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
    sock.bind((interface, _ETH_P_ALL))
    return sock


def send(src: int, dst: int, topology: str, dataplane: str, pps: float, seconds: float) -> int:
    """Send frames at a rate over all paths in turn; how many."""
    spec = load_topology(topology, [f"dataplane={dataplane}"])
    graph = build_graph(spec)
    host, peer = graph.hosts[src], graph.hosts[dst]
    payload = bytes(data_frame_bytes(spec.payload_bytes) - ENCAPSULATION_BYTES)
    socks = [open_socket(port.interface) for port in host.nic_ports]
    ways = []
    # One path of each plane in turn, so that planes are loaded evenly at every moment.
    for path in sorted(paths(spec, src, dst), key=lambda path: (path.ev & 0xFFFFFF, path.plane)):
        port = host.nic_ports[path.plane]
        header = FrameHeaders(
            bytes.fromhex(port.peer.mac.replace(":", "")), bytes.fromhex(port.mac.replace(":", "")),
            path.address.packed, host.address.packed, peer.address.packed, path.ev,
            int(Dscp.NO_TRIM)).pack(len(payload))  # fmt: skip
        ways.append((socks[path.plane], header + payload))
    began, sent, total = time.monotonic(), 0, int(pps * seconds)
    while sent < total:
        due = min(total, int((time.monotonic() - began) * pps) + 1)
        for number in range(sent, due):
            sock, frame = ways[number % len(ways)]
            sock.send(frame)
        sent = due
        time.sleep(0.0002)
    return sent


def count(seconds: float, interfaces: list[str]) -> int:
    """Full frames that arrive until nothing has for half a second, at most so long."""
    socks = [open_socket(interface) for interface in interfaces]
    print("ready", flush=True)
    until, received, buffer = time.monotonic() + seconds, 0, bytearray(16384)
    while time.monotonic() < until:
        ready, _, _ = select.select(socks, [], [], 0.5 if received else seconds)
        if not ready and received:
            break
        for sock in ready:
            sock.setblocking(False)
            try:
                while True:
                    received += sock.recv_into(buffer) > 1000
            except BlockingIOError:
                pass
    return received


if __name__ == "__main__":
    if sys.argv[1] == "send":
        source, target, name, plane, rate, duration = sys.argv[2:]
        print(send(int(source), int(target), name, plane, float(rate), float(duration)))
    else:
        print(count(float(sys.argv[2]), sys.argv[3:]))
