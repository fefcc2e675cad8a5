"""What a run leaves of memory in the process of an agent: given back to the machine.

Many agents share one machine and mostly rest. glibc keeps what was freed for the next run; it
is asked to return it, which other C libraries may not know how to.
"""

from __future__ import annotations

import ctypes
import gc

_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)


def give_back_memory() -> None:
    """Let go of what nothing refers to any more; takes some milliseconds."""
    gc.collect()
    if _trim is not None:
        _trim(0)
