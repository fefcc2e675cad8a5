"""testbed/remote/sshd.py: the texts sshd and mount read."""

from __future__ import annotations

from pathlib import Path

from testbed.remote.keys import RunKeys
from testbed.remote.sshd import (
    PASSWD,
    SHADOW,
    SSHD,
    fstab,
    prepare_run_directory,
    sshd_argv,
    sshd_config,
)


def test_config_says_what_matters() -> None:
    lines = sshd_config("198.18.0.7", RunKeys(Path("/s/keys"))).splitlines()
    assert {
        "ListenAddress 198.18.0.7", "Port 22", "HostKey /s/keys/host_key",
        "AuthorizedKeysFile /s/keys/client_key.pub", "UsePAM no", "UseDNS no",
        "PasswordAuthentication no", "KbdInteractiveAuthentication no", "StrictModes no",
        "MaxStartups 200:30:400", "PermitRootLogin prohibit-password", "PidFile none",
        "Subsystem sftp internal-sftp",
    } <= set(lines)


def test_paths_with_blanks_are_quoted() -> None:
    config = sshd_config("198.18.0.7", RunKeys(Path("/a b/keys")))
    assert 'HostKey "/a b/keys/host_key"\n' in config


def test_command_stays_in_the_foreground() -> None:
    assert sshd_argv(Path("/s/h0.conf")) == [SSHD, "-D", "-e", "-f", "/s/h0.conf"]


def test_accounts_are_ours_and_match_no_password() -> None:
    for text, fields in ((PASSWD, 7), (SHADOW, 9)):
        entries = [line.split(":") for line in text.splitlines()]
        assert [entry[0] for entry in entries] == ["root", "sshd"]
        assert [entry[1] for entry in entries] == ["*", "*"]
        assert {len(entry) for entry in entries} == {fields}


def test_fstab_keeps_the_state_directory_visible() -> None:
    assert fstab(Path("/run/mrc-testbed/x/hosts"), [Path("/run/mrc-testbed/x")]) == (
        "/run/mrc-testbed/x /run/mrc-testbed/x/hosts/run/mrc-testbed/x none bind 0 0\n"
        "/run/mrc-testbed/x/hosts/run /run none rbind 0 0\n"
        "/run/mrc-testbed/x/hosts/passwd /etc/passwd none bind 0 0\n"
        "/run/mrc-testbed/x/hosts/shadow /etc/shadow none bind 0 0\n"
    )


def test_fstab_escapes_blanks() -> None:
    first = fstab(Path("/a b\\c")).splitlines()[0]
    assert first == r"/a\040b\134c/run /run none rbind 0 0"


def test_everything_fstab_mounts_is_there(tmp_path: Path) -> None:
    table = prepare_run_directory(tmp_path / "hosts", [Path("/run/mrc-testbed/x")])
    assert (tmp_path / "hosts/run/mrc-testbed/x").is_dir()
    assert (tmp_path / "hosts/run/sshd").stat().st_mode & 0o022 == 0
    assert (tmp_path / "hosts/passwd").read_text() == PASSWD
    assert (tmp_path / "hosts/shadow").stat().st_mode & 0o077 == 0
    assert table.read_text() == fstab(tmp_path / "hosts", [Path("/run/mrc-testbed/x")])
