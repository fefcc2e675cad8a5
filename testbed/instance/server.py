"""The control socket's other end: one thread per client, one answer per request."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from testbed import rpc
from testbed.errors import TestbedError, UsageError

Handler = Callable[..., Any]


class ControlServer:
    """Serves ``handlers`` (method name -> function of keyword parameters) on a unix socket."""

    def __init__(self, path: Path, handlers: Mapping[str, Handler]) -> None:
        self._path, self._handlers = path, handlers
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

    def start(self) -> None:
        """Listen, readable for root only, and serve in the background."""
        hidden = self._path.with_suffix(".new")
        self._listener.bind(str(hidden))
        os.chmod(hidden, 0o600)
        self._listener.listen(16)
        hidden.rename(self._path)  # clients never meet a socket nobody listens on
        threading.Thread(target=self._accept, name="control", daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError as error:  # out of descriptors for a moment
                print(f"control socket: {error}", file=sys.stderr)
                time.sleep(0.1)
                continue
            threading.Thread(target=self._serve, args=(connection,), name="client",
                             daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        decoder = rpc.Decoder()
        with connection, contextlib.suppress(OSError, rpc.RpcError):
            while data := connection.recv(1 << 16):
                for message in decoder.feed(data):
                    if isinstance(message, rpc.Request):
                        connection.sendall(_encoded(self._answer(message)))

    def _answer(self, request: rpc.Request) -> rpc.Message:
        try:
            handler = self._handlers.get(request.method)
            if handler is None:
                raise UsageError(f"this instance has no method {request.method}; it was brought "
                                 "up by another version: down, then up")
            return rpc.Response(request.id, handler(**request.params))
        except TestbedError as error:
            return _failure(request.id, error)
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            text = f"{request.method} failed inside the instance ({error!r}); see its log"
            return rpc.Failure(request.id, "TestbedError", text)


def _failure(request_id: int, error: TestbedError) -> rpc.Failure:
    """The error under the nearest class that clients know: those of testbed.errors."""
    known = next(c for c in type(error).__mro__ if c.__module__ == "testbed.errors")
    return rpc.Failure(request_id, known.__name__, str(error))


def _encoded(message: rpc.Message) -> bytes:
    try:
        return rpc.encode(message)
    except rpc.RpcError as error:
        assert isinstance(message, rpc.Response)
        return rpc.encode(rpc.failure_of(message.id, error))
