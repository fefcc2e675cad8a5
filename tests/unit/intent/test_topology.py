"""Topologies by name, file and option: what is accepted, and what is said otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.errors import UsageError
from testbed.intent.topology import load_topology, preset_names, topology_document
from topologies.spec import ClosSpec, faults

LAB = """\
# A lab of our own.
name: lab
planes: 3
t0_per_plane: 2
t1_per_plane: 5
hosts_per_t0: 6
port_rate: 200Gbps
link_delay: 500ns
mtu: 4500B
payload: 4KiB
dataplane: linux
"""


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    path = tmp_path / "lab.yaml"
    path.write_text(LAB)
    return path


def complaint(source: str | Path, *sets: str) -> str:
    with pytest.raises(UsageError) as caught:
        load_topology(str(source), sets)
    assert caught.value.exit_code == 2
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "hosts", "planes", "t0", "t1", "rate_gbps", "dataplane"),
    [
        ("tiny", 4, 2, 2, 2, 100, "ovs"),
        ("quad", 8, 4, 2, 4, 100, "ovs"),
        ("octo", 8, 8, 2, 4, 100, "ovs"),
        ("wide", 64, 4, 8, 4, 100, "linux"),
        ("rack4", 16, 1, 4, 4, 400, "ovs"),
        ("full", 131_072, 8, 512, 256, 100, "ovs"),
    ],
)
def test_presets_are_those_of_the_issue(
    name: str, hosts: int, planes: int, t0: int, t1: int, rate_gbps: int, dataplane: str
) -> None:
    spec = load_topology(name)
    assert (spec.name, spec.host_count) == (name, hosts)
    assert (spec.planes, spec.t0_per_plane, spec.t1_per_plane) == (planes, t0, t1)
    assert spec.port_rate_bps == rate_gbps * 10**9
    assert (spec.link_delay_ns, spec.mtu_bytes, spec.payload_bytes) == (1000, 9000, 4096)
    assert spec.dataplane == dataplane
    assert spec.is_description_only == (name == "full")


def test_every_preset_is_listed_valid_and_described() -> None:
    assert set(preset_names()) == {"tiny", "quad", "octo", "wide", "rack4", "full"}
    for name in preset_names():
        spec = load_topology(name)
        assert faults(spec) == ()
        assert spec.description.endswith(".")


def test_a_file_is_read_with_its_units(lab: Path) -> None:
    assert load_topology(str(lab)) == ClosSpec(
        "lab", 3, 2, 5, 6, 200 * 10**9, 500, 4500, 4096, "linux"
    )


def test_a_file_without_name_is_called_like_its_file(tmp_path: Path) -> None:
    path = tmp_path / "bench-3.yaml"
    path.write_text(LAB.replace("name: lab\n", ""))
    assert load_topology(str(path)).name == "bench-3"


def test_options_lie_over_the_file_and_the_last_one_counts(lab: Path) -> None:
    spec = load_topology(str(lab), ["planes=1", "planes = 2", "port_rate=1.5Tbps"])
    assert (spec.planes, spec.port_rate_bps) == (2, 1_500_000_000_000)


def test_an_option_can_mend_the_file(lab: Path) -> None:
    lab.write_text(LAB.replace("planes: 3", "planes: 30"))
    assert load_topology(str(lab), ["planes=3"]).planes == 3


@pytest.mark.parametrize("name", ["tiny", "quad", "octo", "wide", "rack4", "full"])
def test_the_document_of_a_topology_loads_as_the_same(name: str, tmp_path: Path) -> None:
    spec = load_topology(name)
    path = tmp_path / "again.yaml"
    path.write_text(yaml.safe_dump(topology_document(spec)))
    assert load_topology(str(path)) == spec


def test_an_unknown_preset_names_those_that_exist() -> None:
    assert complaint("qaud") == (
        "topology 'qaud' does not exist, did you mean 'quad'?: use full, octo, quad, rack4, "
        "tiny, wide or the path of a YAML file"
    )


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("planes=0", "planes: 0 is not allowed, use 1 to 8 (a uSID has 3 bits of plane)"),
        ("planes=9", "planes: 9 is not allowed, use 1 to 8 (a uSID has 3 bits of plane)"),
        ("planes=-1", "planes: -1 is not allowed, use 1 to 8 (a uSID has 3 bits of plane)"),
        ("t1_per_plane=257", "257 is not allowed, use 1 to 256 (an EV has 8 bits of uplink)"),
        ("planes=two", "'two' is not a whole number, use 1 to 8"),
        ("planes=", "'' is not a whole number, use 1 to 8"),
        ("port_rate=100", "port_rate: '100' has no unit: write it with bps, kbps, Mbps"),
        ("port_rate=1Mbps", "port_rate: 1Mbps is not allowed, use 1Gbps to 1.6Tbps"),
        ("link_delay=1s", "link_delay: 1s is not allowed, use 0ns to 100us"),
        ("mtu=142B", "mtu: 142B is not allowed, use 1280B to 9216B"),
        ("mtu=1500B", "mtu: 1500B is not allowed, use at least 4228B, a payload of 4096B"),
        ("dataplane=dpdk", "dataplane: dpdk is not allowed, use ovs or linux"),
        ("name=No Name", "name: 'No Name' is not allowed, use a lower-case letter"),
        ("description_only=yes", "description_only: 'yes' is not allowed, use true or false"),
        ("plane=3", "there is no key 'plane', did you mean 'planes'?"),
        ("zzz=3", "there is no key 'zzz', the keys are name, description, planes"),
        ("planes", "this sets nothing: write --set key=value"),
        ("=3", "this sets nothing: write --set key=value"),
    ],
)
def test_a_bad_option_is_named_with_what_is_allowed(option: str, expected: str) -> None:
    text = complaint("quad", option)
    assert text.startswith(f"--set {option}: ")
    assert expected in text
    assert "\n" not in text


def test_all_faults_of_a_file_come_at_once_with_their_lines(lab: Path) -> None:
    lab.write_text(
        "planes: 9\n"
        "t0_per_plan: 2\n"
        "t1_per_plane: 2\n"
        "hosts_per_t0: [1, 2]\n"
        "port_rate: 100\n"
        "link_delay: 1us\n"
        "link_delay: 2us\n"
        "? {a: b}\n"
        ": c\n"
    )
    heading, *lines = complaint(lab, "mtu=1B").splitlines()
    assert heading == f"topology {lab} has 8 faults:"
    assert sorted(line.strip().removeprefix(str(lab)) for line in lines) == sorted([
        ":1: planes: 9 is not allowed, use 1 to 8 (a uSID has 3 bits of plane)",
        ":2: there is no key 't0_per_plan', did you mean 't0_per_plane'?",
        ": t0_per_plane is missing: add 't0_per_plane: ...'",
        ":4: hosts_per_t0: a single value is expected here",
        ":5: port_rate: '100' has no unit: write it with bps, kbps, Mbps, Gbps or Tbps, "
        "like 100Gbps",
        f":7: link_delay: already set at {lab}:6, remove one",
        ":8: this key is not a word: write lines like 'planes: 4'",
        "--set mtu=1B: mtu: 1B is not allowed, use 1280B to 9216B",
    ])  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "this is not a list of keys"),
        ("just words", "this is not a list of keys"),
        ("- planes: 1", "this is not a list of keys"),
        ("planes: [1", ":1: this is not YAML at column"),
        ("planes: 1\n\tmtu: 2", ":2: this is not YAML at column 1"),
        ("planes: 1\n---\nplanes: 2", "this is not YAML"),
        ("planes: \x00", "this is not YAML"),
        ("[" * 100_000, "this is nested too deeply"),
        ("# " + "x" * 1_000_001, "is too large"),
    ],
)
def test_what_is_no_topology_file_is_refused(lab: Path, text: str, expected: str) -> None:
    lab.write_text(text)
    assert expected in complaint(lab)


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    missing = tmp_path / "missing.yaml"
    assert complaint(missing) == (
        f"topology file {missing} cannot be read: no such file or directory"
    )
    assert "is a directory" in complaint(f"{tmp_path}/")
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    assert "is not text" in complaint(binary)


def test_yaml_tags_create_nothing(lab: Path) -> None:
    lab.write_text(LAB.replace("planes: 3", "planes: !!python/object/apply:os.getpid []"))
    assert "planes: a single value is expected here" in complaint(lab)


@settings(deadline=None)
@given(st.lists(st.text(max_size=30), max_size=4))
def test_any_options_give_a_topology_or_a_usage_error(sets: list[str]) -> None:
    try:
        spec = load_topology("tiny", sets)
    except UsageError:
        return
    assert faults(spec) == ()
