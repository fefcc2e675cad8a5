"""What the README shows is what happens: tables are made from code, commands are run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from readme import README, ROOT, generate

from testbed.cli.main import make_parser
from testbed.intent.topology import load_topology
from topologies.draw import draw

TEXT = README.read_text()
PREFIX = "sudo python -m testbed "


@dataclass(frozen=True, slots=True)
class Shown:
    """One command of a console block, and the output under it."""

    command: str
    output: str


def shown_commands() -> list[Shown]:
    """Every ``$ ...`` of every console block, in order."""
    blocks = re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL)
    parts = [part for block in blocks for part in re.split(r"(?m)^\$ ", block) if part]
    return [Shown(command, output) for command, _, output in
            (part.partition("\n") for part in parts)]


def masked(text: str) -> list[str]:
    """Lines with measured numbers as ``#``, and table columns one blank apart."""
    text = re.sub(r"(?m)^(calibrating: |.* ms emulated  ).*\n", "", text)  # progress
    text = re.sub(r"\d+\.\d+", "#", text)
    text = re.sub(r"\d{8}T\d{6}Z", "#", text)
    text = re.sub(r"(?m)^run \d+ ", "run # ", text)
    text = re.sub(r"(emulated takes )\w+", r"\1#", text)
    text = re.sub(r"(run folder +: ).*/runs/", r"\1runs/", text)
    text = re.sub(r"(?<!\w)(\d{1,3}(,\d{3})+|\d{4,})(?!\w)", "#", text)
    text = re.sub(r"(?<!\w)\d+ s$", "# s", text, flags=re.MULTILINE)
    text = re.sub(r"(up|memory +)\d+", r"\1#", text)
    text = re.sub(r"\d+( s,| MB| frames dropped)", r"#\1", text)
    return [re.sub(r" +", " ", line).strip() for line in text.strip().splitlines()]


def test_tables_are_up_to_date() -> None:
    assert generate(TEXT) == TEXT, "run: python tests/readme.py"


def test_the_picture_is_what_the_command_draws() -> None:
    assert draw(load_topology("quad")) in TEXT


def test_the_example_topology_is_valid(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    path = tmp_path / "mine.yaml"
    path.write_text(example)
    assert load_topology(str(path), ["planes=2"]).host_count == 4


def test_every_command_mentioned_parses() -> None:
    mentioned = re.findall(r"sudo python -m testbed ([^`#\n]+)", TEXT)
    assert len(mentioned) > 10
    for words in mentioned:
        make_parser().parse_args(shlex.split(words))


def test_local_files_mentioned_exist() -> None:
    for name in ("constraints.txt", "tests/test_import_law.py"):
        assert name in TEXT
        assert (ROOT / name).exists()
    for folder in ("topologies", "controllers", "workloads", "testbed/forwarding"):
        assert (ROOT / folder).is_dir()


def test_the_python_example_prints_what_is_shown() -> None:
    ((code, output),) = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", TEXT, re.DOTALL)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True,
                          timeout=120, check=True)
    assert done.stdout == output


@pytest.mark.root
def test_the_tour_goes_as_shown(tmp_path: Path) -> None:
    """Every command after `make up`, in order, on an instance of the default topology."""
    environment = {**os.environ, "TESTBED_NAME": f"readme-{os.getpid()}",
                   "TESTBED_CACHE": str(tmp_path / "cache")}

    def run(command: str) -> str:
        done = subprocess.run([sys.executable, "-m", "testbed", *shlex.split(command)], cwd=ROOT,
                              env=environment, text=True, capture_output=True, timeout=240,
                              check=False)
        return (done.stdout + done.stderr).replace(f"readme-{os.getpid()}", "default")

    assert "608 of 608 paths answer" in run("up -d")
    try:
        tour = [shown for shown in shown_commands() if shown.command.startswith(PREFIX)]
        assert len(tour) > 8
        for shown in tour:
            said = run(shown.command.removeprefix(PREFIX))
            for _ in range(2):
                # The machine may have been busy for a moment, and then the run says so.
                if " run " not in shown.command or ": trusted" in said:
                    break
                said = run(shown.command.removeprefix(PREFIX))
            assert masked(said) == masked(shown.output), shown.command
    finally:
        run("down")


@pytest.mark.root
def test_make_up_goes_as_shown() -> None:
    """The first block, until it says that Ctrl-C takes it down; then Ctrl-C."""
    (shown,) = [shown for shown in shown_commands() if shown.command == "sudo make up"]
    # `make test` runs this: a make within a make would say more than a user sees.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    environment["TESTBED_NAME"] = f"readme-{os.getpid()}"
    lines = []
    with subprocess.Popen(["make", "up"], cwd=ROOT, env=environment, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          start_new_session=True) as process:
        assert process.stdout
        for line in process.stdout:
            lines.append(line.replace(f" --name readme-{os.getpid()}", ""))
            if line.startswith("Ctrl-C"):
                break
        os.killpg(process.pid, 2)
        rest = process.stdout.read()
    assert "nothing of it is left" in rest
    assert masked("".join(lines)) == masked(shown.output)
