"""Rows of a run on this host: kept in memory, put into a local file when there is time.

    write      keep a row; while a run goes on this is all that is done at once
    pump       turn some rows into text, or write what has gathered, if nothing is due soon
    flush      all of it, now

What cannot be written is lost and said so in `failure`; the run goes on.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from testbed.metrics.lateness import Lateness
from testbed.metrics.rows import HEADER, encode

BATCH_BYTES = 256 * 1024
_BATCH_NS = 1_000_000_000  # of wall clock, after which less is written too
_LEAST_ROWS, _MOST_ROWS = 16, 64  # turned into text at a time, 4 us each
_ROW_SLACK_NS = 10_000
# Wall-clock time that must be left before the next thing is due, for each of the works here.
_ENCODE_SLACK_NS = 150_000
_WRITE_SLACK_NS = 500_000
_OVERDUE_NS = 2_000_000_000  # so long without a quiet moment: there is none
_SAMPLES_PER_FIDELITY = 10


class Recording:
    """The rows of ``host``, sampled every ``sample_ns`` of emulated time, into ``path``."""

    def __init__(self, path: Path, host: str, sample_ns: int) -> None:
        self.path = path
        self.failure: str | None = None
        self.rows = 0
        self._host = host
        self._file: IO[bytes] | None = None
        self._waiting: deque[tuple[str, tuple[Any, ...]]] = deque()
        self._lines: list[str] = []
        self._size = 0
        self._written_at_ns = 0
        self._fidelity_ns = _SAMPLES_PER_FIDELITY * sample_ns
        self._seen_ns = 0
        self._lateness: Lateness | None = None
        self._read_drops: Callable[[], int] = lambda: 0

    def open(self) -> None:
        """Make the file, empty; never raises."""
        self._written_at_ns = time.monotonic_ns()
        try:
            self._file = self.path.open("wb", buffering=0)
            self._file.write(HEADER.encode())
        except OSError as error:
            self._fail(error)

    def watch(self, lateness: Lateness, read_drops: Callable[[], int]) -> None:
        """Also note how late the agent is, and what its sockets have dropped, from now on."""
        self._lateness, self._before = lateness, lateness.copy()
        self._read_drops, self._drops_before = read_drops, read_drops()

    def write(self, table: str, values: tuple[Any, ...]) -> None:
        """Keep a row."""
        self._waiting.append((table, values))

    def pump(self, now_ns: int, slack_ns: int) -> None:
        """Do a little, where nothing is due for ``slack_ns`` of wall-clock time.

        ``now_ns`` is emulated. An agent that is never idle for so long does it all the same
        after two seconds.
        """
        if slack_ns < _ENCODE_SLACK_NS and not self._is_overdue:
            return
        if self._waiting and self._size < BATCH_BYTES:
            self._encode(max(_LEAST_ROWS, min(_MOST_ROWS, slack_ns // _ROW_SLACK_NS)))
        elif slack_ns < _WRITE_SLACK_NS and not self._is_overdue:
            return
        elif now_ns - self._seen_ns >= self._fidelity_ns:
            self._note_fidelity(now_ns)
        elif self._lines and (
            self._size >= BATCH_BYTES or time.monotonic_ns() - self._written_at_ns >= _BATCH_NS
        ):
            self._put_out()

    @property
    def _is_overdue(self) -> bool:
        return time.monotonic_ns() - self._written_at_ns >= _OVERDUE_NS

    def finish(self, now_ns: int) -> None:
        """The run is over: everything goes into the file."""
        if self._lateness is not None and now_ns > self._seen_ns:
            self._note_fidelity(now_ns)
        self.flush()

    def flush(self) -> None:
        """Write what there is."""
        while self._waiting:
            self._encode(len(self._waiting))
        if self._lines:
            self._put_out()

    def close(self) -> None:
        """Write what there is, and give the file back; never raises."""
        self.flush()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _encode(self, most: int) -> None:
        waiting, lines = self._waiting, self._lines
        for _ in range(min(most, len(waiting))):
            line = encode(*waiting.popleft())
            lines.append(line)
            self._size += len(line)
            self.rows += 1

    def _put_out(self) -> None:
        data = "".join(self._lines).encode()
        self._lines.clear()
        self._size, self._written_at_ns = 0, time.monotonic_ns()
        if self._file is None:
            return
        try:
            while data:
                data = data[self._file.write(data):]
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        """Write nothing more: rows after a gap would look whole."""
        self.failure = (f"rows of {self._host} are missing: {self.path} cannot be written "
                        f"({(error.strerror or str(error)).lower()})")
        if self._file is not None:
            self._file.close()
            self._file = None

    def _note_fidelity(self, now_ns: int) -> None:
        interval_ns, self._seen_ns = now_ns - self._seen_ns, now_ns
        if self._lateness is None:
            return
        lateness = self._lateness.copy()
        grown, self._before = lateness.since(self._before), lateness
        drops = self._read_drops()
        dropped, self._drops_before = drops - self._drops_before, drops
        self.write("fidelity", (now_ns, interval_ns, self._host, grown.quantile_ns(0.99),
                                grown.max_ns, None, dropped))
