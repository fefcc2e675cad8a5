"""How a failing start is told: by its own error, unless a `down` is what made it fail."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from testbed.errors import InstanceError, MachineError
from testbed.instance import layout
from testbed.instance.launch import Launch
from testbed.instance.layout import Layout
from testbed.intent.request import UpRequest
from testbed.intent.topology import load_topology


@pytest.fixture
def launch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Launch:
    monkeypatch.setattr(layout, "RUN_DIR", tmp_path)
    Layout("one").root.mkdir()
    return Launch(UpRequest("one", load_topology("tiny"), 1000, tdf_is_assumed=True))


def follow(launch: Launch, monkeypatch: pytest.MonkeyPatch, *events: dict[str, object]) -> None:
    monkeypatch.setattr(launch, "events", lambda: iter(events))
    launch.follow_until_ready(lambda _: None)


def test_a_failing_stage_is_its_own_error(
    launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MachineError, match="no clang"):
        follow(launch, monkeypatch, {"error": "no clang", "exit_code": 3})


def test_what_fails_while_a_down_is_under_way_is_the_downs_doing(
    launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    Layout("one").note_going_down()
    with pytest.raises(InstanceError, match="'one' was taken down while it was coming up"):
        follow(launch, monkeypatch, {"error": "h0 ended with -9", "exit_code": 5})
    Layout("one").remove()
    with pytest.raises(InstanceError, match="was taken down"):
        follow(launch, monkeypatch)


def test_a_start_that_ends_without_a_word_says_its_last(
    launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    Layout("one").log.write_text("first\nlast words\n")
    with pytest.raises(InstanceError, match="last words"):
        follow(launch, monkeypatch)


def test_an_interrupt_while_the_name_is_claimed_leaves_no_lock_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A Ctrl-C that came while signals were blocked is raised when they are let in again."""
    monkeypatch.setattr(layout, "RUN_DIR", tmp_path)

    def let_in(how: int, numbers: object) -> None:
        if how == signal.SIG_UNBLOCK:
            raise KeyboardInterrupt

    monkeypatch.setattr(signal, "pthread_sigmask", let_in)
    launch = Launch(UpRequest("two", load_topology("tiny"), 1000, tdf_is_assumed=True))
    with pytest.raises(KeyboardInterrupt):
        launch.start()
    assert launch.is_claimed
    assert Layout("two").liveness() is layout.Liveness.ALIVE
    launch.release()
    assert Layout("two").liveness() is layout.Liveness.DEAD  # and can be taken down
