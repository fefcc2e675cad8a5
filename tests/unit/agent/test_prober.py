"""testbed/agent/prober.py on a hand-advanced clock: exact counts, exact deadlines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.agent.prober import (
    Answer,
    Outgoing,
    PathResult,
    ProbePath,
    Prober,
    ProbeRequest,
)
from testbed.errors import TestbedError

WALL = 1_700_000_000_000_000_000
MS = 1_000_000
PEER = bytes(15) + b"\x02"


def path(number: int) -> ProbePath:
    return ProbePath(number << 16, number % 4, bytes(16), PEER)


def request(paths: int = 1, count: int = 1, timeout_ns: int = 100 * MS,
            interval_ns: int = 0) -> ProbeRequest:
    return ProbeRequest(
        tuple(map(path, range(paths))), count, timeout_ns, interval_ns, 134, 46
    )


class Bench:
    """A prober with its clock: `send` lets everything out that may go."""

    def __init__(self, max_in_flight: int = 64) -> None:
        self.prober = Prober(max_in_flight)
        self.now_ns = 0
        self.sent: list[Outgoing] = []

    def start(self, request: ProbeRequest, key: int = 1) -> None:
        self.prober.start(key, request, self.now_ns)

    def send(self) -> list[Outgoing]:
        batch = []
        while (probe := self.prober.next_probe(self.now_ns)) is not None:
            self.prober.on_probe_sent(probe.id, WALL + self.now_ns)
            batch.append(probe)
        self.sent += batch
        return batch

    def at(self, now_ns: int) -> None:
        self.now_ns = now_ns
        self.prober.on_deadline(now_ns)

    def answer(self, probe: Outgoing, sent_at_ns: int = 0, **changes: object) -> bool:
        facts = {
            "id": probe.id, "sent_at_ns": WALL + sent_at_ns,
            "received_at_ns": WALL + self.now_ns, "source": PEER, "ev": probe.path.ev,
            "plane": probe.path.plane, "hops_out": 3, "hops_back": 3, "met_ce": False,
        } | changes
        return self.prober.on_answer(Answer(**facts))  # type: ignore[arg-type]

    def finished(self) -> dict[int, list[PathResult]]:
        return dict(self.prober.take_finished())


def test_one_probe_there_and_back() -> None:
    bench = Bench()
    bench.start(request())
    assert bench.prober.next_deadline_ns() == 0
    (probe,) = bench.send()
    assert bench.finished() == {}
    assert bench.prober.next_deadline_ns() == 100 * MS
    bench.at(7 * MS)
    assert bench.answer(probe)
    (result,) = bench.finished()[1]
    assert (result.sent, result.received, result.links) == (1, 1, 8)
    assert result.rtt_wall_ns == [7 * MS]
    assert bench.prober.next_deadline_ns() is None
    assert bench.finished() == {}


def test_self_probe_counts_its_way_once() -> None:
    bench = Bench()
    bench.start(request())
    (probe,) = bench.send()
    bench.answer(probe, hops_out=3, hops_back=None, met_ce=True)
    (result,) = bench.finished()[1]
    assert (result.links, result.marked) == (4, 1)


def test_lost_exactly_at_its_deadline_and_late_after_it() -> None:
    bench = Bench()
    bench.start(request(count=2, interval_ns=500 * MS))
    (probe,) = bench.send()
    bench.at(100 * MS - 1)
    assert bench.prober.next_deadline_ns() == 100 * MS
    bench.at(100 * MS)
    assert not bench.answer(probe)
    assert bench.prober.next_deadline_ns() == 500 * MS
    bench.at(500 * MS)
    (second,) = bench.send()
    bench.answer(second, sent_at_ns=500 * MS)
    (result,) = bench.finished()[1]
    assert (result.sent, result.received, result.late) == (2, 1, 1)
    assert bench.prober.counters.late == 1


def test_duplicates_are_counted_once_each_and_change_nothing() -> None:
    bench = Bench()
    bench.start(request(count=2, interval_ns=500 * MS))
    (probe,) = bench.send()
    assert [bench.answer(probe) for _ in range(3)] == [True, False, False]
    bench.at(500 * MS)
    bench.send()
    bench.at(600 * MS)
    (result,) = bench.finished()[1]
    assert (result.received, result.duplicates, len(result.rtt_wall_ns)) == (1, 2, 1)


def test_a_late_answer_that_comes_twice_is_a_duplicate() -> None:
    bench = Bench()
    bench.start(request())
    (probe,) = bench.send()
    bench.at(100 * MS)
    bench.answer(probe)
    bench.answer(probe)
    assert (bench.prober.counters.late, bench.prober.counters.duplicates) == (1, 1)


@pytest.mark.parametrize("lie", [
    {"sent_at_ns": WALL + 1}, {"source": bytes(16)}, {"ev": 1 << 16}, {"plane": 1},
])
def test_answer_that_does_not_fit_its_probe_is_not_credited(lie: dict[str, object]) -> None:
    bench = Bench()
    bench.start(request())
    (probe,) = bench.send()
    assert not bench.answer(probe, **lie)
    assert bench.prober.counters.mismatched == 1
    assert bench.answer(probe)


def test_answer_to_nothing_is_unknown() -> None:
    bench = Bench()
    assert not bench.answer(Outgoing(99, path(0), request()))
    assert bench.prober.counters.unknown == 1


def test_refused_probe_is_not_waited_for() -> None:
    bench = Bench()
    bench.start(request(paths=2))
    first = bench.prober.next_probe(0)
    assert first is not None
    bench.prober.on_probe_refused(first.id)
    (second,) = bench.send()
    bench.answer(second)
    down, up = bench.finished()[1]
    assert (down.sent, down.refused, up.sent, up.refused) == (0, 1, 1, 0)


def test_never_more_in_flight_than_allowed() -> None:
    bench = Bench(max_in_flight=4)
    bench.start(request(paths=10))
    assert len(bench.send()) == 4
    assert bench.send() == []
    assert bench.prober.next_deadline_ns() == 100 * MS  # not "now": that would spin
    bench.answer(bench.sent[0])
    assert len(bench.send()) == 1
    bench.at(100 * MS)
    assert len(bench.send()) == 4


def test_rounds_keep_their_interval_and_order() -> None:
    bench = Bench()
    bench.start(request(paths=3, count=3, interval_ns=10 * MS))
    assert [p.path.ev >> 16 for p in bench.send()] == [0, 1, 2]
    assert bench.prober.next_deadline_ns() == 10 * MS
    bench.at(10 * MS - 1)
    assert bench.send() == []
    bench.at(10 * MS)
    assert [p.path.ev >> 16 for p in bench.send()] == [0, 1, 2]
    bench.at(35 * MS)
    assert len(bench.send()) == 3
    assert bench.prober.next_probe(bench.now_ns) is None


def test_runs_take_turns() -> None:
    bench = Bench(max_in_flight=6)
    bench.start(request(paths=100), key=1)
    bench.start(request(paths=2), key=2)
    order = bench.send()
    assert [p.path.ev >> 16 for p in order] == [0, 0, 1, 1, 2, 3]
    for probe in order:
        bench.answer(probe)
    assert list(bench.finished()) == [2]


def test_waiting_run_does_not_hold_up_another() -> None:
    bench = Bench()
    bench.start(request(count=2, interval_ns=500 * MS), key=1)
    bench.send()
    bench.start(request(paths=3), key=2)
    assert len(bench.send()) == 3


def test_runs_time_out_by_their_own_timeouts() -> None:
    bench = Bench()
    bench.start(request(timeout_ns=300 * MS), key=1)
    bench.start(request(timeout_ns=100 * MS), key=2)
    bench.send()
    bench.at(100 * MS)
    assert list(bench.finished()) == [2]
    bench.at(300 * MS)
    assert list(bench.finished()) == [1]


def test_key_in_use_is_refused_and_changes_nothing() -> None:
    bench = Bench()
    bench.start(request())
    with pytest.raises(TestbedError, match="probe run 1"):
        bench.start(request(paths=5))
    assert len(bench.send()) == 1


def test_memory_of_settled_probes_is_bounded() -> None:
    bench = Bench(max_in_flight=100_000)
    bench.start(request(paths=5000))
    first, *_, last = bench.send()
    bench.at(100 * MS)
    bench.answer(first)
    bench.answer(last)
    assert (bench.prober.counters.unknown, bench.prober.counters.late) == (1, 1)


@given(
    paths=st.integers(1, 6), count=st.integers(1, 4), window=st.integers(1, 8),
    fates=st.lists(st.sampled_from(["answer", "lose", "refuse", "double"]), min_size=24,
                   max_size=24),
)
def test_every_probe_is_accounted_for(
    paths: int, count: int, window: int, fates: list[str]
) -> None:
    """sent + refused = asked; received + lost = sent, whatever happens to each probe."""
    bench = Bench(max_in_flight=window)
    bench.start(request(paths=paths, count=count, interval_ns=3 * MS))
    handed = 0
    while not (finished := bench.finished()):
        while (probe := bench.prober.next_probe(bench.now_ns)) is not None:
            fate = fates[handed]
            handed += 1
            if fate == "refuse":
                bench.prober.on_probe_refused(probe.id)
                continue
            bench.prober.on_probe_sent(probe.id, WALL + bench.now_ns)
            for _ in range({"lose": 0, "answer": 1, "double": 2}[fate]):
                bench.answer(probe, sent_at_ns=bench.now_ns)
        deadline = bench.prober.next_deadline_ns()
        if deadline is not None:
            bench.at(max(bench.now_ns, deadline))
    results = finished[1]
    used = fates[:handed]
    assert handed == paths * count
    assert all(r.sent + r.refused == count for r in results)
    assert sum(r.refused for r in results) == used.count("refuse")
    assert sum(r.received for r in results) == used.count("answer") + used.count("double")
    assert sum(r.duplicates for r in results) == used.count("double")
