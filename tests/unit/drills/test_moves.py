"""What entries do: flaps, staircases, glitches, reboots, flaps at random."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.drills.files import TRAIN, faults_of, timed

from testbed.drills.drill import Drill
from testbed.faults.actions import EvDeny, EvLoss, Loss, PortDisable, fault_id
from testbed.faults.script import After, At, require_sense

RTT_NS = 9404


def done(drill: Drill) -> list[tuple[float, list[str], list[str]]]:
    """(base RTTs, injects, heals) of every step with a time of its own."""
    return [(round(step.moment.at_ns / RTT_NS, 3), [fault_id(a) for a in step.injects],
             list(step.heals)) for step in drill.script if isinstance(step.moment, At)]


def test_a_plain_fault_heals_by_itself_where_it_says_for_how_long() -> None:
    drill = timed("fail: [nic:h0:p0, nic:h1:p0], at: 10rtt, for: 5rtt")
    ids = ["nic:h0:p0#down", "nic:h1:p0#down"]
    assert done(drill) == [(10, ids, []), (15, [], ids[::-1])]
    assert [step.name for step in drill.script] == ["fail", "fail-end"]


def test_every_kind_of_fault_can_be_named() -> None:
    drill = timed("name: a, loss: \"ev:h0:h2:0x0001\", ratio: 20%, at: 1rtt",
                  "name: b, loss: \"switch:p1-t1-0\", ratio: 0.5, at: 1rtt",
                  "blackhole: switch:p0-t1-0, at: 2rtt", "pause: host:h1, at: 3rtt",
                  "deny: \"ev:h0:h2:0x0100\", at: 4rtt", "disable: nic:h3:p1, at: 5rtt")
    actions = [action for step in drill.script for action in step.injects]
    assert isinstance(actions[0], EvLoss)
    assert actions[0].ratio == 0.2
    assert isinstance(actions[1], Loss)
    assert actions[1].ratio == 0.5
    assert isinstance(actions[4], EvDeny)
    assert isinstance(actions[5], PortDisable)


def test_a_flap_goes_down_and_up_so_often() -> None:
    drill = timed("flap: nic:h0:p1, at: 10rtt, period: 10rtt, duty: 20%, count: 3")
    name = ["nic:h0:p1#down"]
    assert done(drill) == [(10, name, []), (12, [], name), (20, name, []), (22, [], name),
                           (30, name, []), (32, [], name)]
    assert [step.name for step in drill.script] == [
        "flap", "flap-2", "flap-3", "flap-4", "flap-5", "flap-end"]


def test_a_staircase_goes_down_one_by_one_and_up_in_the_same_order() -> None:
    drill = timed("staircase: [nic:h0:p0, nic:h0:p1], at: 10rtt, step: 5rtt, up: true")
    a, b = ["nic:h0:p0#down"], ["nic:h0:p1#down"]
    assert done(drill) == [(10, a, []), (15, b, []), (20, [], a), (25, [], b)]
    assert len(timed("staircase: [nic:h0:p0, nic:h0:p1], at: 1rtt, step: 5rtt").script) == 2


def test_a_glitch_takes_all_its_links_at_once() -> None:
    drill = timed("glitch: [nic:h0:p1, nic:h1:p1], at: 10rtt, flaps: 2, down: 1rtt, up: 2rtt")
    ids = ["nic:h0:p1#down", "nic:h1:p1#down"]
    assert done(drill) == [(10, ids, []), (11, [], ids[::-1]), (13, ids, []), (14, [], ids[::-1])]


def test_a_reboot_ends_what_its_switch_suffers_from() -> None:
    drill = timed("blackhole: switch:p0-t1-0, at: 10rtt",
                  "reboot: switch:p0-t1-0, at: 20rtt, down: 5rtt")
    assert done(drill)[1:] == [
        (20, ["switch:p0-t1-0#crash"], ["switch:p0-t1-0#blackhole"]),
        (25, [], ["switch:p0-t1-0#crash"])]


@given(seed=st.integers(0, 10**6), count=st.integers(1, 30), length=st.integers(1, 20))
def test_flaps_at_random_make_sense_and_repeat_from_their_seed(seed: int, count: int,
                                                               length: int) -> None:
    entry = (f"random: uplinks, after: first, every: 1rtt, for: {length}rtt, count: {count}, "
             f"seed: {seed}")
    first = "name: first, pause: host:h1, at: 1rtt"
    drill = timed(first, entry)
    require_sense(drill.script)
    assert drill.script == timed(first, entry).script
    injected = [fault_id(a) for step in drill.script[1:] for a in step.injects]
    healed = [name for step in drill.script for name in step.heals]
    assert sorted(injected) == sorted(healed)
    assert 1 <= len(injected) <= count
    assert all(name.startswith("link:") for name in injected)


def test_another_seed_draws_another_storm() -> None:
    storms = {timed(f"random: nics, at: 1rtt, every: 1rtt, for: 1rtt, count: 9, seed: {seed}"
                    ).script for seed in range(5)}
    assert len(storms) == 5


def test_a_series_follows_whatever_it_begins_with() -> None:
    drill = timed("flap: nic:h0:p1, when: all ranks past 20 %, period: 4rtt, count: 1",
                  workload=TRAIN)
    assert drill.script[1].moment == After("flap", 2 * RTT_NS)


@pytest.mark.parametrize(("entry", "complaint"), [
    ("fail: nic:h9:p0, at: 1rtt", "host h9 does not exist"),
    ("fail: nick:h0:p0, at: 1rtt", "did you mean 'nic'"),
    ("fail: [nic:h0:p0, nic:h0:p0], at: 1rtt", "is there twice"),
    ("loss: nic:h0:p0, at: 1rtt", "needs a ratio"),
    ("crash: nic:h0:p0, at: 1rtt", "cannot suffer 'crash'"),
    ("blackhole: switch:p0-t1-0, ratio: 5%, at: 1rtt", "takes no ratio"),
    ("fail: nic:h0:p0, at: 1rtt, for: 0rtt", "no time at all"),
    ("flap: nic:h0:p0, at: 1rtt, period: 10rtt", "count is missing"),
    ("flap: nic:h0:p0, at: 1rtt, count: 2", "period is missing"),
    ("flap: nic:h0:p0, at: 1rtt, period: 1rtt, count: 0", "use 1 to 1000"),
    ("flap: nic:h0:p0, at: 1rtt, period: 1rtt, count: 2, duty: 100%", "above 0% and below"),
    ("flap: switch:p0-t1-0, at: 1rtt, period: 1rtt, count: 2", "has no link to take down"),
    ("reboot: nic:h0:p0, at: 1rtt, down: 1rtt", "cannot suffer 'crash'"),
    ("glitch: nic:h0:p0, at: 1rtt, flaps: 2, down: 1rtt", "up is missing"),
    ("staircase: nic:h0:p0, at: 1rtt", "step is missing"),
    ("random: uplinks, at: 1rtt, every: 1rtt, for: 1rtt", "count is missing"),
    ("random: uplink, at: 1rtt, every: 1rtt, for: 1rtt, count: 2", "is not a fault target"),
    ("flap: nic:h0:p0, at: 1rtt, period: 1rtt, cuont: 2", "did you mean 'count'"),
])
def test_faults_of_entries_are_told(entry: str, complaint: str) -> None:
    assert complaint in faults_of(entry)
