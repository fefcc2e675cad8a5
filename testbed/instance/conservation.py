"""Every frame sent is received or dropped by a declared cause: the balance of a fabric."""

from __future__ import annotations

from testbed.fabric.fabric import Fabric
from testbed.instance.injector import Injector


def unexplained_frames(fabric: Fabric, injector: Injector) -> int:
    """Frames nobody accounts for, over all ports; 0, or the fabric lied.

    Four places can lose a frame unseen: a port program whose books do not balance, a
    qdisc or link that refuses, a link that flushed more than an injected fault booked,
    and Open vSwitch's receive sockets. To be read while no frame is on its way.
    """
    traffic = fabric.traffic()
    total = fabric.receive_drops()
    for slot, counters in fabric.counters().items():
        total += abs(counters.unexplained.frames) + counters.dropped_redirect.frames
        total += traffic[slot].refused_frames
    booked = injector.flushed
    for slot, tally in fabric.flushed().items():
        total += abs(tally.frames - (booked[slot].frames if slot in booked else 0))
    return total
