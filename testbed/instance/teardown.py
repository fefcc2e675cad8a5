"""`down`: remove an instance, whatever state it is in, from its name alone."""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime
from pathlib import Path

from testbed.errors import InstanceError, MachineError
from testbed.fabric.cgroup import FAMILY, Cgroup, hierarchy
from testbed.instance.layout import Layout, Liveness, all_names
from testbed.instance.runfolder import close_cut_off

_CUT_OFF = "the instance was taken down, or died, before the run was over: run it again"
_PATIENCE_S = 5.0


def tear_down(name: str) -> bool:
    """End every process of the instance and remove what it left.

    Namespaces, interfaces, mounts and eBPF programs have no owner but those
    processes and vanish with them. Returns False where there was nothing.
    """
    layout, cgroup = Layout(name), Cgroup(name)
    if layout.liveness() is Liveness.ABSENT and not cgroup.exists():
        return False
    deadline_s = time.monotonic() + _PATIENCE_S
    layout.note_going_down()
    cgroup.kill()
    # A process that was started a moment ago holds the lock and joins the cgroup soon.
    while layout.liveness() is Liveness.ALIVE:
        if time.monotonic() > deadline_s:
            raise InstanceError(f"the lock {layout.lock} is held by a process outside the "
                                "instance; end that process, then `down` again")
        time.sleep(0.005)
        cgroup.kill()
    cgroup.remove()
    _close_open_run(layout)
    layout.remove()
    return True


def _close_open_run(layout: Layout) -> None:
    """A run that was under way will not be finished: say so in its folder."""
    with contextlib.suppress(OSError):
        close_cut_off(Path(layout.open_run.read_text()), _CUT_OFF, datetime.now(UTC), layout.rows)


def known_instances() -> list[str]:
    """Names of all instances on this machine, by state directory or cgroup."""
    names = set(all_names())
    with contextlib.suppress(MachineError, FileNotFoundError):
        names |= {path.name for path in (hierarchy() / FAMILY).iterdir() if path.is_dir()}
    return sorted(names)
