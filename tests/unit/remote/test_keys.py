"""testbed/remote/keys.py: fresh keys, for our eyes only."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from testbed.errors import MachineError
from testbed.remote.connect import _client_key, _pinned_key
from testbed.remote.keys import make_keys


def test_keys_are_private_and_fit_together(tmp_path: Path) -> None:
    keys = make_keys(tmp_path / "keys")
    assert stat.S_IMODE(keys.directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(keys.host_key.stat().st_mode) == 0o600
    assert stat.S_IMODE(keys.client_key.stat().st_mode) == 0o600
    assert _client_key(keys).get_base64() == keys.authorized_keys.read_text().split()[1]
    assert _pinned_key(keys).get_base64() == keys.host_public_key.read_text().split()[1]


def test_every_run_has_its_own(tmp_path: Path) -> None:
    first, second = make_keys(tmp_path / "a"), make_keys(tmp_path / "b")
    texts = {path.read_text() for keys in (first, second)
             for path in (keys.host_public_key, keys.authorized_keys)}
    assert len(texts) == 4


def test_keys_of_another_run_are_not_overwritten(tmp_path: Path) -> None:
    make_keys(tmp_path / "keys")
    with pytest.raises(FileExistsError):
        make_keys(tmp_path / "keys")


def test_missing_tool_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineError, match="ssh-keygen is not installed"):
        make_keys(tmp_path / "keys")
