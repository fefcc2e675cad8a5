"""What this machine has, lacks, and how to get it: tried, not guessed, where possible.

Trials run in throwaway namespaces of a child process and leave nothing behind.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from testbed.errors import MachineError, TestbedError
from testbed.fabric import datapath, trials
from testbed.fabric.cgroup import hierarchy
from testbed.fabric.ovs import find_jemalloc
from testbed.instance import selftest
from testbed.instance.layout import Layout, Liveness
from testbed.instance.teardown import known_instances

OK, WARNING, MISSING = "ok", "warning", "missing"

_TOOLS = {
    "mnexec": "mininet", "ovs-vswitchd": "openvswitch-switch", "ovs-vsctl": "openvswitch-common",
    "ovsdb-server": "openvswitch-common", "ovsdb-tool": "openvswitch-common",
    "ssh-keygen": "openssh-client",
    "/usr/sbin/sshd": "openssh-server", "nsenter": "util-linux", "mount": "mount",
    "clang": "clang",
}
_MODULES = ("mininet", "pyroute2", "paramiko", "pandas", "yaml")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at; ``remedy`` says how to get it where it is not ok."""

    name: str
    state: str
    found: str
    remedy: str = ""


def examine() -> list[Check]:
    """Everything, in the order it is printed. Trials need root; without it they say so."""
    return [check for part in (_system, _tools, _packages, _kernel, _leftovers)
            for check in part()]


def require_root(verb: str) -> None:
    """Raises MachineError unless this is root."""
    if os.geteuid() != 0:
        raise MachineError(f"`{verb}` builds or touches namespaces and needs root; "
                           f"run it with sudo")


def require_fit() -> None:
    """The quick part, before every `up`: tools, packages, cgroup. Raises MachineError."""
    lacking = [check for part in (_tools, _packages) for check in part()
               if check.state == MISSING]
    if lacking:
        first = lacking[0]
        raise MachineError(f"{first.name} is missing ({first.found}); {first.remedy}")
    hierarchy()


def _system() -> Iterator[Check]:
    root = os.geteuid() == 0
    yield Check("root", OK if root else MISSING, "yes" if root else "no", "use sudo")
    yield Check("kernel", OK, os.uname().release)
    cores = len(os.sched_getaffinity(0))
    yield Check("cores", OK if cores >= 2 else WARNING, str(cores),
                "2 are what it was proven on; runs will need a larger TDF")
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    yield Check("memory", OK if memory >= 4 else WARNING, f"{memory:.0f} GB",
                "wide needs about 3 GB; smaller topologies far less")
    free = shutil.disk_usage("/run").free / 1e6
    yield Check("space under /run", OK if free >= 50 else MISSING, f"{free:.0f} MB",
                "free 50 MB: an instance keeps its logs there")


def _tools() -> Iterator[Check]:
    for tool, package in _TOOLS.items():
        path = shutil.which(tool)
        yield Check(tool.rsplit("/", 1)[-1], OK if path else MISSING, path or "not installed",
                    f"make install (or apt-get install {package})")


    jemalloc = find_jemalloc()
    yield Check("jemalloc", OK if jemalloc else WARNING, str(jemalloc or "not installed"),
                "make install (or apt-get install libjemalloc2); Open vSwitch is slower without")


def _packages() -> Iterator[Check]:
    for name in _MODULES:
        there = importlib.util.find_spec(name) is not None
        yield Check(f"python {name}", OK if there else MISSING,
                    "there" if there else "not importable", "make install")
    ryu = importlib.util.find_spec("ryu") is not None
    fork = importlib.util.find_spec("os_ken") is not None
    yield Check("python ryu", OK if ryu else WARNING if fork else MISSING,
                "there" if ryu else "os-ken in its place" if fork else "not importable",
                "make install")


def _kernel() -> Iterator[Check]:
    yield _attempt("cgroup v2", lambda: str(hierarchy()), MISSING)
    if os.geteuid() != 0:
        yield Check("kernel trials", WARNING, "not tried", "run doctor as root")
        return
    yield _attempt("port program (HTB, clsact, eBPF)", trials.try_port_program, MISSING)
    yield _attempt("seg6local with next-csid", trials.try_usid_route, WARNING)
    yield _openvswitch_module()


def _attempt(name: str, trial: Callable[[], str], otherwise: str) -> Check:
    try:
        return Check(name, OK, trial())
    except (TestbedError, OSError) as error:
        return Check(name, otherwise, str(error), "a newer kernel, or one with these options")


def _openvswitch_module() -> Check:
    name = "openvswitch kernel module"
    if not datapath.is_module_there():
        return Check(name, OK, "not here; Open vSwitch runs in userspace (slower, complete)")
    if datapath.verdict():
        return Check(name, OK, "there, and its self-test passed: it is used")
    state = "not tried yet" if datapath.verdict() is None else "its self-test failed"
    return Check(name, WARNING, f"there, {state}; userspace is used",
                 "try it: sudo python -m testbed doctor --self-test")


def _leftovers() -> Iterator[Check]:
    for name in known_instances():
        state = Layout(name).liveness()
        if state is Liveness.ALIVE:
            yield Check(f"instance {name}", OK, "up")
        else:
            yield Check(f"instance {name}", WARNING, "dead, its remains are still here",
                        f"sudo python -m testbed down --name {name}")


def needs_proof() -> bool:
    """True where this kernel's openvswitch module is there and was never tried."""
    return datapath.is_module_there() and datapath.verdict() is None


def prove_datapath() -> list[Check]:
    """The self-test of Open vSwitch's datapath: the kernel's where it is there.

    Its verdict on the kernel datapath is kept and decides what `up` takes.
    """
    require_root("doctor --self-test")
    is_kernel = datapath.is_module_there()
    which = "kernel" if is_kernel else "userspace"
    try:
        with datapath.forced(datapath.KERNEL if is_kernel else datapath.USERSPACE):
            findings = selftest.prove()
    except TestbedError as error:
        if is_kernel:
            datapath.record_proof(False)
        return [Check(f"{which} datapath", WARNING, f"does not come up: {error}",
                      "userspace is used" if is_kernel else "use --dataplane linux")]
    if is_kernel:
        datapath.record_proof(all(finding.is_proved for finding in findings))
    return [
        Check(f"{which} datapath: {finding.trial} at hop {finding.hop}",
              OK if finding.is_proved else WARNING,
              f"{finding.frames} of {selftest.FRAMES} frames",
              "userspace is used" if is_kernel else "use --dataplane linux, and report this")
        for finding in findings
    ]
