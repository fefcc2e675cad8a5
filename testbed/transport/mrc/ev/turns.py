"""Ports take turns, so that planes carry equal shares of a QP at all times.

The next free port is taken (facts sheet 4.13.2). Where QPs share a NIC that alone would not
do: ports fall free in a rhythm, and a QP served at every other beat would only ever be
offered some of them. So a port may be a few packets ahead of the one that is furthest
behind and then has to wait for it. MRC is held to its slowest plane by this; weight is
never shifted between planes that are up (4.12).
"""

from __future__ import annotations

from testbed.transport.mrc.choices import PORT_LEAD_LIMIT


class Turns:
    """Whose turn it is among the ports of one QP; ports are single-bit masks here."""

    __slots__ = ("_behind", "_held", "_later", "_lead")

    def __init__(self, first: int) -> None:
        self._lead: dict[int, int] = {}  # packets ahead of the port furthest behind
        self._later = -first  # ports whose turn is still to come in this round
        self._behind = 0  # ports with lead 0
        self._held = 0  # ports that have to wait

    def reset(self, usable: int) -> None:
        """These ports are usable now: all start level, none has to make up for the past."""
        self._lead = {1 << place: 0 for place in range(usable.bit_length()) if usable >> place & 1}
        self._behind, self._held = usable, 0

    def pick(self, ports: int) -> int:
        """The port whose turn it is among these; 0 where all of them have to wait."""
        ports &= ~self._held
        later = ports & self._later
        return later & -later if later else ports & -ports

    def next_of(self, ports: int) -> int:
        """The next of these in turn, also one that would have to wait; 0 where there is none."""
        later = ports & self._later
        return later & -later if later else ports & -ports

    def took(self, bit: int) -> None:
        """A packet leaves on this port."""
        self._later = -bit << 1
        lead = self._lead[bit] = self._lead[bit] + 1
        if lead == 1:
            self._behind &= ~bit
            if not self._behind:
                self._level()
        elif lead >= PORT_LEAD_LIMIT:
            self._held |= bit

    def _level(self) -> None:
        """Every port has carried a packet since: take one off all."""
        self._held = 0
        for bit, lead in self._lead.items():
            if lead:
                self._lead[bit] = lead = lead - 1
                if not lead:
                    self._behind |= bit
                elif lead >= PORT_LEAD_LIMIT:
                    self._held |= bit
