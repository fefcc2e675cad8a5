"""The code points, and the tables the engine asks instead of comparing one by one."""

from __future__ import annotations

import pytest

from testbed.transport.mrc.wire import codes
from testbed.transport.mrc.wire.codes import Opcode

# opcode: is write, is first, is final, has immediate (facts sheet 3.1)
TABLE = {
    0xC6: (True, True, False, False),
    0xC7: (True, False, False, False),
    0xC8: (True, False, True, False),
    0xC9: (True, False, True, True),
    0xCA: (True, True, True, False),
    0xCB: (True, True, True, True),
    0xD1: (False,) * 4,
    0xD8: (False,) * 4,
    0xD9: (False,) * 4,
    0xDC: (False,) * 4,
    0xDD: (False,) * 4,
    0xDE: (False,) * 4,
}
SETS = (
    codes.WRITE_OPCODES, codes.FIRST_OPCODES, codes.FINAL_OPCODES, codes.IMMEDIATE_OPCODES
)  # fmt: skip


@pytest.mark.parametrize(("opcode", "expected"), TABLE.items(), ids=str)
def test_what_each_opcode_is(opcode: int, expected: tuple[bool, ...]) -> None:
    assert tuple(opcode in members for members in SETS) == expected
    assert tuple(Opcode(opcode) in members for members in SETS) == expected


def test_opcodes_are_those_of_the_table_in_the_top_three_bits_110() -> None:
    assert {int(opcode) for opcode in Opcode} == set(TABLE)
    assert {opcode >> 5 for opcode in Opcode} == {0b110}


def test_numbers_of_the_facts_sheet() -> None:
    assert [int(reason) for reason in codes.NackReason] == [1, 2, 6, 7, 10, 11, 25]
    assert [int(mark) for mark in codes.PathMark] == [0, 1, 2]
    assert [int(op) for op in codes.EndpointOp] == [0, 1]
    assert [int(code) for code in codes.NakCode] == [0x61, 0x62, 0x63]
    assert codes.ACK_SYNDROME & codes.SYNDROME_KIND_MASK == codes.ACK_KIND
    assert {code & codes.SYNDROME_KIND_MASK for code in codes.NakCode} == {codes.NAK_KIND}
