"""The injected faults of one port, as the port program judges them.

In this order: blackhole, an EV's fault, loss; corruption strikes what passes whole.
"""

from __future__ import annotations

from testbed.faults.desired import EvFaultKey, PortFault
from testbed.sim import draws
from testbed.sim.counters import CORRUPTED, DROPPED_BLACKHOLE, DROPPED_EV, DROPPED_LOSS, Accounts
from testbed.sim.frame import Frame, flow_of
from testbed.sim.trace import Trace
from topologies.numbers import TRIMMED_FRAME_BYTES


class EvFault:
    """Loss of one EV's frames at one port, with what it did so far."""

    __slots__ = ("dropped_frames", "probability", "seen_frames", "stream")

    def __init__(self, probability: int, stream: int) -> None:
        self.probability = probability
        self.stream = stream
        self.seen_frames = 0
        self.dropped_frames = 0

    def hits(self) -> bool:
        """Judge the next frame of this EV."""
        index = self.seen_frames
        self.seen_frames = index + 1
        if draws.upper(draws.random_at(self.stream, index)) >= self.probability:
            return False
        self.dropped_frames += 1
        return True


class Hazard:
    """Faults in force at one port."""

    __slots__ = ("_corrupt", "_evs", "_is_blackhole", "_loss")

    def __init__(self) -> None:
        self._is_blackhole = False
        self._loss = 0
        self._corrupt = 0
        self._evs: dict[tuple[bytes, bytes], EvFault] = {}

    @property
    def is_empty(self) -> bool:
        """True where nothing is wrong with the port."""
        return not (self._is_blackhole or self._loss or self._corrupt or self._evs)

    def set_port(self, fault: PortFault) -> None:
        """Make this the port's fault; those of EVs stay."""
        self._is_blackhole = fault.blackhole
        self._loss = draws.probability_of(fault.loss_ratio)
        self._corrupt = draws.probability_of(fault.corrupt_ratio)

    def set_ev(self, key: EvFaultKey, ratio: float, seed: int) -> None:
        """Lose this share of an EV's frames; 0 ends the fault and forgets its counts."""
        flow = _flow(key)
        if not ratio:
            self._evs.pop(flow, None)
            return
        stream = draws.ev_stream(seed, key.ev, key.slot)
        fault = self._evs.setdefault(flow, EvFault(0, stream))
        fault.probability = draws.probability_of(ratio)

    def ev(self, key: EvFaultKey) -> EvFault | None:
        """The fault of this EV, None where it has none."""
        return self._evs.get(_flow(key))

    def drop_cause(self, stream: int, number: int, frame: Frame) -> int | None:
        """The account under which the port's ``number``-th frame is dropped, if any."""
        if self._is_blackhole:
            return DROPPED_BLACKHOLE
        if self._evs and (flow := flow_of(frame.data)) is not None:
            fault = self._evs.get(flow)
            if fault is not None and fault.hits():
                return DROPPED_EV
        if self._loss and draws.upper(draws.random_at(stream, 2 * number)) < self._loss:
            return DROPPED_LOSS
        return None

    def corrupt(self, stream: int, number: int, frame: Frame) -> bool:
        """Flip a bit of a frame that passes whole, where it is this one's turn."""
        if not self._corrupt or frame.size <= TRIMMED_FRAME_BYTES:
            return False
        second = draws.random_at(stream, 2 * number + 1)
        if draws.upper(second) >= self._corrupt:
            return False
        frame.flip(draws.lower(second))
        return True


class HazardPort(Accounts):
    """What a NIC port and a switch port have in common: a slot, faults, a watcher."""

    __slots__ = ("hazard", "seed", "slot", "stream", "trace")

    def __init__(self, slot: int, run_seed: int) -> None:
        super().__init__()
        self.slot = slot
        self.seed = draws.port_seed(run_seed, slot)
        self.stream = draws.port_stream(self.seed, slot)
        self.hazard: Hazard | None = None
        self.trace: Trace | None = None

    def set_fault(self, fault: PortFault) -> None:
        """Make this the fault of every frame that leaves here."""
        hazard = self.hazard or Hazard()
        hazard.set_port(fault)
        self.hazard = None if hazard.is_empty else hazard

    def set_ev_fault(self, key: EvFaultKey, ratio: float) -> None:
        """Lose this share of one EV's frames; 0 ends the fault."""
        hazard = self.hazard or Hazard()
        hazard.set_ev(key, ratio, self.seed)
        self.hazard = None if hazard.is_empty else hazard

    def drop_cause(self, number: int, frame: Frame) -> int | None:
        """Why an injected fault drops this frame, which is then counted; None if none does."""
        if self.hazard is None:
            return None
        cause = self.hazard.drop_cause(self.stream, number, frame)
        if cause is not None:
            self.count(cause, frame.size)
        return cause

    def corrupt(self, number: int, frame: Frame) -> None:
        """Flip a bit of a frame that passed, where a fault wants it."""
        if self.hazard is not None and self.hazard.corrupt(self.stream, number, frame):
            self.count(CORRUPTED, frame.size)


def _flow(key: EvFaultKey) -> tuple[bytes, bytes]:
    return key.src.packed + key.dst.packed, key.ev.to_bytes(4, "big")
