"""testbed/agent/inbox.py on UDP sockets of the loopback interface, which are stamped alike."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Iterator

import pytest

from testbed.agent.inbox import FRAME_BYTES, FRAMES, SO_TIMESTAMPNS, Inbox
from testbed.errors import TestbedError


class Line:
    """A socket that receives, and one that sends to it."""

    def __init__(self, *, is_stamped: bool = True) -> None:
        self.far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.far.bind(("127.0.0.1", 0))
        self.far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.far.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, int(is_stamped))
        self.near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.near.connect(self.far.getsockname())

    @property
    def fd(self) -> int:
        return self.far.fileno()

    def send(self, *frames: bytes) -> None:
        for frame in frames:
            self.near.send(frame)

    def close(self) -> None:
        self.far.close()
        self.near.close()


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.close()


def frames_of(inbox: Inbox, line: Line) -> list[bytes]:
    return [bytes(frame) for frame, _ in inbox.receive(line.fd)]


def test_nothing_waits(line: Line) -> None:
    assert Inbox().receive(line.fd) == []


def test_frames_come_whole_in_order_and_each_with_its_stamp(line: Line) -> None:
    began_ns = time.time_ns()
    line.send(b"one", b"", bytes(range(256)) * 16)
    found = Inbox().receive(line.fd)
    ended_ns = time.time_ns()
    assert [bytes(frame) for frame, _ in found] == [b"one", b"", bytes(range(256)) * 16]
    stamps = [at_ns for _, at_ns in found]
    assert began_ns <= stamps[0] <= stamps[1] <= stamps[2] <= ended_ns


def test_more_than_fit_come_with_the_next_call(line: Line) -> None:
    sent = [bytes([number]) * (number + 1) for number in range(FRAMES + 5)]
    line.send(*sent)
    inbox = Inbox()
    assert frames_of(inbox, line) == sent[:FRAMES]
    assert frames_of(inbox, line) == sent[FRAMES:]
    assert frames_of(inbox, line) == []


def test_sockets_share_one(line: Line) -> None:
    other = Line()
    inbox = Inbox()
    for _ in range(3):
        line.send(b"a" * 5000, b"b")
        other.send(b"c")
        assert frames_of(inbox, line) == [b"a" * 5000, b"b"]
        assert frames_of(inbox, other) == [b"c"]
    other.close()


def test_a_frame_longer_than_any_is_cut_and_longer_than_any_all_the_same(line: Line) -> None:
    line.send(bytes(FRAME_BYTES + 100))
    assert [len(frame) for frame in frames_of(Inbox(), line)] == [FRAME_BYTES]


def test_a_frame_without_a_stamp_is_an_error_also_where_one_had_it_before(line: Line) -> None:
    inbox, bare = Inbox(), Line(is_stamped=False)
    line.send(b"stamped")
    assert frames_of(inbox, line) == [b"stamped"]
    bare.send(b"not")
    with pytest.raises(TestbedError, match="without a receive timestamp"):
        inbox.receive(bare.fd)
    bare.close()


def test_what_the_socket_says_comes_out(line: Line) -> None:
    fd = line.fd
    line.close()
    with pytest.raises(OSError, match="descriptor") as told:
        Inbox().receive(fd)
    assert told.value.errno == errno.EBADF
