"""Targets: the grammar, its canonical form, and sentences for what is not in it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.errors import UsageError
from testbed.faults.targets import (
    GRAMMAR,
    EvTarget,
    HostTarget,
    LinkTarget,
    NicTarget,
    PlaneTarget,
    PortTarget,
    SwitchTarget,
    Target,
    parse_target,
)
from topologies.ev import make_ev
from topologies.names import switch_name

EXAMPLES: list[tuple[str, Target]] = [
    ("nic:h3:p2", NicTarget(3, 2)),
    ("link:p1-t0-0:p1-t1-3", LinkTarget("p1-t0-0", "p1-t1-3")),
    ("switch:p0-t1-2", SwitchTarget("p0-t1-2")),
    ("port:p0-t1-2:p0-t0-1", PortTarget("p0-t1-2", "p0-t0-1")),
    ("ev:h0:h5:0x0003", EvTarget(0, 5, 0x00030000)),
    ("host:h3", HostTarget(3)),
    ("plane:2", PlaneTarget(2)),
]
HOSTS, PLANES = st.integers(0, 9_999_999), st.integers(0, 7)
SWITCHES = st.builds(switch_name, PLANES, st.integers(0, 1), st.integers(0, 511))
TARGETS: st.SearchStrategy[Target] = st.one_of(
    st.builds(NicTarget, HOSTS, PLANES),
    st.builds(
        lambda plane, t0, t1: LinkTarget(switch_name(plane, 0, t0), switch_name(plane, 1, t1)),
        PLANES, st.integers(0, 511), st.integers(0, 255),
    ),
    st.builds(SwitchTarget, SWITCHES),
    st.builds(PortTarget, SWITCHES, SWITCHES),
    st.builds(EvTarget, HOSTS, HOSTS, st.builds(make_ev, PLANES, st.integers(0, 255))),
    st.builds(HostTarget, HOSTS),
    st.builds(PlaneTarget, PLANES),
)  # fmt: skip


@pytest.mark.parametrize(("text", "target"), EXAMPLES)
def test_every_form_is_read_and_written(text: str, target: Target) -> None:
    assert parse_target(text) == target
    assert str(target) == text


def test_the_forms_shown_in_errors_are_read() -> None:
    assert {type(parse_target(form)) for form in GRAMMAR.values()} == {
        type(target) for _, target in EXAMPLES
    }


@settings(deadline=None)
@given(TARGETS)
def test_text_and_target_are_the_same_thing(target: Target) -> None:
    assert parse_target(str(target)) == target


def test_other_spellings_mean_the_same() -> None:
    assert parse_target("link:p1-t1-3:p1-t0-0") == parse_target("link:p1-t0-0:p1-t1-3")
    assert parse_target("nic:h3:2") == NicTarget(3, 2)
    assert parse_target("plane:p2") == PlaneTarget(2)
    assert parse_target(" host:h3 ") == HostTarget(3)
    assert parse_target("port:p2-t0-0:h3") == PortTarget("p2-t0-0", "h3")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is not a fault target: write one like nic:h3:p2"),
        ("h3", "is not a fault target"),
        ("swich:p0-t1-2", "did you mean 'switch'?"),
        ("nic:h3", "'nic:h3' is not a nic target: write one like nic:h3:p2"),
        ("nic:3:p2", "is not a nic target"),
        ("nic:h3:p2:x", "is not a nic target"),
        ("link:p1-t0-0:p1-t0-1", "is not a link target"),
        ("link:h3:p1-t0-0", "is not a link target"),
        ("switch:h3", "is not a switch target"),
        ("port:p0-t1-2", "is not a port target"),
        ("port:p0-t1-2:x", "is not a port target"),
        ("ev:h0:h5:3", "is not an EV target: write one like ev:h0:h5:0x0003"),
        ("ev:h0:0x0003", "is not an EV target"),
        ("host:3", "is not a host target"),
        ("plane:x", "is not a plane target"),
    ],
)
def test_other_text_is_refused_with_an_example(text: str, expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_target(text)
    assert expected in str(caught.value)


@settings(deadline=None)
@given(st.text(alphabet="nilkswtchpoevar:0123456789-x", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        target = parse_target(text)
    except UsageError:
        return
    assert parse_target(str(target)) == target
