"""`make install`: put what the testbed needs on this machine, once, and say what changed.

Runs before anything is installed, so it is standard library only and works
with whichever python3 is first on PATH. Run as a module from the checkout:
``python3 -m testbed.install [--dev]``.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
DISTRIBUTION_PYTHON = Path("/usr/bin/python3")
DISTRIBUTION_PACKAGES = Path("/usr/lib/python3/dist-packages")
POLICY = Path("/usr/sbin/policy-rc.d")
_MARK = "# Written by `make install` of the MRC testbed; gone when it ends."

# package -> why it is there
SYSTEM_PACKAGES = {
    "mininet": "builds hosts, switches and links out of network namespaces",
    "openvswitch-switch": "the OpenFlow switch; a private copy runs per instance",
    "openssh-server": "sshd on every emulated host",
    "openssh-client": "ssh-keygen makes the per-run keys",
    "iproute2": "ip, for people who look inside",
    "iputils-ping": "ping and pingall at the Mininet prompt",
    "python-is-python3": "gives `sudo python -m testbed` its name",
    "python3-venv": "makes the virtual environment",
    "clang": "compiles the switch port program to eBPF",
    "libbpf-dev": "headers of the eBPF helpers",
    "libjemalloc2": "allocates the frame buffers of Open vSwitch, faster than the C library",
    "libbpf1": "loads the port program and reads its maps",
    "linux-libc-dev": "kernel headers the port program includes",
}
DEV_SYSTEM_PACKAGES = {
    "tshark": "decodes captures independently of our own code",
    "tcpdump": "takes captures inside namespaces",
}


def main(argv: list[str] | None = None) -> int:
    """Install what is missing. Returns the exit code: 0 done, 3 the machine cannot."""
    parser = argparse.ArgumentParser(prog="make install", description=__doc__)
    parser.add_argument("--dev", action="store_true", help="also what the tests need")
    dev = parser.parse_args(argv).dev
    try:
        _install_system_packages(dev)
        _install_environment(dev)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"make install: {_explain(error)}", file=sys.stderr)
        return 3
    return 0


def _explain(error: OSError | subprocess.CalledProcessError) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        return f"`{' '.join(error.cmd)}` failed (exit {error.returncode}); its output is above"
    return f"{error}"


def missing_system_packages(dev: bool) -> list[str]:
    """Names of the distribution packages that are not installed yet."""
    wanted = SYSTEM_PACKAGES | (DEV_SYSTEM_PACKAGES if dev else {})
    query = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Abbrev}\n", *wanted],
        capture_output=True, text=True, check=False,
    )
    present = {line.split()[0] for line in query.stdout.splitlines() if " ii" in line}
    return [name for name in wanted if name not in present]


def _install_system_packages(dev: bool) -> None:
    missing = missing_system_packages(dev)
    if not missing:
        print("[1/2] system packages: all there", flush=True)
        return
    if os.geteuid() != 0:
        raise PermissionError(f"installing {', '.join(missing)} needs root: sudo make install")
    print(f"[1/2] system packages: installing {', '.join(missing)} with apt-get; services "
          "that were not on this machine before are not started", flush=True)
    apt = ["apt-get", "-y", "-q", "-o", "Dpkg::Use-Pty=0"]
    quiet = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    subprocess.run([*apt, "update"], env=quiet, check=True, stdout=subprocess.DEVNULL)
    with _services_held_back():
        subprocess.run([*apt, "install", "--no-install-recommends", *missing],
                       env=quiet, check=True)


def _known_services() -> list[str]:
    """Names of the services this machine has now; upgrades may restart these."""
    folders = ["/etc/init.d", "/lib/systemd/system", "/etc/systemd/system"]
    found = {p.name.removesuffix(".service") for f in folders for p in Path(f).glob("*")}
    return sorted(found)


@contextlib.contextmanager
def _services_held_back() -> Iterator[None]:
    """Refuse, while apt runs, to start any service that was not there before.

    apt asks policy-rc.d (exit 101 = no). A policy the machine already has is
    kept, obeyed first, and put back.
    """
    kept = POLICY.with_name("policy-rc.d.before-testbed")
    if POLICY.exists() and _MARK in POLICY.read_text():
        POLICY.unlink()  # of a run of ours that was killed
    if POLICY.exists() and not kept.exists():
        POLICY.rename(kept)
    known = " ".join(_known_services())
    POLICY.write_text(
        f"#!/bin/sh\n{_MARK}\n"
        f'[ -x {kept} ] && {{ {kept} "$@" || exit $?; }}\n'
        f'case " {known} " in *" ${{1%.service}} "*) exit 0;; esac\nexit 101\n'
    )
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)
        if kept.exists():
            kept.rename(POLICY)


def _environment_fingerprint(dev: bool) -> str:
    digest = hashlib.sha256(f"{ROOT} {dev}".encode())
    for name in ("constraints.txt", "setup.py", "testbed/install.py"):
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def _is_installed(dev: bool) -> bool:
    """True where the environment was made from these very files (dev includes plain)."""
    stamp = VENV / "installed"
    if not stamp.exists():
        return False
    modes = (True,) if dev else (True, False)
    return stamp.read_text() in {_environment_fingerprint(mode) for mode in modes}


def _link_mininet() -> None:
    """Show the environment the distribution's Mininet, and no other package of its.

    With --system-site-packages an old pyOpenSSL of the distribution meets our
    newer cryptography and breaks the import of eventlet.
    """
    packages = next((VENV / "lib").glob("python3*/site-packages"))
    (packages / "mininet").symlink_to(DISTRIBUTION_PACKAGES / "mininet")


def _install_environment(dev: bool) -> None:
    if _is_installed(dev):
        print("[2/2] Python environment: up to date")
        return
    if not DISTRIBUTION_PYTHON.exists():
        raise FileNotFoundError(f"{DISTRIBUTION_PYTHON} is missing: apt-get install python3")
    print(f"[2/2] Python environment: installing pinned packages into {VENV.name}/", flush=True)
    dev = dev or (VENV / "bin" / "pytest").exists()
    shutil.rmtree(VENV, ignore_errors=True)
    subprocess.run([str(DISTRIBUTION_PYTHON), "-m", "venv", str(VENV)], check=True)
    _link_mininet()
    target = f"{ROOT}[dev]" if dev else str(ROOT)
    _pip_install(["-e", target])
    (VENV / "installed").write_text(_environment_fingerprint(dev))


def _pip_install(what: list[str]) -> None:
    """Install with pip, naming each package as it comes; all it said where it fails."""
    command = [str(VENV / "bin" / "python"), "-m", "pip", "--disable-pip-version-check",
               "--no-input", "install", "--progress-bar", "off", *what]
    # PIP_CONSTRAINT also reaches the isolated build of Ryu, which needs old setuptools.
    pinned = dict(os.environ, PIP_CONSTRAINT=str(ROOT / "constraints.txt"))
    said: list[str] = []
    with subprocess.Popen(command, env=pinned, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT) as pip:
        assert pip.stdout
        for line in pip.stdout:
            said.append(line)
            if line.startswith("Collecting "):
                print(f"      {line.split()[1]}", flush=True)
    if pip.returncode:
        print("".join(said), file=sys.stderr)
        raise subprocess.CalledProcessError(pip.returncode, command)


if __name__ == "__main__":
    sys.exit(main())
