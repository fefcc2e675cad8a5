"""The connections that a set of ranks needs for what they will say to each other.

Two ranks are connected where one sends to the other, by ``qps`` queue pairs, and by one where
they only meet in barriers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from topologies.spec import ClosSpec
from workloads.collectives.direct import barrier
from workloads.collectives.group import MAX_TAG, RECEIVES, SPARE_SENDS
from workloads.collectives.schedule import Schedule
from workloads.connections import MAX_WORK_REQUESTS, End
from workloads.job import MAX_HOST_BYTES
from workloads.params import WorkloadError

# What all ranks together may register: they share one machine.
MAX_JOB_BYTES = 8 << 30


class Mesh:
    """Between ``hosts``, the hosts of ranks 0, 1, ...; `carry` says what they have to carry."""

    def __init__(self, spec: ClosSpec, hosts: Sequence[int], qps: int) -> None:
        self._spec, self._hosts, self._qps = spec, hosts, qps
        for host in hosts:
            try:
                spec.t0_of(host)
            except ValueError as error:
                raise WorkloadError(str(error)) from None
        # Messages at once between two ranks, either way: what each needs room for.
        self._messages: dict[tuple[int, int], int] = {}
        self._data: set[tuple[int, int]] = set()
        for rank in range(len(hosts)):
            self._note(rank, barrier(rank, len(hosts)))

    def carry(self, rank: int, schedule: Schedule, lanes: int = 1) -> None:
        """A rank will do this, and at most ``lanes`` like it at once."""
        if max((send.tag for send in schedule.sends), default=0) > MAX_TAG:
            raise WorkloadError(
                f"rank {rank} would send more than {MAX_TAG + 1:,} messages to another: use "
                "larger segments or fewer channels")
        self._data |= {_pair(rank, send.peer) for send in schedule.sends}
        self._note(rank, schedule, lanes)

    def _note(self, rank: int, schedule: Schedule, lanes: int = 1) -> None:
        for peer, number in Counter(send.peer for send in schedule.sends).items():
            pair = _pair(rank, peer)
            self._messages[pair] = max(self._messages.get(pair, 0), number * lanes)

    def ends(self, seed: int) -> list[list[End]]:
        """The ends of every rank, all in the buffer its host's ends share."""
        found: list[list[End]] = [[] for _ in self._hosts]
        connection = 0
        for pair in sorted(self._messages):
            for _ in range(self._qps if pair in self._data else 1):
                for rank, peer in (pair, pair[::-1]):
                    found[rank].append(self._end(connection, rank, peer, seed))
                connection += 1
        return found

    def _end(self, connection: int, rank: int, peer: int, seed: int) -> End:
        host, other = self._hosts[rank], self._hosts[peer]
        barriers = 2 * len(self._hosts).bit_length()
        room = self._messages[_pair(rank, peer)] + barriers + SPARE_SENDS
        return End(
            connection=connection, host=host, peer=other,
            is_cross_t1=self._spec.is_cross_t1(host, other), source_bytes=0, target_bytes=0,
            seed=seed, max_wr=min(MAX_WORK_REQUESTS, max(RECEIVES, room)),
        )  # fmt: skip

    def require_memory(self, shared_bytes: int) -> int:
        """The length of every rank's buffer; raises WorkloadError where it is too much."""
        if shared_bytes > MAX_HOST_BYTES or shared_bytes * len(self._hosts) > MAX_JOB_BYTES:
            raise WorkloadError(
                f"{len(self._hosts)} ranks would register {shared_bytes / 2**20:,.0f} MiB each, at "
                f"most {MAX_HOST_BYTES >> 20:,} MiB each and {MAX_JOB_BYTES >> 20:,} MiB together "
                "are possible: use smaller or fewer sizes, or fewer hosts")
        return shared_bytes


def _pair(one: int, other: int) -> tuple[int, int]:
    return (one, other) if one < other else (other, one)
