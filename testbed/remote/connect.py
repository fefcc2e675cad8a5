"""SSH connections to hosts: pinned, by key, a bounded number set up at a time."""

from __future__ import annotations

import base64
import contextlib
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import paramiko

from testbed.remote.errors import RemoteError
from testbed.remote.keys import RunKeys
from testbed.remote.sshd import USER

MAX_SETUPS = 8
"""Connections set up at a time: a wide fan-out only queues up for the processor."""

_RETRY_S = 0.02

OpenSocket = Callable[[tuple[str, int], float], socket.socket]
"""(address, port), timeout in seconds -> connected TCP socket. Handed in where
the hosts are reached from another network namespace than the caller's."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class SshTarget:
    """A host: its name for people, its management address for us."""

    name: str
    address: str
    port: int = 22


class Connection:
    """An authenticated SSH connection to one host. Thread-safe."""

    def __init__(self, target: SshTarget, transport: paramiko.Transport) -> None:
        self.target = target
        self._transport = transport

    @property
    def is_active(self) -> bool:
        """Whether the connection still stands."""
        return self._transport.is_active()

    def open_session(self, timeout_s: float = 10) -> paramiko.Channel:
        """A new channel for one command. Raises RemoteError naming the host."""
        with self._named("opening a session"):
            return self._transport.open_session(timeout=timeout_s)

    def put(self, local: Path, remote: str) -> None:
        """Copy a file to the host. Raises RemoteError naming host and file."""
        with self._named(f"copying {local} to {remote}"), self._sftp() as sftp:
            sftp.put(str(local), remote)

    def get(self, remote: str, local: Path) -> None:
        """Copy a file from the host. Raises RemoteError naming host and file."""
        with self._named(f"copying {remote} to {local}"), self._sftp() as sftp:
            sftp.get(remote, str(local))

    def close(self) -> None:
        """End the connection and everything that runs over it."""
        self._transport.close()

    def _sftp(self) -> paramiko.SFTPClient:
        sftp = paramiko.SFTPClient.from_transport(self._transport)
        assert sftp is not None  # None only without a transport
        return sftp

    @contextlib.contextmanager
    def _named(self, what: str) -> Iterator[None]:
        try:
            yield
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise RemoteError(
                f"{what} failed on host {self.target.name}: {_reason(error)}"
            ) from error


def connect(
    target: SshTarget,
    keys: RunKeys,
    timeout_s: float = 10,
    open_socket: OpenSocket = socket.create_connection,
) -> Connection:
    """Connect to a host whose sshd may be starting still.

    A refused connection is tried again until `timeout_s` is over. Raises
    RemoteError that names the host and whether it was the network, the host key
    or our key.
    """
    try:
        sock = _open(target, time.monotonic() + timeout_s, timeout_s, open_socket)
        transport = paramiko.Transport(sock)
    except (OSError, paramiko.SSHException) as error:
        raise _failure(target, error) from error
    transport.banner_timeout = transport.auth_timeout = timeout_s
    try:
        transport.connect(_pinned_key(keys), USER, pkey=_client_key(keys))
    except (OSError, EOFError, paramiko.SSHException) as error:
        transport.close()
        raise _failure(target, error) from error
    return Connection(target, transport)


def _open(
    target: SshTarget, until_s: float, timeout_s: float, open_socket: OpenSocket
) -> socket.socket:
    while True:
        try:
            sock = open_socket((target.address, target.port), timeout_s)
            break
        except ConnectionRefusedError:
            if time.monotonic() >= until_s:
                raise
            time.sleep(_RETRY_S)  # nothing tells a client when a listener appears
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _client_key(keys: RunKeys) -> paramiko.PKey:
    return paramiko.Ed25519Key.from_private_key_file(str(keys.client_key))


def _pinned_key(keys: RunKeys) -> paramiko.PKey:
    encoded = keys.host_public_key.read_text().split()[1]
    return paramiko.Ed25519Key(data=base64.b64decode(encoded))


def _failure(target: SshTarget, error: Exception) -> RemoteError:
    where = f"host {target.name} ({target.address} port {target.port})"
    if isinstance(error, paramiko.AuthenticationException):
        return RemoteError(
            f"{where} refused this run's key: it belongs to another run, "
            "take the instance down and up again"
        )
    if isinstance(error, paramiko.SSHException) and "host key" in str(error):
        return RemoteError(
            f"{where} shows another host key than this run's: something else listens "
            "there, take the instance down and up again"
        )
    return RemoteError(f"{where} cannot be reached over SSH: {_reason(error)}")


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__


def in_parallel(
    work: Callable[[_Item], _Result], items: Iterable[_Item], limit: int = MAX_SETUPS
) -> list[_Result]:
    """`work` on every item, at most `limit` at a time; results in order.

    After the first error nothing new is begun; what runs is waited for, then the
    error is raised.
    """
    with ThreadPoolExecutor(limit, "remote") as pool:
        try:
            futures = [pool.submit(work, item) for item in items]
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
        except BaseException:  # also Ctrl-C while waiting
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [future.result() for future in futures]
