"""Cutting into parts and segments; and that the rig finds what is wrong with a schedule."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.workloads.collectives.collectives_rig import Broken, Run, check_match, longest_chain

from workloads.collectives.schedule import (
    Area,
    Expected,
    Receive,
    Schedule,
    Send,
    Span,
    part,
    segments,
)

spans = st.builds(Span, st.integers(0, 50), st.integers(0, 100))


@given(spans, st.integers(1, 40))
@settings(deadline=None, max_examples=60)
def test_parts_make_up_the_whole_and_are_nearly_equal(span: Span, parts: int) -> None:
    cut = [part(span, index, parts) for index in range(parts)]
    assert [e for one in cut for e in range(one.start, one.start + one.count)] == list(
        range(span.start, span.start + span.count))
    assert max(cut, key=lambda one: one.count).count - min(one.count for one in cut) <= 1


@given(spans, st.integers(1, 30))
@settings(deadline=None, max_examples=60)
def test_segments_make_up_the_whole_in_order(span: Span, segment: int) -> None:
    pieces = list(segments(span, segment))
    assert [e for one in pieces for e in range(one.start, one.start + one.count)] == list(
        range(span.start, span.start + span.count))
    assert all(one.count == segment for one in pieces[:-1])
    assert all(1 <= one.count <= segment for one in pieces[-1:])


def test_of_nothing_there_are_no_segments() -> None:
    assert list(segments(Span(7, 0), 3)) == []


# --- the rig: 0 and 2 send to 1, which adds up and sends the sum to 0 ------------------


class Three(NamedTuple):
    """The parts of three ranks, to be spoilt; two elements, of which rank 2 has the second."""

    first: Send = Send(1, 0, 0, Area.INPUT, 0, 1, Area.STAGING, 0)
    second: Send = Send(1, 0, 0, Area.INPUT, 0, 1, Area.STAGING, 1)
    back: Send = Send(0, 0, 0, Area.OUTPUT, 0, 1, Area.OUTPUT, 0, (1,))
    from_first: Receive = Receive(0, 0, 0, 1, Area.INPUT, 0)
    from_second: Receive = Receive(2, 0, 0, 1, Area.OUTPUT, 1, (0,))
    at_last: Receive = Receive(1, 0, 0, 1)

    def schedules(self) -> list[Schedule]:
        return [Schedule((self.first,), (self.at_last,)),
                Schedule((self.back,), (self.from_first, self.from_second)),
                Schedule((self.second,))]

    def run(self) -> None:
        """In twenty orders: Broken if any of them comes to no good."""
        for seed in range(20):
            run = Run(self.schedules(), 2, seed)
            run.check(lambda rank: [Expected(0, 1, (0, 1, 2), 0)] if rank < 2 else [])


def test_what_is_right_runs() -> None:
    Three().run()
    assert longest_chain(Three().schedules()) == 2


SPOILT: list[tuple[str, Callable[[Three], Three]]] = [
    ("reads what is not there", lambda t: Three(back=t.back._replace(after=()))),
    ("result", lambda t: Three(back=t.back._replace(after=(0,)))),
    ("overwrites", lambda t: Three(second=t.second._replace(target_start=0),
                                   from_second=t.from_second._replace(staged=0))),
    ("reads what is not there", lambda t: Three(from_second=t.from_second._replace(after=()))),
    ("result", lambda t: Three(from_second=t.from_second._replace(own=Area.INPUT))),
    ("result", lambda t: Three(second=t.second._replace(start=1))),
    ("lengths differ", lambda t: Three(second=t.second._replace(count=0))),
    ("place", lambda t: Three(second=t.second._replace(target_start=0))),
    ("place", lambda t: Three(second=t.second._replace(target=Area.OUTPUT))),
    ("sent but not received", lambda t: Three(second=t.second._replace(tag=1))),
    ("sent but not received", lambda t: Three(second=t.second._replace(peer=0))),
    ("tag", lambda t: Three(second=t.second._replace(tag=1 << 16),
                            from_second=t.from_second._replace(tag=1 << 16))),
    ("outside", lambda t: Three(second=t.second._replace(target_start=2),
                                from_second=t.from_second._replace(staged=2))),
    ("not complete", lambda t: Three(from_first=t.from_first._replace(after=(1,)))),
]


@pytest.mark.parametrize(("fault", "spoil"), SPOILT)
def test_the_rig_finds_what_is_wrong(fault: str, spoil: Callable[[Three], Three]) -> None:
    with pytest.raises(Broken, match=fault):
        spoil(Three()).run()


def test_the_rig_finds_a_source_that_changes_under_way() -> None:
    # Rank 0 passes on what it has in OUTPUT while rank 1 may already write there.
    def at(source: Area) -> list[Schedule]:
        passed_on = Send(2, 0, 0, source, 0, 1, Area.OUTPUT, 0)
        return [Schedule((passed_on,), (Receive(1, 0, 0, 1),), (Span(0, 1),)),
                Schedule((Send(0, 0, 0, Area.INPUT, 0, 1, Area.OUTPUT, 0),)),
                Schedule((), (Receive(0, 0, 0, 1),))]

    def run(source: Area) -> None:
        for seed in range(20):
            Run(at(source), 1, seed)

    with pytest.raises(Broken):
        run(Area.OUTPUT)


def test_two_messages_of_one_name_are_found() -> None:
    twice = Send(1, 0, 0, Area.INPUT, 0, 1, Area.OUTPUT, 0)
    with pytest.raises(Broken, match="one name"):
        check_match([Schedule((twice, twice)), Schedule((), (Receive(0, 0, 0, 1),) * 2)], 1)
