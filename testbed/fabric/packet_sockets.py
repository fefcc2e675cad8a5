"""The packet sockets of another process: enlarge, see what waits and what was lost, close.

Userspace Open vSwitch reads each port through an AF_PACKET socket of the default
size, which holds 24 full data frames; what arrives beyond that while it is busy
elsewhere is lost, and Open vSwitch does not count it. Neither its configuration nor
a sysctl of ours (those are the machine's) changes that, but its sockets can be
borrowed: pidfd_getfd(2) duplicates a descriptor of another process.

To close one takes the kernel about 13 ms (it waits for every processor to forget the
socket), so a process with 512 takes 6.6 s to end; closed by 32 threads, 0.2 s.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from testbed.errors import MachineError, TestbedError

# Absent from Python; the same numbers on every architecture that matters here.
SYS_PIDFD_GETFD = 438
SO_RCVBUFFORCE = 33
SO_DOMAIN = 39
SO_MEMINFO = 55

MEMINFO = struct.Struct("=9I")
MEMINFO_WAITING, MEMINFO_DROPS = 0, 8
CHARGE = 2  # what the kernel charges for a frame, over its bytes: 8,448 for 4,260, say
SOCKADDR_LL = struct.Struct("=HHiHBB8s")  # family, protocol, ifindex, ...; packet(7)
SOCKADDR_LL_IFINDEX = 2

CLOSING_THREADS = 32

_libc = ctypes.CDLL(None, use_errno=True)


def raise_packet_buffers(pid: int, buffer_bytes: int) -> dict[int, int]:
    """Enlarge the receive buffer of every port of a vswitchd; call after ports are added.

    `buffer_bytes` pays for whole kernel buffers, about twice a frame's bytes. Returns
    duplicates of the sockets by interface index, for `socket_drops`; the caller closes
    them (`close_sockets`). MachineError where the kernel refuses, TestbedError where the
    process has ended or reads one interface through two sockets.
    """
    borrowed: list[socket.socket] = []
    found: dict[int, socket.socket] = {}
    try:
        for held in _packet_sockets(pid):
            borrowed.append(held)
            ifindex = _bound_ifindex(held)
            if ifindex == 0:  # not bound: the one that all ports send through
                continue
            if ifindex in found:
                raise TestbedError(
                    f"pid {pid} reads interface index {ifindex} through two sockets, so what"
                    " they lose cannot be told by port: give each port one receive queue"
                )
            found[ifindex] = held
            _raise_buffer(held, buffer_bytes)
        return {ifindex: held.detach() for ifindex, held in found.items()}
    finally:
        for held in borrowed:
            held.close()  # nothing to close in those detached


def socket_drops(descriptors: Mapping[int, int]) -> dict[int, int]:
    """Read how many frames each socket lost since it was made, by interface index.

    A duplicate is the same socket, so these are Open vSwitch's own losses. The kernel
    counts in 32 bits. OSError where a descriptor is not an open socket.
    """
    return {ifindex: _memory(descriptor)[MEMINFO_DROPS]
            for ifindex, descriptor in descriptors.items()}


def socket_backlogs(descriptors: Mapping[int, int]) -> dict[int, int]:
    """About how many bytes of frames wait to be read now, by interface index.

    Half of what the kernel charges for them; short frames count two or three times.
    """
    return {ifindex: _memory(descriptor)[MEMINFO_WAITING] // CHARGE
            for ifindex, descriptor in descriptors.items()}


def hold_sockets(pid: int) -> list[int]:
    """Duplicate the packet sockets of a process that is about to end.

    It then ends at once, and `close_sockets` does the slow part. Gives what could be
    had, nothing where the process has ended already: this only saves time.
    """
    held: list[int] = []
    with contextlib.suppress(TestbedError, OSError):
        for borrowed in _packet_sockets(pid):
            held.append(borrowed.detach())
    return held


def close_sockets(descriptors: Iterable[int]) -> None:
    """Close packet sockets side by side: they wait for the kernel, not for a processor."""
    with ThreadPoolExecutor(CLOSING_THREADS, "close") as threads:
        list(threads.map(os.close, descriptors))


def _memory(descriptor: int) -> tuple[int, ...]:
    held = socket.socket(fileno=descriptor)
    try:
        memory = held.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, MEMINFO.size)
    finally:
        held.detach()
    return MEMINFO.unpack(memory)


def _packet_sockets(pid: int) -> Iterator[socket.socket]:
    """Give a duplicate, the receiver's to close, of each AF_PACKET socket of a process."""
    try:
        process = os.pidfd_open(pid)
    except OSError as error:
        raise TestbedError(
            f"the sockets of pid {pid} cannot be reached ({error.strerror}): has it ended?"
        ) from error
    try:
        for number in _socket_numbers(pid):
            descriptor = _borrow(process, number)
            if descriptor is None:
                continue
            held = socket.socket(fileno=descriptor)
            if held.getsockopt(socket.SOL_SOCKET, SO_DOMAIN) == socket.AF_PACKET:
                yield held
            else:
                held.close()
    finally:
        os.close(process)


def _socket_numbers(pid: int) -> list[int]:
    """Descriptor numbers, in that process, of its sockets of any kind."""
    numbers = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            if os.readlink(entry).startswith("socket:"):
                numbers.append(int(entry.name))
    return sorted(numbers)


def _borrow(process: int, number: int) -> int | None:
    """Duplicate one descriptor of another process; None where it was closed meanwhile."""
    descriptor = int(_libc.syscall(SYS_PIDFD_GETFD, process, number, 0))
    if descriptor >= 0:
        return descriptor
    reason = ctypes.get_errno()
    if reason == errno.EBADF:
        return None
    raise MachineError(
        f"the kernel refuses pidfd_getfd ({os.strerror(reason)}), needed to enlarge Open"
        " vSwitch's receive buffers: be root, on Linux 5.6 or newer"
    )


def _bound_ifindex(held: socket.socket) -> int:
    """Interface index a packet socket is bound to, 0 for none.

    Python's getsockname gives a name instead, looked up in the wrong namespace.
    """
    address = ctypes.create_string_buffer(SOCKADDR_LL.size)
    size = ctypes.c_uint32(SOCKADDR_LL.size)
    if _libc.getsockname(held.fileno(), address, ctypes.byref(size)) != 0:
        raise OSError(ctypes.get_errno(), "getsockname of a packet socket failed")
    return int(SOCKADDR_LL.unpack(address.raw)[SOCKADDR_LL_IFINDEX])


def _raise_buffer(held: socket.socket, buffer_bytes: int) -> None:
    try:
        held.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, buffer_bytes)
    except OSError as error:
        raise MachineError(
            f"the kernel refuses a receive buffer of {buffer_bytes} bytes ({error.strerror}):"
            " CAP_NET_ADMIN is needed, be root"
        ) from error
    # The kernel doubles what it is given, for its own overhead.
    got_bytes = held.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2
    if got_bytes < buffer_bytes:
        raise MachineError(
            f"the kernel gave a receive buffer of {got_bytes} instead of {buffer_bytes} bytes:"
            " ask for less"
        )
