"""The switch port program in the kernel: compile it, load it, reach its maps.

A thin layer of ctypes over libbpf, the loader the distribution ships. Everything
here is a file descriptor or owns one; `PortProgram` frees them all on close. The
program goes on working for as long as a tc filter holds it.

What the C source and Python must agree on is defined once, in Python, and handed
to the compiler (`CONSTANTS`).
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import subprocess
import sysconfig
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

from testbed.errors import MachineError
from topologies import numbers
from topologies.numbers import Dscp

SOURCE = Path(__file__).with_name("port.bpf.c")
PROGRAM_NAME = "port_egress"
DEFAULT_SLOTS = 8192

# HTB classes 1:10 and 1:20 of a shaped port. skb->priority carries a class id as it is.
CLASS_CONTROL = 0x0001_0010
CLASS_DATA = 0x0001_0020

CONSTANTS = {
    "PORT_MARK": 0x6D72_6370,  # any value no one else uses; "mrcp" reads well in a dump
    "CLASS_CONTROL": CLASS_CONTROL,
    "CLASS_DATA": CLASS_DATA,
    "TRIMMED_FRAME_BYTES": numbers.TRIMMED_FRAME_BYTES,
    "DSCP_CONTROL": int(Dscp.CONTROL),
    "DSCP_TRIMMABLE": int(Dscp.TRIMMABLE),
    "DSCP_TRIMMABLE_RETX": int(Dscp.TRIMMABLE_RETX),
    "DSCP_TRIMMED": int(Dscp.TRIMMED),
    "DSCP_TRIMMED_LASTHOP": int(Dscp.TRIMMED_LASTHOP),
}

_BPF_F_LOCK = 4  # linux/bpf.h: copy the value under its spin lock
_LOG_LINES = 12

Key = TypeVar("Key")
Value = TypeVar("Value")


# --- Compiling -----------------------------------------------------------------------


def build_object(source: Path = SOURCE, compiler: str = "clang") -> Path:
    """Path of the compiled program, next to its source; compiled where missing or stale.

    Safe against another process that builds at the same time. Raises `MachineError`
    if clang is missing or refuses, or the folder cannot be written.
    """
    target = source.with_suffix(".o")  # port.bpf.c -> port.bpf.o
    if _is_current(target, source):
        return target
    scratch = target.with_suffix(f".{os.getpid()}.new")
    try:
        _compile(source, scratch, compiler)
        os.replace(scratch, target)
    except OSError as error:
        raise MachineError(
            f"the switch port program cannot be stored as {target}: {error.strerror}; "
            "make the folder writable"
        ) from error
    finally:
        scratch.unlink(missing_ok=True)
    return target


def _is_current(target: Path, source: Path) -> bool:
    """Whether the object is younger than everything that went into it."""
    inputs = (source, Path(__file__), Path(numbers.__file__))
    try:
        built_at_ns = target.stat().st_mtime_ns
    except FileNotFoundError:
        return False
    return all(built_at_ns > path.stat().st_mtime_ns for path in inputs)


def _compile(source: Path, target: Path, compiler: str) -> None:
    # The kernel's asm/ headers are in a folder named after the machine's architecture,
    # which clang does not search when it compiles for the bpf target.
    headers = f"/usr/include/{sysconfig.get_config_var('MULTIARCH')}"
    argv = [
        compiler, "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-target", "bpf", "-mcpu=v3",
        "-I", headers, *(f"-D{name}={value}" for name, value in CONSTANTS.items()),
        "-c", str(source), "-o", str(target),
    ]  # fmt: skip
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise MachineError(
            f"the switch port program needs {compiler}, which is not installed; "
            "run `make install`"
        ) from error
    if done.returncode:
        raise MachineError(
            f"{compiler} refused the switch port program: {_last_lines(done.stderr)}; "
            "run `testbed doctor`"
        )


def _last_lines(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(lines[-_LOG_LINES:]) or "no reason given"


# --- libbpf --------------------------------------------------------------------------

_PRINT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)


@functools.cache
def _libbpf() -> Any:
    try:
        library = ctypes.CDLL("libbpf.so.1", use_errno=True)
    except OSError as error:
        raise MachineError(
            "the switch port program needs libbpf.so.1, which is not installed; "
            "run `make install`"
        ) from error
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    prototypes = {
        "bpf_object__open_file": (pointer, [text, pointer]),
        "bpf_object__load": (number, [pointer]),
        "bpf_object__pin": (number, [pointer, text]),
        "bpf_object__close": (None, [pointer]),
        "bpf_object__find_map_by_name": (pointer, [pointer, text]),
        "bpf_object__find_program_by_name": (pointer, [pointer, text]),
        "bpf_program__fd": (number, [pointer]),
        "bpf_map__fd": (number, [pointer]),
        "bpf_map__key_size": (ctypes.c_uint32, [pointer]),
        "bpf_map__value_size": (ctypes.c_uint32, [pointer]),
        "bpf_map__set_max_entries": (number, [pointer, ctypes.c_uint32]),
        "bpf_map_lookup_elem_flags": (number, [number, pointer, pointer, ctypes.c_uint64]),
        "bpf_map_update_elem": (number, [number, pointer, pointer, ctypes.c_uint64]),
        "bpf_map_delete_elem": (number, [number, pointer]),
        "bpf_map_get_next_key": (number, [number, pointer, pointer]),
        "libbpf_set_print": (pointer, [pointer]),
    }
    for name, (result, arguments) in prototypes.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class _Messages:
    """While entered, what libbpf and the verifier say is kept instead of printed."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=200)
        self._print = _PRINT(self._keep)
        self._vsnprintf = ctypes.CDLL(None).vsnprintf

    def _keep(self, level: int, template: bytes, arguments: int) -> int:
        buffer = ctypes.create_string_buffer(1 << 16)
        # A va_list arrives as a pointer and is passed on as one.
        self._vsnprintf(buffer, ctypes.c_size_t(len(buffer)), template,
                        ctypes.c_void_p(arguments))
        self._lines.extend(buffer.value.decode(errors="replace").splitlines())
        return 0

    def __enter__(self) -> Self:
        hook = ctypes.cast(self._print, ctypes.c_void_p)
        self._previous = _libbpf().libbpf_set_print(hook)
        return self

    def __exit__(self, *exception: object) -> None:
        _libbpf().libbpf_set_print(self._previous)

    def last_lines(self) -> str:
        """The end of it, where the verifier gives its reason."""
        return _last_lines("\n".join(self._lines))


# --- Maps ----------------------------------------------------------------------------


class BpfMap(Generic[Key, Value]):
    """One map, keys and values being ctypes objects of the sizes the kernel has.

    Every call is one system call; no process is started. Raises `OSError` where the
    kernel refuses.
    """

    def __init__(self, fd: int, key_type: type[Key], value_type: type[Value],
                 *, is_locked: bool = False) -> None:
        self.fd = fd
        self._key_type = key_type
        self._value_type = value_type
        self._lookup_flags = _BPF_F_LOCK if is_locked else 0

    def lookup(self, key: Key) -> Value | None:
        """The value as it is now, whole if the map is locked; None if there is none."""
        value = self._value_type()
        result = _libbpf().bpf_map_lookup_elem_flags(
            self.fd, _address(key), _address(value), self._lookup_flags
        )
        if result == -errno.ENOENT:
            return None
        _check(result, "lookup")
        return value

    def update(self, key: Key, value: Value) -> None:
        """Set the value of a key, new or not."""
        _check(_libbpf().bpf_map_update_elem(self.fd, _address(key), _address(value), 0),
               "update")

    def delete(self, key: Key) -> bool:
        """Remove a key; whether it was there."""
        result = _libbpf().bpf_map_delete_elem(self.fd, _address(key))
        if result == -errno.ENOENT:
            return False
        _check(result, "delete")
        return True

    def keys(self) -> Iterator[Key]:
        """All keys, in the kernel's order; do not delete on the way."""
        key = None
        while True:
            following = self._key_type()
            address = None if key is None else _address(key)
            result = _libbpf().bpf_map_get_next_key(self.fd, address, _address(following))
            if result == -errno.ENOENT:
                return
            _check(result, "iteration")
            yield following
            key = following


def _address(item: Any) -> Any:
    return ctypes.byref(item)


def _check(result: int, what: str) -> None:
    if result < 0:
        raise OSError(-result, f"BPF map {what}: {os.strerror(-result)}")


# --- The program ---------------------------------------------------------------------


class PortProgram:
    """The port program, loaded once for all ports of an instance.

    Use as a context manager or call `close`. ``slots`` bounds the interface indexes of
    the ports (slot < slots). The maps are in `portmap.PortMap`.
    """

    def __init__(self, slots: int = DEFAULT_SLOTS, source: Path = SOURCE) -> None:
        self.slots = slots
        self._source = source
        self._object: int | None = None

    def load(self) -> Self:
        """Compile if need be and load. Raises `MachineError` with the kernel's reason."""
        path = build_object(self._source)
        with _Messages() as messages:
            self._object = _libbpf().bpf_object__open_file(os.fsencode(path), None)
            if not self._object:
                raise self._refusal("libbpf", ctypes.get_errno(), messages)
            for name in ("port_config", "port_state"):
                _libbpf().bpf_map__set_max_entries(self._map(name), self.slots)
            result = _libbpf().bpf_object__load(self._object)
            if result < 0:
                self.close()
                raise self._refusal("the kernel", -result, messages)
        return self

    @staticmethod
    def _refusal(who: str, number: int, messages: _Messages) -> MachineError:
        return MachineError(
            f"{who} refused the switch port program ({os.strerror(number)}): "
            f"{messages.last_lines()}; it needs root and Linux 5.16 or newer, see "
            "`testbed doctor`"
        )

    def __enter__(self) -> Self:
        return self if self._object else self.load()

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Free every descriptor of this object; filters that hold the program keep it."""
        if self._object:
            _libbpf().bpf_object__close(self._object)
        self._object = None

    @property
    def fd(self) -> int:
        """File descriptor of the program, for a tc filter; valid until `close`."""
        program = _libbpf().bpf_object__find_program_by_name(
            self._loaded(), PROGRAM_NAME.encode()
        )
        return int(_libbpf().bpf_program__fd(program))

    def map(self, name: str, key_type: type[Key], value_type: type[Value],
            *, is_locked: bool = False) -> BpfMap[Key, Value]:
        """A map by its name in the source, checked against the Python types' sizes.

        ``is_locked``: values hold a bpf_spin_lock and are read under it. Raises
        `MachineError` where the sizes differ.
        """
        handle = self._map(name)
        sizes = (_libbpf().bpf_map__key_size(handle), _libbpf().bpf_map__value_size(handle))
        expected = (ctypes.sizeof(key_type), ctypes.sizeof(value_type))  # type: ignore[arg-type]
        if sizes != expected:
            raise MachineError(
                f"map {name} of the switch port program has entries of {sizes} bytes where "
                f"{expected} were expected; remove {self._source.with_suffix('.o').name}"
            )
        return BpfMap(_libbpf().bpf_map__fd(handle), key_type, value_type,
                      is_locked=is_locked)

    def pin(self, directory: Path) -> None:
        """Pin program and maps under a folder of a bpffs, for bpftool and for keeping."""
        with _Messages() as messages:
            result = _libbpf().bpf_object__pin(self._loaded(), os.fsencode(directory))
        if result < 0:
            raise MachineError(
                f"the switch port program cannot be pinned in {directory} "
                f"({os.strerror(-result)}): {messages.last_lines()}; mount a bpf file "
                "system there"
            )

    def _map(self, name: str) -> int:
        handle = _libbpf().bpf_object__find_map_by_name(self._loaded(), name.encode())
        if not handle:
            raise KeyError(f"the switch port program has no map {name!r}")
        return int(handle)

    def _loaded(self) -> int:
        if not self._object:
            raise ValueError("the switch port program is not loaded; call load() first")
        return self._object
