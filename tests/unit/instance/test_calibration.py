"""What is kept of a machine: by circumstances, whole or not at all."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from testbed.errors import TestbedError
from testbed.instance import calibration
from testbed.instance.calibration import Calibration, fingerprint, load, store
from testbed.intent.topology import load_topology
from topologies.numbers import base_rtt_ns

SPEC = load_topology("tiny")
RTT_NS = base_rtt_ns(SPEC)
KNOWN = Calibration(pair_tdf=200, all_tdf=1_000)


def mark() -> dict[str, Any]:
    return fingerprint(SPEC, "ovs")


def test_what_is_stored_is_found_again(tmp_path: Path) -> None:
    for known in (KNOWN, Calibration(), Calibration(all_tdf=5)):
        store(mark(), known, tmp_path / "new")
        assert load(mark(), tmp_path / "new") == known
    (file,) = (tmp_path / "new").iterdir()
    assert file.name.startswith("tiny-")
    assert json.loads(file.read_text())["of"] == mark()


@pytest.mark.parametrize("change", [
    {"cpu": "another"}, {"cores": 99}, {"kernel": "7.0"}, {"testbed": "9.9"},
    {"trusted": {"idle CPU": "1/5"}},
    {"dataplane": "linux"}, {"topology": asdict(replace(SPEC, link_delay_ns=2))},
])
def test_it_holds_only_as_long_as_nothing_changes(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    store(mark(), KNOWN, tmp_path)
    assert change.keys() <= mark().keys()
    assert load({**mark(), **change}, tmp_path) is None
    assert load(mark(), tmp_path) == KNOWN


@pytest.mark.parametrize("text", [
    "", "{", "[]", "5", '{"calibration": 5}', '{"calibration": {}}',
    '{"calibration": {"pair_tdf": 1}}', '{"calibration": {"pair_tdf": [], "all_tdf": 1}}',
    '{"calibration": {"pair_tdf": "fast", "all_tdf": 1}}',
])
def test_a_file_that_says_nothing_is_as_none(tmp_path: Path, text: str) -> None:
    store(mark(), KNOWN, tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_text(text)
    assert load(mark(), tmp_path) is None


def test_nothing_was_measured_yet(tmp_path: Path) -> None:
    assert load(mark(), tmp_path / "absent") is None


def test_a_cache_that_cannot_be_written_is_told_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TestbedError, match=r"cannot be kept in .*/file .*TESTBED_CACHE"):
        store(mark(), KNOWN, tmp_path / "file")


def test_a_store_that_is_cut_off_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(mark(), KNOWN, tmp_path)

    def fail(_self: Path, _target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(TestbedError, match="No space left on device"):
        store(mark(), Calibration(), tmp_path)
    assert load(mark(), tmp_path) == KNOWN


@pytest.mark.parametrize(("known", "covered"), [
    (Calibration(), {0}), (Calibration(pair_tdf=5), {0, 1}),
    (Calibration(all_tdf=5), {0}), (KNOWN, {0, 1, 2, 3, 4}),
])
def test_what_it_covers(known: Calibration, covered: set[int]) -> None:
    assert {senders for senders in range(5) if known.covers(senders)} == covered


def test_what_is_learnt_is_added() -> None:
    known = Calibration().with_tdf(1, 200)
    assert known == Calibration(pair_tdf=200)
    assert known.with_tdf(4, 1_000) == KNOWN


@pytest.mark.parametrize(("senders", "tdf"), [(1, 500), (2, 1_000), (3, 2_000), (4, 2_000)])
def test_one_step_above_what_was_carried_and_in_proportion_to_all(senders: int, tdf: int) -> None:
    """Of 1000 with all four hosts two have 500, which is not far enough below 1000."""
    assert KNOWN.tdf_for(SPEC, senders, RTT_NS) == tdf


def test_the_margin_is_half_as_much_again() -> None:
    assert Calibration(pair_tdf=1_000).tdf_for(SPEC, 1, RTT_NS) == 2_000
    assert Calibration(pair_tdf=1, all_tdf=1_300).tdf_for(SPEC, 4, RTT_NS) == 2_000
    assert Calibration(pair_tdf=1, all_tdf=1_400).tdf_for(SPEC, 4, RTT_NS) == 5_000


def test_a_shorter_round_trip_takes_the_place_of_the_margin() -> None:
    """Half of it leaves half the room for being late, whatever else the machine does."""
    known = Calibration(pair_tdf=1_000)
    assert known.tdf_for(SPEC, 1, RTT_NS // 2) == 2_000
    assert known.tdf_for(SPEC, 1, RTT_NS // 3) == 5_000


@pytest.mark.parametrize("senders", [2, 3, 4])
def test_several_senders_never_get_less_than_one(senders: int) -> None:
    """A share of what all need may be less than what a single host needs by itself."""
    known = Calibration(pair_tdf=1_000, all_tdf=1_200)
    assert known.tdf_for(SPEC, senders, RTT_NS) == known.tdf_for(SPEC, 1, RTT_NS) == 2_000


def test_the_cpu_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "processor\t: 0\nmodel name\t: Fast One 9000\nmodel name\t: Other\n"
    monkeypatch.setattr(Path, "read_text", lambda _self: text)
    assert calibration._cpu_model() == "Fast One 9000"
    monkeypatch.setattr(Path, "read_text", lambda _self: "processor\t: 0\n")
    assert calibration._cpu_model()  # some machines have no such line
