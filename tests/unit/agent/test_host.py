"""testbed/agent/host.py: what is on the ports of a host, and who is handed what arrives."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from unit.agent.host_fakes import FakeCarrier, FakePort
from unit.agent.run_rig import (
    FAR,
    GRAPH,
    SAMPLE_NS,
    SPEC,
    TDF,
    Clock,
    carried,
    config_of,
    host_of,
    small_job,
)

from testbed.agent import clock as agent_clock
from testbed.agent import dataports, host, probing, runs
from testbed.agent.host import Host
from testbed.agent.loop import Loop
from testbed.agent.port import Port
from testbed.agent.probing import read_request
from testbed.agent.runs import RunOrder
from testbed.errors import TestbedError
from testbed.forwarding.paths import paths, reverse
from testbed.metrics.rows import by_table, decode
from testbed.transport.mrc.choices import TIMESTAMP_TICK_NS
from testbed.transport.mrc.controls import NO_CONTROLS, Controls
from testbed.transport.mrc.ev.states import EvState
from topologies.numbers import ENCAPSULATION_BYTES, ETHERNET_BYTES, TRIMMED_FRAME_BYTES
from topologies.spec import ClosSpec

TRANSIT_NS = {2: 40_000, 4: 120_000}


class Lab:
    """Hosts of the topology; `run` carries what they send and moves the clock."""

    def __init__(self, clock: Clock, *numbers: int, spec: ClosSpec | None = SPEC) -> None:
        self.clock = clock
        self.loop = Loop()
        self.hosts: dict[int, Host] = {}
        self.ports: dict[int, list[FakePort]] = {}
        self.carriers: dict[int, FakeCarrier] = {}
        self.carrier_told: list[tuple[str, bool]] = []
        self.carried: list[tuple[int, int]] = []
        for number in numbers:
            before = len(FakePort.made)
            self.hosts[number] = Host(config_of(number, spec))
            self.ports[number] = FakePort.made[before:]
            self.carriers[number] = FakeCarrier.made[-1]
            self.hosts[number].open(self.loop, self._on_carrier)

    def _on_carrier(self, port: Port, has_carrier: bool) -> None:
        self.carrier_told.append((port.config.interface, has_carrier))

    def run(self, wall_ns: int) -> None:
        """So long; every host turns whenever it asked to."""
        end_ns = self.clock.now_ns + wall_ns
        while True:
            for one in self.hosts.values():
                one.turn()
            if self._carry():  # which wakes whom they reach
                self.clock.now_ns += 1_000
                continue
            wakes = [at for one in self.hosts.values() if (at := one.next_wake_ns()) is not None]
            next_ns = min(wakes, default=end_ns)
            if next_ns >= end_ns:
                self.clock.now_ns = end_ns
                return
            self.clock.now_ns = max(self.clock.now_ns + 1_000, next_ns)

    def _carry(self) -> bool:
        """Hand over what was sent; whether there was anything."""
        before = len(self.carried)
        for number, ports in self.ports.items():
            for plane, port in enumerate(ports):
                for frame in port.sent:
                    dst = host_of(frame[ETHERNET_BYTES:])
                    self.carried.append((number, dst))
                    links = 4 if SPEC.is_cross_t1(number, dst) else 2
                    if dst in self.ports:
                        self.ports[dst][plane].give(
                            carried(frame[ETHERNET_BYTES:], links), self.clock.time_ns())
                port.sent.clear()
        return len(self.carried) > before

    def close(self) -> None:
        for one in self.hosts.values():
            one.close()
        self.loop.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    for module in (agent_clock, dataports, host, probing, runs):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(dataports, "CarrierWatch", FakeCarrier)
    monkeypatch.setattr(host, "Port", FakePort)
    yield clock
    FakePort.made.clear()
    FakeCarrier.made.clear()


@pytest.fixture
def lab(clock: Clock) -> Iterator[Lab]:
    lab = Lab(clock, 0, FAR)
    yield lab
    lab.close()


def probe_of(src: int, dst: int, **changes: Any) -> dict[str, Any]:
    """The parameters of `probe` over the first path of plane 1."""
    path = next(found for found in paths(SPEC, src, dst) if found.plane == 1)
    entry = {"ev": path.ev, "plane": 1, "address": str(path.address),
             "dst": str(GRAPH.hosts[dst].address), "reverse": str(reverse(SPEC, path).address)}
    return {"paths": [entry], "timeout_ms": 100, "ev_probe": True, **changes}


def row(lab: Lab, wall_ns: int = 60_000_000, **changes: Any) -> dict[str, Any]:
    """What became of a probe from h0 to the far host."""
    here = lab.hosts[0]
    request = read_request(probe_of(0, FAR, **changes), here.config)
    here.probing.start(9, request, lab.clock.now_ns)
    lab.run(wall_ns)
    ((key, rows),) = here.probing.take_finished(here.tdf)
    assert key == 9
    found: dict[str, Any] = rows[0]
    return found


def order_for(number: int, records: Path | None = None) -> RunOrder:
    plan = small_job().hosts[number]
    return RunOrder(3, 11, TDF, TRANSIT_NS, plan.ends, plan.program, records=records,
                    sample_ns=SAMPLE_NS if records else None)


def begin(lab: Lab, in_ns: int = 1_000_000, records: Path | None = None) -> None:
    """Prepare, connect and start the small job on both hosts."""
    job = small_job()
    told = job.swap({number: one.prepare(order_for(number, records)).describe()
                     for number, one in lab.hosts.items()})
    for number, one in lab.hosts.items():
        one.require_run().connect(told[number])
    for one in lab.hosts.values():
        one.start(lab.clock.now_ns + in_ns)


# --- Idle --------------------------------------------------------------------------------


def test_an_idle_host_answers_ev_probes(lab: Lab) -> None:
    found = row(lab)
    assert (found["sent"], found["received"], found["links"]) == (1, 1, None)
    (rtt_ns,) = found["rtt_ns"]
    assert 8_000 - TIMESTAMP_TICK_NS < rtt_ns < 8_200
    assert set(lab.carried) == {(0, FAR), (FAR, 0)}


def test_a_host_that_nobody_answers_for_stays_silent(clock: Clock) -> None:
    lab = Lab(clock, 0)
    found = row(lab, wall_ns=200_000_000)
    assert (found["sent"], found["received"], found["rtt_ns"]) == (1, 0, [])
    lab.close()


def test_the_dilation_between_runs_is_that_of_set_tdf(lab: Lab) -> None:
    for one in lab.hosts.values():
        one.set_tdf(5_000, TRANSIT_NS)
    assert [one.tdf for one in lab.hosts.values()] == [5_000, 5_000]
    began_ns = lab.clock.now_ns
    (rtt_ns,) = row(lab)["rtt_ns"]
    # The same emulated time, to the tick of its stamps, which takes five times as long.
    assert 8_000 - TIMESTAMP_TICK_NS < rtt_ns < 8_200
    assert lab.clock.now_ns - began_ns >= 8_000 * 5_000


def test_an_idle_host_without_probes_wants_to_be_woken_by_frames_only(lab: Lab) -> None:
    lab.run(50_000_000)
    assert lab.hosts[0].next_wake_ns() is None


def test_describe_tells_the_ports_with_their_carrier(lab: Lab) -> None:
    lab.carriers[0].change(lab.ports[0][1].config.slot, False)
    told = lab.hosts[0].describe()
    assert (told["host"], told["tdf"], told["link_delay_ns"]) == (0, TDF, 1000)
    assert [(port["interface"], port["carrier"]) for port in told["ports"]] == [
        ("h0-eth0", True), ("h0-eth1", False)]


def test_counters_are_by_port_and_of_probes(lab: Lab) -> None:
    row(lab)
    told = lab.hosts[0].counters()
    assert [(port["plane"], port["interface"]) for port in told["ports"]] == [
        (0, "h0-eth0"), (1, "h0-eth1")]
    # Port updates of either end, and the probe, with its answer, on plane 1.
    assert told["ports"][1]["sent"] > told["ports"][0]["sent"] >= 0
    assert told["probes"]["answered"] == 0


# --- Who is handed a frame ---------------------------------------------------------------


def test_frame_probes_go_to_the_prober(lab: Lab) -> None:
    found = row(lab, ev_probe=False)
    assert (found["received"], found["links"]) == (1, 8)
    assert lab.hosts[FAR].counters()["probes"]["answered"] == 1
    (rtt_ns,) = found["rtt_wall_ns"]
    assert rtt_ns >= 0


def test_a_frame_probe_is_answered_during_a_run_too(lab: Lab) -> None:
    begin(lab)
    found = row(lab, ev_probe=False)
    assert found["received"] == 1
    assert lab.hosts[FAR].require_run().progress()["is_settled"]


def test_other_frames_go_to_the_device_which_refuses_rubbish(lab: Lab) -> None:
    port = lab.ports[0][0]
    # Longer than its headers: the endpoint's to judge. Else nobody's.
    port.give(bytes(ENCAPSULATION_BYTES + 1), lab.clock.time_ns())
    port.give(b"\xff" * TRIMMED_FRAME_BYTES, lab.clock.time_ns())
    lab.hosts[0].turn()
    assert port.counters.foreign == 0
    for size in (1, ETHERNET_BYTES, ENCAPSULATION_BYTES - 1):
        port.give(bytes(size), lab.clock.time_ns())
    lab.hosts[0].turn()
    assert port.counters.foreign == 3
    lab.run(20_000_000)
    assert row(lab)["received"] == 1  # and it goes on


def test_a_probe_of_an_ev_that_names_no_path_is_refused_and_the_host_goes_on(lab: Lab) -> None:
    paths = [probe_of(0, FAR)["paths"][0] | {"ev": 0x01000001}]
    assert row(lab, paths=paths)["refused"] == 1
    assert row(lab)["received"] == 1


def test_without_a_topology_there_is_a_prober_and_no_device(clock: Clock) -> None:
    lab = Lab(clock, 0, FAR, spec=None)
    assert row(lab, ev_probe=False)["received"] == 1
    request = read_request(probe_of(0, FAR), lab.hosts[0].config)
    lab.hosts[0].probing.start(1, request, clock.now_ns)
    with pytest.raises(TestbedError, match="no MRC device"):
        lab.hosts[0].turn()
    with pytest.raises(TestbedError, match="no MRC device"):
        lab.hosts[0].require_device()  # as whoever asks for such a probe is told
    lab.ports[FAR][0].give(bytes(200), clock.time_ns())
    lab.hosts[FAR].turn()
    assert lab.ports[FAR][0].counters.foreign == 1
    with pytest.raises(TestbedError, match="no MRC device"):
        lab.hosts[0].prepare(order_for(0))
    assert lab.hosts[0].run is None
    lab.close()


# --- Carrier -----------------------------------------------------------------------------


def test_carrier_is_told_on_and_to_the_device(lab: Lab) -> None:
    lab.run(20_000_000)
    lab.carriers[0].change(lab.ports[0][1].config.slot, False)
    lab.loop.wait(time.monotonic_ns() + 2_000_000_000)
    assert lab.carrier_told == [("h0-eth1", False)]
    found = row(lab)
    assert (found["sent"], found["refused"]) == (0, 1)


def test_a_run_begins_with_the_carrier_there_is(lab: Lab) -> None:
    lab.carriers[0].change(lab.ports[0][1].config.slot, False)
    begin(lab)
    lab.run(80_000_000)
    assert lab.hosts[0].require_run().progress()["messages_done"] == 16
    sent = [port["sent"] for port in lab.hosts[0].require_run().results()["ports"]]
    assert sent[0] > 0
    assert sent[1] == 0


# --- What a controller has set -----------------------------------------------------------

PEER = GRAPH.hosts[FAR].address.packed
DENIED_EV = paths(SPEC, 0, FAR)[0].ev
DENY = Controls(frozenset({(PEER, DENIED_EV)}))


def states(lab: Lab) -> list[EvState]:
    """The denied EV in the queue pairs of h0's run."""
    qps = lab.hosts[0].require_run().context.endpoint.qps.values()
    entries = [qp.paths.entry(DENIED_EV) for qp in qps if qp.paths]
    return [entry.state for entry in entries if entry]


def test_a_disabled_port_of_an_idle_host_answers_nobody_until_it_is_enabled(lab: Lab) -> None:
    lab.run(20_000_000)
    told = lab.hosts[FAR].control(Controls(disabled=0b10))
    assert told == {"denied": [], "disabled": 0b10}
    assert row(lab, timeout_ms=30)["received"] == 0
    assert row(lab, ev_probe=False)["received"] == 1  # frames pass, the device is not asked
    lab.hosts[0].control(Controls(disabled=0b10))
    assert row(lab)["refused"] == 1
    for one in lab.hosts.values():
        assert one.control(NO_CONTROLS)["disabled"] == 0
    assert row(lab)["received"] == 1


def test_what_was_set_before_a_run_holds_in_it_and_after_it(lab: Lab) -> None:
    here = lab.hosts[0]
    assert here.control(Controls(DENY.denied, 0b10)) == {
        "denied": [[PEER.hex(), DENIED_EV, 0]], "disabled": 0b10}
    begin(lab)
    lab.run(80_000_000)
    assert states(lab) == [EvState.DENIED, EvState.DENIED]
    assert here.require_run().progress()["messages_done"] == 16
    sent = [port["sent"] for port in here.require_run().results()["ports"]]
    assert sent[1] == 0
    evs = {entry["ev"]: entry["sent"] for entry in here.require_run().paths(PEER)}
    assert evs[DENIED_EV] == 0
    here.release()
    # The queue pairs are gone; that they had it denied is remembered until it is allowed.
    assert here.control(Controls(DENY.denied, 0b10)) == {
        "denied": [[PEER.hex(), DENIED_EV, 2]], "disabled": 0b10}
    assert here.control(NO_CONTROLS) == {"denied": [], "disabled": 0}
    assert here.control(DENY)["denied"] == [[PEER.hex(), DENIED_EV, 0]]


def test_an_ev_is_denied_and_allowed_in_mid_run(lab: Lab) -> None:
    begin(lab)
    lab.run(2_000_000)
    assert lab.hosts[0].control(DENY)["denied"] == [[PEER.hex(), DENIED_EV, 2]]
    assert states(lab) == [EvState.DENIED, EvState.DENIED]
    assert lab.hosts[0].control(DENY) == {  # again: nothing changes
        "denied": [[PEER.hex(), DENIED_EV, 2]], "disabled": 0}
    lab.run(2_000_000)
    lab.hosts[0].control(NO_CONTROLS)
    assert states(lab) == [EvState.GOOD, EvState.GOOD]
    lab.run(80_000_000)
    assert lab.hosts[0].require_run().progress()["messages_done"] == 16


def test_without_a_device_there_is_nothing_to_control(clock: Clock) -> None:
    lab = Lab(clock, 0, spec=None)
    with pytest.raises(TestbedError, match="no MRC device: configure it with its topology"):
        lab.hosts[0].control(NO_CONTROLS)
    lab.close()


# --- Runs --------------------------------------------------------------------------------


def test_a_run_takes_over_and_is_released(lab: Lab) -> None:
    begin(lab)
    lab.run(60_000_000)
    near, far = (one.require_run() for one in lab.hosts.values())
    assert near.progress()["messages_done"] == 16
    (sent,) = [near.results()["program"]["channels"]]
    checked = far.verify({row["connection"]: row for row in sent})
    assert (checked["wrong_bytes"], checked["checked_bytes"]) == (0, 2 * 8 * 20_000)
    assert not gc.isenabled()
    for one in lab.hosts.values():
        one.release()
    assert gc.isenabled()
    assert lab.hosts[0].run is None
    assert row(lab)["received"] == 1


def test_until_it_starts_a_run_leaves_the_ports_to_the_idle_device(lab: Lab) -> None:
    lab.hosts[FAR].prepare(order_for(FAR))
    assert row(lab)["received"] == 1


def test_a_host_with_a_run_answers_ev_probes_too(lab: Lab) -> None:
    begin(lab)
    lab.run(5_000_000)
    assert row(lab)["received"] == 1


def test_rows_are_pumped_while_a_run_is_on_and_say_what_the_ports_dropped(
    lab: Lab, tmp_path: Path
) -> None:
    FakePort.made[0].counters.kernel_drops = 7  # before the run
    begin(lab, records=tmp_path)
    FakePort.made[0].counters.kernel_drops = 12
    lab.run(60_000_000)
    recording = lab.hosts[0].require_run()._recording
    assert recording is not None
    assert recording.rows > 0
    lab.hosts[0].require_run().results()
    tables = by_table(decode((tmp_path / "h0.jsonl").read_text().splitlines()))
    assert len(tables["messages"]) == 16
    assert sum(row["kernel_drops"] for row in tables["fidelity"]) == 5


def test_one_run_at_a_time(lab: Lab) -> None:
    lab.hosts[0].prepare(order_for(0))
    with pytest.raises(TestbedError, match="run 3 is on this host: end it first"):
        lab.hosts[0].prepare(order_for(0))
    lab.hosts[0].release()
    lab.hosts[0].prepare(order_for(0))


def test_what_needs_a_run_says_so(lab: Lab) -> None:
    here = lab.hosts[0]
    for ask in (here.require_run, lambda: here.start(lab.clock.now_ns)):
        with pytest.raises(TestbedError, match="no run is on this host: prepare one first"):
            ask()
    here.release()  # nothing to release, nothing to complain about
    here.prepare(order_for(0))
    with pytest.raises(TestbedError, match="send connect before start"):
        here.start(lab.clock.now_ns)
    assert row(lab)["received"] == 1


def test_a_dilation_set_during_a_run_holds_after_it(lab: Lab) -> None:
    """A round trip of 8 us takes 8 ms at the run's dilation and 40 ms at the new one."""
    begin(lab)
    for one in lab.hosts.values():
        one.set_tdf(5_000, TRANSIT_NS)
    lab.run(60_000_000)
    assert lab.hosts[0].require_run().progress()["messages_done"] == 16
    assert row(lab, timeout_ms=30)["received"] == 1
    for one in lab.hosts.values():
        one.release()
    assert row(lab, timeout_ms=30)["received"] == 0
    assert row(lab, timeout_ms=50)["received"] == 1


def test_closing_ends_a_run_and_gives_the_ports_back(clock: Clock) -> None:
    lab = Lab(clock, 0, FAR)
    begin(lab)
    assert not gc.isenabled()
    lab.close()
    assert gc.isenabled()
    assert [port.is_open for ports in lab.ports.values() for port in ports] == [False] * 4
