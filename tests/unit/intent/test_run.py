"""What `run` accepts, what it makes of it, and what it says otherwise."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from testbed.errors import UsageError
from testbed.intent.documents import dump_yaml
from testbed.intent.options import RawRequest, option_name, require_none
from testbed.intent.run import (
    KINDS,
    RunRequest,
    from_document,
    read,
)
from testbed.intent.topology import load_topology
from workloads.evshare import EvShare

TINY = load_topology("tiny")
MIB = 1 << 20


def raw(workload: str = "write-bw", src: str = "h0", dst: str = "h3", *flags: str,
        tdf: str = "auto", **texts: str) -> RawRequest:
    return RawRequest(workload=workload, operands=(src, dst), tdf=tdf, texts=texts,
                      flags=frozenset(flags))


def resolved(*words: str, **texts: str) -> RunRequest:
    request, faults = read(raw(*words, **texts), TINY, option_name)
    require_none(faults)
    return request


def complaint(*words: str, **texts: str) -> str:
    with pytest.raises(UsageError) as caught:
        resolved(*words, **texts)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_the_defaults_of_write_bw() -> None:
    assert resolved() == RunRequest(
        kind="write-bw", src=0, dst=3, size_bytes=32 * 1024, qps=4, iters=None,
        duration_ns=1_000_000, is_bidirectional=False, depth=128, tdf="auto", seed=1,
        is_captured=False, snap_bytes=256, recalibrate=False, is_every_message_kept=False)


def test_the_defaults_of_write_lat() -> None:
    assert resolved("write-lat") == RunRequest(
        kind="write-lat", src=0, dst=3, size_bytes=2, qps=1, iters=100, duration_ns=None, depth=1)


def test_everything_typed() -> None:
    found = resolved("write-bw", "h2", "h1", "bidirectional", "verify", "capture", "recalibrate",
                     tdf="500", size="64KB", qps="2", iters="7", depth="16", seed="9", snap="96",
                     evs="2+1")
    assert found == RunRequest(
        kind="write-bw", src=2, dst=1, size_bytes=64_000, qps=2, iters=7, duration_ns=None,
        is_bidirectional=True, depth=16, tdf=500, seed=9, is_captured=True, snap_bytes=96,
        recalibrate=True, is_every_message_kept=True, evs=EvShare(2, 1))


@pytest.mark.parametrize(("text", "size_bytes"), [
    ("65536", 65_536), ("32KiB", 32_768), ("64KB", 64_000), ("1", 1), ("64MiB", 64 * MIB),
    ("4096B", 4096),
])
def test_a_plain_size_is_bytes_as_in_perftest(text: str, size_bytes: int) -> None:
    assert resolved(size=text, qps="1", depth="1").size_bytes == size_bytes


@pytest.mark.parametrize(("options", "expected"), [
    ({"size": "0"}, "--size 0 is not allowed: use 1B to 64MiB"),
    ({"size": "64MiB1"}, "--size: '64MiB1' is not a number with a unit"),
    ({"size": str(64 * MIB + 1)}, "--size 67108865 is not allowed: use 1B to 64MiB"),
    ({"size": "64MB5"}, "--size: '64MB5' is not a number with a unit"),
    ({"size": "-1"}, "--size: '-1' is not a number with a unit"),
    ({"qps": "0"}, "--qps 0 is not allowed: use 1 to 64"),
    ({"qps": "65"}, "--qps 65 is not allowed: use 1 to 64"),
    ({"qps": "four"}, "--qps: 'four' is not a whole number, use 1 to 64"),
    ({"iters": "0"}, "--iters 0 is not allowed: use 1 to 1000000"),
    ({"iters": "1000001"}, "--iters 1000001 is not allowed: use 1 to 1000000"),
    ({"duration": "9us"}, "--duration 9us is not allowed: use 10us to 1s"),
    ({"duration": "1001ms"}, "--duration 1001ms is not allowed: use 10us to 1s"),
    ({"duration": "5"}, "--duration: '5' has no unit"),
    ({"depth": "1025"}, "--depth 1025 is not allowed: use 1 to 1024"),
    ({"seed": "-1"}, "--seed: '-1' is not a whole number, use 0 to 9223372036854775807"),
    ({"tdf": "0"}, "--tdf 0 is not allowed: use auto or 1 to 10000000"),
    ({"snap": "0"}, "--snap 0 is not allowed: use 1B to 65535B"),
    ({"dst": "h0"}, "DST: h0 cannot write to itself: name two hosts"),
    ({"dst": "h4"}, "DST: host h4 does not exist: tiny has h0 to h3"),
    ({"src": "zero"}, "SRC: 'zero' is not a host: write one like h0"),
    ({"workload": "write-bx"},
     "there is no workload 'write-bx', did you mean 'write-bw'?: use write-bw or write-lat"),
    ({"workload": "xyz"}, "there is no workload 'xyz': use write-bw or write-lat"),
    ({"iters": "5", "duration": "1ms"}, "--iters and --duration exclude each other: keep one"),
    ({"snap": "96"}, "--snap is for captures only: add --pcap"),
])
def test_one_fault_is_one_sentence(options: dict[str, str], expected: str) -> None:
    flags = ("capture",) if options.get("snap") == "0" else ()
    places = {"workload": "write-bw", "src": "h1", "dst": "h3"} | {
        key: options[key] for key in ("workload", "src", "dst") if key in options}
    if options.get("dst") == "h0":
        places["src"] = "h0"
    rest = {key: text for key, text in options.items() if key not in places}
    text = complaint(*places.values(), *flags, **rest)
    assert text.startswith(expected)
    assert "\n" not in text


@pytest.mark.parametrize(("flags", "texts", "option"), [
    ((), {"qps": "2"}, "--qps"), (("bidirectional",), {}, "--bidir"),
    ((), {"duration": "1ms"}, "--duration"), ((), {"depth": "2"}, "--depth"),
    (("verify",), {}, "--verify"),
])
def test_write_lat_refuses_what_it_does_not_have(
    flags: tuple[str, ...], texts: dict[str, str], option: str
) -> None:
    assert complaint("write-lat", "h0", "h3", *flags, **texts) == (
        f"{option} is not for write-lat, which writes one message at a time on one queue pair: "
        "leave it out")


def test_write_lat_has_a_smaller_largest_size() -> None:
    assert resolved("write-lat", size="1MiB").size_bytes == MIB
    assert complaint("write-lat", size="1048577") == (
        "--size 1048577 is not allowed: use 1B to 1MiB")


def test_verify_needs_to_know_how_many_messages() -> None:
    assert complaint("write-bw", "h0", "h3", "verify") == (
        "--verify keeps every message, so their number must be known: add --iters")


def test_all_faults_come_at_once() -> None:
    lines = complaint("write-lot", "h9", "there", qps="0", size="big", tdf="never",
                      snap="1").splitlines()
    assert lines == [
        "this run has 7 faults:",
        "  DST: 'there' is not a host: write one like h0",
        "  there is no workload 'write-lot', did you mean 'write-lat'?: use write-bw or write-lat",
        "  --size: 'big' is not a number with a unit: write it with B, KB, MB, GB, KiB, MiB or "
        "GiB, like 4096B",
        "  --qps 0 is not allowed: use 1 to 64",
        "  --snap is for captures only: add --pcap",
        "  --tdf never is not allowed: use auto or 1 to 10000000",
        "  SRC: host h9 does not exist: tiny has h0 to h3",
    ]


@pytest.mark.parametrize(("flags", "texts", "memory_bytes"), [
    ((), {}, 4 * 128 * 32_768 * 2),
    (("bidirectional",), {}, 4 * 128 * 32_768 * 4),
    ((), {"iters": "3"}, 4 * 3 * 32_768 * 2),
    ((), {"iters": "1000"}, 4 * 128 * 32_768 * 2),
    (("verify",), {"iters": "1000"}, 4 * 1000 * 32_768 * 2),
    ((), {"size": "1MiB", "qps": "8", "depth": "64"}, 1 << 30),
])
def test_registered_memory(flags: tuple[str, ...], texts: dict[str, str],
                           memory_bytes: int) -> None:
    assert resolved("write-bw", "h0", "h3", *flags, **texts).memory_bytes == memory_bytes


@pytest.mark.parametrize(("flags", "texts"), [
    ((), {"size": "1048577", "qps": "8", "depth": "64"}),
    (("bidirectional",), {"size": "1MiB", "qps": "8", "depth": "64"}),
    (("verify",), {"iters": "1000000"}),
    ((), {"size": "64MiB", "qps": "64", "depth": "1024"}),
])
def test_more_memory_than_a_host_may_register_is_refused(
    flags: tuple[str, ...], texts: dict[str, str]
) -> None:
    text = complaint("write-bw", "h0", "h3", *flags, **texts)
    assert "GiB of memory on a host, 1GiB is the most: use smaller or fewer messages" in text


def test_a_name_for_folders() -> None:
    assert resolved("write-lat", "h2", "h0").what == "write-lat-h2-h0"


# --- documents ---------------------------------------------------------------------------


def test_a_document_has_units_and_the_order_of_the_command_line() -> None:
    found = resolved("write-bw", "h0", "h3", "capture", duration="250us", tdf="2000")
    assert dump_yaml(found.to_document()) == (
        "workload: write-bw\nsrc: h0\ndst: h3\nsize: 32KiB\nqps: 4\nduration: 250us\n"
        "depth: 128\nseed: 1\nsnap: 256B\ntdf: 2000\nbidirectional: false\nverify: false\n"
        "capture: true\nrecalibrate: false\n")


def test_a_latency_document_has_only_what_it_has() -> None:
    assert resolved("write-lat").to_document() == {
        "workload": "write-lat", "src": "h0", "dst": "h3", "size": "2B", "iters": 100, "seed": 1,
        "tdf": "auto", "capture": False, "recalibrate": False}


@st.composite
def requests(draw: st.DrawFn) -> RunRequest:
    def maybe(values: st.SearchStrategy[Any]) -> str | None:
        value = draw(st.none() | values)
        return None if value is None else str(value)

    kind = draw(st.sampled_from(KINDS))
    flags = {"capture", "recalibrate"}
    texts = {"size": maybe(st.integers(1, 8192)), "iters": maybe(st.integers(1, 1_000)),
             "seed": maybe(st.integers(0, 2**63 - 1)),
             "evs": maybe(st.builds(EvShare, st.integers(1, 9), st.integers(0, 9)))}
    if kind == "write-bw":
        flags.add("bidirectional")
        texts |= {"qps": maybe(st.integers(1, 4)), "depth": maybe(st.integers(1, 1024))}
        if texts["iters"] is None:
            texts["duration"] = f"{draw(st.integers(10_000, 10**9))}ns"
        else:
            flags.add("verify")
    chosen = draw(st.sets(st.sampled_from(sorted(flags))))
    if "capture" in chosen:
        texts["snap"] = maybe(st.integers(1, 65_535))
    tdf = draw(st.just("auto") | st.integers(1, 10_000_000).map(str))
    typed = {key: text for key, text in texts.items() if text is not None}
    return resolved(kind, "h1", "h0", *chosen, tdf=tdf, **typed)


@given(requests())
def test_a_document_reads_back_as_the_same_run(request: RunRequest) -> None:
    text = dump_yaml(request.to_document())
    assert from_document(yaml.safe_load(text)) == request
    assert dump_yaml(from_document(request.to_document()).to_document()) == text


@pytest.mark.parametrize(("change", "expected"), [
    ({"sise": "1KB"}, "there is no key 'sise', did you mean 'size'?"),
    ({"zzz": 1}, "there is no key 'zzz', the keys are workload, src, dst, tdf, depth, duration"),
    ({7: 1}, "there is no key '7', the keys are"),
    ({"verify": "yes"}, "verify: 'yes' is not allowed: use true or false"),
    ({"qps": [1]}, "qps: a single value is expected here"),
    ({"qps": True}, "qps: a single value is expected here"),
    ({"qps": 65}, "qps 65 is not allowed: use 1 to 64"),
    ({"tdf": 0}, "tdf 0 is not allowed: use auto or 1 to 10000000"),
    ({"iters": 5}, "iters and duration exclude each other: keep one"),
    ({"workload": "write-lat"}, "this run has 3 faults:\n  depth is not for write-lat"),
    ({"size": "64MiB"}, "write-bw would register 64.0 GiB of memory on a host"),
])
def test_a_document_is_judged_like_a_command_line(change: dict[Any, Any], expected: str) -> None:
    document = resolved(duration="1ms").to_document()
    with pytest.raises(UsageError) as caught:
        from_document({**document, **change})
    assert str(caught.value).startswith(expected)


def test_a_document_without_hosts_says_so() -> None:
    with pytest.raises(UsageError, match=r"src is missing: add 'src: ...'\n  dst is missing"):
        from_document({"workload": "write-bw"})
