"""Probe batches: what is sent, what is taken as an answer, when it is over (7.7)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from testbed.transport.mrc.ctl.attributes import DeviceAttributes, port_mask
from testbed.transport.mrc.ctl.ev_format import EvFormatMode
from testbed.transport.mrc.ctl.probes import (
    EngineProbe,
    ProbeBatch,
    ProbeKind,
    ProbeRequest,
    ProbeResponse,
)
from testbed.transport.mrc.ctl.values import UNPOPULATED, ApiEv, api_ev
from testbed.transport.mrc.errors import Errno
from topologies.ev import make_ev

SOURCE, DESTINATION = bytes(15) + b"\1", bytes(15) + b"\2"
REQUEST = ProbeRequest(
    7, SOURCE, DESTINATION, EvFormatMode.STEV, api_ev(make_ev(2, 3), 2), port_mask=0
)
DEVICE = DeviceAttributes(port_mask(4))
UPDATE, PROBE = ProbeKind.PORT_STATUS_UPDATE, ProbeKind.EV_PROBE
Make = Callable[..., Any]


def batch(*requests: ProbeRequest, kind: ProbeKind = PROBE, **arguments: Any) -> ProbeBatch:
    defaults = {"dscp": 46, "timeout_ns": 1000, "started_at_ns": 5000}
    made = ProbeBatch(kind, requests, **(defaults | arguments))
    made.check(DEVICE)
    return made


def test_the_engine_gets_ports_from_zero() -> None:
    update = batch(replace(REQUEST, port_mask=0b10110), kind=UPDATE)
    assert update.requests() == (EngineProbe(7, SOURCE, DESTINATION, 0x02030000, 2, 0b1011),)
    every_port = replace(REQUEST, port_mask=port_mask(32))
    assert batch(every_port, kind=UPDATE).requests()[0].port_mask == 0xFFFFFFFF


def test_answers_come_in_order_of_arrival_and_the_unanswered_are_missing() -> None:
    item = batch(*(replace(REQUEST, req_id=number) for number in (1, 2, 3)))
    assert item.on_response(3, 0, 400, 5400)
    assert item.on_response(1, 3, 900, 5900)
    assert item.outstanding() == {2}
    assert not item.is_done(5999)
    assert item.is_done(6000)
    assert item.result(6000) == (ProbeResponse(3, 1, 400), ProbeResponse(1, 4, 900))
    assert item.responses[0].is_service_time_off is False


def test_done_as_soon_as_all_are_answered() -> None:
    item = batch(REQUEST)
    assert not item.is_done(5001)
    item.on_response(7, 2, 1, 5001)
    assert item.is_done(5001)


def test_strange_doubled_and_late_answers_are_ignored() -> None:
    item = batch(REQUEST, replace(REQUEST, req_id=8))
    assert not item.on_response(9, 0, 1, 5001)
    assert item.on_response(7, 0, 1, 5001)
    assert not item.on_response(7, 0, 1, 5002)
    assert not item.on_response(8, 0, 1, 6000)
    assert item.result(6000) == (ProbeResponse(7, 1, 1),)


def test_result_before_the_end_and_of_nothing(refused: Make) -> None:
    item = batch(REQUEST)
    refused(Errno.EAGAIN, item.result, 5999)
    refused(Errno.ETIMEDOUT, item.result, 6000)


@pytest.mark.parametrize(
    "wrong",
    [
        {"req_id": -1},
        {"req_id": 1 << 16},
        {"source": bytes(4)},
        {"destination": bytes(17)},
        {"ev": UNPOPULATED},
        {"ev": api_ev(0, 4)},
        {"ev": ApiEv(bytes(31), 1)},
        {"ev": ApiEv(bytes(31) + b"\1", 1)},
        {"ev": api_ev(1, 0), "mode": EvFormatMode.UDP},
        {"port_mask": 2},
    ],
)
def test_requests_that_make_no_sense(wrong: dict[str, Any], refused: Make) -> None:
    refused(Errno.EINVAL, batch, replace(REQUEST, **wrong))


@pytest.mark.parametrize("mask", [1, -2, 1 << 33])
def test_masks_that_name_no_ports(mask: int, refused: Make) -> None:
    refused(Errno.EINVAL, batch, replace(REQUEST, port_mask=mask), kind=UPDATE)


def test_batches_that_make_no_sense(refused: Make) -> None:
    refused(Errno.EINVAL, batch)
    refused(Errno.EINVAL, batch, REQUEST, REQUEST)
    refused(Errno.EINVAL, batch, REQUEST, dscp=64)
    refused(Errno.EINVAL, batch, REQUEST, dscp=-1)
    refused(Errno.EINVAL, batch, REQUEST, timeout_ns=0)


@pytest.mark.parametrize(
    "mode", [EvFormatMode.SRV6, EvFormatMode(0), EvFormatMode.STEV | EvFormatMode.UDP]
)
def test_modes_that_are_not_carried(mode: EvFormatMode, refused: Make) -> None:
    refused(Errno.ENOTSUP, batch, replace(REQUEST, mode=mode))


def test_modes_the_device_lacks(refused: Make) -> None:
    only_udp = replace(DEVICE, ev_format_modes=EvFormatMode.UDP)
    refused(Errno.ENOTSUP, batch(REQUEST).check, only_udp)
    udp = replace(REQUEST, mode=EvFormatMode.UDP)
    batch(udp).check(only_udp)
