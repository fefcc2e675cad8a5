"""testbed/agent/capture.py: the file byte by byte, and what happens when the disk is full."""

from __future__ import annotations

import resource
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from testbed.agent.capture import SNAP_BYTES_LIMIT, Capture
from testbed.errors import TestbedError

HEADER_BYTES = 24
RECORD_BYTES = 16


def make_capture(path: Path, snap_bytes: int = SNAP_BYTES_LIMIT) -> Capture:
    capture = Capture(path, snap_bytes)
    capture.open()
    return capture


def records(path: Path) -> list[tuple[int, int, bytes]]:
    """(time in ns, bytes on the wire, bytes kept) of every record; the file has to end with one."""
    data = path.read_bytes()
    found, at = [], HEADER_BYTES
    while at < len(data):
        seconds, ns, kept, size = struct.unpack_from("<IIII", data, at)
        at += RECORD_BYTES
        assert at + kept <= len(data), "the last record is cut"
        assert ns < 10**9
        found.append((seconds * 10**9 + ns, size, data[at : at + kept]))
        at += kept
    return found


@contextmanager
def disk_of(size_bytes: int) -> Iterator[None]:
    """No file of this process grows beyond this, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_the_file_is_a_nanosecond_pcap_of_ethernet_frames(tmp_path: Path) -> None:
    path = tmp_path / "h0.pcap"
    capture = make_capture(path, snap_bytes=96)
    capture.write(3_000_000_007, b"frame")
    capture.close()
    assert path.read_bytes().hex(" ", -4) == (
        "4d3cb2a1 02000400 00000000 00000000 60000000 01000000 "
        "03000000 07000000 05000000 05000000 6672616d 65"
    )


def test_frames_are_kept_with_time_and_length(tmp_path: Path) -> None:
    path = tmp_path / "h0.pcap"
    capture = make_capture(path, snap_bytes=100)
    frames = [(0, bytes(60)), (1, bytes(range(100))), (2**32 * 10**9 - 1, bytes(range(101)))]
    for time_ns, frame in frames:
        capture.write(time_ns, frame)
    capture.close()
    assert records(path) == [(time, len(frame), frame[:100]) for time, frame in frames]
    assert (capture.frames, capture.lost) == (3, 0)


@pytest.mark.parametrize("snap_bytes", [64, SNAP_BYTES_LIMIT])
def test_a_buffer_that_is_used_again_was_copied(tmp_path: Path, snap_bytes: int) -> None:
    path = tmp_path / "h0.pcap"
    capture = make_capture(path, snap_bytes)
    buffer = bytearray(b"a" * 80)
    capture.write(0, memoryview(buffer))
    buffer[:] = b"b" * 80
    capture.close()
    assert records(path) == [(0, 80, b"a" * min(80, snap_bytes))]


def test_many_frames_of_all_sizes_come_back_in_order(tmp_path: Path) -> None:
    path = tmp_path / "h0.pcap"
    capture = make_capture(path)
    frames = [bytes([i % 256]) * (i * 7919 % 9014 + 1) for i in range(300)]
    for time_ns, frame in enumerate(frames):
        capture.write(time_ns, frame)
    capture.close()
    assert records(path) == [(i, len(frame), frame) for i, frame in enumerate(frames)]


def test_a_frame_of_the_largest_size_fits_behind_an_almost_full_chunk(tmp_path: Path) -> None:
    path = tmp_path / "h0.pcap"
    capture = make_capture(path)
    sizes = [SNAP_BYTES_LIMIT - RECORD_BYTES - 1, SNAP_BYTES_LIMIT, SNAP_BYTES_LIMIT + 1]
    for size in sizes:
        capture.write(0, bytes(size))
    capture.close()
    assert [(size, len(kept)) for _, size, kept in records(path)] == [
        (size, min(size, SNAP_BYTES_LIMIT)) for size in sizes
    ]


def test_an_open_capture_is_readable_up_to_the_last_flush(tmp_path: Path) -> None:
    path = tmp_path / "h0.pcap"
    capture = make_capture(path)
    assert path.stat().st_size == HEADER_BYTES
    capture.write(0, b"first")
    assert records(path) == []
    capture.flush()
    capture.write(1, b"second")
    assert records(path) == [(0, 5, b"first")]
    capture.close()
    capture.close()
    assert len(records(path)) == 2


def test_an_older_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "h0.pcap"
    path.write_bytes(bytes(1000))
    make_capture(path).close()
    assert path.stat().st_size == HEADER_BYTES


def test_a_full_disk_is_said_once_and_the_file_stays_readable(tmp_path: Path) -> None:
    path = tmp_path / "h0.pcap"
    capture = make_capture(path)
    frame = bytes(4000)
    said = []
    with disk_of(600_000):  # two chunks fit, a third one only in part
        for time_ns in range(300):
            try:
                capture.write(time_ns, frame)
            except TestbedError as error:
                said.append(str(error))
        capture.flush()
        capture.close()
    assert len(said) == 1
    assert said[0].startswith(f"capture {path} ends early (File too large): make room")
    kept = records(path)
    assert [time for time, _, _ in kept] == list(range(len(kept)))
    assert 100 < len(kept) < 150
    assert (capture.frames, capture.lost) == (300, 300 - len(kept))


def test_a_device_that_is_full_is_said_once(tmp_path: Path) -> None:
    capture = Capture(Path("/dev/full"))
    with pytest.raises(TestbedError, match="No space left on device"):
        capture.open()
    capture.write(0, b"frame")
    capture.flush()
    capture.close()
    assert (capture.frames, capture.lost) == (1, 1)


def test_what_close_cannot_write_is_an_error_and_lost(tmp_path: Path) -> None:
    path = tmp_path / "h0.pcap"
    capture = make_capture(path)
    capture.write(0, bytes(1000))
    with disk_of(500), pytest.raises(TestbedError, match="ends early"):
        capture.close()
    capture.close()
    assert (capture.frames, capture.lost) == (1, 1)
    assert records(path) == []


def test_frames_beside_an_open_file_are_lost(tmp_path: Path) -> None:
    capture = Capture(tmp_path / "h0.pcap")
    capture.write(0, b"too early")
    capture.open()
    capture.write(0, b"in time")
    capture.close()
    capture.write(0, b"too late")
    assert (capture.frames, capture.lost) == (3, 2)
    assert [kept for _, _, kept in records(capture.path)] == [b"in time"]


@pytest.mark.parametrize("time_ns", [-1, 2**32 * 10**9])
def test_a_time_no_run_has_is_refused_and_the_next_frame_is_not(
    tmp_path: Path, time_ns: int
) -> None:
    capture = make_capture(tmp_path / "h0.pcap")
    with pytest.raises(TestbedError, match="times count from the start of the run"):
        capture.write(time_ns, b"when?")
    capture.write(5, b"now")
    capture.close()
    assert records(capture.path) == [(5, 3, b"now")]
    assert (capture.frames, capture.lost) == (2, 1)


@pytest.mark.parametrize("snap_bytes", [0, -1, SNAP_BYTES_LIMIT + 1])
def test_a_snap_length_nobody_could_read_is_refused(tmp_path: Path, snap_bytes: int) -> None:
    with pytest.raises(TestbedError, match="keep 1 to 262144"):
        make_capture(tmp_path / "h0.pcap", snap_bytes)
    assert not (tmp_path / "h0.pcap").exists()


def test_a_file_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TestbedError, match="No such file or directory"):
        make_capture(tmp_path / "absent" / "h0.pcap")
