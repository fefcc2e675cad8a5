"""The heartbeat of every agent of an instance, from one thread."""

from __future__ import annotations

import threading

from testbed.remote.agent_client import AgentClient

BEAT_S = 1.0


class Pulse:
    """Beats every `period_s`; an agent that hears nothing for thirty beats ends itself."""

    def __init__(self, period_s: float = BEAT_S) -> None:
        self._period_s = period_s
        self._clients: dict[str, AgentClient] = {}
        self._lock = threading.Lock()
        self._is_stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)

    def start(self) -> None:
        """Begin beating."""
        self._thread.start()

    def add(self, client: AgentClient) -> None:
        """Keep this agent alive from now on; dead ones are passed over."""
        with self._lock:
            self._clients[client.host] = client

    def remove(self, client: AgentClient) -> None:
        """Leave this agent to itself."""
        with self._lock:
            self._clients.pop(client.host, None)

    def stop(self) -> None:
        """End the thread; agents notice within their heartbeat timeout."""
        self._is_stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._is_stopped.wait(self._period_s):
            with self._lock:
                clients = list(self._clients.values())
            for client in clients:
                client.beat()
