"""`down`: remove an instance, whatever state it is in, from its name alone."""

from __future__ import annotations

import contextlib

from testbed.errors import MachineError
from testbed.fabric.cgroup import FAMILY, Cgroup, hierarchy
from testbed.instance.layout import Layout, Liveness, all_names


def tear_down(name: str) -> bool:
    """End every process of the instance and remove what it left.

    Namespaces, interfaces, mounts and eBPF programs have no owner but those
    processes and vanish with them. Returns False where there was nothing.
    """
    layout, cgroup = Layout(name), Cgroup(name)
    if layout.liveness() is Liveness.ABSENT and not cgroup.exists():
        return False
    cgroup.kill()
    cgroup.remove()
    layout.remove()
    return True


def known_instances() -> list[str]:
    """Names of all instances on this machine, by state directory or cgroup."""
    names = set(all_names())
    with contextlib.suppress(MachineError, FileNotFoundError):
        names |= {path.name for path in (hierarchy() / FAMILY).iterdir() if path.is_dir()}
    return sorted(names)
