"""`testbed fail`: inject one fault by hand."""

from __future__ import annotations

import argparse

from testbed.cli.output import print_json
from testbed.faults.actions import ACTION_KINDS
from testbed.faults.targets import GRAMMAR
from testbed.instance.client import Control
from testbed.intent.names import parse_instance_name


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `fail`."""
    parser.add_argument("target", help=f"one of {', '.join(GRAMMAR.values())}")
    parser.add_argument("--kind", choices=ACTION_KINDS,
                        help="what happens to it (default: down; crash for a switch, loss for an "
                             "EV, pause for a host); deny (an EV) and disable (a NIC port) are "
                             "done by the host's controller")
    parser.add_argument("--ratio", help="for loss and corrupt: share of frames, e.g. 20%%")
    parser.add_argument("--for", dest="duration", metavar="TIME",
                        help="heal by itself after this wall-clock time, e.g. 5s")


def run(arguments: argparse.Namespace) -> int:
    """Says what was done and what shows that it bit."""
    asked = {"target": arguments.target, "kind": arguments.kind, "ratio": arguments.ratio,
             "duration": arguments.duration}
    with Control(parse_instance_name(arguments.name)) as control:
        fault = control.call("fail", asked)
    if arguments.json:
        print_json(fault)
        return 0
    healing = f"; heals by itself in {arguments.duration}" if arguments.duration else ""
    print(f"{fault['target']} {fault['kind']}: in force{healing}")
    print(f"  evidence  {fault['evidence_rule']}")
    print(f"  now       {fault['evidence']}")
    return 0
