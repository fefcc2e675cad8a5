"""RPC messages over two descriptors, without ever blocking on either.

A client that reads slowly must not hold up the data ports, so what cannot be
written waits in memory; a client that stops altogether stops its heartbeat too,
and the agent ends.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator

from testbed.agent.loop import Loop
from testbed.errors import TestbedError
from testbed.rpc import MAGIC, Decoder, Message, encode

_READ_BYTES = 1 << 18


class Channel:
    """The control channel of an agent: reads `input_fd`, writes `output_fd`.

    `is_ended` turns True when the other end has closed either direction.
    """

    def __init__(self, loop: Loop, input_fd: int, output_fd: int) -> None:
        self.is_ended = False
        self._loop = loop
        self._input_fd = input_fd
        self._output_fd = output_fd
        self._decoder = Decoder()
        self._arrived: list[Message] = []
        self._unwritten = bytearray()
        self._is_watching_output = False

    def open(self) -> None:
        """Start reading, and greet the client. Raises TestbedError where it cannot poll."""
        os.set_blocking(self._input_fd, False)
        os.set_blocking(self._output_fd, False)
        try:
            self._loop.add(self._input_fd, self._on_readable)
        except PermissionError:
            raise TestbedError(
                "the agent's standard input is a file: it speaks RPC, start it with "
                "pipes (the instance does so over SSH)"
            ) from None
        self._unwritten += MAGIC
        self._write()

    def take_messages(self) -> Iterator[Message]:
        """What arrived since the last call."""
        arrived, self._arrived = self._arrived, []
        yield from arrived

    def send(self, message: Message) -> None:
        """Queue a message and write what the pipe takes. Raises RpcError if not encodable."""
        self._unwritten += encode(message)
        if not self._is_watching_output:
            self._write()

    def flush(self, until_ns: int) -> None:
        """Write the rest, waiting for a slow client no longer than to `until_ns`."""
        while self._unwritten and time.monotonic_ns() < until_ns:
            self._loop.wait(until_ns)

    def _on_readable(self) -> None:
        try:
            data = os.read(self._input_fd, _READ_BYTES)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            self.is_ended = True
            self._loop.remove(self._input_fd)
        self._arrived += self._decoder.feed(data)

    def _write(self) -> None:
        try:
            while self._unwritten:
                del self._unwritten[: os.write(self._output_fd, self._unwritten)]
        except BlockingIOError:
            pass
        except ConnectionError:
            self.is_ended = True
            self._unwritten.clear()
        self._watch_output(bool(self._unwritten))

    def _watch_output(self, is_wanted: bool) -> None:
        if is_wanted == self._is_watching_output:
            return
        if is_wanted:
            self._loop.add(self._output_fd, self._write, select.EPOLLOUT)
        else:
            self._loop.remove(self._output_fd)
        self._is_watching_output = is_wanted
