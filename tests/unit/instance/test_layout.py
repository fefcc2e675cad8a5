"""The state directory and its lock."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from testbed.errors import InstanceError
from testbed.instance import layout
from testbed.instance.layout import Layout, Liveness, all_names


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(layout, "RUN_DIR", tmp_path / "run")


def test_absent_then_alive_while_the_lock_is_held_then_dead_then_absent() -> None:
    here = Layout("lab")
    assert here.liveness() is Liveness.ABSENT
    lock = here.claim()
    assert here.liveness() is Liveness.ALIVE
    os.close(lock)
    assert here.liveness() is Liveness.DEAD
    here.remove()
    assert here.liveness() is Liveness.ABSENT


def test_the_second_claim_is_refused_and_says_whether_the_first_lives() -> None:
    lock = Layout("lab").claim()
    with pytest.raises(InstanceError, match="already up"):
        Layout("lab").claim()
    os.close(lock)
    with pytest.raises(InstanceError, match=r"dead.*down --name lab"):
        Layout("lab").claim()


def test_a_child_that_inherits_the_lock_keeps_the_instance_alive() -> None:
    here = Layout("lab")
    lock = here.claim()
    copy = os.dup(lock)
    os.close(lock)
    assert here.liveness() is Liveness.ALIVE
    os.close(copy)
    assert here.liveness() is Liveness.DEAD


def test_names_are_listed_and_the_family_folder_goes_with_the_last() -> None:
    locks = [Layout(name).claim() for name in ("b", "a")]
    assert all_names() == ["a", "b"]
    for lock, name in zip(locks, ("b", "a"), strict=True):
        os.close(lock)
        Layout(name).remove()
    assert all_names() == []
    assert not layout.RUN_DIR.exists()


def test_without_a_lock_file_it_is_dead() -> None:
    Layout("lab").root.mkdir(parents=True)
    assert Layout("lab").liveness() is Liveness.DEAD
