"""The datapath self-test: passes where ports work, and fails where they do not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from testbed_process import Running, testbed

from testbed.instance import selftest
from topologies.spec import Dataplane

pytestmark = pytest.mark.root


@pytest.mark.parametrize("dataplane", ["ovs", "linux"])
def test_both_hops_trim_mark_and_drop(dataplane: Dataplane) -> None:
    findings = selftest.prove(dataplane)
    assert [(finding.trial, finding.hop) for finding in findings] == [
        ("trim", 1), ("CE", 1), ("drop", 1), ("trim", 2), ("CE", 2), ("drop", 2)]
    assert all(finding.is_proved for finding in findings), findings


def test_a_port_that_does_not_trim_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The self-test can fail: with trimming out of reach it reports exactly that."""
    real = selftest._try

    def without_trimming(control, trial, hop, limits, account):  # type: ignore[no-untyped-def]
        limits = {"trim_bytes": 10**6} if trial == "trim" else limits
        return real(control, trial, hop, limits, account)

    monkeypatch.setattr(selftest, "_try", without_trimming)
    wrong = {(finding.trial, finding.hop) for finding in selftest.prove("linux")
             if not finding.is_proved}
    assert wrong == {("trim", 1), ("trim", 2)}


def test_doctor_finds_this_machine_fit() -> None:
    done = testbed("doctor")
    assert done.returncode == 0, done.stdout
    assert "this machine can run the testbed" in done.stdout


def test_tuned_thresholds_are_read_back(bring_up: Callable[..., Running]) -> None:
    instance = bring_up("tiny", "--dataplane", "linux")
    told = instance.call("tune", node="p0-t0-0", peer="p0-t1-0", thresholds={"trim_bytes": 7})
    assert told["trim_bytes"] == 7
