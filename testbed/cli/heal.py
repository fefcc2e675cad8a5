"""`testbed heal`: take back one fault, or all."""

from __future__ import annotations

import argparse

from testbed.cli.output import print_json
from testbed.instance.client import Control
from testbed.intent.names import parse_instance_name


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `heal`."""
    parser.add_argument("target", nargs="?", help="as given to `fail` (default: every fault)")


def run(arguments: argparse.Namespace) -> int:
    """Says for each fault what it did while it was in force."""
    with Control(parse_instance_name(arguments.name)) as control:
        healed = control.call("heal", {"target": arguments.target})
    if arguments.json:
        print_json(healed)
    elif not healed:
        print("no fault is in force")
    else:
        for fault in healed:
            print(f"{fault['target']} {fault['kind']}: healed; {fault['evidence']}")
    return 0
