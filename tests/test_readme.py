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

from testbed.analysis import load
from testbed.cli.main import make_parser
from testbed.drills.catalogue import load_drill
from testbed.drills.stages import SimStage
from testbed.drills.verdict import judge
from testbed.instance.runfolder import Owner
from testbed.intent.topology import load_topology
from testbed.intent.workload import KINDS, from_document, load_spec
from topologies.draw import draw
from workloads.collectives.catalogue import OPERATIONS

TEXT = README.read_text()
PREFIX = "sudo python -m testbed "
SLOWER = 3


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


def yaml_blocks() -> list[str]:
    """The examples of workload, drill and topology."""
    return re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)


def python_blocks() -> list[tuple[str, str]]:
    """Programs, each with what it prints."""
    return re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", TEXT, re.DOTALL)


def masked(text: str) -> list[str]:
    """Lines with measured numbers as ``#``, and table columns one blank apart."""
    text = re.sub(r"(?m)^( *calibrating: .*|.* ms emulated(  .*)?|  \[.*)\n", "", text)  # progress
    text = re.sub(r"\d+\.\d+", "#", text)
    text = re.sub(r"\d{8}T\d{6}Z", "#", text)
    text = re.sub(r"(?m)^run \d+ ", "run # ", text)
    text = re.sub(r"(emulated takes )\w+", r"\1#", text)
    text = re.sub(r"(run folder +: ).*/runs/", r"\1runs/", text)
    text = re.sub(r"(?<!\w)(\d{1,3}(,\d{3})+|\d{4,})(?!\w)", "#", text)
    text = re.sub(r"(?<!\w)(\d+ min )?\d+ s$", "# s", text, flags=re.MULTILINE)
    text = re.sub(r"(up|memory +)\d+", r"\1#", text)
    text = re.sub(r": \d+, expected", ": #, expected", text)
    text = re.sub(r"\d+( s,| MB| frames dropped)", r"#\1", text)
    return [re.sub(r" +", " ", line).strip() for line in text.strip().splitlines()]


def test_tables_are_up_to_date() -> None:
    assert generate(TEXT) == TEXT, "run: python tests/readme.py"


def test_the_picture_is_what_the_command_draws() -> None:
    assert draw(load_topology("quad")) in TEXT


def test_the_example_topology_is_valid(tmp_path: Path) -> None:
    *_, example = yaml_blocks()
    path = tmp_path / "mine.yaml"
    path.write_text(example)
    assert load_topology(str(path), ["planes=2"]).host_count == 4


def test_the_example_workload_is_valid(tmp_path: Path) -> None:
    example, *_ = yaml_blocks()
    path = tmp_path / "mine.yaml"
    path.write_text(example)
    document, topology = load_spec(path)
    assert topology is not None
    request = from_document(document, load_topology("quad"))
    assert request.to_document()["hosts"] == ["h0", "h4", "h1", "h5"]


def test_the_example_drill_passes(tmp_path: Path) -> None:
    _, example, _ = yaml_blocks()
    path = tmp_path / "mine.yaml"
    path.write_text(example)
    drill = load_drill(str(path))
    folder = SimStage(tmp_path / "runs", Owner(os.getuid(), os.getgid())).play(drill)
    assert judge(drill, load(folder)).word == "PASS"


def test_every_workload_and_algorithm_is_named() -> None:
    for kind in KINDS:
        assert f"`{kind}" in TEXT, kind
    for name, operation in OPERATIONS.items():
        for algorithm in operation.algorithms:
            row = rf"(?m)^\|[^|]*\b{name}\b[^|]*\| {algorithm}\b"
            assert re.search(row, TEXT), (name, algorithm)


def test_the_simulation_prints_what_is_shown(tmp_path: Path) -> None:
    (shown,) = [shown for shown in shown_commands() if "run train --sim" in shown.command]
    words = shlex.split(shown.command.removeprefix("python -m testbed "))
    done = subprocess.run([sys.executable, "-m", "testbed", *words], cwd=tmp_path, text=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True,
                          timeout=120, check=True)
    assert masked(done.stdout) == masked(shown.output)


def test_the_simulated_drill_and_what_is_read_of_it_are_as_shown(tmp_path: Path) -> None:
    """The simulator is exact, so every figure is."""
    (shown,) = [shown for shown in shown_commands() if "drill" in shown.command
                and "--sim" in shown.command]
    (code, output), _ = python_blocks()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def run(*words: str) -> str:
        return subprocess.run([sys.executable, *words], cwd=tmp_path, env=environment, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
                              check=True).stdout

    told = run("-m", *shlex.split(shown.command.removeprefix("python -m ")))
    assert re.sub(r"\d{8}T\d{6}Z", "#", told) == re.sub(r"\d{8}T\d{6}Z", "#", shown.output)
    assert run("-c", code) == output


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
    _, (code, output) = python_blocks()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True,
                          timeout=120, check=True)
    assert done.stdout == output


@pytest.mark.root
@pytest.mark.timeout(1800)
def test_the_tour_goes_as_shown(tmp_path: Path) -> None:
    """Every command after `make up`, in order, on an instance of the default topology."""
    environment = {**os.environ, "TESTBED_NAME": f"readme-{os.getpid()}",
                   "TESTBED_CACHE": str(tmp_path / "cache")}

    def run(command: str) -> str:
        done = subprocess.run([sys.executable, "-m", "testbed", *shlex.split(command)], cwd=ROOT,
                              env=environment, text=True, capture_output=True, timeout=600,
                              check=False)
        return (done.stdout + done.stderr).replace(f"readme-{os.getpid()}", "default")

    assert "608 of 608 paths answer" in run("up -d")
    try:
        tour = [shown for shown in shown_commands() if shown.command.startswith(PREFIX)]
        assert len(tour) > 8
        for shown in tour:
            command = shown.command.removeprefix(PREFIX)
            said = run(command)
            for _ in range(2):
                # The machine may be busy, and then the run says so, and what to do.
                if not command.startswith("run ") or ": trusted" in said:
                    break
                (dilation,) = re.findall(r"Time dilation +: ([\d,]+)", said)
                said = run(f"{command} --tdf {SLOWER * int(dilation.replace(',', ''))}")
            assert masked(said) == masked(shown.output), shown.command
    finally:
        run("down")


@pytest.mark.root
def test_make_try_goes_as_shown(tmp_path: Path) -> None:
    """The first command: up, a drill, its verdict, where the report is, and down again."""
    (shown,) = [shown for shown in shown_commands() if shown.command == "sudo make try"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    environment |= {"TESTBED_NAME": f"readme-{os.getpid()}", "TESTBED_CACHE": str(tmp_path)}

    def run() -> str:
        done = subprocess.run(["make", "try"], cwd=ROOT, env=environment, text=True, timeout=240,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        said = done.stdout.replace(f" --name readme-{os.getpid()}", "")
        # On a busy machine it says so in a line of its own, and passes all the same.
        return "".join(line for line in said.splitlines(keepends=True)
                       if not line.startswith("  warning: the run is degraded"))

    said = run()
    if "INCONCLUSIVE" in said:  # the machine may have been busy for a moment, and it says so
        said = run()
    assert masked(said) == masked(shown.output)
    report = re.search(r"report: (\S+)", said)
    assert report is not None
    assert "PASS" in (ROOT / report[1]).read_text()


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
