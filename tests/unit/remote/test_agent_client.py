"""testbed/remote/agent_client.py against a channel made of queues: no SSH, no process."""

from __future__ import annotations

import queue
import sysconfig
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from testbed.remote.agent_client import AgentClient, agent_command
from testbed.remote.connect import Connection, SshTarget
from testbed.remote.errors import AgentDied, AgentRefused, RemoteError
from testbed.remote.pulse import Pulse
from testbed.rpc import (
    MAGIC,
    Decoder,
    Failure,
    Message,
    Notification,
    Request,
    Response,
    encode,
)


class FakeChannel:
    """As much of paramiko's channel as the client uses."""

    def __init__(self) -> None:
        self.command = ""
        self.exit_status = -1
        self.eof_received = False
        self.status_event = threading.Event()
        self.status_event.set()
        self.requests: queue.Queue[Request] = queue.Queue()
        self.is_stuck = False
        self.stderr = b""
        self._incoming: queue.Queue[bytes] = queue.Queue()
        self._decoder = Decoder()

    def exec_command(self, command: str) -> None:
        self.command = command

    def recv(self, _: int) -> bytes:
        return self._incoming.get()

    def sendall(self, data: bytes) -> None:
        for message in self._decoder.feed(data):
            self.requests.put(cast(Request, message))

    def send_ready(self) -> bool:
        return not self.is_stuck

    def recv_stderr_ready(self) -> bool:
        return bool(self.stderr)

    def recv_stderr(self, size: int) -> bytes:
        data, self.stderr = self.stderr[:size], self.stderr[size:]
        return data

    def close(self) -> None:
        self._incoming.put(b"")

    def say(self, *parts: bytes | Message) -> None:
        for part in parts:
            self._incoming.put(part if isinstance(part, bytes) else encode(part))

    def end(self, exit_status: int = -1, stderr: bytes = b"", is_lost: bool = False) -> None:
        self.exit_status, self.stderr, self.eof_received = exit_status, stderr, not is_lost
        self._incoming.put(b"")

    def next_request(self) -> Request:
        return self.requests.get(timeout=10)


class FakeConnection:
    target = SshTarget("h3", "198.18.0.3")

    def __init__(self, channel: FakeChannel) -> None:
        self._channel = channel

    def open_session(self) -> FakeChannel:
        return self._channel


class Bench:
    def __init__(self) -> None:
        self.channel = FakeChannel()
        self.deaths: queue.Queue[tuple[str, str]] = queue.Queue()
        self.heard: queue.Queue[tuple[str, Notification]] = queue.Queue()
        self.client = AgentClient(
            cast(Connection, FakeConnection(self.channel)),
            lambda *death: self.deaths.put(death), lambda *note: self.heard.put(note),
        )

    def start(self) -> None:
        self.channel.say(MAGIC)
        self.client.start(["python", "-m", "agent"], 10)

    def death(self) -> tuple[str, str]:
        return self.deaths.get(timeout=10)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    bench.start()
    yield bench
    bench.channel.end()


def answer(bench: Bench, reply: Callable[[Request], Message]) -> None:
    """Answer the next request from another thread."""
    channel = bench.channel
    threading.Thread(target=lambda: channel.say(reply(channel.next_request()))).start()


def test_banner_before_the_magic_line_is_skipped() -> None:
    bench = Bench()
    bench.channel.say(b"Welcome!\r\nmrc-test", b"bed is fun\nyou have mail\n" + MAGIC[:7],
                      MAGIC[7:] + encode(Notification("port", {"plane": 2})))
    bench.client.start(["a b", "c"], 10)
    assert bench.channel.command == "exec 'a b' c"
    assert bench.heard.get(timeout=10) == ("h3", Notification("port", {"plane": 2}))
    bench.channel.end()


def test_endless_banner_is_an_error() -> None:
    bench = Bench()
    bench.channel.say(b"x" * 70_000)
    with pytest.raises(AgentDied, match="host h3 broke the protocol: no agent answered"):
        bench.client.start(["x"], 10)


def test_silence_after_the_start_is_an_error() -> None:
    bench = Bench()
    with pytest.raises(AgentDied, match=r"agent of host h3 said nothing within 0\.01 s"):
        bench.client.start(["x"], 0.01)
    assert bench.deaths.empty()


def test_end_before_the_magic_line_is_an_error_with_the_last_words() -> None:
    bench = Bench()
    bench.channel.end(127, b"warning: x\nsh: 1: python: not found\n\n")
    with pytest.raises(AgentDied, match=r"h3 ended with exit status 127: sh: 1: python: not"):
        bench.client.start(["x"], 10)
    assert bench.deaths.empty()
    assert not bench.client.is_alive


def test_call_returns_the_result(bench: Bench) -> None:
    answer(bench, lambda request: Response(request.id, [request.method, request.params]))
    assert bench.client.call("probe", {"x": 1}) == ["probe", {"x": 1}]


def test_answers_may_come_in_any_order(bench: Bench) -> None:
    futures = [bench.client.submit("m", {"n": n}) for n in range(3)]
    requests = [bench.channel.next_request() for _ in range(3)]
    for request in reversed(requests):
        bench.channel.say(Response(request.id, request.params["n"]))
    assert [future.result(10) for future in futures] == [0, 1, 2]


def test_refusal_names_host_and_method(bench: Bench) -> None:
    answer(bench, lambda request: Failure(request.id, "ParamsError", "tdf is 0"))
    with pytest.raises(AgentRefused, match="host h3 refused 'set_tdf': tdf is 0") as refused:
        bench.client.call("set_tdf")
    assert refused.value.kind == "ParamsError"


def test_call_given_up_on_is_forgotten(bench: Bench) -> None:
    with pytest.raises(RemoteError, match=r"h3 did not answer 'slow' within 0\.01 s"):
        bench.client.call("slow", timeout_s=0.01)
    slow = bench.channel.next_request()
    answer(bench, lambda request: Response(request.id, "second"))
    bench.channel.say(Response(slow.id, "first, too late"))
    assert bench.client.call("fast") == "second"


@pytest.mark.parametrize(("end", "reason"), [
    ({"exit_status": 5, "stderr": b"no message for 10 s\n"},
     "the agent of host h3 ended with exit status 5: no message for 10 s"),
    ({}, "the agent of host h3 was killed by a signal"),
    ({"is_lost": True}, "the SSH connection to host h3 was lost, and its agent with it"),
])
def test_death_is_told_once_and_fails_every_call(end: dict[str, Any], reason: str) -> None:
    bench = Bench()
    bench.start()
    under_way = [bench.client.submit("probe") for _ in range(3)]
    bench.channel.end(**end)
    assert bench.death() == ("h3", reason)
    for future in under_way:
        with pytest.raises(AgentDied, match="h3"):
            future.result(10)
    with pytest.raises(AgentDied, match="h3"):
        bench.client.submit("probe")
    assert bench.client.death == reason
    assert not bench.client.is_alive
    bench.client.close()
    assert bench.deaths.empty()


def test_nonsense_from_the_agent_is_its_death(bench: Bench) -> None:
    bench.channel.say(b"\xff" * 8)
    assert "agent of host h3 broke the protocol" in bench.death()[1]


def test_close_asks_waits_and_is_no_death() -> None:
    bench = Bench()
    bench.start()

    def agent() -> None:
        request = bench.channel.next_request()
        bench.channel.say(Response(request.id, None))
        asked.append(request.method)
        bench.channel.end(0)

    asked: list[str] = []
    threading.Thread(target=agent).start()
    bench.client.close()
    assert asked == ["shutdown"]
    assert bench.deaths.empty()


def test_request_that_is_no_json_leaves_nothing_behind(bench: Bench) -> None:
    with pytest.raises(RemoteError.__base__, match="not JSON"):
        bench.client.call("probe", {"paths": {1, 2}})
    assert bench.client._pending == {}


def test_beat_sends_and_waits_for_nothing(bench: Bench) -> None:
    bench.client.beat()
    assert bench.channel.next_request().method == "heartbeat"
    bench.channel.is_stuck = True
    bench.client.beat()
    bench.channel.is_stuck = False
    with bench.client._send_lock:
        bench.client.beat()
    bench.client.submit("hello")
    assert bench.channel.next_request().method == "hello"


def test_pulse_beats_until_stopped(bench: Bench) -> None:
    pulse = Pulse(period_s=0.001)
    pulse.add(bench.client)
    pulse.start()
    assert [bench.channel.next_request().method for _ in range(3)] == ["heartbeat"] * 3
    pulse.stop()
    while not bench.channel.requests.empty():
        bench.channel.requests.get()
    with pytest.raises(queue.Empty):
        bench.channel.requests.get(timeout=0.01)


def test_pulse_leaves_removed_and_dead_agents_alone(bench: Bench) -> None:
    dead = Bench()
    dead.start()
    dead.channel.end()
    dead.death()
    pulse = Pulse(period_s=0.001)
    pulse.add(bench.client)
    pulse.add(dead.client)  # same name: takes the place of the first
    pulse.remove(bench.client)
    pulse.start()
    pulse.stop()
    assert bench.channel.requests.empty()
    assert dead.channel.requests.empty()


def test_command_names_interpreter_and_checkout() -> None:
    packages = sysconfig.get_paths()["purelib"]  # for the CRC
    assert agent_command("/v/bin/python", Path("/c")) == [
        "env", f"PYTHONPATH=/c:{packages}", "OPENBLAS_NUM_THREADS=1", "/v/bin/python", "-S", "-P",
        "-m", "testbed.agent",
    ]
