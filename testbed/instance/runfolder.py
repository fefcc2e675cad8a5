"""The folder a run leaves behind: what was asked, what happened, whether to believe it.

    spec.yaml        the resolved request: running it again repeats the run
    manifest.json    versions, data plane, seed, verdict; state running, complete or partial
    events.jsonl     what happened, a JSON object a line, in order
    result.json      what was measured
    fidelity.json    what the verdict rests on
    tables/          rows of what was measured, as Parquet (testbed.metrics.tables)
    COMPLETE         written last: without it, something is missing

Made by the instance process, which is root, and given to whoever called sudo. Files are
replaced whole, so a reader never sees half of one; a write that fails fails the run. Only the
manifest has room kept for its end: on a full disk it is closed where it lies.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from testbed import __version__
from testbed.analysis.fidelity import Verdict
from testbed.errors import TestbedError, UsageError
from testbed.files import open_own, overwrite, replace_file
from testbed.intent.documents import dump_yaml
from testbed.intent.workload import SPEC_VERSION

SCHEMA_VERSION = 1
MARKER = "COMPLETE"
LATEST = "latest"

# The manifest takes so much from the beginning: it can be closed on a disk that is full then.
_MANIFEST_BYTES = 4096
_SHORT = 500  # characters
_FULL = (errno.ENOSPC, errno.EDQUOT)
_REVISION = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Owner:
    """Whom the folder belongs to, by number: SUDO_UID and SUDO_GID of the client."""

    uid: int
    gid: int

    @property
    def ids(self) -> tuple[int, int]:
        """Both numbers."""
        return self.uid, self.gid


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a run was made with. ``git_revision`` is None outside a git checkout."""

    testbed: str
    python: str
    kernel: str
    dataplane: str
    git_revision: str | None
    seed: int
    tdf: int


# --- Pure ------------------------------------------------------------------------------


def folder_name(started: datetime, what: str, number: int = 1) -> str:
    """``20261121T153000Z-write-bw-h0-h7``; the second of that name ends in ``-2``."""
    stamp = started.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"{stamp}-{what}" + (f"-{number}" if number > 1 else "")


def manifest_document(provenance: Provenance, started: datetime) -> dict[str, Any]:
    """The manifest of a run that has just begun."""
    return {
        "schema_version": SCHEMA_VERSION, "state": "running", **asdict(provenance),
        "verdict": None, "started_at": _utc(started), "ended_at": None,
    }


def closed_manifest(manifest: Mapping[str, Any], state: Literal["complete", "partial"],
                    verdict: Verdict | None, ended: datetime) -> dict[str, Any]:
    """The manifest of a run that is over; a simulation has no verdict."""
    told = verdict and {"word": verdict.word, "reasons": list(verdict.reasons)}
    return {**manifest, "state": state, "verdict": told, "ended_at": _utc(ended)}


def json_text(document: Any) -> str:
    """Indented JSON. Raises ValueError for what is none (NaN, a set, bytes)."""
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# --- Reading what a run is made with -----------------------------------------------------


def provenance(dataplane: str, seed: int, tdf: int, checkout: Path) -> Provenance:
    """What this process runs on, and the revision of ``checkout``."""
    return Provenance(__version__, platform.python_version(), platform.release(), dataplane,
                      git_revision(checkout), seed, tdf)


def git_revision(checkout: Path) -> str | None:
    """The commit that is checked out, read from the files of git; None where there is none.

    Not asked of git itself: run by root in the checkout of somebody else it refuses.
    """
    with contextlib.suppress(OSError, UnicodeDecodeError):
        folder = _git_folder(checkout)
        head = (folder / "HEAD").read_text().strip()
        name = head.removeprefix("ref: ")
        revision = head if name == head else _revision_of(folder, name)
        return revision if revision and _REVISION.fullmatch(revision) else None
    return None


def _git_folder(checkout: Path) -> Path:
    """``.git``, or where the file of that name points to (a worktree)."""
    path = checkout / ".git"
    if path.is_file():
        return checkout / path.read_text().strip().removeprefix("gitdir: ")
    return path


def _revision_of(folder: Path, name: str) -> str | None:
    """The commit of a branch: in a file of its own, or packed with others."""
    common = folder / "commondir"  # branches of a worktree are its repository's
    root = folder / common.read_text().strip() if common.is_file() else folder
    if (root / name).is_file():
        return (root / name).read_text().strip()
    for line in (root / "packed-refs").read_text().splitlines():
        revision, _, packed = line.partition(" ")
        if packed == name:
            return revision
    return None


# --- Cut off -----------------------------------------------------------------------------


def close_cut_off(path: Path, why: str, ended: datetime, rows: Path | None = None) -> None:
    """Close the folder of a run whose instance is gone: partial, and not to be believed.

    ``rows`` is where raw rows of it may lie, which are kept (`keep_rows`).
    A folder that is closed already, or is none, is left as it is. Raises OSError where it
    cannot be written.
    """
    with contextlib.suppress(ValueError, KeyError, TypeError):
        with open(path / "manifest.json", encoding="utf-8", opener=open_own) as file:
            owner, manifest = os.fstat(file.fileno()), json.load(file)
        if manifest["state"] == "running":
            if rows is not None:
                keep_rows(rows, path)
            closed = closed_manifest(manifest, "partial", Verdict("invalid", (why,)), ended)
            _put_closed(path / "manifest.json", closed, Owner(owner.st_uid, owner.st_gid))


def keep_rows(kept: Path, path: Path) -> None:
    """Put raw rows of a run that has no tables into its folder: rows/HOST.jsonl.

    Raises OSError where they cannot be written.
    """
    found, into = sorted(kept.glob("*.jsonl")), path / "rows"
    if not found or into.is_symlink():
        return
    status = path.stat()
    owner = Owner(status.st_uid, status.st_gid)
    into.mkdir(exist_ok=True)
    os.chown(into, owner.uid, owner.gid, follow_symlinks=False)
    for file in found:
        replace_file(into / file.name, file.read_bytes(), owner.ids)


# --- The folder --------------------------------------------------------------------------


class RunFolder:
    """One run's folder, open for writing until it is closed.

    Everything raises TestbedError, a sentence, where the disk is full or a file cannot be
    written.
    """

    def __init__(self, path: Path, owner: Owner, manifest: Mapping[str, Any]) -> None:
        self.path = path
        self._owner, self._manifest = owner, dict(manifest)
        self._is_closed = False

    @classmethod
    def make(cls, parent: Path, what: str, owner: Owner, made_with: Provenance,
             started: datetime) -> RunFolder:
        """A new folder in ``parent``, with its manifest; an older one is never touched.

        Raises UsageError where it cannot be made there.
        """
        manifest = manifest_document(made_with, started)
        try:
            _make_parents(parent, owner)
            _require_room_for_latest(parent)
            path = _make_unused(parent, what, started)
            os.chown(path, owner.uid, owner.gid, follow_symlinks=False)
        except OSError as error:
            raise _cannot_make(parent, error) from error
        folder = cls(path, owner, manifest)
        folder._write("manifest.json", json_text(manifest)[:-1].ljust(_MANIFEST_BYTES - 1) + "\n")
        return folder

    def write_spec(self, document: Mapping[str, Any]) -> None:
        """The resolved request, as `dump_yaml` writes it."""
        self._write("spec.yaml", dump_yaml({"schema_version": SPEC_VERSION, **document}))

    def write_result(self, document: Mapping[str, Any]) -> None:
        """What was measured."""
        self._write_json("result.json", document)

    def write_fidelity(self, document: Mapping[str, Any]) -> None:
        """What the verdict rests on."""
        self._write_json("fidelity.json", document)

    def append_event(self, event: Mapping[str, Any]) -> None:
        """One more line of events.jsonl."""
        line = (json.dumps(event, allow_nan=False) + "\n").encode()
        path = self._open_path("events.jsonl")
        with _told(path), open(path, "ab", buffering=0, opener=open_own) as file:
            os.fchown(file.fileno(), self._owner.uid, self._owner.gid)
            size = os.fstat(file.fileno()).st_size
            if file.write(line) < len(line):
                os.ftruncate(file.fileno(), size)  # no half line for readers to trip over
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def write_table(self, name: str, parquet: bytes) -> None:
        """tables/NAME.parquet."""
        folder = self.path / "tables"
        if not folder.is_dir():
            self.subfolder("tables")
        self._write(f"tables/{name}.parquet", parquet)

    def subfolder(self, name: str) -> Path:
        """A folder for files that others write, captures for one; theirs until the close."""
        path = self._open_path(name)
        with _told(path):
            path.mkdir(exist_ok=True)
            os.chown(path, self._owner.uid, self._owner.gid, follow_symlinks=False)
        return path

    def close(self, state: Literal["complete", "partial"], verdict: Verdict | None,
              ended: datetime) -> None:
        """The last entry in the manifest; the marker after everything else, where it is complete.

        Gives all that is in it to the owner and lets ``latest`` point to it.
        """
        manifest = closed_manifest(self._manifest, state, verdict, ended)
        path = self._open_path("manifest.json")
        with _told(path):
            _put_closed(path, manifest, self._owner)
        with _told(self.path):
            _give_away(self.path, self._owner)
        with _told(self.path.parent / LATEST):
            _point_latest(self.path, self._owner)
        if state == "complete":
            self._write(MARKER, "")
        self._is_closed = True

    # --- pieces ----------------------------------------------------------------------

    def _write_json(self, name: str, document: Mapping[str, Any]) -> None:
        self._write(name, json_text({"schema_version": SCHEMA_VERSION, **document}))

    def _write(self, name: str, content: str | bytes) -> None:
        """Write a file whole: beside its place first, then into it."""
        path = self._open_path(name)
        with _told(path):
            replace_file(path, content, self._owner.ids)

    def _open_path(self, name: str) -> Path:
        if self._is_closed:
            raise ValueError(f"{self.path} is closed: {name} comes too late")
        return self.path / name


def _put_closed(path: Path, manifest: Mapping[str, Any], owner: Owner) -> None:
    """The manifest of a run that is over; on a full disk into the room that was kept for it.

    Reasons that are too long for that are cut. Raises OSError.
    """
    try:
        replace_file(path, json_text(manifest), owner.ids)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        if not (overwrite(path, json_text(manifest)) or overwrite(path, json_text(_cut(manifest)))):
            raise


def _cut(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """With one reason of the verdict, short."""
    verdict = manifest["verdict"]
    short = verdict and {**verdict, "reasons": [text[:_SHORT] for text in verdict["reasons"][:1]]}
    return {**manifest, "verdict": short}


def add_to_closed(path: Path, name: str, content: str) -> None:
    """Put one more file into the folder of a run that is over, for its owner.

    What is drawn from a run is put beside it. Raises TestbedError where it cannot be written.
    """
    with _told(path / name):
        found = path.stat()
        replace_file(path / name, content, (found.st_uid, found.st_gid))


def require_place(parent: Path, owner: Owner) -> None:
    """Make ``parent`` where it is missing. Raises UsageError where no run folder can be made
    in it, before anything else is begun."""
    try:
        _make_parents(parent, owner)
        _require_room_for_latest(parent)
        if not parent.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    except OSError as error:
        raise _cannot_make(parent, error) from error


def _make_parents(parent: Path, owner: Owner) -> None:
    """What is missing of the way to ``parent``, each folder the owner's."""
    missing = [path for path in (parent, *parent.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir()
        os.chown(path, owner.uid, owner.gid, follow_symlinks=False)


def _make_unused(parent: Path, what: str, started: datetime) -> Path:
    number = 1
    while True:
        path = parent / folder_name(started, what, number)
        with contextlib.suppress(FileExistsError):
            path.mkdir()
            return path
        number += 1


def _require_room_for_latest(parent: Path) -> None:
    latest = parent / LATEST
    if latest.exists() and not latest.is_symlink():
        raise UsageError(f"{latest} is a file or folder of its own, and the link to the latest "
                         "run would replace it: move it away or choose another directory")


def _point_latest(path: Path, owner: Owner) -> None:
    """Replace the link in one step, so it always points to a run."""
    unfinished = path.parent / f".{LATEST}-{path.name}"
    unfinished.unlink(missing_ok=True)  # of a close that was cut short
    unfinished.symlink_to(path.name)
    os.chown(unfinished, owner.uid, owner.gid, follow_symlinks=False)
    unfinished.replace(path.parent / LATEST)


def _give_away(path: Path, owner: Owner) -> None:
    """Everything in the folder, also what others wrote there; links, not what they point to."""
    for folder, subfolders, files in os.walk(path, onerror=_raise):
        for name in (*subfolders, *files):
            os.chown(Path(folder, name), owner.uid, owner.gid, follow_symlinks=False)


def _raise(error: OSError) -> None:
    raise error


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """An OSError as the sentence a user needs."""
    try:
        yield
    except OSError as error:
        remedy = "free some space" if error.errno in _FULL else "check its disk"
        raise TestbedError(f"{path} cannot be written ({_why(error)}), so the run is not "
                           f"complete: {remedy} and run again") from error


def _cannot_make(parent: Path, error: OSError) -> TestbedError:
    if error.errno in _FULL:
        return TestbedError(f"no run folder can be made in {parent} ({_why(error)}): free some "
                            "space and run again")
    return UsageError(f"no run folder can be made in {parent} ({_why(error)}): choose another "
                      "directory")


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
