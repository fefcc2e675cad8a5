"""Writes between many pairs of hosts as text, in the manner of perftest.

All pairs together first, as perftest sums both directions, then a row for each pair. The
result document is that of `perftest`; its parameters are `TrafficRequest.to_document()`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from testbed.cli.perftest import (
    BANDWIDTH_HEADER,
    LINE_CHARACTERS,
    bandwidth_table,
    directions,
    remark,
    remarks,
    surroundings,
)
from testbed.intent.options import parse_binary_size
from workloads.write_bandwidth import average_bps


def report(document: Mapping[str, Any]) -> str:
    """The whole text of one result, painted where stdout is a terminal."""
    rule = "-" * max(LINE_CHARACTERS, len(BANDWIDTH_HEADER) + 1)
    size_bytes = parse_binary_size(document["parameters"]["size"])
    lines = [rule, *_heading(document), rule, *_table(document, size_bytes), rule,
             remark("of the NIC rate", _shares(document)), *remarks(document)]
    return "".join(f"{line}\n" for line in lines)


def _heading(document: Mapping[str, Any]) -> Iterator[str]:
    asked = document["parameters"]
    yield " " * 20 + f"RDMA_Write {asked['workload'].capitalize()} BW Test"
    yield remark("Hosts", _who(asked, document["topology"]["name"]))
    yield remark("Number of qps", f"{asked['qps']} per pair")
    yield remark("Connection type", "MRC")
    yield remark("TX depth", asked["depth"])
    yield from surroundings(document)


def _who(asked: Mapping[str, Any], topology: str) -> str:
    if asked["workload"] == "permutation":
        return (f"{len(asked['hosts'])} on {topology}, {asked['placement']}, each to the one half "
                "the list further")
    victim = f", beside {asked['victim'].replace(':', ' -> ')}" if "victim" in asked else ""
    return f"{len(asked['senders'])} -> {asked['dst']}{victim} on {topology}"


def _table(document: Mapping[str, Any], size_bytes: int) -> Iterator[str]:
    """Rows say which pair is the victim, and that the first is all of them."""
    victim = document["parameters"].get("victim", "").replace(":", " -> ")
    header, together, *pairs = bandwidth_table(document["streams"], size_bytes)
    yield header
    yield f"{together}  {'all' if pairs else ''}".rstrip()
    for row in pairs:
        yield f"{row} (victim)" if victim and row.endswith(f"  {victim}") else row


def _shares(document: Mapping[str, Any]) -> str:
    """The mean over pairs, and the pair with the least: one NIC's rate is 100 %."""
    topology = document["topology"]
    nominal_bps = topology["planes"] * topology["port_rate_bps"]
    shares = {pair: 100 * average_bps(streams) / nominal_bps
              for pair, streams in directions(document["streams"]).items()}
    if not shares:
        return f"nothing of {nominal_bps / 1e9:g} Gb/s"
    (src, dst), least = min(shares.items(), key=lambda item: item[1])
    mean = sum(shares.values()) / len(shares)
    return (f"{mean:.1f} % in the mean, {least:.1f} % at least ({src} -> {dst}) of "
            f"{nominal_bps / 1e9:g} Gb/s")
