"""Attributes of a device: numbers of the header, and what is refused."""

from __future__ import annotations

import pytest

from testbed.transport.mrc.ctl.attributes import (
    ALL_CAPABILITIES,
    API_VERSION,
    DeviceAttributes,
    EvMode,
    port_mask,
)
from testbed.transport.mrc.ctl.profile import Capability


def test_numbers_are_the_headers() -> None:
    assert API_VERSION == 0x01000001
    assert [mode.value for mode in EvMode] == [1, 2, 4]
    assert [bit.value for bit in Capability] == [1, 2, 4, 8, 16, 32]


def test_ports_count_from_one() -> None:
    assert port_mask(8) == 0x1FE
    assert DeviceAttributes(port_mask(3)).ports() == (1, 2, 3)
    assert DeviceAttributes(0b1010).ports() == (1, 3)
    assert DeviceAttributes(port_mask(1)).cc_algorithms == ("uet-1.0-nscc",)


@pytest.mark.parametrize("mask", [0, 1, 3, -2])
def test_a_port_mask_needs_ports_from_one(mask: int) -> None:
    with pytest.raises(ValueError, match="port mask"):
        DeviceAttributes(mask)


def test_what_is_not_modelled_is_refused() -> None:
    with pytest.raises(ValueError, match="alignment"):
        DeviceAttributes(2, ev_count_align=0)
    with pytest.raises(ValueError, match="contiguous"):
        DeviceAttributes(2, capabilities=ALL_CAPABILITIES | Capability.EV_CONTIGUOUS_ONLY)
