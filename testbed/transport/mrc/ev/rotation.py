"""The EVs of one port and the order in which packets use them.

Every pass uses each active EV once, in a pseudo-random order drawn anew for each pass and
by each QP, so that QPs with the same EVs do not move in step (facts sheet 4.13.3). An EV
in SKIP is passed over, which ends its SKIP, unless more than half of what the port could
send on is in SKIP: where everything is congested nothing is gained by skipping, and
skipping everything would stop the port (4.11, the saturation rule of UET).

An EV that joins, from among the spares or from ASSUMED_BAD, joins with the next pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from testbed.transport.mrc.ev.departure import Departure
from testbed.transport.mrc.ev.probing import ProbePlan
from testbed.transport.mrc.ev.states import EvState
from testbed.transport.mrc.rng import Rng

FAR_NS = 1 << 62  # later than any time that is kept

_GOOD, _SKIP = EvState.GOOD, EvState.SKIP


class PathEv(NamedTuple):
    """An EV (32 bits, see :mod:`topologies.ev`) and the port, from 0, it leaves by."""

    ev: int
    port: int


class Entry:
    """One EV of a QP: what is known of its path. Written by its PathSet.

    The counters count data packets and are the engine's to raise where no call of the
    PathSet does: ``sent``, ``acked`` (:meth:`PathSet.on_acked`), ``marked``, ``trimmed``,
    ``lost``. ``rtt_ns`` is the last round trip that was measured on it, 0 where none was since
    a recorder put it back. ``path_address`` is the outer destination, 16 raw bytes.
    """

    __slots__ = (
        "acked",
        "ev",
        "evidence",
        "evidence_acked",
        "is_active",
        "lost",
        "marked",
        "path_address",
        "plan",
        "port",
        "rtt_ns",
        "sent",
        "skip_until_ns",
        "state",
        "trimmed",
    )

    def __init__(self, path: PathEv, path_address: bytes, state: EvState = EvState.GOOD) -> None:
        self.ev = path.ev
        self.port = path.port
        self.path_address = path_address
        self.state = state
        self.is_active = False
        self.skip_until_ns = 0
        self.plan: ProbePlan | None = None  # since it was ASSUMED_BAD for the first time
        self.evidence = 0.0  # what a policy has gathered against it,
        self.evidence_acked = 0  # and how many packets had been acknowledged by then
        self.sent = self.acked = self.marked = self.trimmed = self.lost = 0
        self.rtt_ns = 0

    @property
    def is_sendable(self) -> bool:
        """True where its state lets it carry data: GOOD or SKIP."""
        return self.state is _GOOD or self.state is _SKIP

    def __repr__(self) -> str:
        place = "active" if self.is_active else "spare"
        return f"<Entry {self.ev:#010x} port {self.port} {self.state.value} {place}>"


class Rotation:
    """Active EVs and spares of one port. Every change of a state must be told to it.

    ``ready`` are the active EVs that may carry data, ``pending`` those of them whose turn
    in this pass is still to come, the next one last. ``skipping`` counts the entries in
    SKIP, spares included: while it is 0, taking ``pending.pop()`` is all there is to do.
    """

    __slots__ = (
        "_rng",
        "active",
        "active_limit",
        "active_skipping",
        "bit",
        "departure",
        "pending",
        "port",
        "ready",
        "skip_over_at_ns",
        "skipping",
        "spares",
    )

    def __init__(
        self, port: int, active_limit: int | None, rng: Rng, departure: Departure
    ) -> None:
        self.port = port
        self.bit = 1 << port
        self.active_limit = active_limit
        self.active: list[Entry] = []
        self.spares: list[Entry] = []
        self.ready: list[Entry] = []
        self.pending: list[Entry] = []
        self.skipping = 0
        self.active_skipping = 0
        self.departure = departure
        self.skip_over_at_ns = FAR_NS  # when the first SKIP ends by time, or earlier
        self._rng = rng

    def __iter__(self) -> Iterator[Entry]:
        yield from self.active
        yield from self.spares

    @property
    def is_saturated(self) -> bool:
        """True where more than half of the sendable active EVs are in SKIP."""
        return 2 * self.active_skipping > len(self.ready)

    def good_spare(self) -> Entry | None:
        """The spare that has waited longest among the GOOD ones."""
        return next((entry for entry in self.spares if entry.state is _GOOD), None)

    def any_good_spare(self) -> Entry | None:
        """One of the GOOD spares at random: QPs that flee one EV are not to meet on the next."""
        good = [entry for entry in self.spares if entry.state is _GOOD]
        return good[self._rng.randrange(len(good))] if good else None

    def sendable_spare(self) -> Entry | None:
        """A GOOD spare, else one in SKIP: a congested path is better than a broken one."""
        return self.good_spare() or next((e for e in self.spares if e.state is _SKIP), None)

    def idle_place(self) -> Entry | None:
        """The first active EV that cannot carry data."""
        return next((entry for entry in self.active if not entry.is_sendable), None)

    def start_pass(self) -> None:
        """Draw the order of a new pass; what was left of the old one is dropped."""
        pending = self.pending
        pending[:] = self.ready
        if len(pending) > 1:
            self._rng.shuffle(pending)

    def take(self, avoid: Entry | None, pass_over: Callable[[Entry], None]) -> Entry:
        """The EV of the next packet, with skipping and avoiding; ``ready`` is not empty.

        ``pass_over`` is called for each EV in SKIP that loses its turn and must end its
        SKIP. ``avoid`` is taken only where nothing else is ready; otherwise it keeps its
        turn, or loses it where the pass has nothing else left.
        """
        if len(self.ready) == 1:
            avoid = None
        while True:
            entry = self._take_other_than(avoid)
            if entry.state is _GOOD or self.is_saturated:
                return entry
            pass_over(entry)

    def _take_other_than(self, avoid: Entry | None) -> Entry:
        if not any(entry is not avoid for entry in self.pending):
            self.start_pass()
        at = len(self.pending) - 1
        while self.pending[at] is avoid:
            at -= 1
        return self.pending.pop(at)

    def place(self, entry: Entry) -> None:
        """Put an entry among the active ones while there is room, else among the spares."""
        limit = self.active_limit
        entry.is_active = limit is None or len(self.active) < limit
        (self.active if entry.is_active else self.spares).append(entry)
        self.refresh()

    def remove(self, entry: Entry) -> None:
        """Take an entry out of the port."""
        (self.active if entry.is_active else self.spares).remove(entry)
        entry.is_active = False
        self.refresh()

    def substitute(self, old: Entry, new: Entry) -> None:
        """Let a new entry take the place of an old one, which leaves the port."""
        members = self.active if old.is_active else self.spares
        members[members.index(old)] = new
        old.is_active, new.is_active = False, old.is_active
        self.refresh()

    def swap(self, active: Entry, spare: Entry) -> None:
        """Make a spare active in place of an active EV, which waits as the last spare."""
        self.active[self.active.index(active)] = spare
        self.spares.remove(spare)
        self.spares.append(active)
        active.is_active, spare.is_active = False, True
        self.refresh()

    def refresh(self) -> None:
        """Count anew after a place changed or an EV began or ceased to be sendable."""
        self.ready = [entry for entry in self.active if entry.is_sendable]
        if self.pending:
            self.pending[:] = [e for e in self.pending if e.is_active and e.is_sendable]
        self.active_skipping = sum(entry.state is _SKIP for entry in self.ready)
        self.skipping = self.active_skipping + sum(e.state is _SKIP for e in self.spares)

    def count_skip(self, entry: Entry, by: int) -> None:
        """Count an entry that went from GOOD to SKIP (1) or back (-1)."""
        self.skipping += by
        if entry.is_active:
            self.active_skipping += by
