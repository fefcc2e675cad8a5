"""Mistakes get one clear sentence, the right exit code, and leave nothing half-built."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from testbed_process import CHECKOUT, Running, settled, take_snapshot, testbed, up

from testbed.cli.main import main, make_parser
from testbed.instance.layout import Layout

pytestmark = pytest.mark.root


@pytest.mark.parametrize(("words", "said"), [
    (["quadd"], "did you mean 'quad'"),
    (["no/such.yaml"], "cannot be read"),
    (["full"], "can only be described"),
    (["tiny", "--set", "planes=0"], "--set planes=0: planes"),
    (["tiny", "--set", "planes=9"], "1 to 8"),
    (["tiny", "--set", "mtu=2000B"], "at least"),
    (["tiny", "--set", "plains=2"], "did you mean 'planes'"),
    (["tiny", "--set", "port_rate=100"], "port_rate"),
    (["tiny", "--tdf", "0"], "--tdf 0"),
    (["tiny", "--tdf", "fast"], "--tdf fast"),
    (["tiny", "--tdf", "1"], "--tdf 1"),
    (["tiny", "--name", "Bad_Name"], "cannot name an instance"),
])
def test_what_cannot_be_built_is_a_usage_error(name: str, words: list[str], said: str) -> None:
    words = words if "--name" in words else [*words, "--name", name]
    done = testbed("up", "-d", *words)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert done.stderr.startswith("testbed: ")
    assert done.stdout == ""
    assert not Layout(name).root.exists()


def test_a_file_with_many_mistakes_names_them_all(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("planes: 9\nt0_per_plane: 2\nt1_per_plane: two\nhosts_per_t0: 1\n"
                    "port_rate: 100\nlink_delay: 1us\ncolour: red\n")
    done = testbed("up", str(path))
    assert done.returncode == 2
    for line in ("mine.yaml:1: planes", "mine.yaml:3: t1_per_plane", "mine.yaml:5: port_rate",
                 "mine.yaml:7: there is no key 'colour'"):
        assert line in done.stderr, done.stderr


@pytest.mark.parametrize("words", [["status"], ["probe", "h0", "h1"], ["paths", "h0", "h1"],
                                   ["fail", "plane:0"], ["heal"], ["shell", "h0"], ["cli"]])
def test_without_an_instance_commands_say_how_to_start_one(name: str, words: list[str]) -> None:
    done = testbed(*words[:1], "--name", name, *words[1:])
    assert done.returncode == 4
    assert "is not up" in done.stderr
    assert f"up --name {name}" in done.stderr


def test_up_twice_is_refused_and_the_first_lives_on(name: str) -> None:
    first = up(name, "tiny")
    again = testbed("up", "tiny", "-d", "--name", name)
    assert again.returncode == 4
    assert "already up" in again.stderr
    assert first.call("status")["paths_ok"] == 40
    first.down()


def test_a_shell_runs_a_command_says_when_it_cannot_and_ends_with_the_instance(
    name: str,
) -> None:
    instance = up(name, "tiny")
    inside = instance.command("shell", "h1", "--", "ip", "-br", "link")
    assert inside.returncode == 0
    assert "h1-eth0" in inside.stdout
    wrong = instance.command("shell", "h1", "no-such-command")
    assert wrong.returncode == 2
    assert "cannot run 'no-such-command' on h1" in wrong.stderr
    with subprocess.Popen([sys.executable, "-m", "testbed", "shell", "--name", name, "instance",
                           "sh", "-c", "echo in; exec sleep 300"], cwd=CHECKOUT, text=True,
                          stdout=subprocess.PIPE) as shell:
        assert shell.stdout
        assert shell.stdout.readline() == "in\n"
        instance.down()
        assert shell.wait(timeout=30) != 0


@pytest.mark.parametrize("words", [["--size", "1B"], ["--size", "10000B"], ["--count", "0"],
                                   ["--timeout", "0s"], ["--ev", "0x0909"], ["--ev", "nine"]])
def test_probe_options_out_of_range_are_usage_errors(
    shared: Running, words: list[str]
) -> None:
    done = shared.command("probe", "h0", "h3", *words)
    assert done.returncode == 2, done.stderr


@pytest.fixture(scope="module")
def shared(bring_up: Callable[..., Running]) -> Running:
    """One `tiny` for tests that only ask."""
    return bring_up("tiny")


@pytest.fixture
def held(name: str) -> Iterator[str]:
    """A name whose lock somebody else holds."""
    layout = Layout(name)
    descriptor = layout.claim()
    yield name
    os.close(descriptor)
    layout.remove()


def test_a_held_lock_is_refused(held: str) -> None:
    done = testbed("up", "tiny", "-d", "--name", held)
    assert done.returncode == 4
    assert "already up" in done.stderr
    assert Layout(held).root.exists(), "a refused up must not remove another's directory"


def test_a_stale_lock_is_cleaned_by_down(name: str) -> None:
    os.close(Layout(name).claim())
    done = testbed("up", "tiny", "-d", "--name", name)
    assert done.returncode == 4
    assert "is dead" in done.stderr
    assert testbed("down", "--name", name).returncode == 0
    up(name, "tiny").down()


def test_a_missing_tool_is_named_with_its_package(name: str, tmp_path: Path) -> None:
    for tool in ("mnexec", "ovs-vsctl", "ssh-keygen", "nsenter", "mount", "clang"):
        (tmp_path / tool).symlink_to(f"/usr/bin/{tool}")
    done = testbed("up", "tiny", "-d", "--name", name,
                   env={**os.environ, "PATH": str(tmp_path)})
    assert done.returncode == 3
    assert "ovs-vswitchd is missing" in done.stderr
    assert "make install" in done.stderr
    assert not Layout(name).root.exists()


@pytest.mark.parametrize("size", ["4k", "16k", "32k", "64k"])
def test_a_full_disk_is_said_and_cleaned_up(name: str, size: str) -> None:
    """/run is replaced, for this command only, by a file system with too little room."""
    snapshot = take_snapshot()
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-ec",
         'mount -t tmpfs -o size="$1" tmpfs /run; cd "$2"; exec "$3" -m testbed up tiny -d '
         '--name "$4"', "sh", size, str(CHECKOUT), sys.executable, name],
        capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 5, done.stderr
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("testbed: ")]
    assert "pace" in error, error
    assert "internal error" not in error
    assert "Traceback" not in done.stderr
    assert settled(snapshot) == {}


@contextmanager
def nobody() -> Iterator[None]:
    """This process without root's rights for a moment: modules must be loaded before."""
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("words", [["up", "tiny", "-d"], ["down"]])
def test_without_root_it_says_sudo(
    name: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    make_parser()
    with nobody():
        assert main([*words, "--name", name]) == 3
    assert "sudo" in capsys.readouterr().err


def test_without_root_a_running_instance_is_not_reached(
    bring_up: Callable[..., Running], capsys: pytest.CaptureFixture[str]
) -> None:
    instance = bring_up("tiny")
    make_parser()
    for words in (["status"], ["probe", "h0", "h1"], ["down"]):
        with nobody():
            assert main([*words, "--name", instance.name]) == 3
        assert "sudo" in capsys.readouterr().err
    assert instance.call("status")["paths_ok"] == 40


def test_json_puts_one_document_on_stdout_and_nothing_else(
    bring_up: Callable[..., Running],
) -> None:
    import json

    instance = bring_up("tiny")
    for words in (["status"], ["paths", "h0", "h3"], ["probe", "h0", "h3"], ["heal"],
                  ["fail", "plane:0"], ["heal"]):
        done = instance.command(*words[:1], "--json", *words[1:])
        assert done.returncode == 0, done.stderr
        json.loads(done.stdout)
    status = json.loads(instance.command("status", "--json").stdout)
    assert {"name", "topology", "dataplane", "tdf", "hosts", "switches", "links", "agents",
            "paths_total", "paths_ok", "uptime_s"} <= status.keys()
    rows = json.loads(instance.command("probe", "--json", "h0", "h3").stdout)
    assert len(rows) == 4
    assert {"ev", "plane", "t1", "address", "sent", "received", "rtt_us"} <= rows[0].keys()


def test_a_pipe_that_closes_early_is_quiet(bring_up: Callable[..., Running]) -> None:
    instance = bring_up("tiny")
    done = subprocess.run(
        ["sh", "-c", '"$1" -m testbed status -v --name "$2" | head -1', "sh",
         sys.executable, instance.name],
        cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    assert done.stdout.startswith(instance.name)


