"""The map in the package's docstring is complete."""

from __future__ import annotations

import re
from pathlib import Path

import workloads


def test_every_module_is_on_the_map() -> None:
    assert workloads.__doc__
    lines = re.findall(r"^    (\S.*)$", workloads.__doc__, re.MULTILINE)
    named = [name for line in lines for name in re.split(r"  +", line)[0].split()]
    folder = Path(workloads.__file__).parent
    there = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    there |= {f"{path.parent.name}/" for path in folder.glob("*/__init__.py")}
    assert sorted(named) == sorted(there)
