"""The set of active faults as a value."""

from __future__ import annotations

import pytest

from testbed.errors import UsageError
from testbed.faults.actions import fault_id, make_action
from testbed.faults.active import heal, inject
from testbed.faults.targets import parse_target

NIC = parse_target("nic:h3:p2")
DOWN = make_action(NIC)
LOSSY = make_action(NIC, "loss", 0.1)
CRASH = make_action(parse_target("switch:p0-t1-2"))


def test_faults_are_kept_in_the_order_they_came() -> None:
    assert inject(inject((), DOWN), CRASH) == (DOWN, CRASH)


def test_the_same_fault_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="nic:h3:p2#loss is active already: heal nic:h3:p2"):
        inject((DOWN, LOSSY), make_action(NIC, "loss", 0.2))


def test_healing_a_target_takes_all_its_faults_newest_first() -> None:
    assert heal((DOWN, CRASH, LOSSY), NIC) == ((CRASH,), (LOSSY, DOWN))


def test_healing_everything() -> None:
    assert heal((DOWN, CRASH, LOSSY), None) == ((), (LOSSY, CRASH, DOWN))
    assert heal((), None) == ((), ())


def test_healing_what_is_well_names_what_is_not() -> None:
    with pytest.raises(UsageError) as caught:
        heal((CRASH, DOWN), parse_target("host:h1"))
    assert str(caught.value) == (
        f"no fault is active on host:h1: active are {fault_id(CRASH)}, {fault_id(DOWN)}"
    )
    with pytest.raises(UsageError, match="active are none"):
        heal((), NIC)
