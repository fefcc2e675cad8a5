"""Where an instance keeps its files, and who holds its lock.

Everything lies in /run/mrc-testbed/NAME, so it is gone after a reboot and can
be removed without knowing what happened before.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from testbed.errors import InstanceError

RUN_DIR = Path("/run/mrc-testbed")
CHECKOUT = Path(__file__).parents[2]


class Liveness(Enum):
    """What the state directory and its lock say about an instance."""

    ABSENT = "absent"
    ALIVE = "alive"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths of the instance ``name``."""

    name: str

    @property
    def root(self) -> Path:
        return RUN_DIR / self.name

    @property
    def name_option(self) -> str:
        """How a command is told of this instance: nothing to add for the default one."""
        return "" if self.name == "default" else f" --name {self.name}"

    @property
    def control_socket(self) -> Path:
        return self.root / "control.sock"

    @property
    def request(self) -> Path:
        """The resolved request `up` was made with, as JSON."""
        return self.root / "request.json"

    @property
    def plan(self) -> Path:
        """The forwarding plan the controller loads."""
        return self.root / "plan.json"

    @property
    def log(self) -> Path:
        """Everything the instance process writes to stdout and stderr."""
        return self.root / "instance.log"

    @property
    def open_run(self) -> Path:
        """Names the folder of the run under way, so that whoever ends it can close it."""
        return self.root / "run"

    @property
    def rows(self) -> Path:
        """Rows of the run under way: a file of each host, and the instance's own."""
        return self.root / "rows"

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def is_going_down(self) -> bool:
        """True from the moment a `down` has begun, also when it is through."""
        return self._ending.exists() or not self.root.exists()

    def note_going_down(self) -> None:
        """A `down` begins: what fails in the instance from now on is its doing."""
        with contextlib.suppress(OSError):  # a full disk or a root that is gone hinder no `down`
            self._ending.touch()

    @property
    def _ending(self) -> Path:
        return self.root / "ending"

    def folder(self, name: str) -> Path:
        """A private subfolder (mode 0700), made on first use."""
        path = self.root / name
        path.mkdir(mode=0o700, exist_ok=True)
        return path

    def liveness(self) -> Liveness:
        """ABSENT without a state directory, ALIVE while its lock is held, else DEAD."""
        if not self.root.is_dir():
            return Liveness.ABSENT
        try:
            handle = os.open(self.lock, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return Liveness.DEAD
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return Liveness.ALIVE
        finally:
            os.close(handle)
        return Liveness.DEAD

    def claim(self) -> int:
        """Make the state directory and take its lock; the first comer wins.

        Returns the descriptor that holds the lock. Raises `InstanceError`
        where the instance is there already, alive or dead.
        """
        self._make_root()
        try:
            handle = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            fcntl.flock(handle, fcntl.LOCK_EX)  # a `status` may hold it shared for a moment
        except OSError:
            self.remove()
            raise
        return handle

    def _make_root(self) -> None:
        """Make the directory nobody else has; the empty family folder may go meanwhile."""
        while True:
            RUN_DIR.mkdir(mode=0o755, exist_ok=True)
            try:
                self.root.mkdir(mode=0o755)
                return
            except FileExistsError:
                raise self._taken() from None
            except FileNotFoundError:
                continue

    def _taken(self) -> InstanceError:
        name = self.name_option
        if self.liveness() is Liveness.ALIVE:
            return InstanceError(
                f"instance '{self.name}' is already up; take it down first "
                f"(sudo python -m testbed down{name}) or choose another name (--name)"
            )
        return InstanceError(
            f"instance '{self.name}' is dead: its process is gone but its remains are not; "
            f"clean up with `sudo python -m testbed down{name}`"
        )

    def remove(self) -> None:
        """Delete the state directory, and the family folder when it is empty."""
        shutil.rmtree(self.root, ignore_errors=True)
        with contextlib.suppress(OSError):
            RUN_DIR.rmdir()


def all_names() -> list[str]:
    """Names of all instances that left a state directory, alive or dead."""
    if not RUN_DIR.is_dir():
        return []
    return sorted(path.name for path in RUN_DIR.iterdir() if path.is_dir())
