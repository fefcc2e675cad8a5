"""Controls as JSON; what they do to a device is driven in the simulator."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.errors import TestbedError
from testbed.forwarding.routes import host_routes
from testbed.transport.mrc.controls import (
    NO_CONTROLS,
    Controls,
    apply_controls,
    denying_qps,
    disabled_ports,
)
from testbed.transport.mrc.device import open_device
from testbed.transport.mrc.errors import MrcError
from testbed.transport.mrc.verbs import Context
from topologies.spec import ClosSpec

SPEC = ClosSpec("tiny", 2, 2, 2, 2, 100 * 10**9, 1000)
PEER = bytes(range(16))

DENIED = st.frozensets(st.tuples(st.binary(min_size=16, max_size=16), st.integers(0, 2**32 - 1)))
CONTROLS = st.builds(Controls, DENIED, st.integers(0, 3))


def device() -> Context:
    return open_device(SPEC, 0, host_routes(SPEC, 0), random.Random(1))


@given(CONTROLS)
def test_they_are_read_back_as_written(controls: Controls) -> None:
    assert Controls.from_params(controls.to_params()) == controls


@pytest.mark.parametrize(("params", "expected"), [
    ([], "control is []: give an object"),
    ({"disabled": 0}, "control lacks 'denied'"),
    ({"denied": []}, "control lacks 'disabled'"),
    ({"denied": [], "disabled": -1}, "control.disabled is -1"),
    ({"denied": [], "disabled": 0, "enabled": 1}, "control has unknown key 'enabled'"),
    ({"denied": [["00", 3]], "disabled": 0}, "control.denied.peer is '00': give 32 hex digits"),
    ({"denied": [[PEER.hex(), -1]], "disabled": 0}, "control.denied.ev is -1"),
    ({"denied": [[PEER.hex()]], "disabled": 0}, "control.denied.peer is ''"),
    ({"denied": ["x"], "disabled": 0}, "control.denied.peer is ''"),
])
def test_what_is_wrong_with_them_is_said(params: Any, expected: str) -> None:
    with pytest.raises(TestbedError) as caught:
        Controls.from_params(params)
    assert expected in str(caught.value)


@given(CONTROLS, CONTROLS)
def test_a_device_without_queue_pairs_has_its_ports_set(first: Controls, second: Controls) -> None:
    context, before = device(), NO_CONTROLS
    for after in (first, second, second):
        apply_controls(context, before, after, 0)
        assert disabled_ports(context) == after.disabled
        assert context.endpoint.up_ports == 0b11 & ~after.disabled
        before = after
    assert denying_qps(context, PEER, 0) == 0


def test_a_lost_device_obeys_nobody() -> None:
    context = device()
    context.controller.is_lost = True
    with pytest.raises(MrcError):
        apply_controls(context, NO_CONTROLS, Controls(disabled=1), 0)
