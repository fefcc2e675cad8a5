"""The queue of answers: ports, order, late writing, bounds."""

from __future__ import annotations

from testbed.transport.mrc.control import _LIMIT, ControlQueue


def build(argument: object, now_ns: int) -> bytes | None:
    return None if argument is None else f"{argument} {now_ns}".encode()


def test_each_port_is_a_queue_and_the_lowest_free_one_goes_first() -> None:
    queue = ControlQueue(3)
    for port, name in [(2, "a"), (1, "b"), (2, "c")]:
        assert queue.push(port, build, name)
    assert queue.waiting == 0b110
    assert queue.pop(0b001, 5) is None
    assert queue.pop(0b100, 5) == (2, b"a 5")
    assert queue.pop(0b111, 6) == (1, b"b 6")  # written when it leaves
    assert queue.waiting == 0b100
    assert queue.pop(0b111, 7) == (2, b"c 7")
    assert (queue.waiting, queue.pop(0b111, 8)) == (0, None)


def test_what_is_not_due_any_more_is_passed_over() -> None:
    queue = ControlQueue(2)
    for port, name in [(0, None), (0, None), (1, "x"), (0, "y")]:
        queue.push(port, build, name)
    assert queue.pop(0b11, 1) == (0, b"y 1")
    assert queue.pop(0b11, 1) == (1, b"x 1")
    queue.push(0, build, None)
    assert queue.pop(0b11, 1) is None
    assert queue.waiting == 0


def test_a_port_holds_4096_and_says_so_when_it_is_full() -> None:
    queue = ControlQueue(2)
    assert all(queue.push(0, build, i) for i in range(_LIMIT))
    assert not queue.push(0, build, "one more")
    assert queue.dropped == 1
    assert queue.push(1, build, "elsewhere")
    sent = []
    while (found := queue.pop(0b01, 0)) is not None:
        sent.append(found)
    assert len(sent) == _LIMIT == 4096
    assert sent[-1] == (0, b"4095 0")


def test_a_port_that_goes_down_loses_what_waits_and_its_builders_hear_of_it() -> None:
    queue, built = ControlQueue(2), []

    def keep(argument: object, now_ns: int) -> bytes:
        built.append(argument)
        return b""

    for port, name in [(0, "a"), (1, "b"), (1, "c")]:
        queue.push(port, keep, name)
    queue.drop(0b10, 0)
    assert built == ["b", "c"]
    assert (queue.dropped, queue.waiting) == (2, 0b01)
