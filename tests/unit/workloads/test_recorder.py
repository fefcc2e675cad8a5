"""workloads/recorder.py: rows of what queue pairs did, compared with what they counted."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from unit.workloads.workload_rig import FAR, SPEC, Wires

from testbed.metrics.rows import row_of
from testbed.metrics.tables import TABLES, check_rows
from topologies.ev import split_ev
from workloads import recorder
from workloads.job import Job, plan_write_bandwidth

SAMPLE_NS = 2_000
JOB = plan_write_bandwidth(SPEC, 0, FAR, size=64_000, qps=2, iters=6, depth=2)
LOCAL = plan_write_bandwidth(SPEC, 0, 1, size=64_000, qps=2, iters=6, depth=2)

Tables = dict[str, list[dict[str, Any]]]


class Recorded:
    """A job on the rig, every host recorded; ``tables`` has what was written."""

    def __init__(self, job: Job = JOB) -> None:
        self.tables: Tables = {name: [] for name in TABLES}
        self.wires = Wires(job)
        for app in self.wires.apps.values():
            app.record(SAMPLE_NS, self.write)

    def write(self, table: str, values: tuple[Any, ...]) -> None:
        self.tables[table].append(row_of(table, values))

    def run(self) -> Recorded:
        self.wires.start().run()
        return self.finish()

    def finish(self) -> Recorded:
        for app in self.wires.apps.values():
            app.finish_recording(self.wires.now)
        return self

    def qps(self, host: int = 0) -> list[Any]:
        return list(self.wires.apps[host].context.endpoint.qps.values())

    def total(self, table: str, column: str) -> int:
        return sum(row[column] for row in self.tables[table])


def test_rows_fit_their_tables() -> None:
    tables = Recorded().run().tables
    for name, rows in tables.items():
        check_rows(name, rows)
    assert tables["flows"]
    assert tables["ev_samples"]


def test_samples_add_up_to_what_was_counted() -> None:
    found = Recorded().run()
    counters = [qp.requester.counters for qp in found.qps()]
    assert found.total("flows", "acked_bytes") == 2 * 6 * 64_000
    assert found.total("flows", "sent_packets") == sum(c.sent + c.resent for c in counters)
    assert found.total("flows", "sent_bytes") == sum(c.sent_bytes for c in counters)
    entries = [entry for qp in found.qps() for entry in qp.paths.entries()]
    assert found.total("ev_samples", "sent_packets") == sum(e.sent for e in entries)
    assert found.total("ev_samples", "acked_packets") == sum(e.acked for e in entries)


def test_samples_are_at_multiples_of_the_interval_until_the_last() -> None:
    found = Recorded().run()
    times = sorted({row["t_ns"] for row in found.tables["flows"]})
    assert all(at_ns % SAMPLE_NS == 0 for at_ns in times if at_ns != found.wires.now)
    assert len(times) > 3
    ev_times = {row["t_ns"] for row in found.tables["ev_samples"]} - {found.wires.now}
    assert all(at_ns % (5 * SAMPLE_NS) == 0 for at_ns in ev_times)
    assert ev_times


def test_a_queue_pair_that_does_nothing_has_no_rows() -> None:
    """The receiving host sends no data."""
    found = Recorded().run()
    assert {row["host"] for row in found.tables["flows"]} == {"h0"}
    assert {row["peer"] for row in found.tables["flows"]} == {f"h{FAR}"}


def test_a_row_says_where_the_queue_pair_stands() -> None:
    row = Recorded().run().tables["flows"][0]
    assert row["cwnd_bytes"] > 0
    assert row["srtt_ns"] > 0
    assert (row["active_evs"], row["planes"]) == (4, 0b11)


def test_the_uplink_is_missing_where_the_path_stays_in_one_t0() -> None:
    for row in Recorded(LOCAL).run().tables["ev_samples"]:
        assert row["t1"] is None
    for row in Recorded().run().tables["ev_samples"]:
        assert (row["plane"], row["t1"]) == split_ev(row["ev"])


def test_an_ev_sample_has_a_round_trip_of_its_interval() -> None:
    """At least what the path takes with nothing in its way; none where no SACK was triggered:
    with four EVs in turn and a SACK for every fourth packet it is always the same one."""
    found = Recorded().run()
    least_ns = {qp.requester.cc.base_rtt_ns for qp in found.qps()}
    measured = [row for row in found.tables["ev_samples"] if row["rtt_ns"] is not None]
    assert {row["t_ns"] for row in measured} == {
        row["t_ns"] for row in found.tables["ev_samples"]}
    assert all(row["rtt_ns"] >= 0.9 * min(least_ns) for row in measured)
    assert all(row["acked_packets"] > 0 for row in measured)
    entries = [entry for qp in found.qps() for entry in qp.paths.entries()]
    assert {entry.rtt_ns for entry in entries} == {0}  # read once, by the last sample


def test_every_message_has_one_row_with_its_times() -> None:
    found = Recorded().run()
    rows = found.tables["messages"]
    assert len(rows) == 2 * 6
    assert {(row["op"], row["bytes"], row["status"]) for row in rows} == {
        ("write", 64_000, "success")}
    assert all(0 <= row["t_post_ns"] < row["t_done_ns"] for row in rows)


def test_what_is_open_at_the_end_is_said_to_be() -> None:
    found = Recorded()
    found.wires.start().run(until_ns=6_000)
    rows = found.finish().tables["messages"]
    open_rows = [row for row in rows if row["status"] == "open"]
    assert open_rows
    assert all(row["t_done_ns"] is None for row in open_rows)


def test_messages_beyond_the_limit_are_counted_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "MAX_MESSAGES", 5)
    found = Recorded().run()
    assert len(found.tables["messages"]) == 5
    (warning,) = [row for row in found.tables["events"] if row["kind"] == "warning"]
    assert warning["detail"] == "7 messages of h0 are not in the table: it holds 5 of a host"


# --- Trouble -----------------------------------------------------------------------------


def lossy(plane: int = 1) -> Recorded:
    """Every tenth datagram from h0 on this plane is lost, from the second on."""
    found, seen = Recorded(), Counter[int]()

    def lose(now: int, host: int, datagram: bytes) -> bool:
        is_theirs = host == 0 and len(datagram) > 1_000 and datagram[40 + 40] == plane
        seen[0] += is_theirs
        return is_theirs and seen[0] % 10 == 2

    found.wires.lose = lose
    return found.run()


def test_every_verdict_of_loss_is_a_row_with_its_cause() -> None:
    found = lossy()
    counters = [qp.requester.counters for qp in found.qps()]
    causes = Counter(row["cause"] for row in found.tables["losses"])
    assert causes["evidence"] == sum(c.lost_by_evidence for c in counters) > 0
    assert causes["timer"] == sum(c.lost_by_timer for c in counters)
    assert found.total("flows", "lost_evidence") == causes["evidence"]
    for row in found.tables["losses"]:
        assert row["t_sent_ns"] < row["t_ns"]
        assert (row["plane"], row["t1"]) == split_ev(row["ev"])
        assert 0 <= row["psn"] < 1 << 24


def test_what_an_ev_went_through_is_told_once() -> None:
    found = lossy()
    out = [row for row in found.tables["evs"] if row["to"] == "assumed_bad"]
    assert out
    assert {row["cause"] for row in out} == {"loss_inferred"}
    events = found.wires.apps[0].poll_events()
    told = [event for event in events if type(event).__name__ == "EvChanged"]
    assert len(told) == len([row for row in found.tables["evs"] if row["host"] == "h0"])


def test_probes_that_were_answered_are_rows_with_a_round_trip() -> None:
    rows = lossy().tables["probes"]
    assert rows
    assert all(0 < row["rtt_ns"] <= row["t_ns"] for row in rows)


def test_carrier_and_what_peers_say_of_their_ports_are_events() -> None:
    found = Recorded()
    found.wires.start().run(until_ns=10_000)
    found.wires.apps[0].on_ports_changed(0b01, found.wires.now)
    found.wires.run()
    rows = [row for row in found.finish().tables["events"] if row["kind"] == "ports"]
    (own,) = [row for row in rows if row["what"] == "carrier"]
    assert (own["host"], own["detail"]) == ("h0", "0x1")
    told = [row for row in rows if row["what"] == "peer" and row["host"] == f"h{FAR}"]
    assert (told[-1]["target"], told[-1]["detail"]) == ("h0", "0x1")


def test_nothing_is_written_after_the_end() -> None:
    found = Recorded().run()
    before = {name: len(rows) for name, rows in found.tables.items()}
    app = found.wires.apps[0]
    app.on_ports_changed(0b01, found.wires.now + 1)
    app.poll_events()
    app.finish_recording(found.wires.now + 2)
    assert {name: len(rows) for name, rows in found.tables.items()} == before
