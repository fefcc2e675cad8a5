"""Every workload through every door: command line, document, spec file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from testbed.errors import UsageError
from testbed.intent import workload
from testbed.intent.collective import CollectiveRequest
from testbed.intent.documents import dump_yaml
from testbed.intent.options import RawRequest
from testbed.intent.run import RunRequest
from testbed.intent.topology import load_topology, topology_document
from testbed.intent.workload import (
    KINDS,
    TABLES,
    Request,
    from_document,
    load_spec,
    read_spec,
    resolve,
)

OCTO = load_topology("octo")
OPERANDS = {"write-bw": ("h0", "h7"), "write-lat": ("h7", "h1"), "incast": ("h3",)}


def resolved(kind: str, *operands: str, flags: tuple[str, ...] = (), tdf: str = "auto",
             **texts: str) -> Request:
    return resolve(RawRequest(workload=kind, operands=operands, tdf=tdf, texts=texts,
                              flags=frozenset(flags)), OCTO)


def complaint(kind: str, *operands: str, flags: tuple[str, ...] = (), **texts: str) -> str:
    with pytest.raises(UsageError) as caught:
        resolved(kind, *operands, flags=flags, **texts)
    return str(caught.value)


# --- Round trips -------------------------------------------------------------------------


SOME_HOSTS = st.permutations(range(8)).flatmap(
    lambda hosts: st.integers(2, 8).map(lambda n: ",".join(f"h{host}" for host in hosts[:n])))
SOME = {
    "size": st.integers(1, 8192).map(str), "qps": st.integers(1, 4).map(str),
    "depth": st.integers(1, 64).map(str), "sizes": st.sampled_from(
        ["3360K", "6720B,3360", "3360:13440K:x4", "6720:33600:6720"]),
    "warmup": st.integers(0, 9).map(str), "hosts": st.integers(2, 8).map(str) | SOME_HOSTS,
    "placement": st.sampled_from(["local", "striped", "given"]),
    "dtype": st.sampled_from(["float", "bfloat16"]), "channels": st.integers(1, 8).map(str),
    "segment": st.integers(256, 1 << 20).map(str), "steps": st.integers(1, 99).map(str),
    "gradients": st.integers(8192, 1 << 20).map(lambda n: str(4 * n)),
    "buckets": st.integers(1, 64).map(str), "seed": st.integers(0, 2**63 - 1).map(str),
    "compute": st.integers(1, 10**9).map("{}ns".format),
    "jitter": st.integers(0, 10**6).map(lambda n: f"{n / 10**4:.4f}%"),
    "pipeline": st.integers(1, 999).map(lambda n: str(4 * n)),
    "experts": st.integers(8, 999).map(lambda n: str(4 * n)),
    "against": st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=1),
    "senders": st.sampled_from(["1", "3", "h5", "h6,h0"]), "victim": st.sampled_from(["h1:h2"]),
}


@st.composite
def requests(draw: st.DrawFn) -> Request:
    kind = draw(st.sampled_from(KINDS))
    known = sorted(TABLES[kind].options.keys() & SOME.keys())
    chosen = draw(st.sets(st.sampled_from(known))) | ({"sizes"} & {*known})  # fit any 2..8 ranks
    texts = {key: draw(SOME[key]) for key in sorted(chosen)}
    if kind in ("alltoall", "sendrecv"):
        texts.pop("channels", None)
    if "iters" in TABLES[kind].options and draw(st.booleans()):
        texts["iters"] = str(draw(st.integers(1, 999)))
    elif "duration" in TABLES[kind].options:
        texts["duration"] = f"{draw(st.integers(10_000, 10**9))}ns"
    flags = draw(st.sets(st.sampled_from(["capture", "recalibrate"])))
    if "capture" in flags:
        texts["snap"] = str(draw(st.integers(1, 65_535)))
    tdf = draw(st.just("auto") | st.integers(1, 10_000_000).map(str))
    return resolved(kind, *OPERANDS.get(kind, ()), flags=tuple(flags), tdf=tdf, **texts)


@given(requests())
def test_a_document_reads_back_as_the_same_request(request: Request) -> None:
    text = dump_yaml(request.to_document())
    assert from_document(yaml.safe_load(text), OCTO) == request
    assert from_document(request.to_document(), OCTO) == request


@given(requests())
def test_a_stored_spec_runs_again(tmp_path_factory: pytest.TempPathFactory,
                                  request: Request) -> None:
    path = tmp_path_factory.mktemp("run") / "spec.yaml"
    stored = {"schema_version": 1, **request.to_document(), "tdf": 500,
              "topology": topology_document(OCTO)}
    path.write_text(dump_yaml(stored))
    document, topology = load_spec(path)
    assert topology == "octo"
    workload.require_topology(document, OCTO)
    assert from_document(document, OCTO).to_document() == {**request.to_document(), "tdf": 500}


# --- Doors -------------------------------------------------------------------------------


def test_kinds_are_all_there_is() -> None:
    assert KINDS == (
        "write-bw", "write-lat", "allreduce", "allgather", "reducescatter", "alltoall",
        "broadcast", "sendrecv", "permutation", "incast", "train")
    for kind in KINDS:
        assert resolved(kind, *OPERANDS.get(kind, ())).to_document()["workload"] == kind


def test_pairs_are_what_they_were() -> None:
    assert resolved("write-bw", "h0", "h7") == RunRequest(
        kind="write-bw", src=0, dst=7, size_bytes=32_768, qps=4, duration_ns=1_000_000, depth=128)
    assert complaint("write-lat", "h0", "h7", flags=("verify",), qps="2") == (
        "this run has 2 faults:\n"
        "  --qps is not for write-lat, which writes one message at a time on one queue pair: leave "
        "it out\n"
        "  --verify is not for write-lat, which writes one message at a time on one queue pair: "
        "leave it out")
    assert "would register 64.0 GiB" in complaint(
        "write-bw", "h0", "h7", size="64MiB", iters="128")


@pytest.mark.parametrize(("words", "sentence"), [
    (("write-bw", "h0"), "write-bw needs SRC DST, not h0: write `run write-bw SRC DST`"),
    (("incast",), "incast needs DST, not nothing: write `run incast DST`"),
    (("incast", "h0", "h1"), "incast needs DST, not h0 h1: write `run incast DST`"),
    (("allreduce", "h0", "h1"),
     "allreduce takes no host as a word (h0 h1): name hosts with --hosts"),
    (("zzz", "h0"), "there is no workload 'zzz': use write-bw, write-lat, allreduce, "),
])
def test_hosts_behind_a_workload(words: tuple[str, ...], sentence: str) -> None:
    found = complaint(*words)
    assert found.startswith(sentence)
    assert "\n" not in found


def test_what_stands_beside_a_mistyped_workload_is_judged_too() -> None:
    lines = complaint("alreduce", "h0", sizes="1Q", hosts="h9,h1").splitlines()
    assert lines[0] == "this run has 4 faults:"
    assert lines[1] == "  there is no workload 'alreduce', did you mean 'allreduce'?"
    assert [line.split(":")[0] for line in lines[2:]] == [
        "  allreduce takes no host as a word (h0)", "  --sizes", "  --hosts"]


@pytest.mark.parametrize(("document", "sentence"), [
    ({}, "workload is missing: add 'workload: ...', one of write-bw, write-lat, "),
    ({"workload": 7}, "workload is missing"),
    ({"workload": "allreduce", "sise": "1M"}, "there is no key 'sise', did you mean 'sizes'?"),
    ({"workload": "allreduce", "depth": 4},
     "depth is for write-bw, permutation and incast, not for allreduce: leave it out"),
    ({"workload": "incast"}, "dst is missing: add 'dst: ...'"),
    ({"workload": "allreduce", "hosts": ["h9", "h0"]}, "hosts: host h9 does not exist: octo has"),
    ({"workload": "write-bw", "src": "h0", "dst": "h8"},
     "dst: host h8 does not exist: octo has h0 to"),
    ({"workload": "train", "tdf": 0}, "tdf 0 is not allowed: use auto or 1 to 10000000"),
    ({"workload": "write-lat", "src": "h0", "dst": "h1", "verify": True},
     "verify is not for write-lat, which writes one message at a time"),
])
def test_a_document_is_judged_like_a_command_line(
    document: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UsageError) as caught:
        from_document(document, OCTO)
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


# --- Spec files --------------------------------------------------------------------------


def written(path: Path, text: str) -> Path:
    spec = path / "spec.yaml"
    spec.write_text(text)
    return spec


def spec_complaint(path: Path, text: str) -> str:
    with pytest.raises(UsageError) as caught:
        load_spec(written(path, text))
    return str(caught.value).replace(str(path), "")


def test_a_spec_as_people_write_it(tmp_path: Path) -> None:
    document, topology = load_spec(written(tmp_path, """\
# A sweep between the groups.
workload: allreduce
topology: octo
hosts: [h0, h4-h6]
placement: striped
sizes:
  - 64K
  - 1M:4M:x2
capture: true
tdf: 500
"""))
    assert topology == "octo"
    assert from_document(document, OCTO) == CollectiveRequest(
        operation="allreduce", sizes_bytes=(65_536, 1 << 20, 2 << 20, 4 << 20), algorithm="ring",
        hosts=(0, 4, 5, 6), placement="striped", is_captured=True, tdf=500)


def test_a_spec_need_not_name_a_topology(tmp_path: Path) -> None:
    assert load_spec(written(tmp_path, "workload: train\n")) == ({"workload": "train"}, None)


def test_all_faults_of_a_spec_have_their_line(tmp_path: Path) -> None:
    assert spec_complaint(tmp_path, """\
workload: allreduce
hosts: [h0, [h4]]
sizes: 12Q
qps: 65
qps: 3
sise: 5
depth: 3
dtype: [float]
capture: maybe
7: [1]
? [a]
: b
""").splitlines() == [
        "spec /spec.yaml has 10 faults:",
        "  /spec.yaml:5: qps: already set at /spec.yaml:4, remove one",
        "  /spec.yaml:11: this key is not a word: write lines like 'workload: allreduce'",
        "  /spec.yaml:2: hosts: a single value is expected here",
        "  /spec.yaml:3: sizes: '12Q' is not a number of bytes: write it like 65536, 64K or 16M "
        "(K is 1024)",
        "  /spec.yaml:4: qps 65 is not allowed: use 1 to 64",
        "  /spec.yaml:6: there is no key 'sise', did you mean 'sizes'?",
        "  /spec.yaml:7: depth is for write-bw, permutation and incast, not for allreduce: leave "
        "it out",
        "  /spec.yaml:8: dtype: a single value is expected here",
        "  /spec.yaml:9: capture: 'maybe' is not allowed: use true or false",
        "  /spec.yaml:10: 7: a single value is expected here",
    ]


@pytest.mark.parametrize(("text", "sentence"), [
    ("sizes: 1M\n", "/spec.yaml: workload is missing: add 'workload: ...'"),
    ("workload: alreduce\n", "/spec.yaml:1: there is no workload 'alreduce', did you mean"),
    ("workload: incast\n", "/spec.yaml: dst is missing: add 'dst: ...'"),
    ("- allreduce\n", "/spec.yaml: this is not a list of keys: write lines like 'workload: "),
    ("", "/spec.yaml: this is not a list of keys"),
    ("workload: [a\nb: c", "/spec.yaml:2: this is not YAML: "),
    ("[" * 5000, "/spec.yaml: this is nested too deeply: write a flat list"),
    ("workload: train\nzzz: 1\n", "/spec.yaml:2: there is no key 'zzz', the keys are workload, "),
    ("workload: train\nhosts: []\n", "/spec.yaml:2: hosts: '' is not a host: write hosts like "),
    ("workload: train\ntopology: [quad]\n",
     "/spec.yaml:2: topology: a single value is expected here"),
    ("workload: train\ntopology:\n  planes: 2\n  planes: 3\n",
     "spec /spec.yaml has 2 faults:\n  /spec.yaml:4: planes: already set at /spec.yaml:3, remove "
     "one\n  /spec.yaml:2: topology: "),
    ("workload: train\ntopology: quat\n",
     "/spec.yaml:2: topology 'quat' does not exist, did you mean 'quad'?"),
    ("workload: train\ntopology: {planes: 3}\n", "/spec.yaml:2: topology: name, "),
    ("x" * 1_000_001, "spec /spec.yaml is too large: a dozen lines are expected"),
])
def test_a_spec_that_is_none(tmp_path: Path, text: str, sentence: str) -> None:
    assert spec_complaint(tmp_path, text).startswith(sentence)


@pytest.mark.parametrize(("change", "sentence"), [
    ({"plaes": 3}, "/spec.yaml:{line}: topology: there is no key 'plaes', did you mean 'planes'?"),
    ({"planes": 9}, "/spec.yaml:{line}: topology: planes: 9 is not allowed, use 1 to 8"),
])
def test_a_fault_of_a_topology_has_the_line_of_its_key(
    tmp_path: Path, change: dict[str, Any], sentence: str
) -> None:
    text = dump_yaml({"workload": "train", "topology": {**topology_document(OCTO), **change}})
    (key,) = change
    line = next(n for n, row in enumerate(text.splitlines(), 1) if row.strip().startswith(key))
    assert spec_complaint(tmp_path, text).startswith(sentence.format(line=line))


def test_a_mistyped_key_of_a_topology_is_found_also_where_others_are_missing(
    tmp_path: Path,
) -> None:
    told = spec_complaint(tmp_path, "workload: train\ntopology: {plaes: 3}\n")
    assert "/spec.yaml:2: topology: there is no key 'plaes', did you mean 'planes'?" in told


@pytest.mark.parametrize(("text", "sentence"), [
    ("workload: allreduce\nsizes: 1M\nhosts: h0,h77\n", "3: hosts: host h77 does not exist"),
    ("workload: write-bw\nsrc: h0\ndst: h8\n", "3: dst: host h8 does not exist"),
    ("workload: write-bw\nsrc: h0\ndst: h0\n", "3: dst: h0 cannot write to itself"),
    ("workload: incast\ndst: there\n", "2: dst: 'there' is not a host"),
])
def test_what_a_topology_forbids_has_its_line_too(
    tmp_path: Path, text: str, sentence: str
) -> None:
    spec = read_spec(written(tmp_path, text))
    with pytest.raises(UsageError, match=f"/spec.yaml:{sentence}"):
        from_document(spec.document, OCTO, spec.where)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"spec .*gone.yaml cannot be read: no such file"):
        load_spec(tmp_path / "gone.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"binary.yaml is not text: save it as UTF-8"):
        load_spec(tmp_path / "binary.yaml")
