"""testbed/agent/runs.py: whole runs of two hosts, and everything they tell of themselves."""

from __future__ import annotations

import gc
import json
import struct
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import Any

import pytest
from unit.agent.run_rig import FAR, GRAPH, SPEC, TDF, Rig, config_of, small_job

from testbed.agent import runs
from testbed.agent.params import ParamsError
from testbed.agent.runs import HostRun, RunOrder
from testbed.errors import TestbedError
from testbed.metrics.rows import by_table, decode
from testbed.metrics.tables import check_rows
from topologies.ev import make_ev
from workloads.job import plan_write_latency

BYTES = 2 * 8 * 20_000

Make = Callable[..., Rig]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    made: list[Rig] = []

    def make_one(job: Any = None, captures: Path | None = None,
                 records: Path | None = None) -> Rig:
        made.append(Rig(job or small_job(), monkeypatch, captures, records))
        return made[-1]

    yield make_one
    for rig in made:
        rig.close()


# --- RunOrder ----------------------------------------------------------------------------


def order(**changes: Any) -> RunOrder:
    plan = small_job().hosts[0]
    fields = {"number": 7, "seed": 2**63 - 1, "tdf": 500, "transit_ns": {2: 40_000, 4: 0},
              "ends": plan.ends, "program": plan.program, "captures": Path("/tmp/pcap"),
              "snap_bytes": 65_535, "records": Path("/tmp/rows"), "sample_ns": 18_808}
    return RunOrder(**{**fields, **changes})


@pytest.mark.parametrize("changes", [
    {}, {"captures": None}, {"transit_ns": {}}, {"records": None, "sample_ns": None}])
def test_an_order_survives_json(changes: dict[str, Any]) -> None:
    sent = order(**changes)
    assert RunOrder.from_params(json.loads(json.dumps(sent.to_params()))) == sent


def test_an_order_without_captures_keeps_256_bytes_of_a_frame() -> None:
    params = order().to_params()
    del params["captures"], params["snap_bytes"]
    read = RunOrder.from_params(params)
    assert (read.captures, read.snap_bytes) == (None, 256)


@pytest.mark.parametrize(("change", "sentence"), [
    ({"number": -1}, r"prepare\.number is -1"),
    ({"seed": 2**63}, r"prepare\.seed is 9223372036854775808"),
    ({"tdf": 0}, r"prepare\.tdf is 0: give an integer from 1"),
    ({"tdf": 1.5}, r"prepare\.tdf is 1\.5"),
    ({"transit_ns": [4]}, r"prepare\.transit_ns is \[4\]: give an object"),
    ({"transit_ns": {"4": -1}}, "transit_ns has '4': -1: give links and ns"),
    ({"transit_ns": {"x": 1}}, "transit_ns has 'x': 1"),
    ({"transit_ns": {"²": 1}}, "transit_ns has '²': 1: give links and ns"),
    ({"transit_ns": {"": 1}}, "transit_ns has '': 1"),
    ({"transit_ns": {"4": 1.5}}, r"transit_ns has '4': 1\.5"),
    ({"transit_ns": {"4": True}}, "transit_ns has '4': True"),
    ({"ends": {}}, r"prepare\.ends is \{\}: give a list"),
    ({"program": 5}, r"prepare\.program is 5: give an object"),
    ({"captures": 5}, r"prepare\.captures is 5: give a string"),
    ({"records": 5}, r"prepare\.records is 5: give a string"),
    ({"sample_ns": -1}, r"prepare\.sample_ns is -1"),
    ({"snap_bytes": 0}, r"prepare\.snap_bytes is 0"),
    ({"snap_bytes": 65_536}, r"prepare\.snap_bytes is 65536"),
    ({"colour": 1}, "prepare has unknown key 'colour'"),
])
def test_faults_of_an_order(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ParamsError, match=sentence):
        RunOrder.from_params(order().to_params() | change)


def test_an_end_that_is_wrong_is_refused_as_an_order() -> None:
    params = order().to_params()
    params["ends"][0]["max_wr"] = 0
    with pytest.raises(TestbedError, match=r"end\.max_wr is 0"):
        RunOrder.from_params(params)


# --- A run from beginning to end ---------------------------------------------------------


def test_every_byte_arrives_and_is_verified(make: Make) -> None:
    rig = make().connect().start().run()
    assert rig.verify() == {
        0: {"checked_bytes": 0, "wrong_bytes": 0, "first_wrong": None, "unchecked": []},
        FAR: {"checked_bytes": BYTES, "wrong_bytes": 0, "first_wrong": None, "unchecked": []}}
    near, far = rig.results()[0], rig.results()[FAR]
    assert [row["messages"] for row in near["program"]["channels"]] == [8, 8]
    assert {qp["state"] for qp in near["qps"] + far["qps"]} == {"RTS"}
    assert {qp["peer"] for qp in near["qps"]} == {GRAPH.hosts[FAR].address.packed.hex()}
    assert sum(qp["requester"]["sent"] for qp in near["qps"]) == 2 * 8 * 5
    assert sum(qp["requester"]["sent"] for qp in far["qps"]) == 0
    assert [port["plane"] for port in near["ports"]] == [0, 1]
    # 20,000 bytes are four full packets and a short one.
    assert sum(port["sent"] for port in near["ports"]) >= 80
    assert (near["captures_lost"], near["endpoint"]["icrc_errors"]) == (0, 0)
    # Each end says at the start which of its ports are up.
    assert {(event["event"], event["up_ports"]) for event in near["events"]} == {
        ("peer ports", 0b11)}
    json.dumps([near, far], allow_nan=False)  # they travel as JSON


def test_lateness_and_times_are_emulated(make: Make) -> None:
    """Whatever is due is done at once here, and a round trip is the fabric's and no more."""
    rig = make(plan_write_latency(SPEC, 0, FAR, iters=4)).connect().start().run()
    near = rig.results()[0]
    assert near["lateness"]["count"] > 0
    assert near["lateness"]["max_ns"] == 0
    round_trips_ns = near["program"]["latency_ns"]
    assert len(round_trips_ns) == 4
    assert all(8_000 < ns < 8_200 for ns in round_trips_ns)  # eight links of 1 us
    assert near["qps"][0]["srtt_ns"] > 8_000
    assert 9 * 8_000 < near["ended_ns"] < 12 * 8_000


def test_a_byte_that_was_changed_on_the_host_is_found(make: Make) -> None:
    rig = make().connect().start().run()
    channel = rig.runs[FAR]._setup.channels[1]
    channel.target.view[20_003] ^= 0xFF
    found = rig.verify()[FAR]
    assert (found["checked_bytes"], found["wrong_bytes"]) == (BYTES, 1)
    assert (found["first_wrong"]["connection"], found["first_wrong"]["message"],
            found["first_wrong"]["offset"]) == (1, 1, 3)


def test_the_same_seed_is_the_same_run_and_another_is_not(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    def first_psns(seed: int) -> list[int]:
        plan = small_job().hosts[0]
        run = HostRun(config_of(0), order(seed=seed, ends=plan.ends), [])
        return [end["psn"] for end in run.describe()]

    assert first_psns(5) == first_psns(5) != first_psns(6)


def test_progress_before_during_and_after(make: Make) -> None:
    rig = make()
    run = rig.runs[0]
    assert run.progress() == {"is_done": False, "now_ns": 0}
    rig.connect()
    assert run.progress() == {"is_done": False, "now_ns": 0}
    rig.start().run(until_ns=12_000)
    during = run.progress()
    assert (during["is_done"], during["is_settled"]) == (False, False)
    assert 10_000 < during["now_ns"] < 12_000
    assert during["active_evs"] == [2 * 2, 2 * 2]  # two queue pairs, two uplinks on each plane
    rig.run()
    after = run.progress()
    assert (after["is_done"], after["is_settled"]) == (True, True)
    assert (after["bytes_done"], after["messages_done"]) == (BYTES, 16)
    assert (after["resent"], after["failures"], after["lateness_p99_ns"]) == (0, [], 0)


def test_a_frame_on_its_way_out_is_not_settled(make: Make) -> None:
    """The last acknowledgement may still wait in the receiver, when the sender is done."""
    rig = make().connect().start()
    seen = {(run.progress()["is_done"], run.progress()["is_settled"])
            for until_ns in range(0, 40_000, 500)
            for run in [rig.run(until_ns=until_ns).runs[FAR]]}
    assert seen == {(True, False), (True, True)}


def test_stop_posts_nothing_more_and_what_is_under_way_is_finished(make: Make) -> None:
    rig = make(small_job(iters=200, is_every_message_kept=False)).connect().start()
    rig.run(until_ns=30_000)
    for run in rig.runs.values():
        run.stop()
    assert not rig.runs[0].progress()["is_done"]
    rig.run()
    done = rig.runs[0].progress()
    assert (done["is_done"], done["is_settled"]) == (True, True)
    assert 8 <= done["messages_done"] < 60
    found = rig.verify()[FAR]
    assert (found["wrong_bytes"], found["unchecked"]) == (0, [])
    assert found["checked_bytes"] == 2 * 4 * 20_000


def test_stop_before_start_is_harmless(make: Make) -> None:
    rig = make()
    rig.runs[0].stop()
    rig.connect()
    rig.runs[0].stop()
    assert rig.start().run().runs[0].progress()["messages_done"] == 16


def test_lost_frames_are_sent_again_and_told(make: Make) -> None:
    rig = make()
    lost: list[bytes] = []

    def lose(host: int, _plane: int, datagram: bytes) -> bool:
        if host == 0 and len(datagram) > 4000 and len(lost) < 3:
            lost.append(datagram)
            return True
        return False

    rig.lose = lose
    rig.connect().start().run()
    assert rig.runs[0].progress()["resent"] == 3
    assert rig.verify()[FAR]["wrong_bytes"] == 0
    told = [event for event in rig.results()[0]["events"] if event["event"] == "ev changed"]
    left = [event for event in told if event["to"] == "assumed_bad"]
    assert 1 <= len(left) <= 3
    assert left[0]["peer"] == GRAPH.hosts[FAR].address.packed.hex()
    assert left[0]["ev"].startswith("0x0")
    assert (left[0]["from"], left[0]["plane"] in (0, 1)) == ("good", True)
    assert {"qp", "t_ns", "cause"} <= left[0].keys()


def test_a_peer_that_is_silent_fails_the_queue_pairs_and_says_so(make: Make) -> None:
    rig = make()
    rig.lose = lambda host, plane, datagram: True
    rig.connect().start().run(until_ns=5_000_000)
    progress = rig.runs[0].progress()
    assert (progress["is_done"], progress["is_settled"]) == (True, True)
    assert len(progress["failures"]) == 2
    assert {failure["status"] for failure in progress["failures"]} == {"retry exceeded"}
    assert "retry budget" in progress["failures"][0]["reason"]
    near = rig.results()[0]
    assert [qp["state"] for qp in near["qps"]] == ["ERROR", "ERROR"]
    assert all(row["failure"]["status"] == "retry exceeded"
               for row in near["program"]["channels"])
    assert rig.verify()[FAR]["unchecked"] == [0, 1]


def test_a_port_without_carrier_is_told_to_the_peer_and_not_used(make: Make) -> None:
    rig = make().connect().start()
    rig.run(until_ns=5_000)
    rig.drivers[FAR].set_carrier(0b01)
    rig.run()
    told = [event for event in rig.results()[0]["events"] if event["event"] == "peer ports"]
    assert [event["up_ports"] for event in told] == [0b11, 0b01]
    assert told[1]["t_ns"] > 8_500  # four links of 1 us later
    assert told[1]["peer"] == GRAPH.hosts[FAR].address.packed.hex()
    assert rig.verify()[FAR]["wrong_bytes"] == 0


@pytest.mark.parametrize("dark", [0, FAR])
def test_evs_of_a_dark_plane_are_not_active(make: Make, dark: int) -> None:
    """Here or at the peer: what cannot be sent is not in use."""
    rig = make().connect().start()
    rig.run(until_ns=12_000)
    assert rig.runs[0].progress()["active_evs"] == [4, 4]
    rig.drivers[dark].set_carrier(0b01)
    rig.run(until_ns=24_000)
    assert rig.runs[0].progress()["active_evs"] == [4, 0]
    rig.drivers[dark].set_carrier(0b11)
    rig.run()
    assert rig.runs[0].progress()["active_evs"] == [4, 4]


def test_ports_that_are_dark_at_the_start_are_known(make: Make) -> None:
    rig = make().connect().start(up_ports=0b10).run()
    assert [port["sent"] > 0 for port in rig.results()[0]["ports"]] == [False, True]
    assert [event["up_ports"] for event in rig.results()[0]["events"]] == [0b10]
    assert rig.verify()[FAR]["wrong_bytes"] == 0


def test_paths_have_a_row_per_queue_pair_and_ev(make: Make) -> None:
    rig = make().connect().start().run()
    peer = GRAPH.hosts[FAR].address.packed
    rows = rig.runs[0].paths(peer)
    evs = [make_ev(plane, uplink) for plane in (0, 1) for uplink in (0, 1)]
    assert sorted(row["ev"] for row in rows) == sorted(evs * 2)
    assert len({row["qp"] for row in rows}) == 2
    assert {(row["state"], row["is_active"]) for row in rows} == {("good", True)}
    assert all(row["plane"] == row["ev"] >> 24 for row in rows)
    assert sum(row["sent"] for row in rows) == sum(row["acked"] for row in rows) == 80
    assert sum(row["lost"] + row["marked"] + row["trimmed"] for row in rows) == 0
    assert rig.runs[0].paths(GRAPH.hosts[1].address.packed) == []
    json.dumps(rows)


def test_events_do_not_grow_without_end(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "_KEPT_EVENTS", 1)
    rig = make()
    rig.lose = lambda host, plane, datagram: host == 0 and plane == 1 and len(datagram) > 4000
    rig.connect().start().run()
    near = rig.results()[0]
    assert len(near["events"]) == 1
    assert near["events_lost"] > 0
    assert rig.runs[0].progress()["active_evs"][1] < 4


def test_no_event_is_lost_where_there_is_room(make: Make) -> None:
    assert make().connect().start().run().results()[0]["events_lost"] == 0


def test_queue_pairs_that_fail_are_told_however_much_was_told_before(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "_KEPT_EVENTS", 1)
    rig = make().connect().start()
    rig.run(until_ns=12_000)
    rig.lose = lambda host, plane, datagram: True
    rig.run(until_ns=5_000_000)
    assert [failure["status"] for failure in rig.runs[0].progress()["failures"]] == [
        "retry exceeded"] * 2
    near = rig.results()[0]
    assert [event["event"] for event in near["events"]] == [
        "peer ports", "qp failed", "qp failed"]
    assert near["events_lost"] > 0


# --- Refusals ----------------------------------------------------------------------------


def test_a_host_without_topology_has_no_device() -> None:
    with pytest.raises(TestbedError, match="no MRC device: configure it with its topology"):
        HostRun(config_of(0, spec=None), order(), [])


def test_start_comes_after_connect_and_results_after_start(make: Make) -> None:
    rig = make()
    with pytest.raises(TestbedError, match="send connect before start"):
        rig.runs[0].start(0, 0b11)
    rig.connect()
    with pytest.raises(TestbedError, match="has not started: there are no results"):
        rig.runs[0].results()


def test_a_peer_that_told_nothing_connects_nothing(make: Make) -> None:
    rig = make()
    with pytest.raises(TestbedError, match="connection 0 was not described by its peer"):
        rig.runs[0].connect({})
    assert gc.isenabled()
    with pytest.raises(TestbedError, match="send connect before start"):
        rig.runs[0].start(0, 0b11)


# --- Garbage -----------------------------------------------------------------------------


def test_garbage_is_not_collected_during_a_run_and_is_afterwards(make: Make) -> None:
    assert (gc.isenabled(), gc.get_freeze_count()) == (True, 0)
    rig = make().connect()
    assert not gc.isenabled()
    assert gc.get_freeze_count() > 0
    rig.start().run(until_ns=3_000)
    rig.close()
    assert (gc.isenabled(), gc.get_freeze_count()) == (True, 0)


def test_a_run_that_never_connected_closes_too(make: Make) -> None:
    make().close()
    assert (gc.isenabled(), gc.get_freeze_count()) == (True, 0)


# --- Captures ----------------------------------------------------------------------------


def records(path: Path) -> list[tuple[int, int, bytes]]:
    """(emulated ns, length on the wire, bytes kept) of a capture."""
    data, found, at = path.read_bytes(), [], 24
    assert struct.unpack_from("<I", data)[0] == 0xA1B23C4D
    while at < len(data):
        seconds, ns, kept, size = struct.unpack_from("<IIII", data, at)
        found.append((seconds * 10**9 + ns, size, data[at + 16 : at + 16 + kept]))
        at += 16 + kept
    return found


def test_a_capture_per_port_has_every_frame_both_ways(make: Make, tmp_path: Path) -> None:
    rig = make(captures=tmp_path).connect().start().run()
    results = rig.results()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "h0-eth0.pcap", "h0-eth1.pcap", "h2-eth0.pcap", "h2-eth1.pcap"]
    for plane in (0, 1):
        near, far = (records(tmp_path / f"h{host}-eth{plane}.pcap") for host in (0, FAR))
        sent = [result["ports"][plane]["sent"] for result in results.values()]
        assert len(near) == len(far) == sum(sent)
        nic = GRAPH.hosts[0].nic_ports[plane]
        mine, switch = (bytes.fromhex(mac.replace(":", "")) for mac in (nic.mac, nic.peer.mac))
        heads = [frame[:14] for _, _, frame in near]
        assert heads.count(switch + mine + b"\x86\xdd") == sent[0]
        assert heads.count(mine + switch + b"\x86\xdd") == sent[1]
        assert all(len(frame) == 96 < size for _, size, frame in near)
        assert max(size for _, size, _ in near) == 4238
        times_ns = [at_ns for at_ns, _, _ in near]
        assert times_ns == sorted(times_ns)
        # In the receiver's eyes a frame comes four links of 1 us after it left, and what three
        # switches take to put it out at 1.01 x 100 Gb/s.
        there, here = (next(at_ns for at_ns, size, _ in rows if size == 4238)
                       for rows in (far, near))
        assert there - here == 4_000 + 1_007


def test_a_folder_that_cannot_be_written_refuses_the_run(make: Make, tmp_path: Path) -> None:
    rig = make(captures=tmp_path / "absent")
    with pytest.raises(TestbedError, match="cannot be made"):
        rig.connect()
    rig.close()
    assert gc.isenabled()


class FullDisk:
    """A file that takes nothing more."""

    def __init__(self, file: FileIO) -> None:
        self.file = file

    def write(self, _data: object) -> int:
        raise OSError(28, "No space left on device")

    def truncate(self, size: int) -> int:
        return self.file.truncate(size)

    def close(self) -> None:
        self.file.close()


def test_a_capture_that_fails_at_the_end_is_told(make: Make, tmp_path: Path) -> None:
    rig = make(captures=tmp_path).connect()
    capture = rig.runs[0]._captures[0]
    assert capture._file is not None
    capture._file = FullDisk(capture._file)  # type: ignore[assignment]
    rig.start().run()
    result = rig.results()[0]
    (told,) = [event for event in result["events"] if event["event"] == "capture failed"]
    assert "h0-eth0.pcap ends early (No space left on device)" in told["reason"]
    assert told["t_ns"] == result["ended_ns"]
    assert result["captures_lost"] == capture.frames > 0
    assert rig.verify()[FAR]["wrong_bytes"] == 0


def test_a_capture_that_fails_on_the_way_does_not_stop_the_run(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("testbed.agent.capture._CHUNK_BYTES", 1000)
    rig = make(captures=tmp_path).connect()
    capture = rig.runs[0]._captures[1]
    assert capture._file is not None
    capture._file = FullDisk(capture._file)  # type: ignore[assignment]
    rig.start().run()
    assert rig.runs[0].progress()["messages_done"] == 16
    result = rig.results()[0]
    (told,) = [event for event in result["events"] if event["event"] == "capture failed"]
    assert 0 < told["t_ns"] < result["ended_ns"]
    assert result["captures_lost"] == capture.frames
    assert records(tmp_path / "h0-eth0.pcap")  # the other port's goes on


def test_a_capture_that_fails_before_the_start_is_told_at_0(
    make: Make, tmp_path: Path
) -> None:
    rig = make(captures=tmp_path).connect()
    rig.runs[0]._fail_capture(TestbedError("gone"))
    assert rig.start().runs[0].results()["events"] == [
        {"t_ns": 0, "event": "capture failed", "reason": "gone"}]


def test_emulated_time_is_counted_from_the_given_zero(make: Make) -> None:
    rig = make().connect().start()
    rig.run(until_ns=10_000)
    passed_ns = (rig.clock.now_ns - 5_000_000_000) // TDF - 1_000
    assert rig.runs[0].progress()["now_ns"] == pytest.approx(passed_ns, abs=2_500)


# --- Rows --------------------------------------------------------------------------------


def rows_of(folder: Path, host: int) -> dict[str, list[dict[str, Any]]]:
    return by_table(decode((folder / f"h{host}.jsonl").read_text().splitlines()))


def test_a_recorded_run_leaves_its_rows_and_tells_the_same(make: Make, tmp_path: Path) -> None:
    plain = make().connect().start().run().results()
    found = make(records=tmp_path).connect().start().run().results()
    tables = rows_of(tmp_path, 0)
    assert sum(row["acked_bytes"] for row in tables["flows"]) == BYTES
    assert len(tables["messages"]) == 2 * 8
    assert rows_of(tmp_path, FAR)["flows"] == []
    for table, rows in tables.items():
        check_rows(table, rows)
    assert found[0]["qps"] == plain[0]["qps"]
    assert found[0]["program"] == plain[0]["program"]
    assert found[0]["events"] == plain[0]["events"]


def test_rows_tell_how_late_the_agent_was(make: Make, tmp_path: Path) -> None:
    rig = make(records=tmp_path).connect().start().run()
    rig.results()
    (row,) = rows_of(tmp_path, 0)["fidelity"]
    assert (row["host"], row["lateness_max_ns"], row["kernel_drops"]) == ("h0", 0, 0)
    assert row["t_ns"] == row["interval_ns"] == rig.drivers[0].now_ns


def test_a_run_that_is_closed_early_leaves_what_it_had(make: Make, tmp_path: Path) -> None:
    rig = make(records=tmp_path).connect().start().run(until_ns=25_000)
    rig.close()
    times = {row["t_ns"] for row in rows_of(tmp_path, 0)["flows"]}
    assert times == {20_000}


def test_rows_go_into_the_file_in_quiet_moments(make: Make, tmp_path: Path) -> None:
    rig = make(records=tmp_path).connect().start().run(until_ns=25_000)
    run = rig.runs[0]
    assert run.is_recorded
    recording = run._recording
    assert recording is not None
    run.pump(0)
    assert recording.rows == 0
    run.pump(1_000_000_000)
    assert recording.rows > 0
    assert not make().runs[0].is_recorded


def test_rows_that_cannot_be_written_are_told_and_the_run_goes_on(
    make: Make, tmp_path: Path
) -> None:
    rig = make(records=tmp_path / "gone").connect().start().run()
    (event,) = [event for event in rig.results()[0]["events"]
                if event["event"] == "recording failed"]
    assert event["reason"].startswith("rows of h0 are missing: ")
    assert rig.verify()[FAR]["checked_bytes"] == BYTES
