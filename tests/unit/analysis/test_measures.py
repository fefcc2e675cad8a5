"""The vocabulary of drill checks: names, keys, and nothing where there is nothing."""

from __future__ import annotations

import pytest
from unit.analysis.made import made_run, steady

from testbed.analysis import Window
from testbed.analysis.asked import KEYS
from testbed.analysis.measures import MEASURES, measure
from testbed.errors import UsageError

RUN = made_run(flows=steady(8e9, 0, 100_000))
NEEDS = {"t1_share": {"t1": "1"}, "ev_share": {"ev": "0x0002"}}


@pytest.mark.parametrize("name", MEASURES)
def test_every_measure_says_what_it_is(name: str) -> None:
    found = MEASURES[name]
    assert found.name == name
    assert found.unit in ("bit/s", "B/s", "bytes", "ns", "")
    assert found.about
    assert len(found.about) < 100
    assert set(found.keys) <= KEYS.keys()


@pytest.mark.parametrize("name", MEASURES)
def test_where_nothing_was_recorded_there_is_no_figure(name: str) -> None:
    assert measure(made_run(), name, None, NEEDS.get(name, {})) is None


@pytest.mark.parametrize("name", MEASURES)
def test_every_key_of_a_measure_is_read(name: str) -> None:
    for key in MEASURES[name].keys:
        if key not in ("cause",):
            measure(RUN, name, Window(0, 50_000), {**NEEDS.get(name, {}), key: KEYS[key][1]})


@pytest.mark.parametrize(("name", "where", "told"), [
    ("godput", {}, "did you mean 'goodput'"),
    ("goodput", {"hots": "h0"}, "did you mean 'host'"),
    ("wrong_elements", {"host": "h0"}, "takes none"),
    ("goodput", {"plane": "first"}, "write one like 2"),
    ("ev_sent_packets", {"ev": "7"}, "write one like 0x0203"),
    ("ev_share", {}, "needs an EV"),
])
def test_what_makes_no_sense_is_refused(name: str, where: dict[str, str], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        measure(RUN, name, None, where)


def test_the_window_is_the_whole_run_unless_it_is_said() -> None:
    assert measure(RUN, "goodput") == pytest.approx(8e9)
    assert measure(RUN, "goodput", Window(50_000, 150_000)) == pytest.approx(4e9)
