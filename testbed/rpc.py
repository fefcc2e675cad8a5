"""Framed JSON between processes: the agents' RPC and the control socket.

Sans-IO: bytes go in and messages come out, messages go in and bytes come out;
whoever owns the pipe or socket moves them. A frame is a 4-byte big-endian
length and that many bytes of UTF-8 JSON. Three shapes of object travel:

    request       {"id": 7, "method": "probe", "params": {...}}
    response      {"id": 7, "result": ...}
                  {"id": 7, "error": {"kind": "UsageError", "message": "..."}}
    notification  {"event": "port", ...}

The peer is not trusted: whatever it sends, `Decoder` raises `RpcError` or
nothing, and never allocates more than the peer really sent.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

from testbed.errors import TestbedError

MAGIC = b"mrc-testbed-rpc 1\n"
"""The line a server on a pipe writes before its first frame: what came before
it (a login banner, a chatty shell profile) was not meant for us."""

MAX_FRAME_BYTES = 64 * 1024 * 1024
MAX_ID = 2**53 - 1  # beyond it JSON readers in other languages round

_LENGTH_BYTES = 4


class RpcError(TestbedError):
    """The peer broke the framing, or a message cannot be framed."""


@dataclass(frozen=True, slots=True)
class Request:
    """A call: `id` (0..2^53-1) comes back in the one response to it."""

    id: int
    method: str
    params: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Response:
    """The answer to request `id`: any JSON value."""

    id: int
    result: Any = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Request `id` was refused: `kind` is the name of an error class, `message` a sentence."""

    id: int
    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class Notification:
    """Something happened that nobody asked for; `data` holds every key but `event`."""

    event: str
    data: dict[str, Any] = field(default_factory=dict)


Message = Request | Response | Failure | Notification


def encode(message: Message) -> bytes:
    """One frame, length included.

    Raises RpcError where the content is not JSON (NaN, a set, bytes) or the
    frame would exceed `MAX_FRAME_BYTES`.
    """
    try:
        body = json.dumps(_to_object(message), allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise RpcError(
            f"{type(message).__name__} cannot be sent, it is not JSON ({error}): "
            "send plain numbers, strings, lists and string-keyed objects"
        ) from None
    if len(body) > MAX_FRAME_BYTES:
        raise RpcError(
            f"{type(message).__name__} of {len(body)} bytes is over the frame limit of "
            f"{MAX_FRAME_BYTES}: split the request"
        )
    return len(body).to_bytes(_LENGTH_BYTES, "big") + body


def _to_object(message: Message) -> dict[str, Any]:
    match message:
        case Request(id, method, params):
            return {"id": id, "method": method, "params": params}
        case Response(id, result):
            return {"id": id, "result": result}
        case Failure(id, kind, text):
            return {"id": id, "error": {"kind": kind, "message": text}}
        case Notification(event, data):
            return {**data, "event": event}


class Decoder:
    """Turns a byte stream, cut anywhere, into messages.

    After the first `RpcError` the position in the stream is lost, so every
    later call raises the same error: the connection has to be closed.
    """

    def __init__(self, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._max_frame_bytes = max_frame_bytes
        self._buffer = bytearray()
        self._broken: RpcError | None = None

    @property
    def buffered_bytes(self) -> int:
        """Bytes received that are not part of a complete message yet."""
        return len(self._buffer)

    def feed(self, data: bytes | bytearray | memoryview) -> Iterator[Message]:
        """Take what arrived and yield the messages it completes, in order.

        The bytes are taken at once, also if the iterator is not consumed;
        messages left in it come out of the next call. Raises RpcError, on
        iteration, at the first frame that is too long or is not a message.
        """
        if self._broken is None:
            self._buffer += data
        return self._messages()

    def _messages(self) -> Iterator[Message]:
        while (body := self._take_body()) is not None:
            try:
                message = _to_message(body)
            except RpcError as error:
                self._break(error)
            yield message

    def _take_body(self) -> bytes | None:
        if self._broken is not None:
            raise self._broken
        if len(self._buffer) < _LENGTH_BYTES:
            return None
        length = int.from_bytes(self._buffer[:_LENGTH_BYTES], "big")
        if length > self._max_frame_bytes:
            self._break(RpcError(
                f"the peer announced a frame of {length} bytes, the limit is "
                f"{self._max_frame_bytes}: it speaks another protocol, close the connection"
            ))
        end = _LENGTH_BYTES + length
        if len(self._buffer) < end:
            return None
        body = bytes(self._buffer[_LENGTH_BYTES:end])
        del self._buffer[:end]
        return body

    def _break(self, error: RpcError) -> NoReturn:
        self._broken = error
        self._buffer.clear()
        raise error


def _to_message(body: bytes) -> Message:
    try:
        # RecursionError: a few kilobytes of "[" nest deeper than Python's stack.
        value = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise _not_a_message(f"is not JSON ({error})", body) from None
    if not isinstance(value, dict):
        raise _not_a_message("is not an object", body)
    if "event" in value:
        return _to_notification(value, body)
    if not _is_id(value.get("id")):
        raise _not_a_message("has neither an event nor a valid id", body)
    return _to_call(value, body)


def _to_notification(value: dict[str, Any], body: bytes) -> Notification:
    event = value.pop("event")
    if not isinstance(event, str):
        raise _not_a_message("has an event that is not a string", body)
    return Notification(event, value)


def _to_call(value: dict[str, Any], body: bytes) -> Message:
    match value:
        case {"method": str(method), **rest} if isinstance(rest.get("params", {}), dict):
            return Request(value["id"], method, rest.get("params", {}))
        case {"error": {"kind": str(kind), "message": str(text)}}:
            return Failure(value["id"], kind, text)
        case {"result": result}:
            return Response(value["id"], result)
    raise _not_a_message("is neither request, response nor notification", body)


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_ID


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _not_a_message(why: str, body: bytes) -> RpcError:
    start = body[:40].decode("utf-8", "backslashreplace")
    return RpcError(
        f"a frame from the peer {why}, it starts with {start!r}: the peer does not speak "
        "this protocol or another version of it, close the connection"
    )


def failure_of(request_id: int, error: Exception) -> Failure:
    """The answer that carries `error` to the caller, by class name and text."""
    return Failure(request_id, type(error).__name__, str(error))
