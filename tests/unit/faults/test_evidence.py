"""What proves a fault, and what does not."""

from __future__ import annotations

import pytest

from testbed.faults import evidence
from testbed.faults.actions import PortDisable, make_action
from testbed.faults.evidence import Proof
from testbed.faults.targets import NicTarget, parse_target
from testbed.metrics.ports import PortCounters, Tally


@pytest.mark.parametrize(
    ("kind", "account"),
    [("down", "dropped_blackhole"), ("crash", "dropped_blackhole"),
     ("blackhole", "dropped_blackhole"), ("loss", "dropped_loss"), ("corrupt", "corrupted")],
)
def test_frames_count_in_their_account_since_the_fault_began(kind: str, account: str) -> None:
    before = {1: PortCounters(**{account: Tally(5, 500)}), 2: PortCounters()}
    now = {1: PortCounters(**{account: Tally(8, 800)}), 2: PortCounters(**{account: Tally(1, 9)}),
           3: PortCounters(**{account: Tally(100, 1)})}
    assert evidence.counted_frames(kind, before, now) == 4
    congested = PortCounters(dropped_tail=Tally(9, 900))
    assert evidence.counted_frames(kind, {1: PortCounters()}, {1: congested}) == 0


def test_ports_prove_by_frames_by_flushed_ones_or_by_carrier() -> None:
    none = Tally()
    assert evidence.of_ports("loss", 0, none, None) == Proof(False, "0 frames lost")
    assert evidence.of_ports("loss", 3, none, None) == Proof(True, "3 frames lost")
    assert evidence.of_ports("down", 0, Tally(2, 200), []) == Proof(
        True, "0 frames dropped, 2 flushed from the queue, carrier still up")
    assert evidence.of_ports("down", 0, none, []) == Proof(
        False, "0 frames dropped, carrier still up")
    assert evidence.of_ports("down", 0, none, ["h0-eth1"]) == Proof(
        True, "0 frames dropped, no carrier on h0-eth1")
    assert evidence.of_ports("crash", 0, none, ["a", "b", "c", "d", "e"]).said.endswith(
        "no carrier on 5 NIC ports")


def test_an_ev_proves_by_frames_dropped_not_seen() -> None:
    assert evidence.of_ev(0, 9) == Proof(False, "0 of 9 frames of this EV dropped")
    assert evidence.of_ev(4, 9) == Proof(True, "4 of 9 frames of this EV dropped")


def test_controllers_prove_by_what_the_device_says() -> None:
    assert evidence.of_denied_ev(0) == Proof(False, "DENIED in 0 queue pairs")
    assert evidence.of_denied_ev(1) == Proof(True, "DENIED in 1 queue pair")
    assert evidence.of_denied_ev(None) == Proof(False, "the host's device does not answer")
    action = PortDisable(NicTarget(0, 2))
    assert evidence.of_disabled_port(action, 0b100) == Proof(True, "port disabled")
    assert evidence.of_disabled_port(action, 0b011) == Proof(False, "port still enabled")
    assert not evidence.of_disabled_port(action, None).has_bitten


@pytest.mark.parametrize(("target", "kind", "takes"), [
    ("nic:h0:p0", "down", True), ("switch:p0-t0-0", "crash", True),
    ("switch:p0-t0-0", "blackhole", False), ("nic:h0:p0", "disable", False),
])
def test_who_takes_carrier(target: str, kind: str, takes: bool) -> None:
    assert evidence.takes_carrier(make_action(parse_target(target), kind)) is takes
