"""The paths of one QP: which EV the next packet takes, and what feedback does to each.

Planes share the load equally at all times; weight is never shifted between planes that
are up (facts sheet 4.12, 4.13). So ports take turns, and within a port its EVs do. A
plane drops out as a whole, when its port is down here or at the peer, and comes back as
a whole with its EVs in the states they had.

Within a port some EVs are active and the others spares. An active EV that cannot carry
data changes places with a spare of the same port that can, so the planes stay balanced.

What a QP may decide by itself has a floor: a verdict of ASSUMED_BAD that no spare makes
good is refused where it would leave fewer than ``ev_min_active`` active EVs in GOOD or
SKIP, or none on a port that is up at both ends. A port that is down changes the state of
no EV: its EVs count for the floor with the states they have, and losses on it are no
evidence against them, for the port explains them. The controller is not bound by this.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

from testbed.transport.mrc.choices import MIN_ACTIVE_SHARE, SKIP_LIMIT_BASE_RTTS
from testbed.transport.mrc.ev.departure import Departure
from testbed.transport.mrc.ev.probing import EvPolicy, OneLossPolicy, Probing
from testbed.transport.mrc.ev.rotation import FAR_NS, Entry, PathEv, Rotation
from testbed.transport.mrc.ev.states import (
    ChangeLog,
    EvChange,
    EvEvent,
    EvMove,
    EvState,
    next_state,
)
from testbed.transport.mrc.ev.turns import Turns
from testbed.transport.mrc.rng import Rng

ALL_PORTS = (1 << 32) - 1

_GOOD, _SKIP = EvState.GOOD, EvState.SKIP
_BAD, _DENIED = EvState.ASSUMED_BAD, EvState.DENIED
_BY_CONTROLLER = {
    _GOOD: EvEvent.GOOD_BY_CONTROLLER,
    _BAD: EvEvent.BAD_BY_CONTROLLER,
    _DENIED: EvEvent.DENIED_BY_CONTROLLER,
}


def default_min_active(
    evs: Sequence[PathEv], *, active_per_port: int | None = None, up_ports: int = ALL_PORTS
) -> int:
    """A quarter of the active EVs, rounded up, and at least one per plane that is up.

    ``up_ports`` is a mask of the ports that are up. Source: design.md section 3; the
    examples of the controller API use a quarter of ev_count (facts sheet 4.12).
    """
    per_port: dict[int, int] = {}
    for path in dict.fromkeys(evs):
        per_port[path.port] = per_port.get(path.port, 0) + 1
    limit = len(evs) if active_per_port is None else active_per_port
    active = sum(min(count, limit) for count in per_port.values())
    planes = sum(up_ports >> port & 1 for port in per_port)
    return max(-(-active // MIN_ACTIVE_SHARE), planes)


def _event_of(state: EvState) -> EvEvent:
    event = _BY_CONTROLLER.get(state)
    if event is None:
        raise ValueError("a controller cannot set SKIP: set GOOD, ASSUMED_BAD or DENIED")
    return event


class PathSet:
    """All EVs of one QP: to choose from, packet by packet, and to learn about.

    ``usable_ports`` is a mask of the ports a packet may leave by now: up here, up at the
    peer, with something sendable in the active set. ``live_ports``: up at both ends.
    ``refused`` counts verdicts that ``ev_min_active`` forbade, ``changes_lost`` changes
    that nobody took in time.
    """

    __slots__ = (
        "_active_per_port",
        "_address_of",
        "_by_bit",
        "_changes",
        "_entries",
        "_local_ports",
        "_peer_ports",
        "_probing",
        "_rng",
        "_rotations",
        "_turns",
        "base_rtt_ns",
        "ev_min_active",
        "live_ports",
        "policy",
        "refused",
        "usable_ports",
    )  # fmt: skip

    def __init__(
        self,
        evs: Sequence[PathEv],
        *,
        ev_min_active: int,
        base_rtt_ns: int,
        rng: Rng,
        address_of: Callable[[int], bytes],
        active_per_port: int | None = None,
        denied: Collection[int] = (),
        policy: EvPolicy | None = None,
    ) -> None:
        """A set in which all ports are up and every EV is GOOD but the ``denied`` ones.

        The first ``active_per_port`` GOOD EVs of each port are active, all of them where
        it is None; the others are spares. Equal entries of ``evs`` are one path and count
        once. ``address_of`` gives the 16-byte outer destination of an EV. Raises
        ValueError where there is no EV, an EV has two ports, or a number is out of range.
        """
        if not evs or base_rtt_ns <= 0 or (active_per_port is not None and active_per_port < 1):
            raise ValueError(
                f"{len(evs)} EVs, {active_per_port} active per port, base RTT {base_rtt_ns} ns "
                "make no path set: give at least one of each"
            )
        self.ev_min_active = ev_min_active
        self.base_rtt_ns = base_rtt_ns
        self.policy: EvPolicy = policy or OneLossPolicy()
        self.refused = 0
        self._changes = ChangeLog()
        self._address_of = address_of
        self._rng = rng
        self._active_per_port = active_per_port
        self._entries: dict[int, Entry] = {}
        self._rotations: dict[int, Rotation] = {}
        self._by_bit: dict[int, Rotation] = {}
        self._probing = Probing(ALL_PORTS)
        self._local_ports = self._peer_ports = self.live_ports = ALL_PORTS
        self.usable_ports = 0
        self._fill(dict.fromkeys(evs), denied)
        first = self._rng.randrange(len(self._rotations))
        self._turns = Turns(self._rotations[sorted(self._rotations)[first]].bit)
        self._refresh_usable()

    def _fill(self, evs: Collection[PathEv], denied: Collection[int]) -> None:
        for path in evs:
            self._enter(path, _DENIED if path.ev in denied else _GOOD)
        for state in (_GOOD, _DENIED):
            for entry in self._entries.values():
                if entry.state is state:
                    self._rotations[entry.port].place(entry)

    # --- Looking ---------------------------------------------------------------------

    def entry(self, ev: int) -> Entry | None:
        """The entry of an EV, None where it is not in the set."""
        return self._entries.get(ev)

    def entries(self) -> Iterator[Entry]:
        """All entries, active and spare, in the order in which they came into the set."""
        return iter(self._entries.values())

    @property
    def ports(self) -> list[int]:
        """The ports that have EVs, in ascending order."""
        return sorted(self._rotations)

    def entries_of(self, port: int) -> Iterator[Entry]:
        """The entries of one port, active ones first."""
        return iter(self._rotations.get(port, ()))

    @property
    def carrying(self) -> int:
        """How many EVs carry data by now: active, sendable, on a port that is usable."""
        usable = self.usable_ports
        return sum(len(r.ready) for r in self._rotations.values() if r.bit & usable)

    # --- Choosing --------------------------------------------------------------------

    def choose(self, free_ports: int, now_ns: int, avoid: Entry | None = None) -> Entry | None:
        """The EV and port of the packet that leaves now; None where no usable port is free.

        ``free_ports`` is a mask. ``avoid`` is the EV that has just failed this packet: it
        goes out on another plane, and waits for one where there is any.
        """
        # Once per packet, hence written out: the next free port, the next EV of its pass.
        ports = self.usable_ports & free_ports
        if not ports:
            return None
        turns = self._turns
        if avoid is None or self.usable_ports == 1 << avoid.port:
            bit = turns.pick(ports)
        else:  # another plane, even if it is ahead of its turn
            bit = turns.next_of(ports & ~(1 << avoid.port))
        if not bit:
            return None
        rotation = self._by_bit[bit]
        if rotation.skipping or avoid is not None:
            return self._choose_with_care(rotation, now_ns, avoid)
        turns.took(bit)
        pending = rotation.pending
        if not pending:
            rotation.start_pass()
        return pending.pop()

    def choose_for_question(self, free_ports: int) -> Entry | None:
        """The EV of a packet that asks rather than carries data, on any plane at random.

        It does not count as a turn: questions and data that took turns could end with all
        of one kind on a plane that fails, and go on so for ever.
        """
        ports = self.usable_ports & free_ports
        bits = [rotation.bit for rotation in self._by_bit.values() if rotation.bit & ports]
        if not bits:
            return None
        ready = self._by_bit[bits[self._rng.randrange(len(bits))]].ready
        return ready[self._rng.randrange(len(ready))]

    def way_out(self, turn: int) -> Entry | None:
        """An EV that leaves by a port which is up here, another with each ``turn``.

        Turns go over the ports first, then over the EVs of each. Ports the peer has up come
        first; where there is none its word is not taken: it may be old, and what would
        correct it has to leave by some port. So does what is ASSUMED_BAD, where all is.
        """
        usable = self.live_ports or self._local_ports
        there = [e for e in self._entries.values() if usable >> e.port & 1]
        ways = [e for e in there if e.is_sendable] or [e for e in there if e.state is _BAD]
        if not ways:
            return None
        ports = sorted({entry.port for entry in ways})
        round_, place = divmod(turn, len(ports))
        of_port = [entry for entry in ways if entry.port == ports[place]]
        return of_port[round_ % len(of_port)]

    @property
    def local_ports(self) -> int:
        """The ports that are up here, as a mask."""
        return self._local_ports

    def _choose_with_care(
        self, rotation: Rotation, now_ns: int, avoid: Entry | None
    ) -> Entry:
        """Choose where something is in SKIP or to be avoided; ``rotation`` is next in turn."""
        self._turns.took(rotation.bit)
        self._end_skips(rotation, now_ns)
        return rotation.take(avoid, lambda entry: self._apply(entry, EvEvent.SKIP_PASSED, now_ns))

    # --- Feedback: an EV that is not in the set is ignored ---------------------------

    def on_acked(self, entry: Entry) -> None:
        """A packet sent on this EV was acknowledged without a mark; restores nothing."""
        entry.acked += 1

    def on_marked(self, ev: int, now_ns: int) -> None:
        """A SACK with m = SKIP_ONCE carried this EV."""
        entry = self._entries.get(ev)
        if entry is not None:
            entry.marked += 1
            self._congested(entry, EvEvent.MARKED, now_ns)

    def on_trimmed(self, ev: int, now_ns: int) -> None:
        """A NACK TRIMMED carried this EV; TRIMMED_LASTHOP is not to be reported here."""
        entry = self._entries.get(ev)
        if entry is not None:
            entry.trimmed += 1
            self._congested(entry, EvEvent.TRIMMED, now_ns)

    def on_always_skip(self, ev: int, now_ns: int) -> None:
        """A SACK with m = ALWAYS_SKIP carried this EV: the verdict is the peer's."""
        entry = self._entries.get(ev)
        if entry is not None:
            self._condemn(entry, EvEvent.ALWAYS_SKIP_MARKED, now_ns)

    def on_loss_inferred(self, ev: int, now_ns: int) -> None:
        """A packet sent on this EV is lost, with neither trim nor SACK."""
        entry = self._entries.get(ev)
        if entry is None:
            return
        entry.lost += 1
        if not self.live_ports >> entry.port & 1 or not entry.is_sendable:
            return
        if self.policy.is_bad(entry, now_ns):
            self._condemn(entry, EvEvent.LOSS_INFERRED, now_ns)

    def _congested(self, entry: Entry, event: EvEvent, now_ns: int) -> None:
        rotation = self._rotations[entry.port]
        self._end_skips(rotation, now_ns)
        before = entry.state
        self._apply(entry, event, now_ns)
        if entry.state is before or not entry.is_active:
            return
        # Nothing uncongested is left: the EV may be left for an idle one (Figure 14).
        if rotation.active_skipping == len(rotation.ready) and rotation.departure.is_time(now_ns):
            spare = rotation.any_good_spare()
            if spare is not None:
                self._swap(rotation, entry, spare, now_ns)

    def _condemn(self, entry: Entry, event: EvEvent, now_ns: int) -> None:
        if not self.live_ports >> entry.port & 1 or not entry.is_sendable:
            return
        rotation = self._rotations[entry.port]
        self._end_skips(rotation, now_ns)
        if entry.is_active and rotation.sendable_spare() is None and not self._may_lose(rotation):
            self.refused += 1
            return
        self._apply(entry, event, now_ns)

    def _may_lose(self, rotation: Rotation) -> bool:
        """True where the set may have one active EV of this port less."""
        sendable = sum(len(each.ready) for each in self._rotations.values())
        return len(rotation.ready) > 1 and sendable > self.ev_min_active

    # --- The controller --------------------------------------------------------------

    def set_state(self, ev: int, state: EvState, now_ns: int) -> None:
        """The controller's word on an EV. Raises ValueError for SKIP, which it has not."""
        event = _event_of(state)
        entry = self._entries.get(ev)
        if entry is None:
            return
        self._end_skips(self._rotations[entry.port], now_ns)
        self._apply(entry, event, now_ns)
        if state is not _BAD:
            entry.plan = None  # a fresh start

    def add(self, new: PathEv, state: EvState, now_ns: int) -> None:
        """Put an EV into the set: active where its port has room, else a spare.

        Raises ValueError where the EV is in the set already, and for SKIP.
        """
        _event_of(state)
        entry = self._enter(new, state)
        self._rotations[entry.port].place(entry)
        self._welcome(entry, now_ns)

    def replace(self, old_ev: int, new: PathEv, state: EvState, now_ns: int) -> bool:
        """Let one EV take the place of another; False where the old one is not in the set.

        On another port it is like one that is added. Raises ValueError where the new EV is
        in the set already, and for SKIP.
        """
        _event_of(state)
        old = self._entries.get(old_ev)
        if old is None:
            return False
        entry = self._enter(new, state)
        self._probing.stop(old_ev)
        del self._entries[old_ev]
        rotation = self._rotations[old.port]
        if new.port == old.port:
            rotation.substitute(old, entry)
        else:
            rotation.remove(old)
            self._rotations[new.port].place(entry)
        self._log(now_ns, old, old.state, EvMove.REMOVED)
        self._settle(rotation, now_ns)
        self._welcome(entry, now_ns)
        return True

    def _enter(self, path: PathEv, state: EvState) -> Entry:
        if path.ev in self._entries:
            raise ValueError(f"EV {path.ev:#010x} is in the set already: give each EV one place")
        if not 0 <= path.port < ALL_PORTS.bit_length():
            raise ValueError(f"port {path.port} of EV {path.ev:#010x} is none: use 0 to 31")
        entry = self._entries[path.ev] = Entry(path, self._address_of(path.ev), state)
        if path.port not in self._rotations:
            departure = Departure(self.base_rtt_ns, self._rng)
            rotation = Rotation(path.port, self._active_per_port, self._rng, departure)
            self._rotations[path.port] = self._by_bit[rotation.bit] = rotation
        return entry

    def _welcome(self, entry: Entry, now_ns: int) -> None:
        self._log(now_ns, entry, entry.state, EvMove.ADDED)
        if entry.state is _BAD:
            self._probing.start(entry, self.base_rtt_ns, now_ns)
        self._settle(self._rotations[entry.port], now_ns)
        self._refresh_usable()

    # --- Ports -----------------------------------------------------------------------

    def set_local_ports(self, mask: int, now_ns: int) -> None:
        """These ports have carrier here; every EV keeps its state."""
        self._local_ports = mask
        self._refresh_ports()

    def set_peer_ports(self, mask: int, now_ns: int) -> None:
        """The peer says it can be reached through these ports (facts sheet 4.15)."""
        self._peer_ports = mask
        self._refresh_ports()

    def _refresh_ports(self) -> None:
        self.live_ports = self._local_ports & self._peer_ports & ALL_PORTS
        self._probing.set_live_ports(self.live_ports)
        self._refresh_usable()

    def _refresh_usable(self) -> None:
        ready = sum(rotation.bit for rotation in self._by_bit.values() if rotation.ready)
        usable = ready & self.live_ports
        if usable != self.usable_ports:
            self.usable_ports = usable
            self._turns.reset(usable)

    # --- Probing what is ASSUMED_BAD -------------------------------------------------

    def next_probe_at(self) -> int | None:
        """When :meth:`probes_due` has something, ns; may be past. None: nothing to probe."""
        return self._probing.next_at_ns

    def probes_due(self, now_ns: int) -> list[Entry]:
        """The EVs to probe now, taken as sent; at most 4, what is left is due at once.

        EVs of ports that are down wait until these are back.
        """
        return self._probing.due(now_ns)

    def on_probe_answered(self, ev: int, now_ns: int, marked: bool) -> None:
        """A probe on this EV was answered; ``marked`` where the answer tells of a mark."""
        entry = self._probing.on_answered(ev, now_ns)
        if entry is not None:
            event = EvEvent.PROBES_ANSWERED_MARKED if marked else EvEvent.PROBES_ANSWERED
            self._apply(entry, event, now_ns)

    # --- What happened ---------------------------------------------------------------

    @property
    def changes_lost(self) -> int:
        """How many changes were dropped because nobody took them."""
        return self._changes.lost

    def take_changes(self) -> list[EvChange]:
        """Every change of a state or place since the last call, oldest first.

        Between two calls the newest 4096 are kept; ``changes_lost`` counts the others.
        """
        return self._changes.take()

    def _log(self, now_ns: int, entry: Entry, before: EvState, cause: EvEvent | EvMove) -> None:
        self._changes.append(
            EvChange(now_ns, entry.ev, entry.port, before, entry.state, cause, entry.is_active)
        )

    # --- Every change of a state goes through here -----------------------------------

    def _apply(self, entry: Entry, event: EvEvent, now_ns: int) -> None:
        before = entry.state
        after = next_state(before, event)
        if after is before:
            return
        entry.state = after
        self._log(now_ns, entry, before, event)
        rotation = self._rotations[entry.port]
        if after is _SKIP:
            entry.skip_until_ns = now_ns + SKIP_LIMIT_BASE_RTTS * self.base_rtt_ns
            rotation.skip_over_at_ns = min(rotation.skip_over_at_ns, entry.skip_until_ns)
        if entry.is_sendable and (before is _GOOD or before is _SKIP):
            rotation.count_skip(entry, 1 if after is _SKIP else -1)
            return
        rotation.refresh()
        if after is _BAD:
            self._probing.start(entry, self.base_rtt_ns, now_ns)
        else:
            self._probing.stop(entry.ev)
        entry.evidence = 0.0
        self._settle(rotation, now_ns)
        self._refresh_usable()

    def _settle(self, rotation: Rotation, now_ns: int) -> None:
        """Let spares that can carry data take the places of active EVs that cannot."""
        limit = rotation.active_limit
        while limit is not None and len(rotation.active) < limit and rotation.spares:
            spare = rotation.sendable_spare() or rotation.spares[0]
            rotation.remove(spare)
            rotation.place(spare)
            self._log(now_ns, spare, spare.state, EvMove.SWAPPED_IN)
        while len(rotation.ready) < len(rotation.active):
            idle, ready = rotation.idle_place(), rotation.sendable_spare()
            if idle is None or ready is None:
                return
            self._swap(rotation, idle, ready, now_ns)

    def _swap(self, rotation: Rotation, active: Entry, spare: Entry, now_ns: int) -> None:
        rotation.swap(active, spare)
        self._log(now_ns, active, active.state, EvMove.SWAPPED_OUT)
        self._log(now_ns, spare, spare.state, EvMove.SWAPPED_IN)

    def _end_skips(self, rotation: Rotation, now_ns: int) -> None:
        """End every SKIP of the port whose time is over."""
        if now_ns < rotation.skip_over_at_ns:
            return
        skipped = [entry for entry in rotation if entry.state is _SKIP]
        for entry in skipped:
            if entry.skip_until_ns <= now_ns:
                self._apply(entry, EvEvent.SKIP_OVER, now_ns)
        left = (entry.skip_until_ns for entry in skipped if entry.state is _SKIP)
        rotation.skip_over_at_ns = min(left, default=FAR_NS)
