"""Whichever library computes it, the CRC is Ethernet's."""

from __future__ import annotations

import sys
import zlib
from importlib import reload
from random import Random

import pytest

from testbed.transport.mrc.wire import crc


def test_it_is_zlibs_also_in_pieces_and_over_views() -> None:
    data = Random(1).randbytes(5000)
    for cut in (0, 1, 63, 4096, 5000):
        start = crc.crc32(data[:cut])
        assert crc.crc32(memoryview(data)[cut:], start) == zlib.crc32(data)


def test_without_zlib_ng_the_interpreters_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zlib_ng.zlib_ng", None)
    try:
        assert reload(crc).CRC_SOURCE == "zlib"
        assert crc.crc32 is zlib.crc32
    finally:
        monkeypatch.undo()
        reload(crc)
