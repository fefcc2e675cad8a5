"""testbed/agent/config.py, params.py and the parameters of `probe`: every fault is named."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.agent.config import AgentConfig, PortConfig
from testbed.agent.params import Params, ParamsError
from testbed.agent.prober import ProbePath
from testbed.agent.probing import read_request

CONFIG = AgentConfig(
    host=3, address=bytes(15) + b"\x01", link_delay_ns=1000, tdf=5000,
    ports=tuple(
        PortConfig(plane, f"h3-eth{plane}", bytes([2, 0, 0, 0, 0, plane]),
                   bytes([2, 0, 0, 0, 1, plane]), 1000 + plane)
        for plane in (0, 1)
    ),
)  # fmt: skip


def probe(**changes: Any) -> dict[str, Any]:
    path = {"ev": 1 << 16, "plane": 1, "address": "fcbb:bbbb:1::", "dst": "2001:db8::2",
            "reverse": "fcbb:bbbb:2::"}
    return {"paths": [path], "timeout_ms": 100} | changes


def path(**changes: Any) -> dict[str, Any]:
    return probe(paths=[probe()["paths"][0] | changes])


def test_config_survives_the_wire() -> None:
    assert AgentConfig.from_params(CONFIG.to_params()) == CONFIG


@pytest.mark.parametrize(("change", "message"), [
    ({"tdf": 0}, r"configure\.tdf is 0: give an integer from 1 to"),
    ({"tdf": True}, r"configure\.tdf is True"),
    ({"tdf": 1.5}, r"configure\.tdf is 1\.5"),
    ({"address": "10.0.0.1"}, r"configure\.address is '10\.0\.0\.1': give an IPv6"),
    ({"address": "::1\0"}, r"give an IPv6"),
    ({"address": 7}, r"give an IPv6"),
    ({"ports": []}, r"configure\.ports is \[\]: give a list of 1 to 8"),
    ({"ports": 5}, r"configure\.ports is 5"),
    ({"ports": ["x"]}, r"configure\.ports\[0\] is 'x': give an object"),
    ({"colour": 1}, r"configure has unknown key 'colour'"),
])  # fmt: skip
def test_faults_of_configure(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        AgentConfig.from_params(CONFIG.to_params() | change)


@pytest.mark.parametrize(("change", "message"), [
    ({"mac": "02:00"}, r"ports\[1\]\.mac is '02:00': give a MAC"),
    ({"mac": "020000000001"}, "give a MAC"),
    ({"mac": None}, "give a MAC"),
    ({"interface": ""}, r"ports\[1\]\.interface is ''"),
    ({"plane": 0}, "names a plane twice"),
    ({"plane": 8}, "an integer from 0 to 7"),
    ({"slot": "1000"}, r"ports\[1\]\.slot is '1000'"),
])
def test_faults_of_a_port(change: dict[str, Any], message: str) -> None:
    params = CONFIG.to_params()
    params["ports"][1] |= change
    with pytest.raises(ParamsError, match=message):
        AgentConfig.from_params(params)


def test_missing_key_is_named() -> None:
    params = CONFIG.to_params()
    del params["tdf"]
    with pytest.raises(ParamsError, match="configure lacks 'tdf'"):
        AgentConfig.from_params(params)


def test_probe_defaults() -> None:
    request = read_request(probe(), CONFIG)
    assert (request.count, request.timeout_ns, request.interval_ns) == (1, 100_000_000, 0)
    assert (request.frame_bytes, request.dscp, request.ecn) == (134, 46, 0)


def test_self_path_needs_neither_destination_nor_way_back() -> None:
    entry = {"ev": 0, "plane": 0, "address": "fcbb:bbbb:1::", "self": True}
    assert read_request(probe(paths=[entry]), CONFIG).paths[0] == ProbePath(
        0, 0, bytes.fromhex("fcbbbbbb0001") + bytes(10), CONFIG.address, bytes(16), True
    )


@pytest.mark.parametrize(("params", "message"), [
    (probe(timeout_ms=0), r"probe\.timeout_ms is 0"),
    (probe(size=133), r"probe\.size is 133: give an integer from 134 to 9014"),
    (probe(dscp=64), r"probe\.dscp is 64"),
    (probe(speed=1), r"unknown key 'speed'"),
    (path(plane=4), "none of this host's"),
    (path(ev=1 << 32), r"probe\.paths\[0\]\.ev"),
    (path(self=1), r"paths\[0\]\.self is 1: give true or false"),
    (path(self=True), r"paths\[0\] has unknown key 'dst'"),
    (path(reverse="x"), r"paths\[0\]\.reverse is 'x'"),
])  # fmt: skip
def test_faults_of_probe(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        read_request(params, CONFIG)


def test_long_values_are_shortened_in_errors() -> None:
    with pytest.raises(ParamsError) as refused:
        Params({"x": "y" * 10_000}, "here").integer("x", 0, 1)
    assert len(str(refused.value)) < 150
