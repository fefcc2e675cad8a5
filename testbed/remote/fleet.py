"""All agents of an instance: brought up together, called together, closed together."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from testbed.agent.config import AgentConfig
from testbed.remote.agent_client import AgentClient, OnDeath, OnNotification
from testbed.remote.connect import OpenSocket, SshTarget, connect, in_parallel
from testbed.remote.keys import RunKeys
from testbed.remote.pulse import Pulse


class Fleet:
    """The agents by host name.

    `on_death` and `on_notification` are called on reader threads, with the host.
    """

    def __init__(
        self,
        keys: RunKeys,
        command: Sequence[str],
        on_death: OnDeath = lambda host, reason: None,
        on_notification: OnNotification = lambda host, notification: None,
        open_socket: OpenSocket = socket.create_connection,
    ) -> None:
        self.agents: dict[str, AgentClient] = {}
        self._keys = keys
        self._command = list(command)
        self._on_death = on_death
        self._on_notification = on_notification
        self._open_socket = open_socket
        self._pulse = Pulse()

    def open(
        self,
        hosts: Mapping[SshTarget, AgentConfig],
        timeout_s: float = 20,
        on_ready: Callable[[str], None] = lambda host: None,
    ) -> dict[str, Any]:
        """Connect to every host, start and configure its agent: 8 at a time.

        Returns each host's `hello`, by name; `on_ready` reports progress, from
        worker threads. Raises RemoteError naming the first host that failed,
        after closing all others.
        """
        self._pulse.start()

        def bring_up(item: tuple[SshTarget, AgentConfig]) -> tuple[str, Any]:
            target, config = item
            hello = self._bring_up(target, config, timeout_s)
            on_ready(target.name)
            return target.name, hello

        try:
            return dict(in_parallel(bring_up, hosts.items()))
        except BaseException:
            self.close()
            raise

    def replace(self, target: SshTarget, config: AgentConfig, timeout_s: float = 20) -> Any:
        """Start a new agent on a host, ending the old one if it lives; returns its `hello`."""
        old = self.agents[target.name]
        self._pulse.remove(old)
        old.close()  # deliberate, so it is not reported as a death
        old.connection.close()
        return self._bring_up(target, config, timeout_s)

    def _bring_up(self, target: SshTarget, config: AgentConfig, timeout_s: float) -> Any:
        connection = connect(target, self._keys, timeout_s, self._open_socket)
        client = AgentClient(connection, self._on_death, self._on_notification)
        self.agents[target.name] = client
        client.start(self._command, timeout_s)
        self._pulse.add(client)
        return client.call("configure", config.to_params(), timeout_s)

    def close(self) -> None:
        """End every agent and connection; never raises."""
        def close(client: AgentClient) -> None:
            with contextlib.suppress(Exception):
                client.close()
                client.connection.close()

        in_parallel(close, list(self.agents.values()))
        self._pulse.stop()
