"""The installer: what it asks of apt, and how it keeps services from starting."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from testbed import install

ROOT = Path(__file__).parents[3]


@pytest.fixture
def policy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """policy-rc.d in a folder of ours, on a machine that has only the service `cron`."""
    path = tmp_path / "policy-rc.d"
    monkeypatch.setattr(install, "POLICY", path)
    monkeypatch.setattr(install, "_known_services", lambda: ["cron"])
    return path


def asked(policy: Path, service: str) -> int:
    """What the policy answers apt: 0 go ahead, 101 do not start."""
    return subprocess.run([str(policy), service, "start"], check=False).returncode


def test_only_services_that_were_there_may_start_and_the_policy_is_removed(policy: Path) -> None:
    with install._services_held_back():
        assert asked(policy, "cron") == 0
        assert asked(policy, "cron.service") == 0
        assert asked(policy, "ssh") == 101
        assert asked(policy, "openvswitch-switch") == 101
    assert not policy.exists()


def test_a_policy_the_machine_has_is_obeyed_and_put_back(policy: Path) -> None:
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    with install._services_held_back():
        assert asked(policy, "cron") == 101
    assert policy.read_text() == "#!/bin/sh\nexit 101\n"


def test_the_policy_is_put_back_after_a_failure(policy: Path) -> None:
    policy.write_text("#!/bin/sh\nexit 0\n")
    with pytest.raises(OSError, match="disk"), install._services_held_back():
        raise OSError("disk")
    assert policy.read_text() == "#!/bin/sh\nexit 0\n"


def test_a_policy_left_by_an_installer_that_was_killed_is_still_put_back(policy: Path) -> None:
    policy.write_text("#!/bin/sh\nexit 101\n")
    kept = policy.with_name("policy-rc.d.before-testbed")
    kept.write_text("#!/bin/sh\nexit 0\n")
    with install._services_held_back():
        pass
    assert policy.read_text() == "#!/bin/sh\nexit 0\n"
    assert not kept.exists()


def test_the_fingerprint_follows_the_pins() -> None:
    assert install._environment_fingerprint(True) != install._environment_fingerprint(False)


def test_every_pin_is_exact_and_every_requirement_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = {line.split("==")[0].lower() for line in lines if line and not line.startswith("#")}
    assert all("==" in line for line in lines if line and not line.startswith("#"))
    setup = (ROOT / "setup.py").read_text()
    for name in ("paramiko", "pyroute2", "ryu", "pandas", "pyyaml", "eventlet", "pytest",
                 "hypothesis", "mypy", "ruff"):
        assert name in pins
        assert name in setup.lower()
