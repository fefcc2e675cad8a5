"""What a property test runs: topology, QPs, traffic and faults as one frozen value.

A schedule is drawn through a :class:`Picker`, from a seed or by hypothesis, so both
drivers draw from the same space. Numbers that name something (a host, a switch, an EV)
are taken modulo what the topology has, so every draw is valid and shrinks on its own.
Times are emulated ns; fault times and gaps are counted in :attr:`Schedule.unit_ns`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from testbed.transport.mrc.qp_attributes import QpCap
from testbed.transport.mrc.reliability.retry import RetrySchedule
from topologies.numbers import base_rtt_ns
from topologies.spec import ClosSpec

T = TypeVar("T")

FLAWS = ("bad_key", "out_of_bounds", "no_receive")
HEALABLE = (
    "nic_down", "link_down", "plane_down", "crash", "blackhole", "loss", "corrupt", "ev_loss",
    "pause", "port_disabled", "ev_denied", "ev_bad", "ev_replaced", "mpr_shrunk",
)  # fmt: skip
KILL = "kill"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two connected QPs: hosts ``a`` and ``b`` (modulo), and what they agreed on.

    ``psn_gap``: the first PSNs lie this far below 2^24. ``timer`` scales the timeout in
    units. ``active_per_port`` 0: every EV is active; with ``is_explicit`` the profile lists
    half of the paths and the rest are there to replace them.
    """

    a: int
    b: int
    mpr: int = 8
    max_wimm: int = 128
    psn_gap: int = 1 << 20
    has_trim_nack: bool = True
    is_mpr_dynamic: bool = False
    timer: int = 8
    linear: int = 7
    exponential: int = 8
    has_cc: bool = True
    active_per_port: int = 0
    is_explicit: bool = False

    def hosts(self, spec: ClosSpec) -> tuple[int, int]:
        """The two hosts in this topology, never the same."""
        a = self.a % spec.host_count
        return a, (a + 1 + self.b % (spec.host_count - 1)) % spec.host_count


@dataclass(frozen=True, slots=True)
class Post:
    """A write of pair ``pair`` (modulo), from a to b or back, at ``at`` units."""

    pair: int
    is_back: bool
    at: int
    packets: int
    tail: int  # bytes taken off the last packet, at most all of a single one
    is_imm: bool = False
    is_signaled: bool = True
    is_solicited: bool = False
    flaw: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault from ``at`` for ``lasts`` units; ``x``, ``y``, ``z`` say where.

    Hosts are ends of pairs: what happens to others would strike nobody.
    """

    kind: str
    at: int
    lasts: int
    x: int = 0
    y: int = 0
    z: int = 0
    percent: int = 100


@dataclass(frozen=True, slots=True)
class Schedule:
    """Everything a run depends on."""

    seed: int
    spec: ClosSpec
    pairs: tuple[Pair, ...]
    posts: tuple[Post, ...]
    faults: tuple[Fault, ...] = ()
    queue_packets: int = 0  # room of a queue; 0: the fabric's own thresholds
    is_trimming: bool = True  # such a small queue trims what it has no room for, or drops it
    duplicate_percent: int = 0
    delay_percent: int = 0
    max_delay_units: int = 1

    @property
    def unit_ns(self) -> int:
        """About one round trip."""
        return max(base_rtt_ns(self.spec), 1000)

    @property
    def storm_ns(self) -> int:
        """From the start of the first fault to the end of the last; 0 without faults."""
        if not self.faults:
            return 0
        first = min(fault.at for fault in self.faults)
        return (max(fault.at + fault.lasts for fault in self.faults) - first) * self.unit_ns

    @property
    def calm_ns(self) -> int:
        """When every fault but a kill is over."""
        return max((fault.at + fault.lasts for fault in self.faults), default=0) * self.unit_ns

    @property
    def ends(self) -> list[int]:
        """The hosts of all pairs, one after the other."""
        return [host for pair in self.pairs for host in pair.hosts(self.spec)]

    def cap(self, pair: Pair) -> QpCap:
        """The capabilities both ends of a pair are told."""
        cap = QpCap.NONE if pair.has_trim_nack else QpCap.PEER_NO_TRIM_NACK
        return cap | QpCap.DYNAMIC_MPR if pair.is_mpr_dynamic else cap

    def retry(self, pair: Pair) -> RetrySchedule:
        """The timer both ends of a pair run on."""
        exponent = (max(1, pair.timer * self.unit_ns // 1024) - 1).bit_length()
        return RetrySchedule(exponent, pair.linear, pair.exponential)


class Picker(Protocol):
    """Where the numbers of a schedule come from."""

    def integer(self, low: int, high: int) -> int:
        """One of low .. high, simplest first."""

    def one_of(self, values: Sequence[T]) -> T:
        """One of these, simplest first."""

    def percent(self, share: int) -> bool:
        """True in about this share of draws; False is simpler."""

    def many(self, low: int, high: int, make: Callable[[Any], T]) -> tuple[T, ...]:
        """Between low and high things, fewer being simpler."""


class SeedPicker:
    """Draws from ``random.Random``."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def integer(self, low: int, high: int) -> int:
        return self._rng.randint(low, high)

    def one_of(self, values: Sequence[T]) -> T:
        return self._rng.choice(values)

    def percent(self, share: int) -> bool:
        return self._rng.randrange(100) < share

    def many(self, low: int, high: int, make: Callable[[Any], T]) -> tuple[T, ...]:
        # Of two draws the smaller: a long schedule takes the time of many short ones.
        count = min(self._rng.randint(low, high), self._rng.randint(low, high))
        return tuple(make(self) for _ in range(count))


def schedule_of(seed: int) -> Schedule:
    """The schedule of a seed, the same for ever."""
    return draw_schedule(SeedPicker(random.Random(f"schedule {seed}")), seed)


def draw_schedule(pick: Picker, seed: int, most_posts: int = 120) -> Schedule:
    """Any schedule of at most so many writes."""
    spec = draw_spec(pick)
    is_illegal = pick.percent(12)
    may_kill = pick.percent(6)
    return Schedule(
        seed, spec,
        pairs=pick.many(1, 7, draw_pair),
        posts=pick.many(1, most_posts, lambda p: draw_post(p, is_illegal)),
        faults=() if pick.percent(15) else pick.many(0, 12, lambda p: draw_fault(p, may_kill)),
        queue_packets=pick.one_of((0, 8, 4, 3, 2)),
        is_trimming=not pick.percent(25),
        duplicate_percent=pick.one_of((0, 0, 0, 3, 20)),
        delay_percent=pick.one_of((0, 0, 0, 5, 40)),
        max_delay_units=pick.integer(1, 3),
    )  # fmt: skip


def draw_spec(pick: Picker) -> ClosSpec:
    """A fabric of 2 to 9 hosts."""
    t0 = pick.integer(1, 3)
    return ClosSpec(
        "property", planes=pick.integer(1, 4), t0_per_plane=t0, t1_per_plane=pick.integer(1, 3),
        hosts_per_t0=pick.integer(2 if t0 == 1 else 1, 3),
        port_rate_bps=pick.one_of((100, 10, 25, 50, 200, 400)) * 10**9,
        link_delay_ns=pick.one_of((1000, 0, 137, 500, 2000)),
        payload_bytes=pick.one_of((1024, 256, 516, 2048, 4096)),
    )  # fmt: skip


def draw_pair(pick: Picker) -> Pair:
    """Two hosts and what their QPs agree on."""
    is_ordinary = pick.percent(40)
    if is_ordinary:
        return Pair(pick.integer(0, 8), pick.integer(0, 7))
    return Pair(
        pick.integer(0, 8), pick.integer(0, 7),
        mpr=pick.one_of((8, 1, 2, 32)),
        max_wimm=pick.one_of((128, 1, 2, 7)),
        psn_gap=pick.one_of((1 << 20, 1, 3, 40, 200)),
        has_trim_nack=not pick.percent(15),
        is_mpr_dynamic=pick.percent(25),
        timer=pick.one_of((8, 2, 4, 16)),
        linear=pick.integer(0, 7),
        exponential=pick.one_of((8, 0, 2, 4, 25)),
        has_cc=not pick.percent(20),
        active_per_port=pick.one_of((0, 1, 2)),
        is_explicit=pick.percent(25),
    )  # fmt: skip


def draw_post(pick: Picker, is_illegal: bool) -> Post:
    """One write, in one of a few dozen always flawed where a schedule is illegal."""
    packets = pick.integer(20, 40) if pick.percent(12) else pick.integer(1, 8)
    at = pick.integer(0, 60) if pick.percent(40) else pick.integer(0, 6)
    is_flawed = is_illegal and pick.percent(5)
    flaw = pick.one_of(FLAWS) if is_flawed else ""
    return Post(
        pair=pick.integer(0, 6), is_back=pick.percent(35), at=at,
        packets=packets, tail=pick.one_of((0, 1, 3, 255, 1 << 20, -1)),
        is_imm=flaw == "no_receive" or pick.percent(40), is_signaled=not pick.percent(15),
        is_solicited=pick.percent(10), flaw=flaw,
    )  # fmt: skip


def draw_fault(pick: Picker, may_kill: bool) -> Fault:
    """One fault; some come back to the same place and so are flaps."""
    kind = KILL if may_kill and pick.percent(15) else pick.one_of(HEALABLE)
    lasts = pick.integer(20, 120) if pick.percent(15) else pick.integer(1, 20)
    return Fault(
        kind, pick.integer(0, 60), lasts, pick.integer(0, 8), pick.integer(0, 3),
        pick.integer(0, 2), pick.one_of((100, 1, 5, 30)),
    )  # fmt: skip
