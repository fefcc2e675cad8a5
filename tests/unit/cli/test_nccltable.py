"""What a person and a script read after a collective: the table of nccl-tests."""

from __future__ import annotations

import json
from typing import Any

import pytest

from testbed.cli.nccltable import report


def size(size_bytes: int, time_us: float, slowest_us: float | None = None,
         **more: Any) -> dict[str, Any]:
    """All-reduce of 8 ranks: busbw is 7/4 of algbw."""
    algbw = size_bytes * 1e6 / time_us
    return {"size_bytes": size_bytes, "count": size_bytes // 4, "iters": 4,
            "time_ns": time_us * 1e3, "median_ns": time_us * 1e3,
            "slowest_ns": (slowest_us or time_us) * 1e3,
            "lost_ns": max(0.0, (slowest_us or time_us) - time_us) * 1e3,
            "algbw_bytes_per_s": algbw, "busbw_bytes_per_s": algbw * 7 / 4, "wrong": 0, **more}


SIZES = [size(262_144, 48.31), size(1_048_576, 61.25), size(4_194_304, 609.3, 812.3)]
NO_FIGURES: dict[str, Any] = {
    "time_ns": None, "median_ns": None, "slowest_ns": None, "lost_ns": None,
    "algbw_bytes_per_s": None, "busbw_bytes_per_s": None}


def result(**changes: Any) -> dict[str, Any]:
    document = {
        "kind": "collective", "operation": "allreduce", "algorithm": "ring", "dtype": "float",
        "redop": "sum", "ranks": ["h0", "h4", "h1"], "sizes": SIZES,
        "parameters": {
            "workload": "allreduce", "algo": "ring", "qps": 4, "channels": 1, "segment": "64KiB",
            "warmup": 1, "iters": 4, "placement": "striped"},
        "topology": {"name": "octo", "planes": 8, "port_rate_bps": 10**11,
                     "payload_bytes": 4096},
        "dataplane": "ovs", "tdf": 2000, "streams": [], "loss": None,
        "hosts": {"h0": {"sent": 6000, "resent": 2, "icrc_errors": 0,
                         "resent_by": {"nack": 2, "evidence": 0, "timer": 0}}},
        "evs_out": [], "verified": {"checked_bytes": 16_777_216, "wrong_bytes": 0},
        "verdict": {"word": "degraded", "reasons": ["agents were late."]},
        "folder": "runs/20261121T153000Z-allreduce-3", "failures": [], "wall_s": 12.3,
    }
    return json.loads(json.dumps({**document, **changes}))  # type: ignore[no-any-return]


def rows(document: dict[str, Any]) -> list[list[str]]:
    return [line.split() for line in report(document).splitlines() if not line.startswith("#")]


def test_a_report_from_top_to_bottom() -> None:
    assert report(result()) == """\
# allreduce nRanks 3 algo ring qps 4 channels 1 segment 64KiB warmup iters: 1 iters: 4 validation: 1
# octo, hosts striped
# Mtu             : 4096[B]
# Link type       : SRv6 over 8 x 100 Gb/s
# Data plane      : ovs
# Time dilation   : 2,000 (1us emulated takes 2ms)
#
# Using hosts
#  Rank  0 on h0
#  Rank  1 on h4
#  Rank  2 on h1
#
#       size         count      type   redop   root        time    algbw    busbw   #wrong
#        (B)    (elements)                                 (us)   (GB/s)   (GB/s)
      262144         65536     float     sum     -1       48.31     5.43     9.50        0
     1048576        262144     float     sum     -1       61.25    17.12    29.96        0
     4194304       1048576     float     sum     -1      609.30     6.88    12.05        0
# Out of bounds values : 0 OK
# Avg bus bandwidth    : 17.17
#
# time lost       : 203.0 us in iterations of 4 MiB: the slowest took 812.3 us, the median 609.3 us
# retransmissions : 2 of 6,000 packets: 2 after a NACK
# EVs taken out   : none
# bytes verified  : 16,777,216, all right
# wall clock      : 12 s
# verdict         : degraded
#  agents were late.
# run folder      : runs/20261121T153000Z-allreduce-3
"""


def test_columns_end_where_their_titles_end() -> None:
    lines = report(result(dtype="bfloat16", operation="reducescatter")).splitlines()
    at = next(i for i, line in enumerate(lines) if line.split()[:2] == ["#", "size"])

    def ends(line: str) -> list[int]:
        return [i for i, c in enumerate(line) if c != " " and line[i + 1 : i + 2] in ("", " ")]

    title = ends(lines[at])[-9:]  # the first is the '#' itself
    assert all(ends(line) == title for line in lines[at + 2 : at + 5])
    assert set(ends(lines[at + 1])[-5:]) <= set(title)


def test_every_line_but_the_rows_is_a_comment() -> None:
    failed = result(failures=["rank 1 (h4) was lost at 2ms: no answer in time"], evs_out=[
        {"host": "h0", "peer": "h4", "ev": "0x0203", "plane": 2, "cause": "loss", "at_ns": 5}])
    assert len(rows(failed)) == len(SIZES)
    assert "# problem         : rank 1 (h4) was lost at 2ms: no answer in time\n" in report(failed)
    assert "#  0x0203 of plane 2, h0 -> h4: loss at 5ns\n" in report(failed)


def test_wrong_elements_are_counted_and_failed() -> None:
    text = report(result(sizes=[size(1024, 5.0, wrong=3), size(2048, 6.0, wrong=4)]))
    assert "# Out of bounds values : 7 FAILED\n" in text
    assert rows(result(sizes=[size(1024, 5.0, wrong=3)]))[0][-1] == "3"


@pytest.mark.parametrize(("operation", "root"), [("broadcast", "0"), ("alltoall", "-1")])
def test_only_a_broadcast_has_a_root(operation: str, root: str) -> None:
    assert rows(result(operation=operation, redop="none"))[0][2:5] == ["float", "none", root]


def test_sizes_that_nobody_completed_have_no_figures() -> None:
    lost = [size(1024, 5.0), size(2048, 5.0, iters=0, **NO_FIGURES)]
    assert rows(result(sizes=lost))[1][5:] == ["N/A", "N/A", "N/A", "0"]
    assert "# Avg bus bandwidth    : 0.36\n" in report(result(sizes=lost))
    assert "# Avg bus bandwidth    : N/A\n" in report(result(sizes=lost[1:]))
    assert "slowest" not in report(result(sizes=lost[1:]))


@pytest.mark.parametrize(("slowest_us", "is_told"), [(104.9, False), (105.1, True)])
def test_an_iteration_is_slow_from_a_twentieth_above(slowest_us: float, is_told: bool) -> None:
    assert ("slowest" in report(result(sizes=[size(1024, 100.0, slowest_us)]))) is is_told


def test_every_size_tells_what_it_lost() -> None:
    sizes = [size(1024, 10.0, 15.0), size(1 << 20, 100.0, 120.0)]
    text = report(result(sizes=sizes))
    assert "# time lost       : 5.0 us in iterations of 1 KiB" in text
    assert "# time lost       : 20.0 us in iterations of 1 MiB" in text


def test_a_simulation_has_no_verdict_no_dilation_and_no_folder() -> None:
    text = report(result(verdict=None, tdf=None, folder=None, dataplane="simulator"))
    assert "# verdict         : none, in the simulator nothing can be late\n" in text
    assert "dilation" not in text
    assert "folder" not in text
