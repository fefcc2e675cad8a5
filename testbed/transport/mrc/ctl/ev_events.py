"""EV events: what a controller hears of EVs that QPs gave up or took back (7.6).

The queue never overruns and never grows without bound: as long as nobody polls, a change
of an EV that already waits is merged into the one waiting. It keeps its place in the
queue, adds up the drops and shows the newest state, which is the one that counts. So at
most one event per EV of the device's profiles waits; events of EVs that the controller has
replaced meanwhile are discarded when room is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from testbed.transport.mrc.ctl.values import ApiEv, ApiEvState
from testbed.transport.mrc.errors import Errno, MrcError


class EvEvent(NamedTuple):
    """An EV of a profile changed to ``state``; ``drop_count`` packets were lost on it."""

    profile_id: int
    ev: ApiEv
    drop_count: int
    state: ApiEvState


class EvEventCq:
    """A queue of EV events.

    ``is_held`` tells whether a profile still holds an EV; ``capacity`` is how many EVs all
    profiles of the device can hold together.
    """

    def __init__(self, capacity: int, is_held: Callable[[int, ApiEv], bool]) -> None:
        self._capacity = capacity
        self._is_held = is_held
        self._waiting: dict[tuple[int, ApiEv], EvEvent] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def poll(self, count: int) -> list[EvEvent]:
        """The oldest events, at most ``count``, taken off. Raises EINVAL below 1."""
        if count < 1:
            raise MrcError(Errno.EINVAL, f"{count} events cannot be polled: ask for 1 or more")
        taken = [self._waiting[key] for key in list(self._waiting)[:count]]
        for event in taken:
            del self._waiting[event.profile_id, event.ev]
        return taken

    def post(self, event: EvEvent) -> None:
        """Queue an event, or merge it into the one of the same EV that waits."""
        key = (event.profile_id, event.ev)
        waiting = self._waiting.get(key)
        if waiting is not None:
            event = event._replace(drop_count=waiting.drop_count + event.drop_count)
        elif len(self._waiting) >= self._capacity:
            self._discard_gone()
        self._waiting[key] = event

    def _discard_gone(self) -> None:
        self._waiting = {key: event for key, event in self._waiting.items() if self._is_held(*key)}
