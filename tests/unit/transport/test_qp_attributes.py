"""Steps of a QP and their attributes (facts sheet 8.2): all pairs of states, all ranges."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from testbed.transport.mrc.ctl.profile import UNSET
from testbed.transport.mrc.errors import Errno, MrcError
from testbed.transport.mrc.qp import TRANSITIONS, QpState
from testbed.transport.mrc.qp_attributes import (
    NEEDED,
    QpAttr,
    QpCap,
    Retry,
    check_step,
)

GOOD: dict[QpState, QpAttr] = {
    QpState.INIT: QpAttr(state=QpState.INIT, qp_hint=None, ev_profile_id=1, cc_profile_id=1),
    QpState.RTR: QpAttr(
        state=QpState.RTR, dest_qp_num=3, dest_gid=bytes(16), rq_psn=0, path_mtu=4096,
        max_wimm_dest=128, mpr_dest=8, cap=QpCap.NONE,
    ),
    QpState.RTS: QpAttr(
        state=QpState.RTS, sq_psn=0, max_wimm=128, mpr=8, retry=Retry(), timeout=6
    ),
    QpState.ERROR: QpAttr(state=QpState.ERROR),
    QpState.RESET: QpAttr(state=QpState.RESET),
}  # fmt: skip
BEFORE = {QpState.INIT: QpState.RESET, QpState.RTR: QpState.INIT, QpState.RTS: QpState.RTR}


def refuse(before: QpState, attr: QpAttr) -> str:
    with pytest.raises(MrcError) as caught:
        check_step(before, attr)
    assert caught.value.errno is Errno.EINVAL
    return str(caught.value)


@pytest.mark.parametrize("before", QpState)
@pytest.mark.parametrize("target", QpState)
def test_every_pair_of_states(before: QpState, target: QpState) -> None:
    if target in TRANSITIONS[before]:
        assert check_step(before, GOOD[target]) is target
    else:
        assert "cannot enter" in refuse(before, GOOD[target])


def test_a_call_without_a_state_is_refused() -> None:
    assert "state" in refuse(QpState.RESET, QpAttr(qp_hint=None))


@pytest.mark.parametrize(
    ("target", "name"), [(state, name) for state in BEFORE for name in sorted(NEEDED[state])]
)
def test_each_step_needs_each_of_its_attributes(target: QpState, name: str) -> None:
    changes: dict[str, Any] = {name: UNSET}
    assert f"needs {name}" in refuse(BEFORE[target], replace(GOOD[target], **changes))


@pytest.mark.parametrize("target", QpState)
def test_no_step_takes_an_attribute_of_another(target: QpState) -> None:
    before = BEFORE.get(target, QpState.RTS)
    names = {item.name for item in fields(QpAttr)} - {"state"} - NEEDED[target]
    for name in sorted(names):
        value = next(getattr(a, name) for a in GOOD.values() if getattr(a, name) is not UNSET)
        changes: dict[str, Any] = {name: value}
        assert f"does not take {name}" in refuse(before, replace(GOOD[target], **changes))


LIMITS: list[tuple[str, Any, Any]] = [
    ("ev_profile_id", 0, (1 << 64) - 1),
    ("cc_profile_id", 0, (1 << 64) - 1),
    ("dest_qp_num", 0, (1 << 24) - 1),
    ("rq_psn", 0, (1 << 24) - 1),
    ("sq_psn", 0, (1 << 24) - 1),
    ("path_mtu", 256, 8192),
    ("max_wimm", 1, 0xFFFF),
    ("max_wimm_dest", 1, 0xFFFF),
    ("mpr", 1, 32),
    ("mpr_dest", 1, 32),
    ("timeout", 0, 24),
]


@pytest.mark.parametrize(("name", "least", "most"), LIMITS)
def test_ranges(name: str, least: int, most: int) -> None:
    target = next(state for state in BEFORE if name in NEEDED[state])

    def with_value(value: int) -> QpAttr:
        changes: dict[str, Any] = {name: value}
        return replace(GOOD[target], **changes)

    for value in (least, most):
        assert check_step(BEFORE[target], with_value(value)) is target
    for value in (least - 1, most + 1):
        assert name in refuse(BEFORE[target], with_value(value))


@pytest.mark.parametrize("retry", [Retry(0, 0), Retry(7, 25)])
def test_retry_counts_in_range(retry: Retry) -> None:
    assert check_step(QpState.RTR, replace(GOOD[QpState.RTS], retry=retry)) is QpState.RTS


@pytest.mark.parametrize(
    ("target", "changes"),
    [
        (QpState.RTS, {"retry": Retry(8, 0)}),
        (QpState.RTS, {"retry": Retry(-1, 0)}),
        (QpState.RTS, {"retry": Retry(0, 26)}),
        (QpState.RTS, {"retry": Retry(0, -1)}),
        (QpState.RTR, {"path_mtu": 1022}),
        (QpState.RTR, {"dest_gid": bytes(15)}),
    ],
)
def test_other_values_that_are_none(target: QpState, changes: dict[str, Any]) -> None:
    refuse(BEFORE[target], replace(GOOD[target], **changes))
