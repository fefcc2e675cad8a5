"""Every frame sent is received or dropped by a declared cause: the balance of a fabric."""

from __future__ import annotations

from testbed.fabric.fabric import Fabric
from testbed.fabric.portmap import Tally
from testbed.instance.injector import Injector


def unexplained_frames(fabric: Fabric, injector: Injector) -> dict[str, int]:
    """Frames nobody accounts for, by place and cause; empty, or the fabric lied.

    Five places can lose a frame unseen: a port program whose books do not balance, a
    qdisc or link that refuses, a link that flushed more than an injected fault booked,
    Open vSwitch's receive sockets, and the switch itself between one port and the next.
    To be read while no frame is on its way. A switch that had a NIC link without
    carrier is left out of the last: what was meant for that port died inside, uncounted.
    """
    traffic, flushed = fabric.traffic(), fabric.flushed()
    found = {f"{name}: receive sockets": frames for name, frames in fabric.receive_drops().items()}
    found |= {f"{name}: forwarding": frames for name, frames in fabric.lost_inside().items()
              if name not in injector.had_dead_ports}
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
