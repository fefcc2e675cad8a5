"""Permutations and incasts: who writes to whom, and who may not."""

from __future__ import annotations

import pytest

from testbed.errors import UsageError
from testbed.intent.options import RawRequest
from testbed.intent.topology import load_topology
from testbed.intent.traffic import TrafficRequest
from testbed.intent.workload import resolve

OCTO = load_topology("octo")


def resolved(kind: str, *operands: str, **texts: str) -> TrafficRequest:
    found = resolve(RawRequest(workload=kind, operands=operands, texts=texts), OCTO)
    assert isinstance(found, TrafficRequest)
    return found


def complaint(kind: str, *operands: str, **texts: str) -> str:
    with pytest.raises(UsageError) as caught:
        resolved(kind, *operands, **texts)
    return str(caught.value)


def test_a_permutation_by_default() -> None:
    found = resolved("permutation")
    assert found == TrafficRequest(
        kind="permutation", hosts=tuple(range(8)), placement="local", size_bytes=32_768, qps=4,
        iters=None, duration_ns=1_000_000, depth=128)
    assert found.pairs == ((0, 4), (1, 5), (2, 6), (3, 7), (4, 0), (5, 1), (6, 2), (7, 3))
    assert found.what == "permutation-8"


def test_everybody_sends_once_and_receives_once() -> None:
    found = resolved("permutation", hosts="h1,h7,h2,h3,h0", iters="9", size="64K")
    assert found.pairs == ((1, 2), (7, 3), (2, 0), (3, 1), (0, 7))
    assert (found.iters, found.duration_ns, found.size_bytes) == (9, None, 65_536)
    assert found.placement == "given"


def test_an_incast_by_default_is_of_all_others() -> None:
    found = resolved("incast", "h3")
    assert found == TrafficRequest(
        kind="incast", dst=3, senders=(0, 1, 2, 4, 5, 6, 7), duration_ns=1_000_000)
    assert found.pairs[0] == (0, 3)
    assert found.what == "incast-7-h3"


def test_an_incast_with_a_victim() -> None:
    found = resolved("incast", "h0", senders="3", victim="h1:h7")
    assert found.senders == (2, 3, 4)
    assert found.pairs == ((2, 0), (3, 0), (4, 0), (1, 7))
    assert resolved("incast", "h0", senders="h5,h2", victim="h1:h7").senders == (5, 2)


def test_documents() -> None:
    assert resolved("incast", "h0", senders="2", victim="h1:h7", iters="5").to_document() == {
        "workload": "incast", "dst": "h0", "senders": ["h2", "h3"], "victim": "h1:h7",
        "size": "32KiB", "qps": 4, "iters": 5, "depth": 128, "seed": 1, "tdf": "auto",
        "capture": False, "recalibrate": False}
    assert resolved("permutation", hosts="2").to_document() == {
        "workload": "permutation", "hosts": ["h0", "h1"], "placement": "local", "size": "32KiB",
        "qps": 4, "duration": "1ms", "depth": 128, "seed": 1, "tdf": "auto", "capture": False,
        "recalibrate": False}


@pytest.mark.parametrize(("words", "texts", "sentence"), [
    (("incast", "h9"), {}, "DST: host h9 does not exist: octo has h0 to h7"),
    (("incast", "there"), {}, "DST: 'there' is not a host: write one like h0"),
    (("incast", "h0"), {"senders": "8"}, "--senders: 8 hosts are too many: octo has 7 others"),
    (("incast", "h0"), {"senders": "0"}, "--senders: nobody is left to write: use 1 or more"),
    (("incast", "h0"), {"senders": "h0,h1"}, "--senders: h0 is what is written to: leave it out"),
    (("incast", "h0"), {"senders": "h1", "victim": "h1:h2"},
     "--senders: h1 is a host of the victim: leave it out"),
    (("incast", "h0"), {"victim": "h3:h0"},
     "--victim: h0 takes part in the incast: name two others"),
    (("incast", "h0"), {"victim": "h3:h3"}, "--victim: h3 cannot write to itself: name two hosts"),
    (("incast", "h0"), {"victim": "h3:h8"}, "--victim: host h8 does not exist: octo has h0 to h7"),
    (("incast", "h0"), {"victim": "h3"}, "--victim: 'h3' is not a pair of hosts: write it like "
                                         "h1:h5"),
    (("incast", "h0"), {"victim": "h3:h4:h5"}, "--victim: 'h3:h4:h5' is not a pair of hosts"),
    (("incast", "h0"), {"hosts": "4"},
     "--hosts is for allreduce, allgather, reducescatter, alltoall, broadcast, sendrecv, "
     "permutation and train, not for incast: leave it out"),
    (("permutation",), {"victim": "h1:h2"},
     "--victim is for incast, not for permutation: leave it out"),
    (("permutation",), {"hosts": "h3"}, "--hosts: 1 of them cannot take part: use 2 to 8"),
    (("permutation",), {"iters": "5", "duration": "1ms"},
     "--iters and --duration exclude each other: keep one"),
    (("permutation",), {"iters": "0"}, "--iters 0 is not allowed: use 1 to 1000000"),
    (("permutation",), {"snap": "90"}, "--snap is for captures only: add --pcap"),
])
def test_one_fault_is_one_sentence(
    words: tuple[str, ...], texts: dict[str, str], sentence: str
) -> None:
    found = complaint(*words, **texts)
    assert found.startswith(sentence)
    assert "\n" not in found
