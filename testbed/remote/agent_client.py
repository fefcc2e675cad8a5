"""The instance's end of one agent: start it, call it, notice when it dies."""

from __future__ import annotations

import contextlib
import shlex
import sysconfig
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import paramiko

from testbed.remote.connect import Connection
from testbed.remote.errors import AgentDied, AgentRefused, RemoteError
from testbed.rpc import (
    MAGIC,
    Decoder,
    Failure,
    Message,
    Notification,
    Request,
    Response,
    RpcError,
    encode,
)

OnDeath = Callable[[str, str], None]
"""(host name, reason), once, on the agent's reader thread; not after `close`."""
OnNotification = Callable[[str, Notification], None]
"""(host name, notification), on the agent's reader thread: return soon."""

_READ_BYTES = 1 << 16
_MAX_BANNER_BYTES = 1 << 16
_MAX_STDERR_BYTES = 4096
_EXIT_WAIT_S = 2.0


def agent_command(python: str, checkout: Path) -> list[str]:
    """The argument list that starts an agent: absolute interpreter, this very checkout.

    -S leaves out what site-packages would run at every start, which cost most of the
    start-up time, so its folder is named (for the CRC of every packet); -P keeps the
    working directory out of the way.
    """
    places = f"{checkout}:{sysconfig.get_paths()['purelib']}"
    # numpy's BLAS would start a thread per core in every agent, for nothing.
    return ["env", f"PYTHONPATH={places}", "OPENBLAS_NUM_THREADS=1", python, "-S", "-P", "-m",
            "testbed.agent"]


class AgentClient:
    """One agent over one SSH channel. Every method may be called from any thread."""

    def __init__(
        self,
        connection: Connection,
        on_death: OnDeath = lambda host, reason: None,
        on_notification: OnNotification = lambda host, notification: None,
    ) -> None:
        self.connection = connection
        self.host = connection.target.name
        self._on_death = on_death
        self._on_notification = on_notification
        self._channel: paramiko.Channel | None = None
        self._decoder = Decoder()
        self._banner = bytearray()
        self._lock = threading.Lock()  # guards what follows
        self._pending: dict[int, tuple[str, Future[Any]]] = {}
        self._next_id = 0
        self._death: str | None = None
        self._is_closing = False
        self._send_lock = threading.Lock()
        self._is_greeted = threading.Event()
        self._reader = threading.Thread(
            target=self._read, name=f"agent-{self.host}", daemon=True
        )
        self._heard_at_s = time.monotonic()

    @property
    def is_alive(self) -> bool:
        """Started and not known to have ended; a paused agent is alive, see `silent_s`."""
        return self._is_greeted.is_set() and self._death is None

    @property
    def death(self) -> str | None:
        """Why the agent is gone, None while it is not."""
        return self._death

    @property
    def silent_s(self) -> float:
        """Seconds since the agent last said anything; above a few beats it is stuck."""
        return time.monotonic() - self._heard_at_s

    def start(self, argv: Sequence[str], timeout_s: float = 20) -> None:
        """Run the agent's command and wait for its magic line; whatever a login shell
        prints before that is ignored. Raises RemoteError if it does not come.
        """
        self._channel = channel = self.connection.open_session()
        try:
            # SSH carries one string, which the host's /bin/sh splits; exec, so that the
            # agent and not a shell gets the signals and gives the exit status.
            channel.exec_command("exec " + shlex.join(argv))
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise RemoteError(
                f"host {self.host} refused to start the agent: {error}"
            ) from error
        self._reader.start()
        if not self._is_greeted.wait(timeout_s):
            self._end(f"the agent of host {self.host} said nothing within {timeout_s:g} s")
            channel.close()
        if self._death is not None:
            raise AgentDied(self._death)

    def call(
        self, method: str, params: Mapping[str, Any] | None = None, timeout_s: float = 10
    ) -> Any:
        """The result of one request.

        Raises AgentRefused with the agent's own words, AgentDied, or RemoteError
        when `timeout_s` passes without an answer.
        """
        future = self.submit(method, params)
        try:
            return future.result(timeout_s)
        except TimeoutError:
            raise RemoteError(
                f"the agent of host {self.host} did not answer '{method}' within "
                f"{timeout_s:g} s: see `testbed status`, it may be paused or overloaded"
            ) from None
        finally:
            self._abandon(future)

    def submit(self, method: str, params: Mapping[str, Any] | None = None) -> Future[Any]:
        """Send a request and return at once; the future ends as `call` would."""
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()  # on its way: it cannot be cancelled
        with self._lock:
            if self._death is not None:
                raise AgentDied(self._death)
            request = Request(self._next_id, method, dict(params or {}))
            self._next_id += 1
            self._pending[request.id] = (method, future)
        try:
            self._send(encode(request))
        except RpcError:
            self._abandon(future)
            raise
        return future

    def beat(self) -> None:
        """Send a heartbeat without waiting: not for the answer, not for a stuck channel."""
        channel = self._channel
        if not self.is_alive or channel is None or not channel.send_ready():
            return
        with self._lock:
            request = Request(self._next_id, "heartbeat")
            self._next_id += 1
        if self._send_lock.acquire(blocking=False):  # held: a request is under way, as good
            try:
                self._write(channel, encode(request))
            finally:
                self._send_lock.release()

    def close(self, timeout_s: float = 2) -> None:
        """Ask the agent to end, wait for it, and close the channel. Never raises."""
        with self._lock:
            self._is_closing = True
        if self.is_alive:
            with contextlib.suppress(RemoteError, TimeoutError):
                self.submit("shutdown").result(timeout_s)
        if self._channel is not None:
            self._channel.close()
        if self._reader.is_alive() and self._reader is not threading.current_thread():
            self._reader.join(timeout_s)

    def _send(self, frame: bytes) -> None:
        assert self._channel is not None, "agent called before start()"
        with self._send_lock:
            self._write(self._channel, frame)

    def _write(self, channel: paramiko.Channel, frame: bytes) -> None:
        # An error means the channel closed; the reader learns why and fails every call.
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            channel.sendall(frame)

    def _abandon(self, future: Future[Any]) -> None:
        with self._lock:
            for request_id, (_, pending) in self._pending.items():
                if pending is future:
                    del self._pending[request_id]
                    return

    def _read(self) -> None:
        """The reader thread: until the channel ends or the agent talks nonsense."""
        assert self._channel is not None
        reason = f"the reader of the agent of host {self.host} failed: an internal error"
        try:
            while data := self._channel.recv(_READ_BYTES):
                self._heard_at_s = time.monotonic()
                self._on_data(data)
            reason = self._how_it_ended(self._channel)
        except RpcError as error:
            reason = f"the agent of host {self.host} broke the protocol: {error}"
            self._channel.close()
        finally:
            self._end(reason)

    def _on_data(self, data: bytes) -> None:
        if not self._is_greeted.is_set():
            data = self._skip_banner(data)
        for message in self._decoder.feed(data):
            self._on_message(message)

    def _skip_banner(self, data: bytes) -> bytes:
        self._banner += data
        before, magic, after = bytes(self._banner).partition(MAGIC)
        if magic:
            self._is_greeted.set()
            self._banner.clear()
            return after
        if len(before) > _MAX_BANNER_BYTES:
            raise RpcError(f"no agent answered, but {before[-60:]!r}")
        return b""

    def _on_message(self, message: Message) -> None:
        if isinstance(message, Notification):
            self._on_notification(self.host, message)
            return
        with self._lock:
            method, future = self._pending.pop(message.id, (None, None))
        if future is None:
            return  # a heartbeat, or a call given up on
        if isinstance(message, Response):
            future.set_result(message.result)
        elif isinstance(message, Failure):
            future.set_exception(AgentRefused(
                f"host {self.host} refused '{method}': {message.message}", message.kind
            ))

    def _how_it_ended(self, channel: paramiko.Channel) -> str:
        """One sentence from exit status, standard error and the state of the connection."""
        channel.status_event.wait(_EXIT_WAIT_S)
        last_words = _last_line(channel)
        if channel.exit_status >= 0:
            how = f"ended with exit status {channel.exit_status}"
        elif channel.eof_received:  # sshd ended the stream properly, but had no status
            how = "was killed by a signal"
        else:
            return f"the SSH connection to host {self.host} was lost, and its agent with it"
        reason = f"the agent of host {self.host} {how}"
        return f"{reason}: {last_words}" if last_words else reason

    def _end(self, reason: str) -> None:
        with self._lock:
            if self._death is not None:
                return
            self._death = reason
            is_news = not self._is_closing and self._is_greeted.is_set()
            orphans = list(self._pending.values())
            self._pending.clear()
        self._is_greeted.set()  # wakes start(), which then finds the death
        for _, future in orphans:
            future.set_exception(AgentDied(reason))
        if is_news:
            self._on_death(self.host, reason)


def _last_line(channel: paramiko.Channel) -> str:
    text = b""
    while channel.recv_stderr_ready():
        text = (text + channel.recv_stderr(_READ_BYTES))[-_MAX_STDERR_BYTES:]
    lines = text.decode("utf-8", "replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
