"""The command line: parse, run one verb, turn errors into a sentence and an exit code."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module

from testbed import __version__
from testbed.cli.output import note
from testbed.errors import TestbedError

# verb -> what `--help` says; each is a module of this package
VERBS = {
    "doctor": "what this machine has, lacks, and how to get it",
    "up": "bring up a topology (Ctrl-C takes it down; -d leaves it running)",
    "down": "remove an instance, or every instance",
    "status": "hosts, switches, links, agents, time dilation, health",
    "topology": "describe and draw a topology without building it",
    "paths": "every path between two hosts: EV, plane, T1, uSID address, state",
    "probe": "probe every path between two hosts: reachability and RTT",
    "run": "run a workload between two hosts: write-bw, write-lat",
    "fail": "inject one fault by hand",
    "heal": "take back one fault, or all",
    "shell": "a shell on a host",
    "cli": "the Mininet prompt",
}
INTERRUPTED = 130


def make_parser() -> argparse.ArgumentParser:
    """The parser of all verbs."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--name", default=os.environ.get("TESTBED_NAME", "default"),
                        help="which instance (default: %(default)s)")
    common.add_argument("--json", action="store_true",
                        help="print exactly one JSON document on stdout")
    common.add_argument("--debug", action="store_true", help="show tracebacks")
    parser = argparse.ArgumentParser(
        prog="testbed", description="An emulated multi-plane SRv6 Clos to run, break and "
        "measure MRC on. Exit codes: 0 done, 1 failed check, 2 bad usage, 3 the machine lacks "
        "something, 4 no such instance or it is busy or dead, 5 the testbed failed, "
        "130 interrupted.")
    parser.add_argument("--version", action="version", version=f"testbed {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="COMMAND", required=True)
    for verb, summary in VERBS.items():
        sub = verbs.add_parser(verb, parents=[common], help=summary, description=summary)
        _module(verb).add_arguments(sub)
    return parser


def _module(verb: str):  # type: ignore[no-untyped-def]
    return import_module(f"testbed.cli.{verb}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    arguments = make_parser().parse_args(argv)
    try:
        code = _module(arguments.verb).run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        note("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # `testbed status | head` has read enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except TestbedError as error:
        return _report(error, error.exit_code, arguments.debug)
    except Exception as error:
        return _report(error, TestbedError.exit_code, arguments.debug)
    return int(code)


def _report(error: Exception, code: int, is_debug: bool) -> int:
    if is_debug:
        traceback.print_exception(error)
    text = str(error)
    if not isinstance(error, TestbedError):
        text = f"internal error ({error!r}); run again with --debug and report the traceback"
    note(f"testbed: {text}")
    return code
