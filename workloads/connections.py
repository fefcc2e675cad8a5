"""A host's ends of the connections of a workload: made, described to the peers, connected.

    HostSetup(...)        QPs in INIT, buffers registered
    describe()            what the peers must know, as JSON          (travels out of band)
    connect(remote)       the QPs go to RTS with what the peers described
    channels              what a program writes through

A connection is one QP on each of two hosts; both ends know it by the same number.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from testbed.transport.mrc.choices import MAX_MPR, MAX_WIMM_LIMIT
from testbed.transport.mrc.device import (
    CC_CROSS_T1,
    CC_T0_LOCAL,
    EV_PROFILE,
    PeerInfo,
    connect,
    make_qp,
    narrow_ev_profile,
)
from testbed.transport.mrc.memory import MemoryRegion
from testbed.transport.mrc.qp import QueuePair
from testbed.transport.mrc.qp_attributes import QpCap, Retry
from testbed.transport.mrc.rng import Rng
from testbed.transport.mrc.verbs import Context, SendWr
from workloads.evshare import EvShare
from workloads.params import Fields, WorkloadError

MAX_CONNECTION = MAX_HOST = (1 << 31) - 1
MAX_SEED = (1 << 63) - 1
MAX_BUFFER_BYTES = 1 << 32
MAX_WORK_REQUESTS = 1 << 16

_PSN_BITS = 24
_QPN_LIMIT = _PSN_LIMIT = 1 << 24
_VA_LIMIT = 1 << 64
_KEY_LIMIT = 1 << 32
_GID_BYTES = 16
_MAX_EVS = 1 << 16  # of one plane: an uplink has 16 bits


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """One end of a connection, as planned: on ``host``, towards ``peer`` (indices).

    ``source_bytes`` and ``target_bytes`` are the buffers this end writes from and is written
    to, of its own; 0 for the buffer that the host's ends share. ``max_wr`` are its work
    requests at once in each direction; ``seed`` makes the content of all buffers of the
    workload. ``retry`` and ``timeout`` replace the defaults of
    :func:`~testbed.transport.mrc.device.connect`. ``evs``: those the queue pair uses of each
    plane, None for every path.
    """

    connection: int
    host: int
    peer: int
    is_cross_t1: bool
    source_bytes: int
    target_bytes: int
    seed: int
    max_wr: int
    retry: Retry | None = None
    timeout: int | None = None
    evs: EvShare | None = None

    def to_params(self) -> dict[str, Any]:
        """As JSON; `from_params` reads it back."""
        retry = self.retry
        return {
            "connection": self.connection,
            "host": self.host,
            "peer": self.peer,
            "is_cross_t1": self.is_cross_t1,
            "source_bytes": self.source_bytes,
            "target_bytes": self.target_bytes,
            "seed": self.seed,
            "max_wr": self.max_wr,
            "retry": retry and {"linear_cnt": retry.linear_cnt, "exp_cnt": retry.exp_cnt},
            "timeout": self.timeout,
            "evs": self.evs and {"active": self.evs.active, "spares": self.evs.spares},
        }

    @classmethod
    def from_params(cls, params: object) -> End:
        """Read JSON; raises WorkloadError at the first fault."""
        take = Fields(params, "end")
        end = cls(
            connection=take.integer("connection", 0, MAX_CONNECTION),
            host=take.integer("host", 0, MAX_HOST),
            peer=take.integer("peer", 0, MAX_HOST),
            is_cross_t1=take.boolean("is_cross_t1"),
            source_bytes=take.integer("source_bytes", 0, MAX_BUFFER_BYTES),
            target_bytes=take.integer("target_bytes", 0, MAX_BUFFER_BYTES),
            seed=take.integer("seed", 0, MAX_SEED),
            max_wr=take.integer("max_wr", 1, MAX_WORK_REQUESTS),
            retry=_read_retry(take.optional_mapping("retry")),
            timeout=take.optional_integer("timeout", 0, 24),
            evs=_read_evs(take.optional_mapping("evs")),
        )
        take.finish()
        return end


def _read_retry(params: Mapping[str, Any] | None) -> Retry | None:
    if params is None:
        return None
    take = Fields(params, "end.retry")
    retry = Retry(take.integer("linear_cnt", 0, 7), take.integer("exp_cnt", 0, 25))
    take.finish()
    return retry


def _read_evs(params: Mapping[str, Any] | None) -> EvShare | None:
    if params is None:
        return None
    take = Fields(params, "end.evs")
    evs = EvShare(take.integer("active", 1, _MAX_EVS), take.integer("spares", 0, _MAX_EVS))
    take.finish()
    return evs


class _Window(NamedTuple):
    """The peer's target buffer."""

    va: int
    rkey: int
    length: int


class PostedWrite(NamedTuple):
    """A write that was posted; writes of a channel end in the order posted."""

    at_ns: int
    size_bytes: int
    has_immediate: bool


class Channel:
    """What a program writes through: one connected QP with its buffers.

    ``source`` is what one's own writes are read from, ``target`` what the peer writes to.
    ``outstanding`` counts writes posted whose completions no program has seen yet; the
    application keeps it. ``posted``: a queue that whoever records has hung up for the writes
    posted, else None.
    """

    __slots__ = ("_context", "_remote", "connection", "host", "is_cross_t1", "outstanding", "peer",
                 "posted", "psn", "qp", "seed", "source", "target")  # fmt: skip

    def __init__(
        self, end: End, context: Context, qp: QueuePair, psn: int, source: MemoryRegion,
        target: MemoryRegion,
    ) -> None:  # fmt: skip
        self.connection, self.host, self.peer = end.connection, end.host, end.peer
        self.is_cross_t1 = end.is_cross_t1
        self.seed = end.seed
        self.qp = qp
        self.psn = psn  # the first of its own packets
        self.source, self.target = source, target
        self.outstanding = 0
        self.posted: deque[PostedWrite] | None = None
        self._context = context
        self._remote: _Window | None = None

    @property
    def remote_bytes(self) -> int:
        """The length of the peer's target buffer; 0 before the two are connected."""
        return 0 if self._remote is None else self._remote.length

    @property
    def is_failed(self) -> bool:
        """The QP is in ERROR: nothing posted now would be sent."""
        return self.qp.failure is not None

    @property
    def failure(self) -> dict[str, Any] | None:
        """How the QP failed: ``status``, ``reason`` and ``at_ns``; None while it works."""
        failed = self.qp.failure
        if failed is None:
            return None
        return {"status": failed.status.value, "reason": failed.reason, "at_ns": failed.at_ns}

    def attach(self, va: int, rkey: int, length: int) -> None:
        """The peer's target buffer is this one."""
        self._remote = _Window(va, rkey, length)

    def post_write(
        self, wr_id: int, offset: int, length: int, now_ns: int, *,
        remote_offset: int | None = None, imm: int | None = None,
    ) -> None:  # fmt: skip
        """Post a write of ``length`` source bytes from ``offset`` on, to the same place of the
        peer's target unless ``remote_offset`` says another.

        Raises WorkloadError where that is outside the target or nothing is connected, and
        :class:`~testbed.transport.mrc.errors.MrcError` as ``post_send`` does.
        """
        remote = self._remote
        if remote is None:
            raise WorkloadError(f"connection {self.connection} is not connected: connect it first")
        if remote_offset is None:
            remote_offset = offset
        if remote_offset < 0 or remote_offset + length > remote.length:
            raise WorkloadError(
                f"a write to bytes {remote_offset} to {remote_offset + length} leaves the "
                f"{remote.length} bytes of connection {self.connection}'s target: stay within"
            )
        wr = SendWr(
            wr_id, self.source, remote.va + remote_offset, remote.rkey, offset, length, imm
        )
        self._context.post_send(self.qp, wr, now_ns)
        self.outstanding += 1
        if self.posted is not None:
            self.posted.append(PostedWrite(now_ns, length, imm is not None))

    def post_recv(self, wr_id: int) -> None:
        """Post a receive for one immediate. Raises MrcError as the verb does."""
        self._context.post_recv(self.qp, wr_id)


class HostSetup:
    """The ends of one host: QPs in INIT and buffers of zeros, until `connect`.

    ``path_mtu`` is the payload of a full packet in bytes; ``rng`` draws the first PSNs;
    ``shared_bytes`` is the length of the buffer that ends without one of their own share.
    All sends complete in ``send_cq``, all receives in ``recv_cq``. Raises WorkloadError
    where there is no end, two with one number, or one without a buffer.
    """

    def __init__(
        self, context: Context, ends: Sequence[End], path_mtu: int, rng: Rng,
        shared_bytes: int = 0,
    ) -> None:  # fmt: skip
        numbers = {end.connection for end in ends}
        if not ends or len(numbers) < len(ends):
            raise WorkloadError(
                f"{len(ends)} ends with {len(numbers)} numbers: give one end or more, "
                "each a number of its own"
            )
        self.context = context
        room = sum(end.max_wr for end in ends)
        self.send_cq, self.recv_cq = context.create_cq(room), context.create_cq(room)
        self.shared = context.reg_mr(bytearray(shared_bytes)) if shared_bytes else None
        self._ev_profiles: dict[EvShare, int] = {}
        self.channels: dict[int, Channel] = {
            end.connection: self._channel(end, rng) for end in ends
        }
        self._ends = {end.connection: end for end in ends}
        self._path_mtu = path_mtu

    def _channel(self, end: End, rng: Rng) -> Channel:
        context = self.context
        qp = make_qp(
            context, self.send_cq, self.recv_cq, 0,
            cc_profile=CC_CROSS_T1 if end.is_cross_t1 else CC_T0_LOCAL,
            ev_profile=self._ev_profile(end), max_send_wr=end.max_wr, max_recv_wr=end.max_wr,
        )  # fmt: skip
        source, target = self._buffer(end, end.source_bytes), self._buffer(end, end.target_bytes)
        return Channel(end, context, qp, rng.getrandbits(_PSN_BITS), source, target)

    def _ev_profile(self, end: End) -> int:
        """The profile of its share of the EVs, one for all ends with the same."""
        if end.evs is None:
            return EV_PROFILE
        if end.evs not in self._ev_profiles:
            active, spares = end.evs
            try:
                number = narrow_ev_profile(
                    self.context.controller, active=active, spares=spares)
            except ValueError as error:
                raise WorkloadError(f"connection {end.connection}: {error}") from None
            self._ev_profiles[end.evs] = number
        return self._ev_profiles[end.evs]

    def _buffer(self, end: End, size: int) -> MemoryRegion:
        if size:
            return self.context.reg_mr(bytearray(size))
        if self.shared is None:
            raise WorkloadError(
                f"connection {end.connection} has no buffer and its host none to share: plan one"
            )
        return self.shared

    def describe(self) -> list[dict[str, Any]]:
        """One JSON object per connection: all its peer must know (spec Table 10-1)."""
        return [self._describe(channel) for channel in self.channels.values()]

    def _describe(self, channel: Channel) -> dict[str, Any]:
        mine, target = self._info(channel), channel.target
        return {
            "connection": channel.connection,
            "gid": mine.gid.hex(),
            "qp_num": mine.qp_num,
            "psn": mine.psn,
            "path_mtu": mine.path_mtu,
            "max_wimm": mine.max_wimm_dest,
            "mpr": mine.mpr_dest,
            "cap": int(mine.cap),
            "va": target.va,
            "rkey": target.rkey,
            "length": target.length,
        }

    def _info(self, channel: Channel) -> PeerInfo:
        address = self.context.endpoint.address
        return PeerInfo(address, channel.qp.qp_num, channel.psn, self._path_mtu)

    def connect(self, remote: Mapping[int, Mapping[str, Any]], now_ns: int) -> None:
        """Take every QP to RTS with what its peer described, by connection.

        Raises WorkloadError where a description lacks something or is of no connection of
        this host; then nothing is connected.
        """
        surplus = remote.keys() - self.channels.keys()
        if surplus:
            raise WorkloadError(
                f"connection {min(surplus)} is none of this host: leave it away"
            )
        peers = {number: _read_remote(number, remote) for number in self.channels}
        for number, (peer, window) in peers.items():
            end, channel = self._ends[number], self.channels[number]
            connect(
                self.context, channel.qp, self._info(channel), peer, now_ns, retry=end.retry,
                timeout=end.timeout,
            )  # fmt: skip
            channel.attach(*window)


def _read_remote(
    number: int, remote: Mapping[int, Mapping[str, Any]]
) -> tuple[PeerInfo, _Window]:
    if number not in remote:
        raise WorkloadError(f"connection {number} was not described by its peer: describe it")
    take = Fields(remote[number], f"the description of connection {number}")
    take.integer("connection", number, number)
    peer = PeerInfo(
        gid=take.octets("gid", _GID_BYTES),
        qp_num=take.integer("qp_num", 0, _QPN_LIMIT - 1),
        psn=take.integer("psn", 0, _PSN_LIMIT - 1),
        path_mtu=take.integer("path_mtu", 256, 8192),
        max_wimm_dest=take.integer("max_wimm", 1, MAX_WIMM_LIMIT),
        mpr_dest=take.integer("mpr", 1, MAX_MPR),
        cap=QpCap(take.integer("cap", 0, sum(QpCap))),
    )
    window = _Window(
        take.integer("va", 0, _VA_LIMIT - 1),
        take.integer("rkey", 0, _KEY_LIMIT - 1),
        take.integer("length", 1, MAX_BUFFER_BYTES),
    )
    take.finish()
    return peer, window


def failures(channels: Iterable[Channel]) -> list[dict[str, Any]]:
    """The QPs that failed, receiving ones too: connection, peer, status, reason, at_ns."""
    return [
        {"connection": channel.connection, "peer": channel.peer, **failure}
        for channel in channels
        if (failure := channel.failure) is not None
    ]


def by_connection(rows: Iterable[Mapping[str, Any]]) -> dict[int, Mapping[str, Any]]:
    """Rows of JSON by their ``connection``. Raises WorkloadError where two have one number."""
    keyed: dict[int, Mapping[str, Any]] = {}
    for row in rows:
        number = row.get("connection") if isinstance(row, Mapping) else None
        if type(number) is not int or number in keyed:
            raise WorkloadError(
                f"connection {number} is told twice or is no number: tell each once"
            )
        keyed[number] = row
    return keyed
