"""Ryu and Open vSwitch together: real packets through a real, private switch."""

import os
import signal
from collections.abc import Iterator, Mapping
from ipaddress import IPv6Address
from itertools import product
from pathlib import Path

import pytest
from ovs_rig import HEADER_BYTES, TINY, Interface, Rig, frame, namespace, wait_until

from testbed.errors import TestbedError
from testbed.fabric.commands import run
from testbed.fabric.namespaces import network_of
from testbed.fabric.ovs import MAX_PORTS_PER_COMMAND, Bridge, PrivateOvs, bridge_commands
from testbed.fabric.packet_sockets import (
    close_sockets,
    hold_sockets,
    raise_packet_buffers,
    socket_backlogs,
    socket_drops,
)
from testbed.forwarding.paths import Path as FabricPath
from testbed.forwarding.paths import paths, self_paths
from topologies.usid import shift

ON_A_SPINE = paths(TINY, 0, 2)[0]
IN_A_RACK = paths(TINY, 0, 1)[0]
DATA_FRAME_BYTES = 4238
BURST = 600
# The kernel doubles what it is given: this asks for its own default of 212,992.
DEFAULT_BUFFER_BYTES = 106_496
RAISED_BUFFER_BYTES = 8 << 20


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with namespace() as keeper_pid:
        built = Rig(keeper_pid, tmp_path_factory.mktemp("rig"))
        try:
            built.start()
            yield built
        finally:
            built.stop()


def every_path() -> list[FabricPath]:
    hosts = range(TINY.host_count)
    pairs = [path for a, b in product(hosts, hosts) if a != b for path in paths(TINY, a, b)]
    return pairs + [path for host in hosts for path in self_paths(TINY, host)]


def send(rig: Rig, path: FabricPath, payload: bytes) -> bytes:
    """Send a frame along a path; gives what its receiver must find behind the address."""
    data = frame(path.address, payload)
    rig.nic(path.src, path.plane).send(data)
    return data[54:]


def assert_every_path_arrives(rig: Rig) -> None:
    """One packet per path, each told apart by its payload; nothing else anywhere."""
    for interface in rig.nics():  # opened before anything is sent
        assert interface.is_quiet()
    for number, path in enumerate(every_path()):
        rest = send(rig, path, number.to_bytes(4, "big"))
        got = rig.nic(path.dst, path.plane).receive()
        assert got.rest == rest, path
        assert got.hop_limit == 64 - len(path.switches), path
    assert all(interface.is_quiet() for interface in rig.nics())


@pytest.mark.root
def test_every_path_arrives(rig: Rig) -> None:
    assert_every_path_arrives(rig)


@pytest.mark.root
@pytest.mark.parametrize("path", [
    ON_A_SPINE, IN_A_RACK, self_paths(TINY, 3)[0], self_paths(TINY, 3)[1],
], ids=["cross-T1", "T0-local", "self NIC-T0-NIC", "self NIC-T0-T1-T0-NIC"])
def test_the_address_is_shifted_at_each_hop(rig: Rig, path: FabricPath) -> None:
    ends = rig.ends_of(path)
    taps = [rig.interface(into) for _out, into in ends]
    while not all(tap.is_quiet() for tap in taps):  # what other tests' packets left
        [tap.receive() for tap in taps if not tap.is_quiet()]
    rest = send(rig, path, b"watched")
    macs = {end.interface: end.mac for link in rig.graph.links for end in (link.a, link.b)}
    address = path.address
    for hop, (tap, (out, into)) in enumerate(zip(taps, ends, strict=True)):
        seen = tap.receive()
        assert (seen.address, seen.hop_limit, seen.rest) == (address, 64 - hop, rest)
        if hop:  # the first link carries what the sender wrote
            assert (seen.eth_src, seen.eth_dst) == (macs[out], macs[into])
        address = shift(address)


@pytest.mark.root
@pytest.mark.parametrize(("address", "cause"), [
    ("fcbb:bbbb:801:1800::", "strays"),  # another T0's uSID
    ("fcbb:bbbb::", "strays"),  # a list that ran out
    ("fcbb:bbbb:800:1002::", "misses"),  # a T1 that does not exist
    ("fcbb:bbbb:800::", "misses"),  # nothing after the T0
    ("2001:db8::1", "strays"),
])
def test_a_wrong_usid_is_dropped_and_counted(rig: Rig, address: str, cause: str) -> None:
    before = rig.controller.verify()["drops"]
    rig.nic(0, 0).send(frame(IPv6Address(address), b"lost"))
    rest = send(rig, IN_A_RACK, b"the one behind it")  # same port: it cannot overtake
    assert rig.nic(1, 0).receive().rest == rest
    assert all(interface.is_quiet() for interface in rig.nics())
    expected = {**before["p0-t0-0"], cause: before["p0-t0-0"][cause] + 1}
    # Open vSwitch brings its counters up to date about twice a second.
    wait_until(lambda: rig.controller.verify()["drops"]["p0-t0-0"] == expected, "one drop")


@pytest.mark.root
def test_a_hop_limit_that_runs_out_ends_the_packet(rig: Rig) -> None:
    rig.nic(0, 0).send(frame(ON_A_SPINE.address, b"too short", hop_limit=3))
    rig.nic(0, 0).send(frame(ON_A_SPINE.address, b"enough", hop_limit=4))
    got = rig.nic(2, 0).receive()
    assert (got.rest[-6:], got.hop_limit) == (b"enough", 1)
    assert rig.nic(2, 0).is_quiet()


@pytest.mark.root
def test_forwarding_outlives_the_controller_and_is_verified_again(rig: Rig) -> None:
    rig.controller.kill()
    name = rig.graph.switches[0].name
    connected = ["get", "controller", name, "is_connected"]
    wait_until(lambda: rig.ovs.vsctl(connected).strip() == "false", "the switch to notice")
    forget_cached_decisions(rig.ovs)
    assert_every_path_arrives(rig)

    events = rig.connect()
    assert [event["event"] for event in events] == ["switch"] * 8 + ["ready"]
    assert not any(event["is_changed"] for event in events[:-1])
    assert rig.controller.verify()["differences"] == {}


@pytest.mark.root
def test_tampering_is_found_by_verify_and_undone_by_reload(rig: Rig) -> None:
    ofctl(rig.ovs, "del-flows", "p0-t0-0", "table=1,ipv6,ipv6_dst=fcbb:bbbb:1001::/48")
    ofctl(rig.ovs, "add-flow", "p0-t1-0", "table=1,priority=200,actions=drop")
    assert rig.controller.verify()["differences"] == {
        "p0-t0-0": ["the rule of table 1 for uSID 0x1001 is missing"],
        "p0-t1-0": ["a rule that the plan does not have is in table 1: priority 200,"
                    " cookie 0x0000000000000000"],
    }
    rig.controller.tell("reload")
    events = rig.controller.until("ready")
    changed = {event["name"] for event in events if event.get("is_changed")}
    assert changed == {"p0-t0-0", "p0-t1-0"}
    assert rig.controller.verify()["differences"] == {}
    assert_every_path_arrives(rig)


@pytest.mark.root
@pytest.mark.parametrize(("buffer_bytes", "is_lossless"), [
    (DEFAULT_BUFFER_BYTES, False), (RAISED_BUFFER_BYTES, True),
], ids=["default", "raised"])
def test_a_stall_loses_nothing_with_raised_buffers(
    rig: Rig, buffer_bytes: int, is_lossless: bool
) -> None:
    pid = rig.ovs.pids()["ovs-vswitchd"]
    sockets = raise_packet_buffers(pid, buffer_bytes)
    try:
        assert set(sockets) == {p.slot for s in rig.graph.switches for p in s.ports}
        entry = rig.graph.hosts[0].nic_ports[0].peer.slot
        before = socket_drops(sockets)
        receiver = rig.nic(1, 0)  # open before the stall
        backlog_bytes = send_burst_during_stall(rig.nic(0, 0), pid, {entry: sockets[entry]})
        if is_lossless:
            assert backlog_bytes == pytest.approx(BURST * DATA_FRAME_BYTES, rel=0.1)
        wait_until(lambda: not any(socket_backlogs(sockets).values()), "all to be read")
        lost = socket_drops(sockets)[entry] - before[entry]
        assert (lost == 0) is is_lossless
        payloads = [receiver.receive().rest[-4:] for _ in range(BURST - lost)]
        numbers = [int.from_bytes(payload, "big") for payload in payloads]
        assert numbers == list(range(BURST - lost))  # in order; the last ones found no room
        assert receiver.is_quiet()
        others = {slot: count for slot, count in socket_drops(sockets).items() if slot != entry}
        assert others == {slot: before[slot] for slot in others}
    finally:
        close_sockets(sockets.values())


def send_burst_during_stall(sender: Interface, pid: int, entry: Mapping[int, int]) -> int:
    """Returns about how many bytes waited at the entry then."""
    padding = bytes(DATA_FRAME_BYTES - HEADER_BYTES - 4)
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: state_of(pid) == "T", "vswitchd to stop")
        for number in range(BURST):
            sender.send(frame(IN_A_RACK.address, padding + number.to_bytes(4, "big")))
        return sum(socket_backlogs(entry).values())
    finally:
        os.kill(pid, signal.SIGCONT)


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def ofctl(ovs: PrivateOvs, command: str, *arguments: str) -> str:
    return run(["ovs-ofctl", "-O", "OpenFlow13", command, *arguments], env=ovs.environment)


def forget_cached_decisions(ovs: PrivateOvs) -> None:
    """Make the next packet of each path ask the rules again."""
    control = str(ovs.state_dir / "ovs-vswitchd.ctl")
    run(["ovs-appctl", "-t", control, "revalidator/purge"], env=ovs.environment)


# --- the daemons ---------------------------------------------------------------------


@pytest.fixture
def ovs(tmp_path: Path) -> Iterator[PrivateOvs]:
    with namespace() as keeper_pid:
        private = PrivateOvs(tmp_path / "ovs")
        try:
            with network_of(keeper_pid):
                private.start()
            yield private
        finally:
            private.stop()


@pytest.mark.root
def test_it_is_its_own_and_leaves_no_process(ovs: PrivateOvs) -> None:
    pids = ovs.pids()
    assert set(pids) == {"ovsdb-server", "ovs-vswitchd"}
    assert ovs.dead() == []
    owner = ovs.vsctl(["get", "Open_vSwitch", ".", "external_ids:owner"])
    assert owner.strip() == "mrc-testbed"
    ovs.stop()
    assert ovs.pids() == {}
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids.values())


@pytest.mark.root
def test_a_killed_daemon_is_named_and_stop_is_still_harmless(ovs: PrivateOvs) -> None:
    os.kill(ovs.pids()["ovs-vswitchd"], signal.SIGKILL)
    wait_until(lambda: ovs.dead() == ["ovs-vswitchd"], "the daemon to be missed")
    ovs.stop()
    ovs.stop()


@pytest.mark.root
def test_a_stopped_daemon_is_ended_all_the_same(
    ovs: PrivateOvs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("testbed.fabric.ovs.STOP_TIMEOUT_S", 0.1)
    pid = ovs.pids()["ovs-vswitchd"]
    os.kill(pid, signal.SIGSTOP)
    ovs.stop()
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.root
def test_a_port_without_interface_is_named(ovs: PrivateOvs) -> None:
    with pytest.raises(TestbedError, match=r"port p0-t0-0-e1 of p0-t0-0 .*No such device"):
        ovs.add_bridges([Bridge("p0-t0-0", 1, (("p0-t0-0-e1", 1),))])


@pytest.mark.root
def test_a_failed_transaction_tells_command_and_reason(ovs: PrivateOvs) -> None:
    with pytest.raises(TestbedError, match=r"list-ports nowhere.*no bridge named nowhere"):
        ovs.vsctl(["list-ports", "nowhere"])


@pytest.mark.root
def test_the_sockets_of_an_ended_process_are_out_of_reach(ovs: PrivateOvs) -> None:
    pid = ovs.pids()["ovs-vswitchd"]
    ovs.stop()
    with pytest.raises(TestbedError, match=f"sockets of pid {pid} cannot be reached"):
        raise_packet_buffers(pid, RAISED_BUFFER_BYTES)
    assert hold_sockets(pid) == []


@pytest.mark.root
def test_held_sockets_are_packet_sockets_and_none_stays_open(rig: Rig) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    held = hold_sockets(rig.ovs.pids()["ovs-vswitchd"])
    ports = sum(len(switch.ports) for switch in rig.graph.switches)
    assert len(held) >= ports  # each port's, and the one that all send through
    close_sockets(held)
    assert sorted(os.listdir("/proc/self/fd")) == before
    assert rig.ovs.dead() == []


def test_a_state_directory_too_deep_for_a_socket_is_refused(tmp_path: Path) -> None:
    deep = PrivateOvs(tmp_path / ("x" * 100))
    with pytest.raises(TestbedError, match="too long for a socket"):
        deep.start()
    assert deep.pids() == {}


def test_every_port_is_added_once_in_commands_of_bounded_length() -> None:
    bridges = [
        Bridge(f"b{n}", n + 1, tuple((f"b{n}-e{port}", port) for port in range(1, 13)))
        for n in range(48)
    ]
    bridge_words, *chunks = bridge_commands(bridges)
    assert bridge_words.count("add-br") == 48
    assert f"other-config:datapath-id={48:016x}" in bridge_words
    assert max(chunk.count("add-port") for chunk in chunks) <= MAX_PORTS_PER_COMMAND
    added = [tuple(chunk[i + 1 : i + 3]) for chunk in chunks
             for i, word in enumerate(chunk) if word == "add-port"]
    assert added == [(bridge.name, port[0]) for bridge in bridges for port in bridge.ports]
    requests = [w for chunk in chunks for w in chunk if w.startswith("ofport_request=")]
    assert requests == [f"ofport_request={n}" for _ in bridges for n in range(1, 13)]
