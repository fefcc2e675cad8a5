"""`testbed status`: what is up, whether it is healthy, and what a run is doing."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from typing import Any

from testbed.cli.output import VERDICT_COLOURS, paint, print_json, table
from testbed.errors import UsageError
from testbed.instance.client import Control
from testbed.intent.names import parse_instance_name
from testbed.units import format_time_ns

_REFRESH_S = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `status`."""
    parser.add_argument("-v", "--verbose", action="store_true", help="list every link")
    parser.add_argument("-w", "--watch", action="store_true",
                        help="refresh in place, until Ctrl-C")


def run(arguments: argparse.Namespace) -> int:
    """Ask the instance; probes its paths (a sample on large topologies) unless a run is on."""
    if arguments.watch and arguments.json:
        raise UsageError("--watch and --json exclude each other: --json is one document")
    with Control(parse_instance_name(arguments.name)) as control:
        if arguments.watch:
            return _watch(control, arguments.verbose)
        status = control.call("status")
    print_json(status) if arguments.json else print("\n".join(_lines(status, arguments.verbose)))
    return 0


def _watch(control: Control, is_verbose: bool) -> int:
    """Write the picture over the last one; where there is no terminal, one after another."""
    clear = "\033[H\033[J" if sys.stdout.isatty() else ""
    try:
        while True:
            text = "\n".join(_lines(control.call("status"), is_verbose))
            print(f"{clear}{text}", flush=True)
            time.sleep(_REFRESH_S)
    except KeyboardInterrupt:
        return 0


def _lines(status: dict[str, Any], is_verbose: bool) -> Iterator[str]:
    yield (f"{status['name']}: {status['topology']}, up {status['uptime_s']:.0f} s, "
           f"{_health(status)}")
    yield _overview(status)
    if status["unbalanced_switches"]:
        count = len(status["unbalanced_switches"])
        yield f"not balanced      {count} switches that had a NIC link without carrier"
    for fault in status["faults"]:
        yield f"fault  {fault['target']} {fault['kind']}: {fault['evidence']}"
    for problem in status["problems"]:
        yield paint(f"problem  {problem}", "yellow")
    if status["run"]:
        yield from _run_lines(status["run"])
    if is_verbose:
        yield table(("LINK", "STATE"), [(link["name"], link["state"])
                                        for link in status["links"]])


def _overview(status: dict[str, Any]) -> str:
    alive = sum(agent["alive"] for agent in status["agents"])
    links = status["links"]
    up = sum(link["state"] == "up" for link in links)
    is_running = bool(status["run"]) and status["run"]["phase"] not in ("done", "failed")
    rows = [
        ("data plane", status["dataplane_detail"]),
        ("controller", status["controller"]),
        ("time dilation", f"{status['tdf']:,}"),
        ("hosts", f"{status['hosts']}, {alive} agents alive"),
        ("switches", status["switches"]),
        ("links", f"{len(links)}, {up} up"),
        ("paths", "not probed while a run is under way" if is_running else _paths(status)),
        ("memory", f"{status['resident_mb']:.0f} MB"),
    ]
    if not is_running:
        rows.append(("unexplained loss", f"{status['unexplained_frames']} frames"))
    return table(("", ""), rows).strip("\n")


def _paths(status: dict[str, Any]) -> str:
    checked = status["paths_checked"]
    sample = "" if checked == status["paths_total"] else f", sampled from {status['paths_total']:,}"
    return f"{status['paths_ok']} of {checked} answer{sample}"


def _run_lines(run: dict[str, Any]) -> Iterator[str]:
    """The run under way with a row per host, or the last one's verdict."""
    name = f"run {run['number']} {run['what']}"
    verdict = run["verdict"]
    if run["phase"] == "done" and verdict:
        yield f"{name}: {paint(verdict['word'], VERDICT_COLOURS[verdict['word']])}"
        yield from (f"  {reason}" for reason in verdict["reasons"])
        return
    if run["error"]:
        yield paint(f"{name}: failed, {run['error']}", "red")
        return
    yield (f"{name}: {run['phase']}, {100 * run['share']:.0f} %, "
           f"{max(0, run['emulated_ns']) / 1000:,.0f} us emulated, time dilation {run['tdf']:,}")
    if run["phase"] == "calibrating" and run["notes"]:
        yield f"  {run['notes'][-1]}"
    if run["hosts"]:
        yield table(("HOST", "SENDS (Gb/s)", "ACTIVE EVS BY PLANE", "RESENT", "LATE P99"), [
            (row["host"], f"{row['goodput_bps'] / 1e9:.1f}",
             " ".join(map(str, row["active_evs"])), row["resent"],
             format_time_ns(row["lateness_p99_ns"])) for row in run["hosts"]])


def _health(status: dict[str, Any]) -> str:
    if status["problems"]:
        return paint("impaired", "red")
    count = len(status["faults"])
    if count:
        return paint(f"{count} fault{'s' if count > 1 else ''} in force", "yellow")
    return paint("healthy", "green")
