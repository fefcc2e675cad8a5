"""testbed/remote/connect.py: fan-out, and errors that name the host. No network."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from testbed.remote.connect import MAX_SETUPS, SshTarget, connect, in_parallel
from testbed.remote.errors import RemoteError
from testbed.remote.keys import RunKeys

HOST = SshTarget("h7", "198.18.0.7")
NO_KEYS = RunKeys(Path("/nonexistent"))


def test_results_come_in_order() -> None:
    assert in_parallel(lambda number: number * 2, range(100)) == [n * 2 for n in range(100)]
    assert in_parallel(str, []) == []


def test_exactly_the_limit_runs_at_a_time() -> None:
    """The barrier breaks if fewer run together; the count shows if more do."""
    barrier, lock = threading.Barrier(MAX_SETUPS, timeout=10), threading.Lock()
    running, most = 0, 0

    def work(_: int) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        barrier.wait()
        with lock:
            running -= 1

    in_parallel(work, range(3 * MAX_SETUPS))
    assert most == MAX_SETUPS


def test_first_error_ends_it_and_cancels_the_rest() -> None:
    begun: list[int] = []

    def work(number: int) -> None:
        begun.append(number)
        if number == 0:
            raise RemoteError("h0 is not there")
        raised.wait(10)

    raised = threading.Event()
    timer = threading.Timer(0.2, raised.set)  # lets the others end, after the error is seen
    timer.start()
    with pytest.raises(RemoteError, match="h0"):
        in_parallel(work, range(1000), limit=2)
    timer.join()
    assert len(begun) < 1000


def test_refused_connection_is_tried_again() -> None:
    tries: list[tuple[str, int]] = []

    def open_socket(address: tuple[str, int], timeout_s: float) -> socket.socket:
        tries.append(address)
        if len(tries) < 3:
            raise ConnectionRefusedError("Connection refused")
        raise OSError("Network is unreachable")

    with pytest.raises(RemoteError, match=r"host h7 \(198\.18\.0\.7 port 22\).*unreachable"):
        connect(HOST, NO_KEYS, 10, open_socket)
    assert tries == [("198.18.0.7", 22)] * 3


def test_refusals_end_with_the_timeout() -> None:
    def open_socket(address: tuple[str, int], timeout_s: float) -> socket.socket:
        raise ConnectionRefusedError("Connection refused")

    with pytest.raises(RemoteError, match=r"h7 .*Connection refused"):
        connect(HOST, NO_KEYS, 0, open_socket)
