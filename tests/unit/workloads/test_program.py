"""What every program owes whoever drives it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from unit.workloads.workload_rig import FAR, SPEC, Wires

from testbed.transport.mrc.completion import Completion, WcOpcode, WcStatus
from workloads.job import Job, plan_permutation, plan_write_bandwidth, plan_write_latency
from workloads.program import Program

JOBS: dict[str, Callable[[], Job]] = {
    "write-bw": lambda: plan_write_bandwidth(SPEC, 0, FAR, size=9000, qps=2, iters=20, depth=3),
    "both ways": lambda: plan_write_bandwidth(
        SPEC, 0, FAR, size=9000, qps=2, iters=20, depth=3, is_bidirectional=True
    ),
    "for a time": lambda: plan_write_bandwidth(SPEC, 0, FAR, size=9000, qps=2, duration_ns=60_000),
    "in a ring": lambda: plan_permutation(
        SPEC, [(0, 1), (1, 2), (2, 3), (3, 0)], size=5000, qps=1, iters=20, depth=3
    ),
    "write-lat": lambda: plan_write_latency(SPEC, 0, FAR, iters=20),
}  # fmt: skip
every_job = pytest.mark.parametrize("job", [make() for make in JOBS.values()], ids=list(JOBS))


def programs(wires: Wires) -> dict[int, Program]:
    return {host: app.program for host, app in wires.apps.items()}


@every_job
def test_it_runs_to_its_end_and_every_byte_is_right(job: Job) -> None:
    wires = Wires(job)
    senders = [host for host, plan in job.hosts.items() if plan.program["sends"]]
    done = {host: program.is_done for host, program in programs(wires).items()}
    assert done == {host: host not in senders for host in job.hosts}
    wires.start().run()
    assert all(program.is_done for program in programs(wires).values())
    assert all(c.outstanding == 0 for s in wires.setups.values() for c in s.channels.values())
    found = wires.verify()
    receivers = [host for host, plan in job.hosts.items() if found[host]["checked_bytes"]]
    sent_to = {end.peer for host in senders for end in job.hosts[host].ends
               if end.connection in job.hosts[host].program["sends"]}  # fmt: skip
    assert set(receivers) == sent_to
    for host in receivers:
        into = sum(end.target_bytes for end in job.hosts[host].ends if end.target_bytes > 1)
        assert found[host]["checked_bytes"] == into
    assert {(f["wrong_bytes"], f["first_wrong"]) for f in found.values()} == {(0, None)}
    assert all(f["unchecked"] == [] for f in found.values())


@every_job
def test_results_and_progress_are_json_at_any_time(job: Job) -> None:
    wires = Wires(job)
    for _ in range(2):
        for program in programs(wires).values():
            result, progress = program.result(), program.progress()
            assert json.loads(json.dumps(result)) == result
            assert progress["messages_done"] == sum(r["messages"] for r in result["channels"])
            assert progress["bytes_done"] == sum(r["bytes"] for r in result["channels"])
        wires.start().run()


@every_job
def test_stopped_it_posts_no_more_and_what_was_posted_completes(job: Job) -> None:
    wires = Wires(job).start()
    wires.run(9_000)
    before = {host: r["channels"] for host, r in wires.results().items()}
    for app in wires.apps.values():
        app.stop(9_000)
        assert app.program.next_timer_ns() is None
    wires.run()
    for host, program in programs(wires).items():
        assert program.is_done
        rows = program.result()["channels"]
        assert [row["posted"] for row in rows] == [row["posted"] for row in before[host]]
        assert all(row["posted"] == row["messages"] > 0 for row in rows)
    assert {f["wrong_bytes"] for f in wires.verify().values()} == {0}


@every_job
def test_a_silent_network_ends_it_with_a_failure_on_record(job: Job) -> None:
    wires = Wires(job)
    wires.lose = lambda now, host, datagram: now > 6_000
    wires.start().run()
    for host, program in programs(wires).items():
        assert program.is_done
        result = program.result()
        for row in result["channels"]:
            assert row["failure"]["status"] == "retry exceeded"
            assert row["failure"]["at_ns"] > 6_000
            assert row["failure"]["reason"]
            assert row["messages"] < row["posted"]
            assert row["connection"] in [failed["connection"] for failed in result["failures"]]
        assert bool(result["failures"]) == bool(job.hosts[host].program["sends"])
    # What is under way may be there in parts: it is not compared, and that is said.
    for host, found in wires.verify().items():
        incoming = [e for e in job.hosts[host].ends if e.target_bytes > 1]
        assert sorted(found["unchecked"]) == [e.connection for e in incoming]
        assert found["checked_bytes"] == 0


@every_job
def test_on_qps_that_failed_before_nothing_is_posted(job: Job) -> None:
    wires = Wires(job)
    for setup in wires.setups.values():
        for channel in setup.channels.values():
            setup.context.endpoint.fail(channel.qp, WcStatus.RETRY_EXCEEDED, "no answer", 0)
    wires.start()
    for program in programs(wires).values():
        assert program.is_done
        assert all(row["posted"] == 0 for row in program.result()["channels"])


@every_job
def test_after_a_failure_nothing_is_posted_whatever_completed_before_it(job: Job) -> None:
    wires = Wires(job).start()
    wires.run(9_000)
    posted = {host: [row["posted"] for row in r["channels"]] for host, r in wires.results().items()}
    for setup in wires.setups.values():
        for channel in setup.channels.values():
            # A success that nobody took yet, and then the failure.
            if channel.outstanding:
                wr_id = channel.qp.requester.messages[0].wr_id  # type: ignore[union-attr]
                channel.qp.requester.messages.popleft()  # type: ignore[union-attr]
                setup.send_cq.push(Completion(wr_id, WcStatus.SUCCESS, WcOpcode.RDMA_WRITE,
                                              channel.qp.qp_num, 1))  # fmt: skip
            setup.context.endpoint.fail(channel.qp, WcStatus.RETRY_EXCEEDED, "no answer", 9_000)
    for host, app in wires.apps.items():
        app.on_deadline(9_000)
        assert app.program.is_done
        assert [r["posted"] for r in app.program.result()["channels"]] == posted[host]


@every_job
def test_a_timer_that_was_not_wanted_changes_nothing(job: Job) -> None:
    wires = Wires(job).start()
    before = wires.results()
    for program in programs(wires).values():
        assert program.next_timer_ns() is None
        program.on_timer(5)
    assert wires.results() == before
