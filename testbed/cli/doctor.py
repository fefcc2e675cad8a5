"""`testbed doctor`: what this machine has, lacks, and how to get it."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from testbed.cli.output import interrupt_on_hangup, paint, print_json, table
from testbed.doctor import MISSING, OK, Check, examine, prove_datapath
from testbed.errors import MachineError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `doctor`."""
    parser.add_argument("--self-test", action="store_true",
                        help="also prove the Open vSwitch datapath at a second hop (seconds)")


def run(arguments: argparse.Namespace) -> int:
    """Exit code 3 where something is missing."""
    interrupt_on_hangup()
    checks = examine()
    if arguments.self_test:
        checks += prove_datapath()
    missing = [check for check in checks if check.state == MISSING]
    if arguments.json:
        print_json([asdict(check) for check in checks])
    else:
        _show(checks, missing)
    return MachineError.exit_code if missing else 0


def _show(checks: list[Check], missing: list[Check]) -> None:
    print(table(("", "CHECK", "FOUND", "REMEDY"), [
        (check.state, check.name, check.found, "" if check.state == OK else check.remedy)
        for check in checks]))
    if missing:
        print(paint(f"{len(missing)} missing: nothing can be brought up", "red"))
    else:
        print(paint("this machine can run the testbed", "green"))
