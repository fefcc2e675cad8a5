"""testbed/agent/loop.py on pipes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from testbed.agent.loop import Loop


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_ready_descriptor_calls_back(loop: Loop, pipe: tuple[int, int]) -> None:
    got = []
    loop.add(pipe[0], lambda: got.append(os.read(pipe[0], 9)))
    os.write(pipe[1], b"x")
    loop.wait(None)
    assert got == [b"x"]


def test_returns_not_before_its_time(loop: Loop) -> None:
    until_ns = time.monotonic_ns() + 200_000
    loop.wait(until_ns)
    assert time.monotonic_ns() >= until_ns


def test_what_waits_is_seen_although_the_time_is_over(
    loop: Loop, pipe: tuple[int, int]
) -> None:
    got = []
    loop.add(pipe[0], lambda: got.append(os.read(pipe[0], 9)))
    os.write(pipe[1], b"x")
    loop.wait(0)
    assert got == [b"x"]


def test_removed_descriptor_is_silent(loop: Loop, pipe: tuple[int, int]) -> None:
    got: list[int] = []
    loop.add(pipe[0], lambda: got.append(1))
    os.write(pipe[1], b"x")
    loop.remove(pipe[0])
    loop.wait(0)
    assert got == []


def test_callback_may_remove_another_ready_descriptor(loop: Loop) -> None:
    pipes = [os.pipe(), os.pipe()]
    got = []

    def on_ready(mine: int, other: int) -> None:
        got.append(mine)
        loop.remove(other)

    (a, a_in), (b, b_in) = pipes
    loop.add(a, lambda: on_ready(a, b))
    loop.add(b, lambda: on_ready(b, a))
    os.write(a_in, b"x")
    os.write(b_in, b"x")
    loop.wait(0)
    assert len(got) == 1
    for end in (a, a_in, b, b_in):
        os.close(end)
