"""`testbed compare`: runs side by side."""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path

from testbed.cli.output import print_json, table
from testbed.cli.report import find_run
from testbed.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `compare`."""
    parser.add_argument("runs", nargs="+", metavar="RUN",
                        help="folders of runs, their names under runs/, or `latest`")
    parser.add_argument("--out", type=Path, metavar="FILE",
                        help="write a page with figures beside the table")


def run(arguments: argparse.Namespace) -> int:
    """Needs neither root nor an instance."""
    if len(arguments.runs) < 2:
        raise UsageError(f"{arguments.runs[0]} alone has nothing to be compared with: name "
                         "another run")
    folders = [find_run(text) for text in arguments.runs]
    page = import_module("testbed.analysis.pagecompare")  # with pandas and matplotlib
    load = import_module("testbed.analysis").load
    runs = [load(folder) for folder in folders]
    if arguments.out is not None:
        page.write_comparison(runs, arguments.out)
    if arguments.json:
        print_json({**page.comparison_document(runs),
                    "page": None if arguments.out is None else str(arguments.out)})
        return 0
    found = page.comparison(runs)
    print(table(found.header, found.rows))
    if arguments.out is not None:
        print(arguments.out)
    return 0
