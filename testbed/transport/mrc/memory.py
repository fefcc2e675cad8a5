"""Registered memory: where a write may land, and where its payload comes from.

As in verbs, a buffer is registered once, before use. The owner gets two keys: the
``lkey`` names it in its own work requests, the ``rkey`` is handed to a peer, who puts it
with a virtual address into the RETH of every write. Since every MRC packet carries its own
address (facts sheet 2.5), the responder places each one as it comes, whatever the order.

The check here is the responder's step 6 of facts sheet 4.4: an unknown key, a region
without the right, or one byte outside it, and nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntFlag

from testbed.transport.mrc.rng import Rng

_ADDRESS_LIMIT = 1 << 64
_KEY_BITS = 32
_FIRST_VA = 1 << 32  # an address nobody mistakes for an offset
_VA_ALIGNMENT = 1 << 12


class Access(IntFlag):
    """What may be done to a region; the values of the verbs flags."""

    LOCAL_READ = 0  # always allowed
    LOCAL_WRITE = 1
    REMOTE_WRITE = 2


READ_WRITE = Access.LOCAL_WRITE | Access.REMOTE_WRITE


class MemoryRegion:
    """One registered buffer; made by :meth:`MemoryTable.register`, not to be changed.

    ``view`` is the buffer itself as writable bytes, ``va`` the address its first byte
    has for a peer, ``end`` that after its last.
    """

    __slots__ = ("access", "end", "length", "lkey", "rkey", "va", "view")

    def __init__(self, view: memoryview, va: int, lkey: int, rkey: int, access: Access) -> None:
        self.view = view
        self.va = va
        self.length = len(view)
        self.end = va + len(view)
        self.lkey = lkey
        self.rkey = rkey
        self.access = access


class MemoryTable:
    """The regions of one protection domain.

    Keys are drawn from ``rng``: 32 bits, never 0, never one in use, and no help in
    guessing another.
    """

    __slots__ = ("_by_lkey", "_next_va", "_remote_by_rkey", "_rkeys", "_rng")

    def __init__(self, rng: Rng) -> None:
        self._rng = rng
        self._by_lkey: dict[int, MemoryRegion] = {}
        self._rkeys: set[int] = set()
        self._remote_by_rkey: dict[int, MemoryRegion] = {}  # those peers may write to
        self._next_va = _FIRST_VA

    def register(
        self, buffer: bytearray | memoryview, va: int | None = None, access: Access = READ_WRITE
    ) -> MemoryRegion:
        """Make a buffer known (shared memory as a memoryview); held until :meth:`deregister`.

        ``va`` is any address at which the whole buffer fits into 64 bits; without one
        the table picks addresses that follow each other. Raises ValueError where it does
        not fit, the buffer is empty or read-only, or peers would have the right to write
        but the owner not.
        """
        view = memoryview(buffer).cast("B")
        if view.readonly or not view.nbytes:
            raise ValueError("the buffer is empty or read-only: register writable memory")
        if access & Access.REMOTE_WRITE and not access & Access.LOCAL_WRITE:
            raise ValueError("REMOTE_WRITE needs LOCAL_WRITE: give both")
        if va is None:
            va = self._next_va
            self._next_va += (len(view) // _VA_ALIGNMENT + 2) * _VA_ALIGNMENT
        if not 0 <= va <= _ADDRESS_LIMIT - len(view):
            raise ValueError(f"{len(view)} bytes at {va:#x} leave 64 bits: give a lower address")
        lkey = self._draw_key(self._by_lkey.__contains__)
        rkey = self._draw_key(self._rkeys.__contains__)
        region = MemoryRegion(view, va, lkey, rkey, access)
        self._by_lkey[lkey] = region
        self._rkeys.add(rkey)
        if access & Access.REMOTE_WRITE:
            self._remote_by_rkey[rkey] = region
        return region

    def deregister(self, region: MemoryRegion) -> None:
        """Forget a region, its keys and its hold on the buffer.

        Raises ValueError where it is not registered here.
        """
        if self._by_lkey.get(region.lkey) is not region:
            raise ValueError(f"lkey {region.lkey:#010x} is not registered: register it first")
        del self._by_lkey[region.lkey]
        self._rkeys.remove(region.rkey)
        self._remote_by_rkey.pop(region.rkey, None)
        region.view.release()

    def covers(self, rkey: int, va: int, length: int) -> bool:
        """Whether a peer may write all these bytes; no bytes at all need no key (IB)."""
        if not length:
            return True
        region = self._remote_by_rkey.get(rkey)
        return region is not None and length > 0 and region.va <= va <= region.end - length

    def locate(self, rkey: int, va: int, length: int) -> memoryview | None:
        """The writable bytes a peer means, None where it has no right to all of them."""
        if not self.covers(rkey, va, length):
            return None
        if not length:
            return memoryview(b"")
        region = self._remote_by_rkey[rkey]
        start = va - region.va
        return region.view[start : start + length]

    def write(self, rkey: int, va: int, payload: bytes | bytearray | memoryview) -> bool:
        """Place a payload (a memoryview: of bytes); False where not allowed, nothing written."""
        length = len(payload)
        if not length:
            return True
        region = self._remote_by_rkey.get(rkey)
        if region is None:
            return False
        start = va - region.va
        end = start + length
        if start < 0 or end > region.length:
            return False
        region.view[start:end] = payload
        return True

    def read(self, lkey: int, offset: int, length: int) -> memoryview:
        """The bytes from ``offset`` on in one's own region, without a copy.

        Raises ValueError for an unknown key or bytes outside the region.
        """
        if not length:
            return memoryview(b"")
        region = self._by_lkey.get(lkey)
        if region is None:
            raise ValueError(f"lkey {lkey:#010x} is not registered: register the buffer first")
        if offset < 0 or length < 0 or offset + length > region.length:
            raise ValueError(
                f"bytes {offset} to {offset + length} leave the region of {region.length}: "
                "stay within it"
            )
        return region.view[offset : offset + length]

    def _draw_key(self, is_taken: Callable[[int], bool]) -> int:
        while True:
            key = self._rng.getrandbits(_KEY_BITS)
            if key and not is_taken(key):
                return key
