"""Ends of connections: their JSON, what peers are told, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from unit.workloads.workload_rig import FAR, SPEC, Wires, open_context, set_up

from testbed.transport.mrc.completion import WcOpcode, WcStatus
from testbed.transport.mrc.ctl.profile import known
from testbed.transport.mrc.device import CC_CROSS_T1, CC_T0_LOCAL, EV_PROFILE
from testbed.transport.mrc.errors import MrcError
from testbed.transport.mrc.qp import QpState
from testbed.transport.mrc.qp_attributes import Retry
from testbed.transport.mrc.srv6 import RouteError
from workloads.connections import End, HostSetup, by_connection, failures
from workloads.evshare import EvShare
from workloads.job import plan_write_bandwidth
from workloads.params import WorkloadError

END = End(
    connection=4, host=0, peer=FAR, is_cross_t1=True, source_bytes=100, target_bytes=200, seed=5,
    max_wr=16,
)  # fmt: skip
JOB = plan_write_bandwidth(SPEC, 0, FAR, size=8192, qps=2, iters=3, is_bidirectional=True, depth=2)


@pytest.mark.parametrize(
    "end", [END, replace(END, retry=Retry(1, 25), timeout=9), replace(END, evs=EvShare(1, 2))]
)
def test_an_end_survives_json(end: End) -> None:
    assert End.from_params(json.loads(json.dumps(end.to_params()))) == end


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"target_bytes": -1}, "end.target_bytes is -1: give an integer from 0"),
        ({"max_wr": 0}, "end.max_wr is 0"),
        ({"is_cross_t1": 1}, "end.is_cross_t1 is 1: give true or false"),
        ({"retry": {"linear_cnt": 8, "exp_cnt": 0}}, "end.retry.linear_cnt is 8"),
        ({"timeout": 25}, "end.timeout is 25"),
        ({"evs": {"active": 0, "spares": 1}}, "end.evs.active is 0"),
        ({"evs": {"active": 1}}, "end.evs lacks 'spares'"),
        ({"evs": "1+1"}, "end.evs is '1+1': give an object"),
        ({"colour": 1}, "end has unknown key 'colour'"),
    ],
)
def test_a_wrong_end_is_refused(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        End.from_params(END.to_params() | change)
    assert sentence in str(caught.value)


def test_ends_with_the_same_share_of_evs_share_a_profile() -> None:
    shares = [EvShare(1, 1), None, EvShare(1, 1), EvShare(2, 0)]
    ends = [replace(END, connection=n, evs=share) for n, share in enumerate(shares)]
    setup = HostSetup(open_context(0), ends, 4096, Random(1))
    numbers = [setup.context.query_qp(channel.qp).ev_profile_id
               for channel in setup.channels.values()]
    assert numbers[0] == numbers[2]
    assert numbers[1] == EV_PROFILE
    assert len(set(numbers)) == 3
    profile = setup.context.controller.ev_profile(known(numbers[0]))
    assert (profile.active_per_port, profile.count) == (1, 2 * SPEC.planes)


def test_a_share_the_device_does_not_have_is_refused() -> None:
    end = replace(END, evs=EvShare(SPEC.t1_per_plane, 1))
    with pytest.raises(WorkloadError, match=r"connection 4: .* are not possible: use 1 active"):
        HostSetup(open_context(0), [end], 4096, Random(1))


def test_a_setup_has_a_qp_in_init_and_two_buffers_for_each_end() -> None:
    near = replace(END, connection=5, peer=1, is_cross_t1=False)
    setup = HostSetup(open_context(0), [END, near], 4096, Random(1))
    qps = [channel.qp for channel in setup.channels.values()]
    assert list(setup.channels) == [4, 5]
    assert [qp.state for qp in qps] == [QpState.INIT] * 2
    profiles = [setup.context.query_qp(qp).cc_profile_id for qp in qps]
    assert profiles == [CC_CROSS_T1, CC_T0_LOCAL]
    assert {(qp.send_cq is setup.send_cq, qp.recv_cq is setup.recv_cq) for qp in qps} == {
        (True, True)
    }
    assert setup.send_cq.depth == setup.recv_cq.depth == 32
    assert {(c.source.length, c.target.length) for c in setup.channels.values()} == {(100, 200)}
    assert len({c.psn for c in setup.channels.values()}) == 2


@pytest.mark.parametrize("ends", [[], [END, END]])
def test_no_end_or_two_of_one_number_are_refused(ends: list[End]) -> None:
    with pytest.raises(WorkloadError, match="give one end or more, each a number of its own"):
        HostSetup(open_context(0), ends, 4096, Random(1))


def test_a_description_is_json_and_complete() -> None:
    setup = set_up(JOB)[0]
    rows = json.loads(json.dumps(setup.describe()))
    assert [row["connection"] for row in rows] == [0, 1]
    row, channel = rows[0], setup.channels[0]
    assert bytes.fromhex(row["gid"]) == setup.context.endpoint.address
    assert (row["qp_num"], row["psn"]) == (channel.qp.qp_num, channel.psn)
    assert (row["path_mtu"], row["length"]) == (4096, channel.target.length)
    assert (row["va"], row["rkey"]) == (channel.target.va, channel.target.rkey)
    assert row.keys() == {
        "connection", "gid", "qp_num", "psn", "path_mtu", "max_wimm", "mpr", "cap", "va", "rkey",
        "length",
    }  # fmt: skip


def test_connect_takes_both_to_rts_and_says_where_to_write() -> None:
    setups = set_up(JOB)
    told = JOB.swap({host: setup.describe() for host, setup in setups.items()})
    for host, setup in setups.items():
        setup.connect(told[host], 0)
    for channel in setups[0].channels.values():
        assert channel.qp.state is QpState.RTS
        assert channel.qp.peer == setups[FAR].context.endpoint.address
        assert channel.remote_bytes == setups[FAR].channels[channel.connection].target.length


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"gid": "xyz"}, "the description of connection 1.gid is 'xyz': give 32 hex digits"),
        ({"gid": "00"}, "give 32 hex digits"),
        ({"qp_num": 1 << 24}, "qp_num is 16777216"),
        ({"psn": -1}, "psn is -1"),
        ({"path_mtu": 100}, "path_mtu is 100"),
        ({"max_wimm": 0}, "max_wimm is 0"),
        ({"mpr": 33}, "mpr is 33"),
        ({"cap": 8}, "cap is 8: give an integer from 0 to 7"),
        ({"rkey": 1 << 32}, "rkey is 4294967296"),
        ({"va": None}, "va is None"),
        ({"length": "8"}, "length is '8'"),
        ({"connection": 0}, "connection is 0"),
        ({"hue": 0}, "the description of connection 1 has unknown key 'hue'"),
    ],
)
def test_a_wrong_description_connects_nothing(change: dict[str, Any], sentence: str) -> None:
    setups = set_up(JOB)
    told = by_connection(setups[FAR].describe())
    with pytest.raises(WorkloadError) as caught:
        setups[0].connect({0: told[0], 1: {**told[1], **change}}, 0)
    assert sentence in str(caught.value)
    assert {channel.qp.state for channel in setups[0].channels.values()} == {QpState.INIT}


def test_a_description_too_few_or_too_many() -> None:
    setups = set_up(JOB)
    told = by_connection(setups[FAR].describe())
    with pytest.raises(WorkloadError, match="connection 1 was not described by its peer"):
        setups[0].connect({0: told[0]}, 0)
    with pytest.raises(WorkloadError, match="connection 7 is none of this host"):
        setups[0].connect({**told, 7: told[0]}, 0)
    del told[0]["qp_num"]  # type: ignore[attr-defined]
    with pytest.raises(WorkloadError, match="connection 0 lacks 'qp_num': add it"):
        setups[0].connect(told, 0)


def test_retry_and_timeout_of_an_end_are_those_of_its_qp() -> None:
    setups = set_up(JOB)
    plain = JOB.hosts[0].ends
    ends = [replace(plain[0], retry=Retry(2, 1), timeout=8), plain[1]]
    setup = HostSetup(open_context(0), ends, 4096, Random(1))
    setup.connect(by_connection(setups[FAR].describe()), 0)
    attrs = [setup.context.query_qp(channel.qp) for channel in setup.channels.values()]
    assert [(attr.retry, attr.timeout) for attr in attrs] == [(Retry(2, 1), 8), (Retry(), 6)]


def test_writing_needs_a_connection_and_stays_within_the_target() -> None:
    channel = set_up(JOB)[0].channels[0]
    with pytest.raises(WorkloadError, match="connection 0 is not connected: connect it first"):
        channel.post_write(0, 0, 8, 0)
    wires = Wires(JOB)
    channel = wires.setups[0].channels[0]
    for offset in (-1, channel.remote_bytes - 7):
        with pytest.raises(WorkloadError, match="leaves the 16384 bytes of connection 0's target"):
            channel.post_write(0, 0, 8, 0, remote_offset=offset)
    with pytest.raises(MrcError, match="leave the region"):
        channel.post_write(0, channel.source.length - 4, 8, 0, remote_offset=0)
    assert channel.outstanding == 0


def test_a_write_with_immediate_lands_where_it_was_meant_to() -> None:
    class Idle:
        is_done = False

        def __init__(self) -> None:
            self.seen: list[tuple[int, Any]] = []

        def start(self, now_ns: int) -> None: ...

        def next_timer_ns(self) -> None: ...

        def on_completion(self, channel: Any, completion: Any, now_ns: int) -> None:
            self.seen.append((channel.connection, completion))

    wires = Wires(JOB, lambda setup, program: Idle()).start()
    near, far = (wires.setups[host].channels[1] for host in (0, FAR))
    near.source.view[:5] = b"hello"
    far.post_recv(77)
    near.post_write(9, 0, 5, 0, remote_offset=100, imm=0xABCD)
    assert near.outstanding == 1
    wires.run(1_000_000)
    assert bytes(far.target.view[99:106]) == b"\0hello\0"
    (_, sent), = wires.apps[0].program.seen  # type: ignore[attr-defined]
    (number, got), = wires.apps[FAR].program.seen  # type: ignore[attr-defined]
    assert (sent.wr_id, sent.status, near.outstanding) == (9, WcStatus.SUCCESS, 0)
    assert (number, got.wr_id, got.imm) == (1, 77, 0xABCD)
    assert got.opcode is WcOpcode.RECV_RDMA_WITH_IMM
    assert far.outstanding == 0


def test_a_failed_qp_is_told_in_json() -> None:
    wires = Wires(JOB)
    channels = wires.setups[0].channels
    assert channels[0].failure is None
    assert not failures(channels.values())
    qp = channels[1].qp
    wires.setups[0].context.endpoint.fail(qp, WcStatus.RETRY_EXCEEDED, "no answer", 77)
    row = {"connection": 1, "peer": FAR, "status": "retry exceeded", "reason": "no answer",
           "at_ns": 77}  # fmt: skip
    assert json.loads(json.dumps(failures(channels.values()))) == [row]
    assert channels[1].is_failed


def test_rows_by_connection() -> None:
    rows = [{"connection": 3, "a": 1}, {"connection": 1, "a": 2}]
    assert by_connection(rows) == {3: rows[0], 1: rows[1]}
    for wrong in ([rows[0], rows[0]], [{"a": 1}], [{"connection": "3"}]):
        with pytest.raises(WorkloadError, match="tell each once"):
            by_connection(wrong)


def test_an_address_no_route_leads_to_is_refused_by_the_device() -> None:
    setups = set_up(JOB)
    told = by_connection(setups[FAR].describe())
    with pytest.raises((MrcError, RouteError)):
        setups[0].connect({n: {**row, "gid": "ff" * 16} for n, row in told.items()}, 0)


def test_a_row_that_is_no_object_is_refused() -> None:
    with pytest.raises(WorkloadError, match="is no number"):
        by_connection([5])  # type: ignore[list-item]


def test_ends_without_a_buffer_share_their_hosts() -> None:
    ends = [replace(END, connection=n, source_bytes=0, target_bytes=0) for n in (1, 2)]
    setup = HostSetup(open_context(0), ends, 1000, Random(1), shared_bytes=5_000)
    first, second = setup.channels.values()
    assert first.source is first.target is second.source is setup.shared
    assert first.source.length == 5_000
    with pytest.raises(WorkloadError, match="connection 1 has no buffer and its host none"):
        HostSetup(open_context(0), ends, 1000, Random(1))
