"""Each fault takes exactly the paths through it, shows evidence, and heals completely."""

from __future__ import annotations

import json
import re
import time

import pytest
from testbed_process import Running, eventually

from testbed.faults.actions import make_action
from testbed.faults.desired import desired_state
from testbed.faults.impact import faulted_paths
from testbed.faults.targets import parse_target
from topologies.ev import format_ev

pytestmark = pytest.mark.root

DEAD = [
    ("link:p0-t0-0:p0-t1-1", None, None),
    ("port:p0-t1-0:p0-t0-1", None, None),
    ("port:h2:p1-t0-1", None, None),
    ("nic:h1:p1", None, None),
    ("switch:p1-t1-0", None, None),
    ("switch:p0-t0-1", None, None),
    ("switch:p1-t1-1", "blackhole", None),
    ("switch:p0-t0-0", "blackhole", None),
    ("plane:1", None, None),
    ("ev:h0:h3:0x0101", None, None),
    ("link:p1-t0-1:p1-t1-0", "loss", "100%"),
    ("host:h2", "pause", None),
    ("host:h3", "kill", None),
]


def failing(instance: Running) -> set[tuple[int, int, str]]:
    """(src, dst, EV) of every path whose probes stay unanswered."""
    return {(row["src"], row["dst"], row["ev"])
            for row in instance.call("survey", count=2, timeout="300ms") if row["received"] == 0}


@pytest.mark.parametrize(("target", "kind", "ratio"), DEAD)
def test_exactly_the_paths_through_it_fail_and_return(
    healthy: Running, target: str, kind: str | None, ratio: str | None
) -> None:
    graph = healthy.graph()
    share = 1.0 if ratio else None
    state = desired_state(graph, [make_action(parse_target(target), kind, share)])
    expected = {(path.src, path.dst, format_ev(path.ev)) for path in faulted_paths(graph, state)}
    assert expected, "the fault is meant to take some path"
    healthy.call("fail", target=target, kind=kind, ratio=ratio)
    assert failing(healthy) == expected
    (told,) = healthy.call("heal", target=target)
    assert shows_evidence(told["evidence"]), told["evidence"]
    assert failing(healthy) == set()


def shows_evidence(text: str) -> bool:
    """True where it counts frames, misses a carrier, or names a stopped process."""
    counted = re.match(r"(\d+) (?:of \d+ )?frames", text)
    if counted:
        return int(counted[1]) > 0 or "no carrier" in text
    return text.endswith(("is stopped", "has ended"))


def test_links_say_what_is_wrong_with_them(healthy: Running) -> None:
    healthy.call("fail", target="nic:h1:p1")
    healthy.call("fail", target="link:p0-t0-0:p0-t1-1")
    healthy.call("fail", target="link:p0-t0-0:p0-t1-0", kind="loss", ratio="1%")
    odd = {link["name"]: link["state"] for link in healthy.call("status")["links"]
           if link["state"] != "up"}
    assert odd == {"nic:h1:p1": "no carrier", "link:p0-t0-0:p0-t1-1": "blackhole",
                   "link:p0-t0-0:p0-t1-0": "impaired"}


def test_a_crashed_t0_takes_the_carrier_of_its_hosts_and_a_blackhole_does_not(
    healthy: Running,
) -> None:
    def dark() -> set[str]:
        return {link["name"] for link in healthy.call("status")["links"]
                if link["state"] == "no carrier"}

    healthy.call("fail", target="switch:p0-t0-1", kind="blackhole")
    assert dark() == set()
    healthy.call("fail", target="switch:p0-t0-1", kind="crash")
    assert dark() == {"nic:h2:p0", "nic:h3:p0"}


def test_overlapping_faults_heal_one_by_one(healthy: Running) -> None:
    healthy.call("fail", target="switch:p1-t1-0")
    healthy.call("fail", target="link:p1-t0-0:p1-t1-0")
    both = failing(healthy)
    healthy.call("heal", target="switch:p1-t1-0")
    link_only = failing(healthy)
    assert set() < link_only <= both
    healthy.call("heal", target="link:p1-t0-0:p1-t1-0")
    assert failing(healthy) == set()


def test_partial_loss_loses_its_share(healthy: Running) -> None:
    healthy.call("fail", target="port:p0-t0-0:p0-t1-0", kind="loss", ratio="20%")
    (row,) = healthy.call("probe", src=0, dst=2, ev="0x0000", count=500, timeout="250ms")
    assert row["sent"] == 500
    # Answers come back another way, so one draw per probe: 400 +- 4 sigma.
    assert 364 <= row["received"] <= 436
    (told,) = healthy.call("heal")
    assert told["evidence"] == f"{500 - row['received']} frames lost"


def test_pause_and_kill_of_one_host_compose_in_any_order(healthy: Running) -> None:
    for kinds in (("pause", "kill"), ("kill", "pause")):
        for kind in kinds:
            healthy.call("fail", target="host:h2", kind=kind)
        assert len(healthy.call("heal")) == 2
        assert failing(healthy) == set()


def test_a_killed_agent_is_a_fault_and_no_problem(healthy: Running) -> None:
    healthy.call("fail", target="host:h1", kind="kill")
    assert healthy.call("status")["problems"] == []


def test_a_timer_of_a_fault_healed_by_hand_leaves_the_next_one_alone(healthy: Running) -> None:
    healthy.call("fail", target="plane:0", duration="600ms")
    healthy.call("heal")
    healthy.call("fail", target="plane:0")
    time.sleep(0.8)
    assert [fault["target"] for fault in healthy.call("status")["faults"]] == ["plane:0"]


def test_corruption_flips_payload_bits_and_frames_still_arrive(healthy: Running) -> None:
    healthy.call("fail", target="port:p0-t0-0:p0-t1-0", kind="corrupt", ratio="100%")
    healthy.call("probe", src=0, dst=2, ev="0x0000", count=5, size="1000B", timeout="250ms")
    (told,) = healthy.call("heal")
    assert told["evidence"] == "5 frames corrupted"


def test_a_fault_with_a_time_heals_by_itself(healthy: Running) -> None:
    fault = healthy.command("fail", "link:p0-t0-0:p0-t1-1", "--for", "300ms", "--json")
    assert fault.returncode == 0, fault.stderr
    assert json.loads(fault.stdout)["target"] == "link:p0-t0-0:p0-t1-1"
    eventually(lambda: healthy.call("status")["faults"] == [])
    assert failing(healthy) == set()


def test_the_same_fault_twice_and_a_heal_of_nothing_are_usage_errors(healthy: Running) -> None:
    assert healthy.command("fail", "plane:0").returncode == 0
    again = healthy.command("fail", "plane:0")
    assert again.returncode == 2
    assert "active already" in again.stderr
    nothing = healthy.command("heal", "plane:1")
    assert nothing.returncode == 2
    assert "no fault is active on plane:1" in nothing.stderr


@pytest.mark.parametrize("target", ["nic:h9:p0", "nic:h0:p7", "switch:p0-t1-9", "ev:h0:h3:0x0909",
                                    "link:p0-t0-0:p1-t1-0", "nonsense", "port:h0:h1", "host:h4"])
def test_targets_outside_the_topology_are_usage_errors(healthy: Running, target: str) -> None:
    done = healthy.command("fail", target)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert healthy.call("status")["faults"] == []
