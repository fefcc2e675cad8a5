"""What shows that a fault bit, in numbers and in words, wherever it was injected.

A :class:`Proof` is (has it bitten, the sentence). What is counted is counted from the
moment the fault came into force; ports that carried nothing prove nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from testbed.faults.actions import Action, EvLoss, PortDisable
from testbed.metrics.ports import PortCounters, Tally

_NAMED_PORTS = 4

# kind -> the account of a port that proves it, and the word for it
_COUNTED = {
    "down": ("dropped_blackhole", "dropped"),
    "crash": ("dropped_blackhole", "dropped"),
    "blackhole": ("dropped_blackhole", "dropped"),
    "loss": ("dropped_loss", "lost"),
    "corrupt": ("corrupted", "corrupted"),
}


class Proof(NamedTuple):
    """Whether a fault has bitten, and the sentence that says what it did."""

    has_bitten: bool
    said: str


def is_counted(action: Action) -> bool:
    """Ports count what this fault does, and the counts outlive it; those of an EV do not."""
    return action.kind in _COUNTED and not isinstance(action, EvLoss)


def counted_frames(
    kind: str, before: Mapping[int, PortCounters], now: Mapping[int, PortCounters]
) -> int:
    """Frames in the account of this kind of fault since ``before``, over its ports."""
    account = _COUNTED[kind][0]
    return sum(getattr(now[slot].since(was), account).frames for slot, was in before.items())


def of_ports(kind: str, frames: int, flushed: Tally, dark: Sequence[str] | None) -> Proof:
    """Of a fault that ports count: their frames, what links flushed, NICs without carrier.

    ``dark``: the NIC ports seen without carrier, None where the fault takes none away.
    """
    said = [f"{frames} frames {_COUNTED[kind][1]}"]
    if flushed.frames:
        said.append(f"{flushed.frames} flushed from the queue")
    if dark is not None:
        said.append(_carriers(dark))
    return Proof(bool(frames or flushed.frames or dark), ", ".join(said))


def of_ev(dropped_frames: int, seen_frames: int) -> Proof:
    """Of the loss of one EV."""
    said = f"{dropped_frames} of {seen_frames} frames of this EV dropped"
    return Proof(dropped_frames > 0, said)


def of_denied_ev(queue_pairs: int | None) -> Proof:
    """Of a denied EV: in how many queue pairs it is DENIED now; None: nobody answers."""
    if queue_pairs is None:
        return Proof(False, "the host's device does not answer")
    noun = "queue pair" if queue_pairs == 1 else "queue pairs"
    return Proof(queue_pairs > 0, f"DENIED in {queue_pairs} {noun}")


def of_disabled_port(action: PortDisable, disabled_ports: int | None) -> Proof:
    """Of a disabled port: the device's own mask of these; None: nobody answers."""
    if disabled_ports is None:
        return Proof(False, "the host's device does not answer")
    is_disabled = bool(disabled_ports >> action.target.plane & 1)
    return Proof(is_disabled, "port disabled" if is_disabled else "port still enabled")


def takes_carrier(action: Action) -> bool:
    """A fault of this kind takes the carrier of the NIC links it covers away."""
    return action.kind in ("down", "crash")


def _carriers(dark: Sequence[str]) -> str:
    if len(dark) > _NAMED_PORTS:
        return f"no carrier on {len(dark)} NIC ports"
    return f"no carrier on {', '.join(dark)}" if dark else "carrier still up"
