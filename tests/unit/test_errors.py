"""The error tree and its exit codes (design.md section 6)."""

from __future__ import annotations

import pytest

from testbed.errors import (
    InstanceError,
    MachineError,
    TestbedError,
    UsageError,
    did_you_mean,
)


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [(TestbedError, 5), (UsageError, 2), (MachineError, 3), (InstanceError, 4)],
)
def test_every_error_has_its_exit_code(error: type[TestbedError], exit_code: int) -> None:
    assert issubclass(error, TestbedError)
    assert error("sentence").exit_code == exit_code


def test_a_near_miss_gets_a_hint_and_nonsense_none() -> None:
    assert did_you_mean("plans", ["planes", "mtu"]) == ", did you mean 'planes'?"
    assert did_you_mean("zzz", ["planes", "mtu"]) == ""
