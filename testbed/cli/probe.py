"""`testbed probe`: probes over every path between two hosts, or out and back to one."""

from __future__ import annotations

import argparse
from typing import Any

from testbed.cli.hosts import host_index
from testbed.cli.output import paint, print_json, table
from testbed.instance.client import Control
from testbed.intent.names import parse_instance_name

PATIENCE_S = 24 * 3600.0  # many probes of long time-outs take what they take; Ctrl-C ends it


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `probe`."""
    parser.add_argument("src", help="sending host, e.g. h0")
    parser.add_argument("dst", help="answering host; the same as SRC probes out and back")
    parser.add_argument("--ev", help="only this path, e.g. 0x0203")
    parser.add_argument("--count", type=int, default=3, help="probes per path (default: 3)")
    parser.add_argument("--timeout", default="1s",
                        help="how long to wait beyond the emulated round trip, wall clock "
                             "(default: %(default)s)")
    parser.add_argument("--size", help="frame size, e.g. 4238B (default: the smallest)")


def run(arguments: argparse.Namespace) -> int:
    """Exit code 1 where a path did not answer every probe."""
    asked = {
        "src": host_index(arguments.src), "dst": host_index(arguments.dst),
        "ev": arguments.ev, "count": arguments.count, "timeout": arguments.timeout,
        "size": arguments.size,
    }
    with Control(parse_instance_name(arguments.name)) as control:
        rows = control.call("probe", asked, timeout_s=PATIENCE_S)
    is_complete = all(row["received"] == row["sent"] for row in rows)
    print_json(rows) if arguments.json else _show(rows, is_complete)
    return 0 if is_complete else 1


def _show(rows: list[dict[str, Any]], is_complete: bool) -> None:
    print(table(("EV", "PLANE", "T1", "ADDRESS", "SENT", "RECEIVED", "RTT (us, emulated)"), [
        (row["ev"], row["plane"], "-" if row["t1"] is None else row["t1"], row["address"],
         row["sent"], row["received"],
         "-" if row["rtt_us"] is None else f"{row['rtt_us']:.3f}") for row in rows]))
    good = sum(row["received"] == row["sent"] for row in rows)
    text = f"{good} of {len(rows)} paths answered every probe"
    print(paint(text, "green" if is_complete else "red"))
