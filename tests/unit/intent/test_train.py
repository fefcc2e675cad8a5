"""A training job as asked for: its defaults, its parts, and what does not go together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.errors import UsageError
from testbed.intent.options import RawRequest
from testbed.intent.topology import load_topology
from testbed.intent.train import TrainRequest, format_ppm, parse_ppm
from testbed.intent.workload import resolve

OCTO = load_topology("octo")
MIB = 1 << 20


def resolved(**texts: str) -> TrainRequest:
    found = resolve(RawRequest(workload="train", texts=texts), OCTO)
    assert isinstance(found, TrainRequest)
    return found


def complaint(**texts: str) -> str:
    with pytest.raises(UsageError) as caught:
        resolved(**texts)
    return str(caught.value)


def test_the_defaults() -> None:
    assert resolved() == TrainRequest(
        hosts=tuple(range(8)), placement="local", steps=10, gradient_bytes=16 * MIB, buckets=4,
        compute_ns=1_000_000, jitter_ppm=50_000, dtype="float", algorithm="ring", qps=4,
        pipeline_bytes=0, microbatches=4, expert_bytes=0, layers=2, against="", tdf="auto", seed=1)
    assert resolved(hosts="3").what == "train-3"


def test_everything_typed() -> None:
    assert resolved(
        steps="3", gradients="1M", buckets="2", compute="250us", jitter="0.5%", hosts="h1,h0",
        placement="given", dtype="bfloat16", algo="tree", qps="2", pipeline="64K",
        channels="2", segment="8K", microbatches="8", experts="128K", layers="1",
        against="runs/quiet", seed="7",
    ) == TrainRequest(
        hosts=(1, 0), placement="given", steps=3, gradient_bytes=MIB, buckets=2,
        compute_ns=250_000, jitter_ppm=5_000, dtype="bfloat16", algorithm="tree", qps=2,
        channels=2, segment_bytes=8 << 10, pipeline_bytes=65_536, microbatches=8,
        expert_bytes=131_072, layers=1, against="runs/quiet", seed=7)


def test_a_document_has_only_what_is_on() -> None:
    assert resolved(hosts="2").to_document() == {
        "workload": "train", "steps": 10, "gradients": "16MiB", "buckets": 4, "compute": "1ms",
        "jitter": "5%", "hosts": ["h0", "h1"], "placement": "local", "dtype": "float",
        "algo": "ring", "qps": 4, "channels": 1, "segment": "64KiB", "seed": 1, "tdf": "auto",
        "capture": False, "recalibrate": False}
    with_parts = resolved(hosts="2", pipeline="1M", experts="2M", against="a").to_document()
    assert {key: with_parts[key] for key in ("pipeline", "microbatches", "experts", "layers",
                                             "against")} == {
        "pipeline": "1MiB", "microbatches": 4, "experts": "2MiB", "layers": 2, "against": "a"}


@pytest.mark.parametrize(("text", "parts"), [
    ("5%", 50_000), ("0.05", 50_000), ("0%", 0), ("100%", 1_000_000), ("1", 1_000_000),
    ("12.3456%", 123_456), (" 2 % ", 20_000),
])
def test_jitter(text: str, parts: int) -> None:
    assert parse_ppm(text) == parts


@given(st.integers(0, 1_000_000))
def test_jitter_reads_back(parts: int) -> None:
    assert parse_ppm(format_ppm(parts)) == parts


@pytest.mark.parametrize(("texts", "sentence"), [
    ({"jitter": "5"}, "--jitter 5 is not allowed: use 0% to 100%"),
    ({"jitter": "101%"}, "--jitter 101% is not allowed: use 0% to 100%"),
    ({"jitter": "0.00001%"}, "--jitter: '0.00001%' is not a ratio in parts per million: write a "
                             "percentage like 5%, or 0.05"),
    ({"jitter": "-5%"}, "--jitter: '-5%' is not a ratio"),
    ({"steps": "1001"}, "--steps 1001 is not allowed: use 1 to 1000"),
    ({"compute": "0ns"}, "--compute 0ns is not allowed: use 1ns to 10s"),
    ({"compute": "5"}, "--compute: '5' has no unit"),
    ({"gradients": "1M", "buckets": "0"}, "--buckets 0 is not allowed: use 1 to 64"),
    ({"gradients": "1001"}, "--gradients: 1001B is not a whole number of float elements: use "
                            "1000B or 1004B"),
    ({"gradients": "64"}, "--gradients: 64B is too few float elements: use 128B"),
    ({"pipeline": "3"}, "--pipeline: 3B is not a whole number of float elements: use 4B"),
    ({"experts": "8"}, "--experts: 8B is too few float elements: use 32B"),
    ({"microbatches": "2"}, "--microbatches is of no use without --pipeline: add it, or leave this "
                            "out"),
    ({"layers": "2", "experts": "0"}, "--layers is of no use without --experts: add it, or leave "
                                      "this out"),
    ({"sizes": "1M"}, "--sizes is for allreduce, allgather, reducescatter, alltoall, broadcast and "
                      "sendrecv, not for train: leave it out"),
    ({"hosts": "1"}, "--hosts: 1 of them cannot take part: use 2 to 85"),
    ({"snap": "96"}, "--snap is for captures only: add --pcap"),
])
def test_one_fault_is_one_sentence(texts: dict[str, str], sentence: str) -> None:
    found = complaint(**texts)
    assert found.startswith(sentence)
    assert "\n" not in found


def test_ranks_need_not_share_gradients_evenly() -> None:
    assert resolved(hosts="3").gradient_bytes == 16 * MIB
