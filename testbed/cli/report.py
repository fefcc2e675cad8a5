"""`testbed report`: one page about a run, or Markdown."""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path

from testbed.cli.output import print_json
from testbed.errors import UsageError, did_you_mean

RUNS = Path("runs")
LATEST = "latest"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `report`."""
    parser.add_argument("run", nargs="?", default=LATEST, metavar="RUN",
                        help="a run's folder, its name under runs/, or `latest` (the default)")
    parser.add_argument("--out", type=Path, metavar="FILE",
                        help="write it here (default: report.html in the run's folder)")
    parser.add_argument("--markdown", action="store_true",
                        help="Markdown without figures, to stdout or --out")


def run(arguments: argparse.Namespace) -> int:
    """Needs neither root nor an instance."""
    folder = find_run(arguments.run)
    report = import_module("testbed.analysis.report")  # with pandas and matplotlib
    if arguments.markdown and arguments.json and arguments.out is None:
        raise UsageError("--json leaves no room for Markdown on stdout: name a file with --out")
    if not arguments.markdown:
        path = report.write_report(folder, arguments.out)
    elif arguments.out is None:
        print(report.markdown(import_module("testbed.analysis").load(folder)), end="")
        return 0
    else:
        path = arguments.out
        report.write_page(path, report.markdown(import_module("testbed.analysis").load(folder)))
    print_json({"report": str(path)}) if arguments.json else print(path)
    return 0


def find_run(text: str) -> Path:
    """The folder of a run as people name it: a path, or a name under ``runs``.

    Raises UsageError that says what is there instead.
    """
    for path in (Path(text), RUNS / text):
        if (path / "manifest.json").is_file():
            return path
    names = sorted(path.parent.name for path in RUNS.glob("*/manifest.json"))
    if not names:
        raise UsageError(f"there is no run '{text}', and none in {RUNS}: make one with "
                         "`testbed run` or `testbed drill run`")
    raise UsageError(f"there is no run '{text}'{did_you_mean(text, names)}: the newest in {RUNS} "
                     f"is {names[-1]}")
