"""The command line: parse, run one verb, turn errors into a sentence and an exit code."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module

from testbed import __version__
from testbed.cli.common import common_options
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
    "run": "run a workload: write-bw, write-lat, allreduce and other collectives, train, ...",
    "drill": "scripted failure drills: list, show, run, new",
    "report": "one page about a run: verdict, checks, figures, recovery",
    "compare": "runs side by side",
    "fail": "inject one fault by hand",
    "heal": "take back one fault, or all",
    "shell": "a shell on a host",
    "cli": "the Mininet prompt",
}
INTERRUPTED = 130


def make_parser(words: Sequence[str] = tuple(VERBS)) -> argparse.ArgumentParser:
    """The parser of all verbs; only those among ``words`` know their options.

    What one command needs, pandas for one, is not imported for every other.
    """
    parser = argparse.ArgumentParser(
        prog="testbed", description="An emulated multi-plane SRv6 Clos to run, break and "
        "measure MRC on. Exit codes: 0 done, 1 failed check, 2 bad usage, 3 the machine lacks "
        "something, 4 no such instance or it is busy or dead, 5 the testbed failed, "
        "130 interrupted.")
    parser.add_argument("--version", action="version", version=f"testbed {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="COMMAND", required=True)
    for verb, summary in VERBS.items():
        sub = verbs.add_parser(verb, parents=[common_options()], help=summary, description=summary)
        if verb in words:
            _module(verb).add_arguments(sub)
    return parser


def _module(verb: str):  # type: ignore[no-untyped-def]
    return import_module(f"testbed.cli.{verb}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    arguments = make_parser(sys.argv[1:] if argv is None else argv).parse_args(argv)
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
