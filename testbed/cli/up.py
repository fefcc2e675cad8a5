"""`testbed up`: bring up a topology and say what to type next."""

from __future__ import annotations

import argparse
import signal
import time
from typing import Any

from testbed.cli.output import interrupt_on_hangup, note, paint, print_json
from testbed.doctor import needs_proof, prove_datapath, require_fit, require_root
from testbed.errors import UsageError
from testbed.instance.launch import Launch
from testbed.instance.layout import Layout
from testbed.instance.teardown import tear_down
from testbed.intent.dilation import PROVEN_DRAIN_BPS, assumed_tdf, require_drainable
from testbed.intent.names import parse_instance_name
from testbed.intent.request import UpRequest
from testbed.intent.tdf import parse_tdf
from testbed.intent.topology import DEFAULT_TOPOLOGY, load_topology
from topologies.graph import build_refusal
from topologies.numbers import drain_rate_bps

_SMALL_DRILL = "allreduce-t1-crash"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `up`."""
    parser.add_argument("topology", nargs="?", default=DEFAULT_TOPOLOGY,
                        help="preset or YAML file (default: %(default)s)")
    parser.add_argument("-d", "--detach", action="store_true",
                        help="return when it is ready and leave it running")
    parser.add_argument("--dataplane", choices=["ovs", "linux"],
                        help="Open vSwitch with Ryu, or Linux seg6local "
                             "(default: the topology's)")
    parser.add_argument("--tdf", default="auto", metavar="auto|N",
                        help="time dilation: emulated time runs N times slower (default: auto)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="sets",
                        help="change one key of the topology, e.g. --set planes=2")


def make_request(arguments: argparse.Namespace) -> UpRequest:
    """What was typed, resolved. Raises UsageError for anything that cannot be built."""
    sets = list(arguments.sets)
    if arguments.dataplane:
        sets.append(f"dataplane={arguments.dataplane}")
    spec = load_topology(arguments.topology, sets)
    if refusal := build_refusal(spec):
        raise UsageError(refusal)
    tdf = parse_tdf(arguments.tdf)
    chosen = assumed_tdf(spec) if tdf == "auto" else tdf
    require_drainable(spec, chosen)
    return UpRequest(parse_instance_name(arguments.name), spec, chosen, tdf == "auto")


def run(arguments: argparse.Namespace) -> int:
    """Bring it up; in the foreground, stay until Ctrl-C and take it down again."""
    require_root("up")
    request = make_request(arguments)
    require_fit()
    interrupt_on_hangup()
    if request.spec.dataplane == "ovs" and needs_proof():
        note("first time with this kernel's openvswitch module: proving it at a second hop ...")
        prove_datapath()
    launch = Launch(request)
    try:
        _bring_up(launch, request, arguments)
        if not arguments.detach:
            launch.wait_until_down()
            note(f"instance '{request.name}' was taken down from elsewhere")
        return 0
    except BaseException:
        _take_down(launch, request.name, arguments.debug)
        raise


def _bring_up(launch: Launch, request: UpRequest, arguments: argparse.Namespace) -> None:
    began = time.monotonic()
    launch.start()
    if not arguments.json:
        _announce(request)
    summary = launch.follow_until_ready(_quiet if arguments.json else _show_stage)
    summary["total_s"] = round(time.monotonic() - began, 2)
    print_json(summary) if arguments.json else _show_ready(summary, arguments.detach)


def _take_down(launch: Launch, name: str, is_debug: bool) -> None:
    """Undo what was begun, whatever signals and a closed terminal say meanwhile."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # impatience must not leave a half
    if is_debug:
        note(launch.log_text())
    if launch.is_claimed:
        launch.release()
        note("taking everything down ...")
        tear_down(name)
        note(f"instance '{name}' is down; nothing of it is left")


def _announce(request: UpRequest) -> None:
    spec = request.spec
    note(f"{spec.name}: {spec.host_count} hosts, {spec.planes} planes, "
         f"{spec.switch_count} switches, {spec.link_count} links")
    if drain_rate_bps(spec.port_rate_bps, request.tdf) > PROVEN_DRAIN_BPS:
        note(f"at TDF {request.tdf} ports drain faster than the {PROVEN_DRAIN_BPS // 10**6} Mb/s "
             "they are proven to hold within 1 %")


def _quiet(_event: dict[str, Any]) -> None:
    """Under --json stages are part of the document."""


def _show_stage(event: dict[str, Any]) -> None:
    if "stage" in event:
        note(f"  {event['stage']:<28} {event['seconds']:6.2f} s")


def _show_ready(summary: dict[str, Any], is_detached: bool) -> None:
    ready = summary["readiness"]
    checked = f"{ready['paths_ok']} of {ready['paths_checked']} paths answer"
    if ready["paths_checked"] < ready["paths_total"]:
        checked += f" (a sample of all {ready['paths_total']:,})"
    suffix = Layout(summary["name"]).name_option
    drill = (f"drill run {_SMALL_DRILL}{suffix}" if summary["topology"] == DEFAULT_TOPOLOGY
             else "drill list")
    tdf_note = "; every run chooses its own" if summary["tdf_is_assumed"] else ""
    print(f"{paint('ready', 'green')} in {summary['total_s']:.1f} s: {checked}")
    print(f"  data plane     {summary['dataplane_detail']}")
    print(f"  controller     {summary['controller']}")
    print(f"  time dilation  1 emulated second takes {summary['tdf']:,} s{tdf_note}")
    print("try next, in another terminal:" if not is_detached else "try next:")
    for command, why in (
        (f"status{suffix}", "what is up"),
        (f"probe h0 h{summary['hosts'] - 1}{suffix}", "every path between two hosts"),
        (f"run write-bw h0 h{summary['hosts'] - 1}{suffix}", "MRC at line rate, as ib_write_bw"),
        (drill, "break it on a script: verdict and report"),
        (f"fail switch:p0-t1-0{suffix}", "break it by hand (and `heal` it)"),
        (f"down{suffix}", "take it all away"),
    ):
        print(f"  sudo python -m testbed {command:<37} # {why}")
    if not is_detached:
        print("Ctrl-C takes it down.", flush=True)
