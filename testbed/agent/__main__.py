"""`python -m testbed.agent`: started over SSH by the instance, speaks RPC on stdin/stdout."""

from __future__ import annotations

import os
import sys

from testbed.agent.service import Agent
from testbed.precedence import FRAMES_NICENESS, go_before_others, wake_on_time

if __name__ == "__main__":
    # They make agents late; agents idle between frames.
    go_before_others(os.getpid(), FRAMES_NICENESS)
    wake_on_time()
    sys.exit(Agent(sys.stdin.fileno(), sys.stdout.fileno()).run())
