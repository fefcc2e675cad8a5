"""`testbed status`: what is up, and whether it is healthy."""

from __future__ import annotations

import argparse
from typing import Any

from testbed.cli.output import paint, print_json, table
from testbed.instance.client import Control
from testbed.intent.names import parse_instance_name


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `status`."""
    parser.add_argument("-v", "--verbose", action="store_true", help="list every link")


def run(arguments: argparse.Namespace) -> int:
    """Ask the instance; probes its paths (a sample on large topologies)."""
    with Control(parse_instance_name(arguments.name)) as control:
        status = control.call("status")
    print_json(status) if arguments.json else _show(status, arguments.verbose)
    return 0


def _show(status: dict[str, Any], is_verbose: bool) -> None:
    print(f"{status['name']}: {status['topology']}, up {status['uptime_s']:.0f} s, "
          f"{_health(status)}")
    alive = sum(agent["alive"] for agent in status["agents"])
    links = status["links"]
    up = sum(link["state"] == "up" for link in links)
    checked = status["paths_checked"]
    sample = "" if checked == status["paths_total"] else f", sampled from {status['paths_total']:,}"
    print(table(("", ""), [
        ("data plane", status["dataplane_detail"]),
        ("controller", status["controller"]),
        ("time dilation", f"{status['tdf']:,}"),
        ("hosts", f"{status['hosts']}, {alive} agents alive"),
        ("switches", status["switches"]),
        ("links", f"{len(links)}, {up} up"),
        ("paths", f"{status['paths_ok']} of {checked} answer{sample}"),
        ("memory", f"{status['resident_mb']:.0f} MB"),
        ("unexplained loss", f"{status['unexplained_frames']} frames"),
    ]).strip("\n"))
    if status["unbalanced_switches"]:
        count = len(status["unbalanced_switches"])
        print(f"not balanced      {count} switches that had a NIC link without carrier")
    for fault in status["faults"]:
        print(f"fault  {fault['target']} {fault['kind']}: {fault['evidence']}")
    for problem in status["problems"]:
        print(paint(f"problem  {problem}", "yellow"))
    if is_verbose:
        print(table(("LINK", "STATE"), [(link["name"], link["state"]) for link in links]))


def _health(status: dict[str, Any]) -> str:
    if status["problems"]:
        return paint("impaired", "red")
    count = len(status["faults"])
    if count:
        return paint(f"{count} fault{'s' if count > 1 else ''} in force", "yellow")
    return paint("healthy", "green")
