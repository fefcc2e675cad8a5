"""An instance's cgroup, while somebody else removes it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.fabric.cgroup import Cgroup

pytestmark = pytest.mark.root


@pytest.fixture
def cgroup(name: str) -> Iterator[Cgroup]:
    found = Cgroup(name)
    found.create()
    yield found
    found.remove()


@pytest.mark.parametrize("open_first", [True, False])
def test_one_that_vanishes_under_a_kill_is_killed(
    cgroup: Cgroup, monkeypatch: pytest.MonkeyPatch, open_first: bool
) -> None:
    """An `up` that ends itself removes it: reading a file that was open then says ENODEV."""
    def removed_meanwhile(path: Path) -> str:
        if open_first:
            with path.open() as file:
                path.parent.rmdir()
                return file.read()
        path.parent.rmdir()
        with path.open() as file:
            return file.read()

    monkeypatch.setattr(Path, "read_text", removed_meanwhile)
    cgroup.kill()
    assert not cgroup.exists()


def test_one_that_vanishes_under_the_signal_is_killed(
    cgroup: Cgroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_removed(path: Path, text: str) -> int:
        with path.open("w", buffering=1) as file:
            path.parent.rmdir()
            return file.write(text + "\n")

    monkeypatch.setattr(Cgroup, "_is_populated", lambda cgroup: cgroup.exists())
    monkeypatch.setattr(Path, "write_text", write_removed)
    cgroup.kill()
    assert not cgroup.exists()
