"""Files in the folders of other people: put in their place whole, and never through a link.

Often we are root there, on behalf of whoever called sudo.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def open_own(path: str, flags: int) -> int:
    """An `opener` for a file of ours, never what a link leads to. Raises OSError."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)


def replace_file(path: Path, content: str | bytes, owner: tuple[int, int] | None) -> None:
    """Put a file in the place of ``path`` that is whole from the start.

    ``owner``: numbers of the user and group it is given to, None for who writes it. Raises
    OSError; then all is as it was.
    """
    data = content.encode() if isinstance(content, str) else content
    unfinished = path.with_name(f".{path.name}.new")
    try:
        with open(unfinished, "wb", opener=open_own) as file:
            if owner is not None:
                os.fchown(file.fileno(), *owner)
            file.write(data)
        unfinished.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise


def overwrite(path: Path, content: str) -> bool:
    """Put ``content`` into a file as it lies there, for a disk that has no room for another one.

    False, with nothing changed, where it is longer than the file: spaces fill up the rest, so
    not one more block is needed. Raises OSError.
    """
    data = content.encode()
    with open(path, "r+b", buffering=0, opener=open_own) as file:
        size = os.fstat(file.fileno()).st_size
        if len(data) > size:
            return False
        os.pwrite(file.fileno(), data.ljust(size), 0)
    return True
