"""The rows of a run on the fabric, brought together: agents write theirs, the instance its own.

    begin        nothing is left of an earlier run, counters stand at their beginning
    start        emulated time 0 is set
    see          hosts reported: switch ports and processors are looked at, now and then
    keep_action  the script has done something; from the thread that did it
    finish       the last look
    fetch        the hosts' files, over SFTP
    tables       all of it by table
    leave        where there will be no tables: the rows as they are, into the run folder
    clear        nothing is kept here any longer

Until then rows lie in the instance's state directory: where it dies, whoever takes it down
puts them into the run folder (:func:`~testbed.instance.runfolder.keep_rows`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from testbed.errors import TestbedError
from testbed.fabric.fabric import Fabric
from testbed.instance.hosts import Hosts
from testbed.instance.machine import CpuTimes, read_cpu_times
from testbed.instance.runfolder import keep_rows
from testbed.metrics.portrows import PortRows, places
from testbed.metrics.rows import HEADER, OtherVersion, by_table, decode, encode, row_of, values_of
from testbed.metrics.tables import event_row
from testbed.remote.connect import in_parallel
from workloads.recorder import SAMPLES_PER_EV_SAMPLE

OWN_FILE = "instance.jsonl"
_LEAST_PAUSE_S = 0.25  # of wall clock, between two looks at the ports


class Collector:
    """The rows of one run of ``names``, sampled every ``sample_ns``; ``folder`` is private."""

    def __init__(self, folder: Path, fabric: Fabric, hosts: Hosts, names: Sequence[str],
                 sample_ns: int, tdf: int) -> None:
        self.folder, self.sample_ns = folder, sample_ns
        self._fetched = folder / "fetched"
        self._file: IO[bytes] | None = None
        self._keeping = threading.Lock()  # the file: what the script does is from other threads
        self._fabric, self._hosts, self._names, self._tdf = fabric, hosts, names, tdf
        self._pause_s = max(_LEAST_PAUSE_S, SAMPLES_PER_EV_SAMPLE * sample_ns * tdf / 1e9)
        self._rows: list[tuple[str, tuple[Any, ...]]] = []
        self._zero_ns: int | None = None
        self._next_look_s = 0.0
        self._seen_ns = 0

    # --- while it runs -----------------------------------------------------------------

    def begin(self) -> None:
        """Empty the folder and note where counters stand. Raises TestbedError."""
        try:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(mode=0o700)
            self._file = (self.folder / OWN_FILE).open("ab", buffering=0)
            _append(self._file, HEADER.encode())
        except OSError as error:
            raise TestbedError(f"{self.folder} cannot be made ({error.strerror}), so nothing "
                               "could be recorded: free some space and run again") from error
        self._ports = PortRows(
            places(self._fabric.graph.switches), self._fabric.counters())

    def start(self, zero_ns: int) -> None:
        """Emulated time is 0 at this CLOCK_MONOTONIC time."""
        self._zero_ns, self._cpu = zero_ns, read_cpu_times()

    def see(self) -> None:
        """Hosts reported."""
        now_s = time.monotonic()
        if self._zero_ns is None or now_s < self._next_look_s or self._now_ns() <= 0:
            return
        self._next_look_s = now_s + self._pause_s
        self._look()

    def finish(self) -> None:
        """The run is over, whatever became of it."""
        if self._zero_ns is not None and self._now_ns() > self._seen_ns:
            self._look()
        with self._keeping:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _now_ns(self) -> int:
        assert self._zero_ns is not None
        return (time.monotonic_ns() - self._zero_ns) // self._tdf

    def _look(self) -> None:
        counters, cpu, now_ns = self._fabric.counters(), read_cpu_times(), self._now_ns()
        for values in self._ports.look(now_ns, counters):
            self._write("ports", values)
        self._note_machine(now_ns, cpu)
        self._seen_ns = now_ns

    def _note_machine(self, now_ns: int, cpu: CpuTimes) -> None:
        idle_cores = round(cpu.idle_cores_since(self._cpu), 3)
        self._cpu = cpu
        self._write("fidelity", (now_ns, now_ns - self._seen_ns, "", None, None, idle_cores, None))

    def _write(self, table: str, values: tuple[Any, ...]) -> None:
        self._rows.append((table, values))
        self._keep(table, values)

    def keep_action(self, row: Mapping[str, Any]) -> None:
        """A row of the script, for a run that is cut off: otherwise it comes with the result."""
        self._keep("events", values_of("events", row))

    def _keep(self, table: str, values: tuple[Any, ...]) -> None:
        """Also in the file, for the case that nobody will ask for the tables; from any thread."""
        with self._keeping, contextlib.suppress(OSError):
            if self._file is not None:
                _append(self._file, encode(table, values).encode())

    # --- afterwards --------------------------------------------------------------------

    def fetch(self, results: Mapping[str, Any]) -> None:
        """Copy every host's file; what is missing becomes a warning.

        ``results`` are those of the hosts that have any: they may say so too.
        """
        self._fetched.mkdir(mode=0o700, exist_ok=True)
        for reason in in_parallel(self._get, self._names):
            if reason is not None:
                self.warn(reason)
        for result in results.values():
            for event in result["events"]:
                if event["event"] == "recording failed":
                    self.warn(event["reason"])

    def _get(self, name: str) -> str | None:
        """Why a host's file could not be had, None where it could."""
        try:
            connection = self._hosts.fleet.agents[name].connection
            connection.get(str(self.folder / f"{name}.jsonl"), self._fetched / f"{name}.jsonl")
        except (TestbedError, OSError) as error:
            return f"rows of {name} are missing: {error}"
        return None

    def warn(self, reason: str) -> None:
        """Say in the events that something is not recorded."""
        row = event_row(self._seen_ns, "warning", detail=reason)
        self._write("events", values_of("events", row))

    def clear(self) -> None:
        """All of it is where it belongs: keep nothing here."""
        self._rows.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    def leave(self, path: Path) -> None:
        """Put the rows of a run that has failed into its folder as they are; never raises."""
        with contextlib.suppress(TestbedError, OSError):
            self.finish()
            self.fetch({})
            shutil.copyfile(self.folder / OWN_FILE, self._fetched / OWN_FILE)
        with contextlib.suppress(OSError):
            keep_rows(self._fetched, path)

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Every table with all its rows."""
        tables = by_table((table, row_of(table, values)) for table, values in self._rows)
        for path in sorted(self._fetched.glob("*.jsonl")):
            try:
                with path.open(encoding="utf-8", errors="replace") as lines:
                    for table, row in decode(lines):
                        tables[table].append(row)
            except OtherVersion as error:  # its agent was started anew, from other files
                warning = event_row(self._seen_ns, "warning", detail=f"{path.stem}: {error}")
                tables["events"].append(warning)
        return tables


def _append(file: IO[bytes], line: bytes) -> None:
    """Add a whole line, or nothing: half of one would spoil the next. Raises OSError."""
    size, rest = os.fstat(file.fileno()).st_size, line
    try:
        while rest:
            rest = rest[file.write(rest):]
    except OSError:
        os.ftruncate(file.fileno(), size)
        raise
