"""Checks: measures, whose, compared with what, and what is refused."""

from __future__ import annotations

import pytest
from unit.drills.files import HEAD, WINDOWS, WRITES, drill_of, faults_of

from testbed.drills.checks import path_delay_ns
from testbed.drills.drill import Check, Drill
from testbed.intent.topology import load_topology

GATE = '  - {name: gate, steady: true, measure: qp_failures, expect: "0"}\n'


def drill_with(entry: str, workload: str | None = None) -> Drill:
    head = None if workload is None else workload
    checks = f"checks:\n{GATE}  - {{{entry}}}\n"
    return drill_of(checks=checks) if head is None else drill_of(checks=checks, head=head)


def check_of(entry: str) -> Check:
    return drill_with(entry).checks[1]


def test_a_check_has_a_name_of_its_own_making() -> None:
    check = check_of('measure: goodput, host: h0, in: broken, expect: "> 0"')
    assert (check.name, check.window, check.where) == ("goodput h0 in broken", "broken",
                                                       {"host": "h0"})
    assert check.look == "goodput"
    assert not check.is_steady
    assert check.of is None


def test_without_a_window_it_is_the_whole_run() -> None:
    assert check_of('measure: lost_packets, expect: "0"').window == "run"


def test_the_same_in_another_window_is_a_reference() -> None:
    of = check_of('measure: goodput, host: h0, in: broken, expect: "> 90 %", of: before').of
    assert of is not None
    assert (of.source, of.window, of.where) == ("window", "before", {"host": "h0"})


def test_somebody_else_or_another_measure_is_a_reference() -> None:
    of = check_of('measure: goodput, host: h0, in: broken, expect: "> 90 %", of: {host: h1}').of
    assert of is not None
    assert (of.measure, of.window, of.where) == ("goodput", "broken", {"host": "h1"})
    of = check_of("measure: goodput_low, in: broken, expect: '> 90 %', "
                  "of: {measure: goodput, in: before}").of
    assert of is not None
    assert (of.measure, of.window) == ("goodput", "before")


@pytest.mark.parametrize(("where", "gbps"), [
    ("", 200), ("host: h0,", 200), ("peer: h2,", 200), ("plane: 1,", 100),
])
def test_the_line_rate_is_that_of_the_nics_meant(where: str, gbps: int) -> None:
    of = check_of(f"measure: goodput, {where} expect: '> 90 %', of: nominal").of
    assert of is not None
    assert of.value == gbps * 1e9


def test_the_line_rate_of_many_is_that_of_the_fewer_ends() -> None:
    head = """\
drill: test
title: A test
paper: none
topology: rack4
workload: {workload: incast, dst: h0, senders: [h4, h5, h6], duration: 100rtt}
packets: 1000
takes: {fabric: 10s, sim: 1s}
"""
    of = drill_with("measure: goodput, expect: '> 90 %', of: nominal", head).checks[1].of
    assert of is not None
    assert of.value == 400e9


def test_the_slowest_flow_has_one_nic() -> None:
    head = HEAD.replace(WRITES, "{workload: permutation, duration: 100rtt}")
    of = drill_with("measure: flow_goodput_min, expect: '> 90 %', of: nominal", head).checks[1].of
    assert of is not None
    assert of.value == 200e9


def test_a_path_takes_its_links_and_serialisations() -> None:
    octo = load_topology("octo")
    # 2 bytes: a frame of 146 bytes out, 150 back, 11.68 and 12 ns at each of four or two ports.
    assert path_delay_ns(octo, 0, 4, 2) == pytest.approx((8000 + 4 * 23.68) / 2, abs=1)
    assert path_delay_ns(octo, 0, 1, 2) == pytest.approx((4000 + 2 * 23.68) / 2, abs=1)


@pytest.mark.parametrize(("entry", "complaint"), [
    ('measure: goodptu, expect: "0"', "did you mean 'goodput'"), ('expect: "0"', "is missing"),
    ("measure: goodput", "expect is missing"),
    ('measure: goodput, in: brokne, expect: "> 0"', "did you mean 'broken'"),
    ('measure: goodput, host: h9, expect: "> 0"', "there is no host 'h9'"),
    ('measure: goodput, plane: 7, expect: "> 0"', "there is no plane '7'"),
    ('measure: goodput, plane: x, expect: "> 0"', "write one like 2"),
    ('measure: goodput, step: crash, expect: "> 0"', "there is no key 'checks[1].step'"),
    ('measure: recovery_ev_out, expect: "<= 4rtt"', "step is missing"),
    ('measure: recovery_ev_out, step: crahs, expect: "<= 4rtt"', "did you mean 'crash'"),
    ('measure: goodput, in: broken, expect: "> 9 %", of: broken', "compares a figure with itself"),
    ('measure: goodput, expect: "> 9 %", of: {in: run}', "compares a figure with itself"),
    ('measure: goodput, expect: "> 9 %", of: {measure: latency}', "of the same unit"),
    ('measure: goodput, expect: "> 9 %", of: {hots: h1}', "did you mean 'host'"),
    ('measure: goodput, expect: "> 9 %", of: beforr', "did you mean 'before'"),
    ('measure: lost_packets, expect: "> 9 %", of: nominal', "is no rate"),
    ('measure: latency, expect: "> 9 %", of: path', "name host and peer"),
    ('measure: goodput, expect: "> 9 %"', "percentage of nothing"),
    ('measure: goodput, expect: "> 0", look: lossses', "look: there is no figure 'lossses', did"),
    ('measure: goodput, expect: "> 0", look: xyzzy', "no figure 'xyzzy': use goodput, ev_share"),
    ('name: gate, measure: goodput, expect: "> 0"', "two checks are called 'gate'"),
])
def test_faults_are_told(entry: str, complaint: str) -> None:
    assert complaint in faults_of(windows=WINDOWS, checks=f"checks:\n{GATE}  - {{{entry}}}\n")


def test_a_drill_without_a_steady_state_is_refused() -> None:
    assert "what the steady state is" in faults_of(
        checks='checks:\n  - {measure: goodput, expect: "> 0"}\n')
