"""`testbed run`: one workload, in the manner of perftest or of nccl-tests."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from testbed.cli import nccltable, perftest, traffictable, traintable
from testbed.cli.output import note, print_json
from testbed.cli.perftest import progress_line
from testbed.errors import TestbedError, UsageError
from testbed.instance.client import Control
from testbed.instance.runfolder import Owner
from testbed.intent.collective import CollectiveRequest
from testbed.intent.names import parse_instance_name
from testbed.intent.options import Label, RawRequest, option_name, require_none
from testbed.intent.run import RunRequest
from testbed.intent.topology import DEFAULT_TOPOLOGY, load_topology
from testbed.intent.traffic import TrafficRequest
from testbed.intent.train import TrainRequest
from testbed.intent.workload import (
    KINDS,
    Request,
    Spec,
    from_document,
    read_spec,
    require_topology,
    resolve,
    topology_of,
)
from testbed.metrics.wrong import wrong_elements
from topologies.spec import ClosSpec

_POLL_S = 0.2
_QUIET_EVERY_S = 10.0  # between lines of progress where there is no terminal
# title -> key: (short option, what --help says)
_OPTIONS: Mapping[str, Mapping[str, tuple[str | None, str]]] = {
    "all workloads": {
        "qps": ("-q", "queue pairs per pair of hosts (default: 4)"),
        "seed": (None, "of everything random (default: 1)"),
        "snap": (None, "bytes kept of each captured frame (default: 256)"),
        "evs": (None, "active and spare EVs per plane, e.g. 1+1, by the first uplinks; hosts must "
                      "be under different T0s (default: every path active)"),
        "sample": (None, "emulated time between samples, e.g. 50us (default: 2 base RTTs)"),
    },
    "write-bw, write-lat, permutation, incast": {
        "size": ("-s", "bytes of a message, e.g. 32KiB or 65536 (default: 32KiB; write-lat: 2)"),
        "iters": ("-n", "messages per queue pair (write-lat: 100); of a collective: how often "
                        "each size (default: 4)"),
        "duration": ("-D", "emulated time to write for, e.g. 5ms (default: 1ms)"),
        "depth": ("-t", "messages posted at a time per queue pair (default: 128)"),
        "senders": (None, "of an incast: h1,h2,h4-h6 or how many (default: all others)"),
        "victim": (None, "SRC:DST that write beside an incast"),
    },
    "collectives, permutation, train": {
        "hosts": (None, "h0,h3,h4-h7 in the order of their ranks, or how many (default: all)"),
        "placement": (None, "local: neighbours share a T0; striped: they never do "
                            "(default: local, or as listed)"),
        "sizes": (None, "bytes of the array: 16M, 1M,3M or 256K:4M:x4 (the default); K is 1024"),
        "warmup": ("-w", "iterations of each size that are not counted (default: 1)"),
        "dtype": ("-d", "float or bfloat16 (default: float)"),
        "algo": (None, "ring, tree or direct (default: the operation's first)"),
        "channels": (None, "parts that go their way independently (default: 1)"),
        "segment": (None, "the most bytes of one message (default: 64K)"),
    },
    "train": {
        "steps": (None, "how many (default: 10)"),
        "gradients": (None, "bytes all-reduced in each step (default: 16M)"),
        "buckets": (None, "parts of the gradients (default: 4)"),
        "compute": (None, "emulated time a step computes (default: 1ms)"),
        "jitter": (None, "how much that varies (default: 5%%)"),
        "pipeline": (None, "bytes to the next rank for each microbatch (default: none)"),
        "microbatches": (None, "of the pipeline (default: 4)"),
        "experts": (None, "bytes from all to all in each layer (default: none)"),
        "layers": (None, "with experts (default: 2)"),
        "against": (None, "folder of an undisturbed run of the same job to compare with"),
        "baseline": (None, "time of an undisturbed step, e.g. 1.1ms, instead of such a folder"),
    },
}
_KEYS = tuple(key for options in _OPTIONS.values() for key in options)
_FLAGS = {
    "bidirectional": (("-b", "--bidir"), "write both ways at once (write-bw)"),
    "verify": (("--verify",), "give every message memory of its own and verify every byte "
                              "(write-bw)"),
    "capture": (("--pcap",), "write a capture per NIC port into the run's folder"),
    "recalibrate": (("--recalibrate",), "measure anew what this machine carries"),
}
# What a word typed takes the place of in a spec.
_EXCLUSIVE = {"iters": "duration", "duration": "iters", "against": "baseline",
              "baseline": "against"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `run`."""
    parser.usage = "%(prog)s WORKLOAD [HOST ...] [options]"
    parser.add_argument("workload", help=f"{', '.join(KINDS)}, or the path of a spec.yaml")
    parser.add_argument("operands", nargs="*", metavar="HOST",
                        help="write-bw and write-lat: SRC DST, e.g. h0 h7; incast: DST")
    for title, options in _OPTIONS.items():
        group = parser.add_argument_group(title)
        for key, (short, text) in options.items():
            names = [name for name in (short, f"--{key}") if name]
            group.add_argument(*names, dest=key, help=text)
    for key, (flags, text) in _FLAGS.items():
        parser.add_argument(*flags, dest=key, action="store_true", help=text)
    parser.add_argument("--tdf", help="time dilation: auto or wall time per emulated time "
                                      "(default: auto)")
    parser.add_argument("--out", default="runs", type=Path,
                        help="where the run's folder is made (default: %(default)s)")
    parser.add_argument("--sim", action="store_true",
                        help="in the simulator: no instance, no root")
    parser.add_argument("--topology", help=f"of a simulation (default: the spec's, or "
                                           f"{DEFAULT_TOPOLOGY})")
    _accept_hosts_anywhere(parser)


def _accept_hosts_anywhere(parser: argparse.ArgumentParser) -> None:
    """Hosts may stand behind options: argparse takes those of a `*` only in one place."""
    parse = parser.parse_known_args

    def parse_all(args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        found, extras = parse(args, namespace)
        found.operands = [*found.operands, *(w for w in extras if not w.startswith("-"))]
        return found, [w for w in extras if w.startswith("-")]

    parser.parse_known_args = parse_all  # type: ignore[method-assign]


def run(arguments: argparse.Namespace) -> int:
    """Exit code 1 where the result is wrong or not whole, a queue pair failed or the run is
    invalid."""
    asked = _spec_file(arguments)
    if asked is not None and asked.faults:
        _refuse(asked, arguments)
    document, label = (None, option_name) if asked is None else (asked.document, asked.where)
    if arguments.sim:
        return _simulate(arguments, document, label)
    if arguments.topology is not None:
        raise UsageError("--topology is for simulations, an instance has its own: leave it out, "
                         "or add --sim")
    name = parse_instance_name(arguments.name)
    with Control(name) as control:
        spec = ClosSpec(**control.call("nodes")["spec"])
        if document is not None:
            require_topology(document, spec, name)
        request = _request(arguments, document, label, spec)
        number = control.call("run_start", {
            "request": request.to_document(), "folder": str(arguments.out.resolve()),
            **_owner()})
        result, was_interrupted = _follow(control, number, _iters(request))
    code = _show(arguments, request, result)
    return 130 if was_interrupted else code


def _simulate(arguments: argparse.Namespace, document: Mapping[str, Any] | None,
              label: Label) -> int:
    spec = _simulated_topology(arguments, document)
    request = _request(arguments, document, label, spec)
    simulate = import_module("testbed.instance.simulated").simulate  # nobody else needs it
    note(f"simulating {request.what} on {spec.name}")
    result = simulate(request, spec, f"{request.what}-sim", arguments.out, Owner(**_owner()))
    return _show(arguments, request, result)


def _simulated_topology(arguments: argparse.Namespace,
                        document: Mapping[str, Any] | None) -> ClosSpec:
    named = arguments.topology
    meant = topology_of(document) if document is not None and named is None else None
    return meant or load_topology(named or DEFAULT_TOPOLOGY)


# --- What is asked -----------------------------------------------------------------------


def _spec_file(arguments: argparse.Namespace) -> Spec | None:
    """The spec file, with the options that were typed laid over it; None where none is named.

    Its ``where`` is a place in the file, or an option.
    """
    path = arguments.workload
    if "/" not in path and not path.endswith((".yaml", ".yml")):
        return None
    if arguments.operands:
        raise UsageError(f"{path} says by itself which hosts take part: leave out "
                         f"{' '.join(arguments.operands)}")
    document, where, faults = read_spec(path)
    typed = {**_texts(arguments), **dict.fromkeys(_flags(arguments), True)}
    if arguments.tdf is not None:
        typed["tdf"] = arguments.tdf
    for key in typed:
        document.pop(_EXCLUSIVE.get(key, ""), None)
    return Spec({**document, **typed},
                lambda key: option_name(key) if key in typed else where(key), faults)


def _refuse(asked: Spec, arguments: argparse.Namespace) -> None:
    """Raises UsageError for a file with faults, with what its topology adds where there is one."""
    try:
        if arguments.sim:
            topology = _simulated_topology(arguments, asked.document)
        else:
            with Control(parse_instance_name(arguments.name)) as control:
                topology = ClosSpec(**control.call("nodes")["spec"])
    except TestbedError:
        require_none(asked.faults, f"spec {arguments.workload}")
    from_document(asked.document, topology, asked.where, asked.faults)


def _request(arguments: argparse.Namespace, document: Mapping[str, Any] | None, label: Label,
             spec: ClosSpec) -> Request:
    if document is not None:
        request = from_document(document, spec, label)
    else:
        request = resolve(RawRequest(
            workload=arguments.workload, operands=tuple(arguments.operands),
            tdf="auto" if arguments.tdf is None else arguments.tdf, texts=_texts(arguments),
            flags=_flags(arguments)), spec)
    if isinstance(request, TrainRequest) and request.against:
        # The instance has another directory.
        return replace(request, against=str(Path(request.against).resolve()))
    return request


def _texts(arguments: argparse.Namespace) -> dict[str, str]:
    given = vars(arguments)
    return {key: given[key] for key in _KEYS if given[key] is not None}


def _flags(arguments: argparse.Namespace) -> frozenset[str]:
    return frozenset(key for key in _FLAGS if vars(arguments)[key])


def _iters(request: Request) -> int:
    return request.iters if isinstance(request, CollectiveRequest) else 0


def _owner() -> dict[str, int]:
    """Whose the run's folder shall be: who called sudo, or who runs this."""
    return {"uid": int(os.environ.get("SUDO_UID", os.getuid())),
            "gid": int(os.environ.get("SUDO_GID", os.getgid()))}


def _follow(control: Control, number: int, iters: int) -> tuple[dict[str, Any], bool]:
    """Wait for the result and show progress; the first Ctrl-C ends the run early."""
    shown = _Progress(iters)
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

    def __init__(self, iters: int) -> None:
        self._iters = iters
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
                sys.stderr.write("\r\033[K" + progress_line(state, width, self._iters))
                sys.stderr.flush()
        elif time.monotonic() - self._told_at_s > _QUIET_EVERY_S:
            self._told_at_s = time.monotonic()
            note(progress_line(state, 100, self._iters))

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


# --- What comes back ---------------------------------------------------------------------


_REPORTS: Mapping[type, Callable[[Mapping[str, Any]], str]] = {
    RunRequest: perftest.report, CollectiveRequest: nccltable.report,
    TrafficRequest: traffictable.report, TrainRequest: traintable.report,
}


def _show(arguments: argparse.Namespace, request: Request, result: dict[str, Any]) -> int:
    """Print a result; the exit code it means."""
    print_json(result) if arguments.json else print(_REPORTS[type(request)](result), end="")
    return _exit_code(result)


def _exit_code(result: dict[str, Any]) -> int:
    verdict = result["verdict"] or {"word": ""}  # a simulation has none
    is_wrong = wrong_elements(result) or result["failures"] or verdict["word"] == "invalid"
    is_cut_short = not result.get("is_complete", True) or result["verified"].get("unchecked")
    return 1 if is_wrong or is_cut_short else 0
