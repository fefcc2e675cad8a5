"""The responder's view of PSNs: what is new, what has come before, what a SACK says.

A RoCE responder knows one number, the PSN it expects, and refuses all others. An MRC
responder places packets in whatever order the paths deliver them, so it keeps the edge
below which nothing is missing (``cack``) and a bitmap of what came above it, as wide as
the negotiated PSN range. Everything inside counts without end; only :meth:`classify`
takes a number from the wire.

Sources: facts sheet 4.2 (Table 7-5), 4.4 (spec 6.3.1), 4.5 (7.5.2.2).
"""

from __future__ import annotations

from enum import Enum

from testbed.transport.mrc.choices import OOO_COUNT_LIMIT, SACK_BITMAP_BITS
from testbed.transport.mrc.serial import PSN_BITS, PSN_MASK

_HALF = 1 << PSN_BITS - 1
_BITMAP_MASK = (1 << SACK_BITMAP_BITS) - 1


class Verdict(Enum):
    """What a PSN is to this responder (facts sheet 4.4, step 3)."""

    NEW = "new"  # in the window, not yet received
    DUPLICATE_ABOVE = "duplicate above the edge"  # in the window, received
    DUPLICATE_BELOW = "duplicate below the edge"  # at or below cack by less than 2^23
    BEYOND = "beyond the window"  # above it: refused with a NACK ([12])
    FAR = "far away"  # half the number space off, neither old nor new: dropped


# Looking a member up in its enum costs as much as the comparison that chose it.
_NEW, _DUPLICATE_ABOVE = Verdict.NEW, Verdict.DUPLICATE_ABOVE
_DUPLICATE_BELOW, _BEYOND, _FAR = Verdict.DUPLICATE_BELOW, Verdict.BEYOND, Verdict.FAR


class ReceiveWindow:
    """PSNs received, from ``next_psn`` on, with room for ``range_psns`` above the edge.

    Read-only for others: ``cack`` (all up to here have come), ``max_received``,
    ``ooo_count`` (packets accepted that were not the one expected, at most 32767; [16]),
    ``range_psns``. It holds one integer of at most ``range_psns`` bits. Raises ValueError
    for a range that is empty or does not fit the half of the PSN space above the edge.
    """

    __slots__ = (
        "_bitmap",
        "_lowest_unsacked",
        "cack",
        "max_received",
        "ooo_count",
        "range_psns",
    )

    def __init__(self, next_psn: int, range_psns: int) -> None:
        if not 1 <= range_psns < _HALF:
            raise ValueError(
                f"a PSN range of {range_psns} cannot be tracked: give 1 to {_HALF - 1}"
            )
        self.range_psns = range_psns
        self.cack = self.max_received = next_psn - 1
        self.ooo_count = 0
        self._lowest_unsacked = next_psn
        self._bitmap = 0  # bit i stands for cack + 1 + i; bit 0 is clear between calls

    def classify(self, psn24: int) -> tuple[Verdict, int]:
        """What a PSN from the wire is, and the same PSN counted without wrapping.

        The window is lenient ([13]): cack + range_psns itself is still admitted.
        """
        expected = self.cack + 1
        ahead = psn24 - expected & PSN_MASK
        if ahead < self.range_psns:
            verdict = _DUPLICATE_ABOVE if self._bitmap >> ahead & 1 else _NEW
            return verdict, expected + ahead
        if ahead < _HALF:
            return _BEYOND, expected + ahead
        return (_FAR if ahead == _HALF else _DUPLICATE_BELOW), expected + ahead - (PSN_MASK + 1)

    def accept(self, psn: int) -> bool:
        """Take a PSN that :meth:`classify` called NEW; True where ``cack`` advances.

        Raises ValueError for any other PSN and changes nothing.
        """
        ahead = psn - self.cack - 1
        bitmap = self._bitmap
        if not 0 <= ahead < self.range_psns or bitmap >> ahead & 1:
            raise ValueError(f"PSN {psn} is not new to this window: classify it first")
        if psn > self.max_received:
            self.max_received = psn
        if ahead:
            self._bitmap = bitmap | 1 << ahead
            if self.ooo_count < OOO_COUNT_LIMIT:
                self.ooo_count += 1
            return False
        if not bitmap:
            self.cack = psn
            return True
        # Bits of the run from the edge on: adding 1 carries through it to the first gap.
        bitmap |= 1
        run = (bitmap + 1 & ~bitmap).bit_length() - 1
        self._bitmap = bitmap >> run
        self.cack += run
        return True

    def is_received(self, psn: int) -> bool:
        """Whether this PSN has come; all at or below ``cack`` have."""
        ahead = psn - self.cack - 1
        return ahead < 0 or self._bitmap >> ahead & 1 == 1

    def report(self) -> tuple[int, int]:
        """sack_offset and sack_bitmap of the SACK about to be sent (7.5.2.2).

        Bit i stands for PSN cack + sack_offset + i, offset 1 .. range_psns. Where more
        than 64 PSNs lie above the edge, each call reports the next 64, the last of
        them ending at the newest PSN, and then it starts over at the edge, so that
        a lost SACK is made good ([15]).
        """
        edge = self.cack + 1
        base = max(self._lowest_unsacked, edge)
        beyond = base + SACK_BITMAP_BITS
        if beyond > self.max_received:
            base = max(self.max_received - SACK_BITMAP_BITS + 1, edge)
            self._lowest_unsacked = edge
        else:
            self._lowest_unsacked = beyond
        return base - self.cack, self._bitmap >> base - edge & _BITMAP_MASK
