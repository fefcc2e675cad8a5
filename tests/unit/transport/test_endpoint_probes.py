"""Ids of endpoint requests: unique, shared, forgotten in time."""

from __future__ import annotations

from testbed.transport.mrc.clock import WRAP_NS
from testbed.transport.mrc.endpoint_probes import EndpointProbes


class Log(list):
    def hook(self, name: str):
        return lambda rtt_ns, port, now_ns: self.append((name, rtt_ns, port, now_ns))


def test_an_answer_is_told_once_to_whom_it_is_for() -> None:
    probes, log = EndpointProbes(), Log()
    first, second = (probes.open(key, log.hook(key), 0) for key in "ab")
    assert (first, second) == (0, 1)
    tell = probes.answered(second, 0)
    assert tell is not None
    tell(10, 3, 20)
    assert log == [("b", 10, 3, 20)]
    assert probes.answered(second, 0) is None
    assert probes.answered(999, 0) is None
    assert len(probes) == 1


def test_what_asks_the_same_joins_in_order_but_only_a_young_request() -> None:
    probes, log = EndpointProbes(), Log()
    number = probes.open("ev", log.hook("first"), 100)
    assert not probes.join("ev", log.hook("late"), 101)
    assert not probes.join("other", log.hook("other"), 0)
    assert probes.join("ev", log.hook("second"), 100)
    tell = probes.answered(number, 0)
    assert tell is not None
    tell(1, 2, 3)
    assert log == [("first", 1, 2, 3), ("second", 1, 2, 3)]
    assert not probes.join("ev", log.hook("gone"), 0)


def test_thousands_may_wait_for_one_answer() -> None:
    probes, log = EndpointProbes(), Log()
    number = probes.open("ev", log.hook("x"), 0)
    assert all(probes.join("ev", log.hook("x"), 0) for _ in range(5000))
    tell = probes.answered(number, 0)
    assert tell is not None
    tell(0, 0, 0)
    assert len(log) == 5001


def test_the_newest_request_of_a_key_is_the_one_joined() -> None:
    probes, log = EndpointProbes(), Log()
    old = probes.open("ev", log.hook("old"), 0)
    new = probes.open("ev", log.hook("new"), 500)
    assert probes.answered(old, 0) is not None  # does not unlist the newer one
    assert probes.join("ev", log.hook("joined"), 400)
    tell = probes.answered(new, 0)
    assert tell is not None
    tell(0, 0, 0)
    assert [name for name, *_ in log] == ["new", "joined"]


def test_an_id_is_not_used_again_while_its_answer_may_come() -> None:
    probes = EndpointProbes()
    kept = probes.open("kept", Log().hook(""), 0)
    for _ in range((1 << 16) - 1):
        probes.answered(probes.open("k", Log().hook(""), 0), 0)
    assert probes.open("again", Log().hook(""), 0) == kept + 1


def test_a_request_is_forgotten_when_its_time_stamp_has_wrapped() -> None:
    probes, log = EndpointProbes(), Log()
    number = probes.open("a", log.hook("a"), 1000)
    probes.open("b", log.hook("b"), 1000 + WRAP_NS - 1)
    assert len(probes) == 2
    probes.open("c", log.hook("c"), 1000 + WRAP_NS)
    assert len(probes) == 2
    assert probes.answered(number, 1000 + WRAP_NS) is None


def test_an_answer_after_the_wrap_is_nobodys() -> None:
    probes, log = EndpointProbes(), Log()
    number = probes.open("a", log.hook("a"), 1000)
    assert probes.answered(number, 1000 + WRAP_NS) is None


def test_at_most_4096_wait_and_the_oldest_goes() -> None:
    probes = EndpointProbes()
    numbers = [probes.open(i, Log().hook(""), 0) for i in range(5000)]
    assert len(probes) == 4096
    assert probes.answered(numbers[903], 0) is None
    assert probes.answered(numbers[904], 0) is not None
