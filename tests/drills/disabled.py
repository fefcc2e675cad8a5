"""Ways to break MRC: each takes one mechanism out of the transport or of the simulated switches.

Every function takes pytest's ``monkeypatch`` and breaks the thing until that is undone. What is
left is a transport that works, worse: that a drill fails with it shows that the drill looks at
the mechanism.
"""

from __future__ import annotations

from typing import Any

import pytest

from testbed.sim.counters import DROPPED_TAIL
from testbed.sim.frame import Frame
from testbed.sim.port import EgressPort
from testbed.transport.mrc.congestion import CongestionControl
from testbed.transport.mrc.endpoint import Endpoint
from testbed.transport.mrc.ev.pathset import PathSet
from testbed.transport.mrc.ev.probing import OneLossPolicy, Probing
from testbed.transport.mrc.ev.rotation import Entry, Rotation
from testbed.transport.mrc.port_status import PeerPorts
from testbed.transport.mrc.reliability.loss import LossDetector
from testbed.transport.mrc.reliability.outstanding import SendWindow
from testbed.transport.mrc.reliability.retry import RetrySchedule
from testbed.transport.mrc.responder import Responder
from testbed.transport.mrc.srv6 import PathTemplate
from topologies.usid import MAX_USIDS, USID_BITS

_NEAR_WINDOW_BYTES = 170_000  # a quarter of 800 Gb/s for 4.7 us, and as much again for answers


def failure_detection(patch: pytest.MonkeyPatch) -> None:
    """No loss is evidence against its EV: a dead path is used for ever."""
    patch.setattr(OneLossPolicy, "is_bad", lambda self, entry, now_ns: False)


def loss_evidence(patch: pytest.MonkeyPatch) -> None:
    """Holes in SACKs prove nothing: what is lost is found by the timer alone."""
    patch.setattr(LossDetector, "verdicts", lambda self, shown: [])


def return_of_evs(patch: pytest.MonkeyPatch) -> None:
    """Answers to EV probes are not listened to: an EV that was left stays out."""
    patch.setattr(Probing, "on_answered", lambda self, ev, now_ns: None)


def spares(patch: pytest.MonkeyPatch) -> None:
    """No spare ever takes the place of an active EV: a plane that loses its last one is empty."""
    patch.setattr(PathSet, "_settle", lambda self, rotation, now_ns: None)
    patch.setattr(PathSet, "_swap", lambda self, rotation, active, spare, now_ns: None)


def carrier(patch: pytest.MonkeyPatch) -> None:
    """A NIC does not notice that a port of its own is down, and so tells nobody."""
    patch.setattr(Endpoint, "on_ports_changed", lambda self, up_ports, now_ns: None)


def port_status(patch: pytest.MonkeyPatch) -> None:
    """What a peer tells of its ports is ignored: all of them are believed to be up."""
    patch.setattr(PeerPorts, "update", lambda self, mask, stamp, now_ns: False)


def return_of_ports(patch: pytest.MonkeyPatch) -> None:
    """A port that a peer once said to be down is believed to be down for ever."""
    update = PeerPorts.update

    def take_away(self: PeerPorts, mask: int, stamp: int, now_ns: int) -> bool:
        return update(self, mask & self.mask, stamp, now_ns)

    patch.setattr(PeerPorts, "update", take_away)


def ecn(patch: pytest.MonkeyPatch) -> None:
    """Switches never mark a packet."""
    patch.setattr(EgressPort, "_is_to_be_marked", lambda self, data, number: False)


def trimming(patch: pytest.MonkeyPatch) -> None:
    """Switches drop what they would have trimmed, without a trace."""

    def drop(self: EgressPort, start: int, frame: Frame, control: int) -> int:
        self.count(DROPPED_TAIL, frame.size)
        return DROPPED_TAIL

    patch.setattr(EgressPort, "_admit_trimmed", drop)


def congestion_control(patch: pytest.MonkeyPatch) -> None:
    """The window never closes: a QP has a whole bandwidth-delay product under way at all times."""
    patch.setattr(CongestionControl, "can_send", lambda self: self.inflight < self.max_cwnd)


def congestion_control_of_one(patch: pytest.MonkeyPatch) -> None:
    """The window of the first queue pair that sends never closes; the others yield."""
    can_send = CongestionControl.can_send
    first: list[CongestionControl] = []

    def can_always_send(self: CongestionControl) -> bool:
        first[:] = first or [self]
        return self.inflight < self.max_cwnd if self is first[0] else can_send(self)

    patch.setattr(CongestionControl, "can_send", can_always_send)


def window_for_the_distance(patch: pytest.MonkeyPatch) -> None:
    """No QP has more under way than four of them need within a T0 group of `octo`."""
    patch.setattr(CongestionControl, "can_send",
                  lambda self: self.inflight < min(self.cwnd, _NEAR_WINDOW_BYTES))


def spraying_over_evs(patch: pytest.MonkeyPatch) -> None:
    """A QP keeps to one EV of each plane, drawn once: as a flow keeps to its path with ECMP."""
    kept: dict[int, int] = {}

    def keep(rotation: Rotation) -> Entry:
        place = kept.setdefault(id(rotation), rotation._rng.randrange(1 << 16))
        return rotation.ready[place % len(rotation.ready)]

    def start_pass(self: Rotation) -> None:
        self.pending[:] = [keep(self)]

    patch.setattr(Rotation, "start_pass", start_pass)
    patch.setattr(Rotation, "take", lambda self, avoid, pass_over: keep(self))


def spraying_over_planes(patch: pytest.MonkeyPatch) -> None:
    """A QP uses the first plane that is up, and no other."""
    refresh = PathSet._refresh_usable

    def refresh_to_one(self: PathSet) -> None:
        refresh(self)
        self.usable_ports &= -self.usable_ports
        self._turns.reset(self.usable_ports)

    patch.setattr(PathSet, "_refresh_usable", refresh_to_one)


def prompt_acknowledgement(patch: pytest.MonkeyPatch) -> None:
    """A message that is complete is not acknowledged: its sender has to ask."""
    advance, acknowledge = Responder._advance, Responder._acknowledge
    silent: list[Responder] = []

    def advance_silently(self: Responder, *args: Any) -> None:
        silent.append(self)
        advance(self, *args)
        silent.remove(self)

    def acknowledge_if_asked(self: Responder, *args: Any) -> None:
        if self not in silent:
            acknowledge(self, *args)

    patch.setattr(Responder, "_advance", advance_silently)
    patch.setattr(Responder, "_acknowledge", acknowledge_if_asked)


def short_cut_at_t0(patch: pytest.MonkeyPatch) -> None:
    """Packets between hosts of one T0 climb to a T1 and come back, like all others."""
    begin = PathTemplate.__init__

    def climb(self: PathTemplate, source_t0: int, destination_t0: int, downlink: int) -> None:
        is_local = source_t0 == destination_t0
        begin(self, source_t0, destination_t0 + is_local, downlink)
        # The third uSID is the T0 that leads down: name the right one.
        self._base -= is_local << USID_BITS * (MAX_USIDS - 3)

    patch.setattr(PathTemplate, "__init__", climb)


def quick_recovery(patch: pytest.MonkeyPatch) -> None:
    """What is lost is found by the timer alone, and that waits four times as long."""
    loss_evidence(patch)
    interval = RetrySchedule._interval_after_ns
    patch.setattr(RetrySchedule, "_interval_after_ns",
                  lambda self, retries: 4 * interval(self, retries))


def retransmission(patch: pytest.MonkeyPatch) -> None:
    """What is lost is never sent again."""
    patch.setattr(SendWindow, "next_lost", lambda self: None)
