"""How fast MRC runs in virtual time: packets, hops and emulated time per second of one core."""

from __future__ import annotations

import time

from testbed.intent.topology import load_topology
from testbed.sim.lab import Lab, Stream
from topologies.graph import build_graph

RUN_NS = 1_000_000
# what is sent: (source, destination) pairs of octo, or of the topology named
CASES = {
    "octo, one QP across T1s": ("octo", [(0, 7)]),
    "octo, both ways": ("octo", [(0, 7), (7, 0)]),
    "octo, 7:1 incast": ("octo", [(host, 7) for host in range(7)]),
    "octo, permutation of all": ("octo", [(host, (host + 4) % 8) for host in range(8)]),
    "wide, permutation of 64": ("wide", [(host, (host + 8) % 64) for host in range(64)]),
}


def main() -> None:
    """One line per case; goodput is that of the second half."""
    print(f"{'':26} {'packets/s':>10} {'events/s':>10} {'goodput':>8} "
          f"{'wall s per emulated ms':>23}")
    for name, (topology, pairs) in CASES.items():
        lab = Lab(build_graph(load_topology(topology)), 1)
        flows = [Stream(lab, *lab.connect(a, b)).start() for a, b in pairs]
        run_ns = RUN_NS if len(pairs) <= 8 else RUN_NS // 4
        began = time.perf_counter()
        lab.sim.run_until(run_ns)
        took = time.perf_counter() - began
        sent = sum(flow.side.requester.counters.sent for flow in flows)
        line = lab.spec.planes * lab.spec.port_rate_bps * len({b for _, b in pairs})
        share = sum(flow.goodput_bps(run_ns // 2, run_ns - 4_000) for flow in flows) / line
        print(f"{name:26} {sent / took:10,.0f} {lab.sim.engine.events_run / took:10,.0f} "
              f"{share:7.1%} {took * 1e6 / run_ns:23.2f}")


if __name__ == "__main__":
    main()
