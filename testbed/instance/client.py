"""Talking to a running instance over its control socket."""

from __future__ import annotations

import socket
from typing import Any

from testbed import errors, rpc
from testbed.errors import InstanceError, MachineError, TestbedError
from testbed.instance.layout import Layout, Liveness

DEFAULT_TIMEOUT_S = 120.0


class Control:
    """A connection to the instance ``name``; use as a context manager.

    Raises `InstanceError` where the instance is absent, dead or not up yet and
    `MachineError` where the caller may not talk to it.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._socket = _connect(Layout(name))
        self._decoder, self._next_id = rpc.Decoder(), 0

    def __enter__(self) -> Control:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._socket.close()

    def call(self, method: str, params: dict[str, Any] | None = None,
             timeout_s: float = DEFAULT_TIMEOUT_S) -> Any:
        """Ask the instance for ``method`` and wait for its answer.

        Raises what the instance raised, by class, and `InstanceError` where it
        went down meanwhile.
        """
        self._next_id += 1
        self._socket.settimeout(timeout_s)
        try:
            self._socket.sendall(rpc.encode(rpc.Request(self._next_id, method, params or {})))
            while data := self._socket.recv(1 << 20):
                for message in self._decoder.feed(data):
                    # A call that was interrupted has left its answer behind.
                    if getattr(message, "id", self._next_id) == self._next_id:
                        return _unwrap(message)
        except TimeoutError:
            raise TestbedError(
                f"instance '{self._name}' did not answer {method} within {timeout_s:g} s; "
                f"see its log {Layout(self._name).log}"
            ) from None
        except OSError as error:
            raise InstanceError(f"lost the instance '{self._name}' ({error.strerror}); "
                                "see `testbed status`") from None
        raise InstanceError(f"instance '{self._name}' went down; bring it up again")


def _unwrap(message: rpc.Message) -> Any:
    if isinstance(message, rpc.Response):
        return message.result
    if isinstance(message, rpc.Failure):
        kind = getattr(errors, message.kind, TestbedError)
        raise kind(message.message)
    raise TestbedError(f"the instance sent {type(message).__name__} instead of an answer; "
                       "client and instance are different versions: down, then up")


def _connect(layout: Layout) -> socket.socket:
    suffix = layout.name_option
    liveness = layout.liveness()
    if liveness is Liveness.ABSENT:
        raise InstanceError(f"instance '{layout.name}' is not up; start it with "
                            f"`sudo python -m testbed up{suffix}`")
    if liveness is Liveness.DEAD:
        raise InstanceError(f"instance '{layout.name}' is dead (its process ended); clean up "
                            f"with `sudo python -m testbed down{suffix}`")
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(str(layout.control_socket))
    except PermissionError:
        connection.close()
        raise MachineError(f"instance '{layout.name}' belongs to root; use sudo") from None
    except OSError:
        connection.close()
        raise InstanceError(f"instance '{layout.name}' is still coming up or going down; "
                            "try again in a moment") from None
    return connection
