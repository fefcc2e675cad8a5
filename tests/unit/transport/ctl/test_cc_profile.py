"""CC profiles: algorithm, config, life and errors (facts sheet 7.5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from testbed.transport.mrc.ctl.attributes import NSCC_ALGORITHM
from testbed.transport.mrc.ctl.cc_profile import CcProfile, CcProfileAttr
from testbed.transport.mrc.ctl.profile import Capability, ProfileState
from testbed.transport.mrc.errors import Errno

INIT, OFFLINE, ONLINE = ProfileState
# A profile only hands its config through.
CONFIG: Any = object()
OTHER: Any = object()
Make = Callable[..., Any]


def make(capabilities: Capability = Capability.CC_PROFILE_MODIFY_ONLINE) -> CcProfile:
    return CcProfile(1, (NSCC_ALGORITHM,), capabilities)


def online(**arguments: Any) -> CcProfile:
    profile = make(**arguments)
    profile.modify(CcProfileAttr(algorithm=NSCC_ALGORITHM, state=OFFLINE))
    profile.modify(CcProfileAttr(config=CONFIG, state=ONLINE))
    return profile


def test_a_life(refused: Make) -> None:
    profile = make()
    refused(Errno.EINVAL, profile.query)
    refused(Errno.EINVAL, profile.modify, CcProfileAttr(state=OFFLINE))
    refused(Errno.EINVAL, profile.modify, CcProfileAttr(algorithm=NSCC_ALGORITHM, state=ONLINE))
    profile.modify(CcProfileAttr(algorithm=NSCC_ALGORITHM, state=OFFLINE))
    refused(Errno.EINVAL, profile.modify, CcProfileAttr(state=ONLINE))
    profile.modify(CcProfileAttr(config=CONFIG, state=ONLINE))
    assert (profile.algorithm, profile.cc_config) == (NSCC_ALGORITHM, CONFIG)
    assert profile.query() == CcProfileAttr(algorithm=NSCC_ALGORITHM, config=CONFIG, state=ONLINE)


def test_no_algorithm_is_congestion_control_off() -> None:
    profile = make()
    profile.modify(CcProfileAttr(algorithm=None, state=OFFLINE))
    profile.modify(CcProfileAttr(state=ONLINE))
    assert (profile.algorithm, profile.cc_config) == (None, None)


@pytest.mark.parametrize("algorithm", ["", "nscc", "uet-1.0-NSCC"])
def test_unknown_algorithms(algorithm: str, refused: Make) -> None:
    profile = make()
    refused(Errno.EINVAL, profile.modify, CcProfileAttr(algorithm=algorithm, state=OFFLINE))
    assert profile.state is INIT


def test_observers_follow_a_config_online(refused: Make) -> None:
    profile, heard = online(), []
    profile.subscribe(heard.append)
    profile.modify(CcProfileAttr(config=OTHER))
    assert (heard, profile.generation, profile.cc_config) == ([OTHER], 1, OTHER)
    refused(Errno.EINVAL, profile.modify, CcProfileAttr(algorithm=None))


def test_without_the_capability_the_config_is_fixed_online(refused: Make) -> None:
    profile = online(capabilities=Capability.EV_PROFILE_MODIFY_ONLINE)
    refused(Errno.EINVAL, profile.modify, CcProfileAttr(config=OTHER))
    profile.modify(CcProfileAttr(state=OFFLINE))
    profile.modify(CcProfileAttr(config=OTHER))
    assert (profile.cc_config, profile.generation) == (OTHER, 0)


def test_qps_keep_it_online(refused: Make) -> None:
    profile, qp = online(), object()
    profile.register_user(qp)
    refused(Errno.EBUSY, profile.modify, CcProfileAttr(state=OFFLINE))
    profile.unregister_user(qp)
    profile.modify(CcProfileAttr(state=OFFLINE))
    profile.modify(CcProfileAttr(state=INIT))
    refused(Errno.EINVAL, profile.query)
