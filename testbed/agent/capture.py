"""Writes what a host sends and receives into a capture file, in emulated time.

The file is a pcap with nanosecond time stamps and Ethernet frames, which Wireshark and
tcpdump read (draft-ietf-opsawg-pcap). Its times count from the start of the run, not from
1970, so that they compare with every other table of the run.

    header   magic 4 | version 2 + 2 | zero 8 | snap length 4 | link type 4
    record   seconds 4 | nanoseconds 4 | bytes kept 4 | bytes on the wire 4 | frame

Records are collected and written in chunks of whole ones. A file that cannot be written any
more (a full disk) is cut back to the last whole chunk, so that it stays readable; that is an
error once, and from then on frames are counted as lost and nothing else happens.
"""

from __future__ import annotations

import contextlib
import struct
from io import FileIO
from pathlib import Path

from testbed.errors import TestbedError

SNAP_BYTES_LIMIT = 262_144
"""Wireshark refuses records longer than this."""

_MAGIC_NS = 0xA1B23C4D
_VERSION = (2, 4)
_LINK_TYPE_ETHERNET = 1
_HEADER = struct.Struct("<IHHQII")
_RECORD = struct.Struct("<IIII")
_NS_PER_S = 1_000_000_000
_CHUNK_BYTES = 1 << 18


class Capture:
    """One capture file. `open` before use, `close` after it.

    ``snap_bytes`` of every frame are kept, 1 to 262,144, with the length it had.
    ``frames`` were handed in; ``lost`` ones of them are not in the file.
    """

    def __init__(self, path: Path, snap_bytes: int = SNAP_BYTES_LIMIT) -> None:
        self.path = path
        self.snap_bytes = snap_bytes
        self.frames = 0
        self.lost = 0
        self._file: FileIO | None = None
        self._pending = memoryview(b"")  # whole records, up to `_end`
        self._end = 0
        self._written_frames = 0
        self._written_bytes = 0

    def open(self) -> None:
        """Make the file, in place of one that is there, and write its header.

        Raises TestbedError where ``snap_bytes`` is out of range or the file cannot be made.
        """
        if not 1 <= self.snap_bytes <= SNAP_BYTES_LIMIT:
            raise TestbedError(
                f"a capture that keeps {self.snap_bytes} bytes of a frame could not be read: "
                f"keep 1 to {SNAP_BYTES_LIMIT}"
            )
        try:
            self._file = FileIO(self.path, "w")
        except OSError as error:
            raise TestbedError(
                f"capture {self.path} cannot be made ({error.strerror}): choose a folder that "
                "exists and can be written"
            ) from None
        # A chunk is full when a record ends behind it, so one more record has to fit.
        self._pending = memoryview(bytearray(_CHUNK_BYTES + _RECORD.size + self.snap_bytes))
        _HEADER.pack_into(
            self._pending, 0, _MAGIC_NS, *_VERSION, 0, self.snap_bytes, _LINK_TYPE_ETHERNET
        )
        self._end = _HEADER.size
        self.flush()

    def write(self, time_ns: int, frame: bytes | memoryview) -> None:
        """Add a frame, from its Ethernet header on, at this emulated time of the run.

        ``time_ns`` counts from the start of the run, 0 to 2^32 s. The bytes are copied.
        Raises TestbedError for a time beyond, and once where the file cannot be written.
        """
        self.frames += 1
        if self._file is None:
            self.lost += 1
            return
        size = len(frame)
        kept = size if size <= self.snap_bytes else self.snap_bytes
        begin = self._end
        try:
            _RECORD.pack_into(
                self._pending, begin, time_ns // _NS_PER_S, time_ns % _NS_PER_S, kept, size
            )
        except struct.error:
            raise self._misdated(time_ns) from None
        begin += _RECORD.size
        self._end = end = begin + kept
        self._pending[begin:end] = frame if kept == size else frame[:kept]
        if end >= _CHUNK_BYTES:
            self.flush()

    def _misdated(self, time_ns: int) -> TestbedError:
        self.lost += 1
        return TestbedError(
            f"a frame at {time_ns} ns does not fit capture {self.path}: its times count from "
            "the start of the run, 0 to 2^32 s"
        )

    def flush(self) -> None:
        """Hand what was collected to the kernel. Raises TestbedError once where that fails."""
        if self._file is None:
            return
        done = 0
        try:
            while done < self._end:
                done += self._file.write(self._pending[done : self._end])
        except OSError as error:
            raise self._given_up(self._file, error) from None
        self._written_bytes += done
        self._written_frames = self.frames - self.lost
        self._end = 0

    def close(self) -> None:
        """Write the rest and close; closing twice is fine. Raises as `flush` does."""
        self.flush()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _given_up(self, file: FileIO, error: OSError) -> TestbedError:
        """Leave the file with the whole chunks it has; what to say about it."""
        self._file = None
        self.lost = self.frames - self._written_frames
        with contextlib.suppress(OSError):  # a device, for one, has no size
            file.truncate(self._written_bytes)
        with contextlib.suppress(OSError):  # it failed already, and that is what is said
            file.close()
        return TestbedError(
            f"capture {self.path} ends early ({error.strerror}): make room on its disk, or "
            "keep fewer bytes of each frame"
        )
