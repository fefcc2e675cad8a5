"""Prove a datapath: a second hop must trim, mark CE and drop, behind a first that does too.

Builds the smallest fabric with two hops, T0-T1-T0 with one host at each end, and
looks at the T1's port. A datapath whose frames go round the port program, or whose
marks from the first hop leak to the second, fails here.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from testbed.instance.client import Control
from testbed.instance.launch import Launch
from testbed.instance.teardown import tear_down
from testbed.intent.request import UpRequest
from topologies.numbers import Dscp, Ecn
from topologies.spec import ClosSpec, Dataplane

# Slow enough that frames sent back to back meet in the queue, fast enough that the first hop
# lets some of them through together: 50 Mb/s on the wall.
SPEC = ClosSpec("selftest", planes=1, t0_per_plane=2, t1_per_plane=1, hosts_per_t0=1,
                port_rate_bps=10**11, link_delay_ns=1000)
TDF = 2_000
FRAMES = 20
LEAST_FRAMES = 3
_HOPS = (("p0-t0-0", "p0-t1-0"), ("p0-t1-0", "p0-t0-1"))
_NEVER = {"ecn_min_bytes": 0, "ecn_max_bytes": 0, "trim_bytes": 10**6, "drop_bytes": 10**6}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one trial at one hop counted; ``is_proved`` where that is what it must be."""

    trial: str
    hop: int
    frames: int
    is_proved: bool


def prove(dataplane: Dataplane = "ovs") -> list[Finding]:
    """Build it, try, take it down; see `datapath.forced` for which datapath."""
    name = f"selftest-{os.getpid()}"
    spec = replace(SPEC, dataplane=dataplane)
    launch = Launch(UpRequest(name, spec, TDF, tdf_is_assumed=False))
    try:
        launch.start()
        launch.follow_until_ready(lambda _event: None)
        with Control(name) as control:
            return [finding for hop in (1, 2) for finding in _try_hop(control, hop)]
    finally:
        tear_down(name)


def _try_hop(control: Control, hop: int) -> list[Finding]:
    return [
        _try(control, "trim", hop, {"trim_bytes": 1}, "trimmed"),
        _try(control, "CE", hop, {"ecn_max_bytes": 1}, "marked"),
        _try_fault(control, hop),
    ]


def _try(control: Control, trial: str, hop: int, limits: dict[str, int],
         account: str) -> Finding:
    """Set one threshold at this hop alone and send frames that must all meet it."""
    for index, (node, peer) in enumerate(_HOPS, 1):
        thresholds = _NEVER | (limits if index == hop else {})
        control.call("tune", {"node": node, "peer": peer, "thresholds": thresholds})
    counted = _send(control, account)
    elsewhere = sum(counted.values()) - counted[hop]
    # The first hop paces what it passes, so at the second only the frames that its HTB
    # lets through at once (6 KB, five of these) are sure to meet a queue.
    is_proved = counted[hop] >= LEAST_FRAMES and elsewhere == 0
    return Finding(trial, hop, counted[hop], is_proved)


def _try_fault(control: Control, hop: int) -> Finding:
    node, peer = _HOPS[hop - 1]
    control.call("fail", {"target": f"port:{node}:{peer}"})
    counted = _send(control, "dropped_blackhole")
    control.call("heal")
    return Finding("drop", hop, counted[hop],
                   counted[hop] == FRAMES and sum(counted.values()) == FRAMES)


def _send(control: Control, account: str) -> dict[int, int]:
    """Send full-size trimmable frames from h0 to h1; what each hop counted of them."""
    before = control.call("ports", {"account": account})
    control.call("probe", {"src": 0, "dst": 1, "count": FRAMES, "timeout": "1s",
                           "size": "1500B", "dscp": int(Dscp.TRIMMABLE), "ecn": int(Ecn.ECT0)})
    after = control.call("ports", {"account": account})
    interfaces = {1: "p0-t0-0-e2", 2: "p0-t1-0-e2"}
    return {hop: after[name] - before[name] for hop, name in interfaces.items()}
