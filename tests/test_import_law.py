"""Who may import whom. Arrows point down only, pure packages stay pure, every foreign
thing has one owner (design.md section 4, style.md rule 11).

Reads the source with ast: imports inside functions, under TYPE_CHECKING, relative ones
and literal ``import_module("...")`` calls count like any other.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = ("controllers", "testbed", "topologies", "workloads")

# Lowest first. A unit imports only from lines above its own; units of one line never
# import each other.
LEVELS: tuple[tuple[str, ...], ...] = (
    ("testbed.errors", "testbed.units", "testbed.install", "testbed.precedence"),
    ("testbed.rpc", "testbed.fields", "testbed.files"),
    ("topologies", "testbed.metrics"),
    # The transport shares code points and address arithmetic with the switches' side.
    ("testbed.transport",),
    ("testbed.forwarding", "workloads"),
    ("testbed.agent", "testbed.faults", "testbed.intent"),
    ("testbed.remote", "testbed.fabric", "testbed.sim", "testbed.analysis"),
    ("testbed.instance",),
    ("testbed.drills",),
    ("testbed.doctor",),
    ("testbed.cli",),
    ("testbed.__main__",),
)
LEVEL_OF = {unit: level for level, units in enumerate(LEVELS) for unit in units}
# Ryu's process speaks with the rest by plan.json and JSON lines: it sees the plan only,
# and nobody imports it.
CONTROLLERS_MAY = {"topologies", "testbed.forwarding", "testbed.errors", "testbed.units"}

PURE = ("topologies", "testbed.forwarding", "testbed.transport", "workloads")
IMPURE_MODULES = {
    "_thread", "asyncio", "concurrent", "logging", "multiprocessing", "os", "random",
    "secrets", "select", "selectors", "signal", "socket", "ssl", "subprocess", "threading",
    "time",
}  # fmt: skip

# foreign package -> the units that may import it
OWNERS = {
    "mininet": ("testbed.fabric",),
    "pyroute2": ("testbed.fabric", "testbed.agent"),
    "ryu": ("controllers.compat",),
    "os_ken": ("controllers.compat",),
    "eventlet": ("controllers.compat",),
    "paramiko": ("testbed.remote",),
    "pandas": ("testbed.analysis",),
    "numpy": ("workloads.collectives.tensors", "testbed.analysis"),
    "ml_dtypes": ("workloads.collectives.tensors",),
    "matplotlib": ("testbed.analysis",),
    "jinja2": ("testbed.analysis",),
    "yaml": ("testbed.intent",),
    "zlib_ng": ("testbed.transport",),
}
STANDARD_LIBRARY_ONLY = ("testbed.install", "testbed.__main__")


@dataclass(frozen=True, slots=True)
class Import:
    """Module ``source`` imports ``target`` (both dotted) in line ``line``."""

    source: str
    target: str
    line: int

    def __str__(self) -> str:
        return f"{self.source}:{self.line} imports {self.target}"


def read_imports(module: str, text: str, *, is_package: bool = False) -> list[Import]:
    """Every import of one module, with ``from x import y`` as ``x.y``."""
    package = module if is_package else module.rpartition(".")[0]
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [Import(module, name.name, node.lineno) for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(package, node.level, node.module)
            found += [Import(module, f"{base}.{n.name}", node.lineno) for n in node.names]
        elif isinstance(node, ast.Call) and (target := _dynamic_target(node)):
            found.append(Import(module, target, node.lineno))
    return found


def _absolute(package: str, level: int, module: str | None) -> str:
    if level == 0:
        return module or ""
    parts = package.split(".")
    kept = parts[: len(parts) - level + 1]
    return ".".join([*kept, *([module] if module else [])])


def _dynamic_target(call: ast.Call) -> str | None:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else None
    name = call.func.id if isinstance(call.func, ast.Name) else name
    if name not in ("import_module", "__import__") or not call.args:
        return None
    argument = call.args[0]
    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        return argument.value
    return None


def is_inside(module: str, unit: str) -> bool:
    """True where a dotted name is this package or module, or something in it."""
    return module == unit or module.startswith(f"{unit}.")


def unit_of(module: str) -> str | None:
    """The unit a module of ours belongs to, None where it is in no level."""
    if module == "testbed" or module.startswith("testbed.__version__"):
        return "testbed"
    parts = module.split(".")
    name = ".".join(parts[:2]) if parts[0] == "testbed" else parts[0]
    return name if name in LEVEL_OF or name == "controllers" else None


def violations(imports: list[Import]) -> Iterator[str]:
    """One sentence per import that breaks a law."""
    for item in imports:
        yield from _arrow_violations(item)
        yield from _foreign_violations(item)


def _arrow_violations(item: Import) -> Iterator[str]:
    source, target = unit_of(item.source), unit_of(item.target)
    if source is None:
        yield f"{item.source} is in no level: add its unit to LEVELS in {Path(__file__).name}"
        return
    if item.target.split(".")[0] not in OURS or source == target or target == "testbed":
        return
    if target is None:
        yield f"{item}, which is in no level"
    elif source == "controllers":
        if target not in CONTROLLERS_MAY:
            yield f"{item}: controllers see {', '.join(sorted(CONTROLLERS_MAY))} only"
    elif target == "controllers":
        yield f"{item}: nobody imports controllers, they are another process"
    elif source == "testbed" or LEVEL_OF[target] >= LEVEL_OF[source]:
        yield f"{item}: {source} may import only from strictly lower levels"


def _foreign_violations(item: Import) -> Iterator[str]:
    top = item.target.split(".")[0]
    if top in IMPURE_MODULES and any(is_inside(item.source, unit) for unit in PURE):
        yield f"{item}: {unit_of(item.source)} is pure"
    owners = OWNERS.get(top)
    if owners and not any(is_inside(item.source, owner) for owner in owners):
        yield f"{item}: only {' and '.join(owners)} may"
    is_bare = any(is_inside(item.source, unit) for unit in STANDARD_LIBRARY_ONLY)
    if is_bare and top not in sys.stdlib_module_names and top not in OURS:
        yield f"{item}: it runs before anything is installed"


def our_modules() -> Iterator[tuple[str, Path]]:
    """Dotted name and file of every module of ours."""
    for package in OURS:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def our_imports() -> list[Import]:
    """Every import in the checkout, outside tests and benchmarks."""
    return [
        item
        for module, path in our_modules()
        for item in read_imports(
            module, path.read_text(encoding="utf-8"), is_package=path.name == "__init__.py"
        )
    ]


def test_the_law_holds() -> None:
    assert "\n".join(violations(our_imports())) == ""


def test_every_module_has_a_level() -> None:
    assert [name for name, _ in our_modules() if unit_of(name) is None] == []


def test_the_reader_sees_the_whole_house() -> None:
    modules = {name for name, _ in our_modules()}
    assert {"topologies", "topologies.graph", "testbed.forwarding.plan"} <= modules
    seen = {(item.source, item.target) for item in our_imports()}
    assert ("testbed.forwarding.plan", "topologies.graph.Graph") in seen


@pytest.mark.parametrize(
    ("module", "text", "complaint"),
    [
        ("topologies.x", "import testbed.fabric", "only from strictly lower levels"),
        ("topologies.x", "from testbed import fabric", "only from strictly lower levels"),
        ("topologies.x", "def f():\n    from testbed.cli import main", "strictly lower"),
        ("testbed.agent.x", "from testbed.faults.actions import Loss", "strictly lower"),
        ("testbed.agent.x", "from ..faults import actions", "strictly lower"),
        ("testbed.agent", "from .. import cli", "strictly lower"),
        ("testbed.errors", "import testbed.units", "strictly lower"),
        ("testbed.fabric.x", "import testbed.remote.connect", "strictly lower"),
        ("testbed", "from testbed.cli import main", "strictly lower"),
        ("testbed.agent.x", "importlib.import_module('testbed.cli')", "strictly lower"),
        ("testbed.cli.x", "import controllers.app", "nobody imports controllers"),
        ("controllers.x", "from testbed.intent import topology", "controllers see"),
        ("testbed.novelty.x", "import json", "testbed.novelty.x is in no level"),
        ("testbed.cli.x", "import testbed.novelty", "which is in no level"),
        ("topologies.x", "import random", "topologies is pure"),
        ("workloads.x", "from os import path", "workloads is pure"),
        ("testbed.forwarding.x", "import time", "testbed.forwarding is pure"),
        ("testbed.transport.mrc.qp", "from time import monotonic", "transport is pure"),
        ("testbed.instance.x", "from mininet.net import Mininet", "only testbed.fabric may"),
        ("controllers.app", "from ryu.base import app_manager", "only controllers.compat may"),
        ("testbed.cli.x", "import yaml", "only testbed.intent may"),
        ("testbed.metrics.x", "import pandas as pd", "only testbed.analysis may"),
        ("testbed.instance.x", "import pyroute2", "only testbed.fabric and testbed.agent may"),
        ("testbed.install", "import yaml", "it runs before anything is installed"),
        ("testbed.__main__", "import paramiko", "it runs before anything is installed"),
    ],
)
def test_a_forbidden_import_is_caught(module: str, text: str, complaint: str) -> None:
    imports = read_imports(module, text, is_package=module in ("testbed", "testbed.agent"))
    assert any(complaint in sentence for sentence in violations(imports))


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("testbed.cli.up", "from testbed.instance.client import Client"),
        ("testbed.fabric.x", "import pyroute2\nfrom topologies.graph import Graph"),
        ("testbed.fabric.x", "from testbed.fabric import bpf\nfrom . import portmap"),
        ("controllers.compat", "import eventlet.wsgi"),
        ("controllers.app", "from testbed.forwarding.plan import Plan"),
        ("testbed.intent.x", "import yaml\nimport os"),
        ("testbed.forwarding.x", "from itertools import product\nimport topologies.names"),
        ("testbed.doctor", "from testbed.install import SYSTEM_PACKAGES"),
        ("testbed.cli.x", "from testbed import __version__"),
    ],
)
def test_a_lawful_import_passes(module: str, text: str) -> None:
    assert list(violations(read_imports(module, text))) == []
