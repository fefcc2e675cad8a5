"""A command on a machine that others need too: ``python tests/busy.py -- make test``.

Virtual machines lose their cores to their neighbours for milliseconds at a time. Here a
real-time process per core does the same for as long as the command runs, so that what a test
takes for granted of an idle machine shows. The command's exit code is this one's.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import time
from multiprocessing import Process

PRIORITY = 50  # real-time, so above everything a test starts


def take_away(core: int, share: float, stall_ms: float, starter: int) -> None:
    """Keep a core for ``share`` of all time, in stalls of ``stall_ms`` on average.

    Both are drawn from exponential distributions, the same on every start. Ends with
    ``starter``, the process that started it, however that ends.
    """
    os.sched_setaffinity(0, {core})
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    drawn = random.Random(core)
    while os.getppid() == starter:
        time.sleep(drawn.expovariate(1) * stall_ms * (1 - share) / share / 1000)
        until = time.monotonic() + drawn.expovariate(1) * stall_ms / 1000
        while time.monotonic() < until:
            pass


def main() -> int:
    """Parse the command line, run the command, end what was started."""
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--share", type=float, default=0.3, help="of each core, below 0.9")
    parser.add_argument("--stall-ms", type=float, default=10.0, help="on average")
    parser.add_argument("command", nargs="+")
    given = parser.parse_args()
    if not (0 < given.share < 0.9 and given.stall_ms > 0):
        parser.error("--share must be above 0 and below 0.9, --stall-ms above 0")
    if os.geteuid() != 0:
        parser.error("only root may take cores away: start it with sudo")
    arguments = (given.share, given.stall_ms, os.getpid())
    thieves = [Process(target=take_away, args=(core, *arguments), daemon=True)
               for core in sorted(os.sched_getaffinity(0))]
    for thief in thieves:
        thief.start()
    try:
        return subprocess.run(given.command, check=False).returncode
    finally:
        for thief in thieves:
            thief.terminate()


if __name__ == "__main__":
    sys.exit(main())
