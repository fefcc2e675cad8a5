"""Scripts: they survive JSON, and what makes no sense is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.errors import TestbedError, UsageError
from testbed.faults.actions import make_action
from testbed.faults.script import (
    UNITS,
    WHO,
    After,
    At,
    Step,
    When,
    faults_of,
    left_in_force,
    require_sense,
    silenced_hosts,
)
from testbed.faults.targets import parse_target

CRASH = make_action(parse_target("switch:p0-t1-2"))
CRASH_ID = "switch:p0-t1-2#crash"
LOSS = make_action(parse_target("ev:h0:h5:0x0003"), "loss", 0.2)

moments = st.one_of(
    st.builds(At, st.integers(-1000, 10**9)),
    st.builds(After, st.just("crash"), st.integers(0, 10**9)),
    st.builds(When, st.sampled_from(WHO), st.sampled_from(UNITS), st.integers(0, 99),
              st.integers(0, 10**6)))


@given(moments)
def test_a_step_survives_json(moment: At | After | When) -> None:
    step = Step("x", moment, (CRASH, LOSS), ("nic:h0:p1#down",))
    assert Step.from_params(json.loads(json.dumps(step.to_params()))) == step


def test_a_script_that_makes_sense() -> None:
    script = (Step("crash", At(10), (CRASH,)), Step("loss", After("crash", 5), (LOSS,)),
              Step("back", At(20), heals=(CRASH_ID,)))
    require_sense(script)
    assert [(step.name, action) for step, action in faults_of(script)] == [
        ("crash", CRASH), ("loss", LOSS)]
    assert left_in_force(script) == ("ev:h0:h5:0x0003#loss",)


@pytest.mark.parametrize(("script", "told"), [
    ((Step("a", At(1), (CRASH,)), Step("a", At(2))), "two steps are called 'a'"),
    ((Step("a", After("b", 1), (CRASH,)), Step("b", At(2))), "comes after 'b'"),
    ((Step("a", At(1), heals=(CRASH_ID,)),), "no step before it puts in force"),
    ((Step("a", At(1), (CRASH,)), Step("b", At(2), (CRASH,))), "a second time"),
    ((Step("a", At(1), (CRASH,)), Step("b", At(2), heals=(CRASH_ID,)),
      Step("c", At(3), heals=(CRASH_ID,))), "'c' heals"),
])
def test_nonsense_is_refused(script: tuple[Step, ...], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        require_sense(script)


@pytest.mark.parametrize("change", [
    {"moment": {"at_ns": "soon"}}, {"moment": {}}, {"injects": [{"target": "moon:1"}]},
    {"moment": {"who": "nobody", "unit": "step", "number": 1, "delay_ns": 0}}, {"more": 1},
    {"injects": ["crash"]},
])
def test_what_is_no_step_is_refused(change: dict[str, object]) -> None:
    params = {**Step("x", At(1), (CRASH,)).to_params(), **change}
    with pytest.raises(TestbedError):
        Step.from_params(params)


def test_hosts_that_fall_silent_because_of_the_script() -> None:
    pause, kill = (make_action(parse_target(f"host:h{host}"), kind)
                   for host, kind in ((2, "pause"), (5, "kill")))
    assert silenced_hosts((Step("a", At(1), (CRASH, pause)), Step("b", At(2), (kill,)))) == {2, 5}
    assert silenced_hosts((Step("a", At(1), (CRASH,)),)) == frozenset()
