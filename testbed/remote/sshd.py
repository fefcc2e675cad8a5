"""What sshd on a host is given to read: its configuration and the files around it.

Rendering is pure; `prepare_run_directory` alone writes. Each host's sshd runs
in a private mount namespace, where `mount -a -T <fstab>` puts in place

    /run              a directory of ours that holds an empty `sshd` (sshd's
                      privilege separation wants it, and a machine whose own sshd
                      never ran lacks it) and the instance's state directory
    /etc/passwd       root with /bin/sh, so that no shell profile talks first,
    /etc/shadow       and not locked; the user sshd, which sshd insists on

so nothing depends on, or appears in, the machine's own files. The texts are
constants: nothing is copied from the machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from testbed.remote.keys import RunKeys

SSHD = "/usr/sbin/sshd"
USER = "root"

_RUN = Path("/run")
# "*" is "no password will ever match"; "!" would be "locked", which sshd refuses.
PASSWD = "root:*:0:0:root:/:/bin/sh\nsshd:*:65534:65534::/run/sshd:/bin/false\n"
SHADOW = "root:*:19000:0:99999:7:::\nsshd:*:19000:0:99999:7:::\n"


def sshd_argv(config: Path) -> list[str]:
    """The command line of a host's sshd: in the foreground, errors to stderr."""
    return [SSHD, "-D", "-e", "-f", str(config)]


def sshd_config(address: str, keys: RunKeys, port: int = 22) -> str:
    """The configuration of the sshd that listens on one host's management address.

    Keys only, no PAM (its session modules move processes out of the instance's
    cgroup), no DNS, and room for a fan-out of connections: the default
    MaxStartups 10:30:100 drops every third of them.
    """
    settings = {
        "ListenAddress": address,
        "Port": str(port),
        "HostKey": _quoted(keys.host_key),
        "AuthorizedKeysFile": _quoted(keys.authorized_keys),
        "AuthenticationMethods": "publickey",
        "PermitRootLogin": "prohibit-password",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "UsePAM": "no",
        "UseDNS": "no",
        "StrictModes": "no",
        "MaxStartups": "200:30:400",
        "MaxSessions": "100",
        "PidFile": "none",
        "PrintMotd": "no",
        "PrintLastLog": "no",
        "PermitUserRC": "no",
        "PermitUserEnvironment": "no",
        "AllowTcpForwarding": "no",
        "X11Forwarding": "no",
        "LogLevel": "ERROR",
        "Subsystem": "sftp internal-sftp",
    }
    return "".join(f"{key} {value}\n" for key, value in settings.items())


def fstab(run_directory: Path, keep: Sequence[Path] = ()) -> str:
    """The mounts of a host's private mount namespace, for `mount -a -T`.

    `run_directory` is what `prepare_run_directory` made, with the same `keep`:
    directories under /run that stay visible where they are.
    """
    run = run_directory / "run"
    mounts = [(path, run / path.relative_to(_RUN), "bind") for path in keep]
    mounts += [
        (run, _RUN, "rbind"),
        (run_directory / "passwd", Path("/etc/passwd"), "bind"),
        (run_directory / "shadow", Path("/etc/shadow"), "bind"),
    ]
    return "".join(
        f"{_escaped(source)} {_escaped(target)} none {option} 0 0\n"
        for source, target, option in mounts
    )


def prepare_run_directory(directory: Path, keep: Sequence[Path] = ()) -> Path:
    """Write what `fstab` mounts, and the fstab, into `directory` (new); returns the fstab.

    One such directory serves every host of an instance. `keep` must name
    existing directories under /run (the instance's state directory, if it is there).
    """
    (directory / "run" / "sshd").mkdir(parents=True, mode=0o755)
    for path in keep:
        (directory / "run" / path.relative_to(_RUN)).mkdir(parents=True)
    (directory / "passwd").write_text(PASSWD)
    (directory / "shadow").write_text(SHADOW)
    (directory / "shadow").chmod(0o600)
    table = directory / "fstab"
    table.write_text(fstab(directory, keep))
    return table


def _quoted(path: Path) -> str:
    return f'"{path}"' if " " in str(path) else str(path)


def _escaped(path: Path) -> str:
    """fstab(5): blanks and backslashes as octal."""
    text = str(path)
    for character in "\\ \t\n":
        text = text.replace(character, f"\\{ord(character):03o}")
    return text
