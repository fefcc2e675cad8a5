"""The Ryu process, seen from its parent: start it, hear what it reports, ask it."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from testbed.errors import TestbedError

LISTEN_ADDRESS = "127.0.0.1"
LISTEN_PORT = 6653  # of the instance's own namespace: instances do not collide

Event = dict[str, Any]


class Controller:
    """One controller process for one plan file. The constructor only stores."""

    def __init__(self, plan: Path, log: Path, on_event: Callable[[Event], None]) -> None:
        """``on_event`` hears every report that no call waits for, on a thread of its own."""
        self._plan, self._log, self._on_event = plan, log, on_event
        self._process: subprocess.Popen[str] | None = None
        self._waited: queue.Queue[Event] = queue.Queue()
        self._is_waiting = threading.Event()

    @property
    def target(self) -> str:
        """Where switches find it, as ovs-vsctl writes it."""
        return f"tcp:{LISTEN_ADDRESS}:{LISTEN_PORT}"

    @property
    def pid(self) -> int | None:
        """Its process id, None before `start`."""
        return self._process.pid if self._process else None

    def is_alive(self) -> bool:
        """True from `start` until its process ends."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it in the caller's network namespace, in a session of its own."""
        argv = [sys.executable, "-m", "controllers.launcher", "--plan", str(self._plan),
                "--listen", LISTEN_ADDRESS, "--port", str(LISTEN_PORT)]
        self._is_waiting.set()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                start_new_session=True, cwd=Path(__file__).parents[2])
        threading.Thread(target=self._listen, name="controller", daemon=True).start()

    def wait_for(self, event: str, timeout_s: float) -> Event:
        """The next report of this kind. Raises TestbedError on `mismatch`, end or time-out."""
        self._is_waiting.set()
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                report = self._waited.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise TestbedError(f"the controller did not report '{event}' within "
                                   f"{timeout_s:g} s; see {self._log}") from None
            if report["event"] == event:
                return report
            _raise_if_bad(report, self._log)

    def stop_waiting(self) -> None:
        """From now on reports go to ``on_event``, also those nobody waited for."""
        self._is_waiting.clear()
        while not self._waited.empty():
            self._on_event(self._waited.get())

    def _listen(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._deliver(json.loads(line))
        self._deliver({"event": "ended", "code": self._process.wait()})

    def _deliver(self, report: Event) -> None:
        if self._is_waiting.is_set():
            self._waited.put(report)
        else:
            self._on_event(report)


def _raise_if_bad(report: Event, log: Path) -> None:
    match report:
        case {"event": "mismatch", "name": name, "differences": differences}:
            raise TestbedError(f"{name} does not hold the plan it was sent: {differences[0]}; "
                               f"see {log}")
        case {"event": "refused", "name": name, "reason": reason}:
            raise TestbedError(f"{name} refused a rule ({reason}); is this Open vSwitch older "
                               "than 2.10? run `testbed doctor`")
        case {"event": "error", "message": message}:
            raise TestbedError(f"the controller failed: {message}; see {log}")
        case {"event": "ended", "code": code}:
            raise TestbedError(f"the controller ended with code {code}; see {log}")
