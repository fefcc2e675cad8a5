"""`testbed shell`: a shell, or one command, on a host (or a switch of the Linux plane)."""

from __future__ import annotations

import argparse
import os

from testbed.errors import UsageError
from testbed.fabric.cgroup import Cgroup
from testbed.fabric.namespaces import enter_mounts, enter_network
from testbed.instance.client import Control
from testbed.intent.names import parse_instance_name


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `shell`."""
    parser.add_argument("host", help="e.g. h0; `instance` is where Open vSwitch and Ryu run")
    parser.add_argument("command", nargs=argparse.REMAINDER,
                        help="a command with its arguments, last (default: a shell)")


def run(arguments: argparse.Namespace) -> int:
    """Becomes the command; its exit code is the exit code."""
    with Control(parse_instance_name(arguments.name)) as control:
        node = control.call("node", {"name": arguments.host})
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    command = command or ["/bin/bash", "--norc"]
    Cgroup(arguments.name).add(os.getpid())  # `down` ends it too
    enter_network(node["pid"])
    enter_mounts(node["pid"])
    environment = {**os.environ, **node["environment"], "PS1": f"{arguments.host}# "}
    try:
        os.execvpe(command[0], command, environment)
    except OSError as error:
        raise UsageError(f"cannot run '{command[0]}' on {arguments.host}: "
                         f"{(error.strerror or str(error)).lower()}") from None
