"""Who is told what: messages reach the exchange they belong to, and losses reach everyone."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.transport.mrc.completion import Completion, WcOpcode, WcStatus
from workloads.collectives.direct import barrier, send_recv
from workloads.collectives.group import PULSE_NS, RECEIVES, Group
from workloads.collectives.schedule import Shape
from workloads.params import WorkloadError

HOSTS = (7, 8, 9)  # of ranks 0, 1, 2
NOTHING = Shape(3, 0, 1)


class FakeChannel:
    """A connection that notes what is posted."""

    def __init__(self, connection: int, peer: int) -> None:
        self.connection, self.peer = connection, peer
        self.posted: list[tuple[int, int | None]] = []  # wr_id, immediate
        self.receives = self.outstanding = 0
        self.failure: dict[str, Any] | None = None

    @property
    def is_failed(self) -> bool:
        return self.failure is not None

    def post_write(self, wr_id: int, offset: int, length: int, now_ns: int, *,
                   remote_offset: int | None = None, imm: int | None = None) -> None:  # fmt: skip
        self.posted.append((wr_id, imm))
        self.outstanding += 1

    def post_recv(self, wr_id: int) -> None:
        self.receives += 1


class Bench:
    """Rank 0 of three, with two connections to rank 1 and one to rank 2."""

    def __init__(self) -> None:
        self.channels = {n: FakeChannel(n, peer) for n, peer in ((0, 8), (1, 8), (2, 9))}
        self.group = Group(0, HOSTS, self.channels)  # type: ignore[arg-type]
        self.complete: list[tuple[str, int]] = []

    def begin(self, name: str, lane: int, schedule: Any, now_ns: int = 0) -> None:
        self.group.begin(lane, schedule, None, now_ns,
                         lambda at_ns: self.complete.append((name, at_ns)))

    def receive(self, number: int, imm: int, now_ns: int = 10) -> None:
        self._hand(number, Completion(0, WcStatus.SUCCESS, WcOpcode.RECV_RDMA_WITH_IMM, 1,
                                      imm=imm), now_ns)

    def acknowledge(self, number: int, now_ns: int = 20) -> None:
        wr_id, _ = self.channels[number].posted.pop(0)
        self.channels[number].outstanding -= 1
        self._hand(number, Completion(wr_id, WcStatus.SUCCESS,
                                      WcOpcode.RDMA_WRITE_WITH_IMM, 1, 5), now_ns)

    def fail(self, number: int, now_ns: int = 30) -> None:
        channel = self.channels[number]
        channel.failure = {"reason": "no answer within the retry budget"}
        self._hand(number, Completion(0, WcStatus.RETRY_EXCEEDED,
                                      WcOpcode.RDMA_WRITE_WITH_IMM, 1), now_ns)

    def _hand(self, number: int, completion: Completion, now_ns: int) -> None:
        self.group.on_completion(self.channels[number], completion, now_ns)  # type: ignore[arg-type]


def key(lane: int, number: int, tag: int) -> int:
    return lane << 28 | number << 16 | tag


def test_a_barrier_is_complete_when_all_arrived_and_all_is_acknowledged() -> None:
    bench = Bench()
    bench.begin("first", 1, barrier(0, 3))
    assert bench.channels[0].posted == [(key(1, 0, 0), key(1, 0, 0))]  # round 0 goes to rank 1
    bench.receive(2, key(1, 0, 0))  # and comes from rank 2
    assert bench.channels[2].posted == [(key(1, 0, 0), key(1, 0, 1))]  # round 1 goes to rank 2
    bench.receive(0, key(1, 0, 1))
    bench.acknowledge(0)
    assert bench.complete == []
    bench.acknowledge(2, now_ns=25)
    assert bench.complete == [("first", 25)]
    assert bench.group.messages_done == 2


def test_what_comes_early_waits_for_its_exchange() -> None:
    bench = Bench()
    for number in (0, 1):
        bench.receive(2, key(1, number, 0))
        bench.receive(0, key(1, number, 1))
    bench.begin("first", 1, barrier(0, 3))
    assert len(bench.channels[0].posted) == len(bench.channels[2].posted) == 1
    bench.begin("second", 1, barrier(0, 3))
    for number in (0, 2, 0, 2):
        bench.acknowledge(number)
    assert [name for name, _ in bench.complete] == ["first", "second"]


def test_lanes_do_not_disturb_each_other() -> None:
    bench = Bench()
    bench.begin("a", 1, barrier(0, 3))
    bench.begin("b", 2, barrier(0, 3))
    bench.receive(2, key(2, 0, 0))
    assert bench.channels[2].posted == [(key(2, 0, 0), key(2, 0, 1))]


def test_an_exchange_without_messages_is_complete_at_once() -> None:
    bench = Bench()
    bench.begin("nothing", 0, send_recv(0, NOTHING), now_ns=4)
    assert bench.complete == [("nothing", 4)]


def test_numbers_of_a_lane_begin_again_after_4096() -> None:
    bench = Bench()
    for _ in range(4096):
        bench.begin("nothing", 0, send_recv(0, NOTHING))
    bench.begin("again", 0, barrier(0, 3))
    assert bench.channels[0].posted[-1] == (key(0, 0, 0), key(0, 0, 0))


def test_receives_are_posted_before_and_again_after_every_message() -> None:
    bench = Bench()
    bench.group.open()
    assert {channel.receives for channel in bench.channels.values()} == {RECEIVES}
    bench.receive(0, key(1, 0, 1))
    assert bench.channels[0].receives == RECEIVES + 1


def test_a_failed_queue_pair_is_a_lost_rank_and_the_others_are_told() -> None:
    bench = Bench()
    bench.begin("never", 1, barrier(0, 3))
    bench.fail(0)
    loss = bench.group.loss
    assert loss is not None
    assert (loss.rank, loss.noticed_by, loss.at_ns) == (1, 0, 30)
    assert "retry budget" in loss.reason
    assert bench.channels[2].posted[-1][1] == 15 << 28 | 1 << 14 | 0
    assert len(bench.channels[1].posted) == 0  # rank 1 itself is not told
    bench.receive(2, key(1, 0, 0))
    assert bench.complete == []
    assert bench.group.is_over


def test_who_is_told_tells_on_and_names_the_same_rank() -> None:
    bench = Bench()
    bench.receive(0, 15 << 28 | 2 << 14 | 1)
    loss = bench.group.loss
    assert loss is not None
    assert (loss.rank, loss.noticed_by) == (2, 1)
    assert bench.channels[0].posted[-1][1] == 15 << 28 | 2 << 14 | 1
    bench.fail(2)  # later: the first loss stands
    assert bench.group.loss is loss


def test_who_waits_in_silence_writes_to_those_it_waits_for() -> None:
    bench = Bench()
    assert bench.group.pulse_at_ns is None
    bench.begin("never", 1, barrier(0, 3), now_ns=5)
    assert bench.group.pulse_at_ns == 5 + PULSE_NS
    bench.receive(2, key(1, 0, 0), now_ns=7)  # rank 1 is still to come
    assert bench.group.pulse_at_ns == 7 + PULSE_NS
    bench.acknowledge(2)
    bench.acknowledge(0)
    bench.group.pulse(PULSE_NS + 20)
    assert [len(channel.posted) for channel in bench.channels.values()] == [1, 0, 0]
    assert bench.channels[0].posted[0][1] is None
    assert bench.group.pulse_at_ns == 2 * PULSE_NS + 20
    bench.group.pulse(2 * PULSE_NS + 20)  # the first is not acknowledged yet
    assert len(bench.channels[0].posted) == 1
    bench.acknowledge(0)
    assert bench.group.messages_done == 2
    bench.fail(0)
    assert bench.group.pulse_at_ns is None


def test_after_a_stop_nothing_is_posted() -> None:
    bench = Bench()
    bench.group.stop()
    bench.begin("never", 1, barrier(0, 3))
    assert [channel.posted for channel in bench.channels.values()] == [[], [], []]
    assert bench.group.is_over
    assert bench.group.is_quiet


def test_a_channel_to_a_host_without_a_rank_is_refused() -> None:
    with pytest.raises(WorkloadError, match="connection 3 leads to h4"):
        Group(0, HOSTS, {3: FakeChannel(3, 4)})  # type: ignore[dict-item]
