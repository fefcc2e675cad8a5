"""What a collective is asked for, and what is said of sizes it cannot have."""

from __future__ import annotations

import pytest

from testbed.errors import UsageError
from testbed.intent.collective import CollectiveRequest, parse_sizes, write_sizes
from testbed.intent.documents import dump_yaml
from testbed.intent.options import RawRequest
from testbed.intent.topology import load_topology
from testbed.intent.workload import resolve
from topologies.spec import ClosSpec
from workloads.collectives.catalogue import OPERATIONS

OCTO = load_topology("octo")
KIB, MIB = 1 << 10, 1 << 20


def resolved(operation: str = "allreduce", *flags: str, tdf: str = "auto", spec: ClosSpec = OCTO,
             **texts: str) -> CollectiveRequest:
    found = resolve(RawRequest(workload=operation, tdf=tdf, texts=texts, flags=frozenset(flags)),
                    spec)
    assert isinstance(found, CollectiveRequest)
    return found


def complaint(operation: str = "allreduce", **texts: str) -> str:
    with pytest.raises(UsageError) as caught:
        resolved(operation, **texts)
    return str(caught.value)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_defaults(operation: str) -> None:
    assert resolved(operation) == CollectiveRequest(
        operation=operation, sizes_bytes=(256 * KIB, MIB, 4 * MIB), iters=4, warmup=1,
        hosts=tuple(range(8)), placement="local", dtype="float",
        algorithm=next(iter(OPERATIONS[operation].algorithms)), qps=4, channels=1,
        segment_bytes=64 * KIB, tdf="auto", seed=1, is_captured=False, snap_bytes=256,
        recalibrate=False)


def test_everything_typed() -> None:
    assert resolved(
        "allreduce", "capture", "recalibrate", tdf="500", sizes="1M,3M", iters="2", warmup="0",
        hosts="h5,h0,h1,h4", placement="striped", dtype="bfloat16", algo="tree", qps="8",
        channels="2", segment="1M", seed="9", snap="96",
    ) == CollectiveRequest(
        operation="allreduce", sizes_bytes=(MIB, 3 * MIB), iters=2, warmup=0, hosts=(0, 5, 1, 4),
        placement="striped", dtype="bfloat16", algorithm="tree", qps=8, channels=2,
        segment_bytes=MIB, tdf=500, seed=9, is_captured=True, snap_bytes=96, recalibrate=True)


@pytest.mark.parametrize(("text", "sizes"), [
    ("16M", (16 * MIB,)), ("1M,3M", (MIB, 3 * MIB)),
    ("256K:4M:x4", (256 * KIB, MIB, 4 * MIB)), ("256K:5M:x4", (256 * KIB, MIB, 4 * MIB)),
    ("1M:4M:1M", (MIB, 2 * MIB, 3 * MIB, 4 * MIB)), ("1M:1M:x2", (MIB,)),
    ("64, 1K:4K:x2", (64, KIB, 2 * KIB, 4 * KIB)),
])
def test_sizes(text: str, sizes: tuple[int, ...]) -> None:
    assert parse_sizes(text) == sizes
    assert parse_sizes(",".join(write_sizes(sizes))) == sizes


@pytest.mark.parametrize(("text", "sentence"), [
    ("0", "0B is not allowed: use 1B to 1GiB"),
    ("2G", "2GiB is not allowed: use 1B to 1GiB"),
    ("0:1M:x2", "0B is not allowed"),
    ("1M,", "'' is not a number of bytes"),
    ("1M,1M", "1MiB is there twice: name every size once"),
    ("1K:4M", "'1K:4M' is not a range of sizes: write it like 256K:4M:x4 or 1M:4M:1M"),
    ("1:2:3:4", "'1:2:3:4' is not a range of sizes"),
    ("4M:1M:x2", "'4M:1M:x2' runs backwards: write the smaller size first"),
    ("1K:4M:x1", "'1K:4M:x1' does not grow: use a factor of x2 or more"),
    ("1K:4M:x0", "'1K:4M:x0' does not grow: use a factor of x2 or more"),
    ("1K:4M:0", "'1K:4M:0' does not grow: use a step of 1B or more"),
    ("1K:4M:4x", "'4x' is not a number of bytes"),
    ("1:1G:1", "these are more than 64 sizes: use larger steps"),
])
def test_what_are_no_sizes(text: str, sentence: str) -> None:
    assert complaint(sizes=text).startswith(f"--sizes: {sentence}")


def test_sizes_are_rounded_down_to_whole_elements_as_in_nccl_tests() -> None:
    assert resolved(sizes="30").sizes_bytes == (28,)
    assert resolved(sizes="17,16", dtype="bfloat16").sizes_bytes == (16,)


def test_of_every_rank_where_its_elements_are_counted() -> None:
    found = resolved("allgather", sizes="1000000", hosts="7")
    assert found.sizes_bytes == (999_992,)


@pytest.mark.parametrize(("texts", "sentence"), [
    ({"sizes": "3"}, "--sizes: 3B is less than one float element: use 4B or more"),
    ({"sizes": "1", "dtype": "bfloat16"},
     "--sizes: 1B is less than one bfloat16 element: use 2B or more"),
])
def test_less_than_an_element_is_refused(texts: dict[str, str], sentence: str) -> None:
    assert complaint(**texts) == sentence


@pytest.mark.parametrize(("texts", "sentence"), [
    ({"iters": "0"}, "--iters 0 is not allowed: use 1 to 1000"),
    ({"warmup": "1001"}, "--warmup 1001 is not allowed: use 0 to 1000"),
    ({"channels": "9"}, "--channels 9 is not allowed: use 1 to 8"),
    ({"segment": "255"}, "--segment 255 is not allowed: use 256B to 1GiB"),
    ({"dtype": "float16"}, "--dtype: there is no 'float16', did you mean 'bfloat16'?: use float or "
                           "bfloat16"),
    ({"algo": "direct"}, "--algo: there is no 'direct': use ring or tree"),
    ({"placement": "far"}, "--placement: there is no 'far': use local or striped or given"),
])
def test_one_fault_is_one_sentence(texts: dict[str, str], sentence: str) -> None:
    assert complaint(**texts) == sentence


@pytest.mark.parametrize("operation", ["alltoall", "sendrecv"])
def test_channels_of_what_has_none_are_refused(operation: str) -> None:
    texts = {"sizes": "1M", "channels": "2"}
    with pytest.raises(UsageError, match=f"^--channels: {operation} has no channels, its "):
        resolve(RawRequest(workload=operation, texts=texts), OCTO)
    resolve(RawRequest(workload=operation, texts={**texts, "channels": "1"}), OCTO)


def test_all_faults_come_at_once() -> None:
    lines = complaint(sizes="4M:1M:x2", hosts="h9,h1", dtype="flot", qps="0", snap="3", depth="4")
    assert lines.splitlines() == [
        "this run has 6 faults:",
        "  --depth is for write-bw, permutation and incast, not for allreduce: leave it out",
        "  --sizes: '4M:1M:x2' runs backwards: write the smaller size first",
        "  --dtype: there is no 'flot', did you mean 'float'?: use float or bfloat16",
        "  --qps 0 is not allowed: use 1 to 64",
        "  --hosts: host h9 does not exist: octo has h0 to h7",
        "  --snap is for captures only: add --pcap",
    ]


def test_more_ranks_than_sums_are_exact_for() -> None:
    with pytest.raises(UsageError, match="131072 of them cannot take part: use 2 to 85"):
        resolved(spec=load_topology("full"))


def test_a_document_has_units_and_names() -> None:
    found = resolved("broadcast", sizes="9000,16M", hosts="h5,h0", tdf="200")
    assert found.what == "broadcast-2"
    assert dump_yaml(found.to_document()) == (
        "workload: broadcast\nsizes:\n- 9000B\n- 16MiB\niters: 4\nwarmup: 1\nhosts:\n- h5\n- h0\n"
        "placement: given\ndtype: float\nalgo: ring\nqps: 4\nchannels: 1\nsegment: 64KiB\n"
        "seed: 1\ntdf: 200\ncapture: false\nrecalibrate: false\n")
