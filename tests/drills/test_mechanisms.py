"""A check that cannot fail is a defect: without its mechanism each drill fails, and says where.

Each row takes out what the paper's figure is about (see :mod:`drills.disabled`), plays the drill
in the simulator, and names the checks that have to see it. Others may fail beside them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from drills import disabled
from drills.playing import failed, judgement_of

from testbed.drills import drill_names, load_drill


class Broken(NamedTuple):
    """A drill, what it is played without, and the checks that must fail then."""

    drill: str
    disable: Callable[[pytest.MonkeyPatch], None]
    checks: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.drill} without {self.disable.__name__}"


# Nearly a third of them all, for `make test`: the fast ones, and among them each kind of mechanism.
QUICK = (
    Broken("capacity-quarter", disabled.failure_detection, (
        "one uplink less", "three uplinks less", "as before")),
    Broken("ev-loss-20", disabled.failure_detection, (
        "EV-A goes out at once", "EV-A goes out at 5 %")),
    Broken("ev-loss-20", disabled.spares, (
        "EV-B carries the plane", "line rate throughout", "the worst moment",
        "EV-B carries the plane at 5 %", "line rate throughout at 5 %",
        "the worst moment at 5 %")),
    Broken("nic-flap-4of8", disabled.port_status, ("half from h1",)),
    Broken("p2p-bandwidth", disabled.spraying_over_planes, ("cross-T1", "T0-local")),
    Broken("p2p-latency", disabled.prompt_acknowledgement, ("cross-T1", "T0-local")),
    Broken("p2p-latency", disabled.short_cut_at_t0, ("T0-local", "far above near")),
    Broken("t0-crash", disabled.carrier, (
        "seven of eight planes from h0", "seven of eight planes from h1")),
    Broken("t1-crash", disabled.loss_evidence, (
        "no loss of goodput while it is dead", "nothing more is lost", "as before")),
    Broken("t1-crash", disabled.retransmission, ("as before", "no queue pair fails")),
    Broken("uplink-flap-8", disabled.return_of_evs, ("EVs that came back",)),
)

OTHERS = (
    Broken("allreduce-t1-crash", disabled.failure_detection, (
        "its paths are left", "by every queue pair", "with the switch gone")),
    Broken("capacity-tracking", disabled.return_of_evs, ("as before",)),
    Broken("capacity-tracking", disabled.failure_detection, (
        "the dead uplink is left", "a quarter left")),
    Broken("ev-rebalance", disabled.ecn, ("EV-A is marked", "marks move them at once")),
    Broken("ev-rebalance", disabled.spares, (
        "marks move them at once", "EV-B carries one of the flows", "near peak",
        "near peak from h0", "near peak from h1")),
    Broken("flap-storm", disabled.failure_detection, ("paths are left",)),
    Broken("flap-storm", disabled.loss_evidence, ("step time",)),
    Broken("flap-storm", disabled.quick_recovery, ("the slowest step",)),
    Broken("incast-victim", disabled.congestion_control, (
        "the victim is untouched", "the bottleneck is full", "the victim at its worst")),
    Broken("incast-victim", disabled.congestion_control_of_one, ("shared evenly",)),
    Broken("incast-victim", disabled.trimming, (
        "the last hop trims", "and drops nothing", "nothing is lost without a trace")),
    Broken("incast-victim-8", disabled.congestion_control, (
        "the victim is untouched", "the victim at its worst")),
    Broken("incast-victim-8", disabled.trimming, (
        "the last hop trims", "and drops nothing", "hardly any is lost without a trace")),
    Broken("nic-staircase", disabled.carrier, (
        "one-down from h0", "two-down from h0", "four-down from h0", "six-down from h0",
        "seven-down from h0", "three-back from h0")),
    Broken("nic-staircase", disabled.port_status, (
        "interruption at two", "two-down from h1", "four-down from h1", "six-down from h1",
        "seven-down from h1", "lost meanwhile", "three-back from h1")),
    Broken("p2p-bandwidth", disabled.window_for_the_distance, ("cross-T1", "far as near")),
    Broken("permutation", disabled.spraying_over_evs, (
        "all together", "the slowest flow", "all alike")),
    Broken("sendrecv-scale", disabled.spraying_over_planes, (
        "512 KiB above 64 KiB", "4 MiB above 512 KiB", "8 MiB near the line rate")),
    Broken("startup-bad-paths", disabled.failure_detection, (
        "line rate without them", "few losses at first", "hardly any later",
        "the path is left")),
    Broken("t1-blackhole-reboot", disabled.failure_detection, (
        "paths are mapped out", "by every queue pair", "steps with the paths gone",
        "steps at the reboot", "nothing is lost at the reboot", "paths return")),
    Broken("t1-blackhole-reboot", disabled.quick_recovery, ("a dip when it fails",)),
    Broken("t1-crash", disabled.failure_detection, (
        "every queue pair leaves it", "nothing more is lost")),
    Broken("t1-crash", disabled.return_of_evs, ("every queue pair is back on it",)),
    Broken("transceiver-glitch", disabled.port_status, (
        "slower while it flaps", "the slowest step")),
    Broken("transceiver-glitch", disabled.return_of_ports, ("full at once afterwards",)),
    Broken("uplink-flap-8", disabled.failure_detection, (
        "when they go down", "while they are down", "nothing more is lost",
        "EVs that were left")),
    Broken("uplink-sequence-20", disabled.failure_detection, (
        "while they go down", "the worst moment", "with twenty gone", "EVs that were left",
        "EVs that are left")),
)


def is_seen(broken: Broken, folder: Path, patch: pytest.MonkeyPatch) -> None:
    broken.disable(patch)
    judgement = judgement_of(broken.drill, folder)
    assert judgement.word == "FAIL", judgement.reasons
    assert set(broken.checks) <= failed(judgement)


@pytest.mark.parametrize("broken", QUICK, ids=str)
def test_it_is_seen(broken: Broken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    is_seen(broken, tmp_path, monkeypatch)


@pytest.mark.soak
@pytest.mark.parametrize("broken", OTHERS + QUICK, ids=str)
def test_each_is_seen(broken: Broken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    is_seen(broken, tmp_path, monkeypatch)


def test_every_drill_of_the_library_is_broken_somehow() -> None:
    assert {broken.drill for broken in OTHERS + QUICK} == set(drill_names())


@pytest.mark.parametrize("broken", OTHERS + QUICK, ids=str)
def test_the_checks_named_are_checks_of_the_drill(broken: Broken) -> None:
    names = {check.name for check in load_drill(broken.drill).checks if not check.is_steady}
    assert set(broken.checks) <= names
