"""Units, colours and names that all figures share."""

from __future__ import annotations

import matplotlib

from testbed.analysis.figures import style


def test_times_are_us_until_there_are_too_many() -> None:
    assert style.time_unit(1_300_000) == ("us", 1_000)
    assert style.time_unit(500_000_000) == ("ms", 1_000_000)


def test_every_plane_has_a_colour_of_its_own() -> None:
    assert len({style.plane_colour(plane) for plane in range(8)}) == 8


def test_hosts_sort_by_their_number() -> None:
    assert sorted(["h10", "h9", "h1"], key=style.natural) == ["h1", "h9", "h10"]


def test_the_settings_of_others_are_left_alone() -> None:
    before = matplotlib.rcParams["axes.grid"]
    with style.in_house_style():
        assert matplotlib.rcParams["axes.grid"] is True
    assert matplotlib.rcParams["axes.grid"] == before


def test_a_rate_axis_begins_at_nothing() -> None:
    _, (axes,) = style.new_canvas()
    axes.plot([0, 1], [5, 6])
    style.from_zero(axes, "rate")
    assert axes.get_ylim()[0] == 0
    assert axes.get_ylim()[1] > 6
