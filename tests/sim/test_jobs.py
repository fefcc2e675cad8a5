"""Planned workloads in the simulator: the paper's numbers on octo, and faults without a wrong byte.

Goodput is payload over the nominal rate of all ports, 800 Gb/s: see test_octo_numbers.
"""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import pytest

from testbed.errors import UsageError
from testbed.faults.actions import Action, make_action
from testbed.faults.targets import parse_target
from testbed.intent.topology import load_topology
from testbed.sim.jobs import DRAIN_NS, STUCK_NS, JobResult, run_job
from testbed.sim.network import Limits
from testbed.transport.mrc.wire.codec import Envelope, encode
from testbed.transport.mrc.wire.codes import ACK_SYNDROME, Opcode
from testbed.transport.mrc.wire.packets import TransportAck, Write
from topologies.graph import build_graph
from topologies.numbers import (
    ETHERNET_BYTES,
    Dscp,
    Ecn,
    PortThresholds,
    drain_rate_bps,
    fabric_thresholds,
)
from workloads.job import Job, plan_permutation, plan_write_bandwidth, plan_write_latency
from workloads.params import WorkloadError
from workloads.write_bandwidth import average_bps, peak_bps
from workloads.write_latency import half_latency

OCTO = build_graph(load_topology("octo"))
TINY = build_graph(load_topology("tiny"))
SPEC = OCTO.spec
LINE_BPS = SPEC.planes * SPEC.port_rate_bps
NEAR, FAR = 1, 7


def bandwidth(dst: int, **changes: Any) -> Job:
    keys = {"size": 32_768, "qps": 4, "duration_ns": 1_200_000, "seed": 3, **changes}
    return plan_write_bandwidth(SPEC, 0, dst, **keys)


def tiny(**changes: Any) -> Job:
    keys = {"size": 8_192, "qps": 2, "iters": 100, "depth": 8, "seed": 4, **changes}
    return plan_write_bandwidth(TINY.spec, 0, 2, **keys)


def fault(target: str, kind: str, ratio: float | None = None) -> Action:
    return make_action(parse_target(target), kind, ratio)


def shares(result: JobResult) -> dict[int, float]:
    """Goodput of each sending host as a share of its line."""
    return {
        host: average_bps(found["channels"]) / LINE_BPS
        for host, found in result.results.items()
        if found["channels"]
    }


def require_sound(result: JobResult) -> None:
    """It ended by itself, and nothing is missing: no byte, no frame, no completion."""
    assert result.is_complete
    assert all(row["failure"] is None for row in result.rows())
    assert all(row["posted"] == row["messages"] for row in result.rows())
    assert result.checked_bytes > 0
    assert result.wrong_bytes == 0
    assert all(not found["unchecked"] for found in result.verified.values())
    assert result.conservation.unexplained == result.conservation.in_flight == 0
    assert all(len(json.dumps(found)) > 0 for found in result.results.values())


# --- The paper's numbers ---------------------------------------------------------------


def test_writes_fill_the_line_the_same_near_and_far() -> None:
    found = {}
    for dst in (NEAR, FAR):
        result = run_job(OCTO, bandwidth(dst), 1)
        require_sound(result)
        rows = result.rows()
        assert {row["window_ns"] for row in rows} == {1_080_000}
        assert result.checked_bytes == 4 * 128 * 32_768
        found[dst] = shares(result)[0]
        assert found[dst] >= 0.96
        assert found[dst] * LINE_BPS <= peak_bps(rows) <= 1.02 * LINE_BPS
        # The queue pairs share it evenly.
        assert max(r["bytes"] for r in rows) < 1.05 * min(r["bytes"] for r in rows)
    assert found[NEAR] == pytest.approx(found[FAR], rel=0.01)


@pytest.mark.parametrize("dst", [NEAR, FAR], ids=["T0-local", "cross-T1"])
def test_writes_both_ways_fill_both_lines(dst: int) -> None:
    result = run_job(OCTO, bandwidth(dst, is_bidirectional=True), 2)
    require_sound(result)
    assert sorted(shares(result)) == [0, dst]
    assert min(shares(result).values()) >= 0.945
    assert result.checked_bytes == 2 * 4 * 128 * 32_768


def test_latency_differs_by_the_hops_and_links_between_and_nothing_else() -> None:
    halves = {}
    for dst in (NEAR, FAR):
        result = run_job(OCTO, plan_write_latency(SPEC, 0, dst, iters=200), 3)
        require_sound(result)
        figures = half_latency(result.results[0]["latency_ns"])
        assert figures.min == figures.max
        halves[dst] = figures.typical
    # Cross-T1 adds two links and the egress of two switches, there and back.
    write = _frame_bytes(
        Write(int(Opcode.WRITE_ONLY), 3, 0, True, False, False, 0, 0, 0, 0, 0, 2, None, b"ab")
    )
    ack = _frame_bytes(TransportAck(3, 0, ACK_SYNDROME, 0))
    drain_bps = drain_rate_bps(SPEC.port_rate_bps, 1)
    extra_ns = 4 * SPEC.link_delay_ns + Fraction(2 * 8 * 10**9 * (write + ack), drain_bps)
    # Each of the four egresses rounds to whole ns.
    assert abs(2 * (halves[FAR] - halves[NEAR]) - extra_ns) <= 2


def _frame_bytes(packet: Write | TransportAck) -> int:
    envelope = Envelope(bytes(16), bytes(16), bytes(16), 0, int(Dscp.CONTROL), int(Ecn.NOT_ECT))
    return len(encode(envelope, packet)) + ETHERNET_BYTES


def test_messages_counted_instead_of_time_reach_the_same() -> None:
    result = run_job(OCTO, bandwidth(FAR, duration_ns=None, iters=800), 4)
    require_sound(result)
    assert [row["messages"] for row in result.rows()] == [800] * 4
    # From first post to last completion, the first round trip included.
    assert 0.95 <= shares(result)[0] <= 0.967


# --- Faults ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "kind", "ratio", "evidence"),
    [
        ("link:p1-t0-0:p1-t1-3", "down", None, "dropped_blackhole"),
        ("port:p0-t1-2:p0-t0-1", "loss", 0.01, "dropped_loss"),
        ("port:p3-t0-0:p3-t1-1", "corrupt", 0.05, None),
    ],
)
def test_every_byte_arrives_whatever_breaks(
    target: str, kind: str, ratio: float | None, evidence: str | None
) -> None:
    """Every message has memory of its own, so each of 32 MiB is compared."""
    job = bandwidth(FAR, duration_ns=None, iters=256, is_every_message_kept=True)
    result = run_job(OCTO, job, 5, faults=[(60_000, fault(target, kind, ratio))])
    require_sound(result)
    assert result.checked_bytes == 4 * 256 * 32_768
    # It bit: frames were lost to it, or arrived with a wrong check sum.
    if evidence is not None:
        assert result.conservation.dropped[evidence] > 0
    else:
        assert result.contexts[FAR].endpoint.counters.icrc_errors > 0
    resent = sum(
        qp.requester.counters.resent
        for qp in result.contexts[0].endpoint.qps.values() if qp.requester
    )  # fmt: skip
    assert resent > 0


def test_a_peer_that_dies_fails_its_qps_and_is_not_judged() -> None:
    result = run_job(TINY, tiny(iters=10**6), 6, faults=[(50_000, fault("host:h2", "kill"))])
    assert not result.is_complete
    assert sorted(result.results) == sorted(result.verified) == [0]
    assert [row["failure"]["status"] for row in result.rows()] == ["retry exceeded"] * 2
    assert all(row["failure"]["at_ns"] > 50_000 for row in result.rows())
    assert all(0 < row["messages"] < row["posted"] for row in result.rows())
    assert result.conservation.unexplained == 0


def test_a_sender_paused_for_good_does_not_hold_the_run_for_ever() -> None:
    # Something is still to come, so the clock would go on.
    faults = [(50_000, fault("host:h0", "pause")), (10**10, fault("plane:1", "down"))]
    result = run_job(TINY, tiny(iters=10**6), 7, faults=faults)
    assert not result.is_complete
    assert STUCK_NS < result.ended_ns < STUCK_NS + 3 * DRAIN_NS
    row, *_ = result.rows()
    assert row["posted"] > row["messages"] > 0
    assert result.verified[2]["unchecked"] == [0, 1]
    assert result.conservation.unexplained == 0


def test_a_fault_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(UsageError, match="h9"):
        run_job(TINY, tiny(), 8, faults=[(10, fault("host:h9", "kill"))])


# --- The run itself --------------------------------------------------------------------


def test_until_a_time_nothing_is_posted_and_what_was_posted_completes() -> None:
    result = run_job(TINY, tiny(iters=10**6), 9, until_ns=300_000)
    assert not result.is_complete
    for row in result.rows():
        assert 100 < row["messages"] == row["posted"] < 10**6
        assert row["last_done_ns"] > 300_000
    assert result.checked_bytes == 2 * 8 * 8_192
    assert result.wrong_bytes == 0
    assert result.conservation.in_flight == 0


def test_a_time_beyond_its_end_changes_nothing() -> None:
    result = run_job(TINY, tiny(), 9, until_ns=10**9)
    require_sound(result)
    assert result.ended_ns < 10**6


def test_twice_the_same_seeds_is_twice_the_same_run() -> None:
    noise = [(20_000, fault("link:p1-t0-0:p1-t1-1", "loss", 0.05))]
    runs = [run_job(TINY, tiny(seed=s), seed, faults=noise) for s, seed in
            ((1, 1), (1, 1), (1, 2), (2, 1))]  # fmt: skip
    for result in runs:
        require_sound(result)
        assert result.conservation.dropped["dropped_loss"] > 0
    first, again, other_fabric, other_content = (
        (result.ended_ns, result.results, result.conservation) for result in runs
    )
    assert first == again != other_fabric
    assert first == other_content  # what is written changes no timing


def test_hosts_with_many_peers_and_hosts_with_none() -> None:
    ring = plan_permutation(SPEC, [(h, (h + 3) % 6) for h in range(6)], size=8_192, qps=2,
                            iters=64, depth=16, seed=1)  # fmt: skip
    result = run_job(OCTO, ring, 10)
    require_sound(result)
    assert sorted(result.results) == list(range(6))
    assert sorted(result.contexts) == list(range(8))
    assert result.checked_bytes == 6 * 2 * 16 * 8_192
    incast = plan_permutation(SPEC, [(h, 7) for h in range(3)], size=8_192, qps=1, iters=100)
    result = run_job(OCTO, incast, 10)
    require_sound(result)
    assert len(result.rows()) == 3


def test_limits_are_those_of_the_ports() -> None:
    incast = plan_permutation(TINY.spec, [(0, 2), (1, 2)], size=8_192, qps=1, iters=200)
    plain = run_job(TINY, incast, 11)
    require_sound(plain)
    assert plain.conservation.dropped["dropped_tail"] == 0
    fabric = fabric_thresholds(TINY.spec)
    shallow = PortThresholds(0, 0, fabric.drop_bytes, 40_000, fabric.control_bytes)
    dropping = run_job(TINY, incast, 11, limits=Limits(fabric, shallow))
    require_sound(dropping)
    assert dropping.conservation.dropped["dropped_tail"] > 0


def test_a_job_of_another_fabric_or_with_a_wrong_program_is_refused() -> None:
    with pytest.raises(WorkloadError, match="h7 does not exist: tiny has h0 to h3"):
        run_job(TINY, bandwidth(FAR), 12)
    job = tiny()
    job.hosts[0].program["kind"] = "write-bv"  # type: ignore[index]
    with pytest.raises(WorkloadError, match="did you mean 'write-bw'"):
        run_job(TINY, job, 12)
