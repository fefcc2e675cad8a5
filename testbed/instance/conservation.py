"""Every frame sent is received or dropped by a declared cause: the balance of a fabric."""

from __future__ import annotations

import time

from testbed.fabric.fabric import Fabric
from testbed.instance.injector import Injector
from testbed.metrics.ports import Tally

_SETTLE_S = 0.05


def unexplained_frames(fabric: Fabric, injector: Injector) -> dict[str, int]:
    """Frames nobody accounts for, by place and cause; empty, or the fabric lied.

    Five places can lose a frame unseen: a port program whose books do not balance, a
    qdisc or link that refuses, a link that flushed more than an injected fault booked,
    Open vSwitch's receive sockets, and the switch itself between one port and the next.
    ``injector.unbalanced_switches`` are left out of the last. Frames on their way look
    lost for a moment, so only what two readings agree on is reported.
    """
    first = _read(fabric, injector)
    if not first:
        return {}
    time.sleep(_SETTLE_S)
    second = _read(fabric, injector)
    return {cause: frames for cause, frames in first.items() if second.get(cause) == frames}


def _read(fabric: Fabric, injector: Injector) -> dict[str, int]:
    traffic, flushed = fabric.traffic(), fabric.flushed()
    found = {f"{name}: receive sockets": frames for name, frames in fabric.receive_drops().items()}
    found |= {f"{name}: forwarding": frames for name, frames in fabric.lost_inside().items()
              if name not in injector.unbalanced_switches}
    for slot, counters in fabric.counters().items():
        name = fabric.graph.port(slot).interface
        booked = injector.flushed.get(slot, Tally())
        found |= {
            f"{name}: books": counters.unexplained.frames,
            f"{name}: clone refused": counters.dropped_redirect.frames,
            f"{name}: queue or link refused": traffic[slot].refused_frames,
            f"{name}: flushed by no fault": (flushed.get(slot, Tally()) - booked).frames,
        }
    return {cause: frames for cause, frames in found.items() if frames}
