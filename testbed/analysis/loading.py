"""A run folder read into a `Run`: whole, cut off in the middle, or of before there were tables.

Tables are read from tables/NAME.parquet. Where a run was cut off before these were written,
the raw lines its hosts left in rows/ are read instead; what is neither there nor there is an
empty frame with all its columns. Nothing is read before it is asked for, and nothing twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow
import pyarrow.parquet

from testbed.analysis.frames import frame_of, typed
from testbed.analysis.run import Run
from testbed.analysis.tables import VERSION_KEY
from testbed.errors import UsageError
from testbed.intent.spectopology import topology_of
from testbed.intent.workload import from_document, load_spec
from testbed.metrics.rows import OtherVersion, decode
from testbed.metrics.tables import SCHEMA_VERSION
from topologies.spec import ClosSpec

MANIFEST_VERSIONS = (1,)
DOCUMENT_VERSIONS = (None, 1)  # of result.json, fidelity.json and drill.json
# The first tables had no version in their files; their columns are those of now.
_READABLE = (None, *range(1, SCHEMA_VERSION + 1))


def load(path: str | Path) -> Run:
    """The run of this folder (``runs/latest`` is one).

    Raises UsageError where it is no run folder, or one that this version cannot read.
    """
    folder = Path(path)
    if not (folder / "manifest.json").is_file():
        raise UsageError(f"{folder} is no run folder, it has no manifest.json: name one like "
                         "runs/latest")
    folder = folder.resolve()
    manifest = _manifest(folder)
    spec, topology = _spec(folder)
    return Run(
        path=folder, manifest=manifest, spec=spec, topology=topology,
        result=_document(folder / "result.json") or {}, drill=_document(folder / "drill.json"),
        fidelity_report=_document(folder / "fidelity.json") or {}, tables=FolderTables(folder),
    )


class FolderTables:
    """The tables of a run folder, each read when first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._frames: dict[str, pd.DataFrame] = {}
        self._rows: dict[str, list[dict[str, Any]]] | None = None

    def frame(self, name: str) -> pd.DataFrame:
        """A table of `TABLES`, typed. Raises UsageError where its file cannot be read."""
        if name not in self._frames:
            path = self._folder / "tables" / f"{name}.parquet"
            self._frames[name] = _read_parquet(path, name) if path.is_file() else self._raw(name)
        return self._frames[name]

    def _raw(self, name: str) -> pd.DataFrame:
        if self._rows is None:
            self._rows = _read_rows(self._folder / "rows")
        return frame_of(name, self._rows.get(name, []))


# --- Documents ---------------------------------------------------------------------------


def _manifest(folder: Path) -> dict[str, Any]:
    manifest = _json(folder / "manifest.json") or {}
    version = manifest.get("schema_version")
    if version not in MANIFEST_VERSIONS:
        raise UsageError(f"{folder} has a manifest of version {version}, and this testbed reads "
                         f"version {MANIFEST_VERSIONS[-1]}: use the testbed that made the run")
    return manifest


def _document(path: Path) -> dict[str, Any] | None:
    """The object in a file, of a version that is known; None where there is no such file."""
    found = _json(path)
    if found is not None and (version := found.get("schema_version")) not in DOCUMENT_VERSIONS:
        raise UsageError(f"{path} is of version {version!r}, and this testbed reads version "
                         f"{DOCUMENT_VERSIONS[-1]}: use the testbed that made the run")
    return found


def _json(path: Path) -> dict[str, Any] | None:
    """The object in a file; None where there is no such file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read ({error}): the folder is damaged, run again"
                         ) from error
    if not isinstance(found, dict):
        raise UsageError(f"{path} is no JSON object: the folder is damaged, run again")
    return found


def _spec(folder: Path) -> tuple[dict[str, Any], ClosSpec]:
    """The request as `to_document` writes it, its topology beside it."""
    path = folder / "spec.yaml"
    if not path.is_file():
        raise UsageError(f"{folder} has no spec.yaml, so nobody knows what was run: the folder "
                         "is damaged, run again")
    document, _ = load_spec(path)
    topology = topology_of(document)
    if topology is None:
        raise UsageError(f"{path} does not say which topology it is for: add 'topology: ...'")
    request = from_document(document, topology).to_document()
    return {**request, "topology": document["topology"]}, topology


# --- Tables ------------------------------------------------------------------------------


def _read_parquet(path: Path, name: str) -> pd.DataFrame:
    try:
        table = pyarrow.parquet.read_table(path)
        version = _version_of(table.schema.metadata or {})
        frame = table.to_pandas()
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise UsageError(f"{path} is no Parquet file that can be read: the folder is damaged, "
                         "run again") from error
    if version not in _READABLE:
        raise UsageError(f"{path} has tables of version {version}, and this testbed reads up to "
                         f"version {SCHEMA_VERSION}: use the testbed that made the run")
    return typed(name, frame)


def _version_of(metadata: Mapping[bytes, bytes]) -> int | None:
    found = metadata.get(VERSION_KEY)
    return None if found is None else int(found)


def _read_rows(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The raw lines of all hosts by table; a line that was cut off is left out."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(folder.glob("*.jsonl")):
        text = path.read_text(encoding="utf-8", errors="replace")
        try:
            for name, row in decode(text.splitlines()):
                found.setdefault(name, []).append(row)
        except OtherVersion as error:
            raise UsageError(f"{path} cannot be read: {error}") from error
    return found
