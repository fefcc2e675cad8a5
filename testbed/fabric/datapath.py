"""Which datapath Open vSwitch gets: the kernel's where it is there and proved, else userspace.

The proof is doctor's self-test (trim, CE and a fault at a second hop), whose result is
kept for the running kernel.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

KERNEL, USERSPACE = "system", "netdev"
_FORCE = "TESTBED_DATAPATH"  # in the environment of the instance process
_PROOF = Path(__file__).parents[2] / ".venv" / "datapath.json"


def is_module_there() -> bool:
    """True where the openvswitch module is loaded or can be."""
    if Path("/sys/module/openvswitch").exists():
        return True
    folder = Path("/lib/modules") / os.uname().release
    return any(folder.glob("**/openvswitch.ko*"))


def record_proof(is_proved: bool) -> None:
    """Keep the self-test's verdict on this kernel's datapath."""
    _PROOF.write_text(json.dumps({"kernel": os.uname().release, "is_proved": is_proved}))


def verdict() -> bool | None:
    """What the self-test said of the kernel that runs now; None where it never ran."""
    try:
        proof = json.loads(_PROOF.read_text())
    except (OSError, ValueError):
        return None
    return bool(proof["is_proved"]) if proof["kernel"] == os.uname().release else None


@contextmanager
def forced(datapath: str) -> Iterator[None]:
    """Instances started in the body get this datapath, proved or not."""
    os.environ[_FORCE] = datapath
    try:
        yield
    finally:
        del os.environ[_FORCE]


def choose_datapath() -> str:
    """KERNEL where it is there and proved, else USERSPACE."""
    forced_to = os.environ.get(_FORCE)
    if forced_to:
        return forced_to
    return KERNEL if is_module_there() and verdict() else USERSPACE
