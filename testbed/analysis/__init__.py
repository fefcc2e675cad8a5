"""Questions to finished runs, with pandas: the only importer of it.

    run = load("runs/latest")
    run.goodput(by=("host",)), run.recovery(), run.flows, ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from testbed.analysis.frames import Window
    from testbed.analysis.loading import load
    from testbed.analysis.run import Run

__all__ = ["Run", "Window", "load"]

_HOMES = {"load": "loading", "Run": "run", "Window": "frames"}


def __getattr__(name: str) -> Any:
    """Import pandas only where somebody asks for it: verdicts need none of it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
