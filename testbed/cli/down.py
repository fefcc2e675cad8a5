"""`testbed down`: remove an instance, whatever state it is in."""

from __future__ import annotations

import argparse

from testbed.cli.output import print_json
from testbed.doctor import require_root
from testbed.instance.teardown import known_instances, tear_down
from testbed.intent.names import parse_instance_name


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `down`."""
    parser.add_argument("--all", action="store_true", help="every instance on this machine")


def run(arguments: argparse.Namespace) -> int:
    """Idempotent: taking down what is not up is no error."""
    names = [parse_instance_name(arguments.name)]
    if arguments.all:
        names = known_instances()
    require_root("down")
    gone = [name for name in names if tear_down(name)]
    if arguments.json:
        print_json({"down": gone})
    elif gone:
        print("\n".join(f"instance '{name}' is down; nothing of it is left" for name in gone))
    else:
        print("nothing to take down" if arguments.all
              else f"instance '{names[0]}' is not up; nothing to take down")
    return 0
