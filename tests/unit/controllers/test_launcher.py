"""The controller process, over loopback, with fake switches that speak OpenFlow."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from openflow_net import HEADER, Switch

from controllers import launcher
from testbed.errors import UsageError
from testbed.forwarding.plan import Plan, Rule, SwitchPlan

ROOT = Path(__file__).parents[3]
RULE = Rule(0x1809, 1, "p0-t0-4-e1", "02:00:00:00:00:03", "02:00:00:00:00:04")
T0 = SwitchPlan("p0-t0-4", 77, 0x0804, (RULE,))
T1 = SwitchPlan("p0-t1-0", 78, 0x1000, (replace(RULE, usid=0x0804),))
PLAN = Plan((T0, T1))


class Controller:
    """The launcher as a child, and the fake switches connected to it."""

    def __init__(self, plan: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "controllers.launcher", "--plan", str(plan), "--port", "0"],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.listening = self.event("listening")

    def end(self) -> None:
        """Kill and reap it, and close its pipes."""
        self.process.kill()
        with self.process:
            pass

    def event(self, name: str) -> dict[str, Any]:
        """The next event, which must be this one; a hang ends with the test's time-out."""
        assert self.process.stdout is not None
        event: dict[str, Any] = json.loads(self.process.stdout.readline())
        assert event["event"] == name, event
        return event

    def tell(self, command: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    @contextlib.contextmanager
    def connected(self, switch: Switch) -> Iterator[None]:
        """A switch whose connection lasts as long as the body."""
        address = (self.listening["host"], self.listening["port"])
        with socket.create_connection(address) as connection:
            answering = threading.Thread(target=answer, args=(switch, connection))
            answering.start()
            try:
                yield
            finally:
                connection.shutdown(socket.SHUT_RDWR)
                answering.join()


def answer(switch: Switch, connection: socket.socket) -> None:
    stream = connection.makefile("rb")
    while header := stream.read(HEADER.size):
        body = stream.read(HEADER.unpack(header)[2] - HEADER.size)
        for reply in switch.handle(header + body):
            connection.sendall(reply)


@pytest.fixture
def plan_path(tmp_path: Path) -> Path:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(PLAN.to_dict()))
    return path


@pytest.fixture
def controller(plan_path: Path) -> Iterator[Controller]:
    running = Controller(plan_path)
    yield running
    running.end()


def test_it_programs_switches_answers_and_ends_with_its_parent(
    controller: Controller, plan_path: Path
) -> None:
    assert controller.listening["host"] == "127.0.0.1"
    t0, t1 = Switch(77), Switch(78, entries_per_part=1)
    with contextlib.ExitStack() as connections:
        connections.enter_context(controller.connected(t0))
        assert controller.event("switch")["name"] == "p0-t0-4"
        with controller.connected(t1):
            assert controller.event("switch")["flows"] == 4
            assert controller.event("ready")["switches"] == 2
            controller.tell('{"cmd": "verify"}')
            assert controller.event("verified")["differences"] == {}
        assert controller.event("left")["name"] == "p0-t1-0"

        plan_path.write_text(json.dumps(Plan((replace(T0, usid=0x0805),)).to_dict()))
        controller.tell('{"cmd": "reload"}')
        assert controller.event("switch")["is_changed"] is True
        assert controller.event("ready")["switches"] == 1
        assert t0.tables[0][0].mod.match["ipv6_dst"][0] == "fcbb:bbbb:805::"

        assert controller.process.stdin is not None
        controller.process.stdin.close()
        assert controller.process.wait() == 0


def test_a_started_again_controller_leaves_the_switches_alone(plan_path: Path) -> None:
    switch = Switch(77)
    for is_changed in (True, False):
        running = Controller(plan_path)
        try:
            with running.connected(switch):
                assert running.event("switch")["is_changed"] is is_changed
        finally:
            running.end()


def test_bad_commands_are_answered_and_survived(
    controller: Controller, plan_path: Path
) -> None:
    for bad in ("nonsense", "[]", '{"cmd": "dance"}', '{"no": 1}'):
        controller.tell(bad)
        assert "send reload or verify" in controller.event("error")["message"]
    plan_path.write_text("{}")
    controller.tell('{"cmd": "reload"}')
    assert "is not a forwarding plan" in controller.event("error")["message"]
    plan_path.write_text(json.dumps(Plan((T0, replace(T1, dpid=77))).to_dict()))
    controller.tell('{"cmd": "reload"}')
    assert "one datapath id" in controller.event("error")["message"]
    controller.tell('{"cmd": "verify"}')
    assert controller.event("verified")["switches"] == 0


def test_sigterm_ends_it(controller: Controller) -> None:
    controller.process.send_signal(signal.SIGTERM)
    assert controller.process.wait() == 0


def test_a_port_in_use_is_told(plan_path: Path, controller: Controller) -> None:
    port = str(controller.listening["port"])
    argv = [sys.executable, "-m", "controllers.launcher", "--plan", str(plan_path),
            "--port", port]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL)
    assert done.returncode == 5
    assert f"cannot listen on 127.0.0.1 port {port}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"version": 99}',
                                  '{"version": 1, "block": "x"}'])
def test_an_unusable_plan_is_one_sentence_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None
) -> None:
    path = tmp_path / "plan.json"
    if text is not None:
        path.write_text(text)
    handler = signal.getsignal(signal.SIGTERM)
    try:
        assert launcher.main(["--plan", str(path)]) == 2
    finally:
        signal.signal(signal.SIGTERM, handler)
    captured = capsys.readouterr()
    assert str(path) in captured.err
    assert len(captured.err.splitlines()) == 1
    assert captured.out == ""


def test_a_plan_is_read_as_it_was_written(plan_path: Path) -> None:
    assert launcher.read_plan(plan_path) == PLAN


def test_a_missing_plan_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        launcher.read_plan(tmp_path / "absent.json")


def test_lines_come_whole_however_they_arrive() -> None:
    reader, writer = os.pipe()
    pieces = iter([b"on", b"e\ntwo\n\nth", b"ree\nunfinished"])

    def feed(_descriptor: int) -> None:
        piece = next(pieces, None)
        if piece is None:
            os.close(writer)
        else:
            os.write(writer, piece)

    assert list(launcher.lines_of(reader, feed)) == [b"one", b"two", b"", b"three"]
    os.close(reader)
