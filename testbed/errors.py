"""What can go wrong, sorted by whose turn it is next: the exit codes of every command.

A message is one sentence that names the thing, the reason and the remedy; it is
printed as it is, without a traceback.
"""

from __future__ import annotations

from collections.abc import Iterable


class TestbedError(Exception):
    """The testbed itself failed: a build, an agent, the disk, an internal error."""

    __test__ = False  # the name begins like a pytest class
    exit_code = 5


class UsageError(TestbedError):
    """What was asked for is not valid: an option, a file, a name, a target."""

    exit_code = 2


class MachineError(TestbedError):
    """This machine lacks something; ``doctor`` says what and how to get it."""

    exit_code = 3


class InstanceError(TestbedError):
    """The instance is absent, already present, busy or dead."""

    exit_code = 4


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """A hint for a mistyped word: ", did you mean 'planes'?", or "" where none is close."""
    from difflib import get_close_matches  # errors are rare, importing this module is not

    close = get_close_matches(word, list(choices), n=1)
    return f", did you mean '{close[0]}'?" if close else ""
