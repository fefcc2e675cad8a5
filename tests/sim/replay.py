"""Run one random schedule again and say what it was: ``python tests/sim/replay.py SEED``."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    tests = Path(__file__).resolve().parents[1]
    sys.path[:0] = [str(tests.parent), str(tests)]

from sim.property_rig import Broken, check
from sim.property_schedule import Schedule, schedule_of


def command(seed: int) -> str:
    """The line that runs this seed alone."""
    return f".venv/bin/python tests/sim/replay.py {seed}"


def described(schedule: Schedule) -> str:
    """A schedule as text, a line for each of its parts."""
    parts = [*schedule.pairs, *schedule.posts, *schedule.faults]
    return "\n".join([
        f"seed {schedule.seed}, unit {schedule.unit_ns} ns", str(schedule.spec),
        *map(str, parts),
        f"queue {schedule.queue_packets} packets, trimming {schedule.is_trimming}, duplicated "
        f"{schedule.duplicate_percent} %, delayed {schedule.delay_percent} % up to "
        f"{schedule.max_delay_units} units",
    ])  # fmt: skip


def failure_of(seed: int) -> str:
    """What is wrong with the run of this seed and how to repeat it; "" where nothing is."""
    try:
        check(schedule_of(seed))
    except Exception as error:  # an engine that raises is as broken as one that is wrong
        kind = "" if isinstance(error, Broken) else f"{type(error).__name__}: "
        return f"seed {seed}: {kind}{error}\n    replay: {command(seed)}"
    return ""


def main(arguments: list[str]) -> int:
    """Replay one seed; 0 where every property holds, 1 where one does not, 2 for bad usage."""
    if len(arguments) != 1 or not arguments[0].isdecimal():
        print("which schedule? give its seed: python tests/sim/replay.py 17", file=sys.stderr)
        return 2
    schedule = schedule_of(int(arguments[0]))
    print(described(schedule))
    report = check(schedule)
    print(f"every property holds; {report.end_ns} ns, {dict(report.counts)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
