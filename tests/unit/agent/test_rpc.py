"""testbed/rpc.py: whatever is sent arrives, however cut; whatever is wrong raises RpcError."""

from __future__ import annotations

import contextlib
import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.errors import TestbedError, UsageError
from testbed.rpc import (
    MAX_FRAME_BYTES,
    MAX_ID,
    Decoder,
    Failure,
    Message,
    Notification,
    Request,
    Response,
    RpcError,
    encode,
    failure_of,
)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(), VALUES, max_size=3)
IDS = st.integers(0, MAX_ID)
MESSAGES = st.one_of(
    st.builds(Request, IDS, st.text(), OBJECTS),
    st.builds(Response, IDS, VALUES),
    st.builds(Failure, IDS, st.text(), st.text()),
    st.builds(Notification, st.text(), OBJECTS.filter(lambda data: "event" not in data)),
)


def frame(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


def decode(*parts: bytes) -> list[Message]:
    decoder = Decoder()
    return [message for part in parts for message in decoder.feed(part)]


@given(st.lists(MESSAGES, max_size=4), st.data())
def test_messages_survive_any_cut(messages: list[Message], data: st.DataObject) -> None:
    stream = b"".join(map(encode, messages))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    edges = [0, *cuts, len(stream)]
    parts = [stream[a:b] for a, b in itertools.pairwise(edges)]
    assert decode(*parts) == messages


@given(MESSAGES)
def test_messages_survive_byte_by_byte(message: Message) -> None:
    assert decode(*(bytes([byte]) for byte in encode(message))) == [message]


@given(st.lists(st.binary(max_size=64), max_size=6))
def test_rubbish_raises_only_rpc_error(parts: list[bytes]) -> None:
    with contextlib.suppress(RpcError):
        decode(*parts)


@given(VALUES | st.binary())
def test_framed_rubbish_raises_only_rpc_error(value: Any) -> None:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    with contextlib.suppress(RpcError):
        decode(frame(body))


@pytest.mark.parametrize("body", [
    b"", b"null", b"[]", b"7", b'"x"', b"{}", b"{", b"\xff\xfe", b'{"id": 1}',
    b'{"id": -1, "result": 1}', b'{"id": true, "result": 1}', b'{"id": 1.0, "result": 1}',
    b'{"id": 9007199254740992, "result": 1}', b'{"id": "1", "method": "x"}',
    b'{"id": 1, "method": 5}', b'{"id": 1, "method": "x", "params": []}',
    b'{"id": 1, "error": "x"}', b'{"id": 1, "error": {"kind": "x"}}',
    b'{"event": 5}', b'{"id": 1, "result": NaN}', b'{"id": 1, "result": -Infinity}',
    b'{"id": 1, "result": ' + b"9" * 5000 + b"}",
    b"[" * 100_000, b'{"a":' * 100_000,
])  # fmt: skip
def test_frames_that_are_no_message(body: bytes) -> None:
    with pytest.raises(RpcError, match="close the connection"):
        decode(frame(body))


def test_length_is_checked_before_the_bytes_are_there() -> None:
    with pytest.raises(RpcError, match=str(MAX_FRAME_BYTES + 1)):
        decode((MAX_FRAME_BYTES + 1).to_bytes(4, "big"))
    assert decode(MAX_FRAME_BYTES.to_bytes(4, "big")) == []


def test_good_messages_before_a_bad_frame_are_delivered() -> None:
    messages = Decoder().feed(encode(Request(1, "x")) + frame(b"?"))
    assert next(messages) == Request(1, "x")
    with pytest.raises(RpcError):
        next(messages)


def test_after_an_error_nothing_is_accepted_or_kept() -> None:
    decoder = Decoder()
    with pytest.raises(RpcError) as first:
        list(decoder.feed(frame(b"?")))
    with pytest.raises(RpcError) as second:
        list(decoder.feed(encode(Request(1, "x"))))
    assert second.value is first.value
    assert decoder.buffered_bytes == 0


def test_messages_left_in_the_iterator_come_with_the_next_call() -> None:
    decoder = Decoder()
    decoder.feed(encode(Request(1, "a")))
    assert list(decoder.feed(encode(Request(2, "b")))) == [Request(1, "a"), Request(2, "b")]


def test_params_may_be_left_out() -> None:
    assert decode(frame(b'{"id": 3, "method": "hello"}')) == [Request(3, "hello", {})]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"x", {(1, 2): 3}])
def test_what_is_not_json_is_not_sent(value: Any) -> None:
    with pytest.raises(RpcError, match="not JSON"):
        encode(Response(1, value))


def test_what_is_nested_too_deep_is_not_sent() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(RpcError, match="not JSON"):
        encode(Response(1, value))


def test_what_is_too_long_is_not_sent() -> None:
    with pytest.raises(RpcError, match="over the frame limit"):
        encode(Response(1, "x" * MAX_FRAME_BYTES))


def test_failure_carries_class_and_text() -> None:
    assert failure_of(4, UsageError("no such host")) == Failure(4, "UsageError", "no such host")
    assert issubclass(RpcError, TestbedError)
