"""The README's generated parts: ``python tests/readme.py`` writes them, a test compares."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
sys.path.insert(0, str(ROOT))

from testbed.cli.main import VERBS  # noqa: E402
from testbed.drills.catalogue import drill_names, load_drill  # noqa: E402
from testbed.faults.actions import make_action  # noqa: E402
from testbed.faults.targets import GRAMMAR, parse_target  # noqa: E402
from testbed.intent.topology import load_topology, preset_names  # noqa: E402
from testbed.units import format_rate_bps  # noqa: E402

_PART = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def commands() -> str:
    """A row per command."""
    rows = [f"| `{verb}` | {summary} |" for verb, summary in VERBS.items()]
    return "\n".join(["| command | |", "|---|---|", *rows])


def topologies() -> str:
    """A row per preset, smallest first."""
    specs = sorted(map(load_topology, preset_names()), key=lambda spec: spec.link_count)
    rows = [
        f"| `{s.name}` | {s.host_count:,} | {s.planes} x {format_rate_bps(s.port_rate_bps)} | "
        f"{s.t0_per_plane} + {s.t1_per_plane} | {s.switch_count:,} | {s.dataplane} | "
        f"{s.description} |" for s in specs]
    return "\n".join(["| name | hosts | planes | T0 + T1 per plane | switches | data plane | |",
                      "|---|---|---|---|---|---|---|", *rows])


def faults() -> str:
    """A row per target: what happens to it unless told otherwise, and what shows it."""
    rows = []
    for example in GRAMMAR.values():
        action = make_action(parse_target(example))
        rows.append(f"| `{example}` | {action.kind} | {action.evidence} |")
    return "\n".join(["| target | by default | evidence |", "|---|---|---|", *rows])


def drills() -> str:
    """A row per drill of the library."""
    rows = [f"| `{d.name}` | {d.paper.partition(':')[0]} | {d.topology.name} | {d.takes_s:.0f} s | "
            f"{d.title} |" for d in map(load_drill, drill_names())]
    return "\n".join(["| drill | paper | topology | takes | |", "|---|---|---|---|---|", *rows])


PARTS: dict[str, Callable[[], str]] = {
    "commands": commands, "topologies": topologies, "faults": faults,
    "drills": drills,
}


def generate(text: str) -> str:
    """The README with its generated parts made anew."""
    return _PART.sub(lambda match: f"{match[1]}{PARTS[match[2]]()}\n{match[3]}", text)


if __name__ == "__main__":
    README.write_text(generate(README.read_text()))
