"""testbed/agent/recording.py: rows go into the file when there is time, and all at the end."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from testbed.agent import recording
from testbed.agent.recording import Recording
from testbed.metrics.lateness import Lateness
from testbed.metrics.rows import HEADER, decode

ROW = (9_500, "h0", "h4", 3, 0x0203_0000, 2, 3, 9_404)
LONG_NS, SHORT_NS, NONE_NS = 10_000_000, 200_000, 0
SAMPLE_NS = 20_000


class Clock:
    now_ns = 10**12

    def monotonic_ns(self) -> int:
        return self.now_ns


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(recording, "time", clock)
    return clock


@pytest.fixture
def rows(tmp_path: Path, clock: Clock) -> Recording:
    made = Recording(tmp_path / "h0.jsonl", "h0", SAMPLE_NS)
    made.open()
    return made


def written(rows: Recording) -> list[tuple[str, dict[str, Any]]]:
    return list(decode(rows.path.read_text().splitlines()))


def test_a_file_begins_with_the_version_of_its_rows(rows: Recording) -> None:
    assert rows.path.read_text() == HEADER


def test_nothing_is_done_for_a_row_at_once(rows: Recording) -> None:
    rows.write("probes", ROW)
    rows.pump(0, NONE_NS)
    assert rows.rows == 0
    assert written(rows) == []


def test_rows_become_text_when_there_is_a_little_time(rows: Recording) -> None:
    for _ in range(40):
        rows.write("probes", ROW)
    rows.pump(0, SHORT_NS)
    assert rows.rows == 20  # a row for every 10 us
    rows.pump(0, LONG_NS)
    assert rows.rows == 40
    assert written(rows) == []


def test_a_second_later_they_are_written_when_there_is_time(rows: Recording, clock: Clock) -> None:
    rows.write("probes", ROW)
    rows.pump(0, LONG_NS)
    rows.pump(0, LONG_NS)
    assert written(rows) == []
    clock.now_ns += 1_000_000_000
    rows.pump(0, SHORT_NS)
    assert written(rows) == []
    rows.pump(0, LONG_NS)
    assert len(written(rows)) == 1


def test_much_is_written_at_once(rows: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "BATCH_BYTES", 500)
    for _ in range(30):
        rows.write("probes", ROW)
    rows.pump(0, LONG_NS)
    rows.pump(0, LONG_NS)
    assert len(written(rows)) == 30


def test_an_agent_without_a_quiet_moment_writes_all_the_same(
    rows: Recording, clock: Clock
) -> None:
    rows.write("probes", ROW)
    clock.now_ns += 2_000_000_000
    rows.pump(0, NONE_NS)
    rows.pump(0, NONE_NS)
    assert len(written(rows)) == 1


def test_the_end_writes_everything(rows: Recording) -> None:
    for _ in range(1_000):
        rows.write("probes", ROW)
    rows.finish(0)
    assert len(written(rows)) == 1_000
    rows.close()
    rows.close()


def test_closing_writes_what_there_is(rows: Recording) -> None:
    rows.write("probes", ROW)
    rows.close()
    assert len(written(rows)) == 1


def test_lateness_is_told_of_each_interval(rows: Recording) -> None:
    lateness, drops = Lateness(), iter([2, 5, 5])
    for _ in range(100):
        lateness.record(5_000)
    rows.watch(lateness, lambda: next(drops))
    lateness.record(70)
    rows.pump(10 * SAMPLE_NS - 1, LONG_NS)
    rows.pump(10 * SAMPLE_NS, LONG_NS)
    lateness.record(9_000)
    rows.finish(13 * SAMPLE_NS)
    first, second = [row for _, row in written(rows)]
    assert (first["t_ns"], first["interval_ns"], first["host"]) == (200_000, 200_000, "h0")
    assert (first["lateness_p99_ns"], first["lateness_max_ns"]) == (70, 70)
    assert (first["kernel_drops"], first["idle_cores"]) == (3, None)
    assert (second["interval_ns"], second["lateness_max_ns"], second["kernel_drops"]) == (
        60_000, 9_000, 0)


# --- Trouble -----------------------------------------------------------------------------


def test_a_file_that_cannot_be_made_is_told_and_stops_nothing(tmp_path: Path) -> None:
    rows = Recording(tmp_path / "gone" / "h0.jsonl", "h0", SAMPLE_NS)
    rows.open()
    rows.write("probes", ROW)
    rows.finish(0)
    rows.close()
    assert rows.failure is not None
    assert rows.failure.startswith("rows of h0 are missing: ")
    assert rows.failure.endswith("cannot be written (no such file or directory)")


def test_a_full_disk_is_told_once_and_nothing_follows_the_gap(rows: Recording) -> None:
    real = rows._file
    assert real is not None
    calls: list[bytes] = []

    def write(data: bytes) -> int:
        calls.append(data)
        if len(calls) == 1:
            return os.write(real.fileno(), data[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    rows._file = SimpleNamespace(write=write, close=real.close)  # type: ignore[assignment]
    rows.write("probes", ROW)
    rows.flush()
    rows.write("probes", ROW)
    rows.finish(0)
    assert len(calls) == 2
    assert rows.failure is not None
    assert "(no space left on device)" in rows.failure
    assert written(rows) == []  # the piece of a line that was written is none
