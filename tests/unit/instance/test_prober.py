"""Which paths a readiness check takes, and how answers are put together."""

from __future__ import annotations

from collections import Counter

import pytest

from testbed.forwarding.paths import path_count
from testbed.instance.prober import (
    SAMPLE_PATHS,
    Answer,
    ProbeOptions,
    choose_paths,
    total_paths,
)
from testbed.intent.topology import load_topology


@pytest.mark.parametrize(("preset", "total"), [("tiny", 40), ("quad", 608), ("octo", 1216),
                                               ("wide", 59_136), ("rack4", 816)])
def test_the_total_counts_every_ordered_pair(preset: str, total: int) -> None:
    spec = load_topology(preset)
    hosts = range(spec.host_count)
    counted = sum(path_count(spec, src, dst) for src in hosts for dst in hosts if src != dst)
    assert total_paths(spec) == counted == total


@pytest.mark.parametrize("preset", ["tiny", "quad", "octo", "rack4"])
def test_small_topologies_are_checked_whole(preset: str) -> None:
    spec = load_topology(preset)
    chosen = choose_paths(spec)
    assert len(set(chosen)) == len(chosen) == total_paths(spec)


def test_a_sample_is_fair_to_senders_and_meets_every_nic_port_and_t1() -> None:
    spec = load_topology("wide")
    chosen = choose_paths(spec)
    assert len(set(chosen)) == len(chosen) == SAMPLE_PATHS
    assert set(Counter(path.src for path in chosen).values()) == {SAMPLE_PATHS // 64}
    assert len({(path.dst, path.plane) for path in chosen}) == spec.nic_port_count
    assert len({(path.plane, path.t1) for path in chosen if path.t1 is not None}) == spec.t1_count


def test_a_sample_repeats_with_its_seed() -> None:
    spec = load_topology("wide")
    assert choose_paths(spec, seed=3) == choose_paths(spec, seed=3)
    assert choose_paths(spec, seed=3) != choose_paths(spec, seed=4)


def test_a_time_out_grows_with_the_dilation_by_what_answers_take() -> None:
    """9,404 ns of base RTT; 64 probes of 150 bytes from each of 4 hosts over 2 ports of one."""
    spec = load_topology("tiny")
    assert ProbeOptions(timeout_ms=700).at(spec, 1) == ProbeOptions(timeout_ms=700)
    assert ProbeOptions(timeout_ms=700).at(spec, 10**6).timeout_ms == 700 + 9_404 + 1_536
    assert ProbeOptions(timeout_ms=700, frame_bytes=1500).at(spec, 10**6).timeout_ms == (
        700 + 9_404 + 15_360)


def test_an_answer_is_complete_only_with_every_probe_back() -> None:
    path = choose_paths(load_topology("tiny"))[0]
    assert Answer(path, 3, 3, 0, (1, 2, 3)).is_complete
    assert not Answer(path, 3, 2, 0, (1, 2)).is_complete
    assert not Answer(path, 0, 0, 0, ()).is_complete
