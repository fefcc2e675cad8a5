"""The report of a run: one HTML file that needs nothing else, or Markdown.

    write_report("runs/latest")      report.html in the run's folder, the folder's owner's

Figures and style are in the file; it has no script and fetches nothing, so it can be sent,
kept and printed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from testbed.analysis.figures import FIGURES
from testbed.analysis.loading import load
from testbed.analysis.pagefacts import Facts, facts_of
from testbed.analysis.pagefigures import pictures
from testbed.analysis.pagetables import Table
from testbed.analysis.run import Run
from testbed.errors import TestbedError
from testbed.files import replace_file

REPORT = "report.html"
_HERE = Path(__file__).parent


def write_report(run_path: str | Path, out: str | Path | None = None) -> Path:
    """Write the page of a run, into its folder unless ``out`` names a file; where it is.

    Raises UsageError for what is no run folder, TestbedError where it cannot be written.
    """
    run = load(run_path)
    target = Path(out) if out is not None else run.path / REPORT
    write_page(target, html(run))
    return target


def html(run: Run) -> str:
    """The page of a run."""
    facts = facts_of(run)
    drawn = list(pictures(run, facts.first_figure))
    return render("page.html", facts=facts, first=drawn[0],
                  others=[picture for picture in drawn[1:] if picture.markup],
                  missing=[picture for picture in drawn if picture.missing],
                  spec=_spec_text(run))


def markdown(run: Run) -> str:
    """The same without figures, for wikis and merge requests."""
    return "\n".join(_markdown_lines(facts_of(run))) + "\n"


def render(template: str, **values: object) -> str:
    """A page from a template beside this module; every text in it is escaped."""
    environment = Environment(loader=FileSystemLoader(_HERE), autoescape=True, trim_blocks=True,
                              lstrip_blocks=True, undefined=StrictUndefined)
    style = (_HERE / "page.css").read_text(encoding="utf-8")
    titles = {name: figure.title for name, figure in FIGURES.items()}
    return environment.get_template(template).render(style=style, figures=titles, **values)


def write_page(path: Path, content: str) -> None:
    """Write a file whole, for who owns its folder. Raises TestbedError."""
    try:
        owner = path.parent.stat()
        is_root = os.geteuid() == 0
        replace_file(path, content, (owner.st_uid, owner.st_gid) if is_root else None)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise TestbedError(f"{path} cannot be written ({why}): name another file with --out"
                           ) from error


def _spec_text(run: Run) -> str:
    return (run.path / "spec.yaml").read_text(encoding="utf-8")


# --- Markdown ------------------------------------------------------------------------------


def _markdown_lines(facts: Facts) -> Iterator[str]:
    yield f"# {facts.title}: {facts.word}"
    yield from ("", facts.about, "", f"{facts.trust[:1].upper()}{facts.trust[1:]}.")
    for alarm in facts.alarms:
        yield from ("", f"**{alarm}**")
    if facts.reasons:
        yield from ("", *(f"- {reason}" for reason in facts.reasons))
    for title, table in (("Checks", facts.checks), ("What was done", facts.timeline),
                         ("Recovery", facts.recovery), ("Collectives", facts.sizes),
                         ("Hosts", facts.hosts), ("Fidelity", facts.fidelity)):
        if table is not None:
            yield from ("", f"## {title}", "", *_markdown_table(table))
    yield from ("", "## What was run", "",
                *(f"- {key}: {text}" for key, text in (*facts.what, *facts.made)))
    yield from ("", "## Again", "", *(f"    {command}" for command in facts.again))


def _markdown_table(table: Table) -> Iterator[str]:
    if table.rows:
        yield _markdown_row(table.header)
        yield _markdown_row(["--:" if table.is_numeric(n) else "---"
                             for n in range(len(table.header))])
        yield from map(_markdown_row, table.rows)
        yield ""
    if table.note:
        yield table.note


def _markdown_row(cells: Sequence[str]) -> str:
    texts = [cell.replace("\n", ", ").replace("|", "\\|") for cell in cells]
    return f"| {' | '.join(texts)} |"
