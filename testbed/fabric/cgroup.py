"""One cgroup v2 per instance: everything it starts is in it, and ends with it."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from testbed.errors import MachineError, TestbedError

FAMILY = "mrc-testbed"


def hierarchy() -> Path:
    """Mount point of cgroup v2 (also /sys/fs/cgroup/unified on hybrid machines)."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _source, target, kind, *_rest = line.split()
        if kind == "cgroup2":
            return Path(target)
    raise MachineError(
        "no cgroup v2 hierarchy is mounted, so an instance could not be ended reliably; "
        "mount one: mount -t cgroup2 none /sys/fs/cgroup/unified"
    )


class Cgroup:
    """The cgroup of the instance ``name``; need not exist yet."""

    def __init__(self, name: str) -> None:
        self.path = hierarchy() / FAMILY / name

    def create(self) -> None:
        """Make it; another instance may remove the empty family folder meanwhile."""
        for _ in range(100):
            try:
                self.path.parent.mkdir(exist_ok=True)
                self.path.mkdir(exist_ok=True)
                return
            except FileNotFoundError:
                continue
            except OSError as error:
                raise MachineError(f"cgroups cannot be made in {hierarchy()} ({error.strerror}): "
                                   "inside a container, run it privileged") from error
        raise TestbedError(f"cannot create the cgroup {self.path}; check who removes it")

    def exists(self) -> bool:
        """True while the cgroup is there, with or without processes."""
        return self.path.is_dir()

    def add(self, pid: int) -> None:
        """Put a process in; its children follow by birth."""
        (self.path / "cgroup.procs").write_text(str(pid))

    def pids(self) -> list[int]:
        """Processes in it now, without zombies; empty where it does not exist."""
        try:
            return [int(line) for line in (self.path / "cgroup.procs").read_text().split()]
        except (FileNotFoundError, OSError):
            return []

    def kill(self, timeout_s: float = 30.0) -> None:
        """End every process in it and wait until the last is gone."""
        deadline = time.monotonic() + timeout_s
        while self.exists() and self._is_populated():
            self._signal_all()
            if time.monotonic() > deadline:
                raise TestbedError(
                    f"processes {self.pids()} survive SIGKILL (blocked in the kernel?); "
                    "see `ps` and try `down` again"
                )
            time.sleep(0.005)

    def remove(self) -> None:
        """Remove it, and the family folder when this was the last one."""
        deadline = time.monotonic() + 5.0
        while self.exists():
            try:
                self.path.rmdir()
            except FileNotFoundError:
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.005)
        with contextlib.suppress(OSError):
            self.path.parent.rmdir()

    def cpu_usage_us(self) -> int:
        """CPU time used so far by all of it, in microseconds."""
        stat = (self.path / "cpu.stat").read_text().split()
        return int(stat[stat.index("usage_usec") + 1])

    def resident_bytes(self) -> int:
        """Sum of the resident memory of its processes (shared pages count each time)."""
        page, total = os.sysconf("SC_PAGE_SIZE"), 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page
        return total

    def _is_populated(self) -> bool:
        with _unless_gone():
            return "populated 1" in (self.path / "cgroup.events").read_text()
        return False

    def _signal_all(self) -> None:
        # cgroup.kill came with Linux 5.14; before that, each pid in turn.
        killer = self.path / "cgroup.kill"
        if killer.exists():
            with _unless_gone():
                killer.write_text("1")
            return
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def _unless_gone() -> Iterator[None]:
    """Do nothing where the cgroup was removed meanwhile, by an `up` that ended itself, say.

    A file that was open at that moment says ENODEV.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENODEV):
            raise
