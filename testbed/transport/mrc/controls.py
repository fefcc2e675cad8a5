"""What a host's controller has set by hand: ports it disabled, EVs it denied towards a peer.

Ports go the way of the controller API (facts sheet 7.8). An EV there is denied in a profile
(7.3), for every peer of every queue pair that uses it; towards one peer alone it is denied in
the path sets of the queue pairs to that peer, with the same state and the same event.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from testbed.fields import Fields
from testbed.transport.mrc.ev.states import EvState
from testbed.transport.mrc.qp import QueuePair
from testbed.transport.mrc.verbs import Context


@dataclass(frozen=True, slots=True)
class Controls:
    """``denied``: (peer's 16 bytes, EV of 32 bits); ``disabled``: a mask of ports."""

    denied: frozenset[tuple[bytes, int]] = frozenset()
    disabled: int = 0

    def to_params(self) -> dict[str, Any]:
        """As JSON; `from_params` reads it back."""
        return {"denied": [[peer.hex(), ev] for peer, ev in sorted(self.denied)],
                "disabled": self.disabled}

    @classmethod
    def from_params(cls, params: object) -> Controls:
        """Read JSON; raises the error of `Fields` at the first fault."""
        take = Fields(params, "control")
        denied = [_read_denied(entry) for entry in take.items("denied")]
        disabled = take.integer("disabled", 0, _MAX_MASK)
        take.finish()
        return cls(frozenset(denied), disabled)


_PEER_BYTES, _EV_LIMIT, _MAX_MASK = 16, 1 << 32, (1 << 32) - 1


def _read_denied(entry: object) -> tuple[bytes, int]:
    pair = entry if isinstance(entry, list | tuple) and len(entry) == 2 else ("", -1)
    take = Fields({"peer": pair[0], "ev": pair[1]}, "control.denied")
    return take.octets("peer", _PEER_BYTES), take.integer("ev", 0, _EV_LIMIT - 1)


NO_CONTROLS = Controls()


def apply_controls(context: Context, before: Controls, after: Controls, now_ns: int) -> None:
    """Make this device what ``after`` says; ``before`` is what was applied to it last.

    An EV that is denied no more is GOOD, whatever it was before. Doing it twice changes
    nothing; queue pairs connected since the last time are told everything. Raises MrcError
    where the device is lost.
    """
    controller = context.controller
    for port in controller.attributes.ports():
        controller.set_port(port, not after.disabled >> (port - 1) & 1)
    for peer, ev in sorted(before.denied - after.denied):
        _set_state(context, peer, ev, EvState.GOOD, now_ns)
    for peer, ev in sorted(after.denied):
        _set_state(context, peer, ev, EvState.DENIED, now_ns)


def denying_qps(context: Context, peer: bytes, ev: int) -> int:
    """How many queue pairs to this peer have the EV DENIED."""
    entries = (qp.paths.entry(ev) for qp in _qps_to(context, peer) if qp.paths is not None)
    return sum(entry is not None and entry.state is EvState.DENIED for entry in entries)


def disabled_ports(context: Context) -> int:
    """The ports the device says are disabled, as a mask."""
    controller = context.controller
    return sum(1 << port - 1 for port in controller.attributes.ports()
               if not controller.is_port_enabled(port - 1))


def _set_state(context: Context, peer: bytes, ev: int, state: EvState, now_ns: int) -> None:
    for qp in _qps_to(context, peer):
        if qp.paths is not None:
            qp.paths.set_state(ev, state, now_ns)
            context.endpoint.kick(qp, now_ns)


def _qps_to(context: Context, peer: bytes) -> Iterator[QueuePair]:
    return (qp for qp in list(context.endpoint.qps.values()) if qp.peer == peer)
