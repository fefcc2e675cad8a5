"""testbed/agent/leftover.py: freed memory leaves the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[3]
SCRIPT = """
from testbed.agent.leftover import give_back_memory

def resident_kb():
    return int(open("/proc/self/status").read().split("VmRSS:")[1].split()[0])

kept = [bytes(500) for _ in range(100_000)]
last = kept[-1]  # at the end of the heap, which cannot shrink by itself
del kept
before = resident_kb()
give_back_memory()
print(before - resident_kb())
"""


def test_what_is_free_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=CHECKOUT, text=True,
                          capture_output=True, check=True)
    assert int(done.stdout) > 10_000
