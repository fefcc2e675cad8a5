"""Files put in their place whole, also where links lie in wait."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from testbed import files
from testbed.files import overwrite, replace_file


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "page"
    path.write_text("older and longer")
    replace_file(path, "new", None)
    assert path.read_text() == "new"
    replace_file(path, b"\xff", (os.getuid(), os.getgid()))
    assert path.read_bytes() == b"\xff"
    assert list(tmp_path.iterdir()) == [path]


def test_no_link_is_followed(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.write_text("precious")
    (tmp_path / "page").symlink_to(theirs)
    (tmp_path / ".page.new").symlink_to(theirs)
    with pytest.raises(OSError, match="symbolic links"):
        replace_file(tmp_path / "page", "new", None)
    replace_file(tmp_path / "page", "new", None)  # the link in its way is gone
    assert theirs.read_text() == "precious"
    assert not (tmp_path / "page").is_symlink()


def test_what_fails_leaves_all_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "page"
    path.write_text("old")

    def refuse(_file: int, _uid: int, _gid: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(files.os, "fchown", refuse)
    with pytest.raises(PermissionError):
        replace_file(path, "new", (0, 0))
    assert (path.read_text(), list(tmp_path.iterdir())) == ("old", [path])


def test_what_fits_is_put_into_a_file_where_it_lies(tmp_path: Path) -> None:
    path = tmp_path / "page"
    path.write_text("{}        ")
    before = path.stat()
    assert overwrite(path, "{1: 2}\n")
    assert path.read_text() == "{1: 2}\n   "
    assert (path.stat().st_ino, path.stat().st_size) == (before.st_ino, before.st_size)
    assert not overwrite(path, "x" * 11)
    assert path.read_text() == "{1: 2}\n   "
