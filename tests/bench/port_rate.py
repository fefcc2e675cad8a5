"""How exactly a switch port holds the rate it is configured for.

    sudo .venv/bin/python tests/bench/port_rate.py

Data and control are offered together to one port in namespaces of its own; the rate
is taken between kernel receive times behind it. A laboratory run is trusted up to a
port rate error of 1 % (design.md section 7).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

# The bench is the tests' own rig, which lives beside them and in no package.
ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "fabric")]

from port_rig import keep_busy, mean_rate_bps  # noqa: E402

RATES_BPS = tuple(megabits * 1_000_000 for megabits in (1, 2, 5, 10, 20, 50, 100, 200, 400))


@dataclass(frozen=True, slots=True)
class RateRow:
    """One measurement, in wall-clock bit/s."""

    configured_bps: int
    measured_bps: float

    @property
    def error_ratio(self) -> float:
        """Measured over configured, minus 1."""
        return self.measured_bps / self.configured_bps - 1


def measure(rates_bps: Iterable[int] = RATES_BPS) -> Iterator[RateRow]:
    """One row for each rate, 1.5 s at the slowest to 0.4 s at the fastest. Needs root."""
    for rate_bps in rates_bps:
        seconds = 1.5 if rate_bps < 5_000_000 else 0.8 if rate_bps < 50_000_000 else 0.4
        yield RateRow(rate_bps, mean_rate_bps(keep_busy(rate_bps, seconds)))


def main() -> None:
    """Print the table, a line as soon as it is measured."""
    print(f"{'configured Mb/s':>15}  {'measured Mb/s':>13}  {'error %':>8}")
    for row in measure():
        print(
            f"{row.configured_bps / 1e6:>15.0f}  {row.measured_bps / 1e6:>13.4f}"
            f"  {row.error_ratio * 100:>+8.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
