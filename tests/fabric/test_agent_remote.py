"""Two hosts joined by veth pairs: sshd, agents started over SSH, probes, and how agents die."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from testbed.agent.config import AgentConfig, PortConfig
from testbed.agent.frames import FrameHeaders
from testbed.agent.loop import Loop
from testbed.agent.port import Port
from testbed.remote.agent_client import AgentClient, agent_command
from testbed.remote.connect import Connection, SshTarget, connect
from testbed.remote.errors import AgentDied, AgentRefused, RemoteError
from testbed.remote.fleet import Fleet
from testbed.remote.keys import RunKeys, make_keys
from testbed.remote.sshd import prepare_run_directory, sshd_argv, sshd_config
from testbed.rpc import Notification
from topologies.ev import make_ev
from topologies.usid import Kind, address_of, encode

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces"),
]

CHECKOUT = Path(__file__).resolve().parents[2]
COMMAND = agent_command(sys.executable, CHECKOUT)
PLANES = (0, 1)
LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
PATIENCE_S = 20


class Namespace:
    """A network namespace that lives as long as this object and what runs in it."""

    def __init__(self) -> None:
        self.fd = in_thread(self._unshare)
        self.path = f"/proc/{os.getpid()}/fd/{self.fd}"

    @staticmethod
    def _unshare() -> int:
        if LIBC.unshare(CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare")
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def enter(self) -> None:
        """Move the calling thread in, for good."""
        if LIBC.setns(self.fd, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")

    def argv(self, *argv: str) -> list[str]:
        return ["nsenter", f"--net={self.path}", *argv]

    def run(self, *argv: str) -> None:
        subprocess.run(self.argv(*argv), check=True, capture_output=True)

    def within(self, work: Callable[[], object]) -> object:
        """`work` done by a thread inside; its sockets stay inside."""
        def enter_and_work() -> object:
            self.enter()
            return work()

        return in_thread(enter_and_work)


def in_thread(work: Callable[[], object]):
    """The result of `work`, done in a thread of its own."""
    box: list[object] = []
    thread = threading.Thread(target=lambda: box.append(work()))
    thread.start()
    thread.join()
    return box[0]


class Lab:
    """Hosts h0 and h1, one veth pair per plane between them, and a management network."""

    def __init__(self, directory: Path) -> None:
        self.control = Namespace()
        self.hosts = [Namespace(), Namespace()]
        self.keys: RunKeys = make_keys(directory / "keys")
        self.fstab = prepare_run_directory(directory / "files")
        self.sshds: list[subprocess.Popen[bytes]] = []
        self._directory = directory
        self._wire()

    def _wire(self) -> None:
        for plane in PLANES:
            ends = [
                ["index", str(slot(host, plane)), "name", nic(host, plane),
                 "address", mac(host, plane).hex(":"), "netns", self.hosts[host].path]
                for host in (0, 1)
            ]
            subprocess.run(["ip", "link", "add", *ends[0], "type", "veth", "peer", *ends[1]],
                           check=True)
        self.control.run("ip", "link", "add", "mgmt0", "type", "bridge")
        self.control.run("ip", "address", "add", "198.18.0.1/16", "dev", "mgmt0")
        self.control.run("ip", "link", "set", "mgmt0", "up")
        for number, host in enumerate(self.hosts):
            self._manage(number, host)
            for plane in PLANES:
                name = nic(number, plane)
                host.run("sysctl", "-q", "-w", f"net.ipv6.conf.{name}.disable_ipv6=1")
                host.run("ip", "link", "set", name, "mtu", "9000", "up")

    def _manage(self, number: int, host: Namespace) -> None:
        host.run("ip", "link", "set", "lo", "up")
        host.run("ip", "link", "add", "mgmt", "type", "veth", "peer",
                 "name", f"mgmt-h{number}", "netns", self.control.path)
        host.run("ip", "address", "add", f"{self.target(number).address}/16", "dev", "mgmt")
        host.run("ip", "link", "set", "mgmt", "up")
        self.control.run("ip", "link", "set", f"mgmt-h{number}", "master", "mgmt0", "up")

    def target(self, number: int) -> SshTarget:
        return SshTarget(f"h{number}", f"198.18.1.{number}")

    def start_sshd(self) -> None:
        for number, host in enumerate(self.hosts):
            config = self._directory / f"sshd-h{number}.conf"
            config.write_text(sshd_config(self.target(number).address, self.keys))
            self.sshds.append(
                subprocess.Popen(host.argv(*with_mounts(self.fstab, sshd_argv(config))))
            )

    def open_socket(self, address: tuple[str, int], timeout_s: float) -> socket.socket:
        def dial() -> object:
            try:
                return socket.create_connection(address, timeout_s)
            except OSError as error:
                return error

        result = self.control.within(dial)
        if isinstance(result, OSError):
            raise result
        assert isinstance(result, socket.socket)
        return result

    def connect(self, number: int) -> Connection:
        return connect(self.target(number), self.keys, PATIENCE_S, self.open_socket)

    def close(self) -> None:
        for sshd in self.sshds:
            sshd.terminate()
            sshd.wait()
        for namespace in (self.control, *self.hosts):
            os.close(namespace.fd)


def with_mounts(fstab: Path, argv: list[str]) -> list[str]:
    """`argv` in a private mount namespace with these mounts."""
    return ["unshare", "--mount", "--propagation", "private",
            "sh", "-c", 'mount -a -T "$1" && shift && exec "$@"', "sh", str(fstab), *argv]


def slot(host: int, plane: int) -> int:
    return 1000 + 2 * plane + host


def nic(host: int, plane: int) -> str:
    return f"h{host}-eth{plane}"


def mac(host: int, plane: int) -> bytes:
    return bytes([2, 0, 0, 0, plane, host])


def inner(host: int) -> IPv6Address:
    return IPv6Address(f"2001:db8::{host + 1:x}")


def arrival_address(host: int, plane: int) -> IPv6Address:
    """What is left of a path's address on a wire without switches."""
    return address_of([encode(plane, Kind.DOWNLINK, host)])


def config(host: int, **changes: int) -> AgentConfig:
    ports = tuple(
        PortConfig(plane, nic(host, plane), mac(host, plane), mac(1 - host, plane),
                   slot(host, plane))
        for plane in PLANES
    )
    return replace(
        AgentConfig(host, inner(host).packed, ports, link_delay_ns=1000, tdf=10), **changes
    )


def path(plane: int, uplink: int = 0) -> dict[str, object]:
    """The way from h0 to h1 over one plane."""
    return {
        "ev": make_ev(plane, uplink), "plane": plane, "dst": str(inner(1)),
        "address": str(arrival_address(1, plane)),
        "reverse": str(arrival_address(0, plane)),
    }


def eventually(condition: Callable[[], object]) -> None:
    """Wait until it holds; fail when it never does."""
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until, "the condition never came true"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("lab"))
    try:
        lab.start_sshd()
        yield lab
    finally:
        lab.close()


class Heard:
    """What the clients reported."""

    def __init__(self) -> None:
        self.deaths: list[tuple[str, str]] = []
        self.notifications: list[tuple[str, Notification]] = []

    def on_death(self, host: str, reason: str) -> None:
        self.deaths.append((host, reason))

    def on_notification(self, host: str, notification: Notification) -> None:
        self.notifications.append((host, notification))

    def carriers(self) -> list[tuple[str, int, bool]]:
        return [(host, note.data["plane"], note.data["carrier"])
                for host, note in self.notifications if note.event == "port"]


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def fleet(lab: Lab, heard: Heard) -> Iterator[Fleet]:
    fleet = Fleet(lab.keys, COMMAND, heard.on_death, heard.on_notification, lab.open_socket)
    try:
        fleet.open({lab.target(number): config(number) for number in (0, 1)}, PATIENCE_S)
        yield fleet
    finally:
        fleet.close()


@pytest.fixture
def lone(lab: Lab, heard: Heard) -> Iterator[AgentClient]:
    """An agent on h0 that nobody keeps alive."""
    client = AgentClient(lab.connect(0), heard.on_death)
    client.start(COMMAND, PATIENCE_S)
    yield client
    client.close()
    client.connection.close()


def has_ended(pid: int) -> bool:
    """Gone, or a zombie that its sshd has not reaped yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_hello_describes_the_host(fleet: Fleet) -> None:
    hello = fleet.agents["h1"].call("hello")
    assert hello["host"] == 1
    assert hello["versions"]["kernel"] == os.uname().release
    assert [(p["plane"], p["interface"], p["mac"], p["carrier"]) for p in hello["ports"]] == [
        (plane, nic(1, plane), mac(1, plane).hex(":"), True) for plane in PLANES
    ]
    assert fleet.agents["h1"].is_alive
    assert fleet.agents["h1"].death is None


def test_agents_are_small(fleet: Fleet) -> None:
    pid = fleet.agents["h0"].call("hello")["pid"]
    status = Path(f"/proc/{pid}/status").read_text()
    assert int(status.partition("VmRSS:")[2].split()[0]) < 40_000


def test_probe_over_every_plane(fleet: Fleet) -> None:
    params = {"paths": [path(0), path(1), path(1, 3)], "count": 3, "timeout_ms": 5000}
    rows = fleet.agents["h0"].call("probe", params)["rows"]
    assert [row["ev"] for row in rows] == [make_ev(0, 0), make_ev(1, 0), make_ev(1, 3)]
    for row in rows:
        assert (row["sent"], row["received"], row["links"]) == (3, 3, 2)
        assert all(0 < rtt < 5_000_000_000 for rtt in row["rtt_wall_ns"])
        assert row["rtt_ns"] == [rtt // 10 + 2 * 1000 for rtt in row["rtt_wall_ns"]]
    assert fleet.agents["h1"].call("counters")["probes"]["answered"] == 9


def test_probes_fill_the_frame_asked_for(fleet: Fleet) -> None:
    params = {"paths": [path(0)], "timeout_ms": 5000, "size": 4238, "dscp": 4, "ecn": 2}
    assert fleet.agents["h0"].call("probe", params)["rows"][0]["received"] == 1
    port = fleet.agents["h1"].call("counters")["ports"][0]
    assert (port["received"], port["received_bytes"]) == (1, 4238)
    assert (port["sent"], port["foreign"], port["misrouted"]) == (1, 0, 0)


def test_many_probes_at_once_lose_nothing(fleet: Fleet) -> None:
    params = {"paths": [path(plane, uplink) for plane in PLANES for uplink in range(256)],
              "count": 8, "timeout_ms": 10_000}
    runs = [fleet.agents["h0"].submit("probe", params) for _ in range(2)]
    for run in runs:
        rows = run.result(60)["rows"]
        assert len(rows) == 512
        assert {(row["sent"], row["received"]) for row in rows} == {(8, 8)}
    counters = [fleet.agents[host].call("counters") for host in ("h0", "h1")]
    assert {port["kernel_drops"] for c in counters for port in c["ports"]} == {0}


def test_wrong_plane_and_foreign_frames_are_only_counted(lab: Lab, fleet: Fleet) -> None:
    wrong_plane = FrameHeaders(
        mac(1, 0), mac(0, 0), arrival_address(1, 0).packed, inner(0).packed, inner(1).packed,
        make_ev(1, 0), 46,
    ).pack(32) + bytes(32)  # fmt: skip

    def send() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
            sock.bind((nic(0, 0), 0))
            sock.send(wrong_plane)
            sock.send(mac(1, 0) + mac(0, 0) + b"\x08\x00" + bytes(46))

    lab.hosts[0].within(send)

    def port() -> dict[str, int]:
        return fleet.agents["h1"].call("counters")["ports"][0]

    eventually(lambda: port()["received"] == 2)
    assert (port()["misrouted"], port()["foreign"], port()["sent"]) == (1, 1, 0)


def test_unanswered_probe_is_lost_not_refused(fleet: Fleet) -> None:
    lost = path(0) | {"dst": "2001:db8::dead"}
    row = fleet.agents["h0"].call("probe", {"paths": [lost], "timeout_ms": 50})["rows"][0]
    assert (row["sent"], row["received"], row["refused"]) == (1, 0, 0)
    assert row["links"] is None


def test_port_down_is_an_event_and_comes_back(lab: Lab, fleet: Fleet, heard: Heard) -> None:
    agent = fleet.agents["h0"]
    params = {"paths": [path(0), path(1)], "timeout_ms": 2000}
    lab.hosts[0].run("ip", "link", "set", nic(0, 0), "down")
    eventually(lambda: ("h0", 0, False) in heard.carriers())
    eventually(lambda: ("h1", 0, False) in heard.carriers())
    rows = agent.call("probe", params)["rows"]
    assert [(row["sent"], row["refused"], row["received"]) for row in rows] == [
        (0, 1, 0), (1, 0, 1)
    ]
    port = agent.call("counters")["ports"][0]
    assert port["down_events"] >= 1
    assert port["send_errors"] == {"ENETDOWN": 1}
    assert not agent.call("hello")["ports"][0]["carrier"]

    lab.hosts[0].run("ip", "link", "set", nic(0, 0), "up")
    eventually(lambda: heard.carriers()[-2:] in [
        [("h0", 0, True), ("h1", 0, True)], [("h1", 0, True), ("h0", 0, True)]
    ])
    assert [row["received"] for row in agent.call("probe", params)["rows"]] == [1, 1]
    assert heard.deaths == []


def test_port_down_does_not_spin(lab: Lab) -> None:
    """EPOLLERR of a dead interface must be consumed, or the loop never sleeps again."""
    port, loop, wakes = Port(config(0).ports[0], 1 << 20), Loop(), []

    def on_readable() -> None:
        wakes.append(list(port.receive()))

    def wait_after_down() -> None:
        port.open()
        loop.add(port.fileno(), on_readable)
        lab.hosts[0].run("ip", "link", "set", nic(0, 0), "down")
        loop.wait(time.monotonic_ns() + PATIENCE_S * 10**9)
        loop.wait(time.monotonic_ns() + 10**7)

    try:
        lab.hosts[0].within(wait_after_down)
        assert wakes == [[]]
        assert port.counters.down_events == 1
        assert not port.send(bytes(134))
    finally:
        lab.hosts[0].run("ip", "link", "set", nic(0, 0), "up")
        port.close()
        loop.close()


def test_frames_that_a_full_socket_drops_are_counted(lab: Lab) -> None:
    """Of an agent that does not get to read: what is not received was dropped, none is gone."""
    sent = 100
    near, far = Port(config(0).ports[0], 1 << 20), Port(config(1).ports[0], 4_096)
    try:
        lab.hosts[0].within(near.open)
        lab.hosts[1].within(far.open)
        frame = near.header + bytes(4_000)
        assert all(near.send(frame) for _ in range(sent))
        received = 0
        while frames := far.receive():
            received += len(frames)
        assert 0 < received < sent
        assert far.read_counters().kernel_drops == sent - received
        assert far.counters.received == received
        assert far.counters.received_bytes == received * len(frame)
    finally:
        near.close()
        far.close()


def test_bad_requests_are_refused_by_name(fleet: Fleet) -> None:
    agent = fleet.agents["h0"]
    with pytest.raises(AgentRefused, match="host h0 refused 'prob': no method 'prob'"):
        agent.call("prob")
    with pytest.raises(AgentRefused, match=r"probe\.timeout_ms is 0: give") as refused:
        agent.call("probe", {"paths": [path(0)], "timeout_ms": 0})
    assert refused.value.kind == "ParamsError"
    with pytest.raises(AgentRefused, match="plane 5"):
        agent.call("probe", {"paths": [path(0) | {"plane": 5}], "timeout_ms": 1})
    with pytest.raises(AgentRefused, match="configured already"):
        agent.call("configure", config(0).to_params())
    assert agent.is_alive


def test_wrong_wiring_is_found_when_configured(lone: AgentClient) -> None:
    params = config(0).to_params()
    params["ports"][0]["mac"] = "02:00:00:00:00:99"
    with pytest.raises(AgentRefused, match="h0-eth0 has index 1000, MAC 02:00:00:00:00:00"):
        lone.call("configure", params)
    with pytest.raises(AgentRefused, match="not configured"):
        lone.call("counters")
    assert lone.call("configure", config(0).to_params())["host"] == 0


def test_killed_agent_is_noticed_and_named(fleet: Fleet, heard: Heard) -> None:
    agent = fleet.agents["h1"]
    os.kill(agent.call("hello")["pid"], signal.SIGKILL)
    eventually(lambda: heard.deaths)
    assert heard.deaths == [("h1", "the agent of host h1 was killed by a signal")]
    assert not agent.is_alive
    with pytest.raises(AgentDied, match="h1 was killed"):
        agent.call("hello")
    assert agent.death == heard.deaths[0][1]
    assert fleet.agents["h0"].is_alive


def test_killed_agent_can_be_replaced(lab: Lab, fleet: Fleet, heard: Heard) -> None:
    os.kill(fleet.agents["h1"].call("hello")["pid"], signal.SIGKILL)
    eventually(lambda: heard.deaths)
    hello = fleet.replace(lab.target(1), config(1), PATIENCE_S)
    assert hello["host"] == 1
    assert fleet.agents["h1"].is_alive
    params = {"paths": [path(0)], "timeout_ms": 5000}
    assert fleet.agents["h0"].call("probe", params, PATIENCE_S)["rows"][0]["received"] == 1


def test_living_agent_can_be_replaced(lab: Lab, fleet: Fleet, heard: Heard) -> None:
    pid = fleet.agents["h1"].call("hello")["pid"]
    assert fleet.replace(lab.target(1), config(1), PATIENCE_S)["pid"] != pid
    eventually(lambda: has_ended(pid))
    assert heard.deaths == []


def test_death_fails_the_calls_under_way(fleet: Fleet) -> None:
    agent = fleet.agents["h0"]
    pid = agent.call("hello")["pid"]
    lost = path(0) | {"dst": "2001:db8::dead"}
    run = agent.submit("probe", {"paths": [lost], "timeout_ms": 600_000})
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(AgentDied, match="host h0"):
        run.result(PATIENCE_S)


def test_lost_connection_is_noticed_and_ends_the_agent(lone: AgentClient, heard: Heard) -> None:
    pid = lone.call("hello")["pid"]
    lone.connection.close()
    eventually(lambda: heard.deaths)
    assert "SSH connection to host h0 was lost" in heard.deaths[0][1]
    eventually(lambda: has_ended(pid))


def test_end_of_input_ends_the_agent(lone: AgentClient) -> None:
    pid = lone.call("hello")["pid"]
    assert lone._channel is not None
    lone._channel.shutdown_write()
    eventually(lambda: lone.death)
    assert lone.death == "the agent of host h0 ended with exit status 0"
    assert has_ended(pid)


def test_silence_ends_the_agent(lone: AgentClient, heard: Heard) -> None:
    lone.call("configure", config(0, heartbeat_timeout_ms=100).to_params())
    eventually(lambda: heard.deaths)
    host, reason = heard.deaths[0]
    assert host == "h0"
    assert "exit status 5: no message for 0.1 s" in reason


def test_paused_agent_is_silent_but_alive_and_goes_on(fleet: Fleet) -> None:
    agent = fleet.agents["h0"]
    pid = agent.call("hello")["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(RemoteError, match=r"host h0 did not answer 'hello' within 0\.1 s"):
            agent.call("hello", timeout_s=0.1)
        assert agent.is_alive
        assert agent.silent_s >= 0.1
    finally:
        os.kill(pid, signal.SIGCONT)
    assert agent.call("hello")["pid"] == pid


def test_shutdown_leaves_no_process_and_is_no_death(lab: Lab, heard: Heard) -> None:
    client = AgentClient(lab.connect(1), heard.on_death)
    client.start(COMMAND, PATIENCE_S)
    pid = client.call("hello")["pid"]
    client.close()
    eventually(lambda: has_ended(pid))
    assert heard.deaths == []
    client.connection.close()


def test_agent_that_cannot_start_says_why(lab: Lab) -> None:
    connection = lab.connect(0)
    client = AgentClient(connection)
    with pytest.raises(AgentDied, match=r"host h0 ended with exit status 1: .*no.such.module"):
        client.start([sys.executable, "-m", "no.such.module"], PATIENCE_S)
    connection.close()


def test_files_go_and_come_back(lab: Lab, tmp_path: Path) -> None:
    connection = lab.connect(0)
    there, here = tmp_path / "there", tmp_path / "here"
    (tmp_path / "source").write_bytes(bytes(range(256)) * 1000)
    connection.put(tmp_path / "source", str(there))
    connection.get(str(there), here)
    assert here.read_bytes() == bytes(range(256)) * 1000
    with pytest.raises(RemoteError, match="failed on host h0"):
        connection.get(str(tmp_path / "absent"), here)
    connection.close()


def test_another_runs_keys_are_refused_on_both_sides(lab: Lab, tmp_path: Path) -> None:
    other = make_keys(tmp_path / "keys")
    with pytest.raises(RemoteError, match=r"h0 .*shows another host key"):
        connect(lab.target(0), other, PATIENCE_S, lab.open_socket)
    stranger = make_keys(tmp_path / "stranger")
    stranger.host_public_key.write_bytes(lab.keys.host_public_key.read_bytes())
    with pytest.raises(RemoteError, match=r"h0 .*refused this run's key"):
        connect(lab.target(0), stranger, PATIENCE_S, lab.open_socket)


def test_host_without_sshd_is_named(lab: Lab) -> None:
    nobody = SshTarget("h9", "198.18.0.1")
    with pytest.raises(RemoteError, match=r"host h9 \(198\.18\.0\.1 port 22\) cannot"):
        connect(nobody, lab.keys, 0.1, lab.open_socket)


@pytest.mark.parametrize("folder", ["plain", "with blank"])
def test_sshd_reads_the_configuration_as_meant(tmp_path: Path, folder: str) -> None:
    """Also where a path has a blank, which fstab and sshd_config each write their own way."""
    directory = tmp_path / folder
    directory.mkdir()
    keys, table = make_keys(directory / "keys"), prepare_run_directory(directory / "files")
    file = directory / "sshd.conf"
    file.write_text(sshd_config("198.18.0.7", keys))
    shown = subprocess.run(with_mounts(table, [*sshd_argv(file), "-T"]), check=True,
                           capture_output=True, text=True).stdout.splitlines()
    assert {
        "listenaddress 198.18.0.7:22", "maxstartups 200:30:400", "usepam no", "strictmodes no",
        f"hostkey {keys.host_key}", f"authorizedkeysfile {keys.authorized_keys}",
    } <= set(shown)


def test_mounts_are_private(lab: Lab) -> None:
    """sshd's mounts are there, and seen by nobody else."""
    mine, theirs = (
        Path(f"/proc/{pid}/mountinfo").read_text().count(str(lab.fstab.parent))
        for pid in ("self", lab.sshds[0].pid)
    )
    assert (mine, theirs) == (0, 3)
