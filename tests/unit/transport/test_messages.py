"""Cutting a message into packets (facts sheet 4.3, 3.1)."""

from __future__ import annotations

import pytest

from testbed.transport.mrc.messages import Message
from testbed.transport.mrc.wire.codes import Opcode

F, M, L, LI = (Opcode.WRITE_FIRST, Opcode.WRITE_MIDDLE, Opcode.WRITE_LAST,
               Opcode.WRITE_LAST_WITH_IMM)  # fmt: skip
ONLY, ONLY_IMM = Opcode.WRITE_ONLY, Opcode.WRITE_ONLY_WITH_IMM


def make(length: int, imm: int | None = None) -> Message:
    data = memoryview(bytes(length))
    return Message(7, data, 0x1000, 0x55, imm, is_signaled=True, is_solicited=False)


@pytest.mark.parametrize(
    ("length", "imm", "opcodes"),
    [
        (0, None, [ONLY]),
        (0, 1, [ONLY_IMM]),
        (1, None, [ONLY]),
        (1024, None, [ONLY]),
        (1024, 0, [ONLY_IMM]),  # 0 is an immediate, too
        (1025, None, [F, L]),
        (2048, 9, [F, LI]),
        (4096, None, [F, M, M, L]),
        (4097, 9, [F, M, M, M, LI]),
    ],
)
def test_segmentation_and_opcodes(length: int, imm: int | None, opcodes: list[Opcode]) -> None:
    message = make(length, imm)
    assert message.number(3, 2, 500, 1024) == 500 + len(opcodes)
    assert (message.first_psn, message.last_psn) == (500, 499 + len(opcodes))
    assert (message.msn, message.rqmsn, message.length) == (3, 2, length)
    assert [message.opcode(500 + i) for i in range(len(opcodes))] == opcodes
