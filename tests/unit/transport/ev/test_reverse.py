"""The EVs of control packets: reflection, confirmation, probing."""

from __future__ import annotations

from random import Random

from testbed.transport.mrc.ev.pathset import PathSet
from testbed.transport.mrc.ev.reverse import ReverseSet
from testbed.transport.mrc.ev.rotation import Entry, PathEv
from testbed.transport.mrc.ev.states import EvState
from topologies.ev import make_ev

RTT = 1000


def make_both(ports: int = 2, uplinks: int = 3, seed: int = 1) -> tuple[PathSet, ReverseSet]:
    evs = [PathEv(make_ev(p, u), p) for p in range(ports) for u in range(uplinks)]
    rng = Random(seed)
    paths = PathSet(evs, ev_min_active=1, base_rtt_ns=RTT, rng=rng, address_of=lambda ev: b"")
    return paths, ReverseSet(paths, rng)


def the(paths: PathSet, port: int, uplink: int) -> Entry:
    entry = paths.entry(make_ev(port, uplink))
    assert entry is not None
    return entry


def test_without_anything_known_the_path_of_the_trigger_is_reflected() -> None:
    paths, reverse = make_both()
    assert reverse.choose(1, make_ev(1, 2), 0) is the(paths, 1, 2)


def test_an_ev_confirmed_by_data_is_used_on_its_port_only() -> None:
    paths, reverse = make_both()
    reverse.on_forward_confirmed(the(paths, 1, 0))
    assert reverse.choose(1, make_ev(1, 2), 0) is the(paths, 1, 0)
    assert reverse.choose(0, make_ev(0, 2), 0) is the(paths, 0, 2)


def test_another_port_takes_over_where_the_triggers_is_down() -> None:
    paths, reverse = make_both(ports=3)
    reverse.on_forward_confirmed(the(paths, 2, 1))
    paths.set_peer_ports(0b101, 0)
    assert reverse.choose(1, make_ev(1, 2), 0) is the(paths, 2, 1)
    paths.set_local_ports(0b001, 0)
    found = reverse.choose(1, make_ev(1, 2), 0)
    assert found is not None
    assert found.port == 0
    paths.set_local_ports(0, 0)
    assert reverse.choose(1, make_ev(1, 2), 0) is None


def test_a_bad_or_foreign_trigger_ev_is_not_reflected() -> None:
    paths, reverse = make_both()
    paths.on_loss_inferred(make_ev(0, 0), 0)
    for ev in (make_ev(0, 0), make_ev(0, 99)):
        assert reverse.choose(0, ev, 0) is the(paths, 0, 1)


def test_a_bad_ev_is_better_than_silence_and_a_denied_one_is_not() -> None:
    paths, reverse = make_both(ports=1, uplinks=2)
    paths.set_state(make_ev(0, 0), EvState.DENIED, 0)
    paths.set_state(make_ev(0, 1), EvState.ASSUMED_BAD, 0)
    assert reverse.choose(0, make_ev(0, 0), 0) is the(paths, 0, 1)
    paths.set_state(make_ev(0, 1), EvState.DENIED, 0)
    assert reverse.choose(0, make_ev(0, 0), 0) is None


def test_a_reverse_ev_that_goes_bad_or_leaves_is_dropped() -> None:
    paths, reverse = make_both()
    reverse.on_forward_confirmed(the(paths, 0, 0))
    reverse.on_forward_confirmed(the(paths, 1, 0))
    paths.on_loss_inferred(make_ev(0, 0), 0)
    paths.replace(make_ev(1, 0), PathEv(make_ev(1, 9), 1), EvState.GOOD, 0)
    assert reverse.choose(0, make_ev(0, 2), 0) is the(paths, 0, 2)
    assert reverse.choose(1, make_ev(1, 2), 0) is the(paths, 1, 2)


def test_a_receiver_probes_one_base_rtt_after_data_came_in() -> None:
    _, reverse = make_both()
    assert reverse.probe_at_ns is None
    reverse.on_data_received(100)
    reverse.on_data_received(900)
    assert reverse.probe_at_ns == 100 + RTT
    assert reverse.probe_due(99 + RTT) is None
    assert reverse.probe_due(100 + RTT) is not None
    assert (reverse.probe_at_ns, reverse.probe_due(10**6)) == (None, None)


def test_one_that_sends_as_well_does_not_probe() -> None:
    _, reverse = make_both()
    reverse.on_data_received(100)
    reverse.on_data_sent(200)
    assert reverse.probe_at_ns is None
    reverse.on_data_received(300)
    assert reverse.probe_at_ns == 300 + RTT


def test_probes_wander_over_all_usable_evs() -> None:
    paths, reverse = make_both()
    paths.set_local_ports(0b01, 0)
    paths.on_loss_inferred(make_ev(0, 0), 0)
    seen = set()
    for turn in range(40):
        reverse.on_data_received(turn * RTT)
        seen.add(reverse.probe_due((turn + 1) * RTT))
    assert seen == {the(paths, 0, 1), the(paths, 0, 2)}
    paths.set_local_ports(0, 0)
    reverse.on_data_received(50 * RTT)
    assert reverse.probe_due(51 * RTT) is None


def probe(reverse: ReverseSet, now: int) -> Entry:
    reverse.on_data_received(now - RTT)
    entry = reverse.probe_due(now)
    assert entry is not None
    return entry


def test_an_answered_probe_makes_the_reverse_ev() -> None:
    _, reverse = make_both()
    entry = probe(reverse, RTT)
    reverse.on_probe_answered(entry.ev, 2 * RTT)
    other = make_ev(entry.port, 2 if entry.ev != make_ev(entry.port, 2) else 1)
    assert reverse.choose(entry.port, other, 2 * RTT) is entry


def test_an_unanswered_probe_drops_the_reverse_ev_after_4_rtt() -> None:
    paths, reverse = make_both(ports=1, uplinks=2)
    entry = probe(reverse, RTT)
    other = next(each for each in paths.entries() if each is not entry)
    reverse.on_forward_confirmed(entry)
    assert reverse.choose(0, other.ev, 5 * RTT - 1) is entry
    assert reverse.choose(0, other.ev, 5 * RTT) is other


def test_an_answer_that_is_late_or_to_nothing_confirms_nothing() -> None:
    paths, reverse = make_both(ports=1, uplinks=2)
    reverse.on_probe_answered(make_ev(0, 0), 0)
    assert reverse.choose(0, make_ev(0, 1), 0) is the(paths, 0, 1)
    entry = probe(reverse, RTT)
    other = next(each for each in paths.entries() if each is not entry)
    reverse.on_probe_answered(entry.ev, 5 * RTT)
    assert reverse.choose(0, other.ev, 5 * RTT) is other
