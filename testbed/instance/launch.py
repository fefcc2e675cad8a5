"""Start an instance process and follow its build."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from testbed import errors
from testbed.errors import InstanceError, TestbedError
from testbed.instance.layout import CHECKOUT, Layout, Liveness
from testbed.intent.request import UpRequest

# Longer than Open vSwitch takes to end on the largest topology.
_DOWN_PATIENCE_S = 8.0


class Launch:
    """One instance being brought up: claim its name, start it, follow it.

    The stream of `events` ends when the instance process does.
    """

    def __init__(self, request: UpRequest) -> None:
        self._layout = Layout(request.name)
        self._request = request
        self._progress = -1
        self._lock = -1
        self.is_claimed = False

    def start(self) -> None:
        """Raises `InstanceError` where the name is taken, TestbedError on a full disk.

        ``is_claimed`` tells whether there is something of ours to take down.
        """
        try:
            self._start()
        except OSError as error:
            raise TestbedError(f"cannot write {self._layout.root} ({error.strerror}); "
                               "free some space under /run") from error

    def _start(self) -> None:
        self._claim()
        reader, writer = os.pipe()
        try:
            self._layout.request.write_text(json.dumps(self._request.to_dict(), indent=2))
            with self._layout.log.open("ab") as log:
                subprocess.Popen(
                    [sys.executable, "-m", "testbed.instance.process", self._request.name,
                     str(writer), str(self._lock)],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=CHECKOUT,
                    pass_fds=(writer, self._lock), start_new_session=True)
        finally:
            os.close(writer)
            self.release()
        self._progress = reader

    def release(self) -> None:
        """Leave the lock to the instance process.

        Also for whoever takes down what an interrupt cut short: with the lock still held
        here, the instance would seem alive for as long as this process is.
        """
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.close(lock)

    def _claim(self) -> None:
        """Claim the name and note it, without an interrupt in between."""
        interrupts = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
        signal.pthread_sigmask(signal.SIG_BLOCK, interrupts)
        try:
            self._lock = self._layout.claim()
            self.is_claimed = True
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, interrupts)

    def events(self) -> Iterator[dict[str, Any]]:
        """Reports of the instance process until it ends or is ready and closed."""
        with os.fdopen(self._progress, "r") as stream:
            for line in stream:
                yield json.loads(line)

    def follow_until_ready(self, on_stage: Any) -> dict[str, Any]:
        """Pass each stage to ``on_stage(event)``; returns the summary when it is ready.

        Raises the error the build ended with, by its exit code.
        """
        self._events = self.events()
        for event in self._events:
            if "ready" in event:
                return dict(event["ready"])
            if "error" in event:
                if self._layout.is_going_down:
                    break  # its helpers were ended a moment before the process itself
                raise _error_with_code(event["exit_code"])(event["error"])
            on_stage(event)
        if self._layout.is_going_down:
            raise InstanceError(
                f"instance '{self._layout.name}' was taken down while it was coming up"
            )
        last = (self.log_text().splitlines() or ["taken down from elsewhere, or killed"])[-1]
        raise InstanceError(f"instance '{self._layout.name}' ended while it was coming up: {last}")

    def log_text(self) -> str:
        """What the instance process wrote to its log so far."""
        path = self._layout.log
        return path.read_text(errors="replace") if path.exists() else ""

    def wait_until_down(self) -> None:
        """Block until the instance is taken down. Raises InstanceError where it dies instead."""
        for _event in self._events:
            pass
        # Its process is gone; a `down` removes the state directory a moment later.
        deadline_s = time.monotonic() + _DOWN_PATIENCE_S
        while self._layout.liveness() is not Liveness.ABSENT:
            if time.monotonic() > deadline_s:
                raise InstanceError(f"instance '{self._layout.name}' died (its process was "
                                    "killed?); bring it up again")
            time.sleep(0.05)


def _error_with_code(code: int) -> type[TestbedError]:
    kinds = (errors.UsageError, errors.MachineError, errors.InstanceError)
    return next((kind for kind in kinds if kind.exit_code == code), TestbedError)
