"""`testbed paths`: every path between two hosts."""

from __future__ import annotations

import argparse
from typing import Any

from testbed.cli.hosts import host_index
from testbed.cli.output import print_json, table
from testbed.errors import UsageError
from testbed.forwarding.paths import paths
from testbed.instance.client import Control
from testbed.intent.names import parse_instance_name
from testbed.intent.topology import load_topology
from topologies.ev import format_ev


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `paths`."""
    parser.add_argument("src", help="sending host, e.g. h0")
    parser.add_argument("dst", help="receiving host, e.g. h5")
    parser.add_argument("--topology", help="of this topology, without an instance")


def run(arguments: argparse.Namespace) -> int:
    """From the running instance, with state; or from a topology, without."""
    if arguments.topology:
        rows = _described(arguments)
    else:
        pair = {"src": host_index(arguments.src), "dst": host_index(arguments.dst)}
        with Control(parse_instance_name(arguments.name)) as control:
            rows = control.call("paths", pair)
    if arguments.json:
        print_json(rows)
        return 0
    if any(row["evs"] for row in rows):
        print(table((*_HEADER, "MRC", "SENT", "MARKED", "LOST"), [
            (*_cells(row), *_mrc_cells(row["evs"])) for row in rows]))
    else:
        print(table(_HEADER, [_cells(row) for row in rows]))
    return 0


_HEADER = ("EV", "PLANE", "T1", "ADDRESS", "STATE")


def _cells(row: dict[str, Any]) -> tuple[object, ...]:
    return (row["ev"], row["plane"], _dash(row["t1"]), row["address"], _dash(row["state"]))


def _mrc_cells(evs: dict[str, Any] | None) -> tuple[object, ...]:
    """What the queue pairs of a run make of a path: one word where they agree."""
    if evs is None:
        return ("-", 0, 0, 0)
    states = evs["states"]
    if len(states) == 1:
        (text,) = states
    else:
        text = ", ".join(f"{count} {word}" for word, count in states.items())
    return (text, evs["sent"], evs["marked"], evs["lost"])


def _described(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    spec = load_topology(arguments.topology)
    src, dst = host_index(arguments.src, spec), host_index(arguments.dst, spec)
    try:
        found = paths(spec, src, dst)
    except ValueError as error:
        raise UsageError(str(error)) from None
    return [{"ev": format_ev(path.ev), "plane": path.plane, "t1": path.t1,
             "address": str(path.address), "state": None, "evs": None} for path in found]


def _dash(value: object) -> object:
    return "-" if value is None else value
