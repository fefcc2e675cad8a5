"""The folder a run leaves behind: what was asked, what happened, whether to believe it.

    spec.yaml        the resolved request: running it again repeats the run
    manifest.json    versions, data plane, seed, verdict; state running, complete or partial
    events.jsonl     what happened, a JSON object a line, in order
    result.json      what was measured
    fidelity.json    what the verdict rests on
    COMPLETE         written last: without it, something is missing

Made by the instance process, which is root, and given to whoever called sudo. Files are
replaced whole, so a reader never sees half of one; a write that fails fails the run.
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
from testbed.intent.documents import dump_yaml

SCHEMA_VERSION = 1
MARKER = "COMPLETE"
LATEST = "latest"

_FULL = (errno.ENOSPC, errno.EDQUOT)
_REVISION = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Owner:
    """Whom the folder belongs to, by number: SUDO_UID and SUDO_GID of the client."""

    uid: int
    gid: int


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
                    verdict: Verdict, ended: datetime) -> dict[str, Any]:
    """The manifest of a run that is over."""
    told = {"word": verdict.word, "reasons": list(verdict.reasons)}
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


def close_cut_off(path: Path, why: str, ended: datetime) -> None:
    """Close the folder of a run whose instance is gone: partial, and not to be believed.

    A folder that is closed already, or is none, is left as it is. Raises OSError where it
    cannot be written.
    """
    with contextlib.suppress(ValueError, KeyError, TypeError):
        with open(path / "manifest.json", encoding="utf-8", opener=_open_own) as file:
            owner, manifest = os.fstat(file.fileno()), json.load(file)
        if manifest["state"] == "running":
            closed = closed_manifest(manifest, "partial", Verdict("invalid", (why,)), ended)
            _replace(path / "manifest.json", json_text(closed), Owner(owner.st_uid, owner.st_gid))


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
        folder._write("manifest.json", json_text(manifest))
        return folder

    def write_spec(self, document: Mapping[str, Any]) -> None:
        """The resolved request, as `dump_yaml` writes it."""
        self._write("spec.yaml", dump_yaml({"schema_version": SCHEMA_VERSION, **document}))

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
        with _told(path), open(path, "ab", buffering=0, opener=_open_own) as file:
            os.fchown(file.fileno(), self._owner.uid, self._owner.gid)
            size = os.fstat(file.fileno()).st_size
            if file.write(line) < len(line):
                os.ftruncate(file.fileno(), size)  # no half line for readers to trip over
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def subfolder(self, name: str) -> Path:
        """A folder for files that others write, captures for one; theirs until the close."""
        path = self._open_path(name)
        with _told(path):
            path.mkdir(exist_ok=True)
            os.chown(path, self._owner.uid, self._owner.gid, follow_symlinks=False)
        return path

    def close(self, state: Literal["complete", "partial"], verdict: Verdict,
              ended: datetime) -> None:
        """The last entry in the manifest; the marker after everything else, where it is complete.

        Gives all that is in it to the owner and lets ``latest`` point to it.
        """
        manifest = closed_manifest(self._manifest, state, verdict, ended)
        self._write("manifest.json", json_text(manifest))
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

    def _write(self, name: str, text: str) -> None:
        """Write a file whole: beside its place first, then into it."""
        path = self._open_path(name)
        with _told(path):
            _replace(path, text, self._owner)

    def _open_path(self, name: str) -> Path:
        if self._is_closed:
            raise ValueError(f"{self.path} is closed: {name} comes too late")
        return self.path / name


def _replace(path: Path, text: str, owner: Owner) -> None:
    """Put a file in the place of ``path`` that is whole from the start."""
    unfinished = path.with_name(f".{path.name}.new")
    try:
        with open(unfinished, "w", encoding="utf-8", opener=_open_own) as file:
            os.fchown(file.fileno(), owner.uid, owner.gid)
            file.write(text)
        unfinished.replace(path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise


def _open_own(path: str, flags: int) -> int:
    """Open a file of ours, never what a link leads to: we are root in a user's folder."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)


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
