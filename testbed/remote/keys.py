"""Keys of one run: all hosts share one host key, the instance holds one client key.

Made anew for every instance and gone with it; nobody's own keys are read.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import MachineError


@dataclass(frozen=True, slots=True)
class RunKeys:
    """Where the keys of a run are: everything lies in `directory`, mode 0700."""

    directory: Path

    @property
    def host_key(self) -> Path:
        """The private key every sshd of the run shows."""
        return self.directory / "host_key"

    @property
    def host_public_key(self) -> Path:
        """What clients pin."""
        return self.directory / "host_key.pub"

    @property
    def client_key(self) -> Path:
        """The private key that opens every host of the run."""
        return self.directory / "client_key"

    @property
    def authorized_keys(self) -> Path:
        """The public half of the client key, as sshd wants it."""
        return self.directory / "client_key.pub"


def make_keys(directory: Path) -> RunKeys:
    """Make the ed25519 keys of a run in `directory`, which must not exist yet.

    Raises MachineError where ssh-keygen is missing or fails.
    """
    directory.mkdir(mode=0o700)
    keys = RunKeys(directory)
    for path in (keys.host_key, keys.client_key):
        _generate(path)
    return keys


def _generate(path: Path) -> None:
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "mrc-testbed", "-f", str(path)]
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise MachineError(
            "ssh-keygen is not installed, the per-run keys need it: run `sudo make install`"
        ) from None
    if done.returncode != 0:
        raise MachineError(
            f"`{' '.join(argv)}` failed (exit {done.returncode}): {done.stderr.strip()}"
        )
