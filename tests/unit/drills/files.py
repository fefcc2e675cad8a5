"""Drill files for tests: a small one that is right, and ways to change it."""

from __future__ import annotations

import pytest

from testbed.drills.drill import Drill
from testbed.drills.schema import read_drill
from testbed.errors import UsageError

WRITES = "{workload: write-bw, src: h0, dst: h2, qps: 1, duration: 100rtt}"
ALLREDUCE = "{workload: allreduce, sizes: [64K, 128K], iters: 4}"
TRAIN = "{workload: train, steps: 3, gradients: 1M}"
HEAD = f"""\
drill: test
title: A test
paper: "Fig 0: nothing"
topology: tiny
workload: {WRITES}
packets: 1000
takes: {{fabric: 10s, sim: 1s}}
"""
TIMELINE = """\
timeline:
  - {name: crash, at: 40rtt, fail: switch:p0-t1-1}
  - {name: back, at: 80rtt, heal: crash}
"""
WINDOWS = """\
windows:
  before: 10rtt .. crash
  broken: crash + 10rtt .. back
"""
CHECKS = """\
checks:
  - {name: steady, steady: true, measure: goodput, in: before, expect: ">= 90 %", of: nominal}
  - {name: kept, measure: goodput, in: broken, expect: "100 % +- 5 %", of: before, paper: kept}
"""
PLAIN_CHECKS = """\
checks:
  - {name: steady, steady: true, measure: qp_failures, expect: "0"}
"""


def drill_of(timeline: str = TIMELINE, windows: str = WINDOWS, checks: str = CHECKS,
             head: str = HEAD) -> Drill:
    """The drill of these parts."""
    return read_drill(head + timeline + windows + checks, "test.yaml", "test")


def timed(*entries: str, workload: str = WRITES) -> Drill:
    """A drill with these entries in its timeline, and no windows."""
    lines = "".join(f"  - {{{entry}}}\n" for entry in entries)
    return drill_of(f"timeline:\n{lines}" if lines else "", "", PLAIN_CHECKS,
                    HEAD.replace(WRITES, workload))


def faults_of(*args: str, workload: str = WRITES, **parts: str) -> str:
    """What is wrong with it; fails where nothing is."""
    with pytest.raises(UsageError) as error:
        timed(*args, workload=workload) if args else drill_of(**parts)
    return str(error.value)
