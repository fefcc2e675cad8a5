"""CRC-32, the fastest at hand: zlib-ng's carry-less multiplication, else the interpreter's."""

from __future__ import annotations

try:
    from zlib_ng.zlib_ng import crc32

    CRC_SOURCE = "zlib-ng"
except ImportError:  # no wheel for this machine: the same numbers, six times as slow
    from zlib import crc32

    CRC_SOURCE = "zlib"

__all__ = ["CRC_SOURCE", "crc32"]
