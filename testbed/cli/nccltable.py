"""A collective's result as text in the manner of nccl-tests; every line but rows is a comment.

Times and bandwidths are emulated ones: time is the mean over ranks and iterations, algbw =
size/time, busbw what the slowest link carries (nccl-tests, doc/PERFORMANCE.md), GB/s is 1e9
bytes/s. The result document has what `perftest.remarks` uses, and besides (as JSON):

    operation, algorithm, dtype, redop
    ranks        names of hosts, in the order of their ranks
    sizes        a row each: size_bytes, count, iters, time_ns, median_ns, slowest_ns, lost_ns,
                 algbw_bytes_per_s, busbw_bytes_per_s, wrong; figures are None where no
                 iteration was completed, lost_ns where only one was
    parameters   `CollectiveRequest.to_document()`
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from testbed.cli.output import paint
from testbed.cli.perftest import remark, remarks, spaced_size, surroundings

_WIDTHS = (12, 13, 9, 7, 6, 11, 8, 8, 8)
_TITLES = (
    ("size", "count", "type", "redop", "root", "time", "algbw", "busbw", "#wrong"),
    ("(B)", "(elements)", "", "", "", "(us)", "(GB/s)", "(GB/s)", ""),
)
_ROOT = {"broadcast": "0"}  # the others have none
_SLOW = 1.05  # times the median: an iteration worth a remark

_Rows = Sequence[Mapping[str, Any]]


def report(document: Mapping[str, Any]) -> str:
    """The whole text of one result, painted where stdout is a terminal."""
    lines = [*_heading(document), *map(_comment, ("", *map(_columns, _TITLES))),
             *_table(document), *map(_comment, _footer(document["sizes"])),
             *map(_comment, _time_lost(document["sizes"])), *map(_comment, remarks(document))]
    return "".join(f"{line}\n" for line in lines)


def _comment(line: str) -> str:
    """What programs skip; a column title keeps its place."""
    return "#" + line.removeprefix(" ") if line.startswith("  ") else f"#{line}"


def _heading(document: Mapping[str, Any]) -> Iterator[str]:
    asked, topology = document["parameters"], document["topology"]
    yield (f"# {document['operation']} nRanks {len(document['ranks'])} algo {asked['algo']} "
           f"qps {asked['qps']} channels {asked['channels']} segment {asked['segment']} "
           f"warmup iters: {asked['warmup']} iters: {asked['iters']} validation: 1")
    yield f"# {topology['name']}, hosts {asked['placement']}"
    yield from map(_comment, surroundings(document))
    yield "#"
    yield "# Using hosts"
    yield from (f"#  Rank {rank:>2} on {host}" for rank, host in enumerate(document["ranks"]))


def _columns(values: Sequence[str]) -> str:
    return " ".join(f"{value:>{width}}"
                    for value, width in zip(values, _WIDTHS, strict=True)).rstrip()


def _table(document: Mapping[str, Any]) -> Iterator[str]:
    for row in document["sizes"]:
        yield _columns((
            str(row["size_bytes"]), str(row["count"]), document["dtype"], document["redop"],
            _ROOT.get(document["operation"], "-1"), _scaled(row["time_ns"], 1e3),
            _scaled(row["algbw_bytes_per_s"], 1e9), _scaled(row["busbw_bytes_per_s"], 1e9),
            str(row["wrong"])))


def _scaled(value: float | None, unit: float) -> str:
    return "N/A" if value is None else f"{value / unit:.2f}"


def _footer(sizes: _Rows) -> Iterator[str]:
    wrong = sum(row["wrong"] for row in sizes)
    found = [row["busbw_bytes_per_s"] for row in sizes if row["busbw_bytes_per_s"] is not None]
    outcome = paint("FAILED", "red") if wrong else "OK"
    yield f" Out of bounds values : {wrong} {outcome}"
    yield f" Avg bus bandwidth    : {_scaled(sum(found) / len(found) if found else None, 1e9)}"
    yield ""


def _time_lost(sizes: _Rows) -> Iterator[str]:
    """What iterations took beyond the median of their size, where one took much longer."""
    for row in sizes:
        if row["lost_ns"] is None:
            if row["iters"]:
                yield remark("time lost", f"unknown for {spaced_size(row['size_bytes'])}: one "
                             "iteration has no other to be compared with")
        elif row["slowest_ns"] and row["slowest_ns"] > _SLOW * row["median_ns"]:
            yield remark("time lost", f"{row['lost_ns'] / 1e3:.1f} us in iterations of "
                         f"{spaced_size(row['size_bytes'])}: the slowest took "
                         f"{row['slowest_ns'] / 1e3:.1f} us, the median "
                         f"{row['median_ns'] / 1e3:.1f} us")
