"""How many of a plane's EVs a queue pair uses: written ``1+1``, active and spares.

They are the first of each plane: EV-A leaves by uplink 0, EV-B by uplink 1, and so on. The
active ones come first; a spare takes the place of an active one of its plane that fails (MRC
Figure 5).
"""

from __future__ import annotations

import re
from typing import NamedTuple

_TEXT = re.compile(r"\s*([0-9]{1,4})\s*(?:\+\s*([0-9]{1,4})\s*)?")


class EvShare(NamedTuple):
    """EVs of each plane: ``active`` 1 or more, ``spares`` 0 or more."""

    active: int
    spares: int = 0

    @property
    def per_plane(self) -> int:
        """All of them together."""
        return self.active + self.spares

    def __str__(self) -> str:
        return f"{self.active}+{self.spares}"


def parse_ev_share(text: str) -> EvShare:
    """Read ``1+1``, or ``2`` for ``2+0``. Raises ValueError."""
    match = _TEXT.fullmatch(text)
    if match is None or not int(match[1]):
        raise ValueError(f"'{text}' is not a number of EVs: write active and spare ones of each "
                         "plane, like 1+1")
    return EvShare(int(match[1]), int(match[2] or 0))
