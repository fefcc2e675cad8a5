"""testbed/agent/service.py over pipes: greeting, refusals, and every way to end."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.agent.service import Agent
from testbed.rpc import MAGIC, Decoder, Failure, Message, Request, Response, encode

CHECKOUT = Path(__file__).resolve().parents[3]
COMMAND = [sys.executable, "-S", "-P", "-m", "testbed.agent"]


class Client:
    """The other end of an agent that runs in a thread."""

    def __init__(self) -> None:
        agent_reads, self.input = os.pipe()
        self.output, agent_writes = os.pipe()
        self.exit_codes: list[int] = []
        self._decoder = Decoder()
        self._agent_fds = (agent_reads, agent_writes)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        self.exit_codes.append(Agent(*self._agent_fds).run())
        os.close(self._agent_fds[1])

    def read_magic(self) -> bytes:
        return os.read(self.output, len(MAGIC))

    def send(self, data: bytes) -> None:
        os.write(self.input, data)

    def receive(self, count: int) -> list[Message]:
        got: list[Message] = []
        while len(got) < count:
            got += self._decoder.feed(os.read(self.output, 65536))
        return got

    def end(self) -> int:
        self.thread.join(10)
        return self.exit_codes[0]


@pytest.fixture
def client() -> Iterator[Client]:
    client = Client()
    assert client.read_magic() == MAGIC
    yield client
    os.close(client.input)
    client.thread.join(10)
    os.close(client.output)
    os.close(client._agent_fds[0])


def test_hello_before_configure(client: Client) -> None:
    client.send(encode(Request(5, "hello")))
    (answer,) = client.receive(1)
    assert isinstance(answer, Response)
    assert answer.id == 5
    assert answer.result["pid"] == os.getpid()
    assert (answer.result["host"], answer.result["ports"]) == (None, [])
    assert answer.result["clock"]["monotonic_ns"] > 0


def test_requests_in_one_write_are_all_answered_in_order(client: Client) -> None:
    client.send(b"".join(encode(Request(i, "heartbeat")) for i in range(100)))
    assert client.receive(100) == [Response(i, None) for i in range(100)]


def test_refusals_name_the_reason_and_do_not_end_it(client: Client) -> None:
    client.send(encode(Request(1, "fly")) + encode(Request(2, "counters"))
                + encode(Request(3, "configure")) + encode(Request(4, "heartbeat")))
    unknown, early, bad, fine = client.receive(4)
    assert unknown == Failure(1, "ParamsError", "no method 'fly': there are configure, "
                              "connect, control, counters, heartbeat, hello, paths, prepare, "
                              "probe, progress, release, results, set_tdf, shutdown, start, stop, "
                              "verify")
    assert isinstance(early, Failure)
    assert "configure first" in early.message
    assert isinstance(bad, Failure)
    assert "lacks 'host'" in bad.message
    assert fine == Response(4, None)


@pytest.mark.parametrize(("method", "key"), [("verify", "peers"), ("connect", "ends")])
def test_rows_of_peers_are_a_list_that_names_each_connection_once(
    client: Client, method: str, key: str
) -> None:
    row = {"connection": 1}
    given: list[object] = [{}, {"1": row}, [row, row], [{"connection": "1"}], [{}], [row]]
    client.send(b"".join(encode(Request(at, method, {key: rows}))
                         for at, rows in enumerate(given)))
    client.send(encode(Request(9, "heartbeat")))
    *refused, early, fine = client.receive(len(given) + 1)
    sentences = [answer.message for answer in refused if isinstance(answer, Failure)]
    assert sentences[:2] == [f"{method}.{key} is {rows}: give a list" for rows in given[:2]]
    assert [text.partition(" is told")[0] for text in sentences[2:]] == [
        "connection 1", "connection 1", "connection None"]
    assert isinstance(early, Failure)
    assert "configure first" in early.message  # nothing was wrong with the rows
    assert fine == Response(9, None)


def test_shutdown_is_answered_and_ends_it(client: Client) -> None:
    client.send(encode(Request(1, "shutdown")))
    assert client.receive(1) == [Response(1, None)]
    assert client.end() == 0


def test_client_that_does_not_read_cannot_hold_it_up(client: Client) -> None:
    """Answers far beyond a pipe's 64 KB wait in memory; later requests are still read."""
    count = 20_000
    client.send(b"".join(encode(Request(i, "heartbeat")) for i in range(count)))
    assert len(client.receive(count)) == count


def test_end_of_input_ends_it() -> None:
    client = Client()
    client.read_magic()
    os.close(client.input)
    assert client.end() == 0
    os.close(client.output)
    os.close(client._agent_fds[0])


@pytest.mark.parametrize("data", [b"\xff" * 64, encode(Response(1, 2))])
def test_nonsense_ends_it_with_an_error(
    client: Client, data: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    client.send(data)
    assert client.end() == 5
    assert capsys.readouterr().err


def test_reader_that_is_gone_ends_it() -> None:
    agent = subprocess.Popen(COMMAND, cwd=CHECKOUT, stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, env={"PYTHONPATH": str(CHECKOUT)})
    assert agent.stdin is not None
    assert agent.stdout is not None
    assert agent.stdout.read(len(MAGIC)) == MAGIC
    agent.stdout.close()
    agent.stdin.write(encode(Request(1, "hello")))
    agent.stdin.flush()
    assert agent.wait(10) == 0
    agent.stdin.close()


def test_file_for_input_is_explained(tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(b"")
    with (tmp_path / "input").open() as file:
        done = subprocess.run(COMMAND, cwd=CHECKOUT, stdin=file, capture_output=True,
                              check=False, env={"PYTHONPATH": str(CHECKOUT)})
    assert done.returncode == 5
    assert done.stderr.startswith(b"the agent's standard input is a file")


def test_it_starts_without_heavy_imports() -> None:
    """Start-up time and memory of 64 agents hang on this list."""
    heavy = {"asyncio", "paramiko", "pyroute2", "numpy", "pandas", "argparse", "logging", "ssl",
             "threading", "concurrent", "yaml", "subprocess"}
    done = subprocess.run(
        [sys.executable, "-S", "-c",
         "import sys, testbed.agent.service; print(*sys.modules)"],
        cwd=CHECKOUT, capture_output=True, text=True, check=True,
    )
    assert heavy.isdisjoint(done.stdout.split())
