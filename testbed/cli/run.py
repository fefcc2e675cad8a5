"""`testbed run`: one workload between two hosts, in the manner of perftest."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from pathlib import Path
from typing import Any

from testbed.cli.output import note, print_json
from testbed.cli.perftest import progress_line, report
from testbed.errors import TestbedError
from testbed.instance.client import Control
from testbed.intent.names import parse_instance_name
from testbed.intent.run import KINDS, RawRun, resolve_run
from topologies.spec import ClosSpec

_POLL_S = 0.2
_QUIET_EVERY_S = 10.0  # between lines of progress where there is no terminal
_NUMBERS = {
    "size": ("-s", "bytes of a message, e.g. 32KiB or 65536 (default: 32KiB; write-lat: 2)"),
    "qps": ("-q", "queue pairs (default: 4)"),
    "iters": ("-n", "messages per queue pair (write-lat: 100)"),
    "duration": ("-D", "emulated time to write for, e.g. 5ms (default: 1ms)"),
    "depth": ("-t", "messages posted at a time per queue pair (default: 128)"),
    "seed": (None, "of everything random (default: 1)"),
    "snap": (None, "bytes kept of each captured frame (default: 256)"),
}
_FLAGS = {
    "bidirectional": (("-b", "--bidir"), "write both ways at once"),
    "verify": (("--verify",), "give every message memory of its own and verify every byte"),
    "capture": (("--pcap",), "write a capture per NIC port into the run's folder"),
    "recalibrate": (("--recalibrate",), "measure anew what this machine carries"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `run`."""
    parser.add_argument("workload", help=" or ".join(KINDS))
    parser.add_argument("src", help="writing host, e.g. h0")
    parser.add_argument("dst", help="host that is written to, e.g. h7")
    for key, (short, text) in _NUMBERS.items():
        names = [name for name in (short, f"--{key}") if name]
        parser.add_argument(*names, dest=key, help=text)
    for key, (flags, text) in _FLAGS.items():
        parser.add_argument(*flags, dest=key, action="store_true", help=text)
    parser.add_argument("--tdf", default="auto",
                        help="time dilation: auto or wall time per emulated time")
    parser.add_argument("--out", default="runs", type=Path,
                        help="where the run's folder is made (default: %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Exit code 1 where the result is wrong, a queue pair failed or the run is invalid."""
    with Control(parse_instance_name(arguments.name)) as control:
        spec = ClosSpec(**control.call("nodes")["spec"])
        request = resolve_run(_raw(arguments), spec)
        number = control.call("run_start", {
            "request": request.to_document(), "folder": str(arguments.out.resolve()),
            **_owner()})
        result, was_interrupted = _follow(control, number)
    print_json(result) if arguments.json else print(report(result), end="")
    return 130 if was_interrupted else _exit_code(result)


def _raw(arguments: argparse.Namespace) -> RawRun:
    given = vars(arguments)
    return RawRun(
        workload=arguments.workload, src=arguments.src, dst=arguments.dst, tdf=arguments.tdf,
        texts={key: given[key] for key in _NUMBERS if given[key] is not None},
        flags=frozenset(key for key in _FLAGS if given[key]))


def _owner() -> dict[str, int]:
    """Whose the run's folder shall be: who called sudo, or who runs this."""
    return {"uid": int(os.environ.get("SUDO_UID", os.getuid())),
            "gid": int(os.environ.get("SUDO_GID", os.getgid()))}


def _follow(control: Control, number: int) -> tuple[dict[str, Any], bool]:
    """Wait for the result and show progress; the first Ctrl-C ends the run early."""
    shown = _Progress()
    was_interrupted = False
    try:
        while True:
            try:
                state = control.call("run_state", {"number": number})
                if state["result"] is not None:
                    shown.tell_notes(state)
                    return state["result"], was_interrupted
                shown.show(state)
                time.sleep(_POLL_S)
            except KeyboardInterrupt:
                if was_interrupted:
                    raise
                was_interrupted = True
                shown.end()
                note("ending the run; what is under way is finished (Ctrl-C again leaves it)")
                control.call("run_stop", {"number": number})
    except TestbedError as error:
        if not was_interrupted:
            raise
        shown.end()
        note(str(error))  # most often that there was nothing yet that could have a result
        raise KeyboardInterrupt from None
    finally:
        shown.end()


class _Progress:
    """One line that is written over on a terminal, now and then a line elsewhere."""

    def __init__(self) -> None:
        self._is_live = sys.stderr.isatty()
        self._told_at_s = time.monotonic()
        self._told_notes = 0

    def show(self, state: dict[str, Any]) -> None:
        """Tell how far the run is."""
        self.tell_notes(state)
        if state["phase"] == "calibrating":
            return
        if self._is_live:
            with contextlib.suppress(OSError):  # a terminal that has gone sees nothing
                width = os.get_terminal_size(sys.stderr.fileno()).columns
                sys.stderr.write("\r\033[K" + progress_line(state, width))
                sys.stderr.flush()
        elif time.monotonic() - self._told_at_s > _QUIET_EVERY_S:
            self._told_at_s = time.monotonic()
            note(progress_line(state, 100))

    def tell_notes(self, state: dict[str, Any]) -> None:
        """Print the sentences that are new, each on a line of its own."""
        for text in state["notes"][self._told_notes:]:
            self.end()
            note(text)
        self._told_notes = len(state["notes"])

    def end(self) -> None:
        """Leave the line to whatever is printed next."""
        if self._is_live:
            with contextlib.suppress(OSError):
                sys.stderr.write("\r\033[K")
                sys.stderr.flush()


def _exit_code(result: dict[str, Any]) -> int:
    is_wrong = result["verified"]["wrong_bytes"] or result["failures"]
    return 1 if is_wrong or result["verdict"]["word"] == "invalid" else 0
