"""Faults bite where, when and whom they bite on the fabric."""

from __future__ import annotations

import port_rig
import pytest
from sim.sim_fakes import DATA_BYTES, TINY, Bench, fail, number_of, on_path

from testbed.errors import UsageError
from testbed.faults.desired import EvFaultKey
from testbed.faults.targets import parse_target
from testbed.forwarding.egress import egress_slots
from testbed.forwarding.paths import paths
from testbed.metrics.ports import Tally

PATH = paths(TINY.spec, 0, 3)[0]
SLOTS = egress_slots(TINY, PATH)
T0_TO_T1 = "port:p0-t0-0:p0-t1-0"


def frames(count: int, **fields: int) -> list[bytes]:
    return [on_path(TINY, PATH, number=number, **fields) for number in range(count)]


def lost_by(bench: Bench, count: int) -> list[int]:
    return sorted(set(range(count)) - set(bench.fake(3).numbers))


@pytest.mark.parametrize(("text", "slot"), [(T0_TO_T1, SLOTS[1]), ("port:h0:p0-t0-0", SLOTS[0])])
@pytest.mark.parametrize("seed", [0, 9])
def test_losses_are_where_the_port_program_has_them(text: str, slot: int, seed: int) -> None:
    bench = Bench(TINY, seed)
    bench.post(0, 0, *frames(50))
    bench.finish()
    bench.fake(3).received.clear()
    bench.sim.inject(fail(text, "loss", 0.2))
    bench.post(0, 0, *frames(300))
    bench.finish()
    port_seed = (seed << 32) + slot
    foretold = [n for n in range(300)
                if port_rig.port_random(port_seed, slot, 50 + n)[0] < round(0.2 * 2**32)]
    assert lost_by(bench, 300) == foretold
    assert bench.sim.ports(slot).dropped_loss == Tally(len(foretold), len(foretold) * DATA_BYTES)


def test_corruption_flips_the_foretold_bit_of_the_foretold_frames() -> None:
    bench, sent = Bench(TINY), frames(200)
    bench.sim.inject(fail(T0_TO_T1, "corrupt", 0.1))
    bench.post(0, 0, *sent)
    bench.finish()
    damaged = {}
    for _, _, datagram in bench.fake(3).received:
        number = number_of(datagram)
        flipped = int.from_bytes(datagram[40:], "big") ^ int.from_bytes(sent[number][40:], "big")
        if flipped:
            assert flipped & flipped - 1 == 0  # one bit
            damaged[number] = datagram
    for number in range(200):
        _, _, chance, which = port_rig.port_random(SLOTS[1], SLOTS[1], number)
        assert (chance < round(0.1 * 2**32)) == (number in damaged)
        if number in damaged:
            bit = which * (DATA_BYTES - 122) * 8 >> 32
            offset = 122 - 14 + bit // 8
            assert damaged[number][offset] == sent[number][offset] ^ 1 << bit % 8
    assert bench.sim.ports(SLOTS[1]).corrupted.frames == len(damaged) > 5


def test_an_ev_fault_hits_its_ev_in_its_direction_only() -> None:
    other, back = paths(TINY.spec, 0, 3)[1], paths(TINY.spec, 3, 0)[0]
    bench = Bench(TINY)
    bench.sim.inject(fail("ev:h0:h3:0x0000"))
    bench.post(0, 0, *frames(5), on_path(TINY, other, number=99))
    bench.post(3, 0, on_path(TINY, back, number=5))
    bench.finish()
    assert bench.fake(3).numbers == [99]
    assert bench.fake(0).numbers == [5]
    assert bench.sim.ports(SLOTS[1]).dropped_ev.frames == 5
    key = EvFaultKey(SLOTS[1], TINY.hosts[0].address, TINY.hosts[3].address, PATH.ev)
    fault = bench.sim.faults.ev_fault(key)
    assert fault is not None
    assert (fault.seen_frames, fault.dropped_frames) == (5, 5)


def test_losses_of_an_ev_are_where_the_port_program_has_them() -> None:
    bench = Bench(TINY)
    bench.sim.inject(fail("ev:h0:h3:0x0000", "loss", 0.3))
    bench.post(0, 0, *frames(200))
    bench.finish()
    stream = port_rig.random_at(SLOTS[1], 1 << 63 | PATH.ev << 32 | SLOTS[1])
    limit = round(0.3 * 2**32)
    foretold = [n for n in range(200) if port_rig.random_at(stream, n) >> 32 < limit]
    assert lost_by(bench, 200) == foretold


def test_a_fabric_link_is_cut_without_anybody_noticing() -> None:
    bench = Bench(TINY)
    bench.sim.inject(fail("link:p0-t0-0:p0-t1-0"))
    bench.post(0, 0, *frames(3))
    bench.finish()
    assert bench.fake(3).received == []
    assert bench.sim.ports(SLOTS[1]).dropped_blackhole.frames == 3
    assert [fake.ports_seen for made in bench.all_made for fake in made] == [[], [], [], []]
    bench.sim.heal()
    bench.post(0, 0, *frames(1))
    bench.finish()
    assert bench.fake(3).numbers == [0]


def test_a_nic_link_takes_carrier_away_and_gives_it_back() -> None:
    bench = Bench(TINY)
    bench.sim.run_until(100)
    bench.sim.inject(fail("nic:h0:p0"))
    assert bench.fake(0).ports_seen == [(100, 0b10)]
    bench.post(0, 0, *frames(2))
    assert bench.fake(0).asked[-1] == (100, 0b10)
    bench.sim.run_until(500)
    bench.sim.heal(parse_target("nic:h0:p0"))
    assert bench.fake(0).ports_seen == [(100, 0b10), (500, 0b11)]
    bench.finish()
    assert bench.fake(3).numbers == [0, 1]
    assert bench.fake(1).ports_seen == []


def test_frames_past_the_egress_arrive_and_the_queue_is_flushed() -> None:
    bench = Bench(TINY)
    other_way = paths(TINY.spec, 1, 3)[1]  # by the other T1
    both = [on_path(TINY, other_way, number=100 + n) for n in range(30)]
    bench.post(0, 0, *frames(30))
    bench.post(1, 0, *both)
    bench.sim.run_until(339 + 3 * (336 + 1000) + 10 * 339)
    waiting = bench.sim.network.switch_ports[SLOTS[3]].waiting_frames()
    before = bench.sim.ports(SLOTS[3]).passed.frames
    bench.sim.inject(fail("nic:h3:p0"))
    flushed = bench.sim.ports(SLOTS[3]).flushed
    assert 0 < flushed.frames == waiting == bench.sim.faults.flushed["nic:h3:p0#down"].frames
    bench.finish()
    assert len(bench.fake(3).received) == before - flushed.frames
    balance = bench.sim.conservation()
    assert balance.dropped["flushed"] == flushed.frames
    assert balance.unexplained == balance.in_flight == 0


def test_a_crashed_t0_darkens_its_hosts_and_a_t1_nobody() -> None:
    bench = Bench(TINY)
    bench.sim.inject(fail("switch:p1-t0-0", "crash"))
    bench.sim.inject(fail("switch:p0-t1-0", "crash"))
    assert [bench.fake(host).ports_seen for host in range(4)] == [[(0, 1)], [(0, 1)], [], []]
    bench.post(0, 0, *frames(1))
    bench.finish()
    assert bench.sim.ports(SLOTS[2]).dropped_blackhole.frames == 1


def test_healing_one_of_two_faults_leaves_the_other() -> None:
    bench = Bench(TINY)
    bench.sim.inject(fail("plane:0"))
    bench.sim.inject(fail("nic:h0:p0"))
    bench.sim.heal(parse_target("plane:0"))
    assert bench.sim.hosts[0].up_ports == 0b10
    assert bench.fake(0).ports_seen == [(0, 0b10)]
    assert bench.fake(1).ports_seen == [(0, 0b10), (0, 0b11)]
    bench.sim.heal()
    assert bench.sim.hosts[0].up_ports == 0b11
    assert all(port.hazard is None for port in bench.sim.network.switch_ports.values())


def test_a_fault_that_makes_no_sense_changes_nothing() -> None:
    bench = Bench(TINY)
    bench.sim.inject(fail("nic:h0:p0"))
    for text in ("nic:h0:p0", "nic:h9:p0"):
        with pytest.raises(UsageError):
            bench.sim.inject(fail(text))
    with pytest.raises(UsageError):
        bench.sim.heal(parse_target("nic:h1:p0"))
    assert len(bench.sim.faults.active) == 1


def test_a_paused_host_hears_of_its_ports_when_it_continues() -> None:
    bench = Bench(TINY)
    bench.sim.inject(fail("host:h0", "pause"))
    bench.sim.inject(fail("nic:h0:p0"))
    assert bench.fake(0).ports_seen == []
    bench.sim.run_until(70)
    bench.sim.heal(parse_target("host:h0"))
    assert bench.fake(0).ports_seen == [(70, 0b10)]


# --- Several at once, by name ------------------------------------------------------------


def test_a_move_is_one_instant_in_which_hosts_hear_once() -> None:
    bench = Bench(TINY)
    bench.sim.move([fail("nic:h0:p0"), fail("nic:h0:p1"), fail("nic:h1:p0")])
    assert bench.fake(0).ports_seen == [(0, 0)]
    assert bench.fake(1).ports_seen == [(0, 0b10)]
    bench.sim.run_until(40)
    healed = bench.sim.move([fail("nic:h1:p1")], ["nic:h0:p1#down", "nic:h1:p0#down"])
    assert [str(action.target) for action in healed] == ["nic:h1:p0", "nic:h0:p1"]
    assert bench.fake(0).ports_seen == [(0, 0), (40, 0b10)]
    assert bench.fake(1).ports_seen == [(0, 0b10), (40, 0b01)]
    assert [str(action.target) for action in bench.sim.faults.active] == ["nic:h0:p0", "nic:h1:p1"]


def test_a_link_that_is_healed_and_cut_in_one_move_never_came_back() -> None:
    bench = Bench(TINY)
    bench.sim.inject(fail("plane:0"))
    bench.sim.move([fail("nic:h0:p0")], ["plane:0#down"])
    assert bench.fake(0).ports_seen == [(0, 0b10)]
    assert bench.fake(1).ports_seen == [(0, 0b10), (0, 0b11)]


@pytest.mark.parametrize(("injects", "heals"), [
    (["nic:h1:p0", "nic:h9:p0"], []), (["nic:h1:p0", "nic:h1:p0"], []),
    (["nic:h1:p0"], ["nic:h2:p0#down"]), (["nic:h0:p0"], []),
])
def test_a_move_that_makes_no_sense_changes_nothing(injects: list[str], heals: list[str]) -> None:
    bench = Bench(TINY)
    bench.sim.inject(fail("nic:h0:p0"))
    before = bench.sim.faults.state
    with pytest.raises(UsageError):
        bench.sim.move([fail(text) for text in injects], heals)
    assert bench.sim.faults.state == before
    assert [str(action.target) for action in bench.sim.faults.active] == ["nic:h0:p0"]
    assert bench.fake(1).ports_seen == []


def test_a_host_is_killed_and_back_in_a_move_with_others() -> None:
    bench = Bench(TINY)
    bench.sim.run_until(10)
    bench.sim.move([fail("host:h0", "kill"), fail("host:h1", "pause"), fail("nic:h0:p1")])
    assert bench.sim.hosts[0].endpoint is None
    assert bench.sim.faults.evidence("host:h0#kill") == (True, "h0 is killed")
    bench.sim.run_until(20)
    bench.sim.move([fail("nic:h1:p0")], ["host:h0#kill", "host:h1#pause"])
    assert [fake.born_ns for fake in bench.all_made[0]] == [0, 20]
    assert bench.fake(0).ports_seen == [(20, 0b01)]  # the new one hears of the old fault
    assert bench.fake(1).ports_seen == [(20, 0b10)]
    assert bench.sim.faults.evidence("host:h0#kill").has_bitten  # it was, until it was healed


# --- Evidence ----------------------------------------------------------------------------


def test_a_fault_nothing_ran_into_has_not_bitten() -> None:
    bench = Bench(TINY)
    names = ["link:p0-t0-0:p0-t1-0#down", "ev:h0:h3:0x0000#loss", "switch:p1-t1-0#blackhole"]
    bench.sim.move([fail("link:p0-t0-0:p0-t1-0"), fail("ev:h0:h3:0x0000"),
                    fail("switch:p1-t1-0", "blackhole")])
    assert [bench.sim.faults.evidence(name) for name in names] == [
        (False, "0 frames dropped"), (False, "0 of 0 frames of this EV dropped"),
        (False, "0 frames dropped")]
    bench.post(0, 0, *frames(4))
    bench.finish()
    assert bench.sim.faults.evidence(names[0]) == (True, "4 frames dropped")
    assert bench.sim.faults.evidence(names[1])[0] is False  # the blackhole was there first
    assert bench.sim.faults.evidence(names[2])[0] is False
    with pytest.raises(UsageError, match="nic:h0:p0#down was never in force here"):
        bench.sim.faults.evidence("nic:h0:p0#down")


def test_evidence_begins_with_the_fault_and_ends_with_it() -> None:
    bench, name = Bench(TINY), "link:p0-t0-0:p0-t1-0#down"
    for count in (3, 5):
        bench.sim.inject(fail("link:p0-t0-0:p0-t1-0"))
        bench.post(0, 0, *frames(count))
        bench.finish()
        assert bench.sim.faults.evidence(name) == (True, f"{count} frames dropped")
        bench.sim.move([], [name])
        assert bench.sim.faults.evidence(name) == (True, f"{count} frames dropped")


def test_the_loss_of_an_ev_counts_anew_when_its_ratio_changes() -> None:
    bench, name = Bench(TINY), "ev:h0:h3:0x0000#loss"
    bench.sim.inject(fail("ev:h0:h3:0x0000"))
    bench.post(0, 0, *frames(4))
    bench.finish()
    bench.sim.move([fail("ev:h0:h3:0x0000", "loss", 1e-9)], [name])
    assert bench.sim.faults.evidence(name) == (False, "0 of 0 frames of this EV dropped")
    bench.post(0, 0, *frames(3))
    bench.finish()
    assert bench.sim.faults.evidence(name) == (False, "0 of 3 frames of this EV dropped")


def test_a_lost_carrier_is_evidence_and_flushed_frames_are_of_who_took_it() -> None:
    bench = Bench(TINY)
    both = [on_path(TINY, paths(TINY.spec, 1, 3)[1], number=100 + n) for n in range(30)]
    bench.post(0, 0, *frames(30))
    bench.post(1, 0, *both)
    bench.sim.run_until(339 + 3 * (336 + 1000) + 10 * 339)
    waiting = bench.sim.network.switch_ports[SLOTS[3]].waiting_frames()
    bench.sim.move([fail("nic:h2:p0"), fail("nic:h3:p0"), fail("port:p0-t0-1:h3", "loss", 0.5)])
    flushed = bench.sim.faults.flushed
    assert waiting == flushed["nic:h3:p0#down"].frames > 0
    assert flushed["nic:h2:p0#down"] == flushed["port:p0-t0-1:h3#loss"] == Tally()
    proof = bench.sim.faults.evidence("nic:h3:p0#down")
    assert proof.said == (
        f"0 frames dropped, {waiting} flushed from the queue, no carrier on h3-eth0")
    assert bench.sim.faults.evidence("nic:h2:p0#down") == (
        True, "0 frames dropped, no carrier on h2-eth0")


def test_hosts_without_a_device_have_no_controller() -> None:
    bench = Bench(TINY)
    for text, kind in (("ev:h0:h3:0x0000", "deny"), ("nic:h0:p0", "disable")):
        with pytest.raises(UsageError, match="the hosts of this simulation have none"):
            bench.sim.inject(fail(text, kind))
    assert bench.sim.faults.active == ()
