"""The EVs that SACKs, NACKs and transport ACKs of a QP take back to its peer.

They leave on the plane their trigger came in on (row 40 of section 9 of the facts sheet),
on the reverse EV of that plane: the one last known to reach the peer. While there is
none they take the EV of the trigger itself, the same path backwards, which is all that
"entropy reflection" (7.5.2.1) says.

Traffic in both directions keeps the reverse EVs known, for every SACK of data sent
confirms the EV it was sent on. A QP that only receives asks: each base RTT in which data
came in and none went out, one EV probe goes out on a random EV, and an answer makes it
the reverse EV of its plane (P; facts sheet 4.14). A reverse EV whose probe stays
unanswered is one no longer.
"""

from __future__ import annotations

from testbed.transport.mrc.choices import EV_PROBE_TIMEOUT_BASE_RTTS
from testbed.transport.mrc.ev.pathset import PathSet
from testbed.transport.mrc.ev.rotation import Entry
from testbed.transport.mrc.ev.states import EvState
from testbed.transport.mrc.rng import Rng


class ReverseSet:
    """The reverse EVs of one QP, one per port at most, taken from its :class:`PathSet`.

    ``probe_at_ns``: when :meth:`probe_due` has something, may be past; None: no data came
    in. Read-only for others.
    """

    __slots__ = ("_confirmed", "_paths", "_rng", "_waiting", "probe_at_ns")

    def __init__(self, paths: PathSet, rng: Rng) -> None:
        self._paths = paths
        self._rng = rng
        self._confirmed: dict[int, Entry] = {}  # by port
        self._waiting: dict[int, int] = {}  # EV -> when its probe is lost, soonest first
        self.probe_at_ns: int | None = None  # one base RTT after data came in unrequited

    # --- Choosing --------------------------------------------------------------------

    def choose(self, trigger_port: int, trigger_ev: int, now_ns: int) -> Entry | None:
        """The EV of a control packet that answers a packet which came in on port and EV.

        It is on the trigger's port where that is up at both ends, else on the next port
        that is. None where no port is up or everything on the ports that are is DENIED.
        """
        if self._waiting:
            self._drop_unanswered(now_ns)
        live = self._paths.live_ports
        if live >> trigger_port & 1:
            entry = self._confirmed_on(trigger_port) or self._reflected(trigger_port, trigger_ev)
            if entry is not None:
                return entry
        for port in self._ports_after(trigger_port):
            if live >> port & 1:
                entry = self._confirmed_on(port) or self._any_on(port)
                if entry is not None:
                    return entry
        if self._paths.local_ports >> trigger_port & 1:
            # The peer says nothing is up there, and yet sent by this port just now.
            return self._reflected(trigger_port, trigger_ev)
        return None

    def _confirmed_on(self, port: int) -> Entry | None:
        entry = self._confirmed.get(port)
        if entry is None or (entry.is_sendable and self._paths.entry(entry.ev) is entry):
            return entry
        del self._confirmed[port]
        return None

    def _reflected(self, port: int, ev: int) -> Entry | None:
        entry = self._paths.entry(ev)
        if entry is not None and entry.port == port and entry.is_sendable:
            return entry
        return self._any_on(port)

    def _any_on(self, port: int) -> Entry | None:
        """A sendable EV of the port; an ASSUMED_BAD one is still better than silence."""
        entries = list(self._paths.entries_of(port))
        for entry in entries:
            if entry.is_sendable:
                return entry
        return next((e for e in entries if e.state is EvState.ASSUMED_BAD), None)

    def _ports_after(self, port: int) -> list[int]:
        ports = self._paths.ports
        return [p for p in ports if p > port] + [p for p in ports if p < port]

    # --- What confirms an EV ---------------------------------------------------------

    def on_forward_confirmed(self, entry: Entry) -> None:
        """Data sent on this EV was acknowledged."""
        self._confirmed[entry.port] = entry

    def on_probe_answered(self, ev: int, now_ns: int) -> None:
        """An EV probe was answered in time; an EV that is not in the set is ignored."""
        if self._waiting:
            self._drop_unanswered(now_ns)
        is_awaited = self._waiting.pop(ev, None) is not None
        entry = self._paths.entry(ev)
        if is_awaited and entry is not None:
            self._confirmed[entry.port] = entry

    # --- Probing ---------------------------------------------------------------------

    def on_data_received(self, now_ns: int) -> None:
        """A data packet of this QP came in."""
        if self.probe_at_ns is None:
            self.probe_at_ns = now_ns + self._paths.base_rtt_ns

    def on_data_sent(self, now_ns: int) -> None:
        """A data packet of this QP went out; what it confirms need not be probed."""
        self.probe_at_ns = None

    def probe_due(self, now_ns: int) -> Entry | None:
        """The EV to probe now, taken as sent; None where it is not time or no port is up."""
        if self.probe_at_ns is None or now_ns < self.probe_at_ns:
            return None
        self.probe_at_ns = None
        self._drop_unanswered(now_ns)
        candidates = [
            entry
            for entry in self._paths.entries()
            if entry.is_sendable and self._paths.live_ports >> entry.port & 1
        ]
        if not candidates:
            return None
        entry = candidates[self._rng.randrange(len(candidates))]
        # A probe that is already on its way keeps its own deadline.
        timeout_ns = EV_PROBE_TIMEOUT_BASE_RTTS * self._paths.base_rtt_ns
        self._waiting.setdefault(entry.ev, now_ns + timeout_ns)
        return entry

    def _drop_unanswered(self, now_ns: int) -> None:
        lost = []
        for ev, lost_at_ns in self._waiting.items():
            if now_ns < lost_at_ns:
                break
            lost.append(ev)
        for ev in lost:
            del self._waiting[ev]
            entry = self._paths.entry(ev)
            if entry is not None and self._confirmed.get(entry.port) is entry:
                del self._confirmed[entry.port]
