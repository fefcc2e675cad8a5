"""The bytes of a write test: made alike at both ends, and compared to the last."""

from __future__ import annotations

from dataclasses import replace

import pytest

from workloads.content import Checked, Content

CONTENT = Content(seed=1, connection=2, writer=3, size=64, slots=4)


def written(content: Content, posted: int, room: int | None = None) -> bytearray:
    """A target after ``posted`` messages, placed one by one through the source."""
    source = bytearray(content.size * content.slots)
    target = bytearray(room or len(source))
    content.fill(memoryview(source))
    for number in range(posted):
        offset = content.stamp(memoryview(source), number)
        assert offset == number % content.slots * content.size
        target[offset : offset + content.size] = source[offset : offset + content.size]
    return target


@pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 64])
@pytest.mark.parametrize("posted", [0, 1, 3, 4, 5, 11])
def test_what_was_written_is_right(size: int, posted: int) -> None:
    content = replace(CONTENT, size=size)
    found = content.check(memoryview(written(content, posted)), posted)
    assert found == Checked(min(4, posted) * size, 0, None)


def test_slots_and_both_ends_differ_in_what_they_hold() -> None:
    messages = [CONTENT.message(number) for number in range(4)]
    others = [
        replace(CONTENT, seed=2), replace(CONTENT, connection=1), replace(CONTENT, writer=2),
    ]  # fmt: skip
    bodies = {message[8:] for message in messages} | {other.message(0)[8:] for other in others}
    assert len(bodies) == 7
    assert [message[:8] for message in messages] == [n.to_bytes(8, "big") for n in range(1, 5)]
    # The second time round only the number is another.
    assert CONTENT.message(4)[8:] == messages[0][8:]
    assert CONTENT.message(4)[7] == 5


def test_one_wrong_byte_is_found_wherever_it_is() -> None:
    for offset in range(256):
        target = written(CONTENT, 6)
        target[offset] ^= 0x40
        found = CONTENT.check(memoryview(target), 6)
        slot = offset // 64
        assert (found.checked_bytes, found.wrong_bytes) == (256, 1)
        assert found.first_wrong is not None
        assert found.first_wrong["slot"] == slot
        assert found.first_wrong["message"] == [4, 5, 2, 3][slot]
        assert found.first_wrong["offset"] == offset % 64
        assert found.first_wrong["expected"] ^ 0x40 == found.first_wrong["found"]


def test_an_older_or_a_newer_message_in_a_slot_is_wrong() -> None:
    target = written(CONTENT, 6)
    for posted in (2, 10):
        assert CONTENT.check(memoryview(target), posted).wrong_bytes > 0


def test_a_slot_no_message_was_for_must_be_zero() -> None:
    target = written(CONTENT, 2)
    target[200] = 1
    found = CONTENT.check(memoryview(target), 2)
    assert (found.checked_bytes, found.wrong_bytes) == (128, 1)
    assert found.first_wrong == {
        "connection": 2, "message": None, "slot": 3, "offset": 8, "expected": 0, "found": 1,
    }  # fmt: skip


def test_bytes_behind_the_last_slot_must_be_zero() -> None:
    target = written(CONTENT, 4, room=260)
    assert CONTENT.check(memoryview(target), 4) == Checked(256)
    target[259] = 1
    assert CONTENT.check(memoryview(target), 4).wrong_bytes == 1


def test_findings_add_up_and_the_first_stays_first() -> None:
    total = Checked(10) + Checked(5, 2, {"slot": 1}) + Checked(5, 1, {"slot": 2})
    assert total.to_params() == {
        "checked_bytes": 20, "wrong_bytes": 3, "first_wrong": {"slot": 1},
    }  # fmt: skip
