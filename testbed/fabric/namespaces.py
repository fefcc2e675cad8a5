"""Network and mount namespaces: make them, step into them, step out again.

No namespace here has a name in /run/netns: each lives exactly as long as the
processes in it, so ending the instance's processes ends its namespaces too.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from testbed.errors import MachineError

CLONE_NEWNS = 0x0002_0000
CLONE_NEWNET = 0x4000_0000
MS_REC = 0x4000
MS_PRIVATE = 1 << 18
SIOCSIFFLAGS = 0x8914
IFF_UP = 1

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        reason = os.strerror(ctypes.get_errno())
        raise MachineError(f"cannot {what} ({reason}): it needs root, and in a container "
                           "all privileges")


def unshare_network_and_mounts() -> None:
    """Move this process (before it has threads) to namespaces of its own.

    Mounts made afterwards are seen by this process and its children only.
    """
    _check(_libc.unshare(CLONE_NEWNET | CLONE_NEWNS), "unshare")
    _check(_libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "make mounts private")


def mount(source: str, target: Path, kind: str) -> None:
    """Mount a file system of ``kind`` on ``target``. Raises OSError."""
    result = _libc.mount(source.encode(), str(target).encode(), kind.encode(), 0, None)
    _check(result, f"mount {kind} on {target}")


def enter_network(pid: int) -> None:
    """Move the calling thread for good to the network namespace of ``pid``."""
    with open(f"/proc/{pid}/ns/net", "rb") as handle:
        _check(_libc.setns(handle.fileno(), CLONE_NEWNET), f"enter the network of pid {pid}")


def enter_mounts(pid: int) -> None:
    """Move the calling (single-threaded) process to the mount namespace of ``pid``."""
    with open(f"/proc/{pid}/ns/mnt", "rb") as handle:
        _check(_libc.setns(handle.fileno(), CLONE_NEWNS), f"enter the mounts of pid {pid}")


@contextlib.contextmanager
def network_of(pid: int) -> Iterator[None]:
    """Run the body in the network namespace of ``pid``; this thread only.

    Sockets opened in the body stay in that namespace after it.
    """
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter_network(pid)
        yield
    finally:
        _check(_libc.setns(home, CLONE_NEWNET), "return to the own network namespace")
        os.close(home)


def set_sysctl(key: str, value: int | str) -> None:
    """Write one net.* key of the calling thread's network namespace, with read-back."""
    path = Path("/proc/sys", *key.split("."))
    try:
        path.write_text(f"{value}\n")
        taken = path.read_text().strip()
    except OSError as error:
        raise MachineError(f"sysctl {key} cannot be set ({error.strerror}): this kernel lacks it, "
                           "or a container keeps it from us; run `testbed doctor`") from error
    if taken != str(value):
        raise MachineError(f"sysctl {key} is {taken} after {value} was written; "
                           "end what sets it back")


def quiet_ipv6() -> None:
    """No kernel IPv6 on any interface made here later: no ND or MLD in the counters."""
    set_sysctl("net.ipv6.conf.default.disable_ipv6", 1)
    set_sysctl("net.ipv6.conf.all.disable_ipv6", 1)


def loopback_up() -> None:
    """Make 127.0.0.1 work in the calling thread's network namespace."""
    request = struct.pack("16sH22x", b"lo", IFF_UP)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        fcntl.ioctl(handle, SIOCSIFFLAGS, request)
