"""The profiles of one kind on a device, each under its 64-bit id."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, Generic, TypeVar

from testbed.transport.mrc.ctl.profile import Profile, ProfileKind
from testbed.transport.mrc.errors import Errno, MrcError

_ID_BITS = 64

P = TypeVar("P", bound=Profile[Any, Any, Any])


class Registry(Generic[P]):
    """Profiles by id; ``make`` builds one, ``limit`` is how many the device has room for."""

    def __init__(self, kind: ProfileKind, limit: int, make: Callable[[int], P]) -> None:
        self._kind = kind
        self._limit = limit
        self._make = make
        self._profiles: dict[int, P] = {}

    def __iter__(self) -> Iterator[P]:
        return iter(self._profiles.values())

    def create(self, profile_id: int | None) -> int:
        """Make a profile in INIT and return its id: the one given, or the lowest free from 1.

        Raises EINVAL (id taken or not of 64 bits), ENOMEM (no room for another).
        """
        if len(self._profiles) >= self._limit:
            raise MrcError(
                Errno.ENOMEM, f"the device holds {self._limit} of {self._kind.value}: destroy one"
            )
        if profile_id is None:
            profile_id = next(number for number in count(1) if number not in self._profiles)
        if profile_id in self._profiles or not 0 <= profile_id < 1 << _ID_BITS:
            raise MrcError(
                Errno.EINVAL, f"{self._kind.value} {profile_id} is taken or no id: use a free one"
            )
        self._profiles[profile_id] = self._make(profile_id)
        return profile_id

    def get(self, profile_id: int) -> P:
        """The profile of this id. Raises EINVAL where there is none."""
        try:
            return self._profiles[profile_id]
        except KeyError:
            raise MrcError(
                Errno.EINVAL, f"{self._kind.value} {profile_id} does not exist: create it first"
            ) from None

    def find(self, profile_id: int) -> P | None:
        """The profile of this id, None where there is none."""
        return self._profiles.get(profile_id)

    def destroy(self, profile_id: int) -> None:
        """Remove a profile. Raises EINVAL where there is none, EBUSY while it is ONLINE."""
        self.get(profile_id).check_destroy()
        del self._profiles[profile_id]
