"""`testbed cli`: the Mininet prompt, in this terminal, on the running instance."""

from __future__ import annotations

import argparse
import os

from testbed.fabric.cgroup import Cgroup
from testbed.fabric.namespaces import enter_network
from testbed.instance.client import Control
from testbed.intent.names import parse_instance_name
from topologies.graph import build_graph
from topologies.spec import ClosSpec


def add_arguments(_parser: argparse.ArgumentParser) -> None:
    """No options of its own."""


def run(arguments: argparse.Namespace) -> int:
    """Attach to the nodes with shells of our own; leaving it changes nothing."""
    with Control(parse_instance_name(arguments.name)) as control:
        nodes = control.call("nodes")
    from testbed.fabric.prompt import run_prompt

    Cgroup(arguments.name).add(os.getpid())  # `down` ends it too
    enter_network(nodes["instance"]["pid"])
    run_prompt(build_graph(ClosSpec(**nodes["spec"])), nodes["pids"],
               nodes["management"], nodes["instance"]["environment"])
    return 0
