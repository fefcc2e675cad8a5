"""`testbed drill`: scripted drills, listed, shown, run and begun from a template."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from testbed.cli import drilltables
from testbed.cli.common import common_options
from testbed.cli.drillrepeats import Repeats, repeats_of
from testbed.cli.drillview import DrillView
from testbed.cli.output import interrupt_on_hangup, note, paint, print_json, table
from testbed.doctor import require_fit, require_root
from testbed.drills.bringup import control_for
from testbed.drills.catalogue import drill_names, load_drill
from testbed.drills.drill import Drill
from testbed.drills.engine import Played, play, repeats
from testbed.drills.junit import Outcome, junit_xml
from testbed.drills.stages import FabricStage, SimStage
from testbed.drills.template import template
from testbed.errors import TestbedError, UsageError
from testbed.files import replace_file
from testbed.instance.runfolder import Owner
from testbed.intent.names import parse_instance_name

MAX_REPEATS = 1000
MAX_SEED = 2**63 - 1  # as of a workload
_COLOURS = {"PASS": "green", "FAIL": "red", "INCONCLUSIVE": "yellow", "ERROR": "red",
            "verdict": "bold"}


@dataclass(frozen=True, slots=True)
class Failed:
    """A drill that left no run to judge, and why."""

    drill: Drill
    error: TestbedError


Result = Played | Failed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `drill`."""
    what = parser.add_subparsers(dest="action", metavar="list|show|run|new", required=True)
    def add(action: str, summary: str) -> argparse.ArgumentParser:
        return what.add_parser(action, help=summary, description=summary,
                               parents=[common_options(is_nested=True)])

    add("list", "every drill of the library: paper figure, wall time, one line")
    add("show", "what a drill does and checks").add_argument(
        "drill", help="name or path of a YAML file")
    add("new", "begin a drill of your own from a template").add_argument(
        "drill", metavar="NAME", help="its name; NAME.yaml is written")
    run = add("run", "run drills and judge them")
    run.add_argument("drills", nargs="+", metavar="NAME", help="names, paths, or `all`")
    run.add_argument("--sim", action="store_true", help="in the simulator: no root, no instance")
    run.add_argument("--repeat", type=int, default=1, metavar="N",
                     help="run each N times, with one seed after another (default: 1); percentiles "
                          "of recovery then, with --json as `repeats` of its last document")
    run.add_argument("--seed", metavar="N",
                     help="of everything random, the first of repeats (default: the drill's own)")
    run.add_argument("--out", default=Path("runs"), type=Path,
                     help="where run folders are made (default: %(default)s)")
    run.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML for CI systems")


def run(arguments: argparse.Namespace) -> int:
    """Exit code 1 where a drill did not PASS, 5 where one could not be run at all."""
    return _ACTIONS[arguments.action](arguments)


def _list(arguments: argparse.Namespace) -> int:
    drills = [load_drill(name) for name in drill_names()]
    if arguments.json:
        print_json(drilltables.list_document(drills))
    else:
        print(drilltables.list_text(drills), end="")
    return 0


def _show(arguments: argparse.Namespace) -> int:
    drill = load_drill(arguments.drill)
    if arguments.json:
        (document,) = drilltables.list_document([drill])
        print_json({**document, "about": drill.about, "workload": dict(drill.workload),
                    "script": [step.to_params() for step in drill.script]})
    else:
        print(drilltables.show_text(drill), end="")
    return 0


def _new(arguments: argparse.Namespace) -> int:
    path = Path(f"{arguments.drill}.yaml")
    text = template(arguments.drill)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"{path} is there already: choose another name, or move it away") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be written ({(error.strerror or '').lower()}): go where "
                         "you may write") from error
    if arguments.json:
        print_json({"drill": str(path)})
    else:
        print(f"./{path} is a drill that runs as it is: change it, then\n"
              f"  sudo python -m testbed drill run ./{path}\n"
              f"  python -m testbed drill run ./{path} --sim     # in the simulator, without root")
    return 0


def _run(arguments: argparse.Namespace) -> int:
    drills = _asked(arguments)
    if arguments.junit:
        _require_writable(arguments.junit)
    played = _simulated if arguments.sim else _on_fabric
    results: list[Result] = []
    code = 0
    try:
        for result in played(arguments, drills):
            results.append(result)
            _tell(arguments, result)
    finally:
        if arguments.junit and results:
            code = _write_junit(arguments.junit, results)
    return _finish(arguments, results) or code


def _asked(arguments: argparse.Namespace) -> list[Drill]:
    """The drills in order, each as often as it is to be run. Raises UsageError."""
    if not 1 <= arguments.repeat <= MAX_REPEATS:
        raise UsageError(f"--repeat {arguments.repeat} is not allowed: use 1 to {MAX_REPEATS}")
    names = arguments.drills
    if "all" in names:
        if len(names) > 1:
            others = ", ".join(name for name in names if name != "all")
            raise UsageError(f"`all` is every drill of the library: leave out {others or 'one'}, "
                             "or name what is to be run without `all`")
        names = drill_names()
    seed = None if arguments.seed is None else _parse_seed(arguments.seed, arguments.repeat)
    return [again for drill in map(load_drill, names)
            for again in repeats(drill, seed, arguments.repeat)]


def _parse_seed(text: str, times: int) -> int:
    """The first seed of so many. Raises UsageError."""
    most = MAX_SEED - times + 1
    if text.isascii() and text.isdigit() and int(text[:20]) <= most:
        return int(text)
    raise UsageError(f"--seed {text} is not allowed: use 0 to {most}")


def _require_writable(path: Path) -> None:
    """Raises UsageError where the file could not be written when the drills are over."""
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise UsageError(f"--junit {path} cannot be written: name a file in a directory that is "
                         "there and yours")


def _write_junit(path: Path, results: Sequence[Result]) -> int:
    """The exit code: what cannot be written is told, and takes nothing with it."""
    try:
        owner = _owner().ids if os.geteuid() == 0 else None
        replace_file(path, junit_xml(_outcomes(results)), owner)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        note(f"testbed: {path} cannot be written ({why}): free some space, or name another file "
             "with --junit")
        return TestbedError.exit_code
    return 0


def _tell(arguments: argparse.Namespace, result: Result) -> None:
    if isinstance(result, Failed):
        note(f"testbed: {result.drill.name}: {result.error}")
        return
    if result.remark:
        note(f"testbed: {result.drill.name}: {result.remark}")
    if not arguments.json:
        print(_told(result), flush=True)


def _finish(arguments: argparse.Namespace, results: Sequence[Result]) -> int:
    together = _together(results) if arguments.repeat > 1 else []
    if arguments.json:
        print_json(_documents(results, together))
    else:
        if len(results) > 1:
            print(summary_text(results))
        for found in together:
            print(f"\n{found.to_text()}")
    codes = [result.error.exit_code for result in results if isinstance(result, Failed)]
    codes += [TestbedError.exit_code for result in results
              if isinstance(result, Played) and result.remark]
    if codes:
        return max(codes)
    return 0 if all(_word(result) == "PASS" for result in results) else 1


def _together(results: Sequence[Result]) -> list[Repeats]:
    """The repeats of each drill, in order."""
    names = dict.fromkeys(result.drill.name for result in results)
    runs = {name: [result for result in results if result.drill.name == name] for name in names}
    return [repeats_of(name, len(found), [one for one in found if isinstance(one, Played)])
            for name, found in runs.items()]


# --- Playing -----------------------------------------------------------------------------


def _on_fabric(arguments: argparse.Namespace, drills: Sequence[Drill]) -> Iterator[Result]:
    """Each topology is brought up once, in the order in which drills first need it.

    Where one cannot be, its drills have failed, and the others are run.
    """
    require_root("drill run")
    require_fit()
    interrupt_on_hangup()
    waiting = [drill for group in _by_topology(drills) for drill in group]
    for group in _by_topology(drills):
        yield from _on_topology(arguments, group, waiting)
        waiting = waiting[len(group):]


def _on_topology(arguments: argparse.Namespace, group: Sequence[Drill],
                 waiting: Sequence[Drill]) -> Iterator[Result]:
    """The drills of one topology; ``waiting`` are they and all after them.

    An error after the last of them, an instance that cannot be taken down, is one more
    failure of that one.
    """
    view = DrillView()
    name, is_named = parse_instance_name(arguments.name), _is_named(arguments)
    played = 0
    try:
        with control_for(group[0].topology, name, is_named, _tell_ready) as control:
            stage = FabricStage(control, arguments.out, _owner(), view.watch, view.tell)
            for drill in group:
                note(_heading(drill, waiting[played:]))
                result = _try(drill, stage)
                view.end()
                played += 1
                yield result
    except TestbedError as error:
        for drill in group[played:] or group[-1:]:
            yield Failed(drill, error)


def _simulated(arguments: argparse.Namespace, drills: Sequence[Drill]) -> Iterator[Result]:
    """One in this process; several on all processors."""
    if len(drills) == 1:
        note(_heading(drills[0], drills))
        yield _try(drills[0], SimStage(arguments.out, _owner()))
        return
    # Forking would copy whatever threads libraries have started.
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        futures = [pool.submit(_try, drill, SimStage(arguments.out, _owner()))
                   for drill in drills]
        try:
            for future in futures:
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _try(drill: Drill, stage: FabricStage | SimStage) -> Result:
    try:
        return play(drill, stage)
    except TestbedError as error:
        return Failed(drill, error)


def _by_topology(drills: Sequence[Drill]) -> list[list[Drill]]:
    groups: dict[Any, list[Drill]] = {}
    for drill in drills:
        groups.setdefault(drill.topology, []).append(drill)
    return list(groups.values())


def _is_named(arguments: argparse.Namespace) -> bool:
    return bool(arguments.name != "default")


def _owner() -> Owner:
    """Whose run folders shall be: who called sudo, or who runs this."""
    return Owner(int(os.environ.get("SUDO_UID", os.getuid())),
                 int(os.environ.get("SUDO_GID", os.getgid())))


def _tell_ready(summary: Mapping[str, Any], took_s: float) -> None:
    ready = summary["readiness"]
    note(f"{summary['topology']} is up in {took_s:.1f} s: {ready['paths_ok']} of "
         f"{ready['paths_checked']} paths answer; data plane {summary['dataplane_detail']}, "
         f"controller {summary['controller']}")


# --- Telling -----------------------------------------------------------------------------


def _heading(drill: Drill, waiting: Sequence[Drill]) -> str:
    """What is run now; of several that are ``waiting``, it first, how long they take together."""
    text = f"{drill.name}: {drill.title} ({drill.topology.name})"
    if len(waiting) < 2:
        return text
    left_s = sum(one.takes_s for one in waiting)
    return f"{text}; {len(waiting)} drills left, about {drilltables.wall_text(left_s)}"


def _told(result: Played) -> str:
    word = result.judgement.word
    text = drilltables.judgement_text(result.judgement).removeprefix(word)
    return f"{paint(word, _COLOURS[word])}{text}  report: {_shown(result.folder / 'report.html')}"


def _shown(path: Path) -> Path:
    """As short as it can be said from here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def summary_text(results: Sequence[Result]) -> str:
    """A line per drill with its verdict and wall clock, and how many passed."""
    rows = [(_word(result), result.drill.name, f"{_wall_s(result):.0f} s") for result in results]
    passed = sum(_word(result) == "PASS" for result in results)
    lines = table(("verdict", "drill", "took"), rows).splitlines()
    lines = [line.replace(word, paint(word, _COLOURS[word]), 1) if line.startswith(word) else line
             for line, (word, *_rest) in zip(lines, [("verdict",), *rows], strict=True)]
    return "\n".join(["", *lines, "", f"{passed} of {len(results)} passed"])


def _word(result: Result) -> str:
    return result.judgement.word if isinstance(result, Played) else "ERROR"


def _wall_s(result: Result) -> float:
    return result.wall_s if isinstance(result, Played) else 0.0


def _outcomes(results: Sequence[Result]) -> list[Outcome]:
    return [Outcome(
        result.drill.name, result.drill.topology.name, _wall_s(result),
        result.judgement if isinstance(result, Played) else None,
        str(result.error) if isinstance(result, Failed) else "",
        result.remark if isinstance(result, Played) else "") for result in results]


def _documents(results: Sequence[Result], together: Sequence[Repeats]) -> list[dict[str, Any]]:
    """One per run; what the repeats of a drill say together is in the last of them."""
    documents = [_document(result) for result in results]
    last = {result.drill.name: number for number, result in enumerate(results)}
    for found in together:
        documents[last[found.name]]["repeats"] = found.to_document()
    return documents


def _document(result: Result) -> dict[str, Any]:
    if isinstance(result, Failed):
        return {"name": result.drill.name, "word": "ERROR", "error": str(result.error)}
    return {**result.judgement.to_document(), "folder": str(result.folder),
            "report": str(result.folder / "report.html"), "wall_s": round(result.wall_s, 2),
            "remark": result.remark}


_ACTIONS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "list": _list, "show": _show, "new": _new, "run": _run,
}
