"""What the two MRC interfaces raise where the C headers return minus one and set errno.

The controller API (facts sheet section 7) and the verbs-like one (section 8) share these:
a wrong call is the caller's error and changes nothing, unless the call says otherwise.
"""

from __future__ import annotations

from enum import StrEnum

from testbed.errors import TestbedError


class Errno(StrEnum):
    """The errno names the headers document; each equals its own name as text."""

    EAGAIN = "EAGAIN"
    EBUSY = "EBUSY"
    EINVAL = "EINVAL"
    EIO = "EIO"
    ENOENT = "ENOENT"
    ENOMEM = "ENOMEM"
    ENOTSUP = "ENOTSUP"
    EPERM = "EPERM"
    ETIMEDOUT = "ETIMEDOUT"
    E2BIG = "E2BIG"


class MrcError(TestbedError):
    """A call of the MRC interfaces that was refused or failed.

    ``errno`` is the error number's name. ``count`` is what the C call leaves in its count
    field: the length needed where a result array is too small (E2BIG), the entries done
    before the one that failed in an operation on a list, and None everywhere else.
    """

    __test__ = False

    def __init__(self, errno: Errno, message: str, *, count: int | None = None) -> None:
        super().__init__(message)
        self.errno = errno
        self.count = count
