"""Tables of options: how texts become values, and what is said of those that do not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.errors import UsageError
from testbed.intent.options import (
    COMMON,
    COMMON_FLAGS,
    HOSTS,
    PLACEMENT,
    RawRequest,
    Reading,
    Table,
    binary_size,
    count,
    format_binary_size,
    option_name,
    parse_binary_size,
    raw_of,
    require_none,
    word,
    write_options,
)
from testbed.intent.topology import load_topology

OCTO = load_topology("octo")
TABLE = Table(("dst",), {"qps": count("qps", 1, 64, 4), "hosts": HOSTS, **COMMON}, COMMON_FLAGS)


def reading(*flags: str, **texts: str) -> Reading:
    return Reading(texts, frozenset(flags), option_name)


@pytest.mark.parametrize(("text", "size_bytes"), [
    ("65536", 65_536), ("64K", 65_536), ("64k", 65_536), ("64KB", 65_536), ("64KiB", 65_536),
    ("64kib", 65_536), ("16M", 16 << 20), ("2G", 2 << 30), ("1.5M", 3 << 19), ("7B", 7),
    (" 4 MiB ", 4 << 20), ("0", 0),
])
def test_sizes_are_those_of_nccl_tests(text: str, size_bytes: int) -> None:
    assert parse_binary_size(text) == size_bytes


@pytest.mark.parametrize("text", ["", "K", "-1", "1.0001K", "1e6", "64T", "64Kb/s", "0x10"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match=f"'{text}' is not a number of bytes: write it like"):
        parse_binary_size(text)


@given(st.integers(0, 1 << 40))
def test_a_size_that_is_written_reads_back(size_bytes: int) -> None:
    assert parse_binary_size(format_binary_size(size_bytes)) == size_bytes


@pytest.mark.parametrize(("size_bytes", "text"), [
    (0, "0B"), (9000, "9000B"), (1024, "1KiB"), (1536 << 10, "1536KiB"), (1 << 30, "1GiB"),
])
def test_a_size_as_it_is_written(size_bytes: int, text: str) -> None:
    assert format_binary_size(size_bytes) == text


def test_what_is_wrong_is_noted_and_stood_in_for() -> None:
    found = reading(qps="65", size="1T", algo="rong")
    assert found.value("qps", count("qps", 1, 64, 4)) == 4
    assert found.value("size", binary_size("size_bytes", 1, 1 << 20, 7)) == 7
    assert found.value("algo", word("algorithm", ("ring", "tree"), "ring")) == "ring"
    assert found.value("dtype", word("dtype", ("float",), None)) is None
    assert found.faults == [
        "--qps 65 is not allowed: use 1 to 64",
        "--size: '1T' is not a number of bytes: write it like 65536, 64K or 16M (K is 1024)",
        "--algo: there is no 'rong', did you mean 'ring'?: use ring or tree",
    ]


@pytest.mark.parametrize(("texts", "hosts", "how"), [
    ({}, tuple(range(8)), "local"),
    ({"hosts": "3"}, (0, 1, 2), "local"),
    ({"hosts": "h5,h0"}, (5, 0), "given"),
    ({"hosts": "h5,h0", "placement": "local"}, (0, 5), "local"),
    ({"hosts": "6", "placement": "striped"}, (0, 4, 1, 5, 2, 3), "striped"),
])
def test_hosts_by_rank(texts: dict[str, str], hosts: tuple[int, ...], how: str) -> None:
    found = reading(**texts)
    choice = found.value("hosts", HOSTS)
    placement = found.value("placement", PLACEMENT)
    assert found.ranked_hosts(OCTO, choice, placement, 8) == (hosts, how)
    assert found.faults == []


@pytest.mark.parametrize(("text", "sentence"), [
    ("1", "--hosts: 1 of them cannot take part: use 2 to 6"),
    ("7", "--hosts: 7 of them cannot take part: use 2 to 6"),
    ("9", "--hosts: 9 hosts are too many: octo has 8"),
    ("h1,h8", "--hosts: host h8 does not exist: octo has h0 to h7"),
])
def test_too_few_too_many_or_none(text: str, sentence: str) -> None:
    found = reading(hosts=text)
    assert found.ranked_hosts(OCTO, found.value("hosts", HOSTS), None, 6)[0] == ()
    assert found.faults == [sentence]


def test_a_document_becomes_texts() -> None:
    faults: list[str] = []
    raw = raw_of({"workload": "x", "dst": "h3", "qps": 2, "hosts": ["h1", "h2"], "tdf": 500,
                  "capture": True, "recalibrate": False, "depth": 9}, TABLE, {"depth"}, faults)
    assert faults == []
    assert raw == RawRequest(
        workload="x", operands=("h3",), tdf="500", flags=frozenset({"capture"}),
        texts={"qps": "2", "hosts": "h1,h2", "depth": "9"})


@pytest.mark.parametrize(("document", "sentence"), [
    ({"qsp": 3}, "there is no key 'qsp', did you mean 'qps'?"),
    ({"zzz": 3}, "there is no key 'zzz', the keys are workload, dst, tdf, evs, hosts, qps, sample, "
                 "seed, snap, capture, recalibrate"),
    ({"qps": [1]}, "qps: a single value is expected here"),
    ({"qps": None}, "qps: a single value is expected here"),
    ({"qps": True}, "qps: a single value is expected here"),
    ({"qps": 1.5}, "qps: a single value is expected here"),
    ({"hosts": [["h1"]]}, "hosts: a single value is expected here"),
    ({"dst": ["h1"]}, "dst: a single value is expected here"),
    ({"capture": "yes"}, "capture: 'yes' is not allowed: use true or false"),
])
def test_a_document_of_another_shape(document: dict[str, Any], sentence: str) -> None:
    faults: list[str] = []
    raw_of({"workload": "x", "dst": "h3", **document}, TABLE, (), faults)
    assert faults == [sentence]


def test_what_a_document_lacks() -> None:
    faults: list[str] = []
    raw_of({}, TABLE, (), faults)
    assert faults == ["workload is missing: add 'workload: ...'", "dst is missing: add 'dst: ...'"]


def test_captures_have_to_be_asked_for() -> None:
    found = reading(snap="96")
    found.judge_snap()
    assert found.faults == ["--snap is for captures only: add --pcap"]
    found = reading("capture", snap="96")
    found.judge_snap()
    assert found.faults == []


def test_options_are_written_in_their_order_and_what_is_none_is_not() -> None:
    class Asked:
        qps, hosts, seed, snap_bytes, tdf, sample_ns = 4, (1, 0), 7, 256, "auto", None
        evs = None
        is_captured, recalibrate = False, True

    assert write_options(Asked, TABLE) == {
        "qps": 4, "hosts": ["h1", "h0"], "seed": 7, "tdf": "auto", "capture": False,
        "recalibrate": True}


def test_faults_are_listed() -> None:
    require_none([])
    with pytest.raises(UsageError, match=r"^one$"):
        require_none(["one"])
    with pytest.raises(UsageError, match=r"^spec x has 2 faults:\n  one\n  two$"):
        require_none(["one", "two"], "spec x")
