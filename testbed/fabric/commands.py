"""Every command the testbed runs on the machine goes through `run`."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence

from testbed.errors import MachineError, TestbedError

_SHOWN_CHARACTERS = 160


class CommandFailed(TestbedError):
    """A command on the machine or on a node ended with a non-zero exit code."""


def run(
    argv: Sequence[str],
    *,
    node: str = "",
    env: Mapping[str, str] | None = None,
    timeout_s: float = 60.0,
) -> str:
    """Run one command and return its standard output.

    ``node`` only names where it ran, for the error. Raises `CommandFailed`
    with node, argv, exit code and the last line of stderr.
    """
    where = f" on {node}" if node else ""
    line = _shortened(" ".join(argv))
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, env=env,
                              timeout=timeout_s, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        raise MachineError(
            f"`{argv[0]}` is not installed, needed for `{line}`{where}; run `make install`"
        ) from None
    except subprocess.TimeoutExpired:
        raise CommandFailed(f"`{line}`{where} did not end within {timeout_s:g} s") from None
    if done.returncode:
        reason = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:] or ["no output"]
        raise CommandFailed(f"`{line}`{where} failed with exit code {done.returncode}: {reason[0]}")
    return done.stdout


def _shortened(line: str) -> str:
    """A command as an error names it: its beginning is enough to know it by."""
    return line if len(line) <= _SHOWN_CHARACTERS else f"{line[:_SHOWN_CHARACTERS]} ..."
