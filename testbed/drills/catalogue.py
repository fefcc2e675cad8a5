"""Where drills are: the library that comes with the testbed, and files of one's own."""

from __future__ import annotations

from dataclasses import replace
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from testbed.drills.drill import Drill
from testbed.drills.schema import read_drill
from testbed.errors import UsageError, did_you_mean
from testbed.intent.tree import MAX_CHARACTERS


def drill_names() -> tuple[str, ...]:
    """Names of the drills of the library, sorted."""
    files = (item.name for item in _library().iterdir() if item.name.endswith(".yaml"))
    return tuple(sorted(name.removesuffix(".yaml") for name in files))


def load_drill(name_or_path: str) -> Drill:
    """The drill of this name in the library, or of this YAML file.

    Raises UsageError that lists everything wrong, each with file and line.
    """
    if name_or_path in drill_names():
        return _read(library_text(name_or_path), f"{name_or_path}.yaml", name_or_path)
    path = Path(name_or_path)
    if "/" not in name_or_path and path.suffix not in (".yaml", ".yml"):
        hint = did_you_mean(name_or_path, drill_names())
        raise UsageError(f"there is no drill '{name_or_path}'{hint}: `drill list` shows all, and "
                         "a file of your own is named with its path")
    return _read(_read_file(path), name_or_path, name_or_path)


def _read(text: str, label: str, ask: str) -> Drill:
    """With its text, which may be another one when the drill is over."""
    return replace(read_drill(text, label, ask), text=text)


def library_text(name: str) -> str:
    """The file of a drill of the library, with its comments. Raises FileNotFoundError."""
    return (_library() / f"{name}.yaml").read_text(encoding="utf-8")


def _library() -> Traversable:
    return resources.files("testbed.drills") / "library"


def _read_file(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(MAX_CHARACTERS + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"drill {path} cannot be read: {reason}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"drill {path} is not text: save it as UTF-8") from error
