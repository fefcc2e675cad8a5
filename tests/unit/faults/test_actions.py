"""Actions: which fit which target, their ratios, evidence and undo."""

from __future__ import annotations

import pytest

from testbed.errors import UsageError
from testbed.faults.actions import (
    Action,
    Corrupt,
    EvDeny,
    EvLoss,
    HostKill,
    HostPause,
    LinkDown,
    Loss,
    PortDisable,
    SwitchBlackhole,
    SwitchCrash,
    fault_id,
    make_action,
)
from testbed.faults.targets import GRAMMAR, parse_target


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nic:h3:p2", LinkDown),
        ("link:p1-t0-0:p1-t1-3", LinkDown),
        ("port:p0-t1-2:p0-t0-1", LinkDown),
        ("plane:2", LinkDown),
        ("switch:p0-t1-2", SwitchCrash),
        ("ev:h0:h5:0x0003", EvLoss),
        ("host:h3", HostPause),
    ],
)
def test_each_target_has_its_plainest_fault(text: str, expected: type[Action]) -> None:
    assert isinstance(make_action(parse_target(text)), expected)


@pytest.mark.parametrize(
    ("text", "kind", "ratio", "expected"),
    [
        ("switch:p0-t1-2", "blackhole", None, SwitchBlackhole),
        ("switch:p0-t1-2", "loss", 0.1, Loss),
        ("nic:h3:p2", "loss", 1.0, Loss),
        ("port:p0-t1-2:p0-t0-1", "corrupt", 0.01, Corrupt),
        ("plane:1", "loss", 0.5, Loss),
        ("ev:h0:h5:0x0003", "loss", 0.3, EvLoss),
        ("host:h3", "kill", None, HostKill),
        ("ev:h0:h5:0x0003", "deny", None, EvDeny),
        ("nic:h3:p2", "disable", None, PortDisable),
    ],
)
def test_kinds_by_name(
    text: str, kind: str, ratio: float | None, expected: type[Action]
) -> None:
    action = make_action(parse_target(text), kind, ratio)
    assert isinstance(action, expected)
    assert action.kind == kind
    assert getattr(action, "ratio", None) == ratio


def test_an_ev_is_dead_by_default() -> None:
    action = make_action(parse_target("ev:h0:h5:0x0003"))
    assert isinstance(action, EvLoss)
    assert action.ratio == 1.0


@pytest.mark.parametrize(
    ("text", "kind", "ratio", "expected"),
    [
        ("nic:h3:p2", "los", 0.1, "fault 'los' does not exist, did you mean 'loss'?"),
        ("nic:h3:p2", "crash", None, "nic:h3:p2 cannot suffer 'crash': use down or loss"),
        ("host:h3", "down", None, "use pause or kill"),
        ("ev:h0:h5:0x0003", "corrupt", 0.1, "cannot suffer 'corrupt': use loss or deny"),
        ("ev:h0:h5:0x0003", "deny", 0.5, "'deny' of ev:h0:h5:0x0003 takes no ratio"),
        ("plane:2", "disable", None, "plane:2 cannot suffer 'disable': use down or loss"),
        ("nic:h3:p2", "loss", None, "'loss' of nic:h3:p2 needs a ratio"),
        ("nic:h3:p2", "down", 0.5, "'down' of nic:h3:p2 takes no ratio"),
        ("nic:h3:p2", "loss", 0.0, "cannot be 0: use above 0% to 100%"),
        ("nic:h3:p2", "loss", 1.01, "cannot be 1.01"),
        ("nic:h3:p2", "loss", float("nan"), "cannot be nan"),
    ],
)
def test_what_does_not_fit_is_refused(
    text: str, kind: str, ratio: float | None, expected: str
) -> None:
    with pytest.raises(UsageError) as caught:
        make_action(parse_target(text), kind, ratio)
    assert expected in str(caught.value)


def test_every_action_names_its_target_in_its_evidence_and_has_an_undo() -> None:
    kinds = {"nic": ("down", "loss", "corrupt", "disable"), "switch": ("crash", "blackhole"),
             "ev": ("loss", "deny"), "host": ("pause", "kill")}  # fmt: skip
    for name, fitting in kinds.items():
        target = parse_target(GRAMMAR[name])
        for kind in fitting:
            ratio = 0.5 if kind in ("loss", "corrupt") else None
            action = make_action(target, kind, ratio)
            subject = str(target).removeprefix("switch:")
            assert "NO-CARRIER" in action.evidence or subject in action.evidence
            assert action.undo


def test_a_fault_is_called_by_target_and_kind() -> None:
    action = make_action(parse_target("link:p1-t1-3:p1-t0-0"))
    assert fault_id(action) == "link:p1-t0-0:p1-t1-3#down"
