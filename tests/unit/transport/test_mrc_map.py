"""The map in the package's docstring is complete, and imports only point up it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import testbed.transport.mrc as package

FOLDER = Path(package.__file__).parent
PREFIX = package.__name__ + "."


def rows() -> list[list[str]]:
    """The names of each line of the map, from the top."""
    assert package.__doc__
    lines = re.findall(r"^    (\S.*)$", package.__doc__, re.MULTILINE)
    found = []
    for line in lines:
        names = re.split(r"  +", line)[0].split()
        found.append([name.rstrip("/") for name in names])
    return found


RANK = {name: rank for rank, names in enumerate(rows()) for name in names}


def test_every_module_is_on_the_map() -> None:
    there = {path.stem for path in FOLDER.iterdir()} - {"__init__", "__pycache__"}
    assert set(RANK) == there


def test_imports_point_up() -> None:
    wrong = []
    for path in FOLDER.rglob("*.py"):
        own = path.relative_to(FOLDER).parts[0].removesuffix(".py")
        for node in ast.parse(path.read_text()).body:
            module = node.module if isinstance(node, ast.ImportFrom) else None
            if module and module.startswith(PREFIX) and own != "__init__":
                other = module.removeprefix(PREFIX).split(".")[0]
                if RANK[other] > RANK[own]:
                    wrong.append(f"{own} imports {other}")
    assert wrong == []
