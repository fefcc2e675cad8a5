"""A client's end of the control socket, against a server of a few lines."""

from __future__ import annotations

import fcntl
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from testbed.errors import InstanceError, MachineError, TestbedError, UsageError
from testbed.instance import client, layout
from testbed.instance.client import Control
from testbed.instance.layout import Layout
from testbed.rpc import Decoder, Failure, Message, Notification, Request, Response, encode

Reply = Callable[[Request], list[Message] | None]


class Server:
    """Answers every request with what ``reply`` says; None ends the connection."""

    def __init__(self, path: Path) -> None:
        self.reply: Reply = lambda request: [Response(request.id, request.method)]
        self.requests: list[Request] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        decoder = Decoder()
        with connection:
            while data := connection.recv(1 << 16):
                for message in decoder.feed(data):
                    assert isinstance(message, Request)
                    self.requests.append(message)
                    answers = self.reply(message)
                    if answers is None:
                        return
                    # In one piece, as they come where a client has been slow.
                    connection.sendall(b"".join(encode(answer) for answer in answers))

    def close(self) -> None:
        """Once the client has gone."""
        self.thread.join(5)
        self._listener.close()


class Interrupted:
    """A socket whose owner is hit by Ctrl-C while it waits for an answer."""

    def __init__(self, real: socket.socket) -> None:
        self.sendall, self.settimeout = real.sendall, real.settimeout

    def recv(self, _size: int) -> bytes:
        raise KeyboardInterrupt


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(layout, "RUN_DIR", tmp_path)
    Layout("lab").root.mkdir()
    return Layout("lab").root


@pytest.fixture
def alive(root: Path) -> Iterator[None]:
    """The lock is held, as by an instance that runs."""
    handle = os.open(root / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    yield
    os.close(handle)


@pytest.fixture
def server(root: Path, alive: None) -> Iterator[Server]:
    server = Server(root / "control.sock")
    yield server
    server.close()


@pytest.fixture
def control(server: Server) -> Iterator[Control]:
    with Control("lab") as control:
        yield control


def test_a_call_has_its_answer(control: Control, server: Server) -> None:
    assert control.call("status") == "status"
    server.reply = lambda request: [Response(request.id, request.params)]
    assert control.call("probe", {"src": 0}) == {"src": 0}
    assert [(request.method, request.params) for request in server.requests] == [
        ("status", {}), ("probe", {"src": 0})]


@pytest.mark.parametrize(("kind", "error"), [
    ("UsageError", UsageError), ("InstanceError", InstanceError), ("Nonsense", TestbedError),
])
def test_an_error_comes_out_by_its_class(
    control: Control, server: Server, kind: str, error: type[Exception]
) -> None:
    server.reply = lambda request: [Failure(request.id, kind, "h9 does not exist")]
    with pytest.raises(TestbedError, match=r"^h9 does not exist$") as caught:
        control.call("probe")
    assert type(caught.value) is error


def test_the_answer_an_interrupted_call_left_is_not_the_next_one_s(
    control: Control, server: Server
) -> None:
    """The first Ctrl-C of `run` falls into run_state, and run_stop follows on the same socket."""
    waiting: list[Message] = []

    def reply(request: Request) -> list[Message]:
        if request.method == "run_state":
            waiting.append(Response(request.id, "of the interrupted call"))
            return []
        return [*waiting, Response(request.id, request.method)]

    server.reply = reply
    real = control._socket
    control._socket = Interrupted(real)  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        control.call("run_state")
    control._socket = real
    assert control.call("run_stop") == "run_stop"
    server.reply = lambda request: [Response(request.id, "at last")]
    assert control.call("run_state") == "at last"


def test_nor_is_the_error_of_an_interrupted_call(control: Control, server: Server) -> None:
    left: list[Message] = [Failure(1, "UsageError", "of the call that timed out")]
    server.reply = lambda request: []
    with pytest.raises(TestbedError, match=r"did not answer survey within 0\.01 s; see its log"):
        control.call("survey", timeout_s=0.01)
    server.reply = lambda request: [*left, Response(request.id, 5)]
    assert control.call("status") == 5


def test_a_late_answer_that_comes_alone_is_passed_over(control: Control, server: Server) -> None:
    server.reply = lambda request: []
    with pytest.raises(TestbedError):
        control.call("survey", timeout_s=0.01)
    server.reply = lambda request: [Response(1, "too late")]
    with pytest.raises(TestbedError, match="did not answer status"):
        control.call("status", timeout_s=0.05)
    server.reply = lambda request: [Response(request.id, "mine")]
    assert control.call("status") == "mine"


def test_what_is_no_answer_is_another_version(control: Control, server: Server) -> None:
    server.reply = lambda request: [Notification("port", {})]
    with pytest.raises(TestbedError, match="sent Notification instead of an answer"):
        control.call("status")


def test_an_instance_that_goes_down_meanwhile(control: Control, server: Server) -> None:
    server.reply = lambda request: None
    with pytest.raises(InstanceError, match=r"instance 'lab' (went down|.*see `testbed status`)"):
        control.call("status")
    server.thread.join(5)
    with pytest.raises(InstanceError, match=r"went down|lost the instance"):
        control.call("status")


# --- Whom one cannot talk to -------------------------------------------------------------


@pytest.mark.parametrize(("name", "sentence"), [
    ("other", "instance 'other' is not up; start it with `sudo python -m testbed up --name"),
    ("default", "start it with `sudo python -m testbed up`"),
    ("lab", "instance 'lab' is dead .* clean up with `sudo python -m testbed down --name lab`"),
])
@pytest.mark.usefixtures("root")
def test_an_instance_that_is_absent_or_dead(name: str, sentence: str) -> None:
    with pytest.raises(InstanceError, match=sentence):
        Control(name)


@pytest.mark.usefixtures("alive")
def test_an_instance_that_is_coming_up() -> None:
    with pytest.raises(InstanceError, match="still coming up or going down; try again"):
        Control("lab")


@pytest.mark.usefixtures("alive")
@pytest.mark.parametrize(("error", "raised", "sentence"), [
    (PermissionError(13, "Permission denied"), MachineError, "belongs to root; use sudo"),
    (ConnectionRefusedError(111, "refused"), InstanceError, "still coming up or going down"),
])
def test_a_socket_that_cannot_be_connected_is_closed(
    monkeypatch: pytest.MonkeyPatch, error: OSError, raised: type[Exception], sentence: str
) -> None:
    made: list[Refusing] = []

    class Refusing(socket.socket):
        def connect(self, _address: object) -> None:
            made.append(self)
            raise error

    monkeypatch.setattr(client.socket, "socket", Refusing)
    with pytest.raises(raised, match=sentence):
        Control("lab")
    assert [found.fileno() for found in made] == [-1]


def test_the_socket_is_closed_afterwards(server: Server) -> None:
    with Control("lab") as control:
        socket_ = control._socket
        assert socket_.fileno() >= 0
    assert socket_.fileno() < 0


def test_answers_have_ids_of_their_own(control: Control, server: Server) -> None:
    for _ in range(3):
        control.call("status")
    seen = [request.id for request in server.requests]
    assert seen == sorted(set(seen))
