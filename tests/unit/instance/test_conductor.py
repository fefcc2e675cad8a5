"""Scripts on the wall clock: in time, in order, and everything healed at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from testbed.errors import TestbedError, UsageError
from testbed.faults.actions import Action, fault_id, make_action
from testbed.faults.chronicle import BY_HAND
from testbed.faults.script import After, At, Step, When
from testbed.faults.targets import parse_target
from testbed.instance.conductor import Conductor

CRASH = make_action(parse_target("switch:p0-t1-2"))
LOSS = make_action(parse_target("link:p1-t0-0:p1-t1-3"), "loss", 0.5)
CRASH_ID, LOSS_ID = fault_id(CRASH), fault_id(LOSS)
TDF = 1000


class Fabric:
    """Notes what it was told; every fault bites but those in ``harmless``.

    ``stuck``: by fault, what is raised where it is to be healed.
    """

    def __init__(self, harmless: Sequence[str] = (), broken: Sequence[str] = (),
                 stuck: Mapping[str, Exception] | None = None) -> None:
        self._stuck = stuck or {}
        self.moves: list[tuple[list[str], list[str]]] = []
        self._harmless, self._broken = harmless, broken
        self.moved_at_ns = 0
        self.on_release: Callable[[], None] = lambda: None
        self.on_by_hand: Callable[[str, Mapping[str, Any]], None] | None = None
        self.in_force: tuple[str, ...] = ()

    @contextmanager
    def held(self) -> Iterator[None]:
        yield
        self.on_release()

    def move(self, injects: Sequence[Action], heals: Sequence[str]) -> list[dict[str, Any]]:
        if any(fault_id(action) in self._broken for action in injects):
            raise TestbedError("no such link any more")
        for name in heals:
            if name in self._stuck:
                raise self._stuck[name]
        self.moved_at_ns = time.monotonic_ns()
        self.moves.append(([fault_id(action) for action in injects], list(heals)))
        return [self.found(name) for name in heals]

    def found(self, name: str) -> dict[str, Any]:
        return {"target": name.split("#")[0], "kind": name.split("#")[1],
                "has_bitten": name not in self._harmless, "evidence": "7 frames dropped"}

    def by_hand(self, what: str, name: str) -> None:
        if self.on_by_hand is not None:
            self.on_by_hand(what, self.found(name))


def until(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline_s, "it never came"
        time.sleep(0.005)


def begun(fabric: Fabric, *script: Step) -> Conductor:
    conductor = Conductor(fabric, script, TDF)
    conductor.before()
    conductor.start(time.monotonic_ns())
    return conductor


def test_steps_are_done_in_time_and_in_order() -> None:
    fabric = Fabric()
    conductor = begun(fabric, Step("crash", At(50_000), (CRASH,)),
                      Step("loss", After("crash", 20_000), (LOSS,)),
                      Step("back", At(100_000), heals=(CRASH_ID,)))
    until(lambda: len(fabric.moves) == 3)
    conductor.finish()
    assert fabric.moves == [([CRASH_ID], []), ([LOSS_ID], []), ([], [CRASH_ID]), ([], [LOSS_ID])]
    rows = conductor.chronicle.rows
    assert all(row["late_ns"] is None or row["late_ns"] >= 0 for row in rows)
    first, second = rows[:2]
    assert second["planned_ns"] == first["t_ns"] + 20_000
    assert conductor.failures == []


def test_what_is_due_before_the_start_is_done_before() -> None:
    fabric = Fabric()
    conductor = Conductor(fabric, (Step("bad", At(-1), (CRASH,)),), TDF)
    conductor.before()
    assert fabric.moves == [([CRASH_ID], [])]
    conductor.finish()
    assert fabric.moves[1:] == [([], [CRASH_ID])]


def test_a_condition_is_met_by_what_hosts_say() -> None:
    fabric = Fabric()
    conductor = begun(fabric, Step("x", When("all ranks", "step", 2), (CRASH,)))
    conductor.see({"h0": {"step": 2}, "h1": {"step": 1}})
    assert fabric.moves == []
    conductor.see({"h0": {"step": 2}, "h1": {"step": 2}})
    until(lambda: bool(fabric.moves))
    conductor.finish()


def test_a_run_that_ends_early_heals_and_tells_what_was_not_done() -> None:
    fabric = Fabric(harmless=(CRASH_ID,))
    conductor = begun(fabric, Step("crash", At(0), (CRASH,)), Step("never", At(10**11), (LOSS,)))
    until(lambda: bool(fabric.moves))
    conductor.finish()
    assert fabric.moves == [([CRASH_ID], []), ([], [CRASH_ID])]
    injected, healed, undone = conductor.chronicle.rows
    assert (injected["detail"], healed["name"]) == ("no evidence", "end")
    assert (undone["kind"], undone["name"]) == ("warning", "never")


def test_a_step_that_fails_ends_the_script_and_the_rest_is_healed() -> None:
    fabric = Fabric(broken=(LOSS_ID,))
    conductor = begun(fabric, Step("crash", At(0), (CRASH,)), Step("loss", At(1), (LOSS,)),
                      Step("more", At(2), heals=(CRASH_ID,)))
    until(lambda: bool(conductor.failures))
    conductor.finish()
    assert conductor.failures == ["the script stopped: no such link any more"]
    assert fabric.moves[-1] == ([], [CRASH_ID])


@pytest.mark.parametrize("error", [OSError(7, "BPF map update"), TestbedError("no such link")])
def test_a_fault_that_cannot_be_healed_does_not_keep_the_others(error: Exception) -> None:
    fabric = Fabric(stuck={LOSS_ID: error})
    conductor = begun(fabric, Step("both", At(0), (CRASH, LOSS)))
    until(lambda: len(conductor.chronicle.rows) == 2)
    conductor.finish()
    assert fabric.moves[1:] == [([], [CRASH_ID])]
    (told,) = conductor.failures
    assert told.startswith(f"{LOSS_ID} could not be healed")


def test_nothing_stays_where_the_beginning_fails() -> None:
    fabric = Fabric(broken=(LOSS_ID,))
    conductor = Conductor(fabric, (Step("a", At(-2), (CRASH,)), Step("b", At(-1), (LOSS,))), TDF)
    with pytest.raises(TestbedError, match="no such link"):
        conductor.before()
    assert fabric.moves == [([CRASH_ID], []), ([], [CRASH_ID])]


def test_watchers_see_what_was_done() -> None:
    fabric = Fabric()
    conductor = begun(fabric, Step("crash", At(0), (CRASH,)), Step("later", At(10**11), (LOSS,)))
    until(lambda: bool(conductor.chronicle.rows))
    first, second = conductor.describe()
    assert first["injects"] == [CRASH_ID]
    assert first["done_ns"] is not None
    assert second["done_ns"] is None
    conductor.finish()


def test_nonsense_is_refused_before_anything_is_done() -> None:
    with pytest.raises(UsageError):
        Conductor(Fabric(), (Step("a", At(0), heals=(CRASH_ID,)),), TDF)


def test_what_takes_long_can_see_a_step_coming() -> None:
    fabric = Fabric()
    far = begun(fabric, Step("later", At(10**9), (CRASH,)))  # in 1000 s of wall clock
    assert not far.is_step_near
    far.finish()
    near = begun(fabric, Step("soon", At(200_000), (CRASH,)))
    assert near.is_step_near
    until(lambda: bool(near.chronicle.rows))
    until(lambda: not near.is_step_near)
    near.finish()


def test_nobody_sees_a_fault_before_its_row_is_kept() -> None:
    """Whoever looks at what is in force waits until the fabric is let go."""
    fabric = Fabric()
    kept: list[Mapping[str, Any]] = []
    seen: list[int] = []

    def look() -> None:
        changes = sum(len(injects) + len(heals) for injects, heals in fabric.moves)
        seen.append(changes)
        assert len(kept) == changes

    fabric.on_release = look
    conductor = Conductor(fabric, (Step("both", At(0), (CRASH, LOSS)),
                                   Step("back", At(1), heals=(CRASH_ID,))), TDF, kept.append)
    conductor.start(time.monotonic_ns())
    until(lambda: len(seen) == 2)
    conductor.finish()
    assert (seen[:3], conductor.failures) == ([2, 3, 4], [])


def test_what_is_done_by_hand_is_noted_and_left_as_it_is() -> None:
    kept: list[Mapping[str, Any]] = []
    fabric = Fabric()
    fabric.in_force = ("plane:1#down",)
    conductor = Conductor(fabric, (Step("crash", At(0), (CRASH,)),), TDF, kept.append)
    conductor.before()
    fabric.by_hand("inject", LOSS_ID)  # before there is a clock
    conductor.start(time.monotonic_ns())
    until(lambda: bool(fabric.moves))
    fabric.by_hand("heal", CRASH_ID)
    conductor.finish()
    fabric.by_hand("heal", LOSS_ID)  # when it is no longer its business
    assert fabric.moves == [([CRASH_ID], [])]
    rows = conductor.chronicle.rows
    assert [(row["name"], row["what"], row["target"]) for row in rows] == [
        (BY_HAND, "inject", "plane:1#down"), (BY_HAND, "inject", LOSS_ID),
        ("crash", "inject", CRASH_ID), (BY_HAND, "heal", CRASH_ID)]
    assert [row["t_ns"] for row in rows[:2]] == [-1, -1]
    assert 0 <= rows[3]["t_ns"] < 10**9
    assert (rows[2]["evidence"], len(kept), conductor.failures) == ("7 frames dropped", 4, [])
