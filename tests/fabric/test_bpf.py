"""Compiling, loading and pinning the port program, and what is said when that fails."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from testbed.errors import MachineError
from testbed.fabric.bpf import SOURCE, PortProgram, build_object

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of the program's source, to be changed or compiled elsewhere."""
    copy = tmp_path / SOURCE.name
    copy.write_text(SOURCE.read_text())
    return copy


def test_compiles_when_missing_and_when_older_than_its_source(source: Path) -> None:
    built = build_object(source)
    first = built.stat()
    assert build_object(source).stat().st_ino == first.st_ino  # current: left alone
    os.utime(source, ns=(first.st_atime_ns, first.st_mtime_ns + 1))
    assert build_object(source).stat().st_ino != first.st_ino
    assert {path.name for path in source.parent.iterdir()} == {source.name, built.name}


def test_a_missing_compiler_is_named_with_its_remedy(source: Path) -> None:
    with pytest.raises(MachineError, match=r"no-such-clang.*not installed.*make install"):
        build_object(source, compiler="no-such-clang")


def test_what_the_compiler_says_reaches_the_user(source: Path) -> None:
    source.write_text(source.read_text().replace("struct frame frame;", "struct fram frame;"))
    with pytest.raises(MachineError, match=r"clang refused .*struct fram"):
        build_object(source)
    assert list(source.parent.iterdir()) == [source]


def test_the_source_refuses_to_be_compiled_without_the_constants(tmp_path: Path) -> None:
    argv = ["clang", "-target", "bpf", "-c", str(SOURCE), "-o", str(tmp_path / "x.o")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode != 0


@pytest.mark.root
def test_what_the_verifier_says_reaches_the_user(
    source: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text = source.read_text()
    unchecked = text.replace("if (!config || !state)", "if (!config)")
    assert unchecked != text
    source.write_text(unchecked)
    with pytest.raises(MachineError, match=r"the kernel refused .*map_value_or_null"):
        PortProgram(source=source).load()
    assert capfd.readouterr().err == ""  # libbpf itself prints nothing


@pytest.mark.root
def test_a_closed_program_has_no_descriptors_left() -> None:
    before = set(os.listdir("/proc/self/fd"))
    with PortProgram() as program:
        assert program.fd > 2
        assert set(os.listdir("/proc/self/fd")) > before
    program.close()  # twice does no harm
    assert set(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ValueError, match="not loaded"):
        _ = program.fd


@pytest.mark.root
def test_a_map_that_does_not_fit_its_types_is_refused() -> None:
    with PortProgram() as program:
        with pytest.raises(MachineError, match=r"port_state.*remove port\.bpf\.o"):
            program.map("port_state", ctypes.c_uint32, ctypes.c_uint64)
        with pytest.raises(KeyError, match="no map 'nonsense'"):
            program.map("nonsense", ctypes.c_uint32, ctypes.c_uint64)


PIN = """
import ctypes, sys
from pathlib import Path
from testbed.fabric.bpf import PortProgram
from testbed.errors import MachineError
libc, folder = ctypes.CDLL(None, use_errno=True), Path(sys.argv[1])
assert libc.unshare(0x20000) == 0
assert libc.mount(b"none", b"/", None, 0x4000 | 1 << 18, None) == 0
with PortProgram() as program:
    try:
        program.pin(folder)
    except MachineError as error:
        assert "mount a bpf file system" in str(error), error
    else:
        raise AssertionError("pinned on a file system that is no bpffs")
    assert libc.mount(b"bpf", bytes(folder), b"bpf", 0, None) == 0
    program.pin(folder)
    print(*sorted(path.name for path in folder.iterdir()))
"""


@pytest.mark.root
def test_pins_the_program_and_its_maps(tmp_path: Path) -> None:
    """In a process with mounts of its own, so that nothing stays mounted."""
    argv = [sys.executable, "-c", PIN, str(tmp_path)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    pins = {"port_egress", "port_config", "port_state", "ev_faults"}
    assert pins <= set(done.stdout.split()), done
