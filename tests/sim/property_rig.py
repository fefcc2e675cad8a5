"""Runs a schedule and watches it from outside: what an application sees, what is kept.

The applications here reuse their memory the moment they may: a source is overwritten
when its write completes, a target when the receiver or the sender knows that it was
written. A packet that is placed once more afterwards, or placed anywhere else, shows.

:func:`check` raises :class:`Broken` where a property does not hold.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from sim.property_lane import Broken, Lane, require
from sim.property_schedule import KILL, Pair, Schedule
from sim.property_trouble import start_fault

from testbed.sim.chaos import Chaos
from testbed.sim.lab import Lab, Side
from testbed.sim.network import Limits
from testbed.transport.mrc.ctl.cc_profile import CcProfileAttr
from testbed.transport.mrc.ctl.profile import ProfileState
from testbed.transport.mrc.device import (
    CC_CROSS_T1,
    CC_T0_LOCAL,
    EV_PROFILE,
    PeerInfo,
    add_ev_profile,
    cc_defaults,
    connect,
    make_qp,
)
from testbed.transport.mrc.endpoint import Endpoint
from testbed.transport.mrc.errors import MrcError
from testbed.transport.mrc.qp import QpFailed, QpState
from testbed.transport.mrc.qp_attributes import Retry
from testbed.transport.mrc.verbs import Context
from topologies.graph import build_graph
from topologies.numbers import PortThresholds, data_frame_bytes
from topologies.spec import ClosSpec

CC_OFF = 9
EXPLICIT = 10  # EV profiles of half the paths; these and EV_PROFILE + active_per_port
SLICE_UNITS = 5  # between two looks at what is kept
BALANCE_EVERY = 4  # looks; drawing the balance takes as long as all else they do
SETTLE_UNITS = 300  # what recovery may take beside timers and transfer


@dataclass
class Report:
    """What a run was like, for tests that ask whether schedules bite."""

    digest: str = ""
    end_ns: int = 0
    counts: Counter[str] = field(default_factory=Counter)


@dataclass
class Duplex:
    """A pair of connected QPs and the two directions of writes between them."""

    pair: Pair
    sides: tuple[Side, Side]
    lanes: tuple[Lane, Lane]
    timer_ns: int
    budget_ns: int | None
    progress: list[Any] = field(default_factory=list)  # per side: what it was, since when

    @property
    def has_flaw(self) -> bool:
        """True where an application posted what the peer must refuse."""
        return any(lane.first_flaw is not None for lane in self.lanes)


def check(schedule: Schedule, *, is_traced: bool = False) -> Report:
    """Run a schedule to its end. Raises Broken where a property does not hold."""
    return World(schedule, is_traced).run()


class World:
    """One schedule under way."""

    def __init__(self, schedule: Schedule, is_traced: bool = False) -> None:
        self.schedule = schedule
        self.spec = schedule.spec
        self.graph = build_graph(schedule.spec)
        self.lab = Lab(
            self.graph, schedule.seed, limits=_limits(schedule), chaos=_chaos(schedule),
            is_traced=is_traced,
        )  # fmt: skip
        self.sim = self.lab.sim
        self.unit_ns = schedule.unit_ns
        self.rng = random.Random(f"world {schedule.seed}")
        self.looks = 0
        self.killed: set[int] = set()
        self.failures: dict[tuple[int, int], QpFailed] = {}
        self.explicit_profiles = tuple(EXPLICIT + active for active in range(3))
        self.ev_profiles = (*(EV_PROFILE + active for active in range(3)), *self.explicit_profiles)
        for context in self.lab.contexts.values():
            _turn_congestion_control_off(context, self.spec)
        self.duplexes = [self._connect(index, pair) for index, pair in enumerate(schedule.pairs)]
        for lane in self.lanes:
            lane.start(self.sim, self.killed)
        for fault in schedule.faults:
            start_fault(self, fault)

    @property
    def lanes(self) -> list[Lane]:
        """Every direction of every pair."""
        return [lane for duplex in self.duplexes for lane in duplex.lanes]

    # --- Building ----------------------------------------------------------------------

    def _connect(self, index: int, pair: Pair) -> Duplex:
        a, b = pair.hosts(self.spec)
        sides = self._side(a, b, pair), self._side(b, a, pair)
        cap, retry = self.schedule.cap(pair), self.schedule.retry(pair)
        infos = [
            PeerInfo(
                side.context.endpoint.address, side.qp.qp_num, (1 << 24) - pair.psn_gap - more,
                self.spec.payload_bytes, pair.max_wimm, pair.mpr, cap,
            )
            for more, side in enumerate(sides)
        ]  # fmt: skip
        for side, mine, peer in zip(sides, infos, reversed(infos), strict=True):
            connect(
                side.context, side.qp, mine, peer, 0,
                retry=Retry(retry.linear_count, retry.exp_count), timeout=retry.timeout_exponent,
            )  # fmt: skip
        lanes = self._lane(index, False, *sides), self._lane(index, True, *sides[::-1])
        for lane in lanes:
            lane.may_time_out = lambda: self.may_time_out(duplex)
        timer_ns = retry.interval_ns
        duplex = Duplex(pair, sides, lanes, timer_ns, retry.budget_ns, [(None, 0), (None, 0)])
        return duplex

    def _lane(self, index: int, is_back: bool, sender: Side, receiver: Side) -> Lane:
        posts = self._posts(index, is_back)
        return Lane(posts, sender, receiver, self.spec.payload_bytes, self.unit_ns, self.rng)

    def _posts(self, index: int, is_back: bool) -> list[Any]:
        count = len(self.schedule.pairs)
        mine = [
            post for post in self.schedule.posts
            if post.pair % count == index and post.is_back is is_back
        ]  # fmt: skip
        return sorted(mine, key=lambda post: post.at)

    def _side(self, host: int, peer: int, pair: Pair) -> Side:
        context = self.lab.contexts[host]
        send_cq, recv_cq = context.create_cq(1 << 12), context.create_cq(1 << 12)
        cc_profile = CC_CROSS_T1 if self.spec.is_cross_t1(host, peer) else CC_T0_LOCAL
        qp = make_qp(
            context, send_cq, recv_cq, 0, cc_profile=cc_profile if pair.has_cc else CC_OFF,
            ev_profile=_ev_profile(context, self.spec, pair),
        )  # fmt: skip
        return Side(host, context, send_cq, recv_cq, qp)

    # --- Running -----------------------------------------------------------------------

    def run(self) -> Report:
        """Run it all: traffic and storm, calm, one more write each, then silence."""
        self._run_until_settled(self._last_ns(), self._limit_ns())
        self._check_ends()
        self._last_round()
        self._check_idle()
        return self._report()

    def _last_ns(self) -> int:
        last_post = max((post.at for post in self.schedule.posts), default=0) * self.unit_ns
        return max(last_post, self.schedule.calm_ns)

    def _transfer_ns(self) -> int:
        """Everything through one port, three times over."""
        frames = sum(2 * post.packets for post in self.schedule.posts)
        frame_ns = data_frame_bytes(self.spec.payload_bytes) * 8 * 10**9 // self.spec.port_rate_bps
        return 3 * frames * max(frame_ns, 1)

    def patience_ns(self, duplex: Duplex) -> int:
        """How long after the storm a pair may be without progress while a path is open.

        A timer whose interval doubled during the storm has to expire once more, which
        takes as long as the storm took so far.
        """
        storm_ns = self.schedule.storm_ns
        return 2 * storm_ns + 4 * duplex.timer_ns + SETTLE_UNITS * self.unit_ns

    def _limit_ns(self) -> int:
        patience = max(self.patience_ns(duplex) for duplex in self.duplexes)
        budgets = [duplex.budget_ns or 0 for duplex in self.duplexes if self._is_doomed(duplex)]
        return self._last_ns() + 4 * patience + self._transfer_ns() + 2 * max(budgets, default=0)

    def _is_doomed(self, duplex: Duplex) -> bool:
        kills = any(fault.kind == KILL for fault in self.schedule.faults)
        return kills or self.may_end_in_error(duplex)

    def _run_until_settled(self, least_ns: int, limit_ns: int) -> None:
        while True:
            self.sim.run_until(self.sim.now + SLICE_UNITS * self.unit_ns)
            self._look()
            if self.sim.now >= least_ns and all(map(self.is_settled, self.duplexes)):
                return
            if self.sim.now > limit_ns:
                waiting = [str(lane) for lane in self.lanes if not lane.is_settled]
                raise Broken(f"not done at {limit_ns} ns: {'; '.join(waiting)}")

    def is_settled(self, duplex: Duplex) -> bool:
        """True where nothing more is to complete."""
        return self.is_cut_off(duplex) or all(lane.is_settled for lane in duplex.lanes)

    def is_cut_off(self, duplex: Duplex) -> bool:
        """True where one end was killed and the other will try for ever or has nothing to do."""
        return any(side.host in self.killed for side in duplex.sides) and (
            duplex.budget_ns is None or self._survivor_is_done(duplex)
        )

    def _survivor_is_done(self, duplex: Duplex) -> bool:
        return all(
            lane.is_settled for lane in duplex.lanes if lane.sender.host not in self.killed
        )

    def may_time_out(self, duplex: Duplex) -> bool:
        """False where the retry budget outlasts every interruption of its path."""
        if any(side.host in self.killed for side in duplex.sides):
            return True
        if duplex.budget_ns is None:
            return False
        return self._peer_may_fail(duplex) or duplex.budget_ns < self.patience_ns(duplex)

    def _peer_may_fail(self, duplex: Duplex) -> bool:
        """A QP in ERROR does not answer, so the error of one end is soon that of both."""
        return any(side.qp.state is QpState.ERROR for side in duplex.sides)

    def may_end_in_error(self, duplex: Duplex) -> bool:
        """True where an error is an admissible end."""
        return duplex.has_flaw or self.may_time_out(duplex)

    # --- Looking -----------------------------------------------------------------------

    def _look(self) -> None:
        self.looks += 1
        if self.looks % BALANCE_EVERY == 0:
            self._check_balance()
        for host, context in self.lab.contexts.items():
            for event in context.poll_events():
                if isinstance(event, QpFailed):
                    key = host, event.qp_num
                    require(key not in self.failures, f"QP {key} failed twice")
                    require(bool(event.reason), f"QP {key} failed without a reason")
                    self.failures[key] = event
        for duplex in self.duplexes:
            self._check_progress(duplex)
            for side in duplex.sides:
                check_bounds(side)
        for context in self.lab.contexts.values():
            check_endpoint_bounds(context.endpoint)
            check_ports_followed(context.endpoint)

    def _check_balance(self) -> None:
        conservation = self.sim.conservation()
        require(conservation.unexplained == 0, f"frames lost or made: {conservation}")

    def _check_progress(self, duplex: Duplex) -> None:
        """With work pending and a path open something moves."""
        if any(side.host in self.killed for side in duplex.sides):
            return
        for place, side in enumerate(duplex.sides):
            requester = side.requester
            is_idle = side.qp.state is QpState.ERROR or not requester.messages
            now_at = None if is_idle else (requester.window.first_psn, len(requester.messages))
            before, since_ns = duplex.progress[place]
            if now_at is None or now_at != before or self.sim.now <= self.schedule.calm_ns:
                duplex.progress[place] = now_at, self.sim.now
                continue
            still_ns = self.sim.now - since_ns
            require(
                still_ns <= self.patience_ns(duplex) or self.may_end_in_error(duplex),
                f"QP of h{side.host} stalled for {still_ns} ns at {now_at}",
            )

    def _check_ends(self) -> None:
        for duplex in self.duplexes:
            if any(side.host in self.killed for side in duplex.sides):
                continue
            for side in duplex.sides:
                self._check_end(duplex, side)
            for lane in duplex.lanes:
                lane.check_end()

    def _check_end(self, duplex: Duplex, side: Side) -> None:
        qp, key = side.qp, (side.host, side.qp.qp_num)
        if qp.state is not QpState.ERROR:
            require(key not in self.failures, f"QP {key} reported an error and works on")
            return
        require(key in self.failures, f"QP {key} is in ERROR and told nobody")
        require(
            self.may_end_in_error(duplex), f"QP {key} failed without cause: {self.failures[key]}"
        )
        require(not side.requester.messages, f"QP {key} in ERROR holds work requests")
        require(not qp.responder.receives, f"QP {key} in ERROR holds receives")

    # --- The end -----------------------------------------------------------------------

    def _alive(self) -> list[Duplex]:
        return [
            duplex for duplex in self.duplexes
            if not any(side.host in self.killed for side in duplex.sides)
            and all(side.qp.state is QpState.RTS for side in duplex.sides)
        ]  # fmt: skip

    def _last_round(self) -> None:
        """Writes over a quiet fabric: they carry the last news of what was received."""
        self.sim.run_until(self.sim.now + 100 * self.unit_ns)
        for duplex in self._alive():
            for lane in duplex.lanes:
                lane.post_last(self.sim)
                limit_ns = self.sim.now + self.patience_ns(duplex)
                self._run_until_settled(self.sim.now, limit_ns)
        self.sim.run_until(self.sim.now + 20 * self.unit_ns)
        self._look()

    def _check_idle(self) -> None:
        self._check_balance()
        for lane in self.lanes:
            lane.check_memory()
        for duplex in self._alive():
            for side, peer in (duplex.sides, duplex.sides[::-1]):
                check_quiet(side)
                check_ports_known(side, peer)
        for host, context in self.lab.contexts.items():
            endpoint = context.endpoint
            require(endpoint.controls.waiting == 0, f"answers wait at h{host}")

    def _report(self) -> Report:
        report = Report(self.sim.trace.digest, self.sim.now)
        counts = report.counts
        for port in self.sim.network.read_all().values():
            for name in ("marked", "trimmed", "corrupted", "dropped_tail", "dropped_control",
                         "dropped_blackhole", "dropped_loss", "dropped_ev", "flushed"):
                counts[name] += getattr(port, name).frames
        counts["duplicated"] = self.sim.conservation().duplicated
        counts["killed"] = len(self.killed)
        for duplex in self.duplexes:
            for side in duplex.sides:
                counts[f"state {side.qp.state.value}"] += 1
                if side.qp.failure is not None:
                    counts[side.qp.failure.status.value] += 1
                for book in (side.requester.counters, side.qp.responder.counters):
                    for name in book.__slots__:
                        counts[name] += getattr(book, name)
        counts["messages"] = sum(len(lane.messages) for lane in self.lanes)
        return report


# --- What is kept ----------------------------------------------------------------------


def check_bounds(side: Side) -> None:
    """No container of a QP outgrows its window, its work or its paths."""
    requester, responder, paths = side.requester, side.qp.responder, side.qp.paths
    window, loss = requester.window, requester.loss
    span = requester._range_psns
    widest = max(span, responder.window.range_psns)
    evs = sum(1 for _ in paths.entries())
    sizes = {
        "window.packets": (len(window.packets), widest),
        "window span": (window.next_psn - window.first_psn, widest),
        "window in flight": (window.in_flight_count, len(window.packets)),
        "window.lost": (len(window.lost), 2 * widest),
        "window._sacked": (window._sacked.bit_length(), widest),
        "loss._by_ev": (sum(map(len, loss._by_ev.values())), 8 * widest),
        "loss._by_port": (sum(map(len, loss._by_port.values())), 8 * widest),
        "loss._suspects": (len(loss._suspects), 2 * widest),
        "loss._heard": (len(loss._heard), len(paths.ports)),
        "requester._probes": (len(requester._probes), 16),
        "requester.completed": (len(requester.completed), 0),
        "immediates in flight": (requester._wimm_in_flight, requester._max_wimm),
        "responder.completions": (len(responder.completions), 0),
        "responder._notes": (len(responder._notes), widest),
        "responder._imm_waiting": (responder._imm_waiting, responder._max_wimm),
        "responder bitmap": (responder.window._bitmap.bit_length(), responder.window.range_psns),
        "reverse._waiting": (len(responder.reverse._waiting), evs),
        "reverse._confirmed": (len(responder.reverse._confirmed), len(paths.ports)),
    }
    for name, (size, most) in sizes.items():
        require(0 <= size <= most, f"{name} of h{side.host} is {size}, at most {most} is due")


def check_endpoint_bounds(endpoint: Endpoint) -> None:
    """What is kept for a whole NIC: a few entries per QP, EV and peer."""
    evs = sum(sum(1 for _ in qp.paths.entries()) for qp in endpoint.qps.values() if qp.paths)
    packets = sum(
        qp.responder.window.range_psns for qp in endpoint.qps.values() if qp.responder
    )
    for name, queue in (("answers", endpoint.controls), ("requests", endpoint.packets.queue)):
        waiting = sum(map(len, queue._queues))
        require(waiting <= 64 + evs + packets, f"{waiting} {name} wait for a port")
    waiting = endpoint.packets.waiting
    require(len(waiting) <= 4096, f"{len(waiting)} endpoint requests are open")
    require(len(waiting._by_key) <= len(waiting), "endpoint requests leak their keys")
    require(len(endpoint.peers) <= 64, f"{len(endpoint.peers)} peers are known")


def check_ports_followed(endpoint: Endpoint) -> None:
    """Every QP keeps to the ports that are up here and, as far as is known, at its peer."""
    for qp in endpoint.qps.values():
        if qp.paths is None:
            continue
        due = endpoint.up_ports & endpoint.peers.at(qp.peer).ports.mask
        live = qp.paths.live_ports & endpoint.all_ports
        require(live == due & endpoint.all_ports, f"a QP uses ports {live:#b} instead of {due:#b}")


def check_quiet(side: Side) -> None:
    """When everything is done the books are closed: nothing in flight, nothing waiting."""
    requester, responder, cc = side.requester, side.qp.responder, side.requester.cc
    books = {
        "packets": len(requester.window.packets), "in flight": requester.window.in_flight_count,
        "inflight_pkts": cc.inflight_pkts, "waiting_rtx": cc.waiting_rtx,
        "rtx_backlog": cc.rtx_backlog, "backlog": cc.backlog, "messages": len(requester.messages),
        "immediates": requester._wimm_in_flight, "notes": len(responder._notes),
        "immediates held back": responder._imm_waiting, "retries": requester.retry.retries,
        "suspects": len(requester.loss.verdicts(_EVERYTHING)),
    }  # fmt: skip
    left = {name: value for name, value in books.items() if value}
    require(not left, f"QP of h{side.host} is idle and has {left}")
    # The responder rounds its count up to units of 256 bytes (facts sheet 6.3).
    require(-255 <= cc.inflight <= 0, f"QP of h{side.host} is idle, inflight {cc.inflight}")


def check_ports_known(side: Side, peer: Side) -> None:
    """The peer knows which ports of this NIC are up (facts sheet 4.15)."""
    endpoint, other = side.context.endpoint, peer.context.endpoint
    known = other.peers.at(endpoint.address).ports.mask & endpoint.all_ports
    require(
        known == endpoint.up_ports,
        f"h{peer.host} thinks ports {known:#b} of h{side.host} are up, {endpoint.up_ports:#b} are",
    )


# --- Parts of a world ------------------------------------------------------------------


def _limits(schedule: Schedule) -> Limits | None:
    if not schedule.queue_packets:
        return None
    frame = data_frame_bytes(schedule.spec.payload_bytes)
    full = schedule.queue_packets * frame
    trim, drop = (full, 2 * full) if schedule.is_trimming else (0, full)
    control = 150 * schedule.queue_packets
    fabric = PortThresholds(frame, full, trim, drop, control)
    return Limits(fabric, PortThresholds(0, 0, trim, drop, control))


def _chaos(schedule: Schedule) -> Chaos | None:
    if not schedule.duplicate_percent and not schedule.delay_percent:
        return None
    return Chaos(
        schedule.seed, schedule.duplicate_percent / 100, schedule.delay_percent / 100,
        schedule.max_delay_units * schedule.unit_ns,
    )  # fmt: skip


def _turn_congestion_control_off(context: Context, spec: ClosSpec) -> None:
    """Make the CC profile of those who do without."""
    controller = context.controller
    controller.create_cc_profile(CC_OFF)
    config = cc_defaults(spec, cross_t1=True)
    controller.modify_cc_profile(CC_OFF, CcProfileAttr(algorithm=None, config=config))
    for state in (ProfileState.OFFLINE, ProfileState.ONLINE):
        controller.modify_cc_profile(CC_OFF, CcProfileAttr(state=state))


def _ev_profile(context: Context, spec: ClosSpec, pair: Pair) -> int:
    """The EV profile a pair wants, which is made for the first one."""
    profile = (EXPLICIT if pair.is_explicit else EV_PROFILE) + pair.active_per_port
    try:
        context.controller.ev_profile(profile)
    except MrcError:
        add_ev_profile(
            context.controller, profile, spec, active_per_port=pair.active_per_port or None,
            per_plane=-(-spec.t1_per_plane // 2) if pair.is_explicit else None,
        )  # fmt: skip
    return profile


class _Everything:
    """A SACK that would show every PSN."""

    edge, first, last, made = 0, -(1 << 62), 1 << 62, 1 << 62


_EVERYTHING: Any = _Everything()
