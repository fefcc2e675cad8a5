"""What carries frames goes before other programs of the machine, and is woken on time.

A nice value counts among the processes of one scheduling group only. Where the kernel gives
every session a group (CONFIG_SCHED_AUTOGROUP), and each daemon here is a session, that group
needs the value too (sched(7)).
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

FRAMES_NICENESS = -10
CONTROL_NICENESS = -5  # before others, but not before the frames it has to do with
_SLACK_NS = 1  # 0 would mean the default again


def go_before_others(pid: int, niceness: int) -> None:
    """Give process ``pid``, and its session's group if there are such, a nice value below 0.

    Threads and processes that it starts after that inherit the process's. Does nothing where
    that is not allowed: the verdict of a run says what it cost.
    """
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, niceness)
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(niceness))


def wake_on_time() -> None:
    """Have the kernel wake this process when it asked for, not up to 50 us later.

    That is the slack it takes otherwise to wake several at once (PR_SET_TIMERSLACK).
    """
    with contextlib.suppress(OSError):
        Path("/proc/self/timerslack_ns").write_text(str(_SLACK_NS))
