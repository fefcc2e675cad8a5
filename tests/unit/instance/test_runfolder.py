"""The folder of a run: what is in it, in which order, whose it is, and full disks."""

from __future__ import annotations

import errno
import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed import __version__, files
from testbed.analysis import load
from testbed.analysis.fidelity import Verdict
from testbed.errors import TestbedError, UsageError
from testbed.instance.filling import abandon
from testbed.instance.runfolder import (
    Owner,
    Provenance,
    RunFolder,
    close_cut_off,
    folder_name,
    git_revision,
    json_text,
    keep_rows,
    provenance,
    require_place,
)
from testbed.intent.topology import topology_document
from topologies.spec import ClosSpec

SPEC = ClosSpec("pair", 2, 2, 2, 2, 100 * 10**9, 1000)
STARTED = datetime(2026, 11, 21, 15, 30, tzinfo=UTC)
ENDED = STARTED + timedelta(seconds=42.5)
MADE_WITH = Provenance("0.1.0", "3.11.2", "6.1.0", "ovs", "a" * 40, seed=7, tdf=500)
TRUSTED = Verdict("trusted")
# Root may give files to anybody, others to themselves only.
OWNER = Owner(4321, 4322) if os.geteuid() == 0 else Owner(os.getuid(), os.getgid())


def make(parent: Path, what: str = "write-bw-h0-h7") -> RunFolder:
    return RunFolder.make(parent, what, OWNER, MADE_WITH, STARTED)


def manifest(folder: RunFolder) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder.path / "manifest.json").read_text())
    return found


@contextmanager
def failing(monkeypatch: pytest.MonkeyPatch, name: str, number: int) -> Iterator[None]:
    def fail(*_args: object, **_more: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, name, fail)
        yield


@pytest.mark.parametrize(("number", "name"), [
    (1, "20261121T153000Z-write-lat-h1-h2"), (2, "20261121T153000Z-write-lat-h1-h2-2"),
])
def test_names_sort_by_time(number: int, name: str) -> None:
    assert folder_name(STARTED, "write-lat-h1-h2", number) == name


def test_names_are_in_utc_wherever_the_clock_is() -> None:
    there = STARTED.astimezone(timezone(timedelta(hours=9)))
    assert folder_name(there, "x") == "20261121T153000Z-x"


def test_a_run_that_has_begun(tmp_path: Path) -> None:
    folder = make(tmp_path / "runs")
    assert folder.path == tmp_path / "runs" / "20261121T153000Z-write-bw-h0-h7"
    assert manifest(folder) == {
        "schema_version": 1, "state": "running", "testbed": "0.1.0", "python": "3.11.2",
        "kernel": "6.1.0", "dataplane": "ovs", "git_revision": "a" * 40, "seed": 7, "tdf": 500,
        "verdict": None, "started_at": "2026-11-21T15:30:00.000Z", "ended_at": None,
    }
    assert os.listdir(folder.path) == ["manifest.json"]


def test_a_complete_run(tmp_path: Path) -> None:
    folder = make(tmp_path)
    folder.write_spec({"workload": "write-bw", "size": "32KiB"})
    folder.append_event({"at_ns": 1, "event": "started"})
    folder.append_event({"at_ns": 9, "event": "stopped"})
    folder.write_result({"kind": "write-bw"})
    folder.write_fidelity({"cores": 2})
    folder.close("complete", Verdict("degraded", ("late",)), ENDED)
    assert sorted(os.listdir(folder.path)) == [
        "COMPLETE", "events.jsonl", "fidelity.json", "manifest.json", "result.json", "spec.yaml"]
    assert yaml.safe_load((folder.path / "spec.yaml").read_text()) == {
        "schema_version": 1, "workload": "write-bw", "size": "32KiB"}
    lines = (folder.path / "events.jsonl").read_text().splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["started", "stopped"]
    result = json.loads((folder.path / "result.json").read_text())
    assert result == {"schema_version": 1, "kind": "write-bw"}
    assert json.loads((folder.path / "fidelity.json").read_text())["cores"] == 2
    assert manifest(folder)["state"] == "complete"
    assert manifest(folder)["verdict"] == {"word": "degraded", "reasons": ["late"]}
    assert manifest(folder)["ended_at"] == "2026-11-21T15:30:42.500Z"


def test_a_partial_run_has_no_marker(tmp_path: Path) -> None:
    folder = make(tmp_path)
    folder.close("partial", Verdict("invalid", ("the instance went down",)), ENDED)
    assert not (folder.path / "COMPLETE").exists()
    assert manifest(folder)["state"] == "partial"
    assert manifest(folder)["verdict"]["word"] == "invalid"


def test_a_folder_that_is_there_is_never_touched(tmp_path: Path) -> None:
    folders = [make(tmp_path) for _ in range(3)]
    (folders[0].path / "manifest.json").write_text("mine")
    assert [folder.path.name.removeprefix("20261121T153000Z-") for folder in folders] == [
        "write-bw-h0-h7", "write-bw-h0-h7-2", "write-bw-h0-h7-3"]
    make(tmp_path)
    assert (folders[0].path / "manifest.json").read_text() == "mine"


def test_latest_points_to_the_run_that_ended_last(tmp_path: Path) -> None:
    first, second = make(tmp_path), make(tmp_path)
    assert not (tmp_path / "latest").exists()
    second.close("complete", TRUSTED, ENDED)
    first.close("partial", TRUSTED, ENDED)
    assert os.readlink(tmp_path / "latest") == first.path.name
    assert sorted(os.listdir(tmp_path)) == sorted([first.path.name, second.path.name, "latest"])


def test_something_else_called_latest_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "latest").write_text("mine")
    with pytest.raises(UsageError, match="move it away or choose another directory"):
        make(tmp_path)
    assert os.listdir(tmp_path) == ["latest"]


def test_everything_is_the_user_s_also_what_others_wrote(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.touch()
    before = outside.stat().st_uid
    folder = make(tmp_path / "new" / "runs")
    folder.append_event({"event": "x"})
    folder.write_result({})
    assert {path.stat().st_uid for path in folder.path.iterdir()} == {OWNER.uid}
    captures = folder.subfolder("pcap")
    (captures / "h0-eth0.pcap").write_bytes(b"x")
    (captures / "link").symlink_to(outside)
    folder.close("complete", TRUSTED, ENDED)
    mine = [tmp_path / "new", *(tmp_path / "new").rglob("*")]
    assert len(mine) == 11
    assert {(path.lstat().st_uid, path.lstat().st_gid) for path in mine} == {
        (OWNER.uid, OWNER.gid)}
    assert outside.stat().st_uid == before


def test_nothing_is_written_after_the_close(tmp_path: Path) -> None:
    folder = make(tmp_path)
    folder.close("complete", TRUSTED, ENDED)
    before = manifest(folder)
    for write in (lambda: folder.write_result({}), lambda: folder.append_event({}),
                  lambda: folder.subfolder("pcap"),
                  lambda: folder.close("partial", TRUSTED, ENDED)):
        with pytest.raises(ValueError, match="is closed"):
            write()
    assert manifest(folder) == before


def test_a_full_disk_is_told_and_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make(tmp_path)
    folder.write_result({"run": 1})
    with failing(monkeypatch, "fchown", errno.ENOSPC), pytest.raises(TestbedError) as caught:
        folder.write_result({"run": 2})
    assert caught.value.exit_code == 5
    assert str(caught.value) == (
        f"{folder.path / 'result.json'} cannot be written (no space left on device), so the run "
        "is not complete: free some space and run again")
    assert json.loads((folder.path / "result.json").read_text())["run"] == 1
    assert sorted(os.listdir(folder.path)) == ["manifest.json", "result.json"]


@contextmanager
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """There is no room for another file."""
    def open_own(path: str, flags: int) -> int:
        if flags & os.O_CREAT and not os.path.exists(path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os.open(path, flags)

    with monkeypatch.context() as patch:
        patch.setattr(files, "open_own", open_own)
        yield


@pytest.mark.parametrize("reason", ["it cannot be written", "because " * 2_000])
def test_a_run_on_a_disk_that_fills_up_is_closed_as_partial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    """The room for it was kept from the beginning."""
    folder = make(tmp_path)
    folder.write_spec({"workload": "write-bw", "src": "h0", "dst": "h2",
                       "topology": topology_document(SPEC)})
    size = (folder.path / "manifest.json").stat().st_size
    with full_disk(monkeypatch):
        with pytest.raises(TestbedError, match="free some space"):
            folder.write_result({"kind": "write-bw"})
        abandon(folder, TestbedError(reason))
    found = manifest(folder)
    assert (found["state"], found["verdict"]["word"]) == ("partial", "invalid")
    assert reason.startswith(found["verdict"]["reasons"][0])
    assert (folder.path / "manifest.json").stat().st_size == size
    assert load(folder.path).is_partial


def test_a_cut_off_run_on_a_full_disk_is_partial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make(tmp_path)
    with full_disk(monkeypatch):
        close_cut_off(folder.path, "the instance went down", ENDED)
    assert manifest(folder)["state"] == "partial"


def test_a_file_that_may_not_grow_leaves_no_half_line(tmp_path: Path) -> None:
    folder = make(tmp_path)
    folder.append_event({"event": "whole"})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(TestbedError, match=r"events.jsonl cannot be written"):
            folder.append_event({"event": "x" * 200})
        with pytest.raises(TestbedError, match=r"result.json cannot be written \(file too large"):
            folder.write_result({"long": "x" * 200})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (folder.path / "events.jsonl").read_text() == '{"event": "whole"}\n'
    assert sorted(os.listdir(folder.path)) == ["events.jsonl", "manifest.json"]


def test_a_run_whose_last_write_failed_is_not_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make(tmp_path)
    with failing(monkeypatch, "chown", errno.EIO), pytest.raises(TestbedError, match="its disk"):
        folder.close("complete", TRUSTED, ENDED)
    assert not (folder.path / "COMPLETE").exists()
    folder.close("partial", TRUSTED, ENDED)
    assert manifest(folder)["state"] == "partial"


def test_no_link_leads_a_write_elsewhere(tmp_path: Path) -> None:
    folder = make(tmp_path)
    target = tmp_path / "target"
    target.write_text("mine")
    (folder.path / "events.jsonl").symlink_to(target)
    (folder.path / ".result.json.new").symlink_to(target)
    for write in (lambda: folder.append_event({}), lambda: folder.write_result({})):
        with pytest.raises(TestbedError, match="cannot be written"):
            write()
    assert target.read_text() == "mine"


def test_where_no_folder_can_be_made_the_choice_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"file \(not a directory\): choose another directory"):
        make(tmp_path / "file")


def test_a_disk_that_is_full_from_the_start_is_no_wrong_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with failing(monkeypatch, "mkdir", errno.ENOSPC), pytest.raises(TestbedError) as caught:
        make(tmp_path)
    assert caught.value.exit_code == 5
    assert "free some space" in str(caught.value)


# --- The place, before anything is begun ---------------------------------------------------


def test_the_way_to_the_place_is_made_and_is_the_user_s(tmp_path: Path) -> None:
    place = tmp_path / "new" / "runs"
    require_place(place, OWNER)
    require_place(place, OWNER)
    assert list(place.iterdir()) == []
    assert {path.stat().st_uid for path in (place, place.parent)} == {OWNER.uid}


@pytest.mark.parametrize("below", ["file", "file/runs"])
def test_a_file_is_no_place(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"no run folder can be made in .*choose another"):
        require_place(tmp_path / below, OWNER)


def test_a_place_with_something_else_called_latest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    with pytest.raises(UsageError, match="move it away or choose another directory"):
        require_place(tmp_path, OWNER)


def test_a_full_disk_is_no_wrong_choice_of_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with failing(monkeypatch, "mkdir", errno.ENOSPC), pytest.raises(TestbedError) as caught:
        require_place(tmp_path / "runs", OWNER)
    assert (caught.value.exit_code, "free some space" in str(caught.value)) == (5, True)


# --- Cut off -----------------------------------------------------------------------------


def test_a_run_that_was_cut_off_is_partial_and_invalid(tmp_path: Path) -> None:
    folder = make(tmp_path)
    before = manifest(folder)
    close_cut_off(folder.path, "the instance was taken down", ENDED)
    assert manifest(folder) == before | {
        "state": "partial", "ended_at": "2026-11-21T15:30:42.500Z",
        "verdict": {"word": "invalid", "reasons": ["the instance was taken down"]}}
    assert os.listdir(folder.path) == ["manifest.json"]
    found = (folder.path / "manifest.json").stat()
    assert (found.st_uid, found.st_gid) == (OWNER.uid, OWNER.gid)


def kept_rows(folder: Path) -> Path:
    """What hosts have left where an instance keeps it."""
    folder.mkdir()
    (folder / "h0.jsonl").write_text('["probes",1]\n["pro')
    (folder / "h1.jsonl").write_text("")
    (folder / "fetched").mkdir()
    return folder


def test_rows_of_a_run_that_was_cut_off_are_kept(tmp_path: Path) -> None:
    folder = make(tmp_path)
    close_cut_off(folder.path, "the instance was taken down", ENDED, kept_rows(tmp_path / "kept"))
    assert sorted(os.listdir(folder.path / "rows")) == ["h0.jsonl", "h1.jsonl"]
    assert (folder.path / "rows" / "h0.jsonl").read_text() == '["probes",1]\n["pro'
    assert manifest(folder)["state"] == "partial"
    for path in (folder.path / "rows", folder.path / "rows" / "h0.jsonl"):
        assert (path.stat().st_uid, path.stat().st_gid) == (OWNER.uid, OWNER.gid)


def test_rows_are_not_put_into_a_folder_that_was_closed(tmp_path: Path) -> None:
    folder = make(tmp_path)
    folder.close("complete", TRUSTED, ENDED)
    close_cut_off(folder.path, "the instance was taken down", ENDED, kept_rows(tmp_path / "kept"))
    assert not (folder.path / "rows").exists()


def test_rows_follow_no_link_out_of_the_folder(tmp_path: Path) -> None:
    folder, elsewhere = make(tmp_path), tmp_path / "elsewhere"
    elsewhere.mkdir()
    (folder.path / "rows").symlink_to(elsewhere)
    keep_rows(kept_rows(tmp_path / "kept"), folder.path)
    assert os.listdir(elsewhere) == []


def test_without_rows_there_is_no_folder_for_them(tmp_path: Path) -> None:
    folder = make(tmp_path)
    keep_rows(tmp_path / "absent", folder.path)
    assert not (folder.path / "rows").exists()


@pytest.mark.parametrize("state", ["complete", "partial"])
def test_a_folder_that_was_closed_is_left_as_it_is(tmp_path: Path, state: Any) -> None:
    folder = make(tmp_path)
    folder.close(state, TRUSTED, ENDED)
    before = (folder.path / "manifest.json").read_bytes()
    close_cut_off(folder.path, "the instance was taken down", ENDED)
    assert (folder.path / "manifest.json").read_bytes() == before


@pytest.mark.parametrize("text", ["", "{", "[]", "5", "{}", '{"state": 1}'])
def test_a_manifest_that_says_nothing_is_left_as_it_is(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    close_cut_off(tmp_path, "the instance was taken down", ENDED)
    assert (tmp_path / "manifest.json").read_text() == text
    assert os.listdir(tmp_path) == ["manifest.json"]


def test_a_cut_off_that_cannot_be_told_raises_and_leaves_the_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make(tmp_path)
    before = manifest(folder)
    with failing(monkeypatch, "fchown", errno.EROFS), pytest.raises(OSError, match="Read-only"):
        close_cut_off(folder.path, "the instance was taken down", ENDED)
    assert manifest(folder) == before
    with pytest.raises(FileNotFoundError):
        close_cut_off(tmp_path / "absent", "the instance was taken down", ENDED)


@pytest.mark.parametrize("name", ["manifest.json", ".manifest.json.new"])
def test_a_cut_off_follows_no_link_out_of_the_folder(tmp_path: Path, name: str) -> None:
    """It is closed by root, in a folder of somebody who could plant one."""
    folder = make(tmp_path)
    target = tmp_path / "target"
    target.write_text((folder.path / "manifest.json").read_text())
    before = target.read_text()
    (folder.path / name).unlink(missing_ok=True)
    (folder.path / name).symlink_to(target)
    with pytest.raises(OSError, match="symbolic links"):
        close_cut_off(folder.path, "the instance was taken down", ENDED)
    assert target.read_text() == before


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_text({"rate": float("nan")})


# --- provenance --------------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / ".git" / "refs" / "heads").mkdir(parents=True)
    (tmp_path / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    (tmp_path / ".git" / "refs" / "heads" / "main").write_text("1" * 40 + "\n")
    return tmp_path


def test_the_revision_of_a_branch(checkout: Path) -> None:
    assert git_revision(checkout) == "1" * 40


def test_the_revision_of_a_packed_branch(checkout: Path) -> None:
    (checkout / ".git" / "refs" / "heads" / "main").unlink()
    (checkout / ".git" / "packed-refs").write_text(
        f"# pack-refs with: peeled\n{'2' * 40} refs/heads/other\n{'3' * 40} refs/heads/main\n")
    assert git_revision(checkout) == "3" * 40


def test_the_revision_of_a_detached_head(checkout: Path) -> None:
    (checkout / ".git" / "HEAD").write_text("4" * 40 + "\n")
    assert git_revision(checkout) == "4" * 40


def test_the_revision_of_a_worktree(checkout: Path) -> None:
    tree, private = checkout / "tree", checkout / ".git" / "worktrees" / "tree"
    tree.mkdir()
    private.mkdir(parents=True)
    (tree / ".git").write_text(f"gitdir: {private}\n")
    (private / "HEAD").write_text("ref: refs/heads/main\n")
    (private / "commondir").write_text("../..\n")
    assert git_revision(tree) == "1" * 40


@pytest.mark.parametrize("head", [None, "ref: refs/heads/unborn\n", "rubbish\n"])
def test_no_revision_where_nothing_is_checked_out(checkout: Path, head: str | None) -> None:
    path = checkout / ".git" / "HEAD"
    path.write_text(head) if head else path.unlink()
    assert git_revision(checkout) is None


def test_provenance_is_of_this_process(checkout: Path) -> None:
    found = provenance("linux", seed=3, tdf=20, checkout=checkout)
    assert (found.testbed, found.kernel) == (__version__, os.uname().release)
    assert (found.dataplane, found.seed, found.tdf) == ("linux", 3, 20)
    assert found.git_revision == "1" * 40
    assert found.python.startswith("3.")
