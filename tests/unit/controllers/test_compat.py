"""The framework is one of two, complete, and importing it leaves no trace."""

import os
import subprocess
import sys

import pytest

from controllers import compat


def test_one_framework_was_taken() -> None:
    assert compat.FRAMEWORK in ("ryu", "os_ken")
    assert compat.FRAMEWORK_VERSION[0].isdigit()


def test_importing_registers_no_application() -> None:
    from controllers import app

    assert issubclass(app.FabricProgrammer, compat.RyuApp)
    assert compat.app_manager.SERVICE_BRICKS == {}
    assert compat.AppManager._instance is None


def test_importing_leaves_the_import_system_as_it_was() -> None:
    check = (
        "import sys, gc, warnings\n"
        "finders, filters = set(sys.meta_path), list(warnings.filters)\n"
        "import controllers.compat\n"
        "assert finders <= set(sys.meta_path), sys.meta_path\n"
        "assert warnings.filters == filters, warnings.filters\n"
        "assert gc.isenabled()\n"
        "assert 'dns' not in sys.modules, 'dnspython costs 190 ms and is of no use here'"
    )
    subprocess.run([sys.executable, "-c", check], check=True)


def test_without_either_framework_the_reason_is_told() -> None:
    blocked = (
        "import sys; sys.modules['ryu'] = None; sys.modules['os_ken'] = None\n"
        "import controllers.compat"
    )
    done = subprocess.run([sys.executable, "-c", blocked], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 1
    assert "no OpenFlow controller can be imported (ryu: " in done.stderr
    assert "os_ken: " in done.stderr


def test_waiting_returns_when_there_is_something_to_read() -> None:
    reader, writer = os.pipe()
    try:
        compat.hub.spawn(os.write, writer, b"x")
        compat.wait_readable(reader)
        assert os.read(reader, 1) == b"x"
    finally:
        os.close(reader)
        os.close(writer)


def test_a_plain_file_is_always_readable() -> None:
    with open(os.devnull, "rb") as nothing:
        compat.wait_readable(nothing.fileno())


@pytest.mark.parametrize("name", ["MAIN_DISPATCHER", "DEAD_DISPATCHER"])
def test_phases_are_told_apart(name: str) -> None:
    assert getattr(compat, name) != compat.HANDSHAKE_DISPATCHER
