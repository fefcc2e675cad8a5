"""Drill files as a whole."""

from __future__ import annotations

import pytest
from unit.drills.files import CHECKS, HEAD, TIMELINE, drill_of, faults_of

from testbed.intent.workload import from_document


def test_a_drill_is_read() -> None:
    drill = drill_of(head=HEAD + "about: |\n  Some\n  words.\nfigure: losses\ntdf: 5000\n"
                                 "sample: 3rtt\n")
    assert (drill.name, drill.title, drill.paper) == ("test", "A test", "Fig 0: nothing")
    assert drill.about == "Some\nwords."
    assert (drill.topology.name, drill.figure, drill.transport) == ("tiny", "losses", "mrc")
    assert (drill.takes(False), drill.takes(True), drill.budget_packets) == (10, 1, 1000)
    assert drill.duration_ns == 100 * 9404
    assert drill.sample_ns == 3 * 9404
    assert drill.workload["tdf"] == 5000
    assert drill.workload["seed"] == 1
    assert from_document(drill.workload, drill.topology).to_document() == drill.workload
    assert [check.is_steady for check in drill.checks] == [True, False]


def test_a_topology_can_be_a_preset_with_other_values() -> None:
    drill = drill_of(head=HEAD.replace("tiny", "{preset: tiny, port_rate: 50Gbps}"))
    assert drill.topology.port_rate_bps == 50 * 10**9


def test_a_workload_that_ends_by_itself_has_no_duration() -> None:
    drill = drill_of(head=HEAD.replace("duration: 100rtt", "iters: 10"))
    assert drill.duration_ns is None


@pytest.mark.parametrize(("old", "new", "complaint"), [
    ("drill: test\n", "", "drill is missing"), ("drill: test", "drill: Test", "cannot be a name"),
    ("topology: tiny", "topology: tinny", "did you mean 'tiny'"),
    ("topology: tiny", "topology: {preset: tiny, planes: 9}", "test.yaml:4: topology: planes=9"),
    ("topology: tiny", "topology: full", "can only be described"),
    ("write-bw", "write-wb", "did you mean 'write-bw'"),
    ("dst: h2", "dst: h9", "host h9 does not exist"),
    ("qps: 1", "qsp: 1", "did you mean 'qps'"),
    ("qps: 1", "tdf: 5", "stands beside the workload"),
    ("packets: 1000", "packets: many", "is not a number of packets"),
    ("packets: 1000", "pakets: 1000", "did you mean 'packets'"),
    ("sim: 1s", "sim: 1parsec", "unknown unit"), (", sim: 1s", "", "takes.sim is missing"),
    ("packets: 1000", "packets: 1000\ntransport: roce", "use mrc"),
    ("packets: 1000", "packets: 1000\ntdf: soon", "use auto or 1 to"),
    ("packets: 1000", "packets: 1000\nsample: soon", "sample"),
    ("packets: 1000", "packets: 1000\nfigure: lossses",
     "test.yaml:7: figure: there is no figure 'lossses', did you mean 'losses'?"),
    ("workload: {workload", "workload: [workload]\nx: {workload", "write its keys"),
])
def test_faults_are_told(old: str, new: str, complaint: str) -> None:
    assert old in HEAD
    assert complaint in faults_of(head=HEAD.replace(old, new))


def test_what_follows_from_a_fault_is_not_told_again() -> None:
    text = faults_of(timeline=TIMELINE.replace("fail:", "fial:"), checks=CHECKS)
    assert "did you mean 'fail'" in text
    assert "there is no step 'crash'" not in text.replace("there is no step 'crash': name an", "")
    assert "there is no window" not in text
    assert "compare with" not in text
