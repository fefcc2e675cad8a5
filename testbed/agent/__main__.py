"""`python -m testbed.agent`: started over SSH by the instance, speaks RPC on stdin/stdout."""

from __future__ import annotations

import sys

from testbed.agent.service import Agent

if __name__ == "__main__":
    sys.exit(Agent(sys.stdin.fileno(), sys.stdout.fileno()).run())
