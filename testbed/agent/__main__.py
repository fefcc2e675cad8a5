"""`python -m testbed.agent`: started over SSH by the instance, speaks RPC on stdin/stdout."""

from __future__ import annotations

import contextlib
import os
import sys

from testbed.agent.service import Agent

NICENESS = -10  # other programs of the machine make agents late; they idle between frames

if __name__ == "__main__":
    with contextlib.suppress(OSError):  # not root: the verdict of a run says what it cost
        os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
    sys.exit(Agent(sys.stdin.fileno(), sys.stdout.fileno()).run())
