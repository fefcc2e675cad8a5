"""testbed/instance/collecting.py: rows of hosts and of the machine, also where some are missing."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from unit.instance.run_fakes import GRAPH, FakeTime

from testbed.errors import TestbedError
from testbed.instance import collecting
from testbed.instance.collecting import OWN_FILE, Collector
from testbed.instance.machine import CpuTimes
from testbed.metrics.ports import PortCounters, Tally
from testbed.metrics.rows import HEADER, decode, encode
from testbed.metrics.tables import TABLES, event_row

PROBE = (9_500, "h0", "h2", 3, 0x0203_0000, 2, 3, 9_404)
SLOT = GRAPH.switches[0].ports[0].slot
TDF, SAMPLE_NS = 1_000, 20_000


class Connection:
    """The files of one host, or the reason why it has none."""

    def __init__(self) -> None:
        self.reason: str | None = None

    def get(self, remote: str, local: Path) -> None:
        if self.reason is not None:
            raise TestbedError(self.reason)
        shutil.copyfile(remote, local)


class Bench:
    """A collector of h0 and h2 over counters and clocks moved by hand."""

    def __init__(self, patch: pytest.MonkeyPatch, folder: Path) -> None:
        self.time, self.frames, self.ticks = FakeTime(), 0, 0
        patch.setattr(collecting, "time", self.time)
        patch.setattr(collecting, "read_cpu_times", self._cpu)
        self.connections = {name: Connection() for name in ("h0", "h2")}
        agents = {name: SimpleNamespace(connection=found)
                  for name, found in self.connections.items()}
        fabric: Any = SimpleNamespace(graph=GRAPH, counters=self._counters)
        hosts: Any = SimpleNamespace(fleet=SimpleNamespace(agents=agents))
        self.collector = Collector(folder / "rows", fabric, hosts, ["h0", "h2"], SAMPLE_NS, TDF)
        self.collector.begin()

    def _counters(self) -> dict[int, PortCounters]:
        tally = Tally(self.frames, 100 * self.frames)
        return {slot: PortCounters(offered=tally, passed_data=tally) if slot == SLOT
                else PortCounters() for slot in GRAPH.slots}

    def _cpu(self) -> CpuTimes:
        return CpuTimes(self.ticks // 2, self.ticks)

    def start(self) -> None:
        """Emulated time begins now."""
        self.collector.start(self.time.monotonic_ns())

    def go_on(self, seconds: float, frames: int) -> None:
        self.time.sleep(seconds)
        self.frames += frames
        self.ticks += 100
        self.collector.see()

    def host_writes(self, name: str, text: str) -> None:
        (self.collector.folder / f"{name}.jsonl").write_text(text)

    def own(self) -> list[tuple[str, dict[str, Any]]]:
        return list(decode((self.collector.folder / OWN_FILE).read_text().splitlines()))


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bench:
    return Bench(monkeypatch, tmp_path)


def test_ports_and_processors_are_looked_at_now_and_then(bench: Bench) -> None:
    bench.go_on(1, 3)  # before it has begun
    bench.start()
    bench.go_on(0.4, 5)
    bench.go_on(0.1, 5)  # too soon
    bench.go_on(0.2, 5)
    bench.collector.finish()
    bench.collector.fetch({})
    tables = bench.collector.tables()
    ports = tables["ports"]
    assert [(row["t_ns"], row["interval_ns"], row["tx_frames"]) for row in ports] == [
        (400_000, 400_000, 8), (700_000, 300_000, 10)]
    machine = tables["fidelity"]
    assert {row["host"] for row in machine} == {""}
    assert [row["interval_ns"] for row in machine] == [400_000, 300_000]
    assert all(row["idle_cores"] > 0 for row in machine)


def test_ports_are_looked_at_no_more_often_than_every_fifth_sample(bench: Bench) -> None:
    slow = bench.collector
    slow._pause_s = 5 * SAMPLE_NS * TDF * 100 / 1e9
    bench.start()
    for _ in range(20):
        bench.go_on(0.5, 1)
    assert len([row for table, row in bench.own() if table == "ports"]) == 1


def test_the_last_look_is_at_the_end(bench: Bench) -> None:
    bench.start()
    bench.go_on(0.3, 1)
    bench.time.sleep(0.05)
    bench.frames += 4
    bench.collector.finish()
    bench.collector.finish()
    assert [row["tx_frames"] for table, row in bench.own() if table == "ports"] == [1, 4]


def test_rows_of_hosts_are_fetched_and_the_last_that_is_cut_off_is_left(bench: Bench) -> None:
    bench.host_writes("h0", encode("probes", PROBE) * 2 + encode("probes", PROBE)[:20])
    bench.host_writes("h2", "")
    bench.collector.fetch({})
    tables = bench.collector.tables()
    assert tables.keys() == TABLES.keys()
    assert len(tables["probes"]) == 2
    assert tables["events"] == []


def test_rows_of_another_version_are_a_warning(bench: Bench) -> None:
    bench.host_writes("h0", HEADER + encode("probes", PROBE))
    bench.host_writes("h2", '["schema_version",99]\n' + encode("probes", PROBE))
    bench.collector.fetch({})
    tables = bench.collector.tables()
    assert len(tables["probes"]) == 1
    (warning,) = tables["events"]
    assert warning["detail"].startswith("h2: its rows are of version 99")


def test_rows_begin_with_their_version(bench: Bench) -> None:
    assert (bench.collector.folder / OWN_FILE).read_text() == HEADER


def test_a_host_without_rows_is_a_warning(bench: Bench) -> None:
    bench.host_writes("h0", encode("probes", PROBE))
    bench.connections["h2"].reason = "host h2 cannot be reached"
    bench.collector.fetch({"h0": {"events": [
        {"event": "recording failed", "reason": "rows of h0 are missing: full"},
        {"event": "peer ports"}]}})
    tables = bench.collector.tables()
    assert len(tables["probes"]) == 1
    assert [(row["kind"], row["detail"]) for row in tables["events"]] == [
        ("warning", "rows of h2 are missing: host h2 cannot be reached"),
        ("warning", "rows of h0 are missing: full")]


def test_what_an_earlier_run_left_is_gone(bench: Bench) -> None:
    bench.host_writes("h0", encode("probes", PROBE))
    bench.collector.begin()
    assert [path.name for path in bench.collector.folder.iterdir()] == [OWN_FILE]


def test_actions_are_kept_for_a_run_that_is_cut_off_and_not_told_twice(bench: Bench) -> None:
    first, second = event_row(5, "action", name="one"), event_row(9, "action", name="two")
    bench.collector.keep_action(first)
    bench.collector.keep_action(second)
    bench.collector.finish()
    assert [row["name"] for table, row in bench.own() if table == "events"] == ["one", "two"]
    for name in ("h0", "h2"):
        bench.host_writes(name, "")
    bench.collector.fetch({})
    assert bench.collector.tables()["events"] == []


class Full:
    """A file on a disk that takes ``room`` more bytes, a few at a time."""

    def __init__(self, file: Any, room: int) -> None:
        self._file, self.room = file, room

    def write(self, data: bytes) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = self._file.write(data[:min(7, self.room)])
        self.room -= taken
        return int(taken)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def test_a_line_that_is_cut_off_does_not_spoil_the_next(bench: Bench) -> None:
    first, second, third = (event_row(at, "action", name=f"step {at}") for at in (1, 2, 3))
    full: Any = Full(bench.collector._file, 10**6)
    bench.collector._file = full
    bench.collector.keep_action(first)
    full.room = 20
    bench.collector.keep_action(second)
    full.room = 10**6
    bench.collector.keep_action(third)
    bench.collector.finish()
    assert [row["name"] for table, row in bench.own() if table == "events"] == ["step 1", "step 3"]


def test_a_run_that_failed_leaves_all_rows_in_its_folder(bench: Bench, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    bench.host_writes("h0", encode("probes", PROBE))
    bench.connections["h2"].reason = "gone"
    bench.start()
    bench.go_on(0.3, 1)
    bench.collector.leave(run)
    assert {path.name for path in (run / "rows").iterdir()} == {"h0.jsonl", OWN_FILE}
    kinds = {table for table, _ in decode((run / "rows" / OWN_FILE).read_text().splitlines())}
    assert kinds == {"ports", "fidelity"}


def test_nothing_stays_when_it_is_cleared(bench: Bench) -> None:
    bench.host_writes("h0", encode("probes", PROBE))
    bench.collector.clear()
    bench.collector.clear()
    assert not bench.collector.folder.exists()


def test_leaving_never_raises(bench: Bench, tmp_path: Path) -> None:
    shutil.rmtree(bench.collector.folder)
    bench.collector.leave(tmp_path / "absent")


def test_a_folder_that_cannot_be_made_ends_the_run(bench: Bench) -> None:
    shutil.rmtree(bench.collector.folder)
    bench.collector.folder.write_text("in the way")
    with pytest.raises(TestbedError, match="so nothing could be recorded"):
        bench.collector.begin()
