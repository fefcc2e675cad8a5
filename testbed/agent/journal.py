"""What a device counted and noticed, as JSON."""

from __future__ import annotations

from typing import Any

from testbed.transport.mrc.endpoint import EvChanged, Event, PeerPortsChanged
from testbed.transport.mrc.qp import QpFailed, QueuePair
from topologies.ev import format_ev


def slots(counters: object) -> dict[str, int]:
    """Counters with ``__slots__`` by name."""
    return {name: getattr(counters, name) for name in counters.__slots__}  # type: ignore[attr-defined]


def qp_counters(qp: QueuePair) -> dict[str, Any]:
    """One queue pair: whom it is with, its state, and what both its halves counted."""
    return {
        "qp": qp.qp_num,
        "peer": qp.peer.hex() if qp.peer else "",
        "state": qp.state.value,
        "requester": slots(qp.requester.counters) if qp.requester else {},
        "responder": slots(qp.responder.counters) if qp.responder else {},
        "srtt_ns": qp.requester.srtt_ns if qp.requester else None,
    }


def describe(event: Event) -> dict[str, Any]:
    """One event, its time in emulated ns."""
    if isinstance(event, EvChanged):
        change = event.change
        return {"t_ns": change.at_ns, "event": "ev changed", "qp": event.qp_num,
                "peer": event.peer.hex(), "ev": format_ev(change.ev), "plane": change.port,
                "from": change.before.value, "to": change.after.value,
                "cause": change.cause.value}
    if isinstance(event, QpFailed):
        return {"t_ns": event.at_ns, "event": "qp failed", "qp": event.qp_num,
                "status": event.status.value, "reason": event.reason}
    assert isinstance(event, PeerPortsChanged)
    return {"t_ns": event.at_ns, "event": "peer ports", "peer": event.peer.hex(),
            "up_ports": event.up_ports}
