"""What can go wrong between the instance and a host. Every message names the host."""

from __future__ import annotations

from testbed.errors import TestbedError


class RemoteError(TestbedError):
    """A host cannot be reached, or what runs on it cannot be used."""


class AgentDied(RemoteError):
    """The agent is gone; the message says how."""


class AgentRefused(RemoteError):
    """The agent answered a request with an error; `kind` is that error's class name."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind
