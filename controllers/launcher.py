"""Run the controller: ``python -m controllers.launcher --plan PLAN.json``.

The parent process (the instance) speaks with it in lines of JSON. On standard
output, one event per line:

========= ===================================== ======================================
event     further keys                          meaning
========= ===================================== ======================================
listening ryu (or os_ken): version; host; port  switches may be pointed here now
switch    name; flows; ms; is_changed           this switch holds the plan, read back;
                                                not is_changed: it already did
ready     switches                              the last switch of the plan does
mismatch  name; differences                     it does not, though it was told to
left      name                                  its connection ended
stranger  dpid                                  a switch that the plan does not have
refused   name; reason                          a switch answered with an OpenFlow error
verified  switches; differences; drops          the answer to `verify`: differences by
                                                switch (none: {}), packets dropped by
                                                switch and cause
error     message                               a command or the plan was not understood
========= ===================================== ======================================

On standard input, one command per line: ``{"cmd": "reload"}`` reads the plan
file again and brings the switches to it; ``{"cmd": "verify"}`` reads every rule
back and changes nothing. Logs go to standard error.

It ends when standard input does (so it never outlives its parent), or on
SIGTERM. There is nothing to clean up: switches keep forwarding without it.
"""

import argparse
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from testbed.errors import MachineError, TestbedError, UsageError
from testbed.forwarding.plan import Plan

if TYPE_CHECKING:
    from controllers.app import FabricProgrammer

STDIN = 0
READ_BYTES = 65_536


def read_plan(path: Path) -> Plan:
    """Read a plan file. UsageError where it is missing or not a plan."""
    try:
        return Plan.from_dict(json.loads(path.read_text()))
    except OSError as error:
        raise UsageError(
            f"the plan {path} cannot be read ({error.strerror}): write it first"
        ) from None
    except (ValueError, AttributeError) as error:
        raise UsageError(
            f"{path} is not a forwarding plan ({error}): write it with testbed.forwarding.plan"
        ) from None


def report(event: dict[str, Any]) -> None:
    """Tell the parent, at once. With the parent gone there is nobody to work for."""
    try:
        print(json.dumps(event), flush=True)
    except BrokenPipeError:
        os._exit(0)


def lines_of(descriptor: int, wait: Callable[[int], None]) -> Iterator[bytes]:
    """Give each line that arrives; end where the stream does."""
    rest = b""
    while True:
        wait(descriptor)
        chunk = os.read(descriptor, READ_BYTES)
        if not chunk:
            return
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines


def obey(line: bytes, plan_path: Path, programmer: "FabricProgrammer") -> None:
    """Carry one command out. UsageError where it is none, or the plan is unusable."""
    from controllers.app import EventPlanLoaded, EventVerifyRequested

    try:
        command = json.loads(line)["cmd"]
    except (ValueError, KeyError, TypeError):
        command = line.decode(errors="replace")
    match command:
        case "reload":
            event = EventPlanLoaded(read_plan(plan_path))
        case "verify":
            event = EventVerifyRequested()
        case _:
            raise UsageError(f"the command {command!r} is unknown: send reload or verify")
    programmer.send_event(programmer.name, event)


def serve(plan_path: Path, host: str, port: int) -> None:
    """Listen, program every switch that comes, and obey, until standard input ends."""
    plan = read_plan(plan_path)
    try:
        from controllers import app, compat  # 0.2 s: not before the arguments are right
    except ImportError as error:
        raise MachineError(str(error)) from None
    from controllers.fleet import Fleet

    try:
        fleet = Fleet(plan)
    except ValueError as error:
        raise UsageError(f"the plan {plan_path} cannot be used: {error}") from None
    manager = compat.AppManager()
    listener = manager.instantiate(app.SwitchListener, host=host, port=port, report=report)
    programmer = manager.instantiate(app.FabricProgrammer, fleet=fleet, report=report)
    programmer.start()
    try:
        listener.start()
    except OSError as error:
        raise TestbedError(
            f"the controller cannot listen on {host} port {port} ({error.strerror}):"
            " end what listens there or choose another port"
        ) from None
    for line in lines_of(STDIN, compat.wait_readable):
        try:
            obey(line, plan_path, programmer)
        except UsageError as error:
            report({"event": "error", "message": str(error)})


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the arguments and serve; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m controllers.launcher",
        description="Load a forwarding plan into the switches that connect, and prove it.",
    )
    parser.add_argument("--plan", type=Path, required=True, help="plan file (JSON)")
    parser.add_argument("--listen", default="127.0.0.1", help="address (default %(default)s)")
    parser.add_argument("--port", type=int, default=6653,
                        help="TCP port, 0 for a free one (default %(default)s)")
    arguments = parser.parse_args(argv)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING,
                        format="%(asctime)s %(name)s %(levelname)s %(message)s")
    signal.signal(signal.SIGTERM, lambda _number, _frame: os._exit(0))
    try:
        serve(arguments.plan, arguments.listen, arguments.port)
    except TestbedError as error:
        print(f"controller: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    exit_code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)  # taking the framework apart would take 0.3 s, and change nothing
