"""From the bits a controller counts to the EV a packet carries: expansion by fields (7.4).

A controller need not write out a whole EV. A field has constant bits (``init_val``) and
variable ones (``mask``); the EV in the API is the string of the variable bits only, from
its most significant end. Expansion puts each bit into its place:

    format     32 bits              16 bits
    fields     fcbbbbbb, mask 0     2200, mask 00ff
    EV bits                                0000 0011
    result     fcbb:bbbb            2203
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from testbed.transport.mrc.ctl.values import EV_VALUE_BITS, EV_VALUE_BYTES, ApiEv
from testbed.transport.mrc.errors import Errno, MrcError

MAX_FIELD_BITS = 32


@dataclass(frozen=True, slots=True)
class EvField:
    """One field of an EV profile.

    ``width`` in bits, 1..32; ``init_val`` its bits before any EV bit is placed; ``mask``
    the places that take EV bits. ``min_val`` and ``max_val`` bound what generation puts
    into these places, counted as a number of as many bits as the mask has; a listed EV
    may hold any. A constant field has mask, min_val and max_val 0.
    """

    width: int
    init_val: int = 0
    min_val: int = 0
    max_val: int = 0
    mask: int = 0

    @property
    def variable_bits(self) -> int:
        """How many bits of the EV this field takes."""
        return self.mask.bit_count()


# The EV of this fabric (topologies.ev) as a STEV format: plane, uplink, zero.
FABRIC_FORMAT = (8, 8, 16)


def fabric_fields(planes: int, uplinks: int) -> tuple[EvField, ...]:
    """Fields over FABRIC_FORMAT: an EV in the API is then the EV on the wire, left-aligned."""
    return (
        EvField(8, max_val=planes - 1, mask=0xFF),
        EvField(8, max_val=uplinks - 1, mask=0xFF),
        EvField(16),
    )


def check_fields(fields: Sequence[EvField]) -> None:
    """Raises EINVAL where a field contradicts itself, whatever the format."""
    for index, field in enumerate(fields):
        fault = _fault(field)
        if fault:
            raise MrcError(Errno.EINVAL, f"field {index} of the EV profile {fault}")


def check_against(widths: Sequence[int], fields: Sequence[EvField]) -> None:
    """Raises E2BIG or EINVAL where the fields do not fit a format with these widths."""
    if len(fields) > len(widths):
        raise MrcError(
            Errno.E2BIG,
            f"the EV profile has {len(fields)} fields, its format {len(widths)}: drop some",
        )
    total = sum(field.width for field in fields)
    if total > sum(widths):
        raise MrcError(
            Errno.E2BIG,
            f"the fields have {total} bits, the format {sum(widths)}: make them narrower",
        )
    for index, (width, field) in enumerate(zip(widths, fields, strict=False)):
        if (field.init_val | field.mask) >> width:
            raise MrcError(
                Errno.EINVAL,
                f"field {index} sets bits beyond the {width} of its format field: "
                "keep init_val and mask inside",
            )


def variable_bits(fields: Sequence[EvField]) -> int:
    """How many bits an EV has under these fields."""
    return sum(field.variable_bits for field in fields)


def expand(widths: Sequence[int], fields: Sequence[EvField], value: bytes) -> bytes:
    """The 32 bytes that go on the wire for the EV ``value``.

    The fields must fit the format (``check_fields``, ``check_against``); format fields
    without one of the profile's stay 0. Raises EINVAL where the value has not 32 bytes, or
    a bit beyond those the masks take is set.
    """
    if len(value) != EV_VALUE_BYTES:
        raise MrcError(Errno.EINVAL, f"an EV of {len(value)} bytes is none: give {EV_VALUE_BYTES}")
    bits, left = int.from_bytes(value, "big"), EV_VALUE_BITS
    result = 0
    for width, field in zip(widths, fields, strict=False):
        left -= field.variable_bits
        result = result << width | place(field, bits >> left & (1 << field.variable_bits) - 1)
    if bits & (1 << left) - 1:
        raise MrcError(
            Errno.EINVAL,
            f"EV 0x{value.hex()} has bits set beyond the {EV_VALUE_BITS - left} its fields take: "
            "clear them",
        )
    return (result << EV_VALUE_BITS - sum(widths[: len(fields)])).to_bytes(EV_VALUE_BYTES, "big")


def place(field: EvField, bits: int) -> int:
    """The field with ``bits``, a number of as many bits as its mask has, in its places."""
    result = field.init_val & ~field.mask
    left = field.variable_bits
    for position in range(field.width - 1, -1, -1):
        if field.mask >> position & 1:
            left -= 1
            result |= (bits >> left & 1) << position
    return result


def combinations(fields: Sequence[EvField]) -> int:
    """How many EVs the fields can generate."""
    return prod(field.max_val - field.min_val + 1 for field in fields)


def generate(fields: Sequence[EvField], count: int, ports: Sequence[int]) -> list[ApiEv]:
    """The first ``count`` EVs of the fields, spread equally over ``ports`` (from 1).

    The first field runs fastest and ports take turns with it, so fields that begin with
    the plane put every EV on the port of its plane. Raises EINVAL where the fields have
    fewer combinations than ``count``.
    """
    if count > combinations(fields):
        raise MrcError(
            Errno.EINVAL,
            f"the fields make {combinations(fields)} EVs and {count} are wanted: "
            "lower the count or widen a field",
        )
    return [
        ApiEv(_generated_value(fields, index), ports[index % len(ports)]) for index in range(count)
    ]


def _generated_value(fields: Sequence[EvField], index: int) -> bytes:
    """The variable bits of combination ``index``, left-aligned in 32 bytes."""
    bits, left = 0, EV_VALUE_BITS
    for field in fields:
        index, step = divmod(index, field.max_val - field.min_val + 1)
        left -= field.variable_bits
        bits |= (field.min_val + step) << left
    return bits.to_bytes(EV_VALUE_BYTES, "big")


def _fault(field: EvField) -> str:
    """What is wrong with a field by itself, with the remedy; "" where nothing is."""
    if not 1 <= field.width <= MAX_FIELD_BITS:
        return f"is {field.width} bits wide: use 1 to {MAX_FIELD_BITS}"
    if not 0 <= field.init_val < 1 << field.width:
        return f"has init_val {field.init_val:#x}: it must fit {field.width} bits"
    if not 0 <= field.mask < 1 << field.width:
        return f"has mask {field.mask:#x}: it must fit {field.width} bits"
    if not 0 <= field.min_val <= field.max_val:
        return f"runs from {field.min_val} to {field.max_val}: give 0 <= min_val <= max_val"
    if field.max_val >> field.variable_bits:
        return f"has max_val {field.max_val}: its mask takes {field.variable_bits} bits"
    return ""
