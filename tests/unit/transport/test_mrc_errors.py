"""Errors of the MRC interfaces: an errno name, one sentence, an exit code."""

from __future__ import annotations

from testbed.errors import TestbedError
from testbed.transport.mrc.errors import Errno, MrcError


def test_errno_names_are_text() -> None:
    assert [name for name in Errno if name != name.name] == []
    assert Errno.E2BIG == "E2BIG"


def test_an_error_carries_errno_sentence_and_count() -> None:
    error = MrcError(Errno.E2BIG, "too long: make room", count=7)
    assert (error.errno, error.count, str(error)) == ("E2BIG", 7, "too long: make room")
    assert isinstance(error, TestbedError)
    assert error.exit_code == 5
    assert MrcError(Errno.EIO, "gone").count is None
