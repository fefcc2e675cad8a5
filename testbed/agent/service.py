"""The agent itself: requests in, answers and port events out, until the client is gone."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

from testbed import __version__
from testbed.agent.channel import Channel
from testbed.agent.config import HEARTBEAT_TIMEOUT_MS, AgentConfig, take_tdf
from testbed.agent.host import Host
from testbed.agent.loop import Loop
from testbed.agent.params import Params, ParamsError
from testbed.agent.port import Port
from testbed.agent.probing import read_request
from testbed.agent.runs import RunOrder, read_transit
from testbed.errors import TestbedError
from testbed.rpc import Failure, Message, Notification, Request, Response, failure_of
from testbed.transport.mrc.controls import Controls
from workloads.connections import by_connection

_NS_PER_MS = 1_000_000
_LAST_WORDS_NS = 1_000_000_000


class Agent:
    """One host's agent. `run` returns the exit code of the process."""

    def __init__(self, input_fd: int, output_fd: int) -> None:
        self._loop = Loop()
        self._channel = Channel(self._loop, input_fd, output_fd)
        self._host: Host | None = None
        self._is_ending = False
        self._heard_at_ns = 0
        self._heartbeat_timeout_ns = HEARTBEAT_TIMEOUT_MS * _NS_PER_MS
        self._methods: dict[str, Callable[[Request], Any]] = {
            "configure": self._configure,
            "hello": self._hello,
            "heartbeat": lambda _: None,
            "probe": self._probe,
            "counters": lambda _: self._configured().counters(),
            "set_tdf": self._set_tdf,
            "prepare": self._prepare,
            "connect": self._connect,
            "start": self._start,
            "progress": lambda _: self._configured().require_run().progress(),
            "stop": lambda _: self._configured().require_run().stop(),
            "verify": self._verify,
            "results": lambda _: self._configured().require_run().results(),
            "release": lambda _: self._configured().release(),
            "paths": self._paths,
            "control": self._control,
            "shutdown": self._shutdown,
        }

    def run(self) -> int:
        """Serve until shutdown, end of input, or silence of the client.

        Returns 0 for the first two, `TestbedError.exit_code` otherwise.
        """
        try:
            self._channel.open()
            self._heard_at_ns = time.monotonic_ns()
            while not (self._is_ending or self._channel.is_ended):
                self._turn()
            self._channel.flush(time.monotonic_ns() + _LAST_WORDS_NS)
        except TestbedError as error:
            print(error, file=sys.stderr)
            return error.exit_code
        finally:
            self._close()
        return 0

    def _turn(self) -> None:
        """Wait for the next thing, do it, and do what has become due."""
        self._loop.wait(self._next_deadline_ns())
        now_ns = time.monotonic_ns()
        for message in self._channel.take_messages():
            self._heard_at_ns = now_ns
            self._on_message(message)
        self._check_heartbeat(now_ns)
        if self._host is not None:
            self._host.turn()
            if self._host.probing.is_busy:
                for request_id, rows in self._host.probing.take_finished(self._host.tdf):
                    self._reply(Response(request_id, {"rows": rows}))

    def _next_deadline_ns(self) -> int:
        silent_at_ns = self._heard_at_ns + self._heartbeat_timeout_ns
        work_at_ns = self._host.next_wake_ns() if self._host else None
        return silent_at_ns if work_at_ns is None else min(silent_at_ns, work_at_ns)

    def _check_heartbeat(self, now_ns: int) -> None:
        if now_ns - self._heard_at_ns >= self._heartbeat_timeout_ns:
            raise TestbedError(
                f"no message for {self._heartbeat_timeout_ns / 1e9:g} s: the instance is "
                "gone or stuck, so this agent ends; take the instance down and up again"
            )

    def _on_message(self, message: Message) -> None:
        if not isinstance(message, Request):
            raise TestbedError(f"the client sent a {type(message).__name__}, not a request")
        method = self._methods.get(message.method)
        try:
            if method is None:
                known = ", ".join(sorted(self._methods))
                raise ParamsError(f"no method {message.method!r}: there are {known}")
            result = method(message)
        except TestbedError as error:
            self._reply(failure_of(message.id, error))
        else:
            if result is not _LATER:
                self._reply(Response(message.id, result))

    def _reply(self, message: Response | Failure) -> None:
        try:
            self._channel.send(message)
        except TestbedError as error:  # the result does not fit a frame
            self._channel.send(failure_of(message.id, error))

    def _configured(self) -> Host:
        if self._host is None:
            raise ParamsError("the agent is not configured: send configure first")
        return self._host

    def _configure(self, request: Request) -> dict[str, Any]:
        if self._host is not None:
            raise ParamsError("the agent is configured already: start another one")
        host = Host(AgentConfig.from_params(request.params))
        host.open(self._loop, self._on_carrier)
        self._host = host
        self._heartbeat_timeout_ns = host.config.heartbeat_timeout_ms * _NS_PER_MS
        return self._hello(request)

    def _hello(self, _: Request) -> dict[str, Any]:
        return {
            "versions": {
                "testbed": __version__,
                "python": "{}.{}.{}".format(*sys.version_info),
                "kernel": os.uname().release,
            },
            "pid": os.getpid(),
            "clock": {"monotonic_ns": time.monotonic_ns(), "realtime_ns": time.time_ns()},
            **(self._host.describe() if self._host else {"host": None, "ports": []}),
        }

    def _probe(self, request: Request) -> object:
        host = self._configured()
        probe = read_request(request.params, host.config)
        if probe.is_ev_probe:
            host.require_device()
        host.probing.start(request.id, probe, time.monotonic_ns())
        return _LATER

    def _set_tdf(self, request: Request) -> None:
        take = Params(request.params, "set_tdf")
        tdf, transit_ns = take_tdf(take), read_transit(take)
        take.finish()
        self._configured().set_tdf(tdf, transit_ns)

    # --- runs ----------------------------------------------------------------------

    def _prepare(self, request: Request) -> dict[str, Any]:
        run = self._configured().prepare(RunOrder.from_params(request.params))
        return {"ends": run.describe()}

    def _connect(self, request: Request) -> None:
        take = Params(request.params, "connect")
        remote = by_connection(take.items("ends", []))
        take.finish()
        self._configured().require_run().connect(remote)

    def _start(self, request: Request) -> None:
        take = Params(request.params, "start")
        zero_ns = take.integer("zero_ns", 0, 2**63 - 1)
        take.finish()
        if zero_ns <= time.monotonic_ns():
            raise ParamsError("start.zero_ns has passed already: begin the run anew")
        self._configured().start(zero_ns)

    def _verify(self, request: Request) -> dict[str, Any]:
        take = Params(request.params, "verify")
        peers = by_connection(take.items("peers", []))
        take.finish()
        return self._configured().require_run().verify(peers)

    def _paths(self, request: Request) -> dict[str, Any]:
        take = Params(request.params, "paths")
        peer = take.address("peer")
        take.finish()
        run = self._configured().run
        return {"rows": run.paths(peer) if run else []}

    def _control(self, request: Request) -> dict[str, Any]:
        """All that the controller of this host has set from now on, until told otherwise."""
        return self._configured().control(Controls.from_params(request.params))

    def _shutdown(self, _: Request) -> None:
        self._is_ending = True

    def _on_carrier(self, port: Port, has_carrier: bool) -> None:
        self._channel.send(Notification("port", {
            "plane": port.config.plane,
            "interface": port.config.interface,
            "carrier": has_carrier,
            "monotonic_ns": time.monotonic_ns(),
        }))

    def _close(self) -> None:
        if self._host is not None:
            self._host.close()
        self._loop.close()


_LATER = object()  # the method answers by itself when it is done
