"""Try in a throwaway namespace what the fabric will ask of the kernel."""

from __future__ import annotations

import os
from collections.abc import Callable

from testbed.errors import MachineError
from testbed.fabric.namespaces import unshare_network_and_mounts

_SLOT = 1000


def try_port_program() -> str:
    """Load the port program and attach it behind HTB. Raises MachineError."""
    return _in_child(_attach_port)


def try_usid_route() -> str:
    """Install a seg6local route with next-csid and read it back. Raises MachineError."""
    return _in_child(_add_usid_route)


def _attach_port() -> str:
    from pyroute2 import IPRoute

    from testbed.fabric import shaping
    from testbed.fabric.bpf import PortProgram

    with IPRoute() as ipr, PortProgram() as program:
        ipr.link("add", ifname="trial", kind="veth", index=_SLOT, peer="trial-peer")
        shaping.attach(ipr, _SLOT, 10_000_000, program.fd)
    return "loads and attaches"


def _add_usid_route() -> str:
    from pyroute2 import IPRoute

    from testbed.fabric.linuxplane import ANCHOR, add_usid_route, has_usid_route
    from testbed.fabric.wiring import prepare_forwarding

    prepare_forwarding()
    with IPRoute() as ipr:
        ipr.link("add", ifname=ANCHOR, kind="bridge", state="up")
        add_usid_route(ipr, 0x0800)
        if not has_usid_route(ipr, 0x0800):
            raise MachineError("the kernel takes the route and drops its action")
    return "installs and reads back"


def _in_child(trial: Callable[[], str]) -> str:
    """Run in a forked child with namespaces of its own; its namespaces end with it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os.write(writer, _outcome(trial).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        verdict, _, text = stream.read().partition(" ")
    os.waitpid(child, 0)
    if verdict != "ok":
        raise MachineError(text or "the trial ended without an answer")
    return text


def _outcome(trial: Callable[[], str]) -> str:
    try:
        unshare_network_and_mounts()
        return f"ok {trial()}"
    except Exception as error:
        return f"failed {str(error) or repr(error)}"
