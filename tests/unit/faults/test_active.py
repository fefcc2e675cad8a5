"""The set of active faults as a value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.errors import UsageError
from testbed.faults.actions import Action, fault_id, make_action
from testbed.faults.active import heal, heal_named, inject, move
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


ALL = (DOWN, CRASH, LOSSY)
ACTIVE = st.lists(st.sampled_from(ALL), unique=True).map(tuple)


def test_healing_by_name_takes_these_and_no_others_newest_first() -> None:
    assert heal_named(ALL, [fault_id(DOWN), fault_id(LOSSY)]) == ((CRASH,), (LOSSY, DOWN))
    assert heal_named(ALL, ()) == (ALL, ())


def test_a_name_that_is_not_active_is_refused_with_what_is() -> None:
    with pytest.raises(UsageError) as caught:
        heal_named((DOWN, CRASH), ["nic:h3:p2#dwn"])
    assert str(caught.value) == (
        "fault nic:h3:p2#dwn is not active, did you mean 'nic:h3:p2#down'?: active are "
        f"{fault_id(DOWN)}, {fault_id(CRASH)}"
    )
    with pytest.raises(UsageError, match="active are none"):
        heal_named((), [fault_id(DOWN)])


def test_a_move_heals_first_so_that_a_ratio_can_change() -> None:
    stronger = make_action(NIC, "loss", 0.5)
    assert move(ALL, [stronger], [fault_id(LOSSY)]) == ((DOWN, CRASH, stronger), (LOSSY,))
    with pytest.raises(UsageError, match="is active already"):
        move(ALL, [stronger], ())
    with pytest.raises(UsageError, match="is active already"):
        move((), [DOWN, DOWN], ())


@given(ACTIVE, st.sets(st.sampled_from(ALL)))
def test_a_move_is_its_heals_and_its_injects(
    active: tuple[Action, ...], wanted: set[Action]
) -> None:
    healed = [fault_id(action) for action in active if action in wanted]
    injected = [action for action in ALL if action not in active]
    after, gone = move(active, injected, healed)
    assert set(after) == (set(active) - wanted) | set(injected)
    assert [fault_id(action) for action in reversed(gone)] == healed
    assert after[len(after) - len(injected):] == tuple(injected)
