"""How many packets one pair of endpoints sends and acknowledges per second of one core.

No simulator, no fabric: what one endpoint transmits the other receives at once, on a
virtual clock that advances as 800 Gb/s ports would. Both ends run on the one core, so a
packet here is encoded, decoded, checked, placed, acknowledged, and its SACK taken in.
``--profile`` prints where the time goes.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import random
import time

from testbed.forwarding.routes import host_routes
from testbed.intent.topology import load_topology
from testbed.transport.mrc.device import CC_CROSS_T1, PeerInfo, connect, make_qp, open_device
from testbed.transport.mrc.verbs import SendWr
from testbed.transport.mrc.wire.crc import CRC_SOURCE

MESSAGE_BYTES = 32_768
SLOTS = 32
DEPTH = 128


class Pair:
    """Two hosts of octo, connected, and a clock."""

    def __init__(self) -> None:
        spec = load_topology("octo")
        self.gap_ns = round(4238 * 8e9 / (spec.planes * spec.port_rate_bps))
        self.ports = (1 << spec.planes) - 1
        self.now = 0
        self.contexts = [
            open_device(spec, host, host_routes(spec, host), random.Random(host))
            for host in (0, 7)
        ]
        self.cqs = [context.create_cq(1 << 16) for context in self.contexts]
        self.qps = [
            make_qp(context, cq, cq, 0, cc_profile=CC_CROSS_T1)
            for context, cq in zip(self.contexts, self.cqs, strict=True)
        ]
        infos = [
            PeerInfo(context.endpoint.address, qp.qp_num, 0, spec.payload_bytes)
            for context, qp in zip(self.contexts, self.qps, strict=True)
        ]
        for i in (0, 1):
            connect(self.contexts[i], self.qps[i], infos[i], infos[1 - i], 0)
        data = random.Random(1).randbytes(MESSAGE_BYTES * SLOTS)
        self.source = self.contexts[0].reg_mr(bytearray(data))
        self.target = self.contexts[1].reg_mr(bytearray(len(data)))
        self.posted = 0
        self.flight: list[tuple[int, int, bytes]] = []

    def post(self) -> None:
        """Keep the send queue full."""
        sender, qp = self.contexts[0], self.qps[0]
        sender.poll_cq(self.cqs[0], 1 << 16)
        while len(qp.requester.messages) < DEPTH:
            offset = self.posted % SLOTS * MESSAGE_BYTES
            wr = SendWr(self.posted, self.source, self.target.va + offset, self.target.rkey,
                        offset, MESSAGE_BYTES)
            sender.post_send(qp, wr, self.now)
            self.posted += 1

    def run(self, packets: int) -> None:
        """Send and acknowledge so many data packets."""
        a, b = (context.endpoint for context in self.contexts)
        flight, at = self.flight, 0
        ports = self.ports
        for number in range(packets):
            if not number & 255:
                self.post()
            now = self.now = self.now + self.gap_ns
            sent = a.transmit(now, ports)
            if sent is not None:
                flight.append((now + 5_000, *sent))
            while at < len(flight) and flight[at][0] <= now:
                b.receive(flight[at][1], flight[at][2], now)
                at += 1
                while (answer := b.transmit(now, ports)) is not None:
                    a.receive(*answer, now)
            if at > 1024:
                del flight[:at]
                at = 0
        del flight[:at]


def main(packets: int = 60_000, profile: bool = False) -> None:
    """Print packets per second; or a profile."""
    pair = Pair()
    pair.run(5_000)
    if profile:
        profiler = cProfile.Profile()
        profiler.runcall(pair.run, packets)
        pstats.Stats(profiler).sort_stats("tottime").print_stats(28)
        return
    rates = []
    for _ in range(5):
        began = time.perf_counter()
        pair.run(packets // 5)
        rates.append(packets / 5 / (time.perf_counter() - began))
    counters = pair.qps[0].requester.counters
    best = max(rates)
    print(f"{best:10,.0f} packets/s sent and acknowledged on one core (best of 5; "
          f"median {sorted(rates)[2]:,.0f}), {1e6 / best:.1f} us each")
    print(f"{CRC_SOURCE:>10} computes the CRC")
    print(f"{counters.sent:10,} sent, {counters.resent} resent, "
          f"{pair.qps[1].responder.counters.sacks:,} SACKs")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packets", type=int, default=60_000)
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    main(arguments.packets, arguments.profile)
