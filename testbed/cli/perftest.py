"""A run's result as text in the manner of perftest: ib_write_bw and ib_write_lat.

The names of tests and columns are perftest's, so that people and scripts find what they
know; below its table stands what an emulated MRC run has to say besides. All figures are
emulated ones. The result document has (as JSON):

    kind, parameters        "write-bw" or "write-lat", and `RunRequest.to_document()`
    topology                name, planes, port_rate_bps, payload_bytes
    dataplane, tdf          as run
    streams                 a row per sending queue pair: src, dst (``h0``), connection, messages,
                            failure (None or status, reason, at_ns); of write-bw also what
                            `average_bps` and `peak_bps` of the workload ask for
    latency_ns              post to completion of every measured message (write-lat)
    hosts                   by name: sent, resent, resent_by {nack, evidence, timer}, icrc_errors
    actions                 rows of the table `events`: name, what, target, t_ns
    evs_out                 EVs that went out of use: host, peer, ev, plane, cause, at_ns
    verified                checked_bytes, wrong_bytes, wrong_elements
    verdict                 word, reasons
    folder, wall_s
    failures                sentences, one for each queue pair that failed among them
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from testbed.cli.output import VERDICT_COLOURS, paint
from testbed.faults.chronicle import BY_HAND
from testbed.intent.options import format_binary_size
from testbed.intent.run import RunRequest, from_document
from testbed.units import format_count, format_time_ns
from topologies.names import host_name
from workloads.statistics import summary
from workloads.write_bandwidth import average_bps, peak_bps

BANDWIDTH_HEADER = (
    " #bytes     #iterations    BW peak[Gb/sec]    BW average[Gb/sec]   MsgRate[Mpps]")
LATENCY_HEADER = (
    " #bytes #iterations    t_min[usec]    t_max[usec]  t_typical[usec]    t_avg[usec]"
    "    t_stdev[usec]   99% percentile[usec]   99.9% percentile[usec]")

_BANDWIDTH_COLUMNS = ("#bytes", "#iterations", "BW peak", "BW average", "MsgRate")
_LATENCY_COLUMNS = ("#bytes", "#iterations", "t_min", "t_max", "t_typical", "t_avg", "t_stdev",
                    "99% ", "99.9% ")
LINE_CHARACTERS = 87  # as perftest's
_TITLES = {"write-bw": "RDMA_Write BW Test", "write-lat": "RDMA_Write Latency Test"}
_CAUSES = {"nack": "after a NACK", "evidence": "found missing by SACKs", "timer": "by timer"}
_EVS_SHOWN = 8

_Rows = Sequence[Mapping[str, Any]]


def report(document: Mapping[str, Any]) -> str:
    """The whole text of one result, painted where stdout is a terminal."""
    request = from_document(document["parameters"])
    header = LATENCY_HEADER if request.kind == "write-lat" else BANDWIDTH_HEADER
    rule = "-" * max(LINE_CHARACTERS, len(header) + 1)
    table = _latency_table if request.kind == "write-lat" else _bandwidth_table
    lines = [rule, *_heading(document, request), rule, *table(document, request), rule,
             *_remarks(document, request)]
    return "".join(f"{line}\n" for line in lines)


def progress_line(state: Mapping[str, Any], width: int, iters: int = 0) -> str:
    """How far a run is, on one line of at most ``width`` characters.

    ``state``: phase (a word), emulated_ns, bytes_done, share (0..1), wall_s since it runs, and
    of a collective ``turn``: bytes and iteration of ``iters``, from 0, below in the warm-up.
    Goodput is that of the whole run so far. What does not fit is left out from the right.
    """
    elapsed_ns, share = max(0, state["emulated_ns"]), state["share"]  # below 0: not begun
    parts = [f"{elapsed_ns / 1e6:.3f} ms emulated"]
    if state["phase"] != "running":
        parts = [f"{state['phase']} ...", *parts]
    if turn := state.get("turn"):
        parts.append(_turn(turn[0], turn[1], iters))
    if elapsed_ns > 0:
        goodput = [] if turn else [f"{state['bytes_done'] * 8 / elapsed_ns:.1f} Gb/s"]
        parts += [*goodput, f"{100 * share:.0f} %"]
    if 0 < share < 1:
        parts.append(f"{_wall(state['wall_s'] * (1 - share) / share)} left")
    line = parts[0]
    for part in parts[1:]:
        if len(line) + 2 + len(part) > width:
            break
        line += f"  {part}"
    return line[:width]


def _turn(size_bytes: int, iteration: int, iters: int) -> str:
    size = spaced_size(size_bytes)
    return f"{size}, warm-up" if iteration < 0 else f"{size}, iteration {iteration + 1} of {iters}"


def spaced_size(size_bytes: int) -> str:
    """``4 MiB``, as sentences have it."""
    text = format_binary_size(size_bytes)
    unit = text.lstrip("0123456789")
    return f"{text.removesuffix(unit)} {unit}"


def _heading(document: Mapping[str, Any], request: RunRequest) -> Iterator[str]:
    title = _TITLES[request.kind]
    arrow = "->"
    if request.is_bidirectional:
        title, arrow = title.replace("BW", "Bidirectional BW"), "<->"
    yield " " * 20 + title
    yield remark("Hosts", f"{host_name(request.src)} {arrow} {host_name(request.dst)} on "
                          f"{document['topology']['name']}")
    yield remark("Number of qps", request.qps)
    yield remark("Connection type", "MRC")
    yield remark("TX depth", request.depth)
    yield from surroundings(document)


def surroundings(document: Mapping[str, Any]) -> Iterator[str]:
    """Lines on what any workload ran on."""
    topology, tdf = document["topology"], document["tdf"]
    rate = f"{topology['port_rate_bps'] / 1e9:g} Gb/s"
    yield remark("Mtu", f"{topology['payload_bytes']}[B]")
    yield remark("Link type", f"SRv6 over {topology['planes']} x {rate}")
    yield remark("Data plane", document["dataplane"])
    if tdf is not None:  # the simulator has no clock to stretch
        yield remark("Time dilation",
                     f"{tdf:,} (1us emulated takes {format_time_ns(1000 * tdf)})")


# --- Tables ----------------------------------------------------------------------------


def _bandwidth_table(document: Mapping[str, Any], request: RunRequest) -> Iterator[str]:
    """Both directions are summed, as perftest does, and then told apart."""
    return bandwidth_table(document["streams"], request.size_bytes)


def bandwidth_table(streams: _Rows, size_bytes: int) -> Iterator[str]:
    """The header, all streams together, and where there are several each pair of hosts."""
    rows = {f"{src} -> {dst}": _bandwidth(found)
            for (src, dst), found in directions(streams).items()}
    yield BANDWIDTH_HEADER
    together = [sum(column) for column in zip((0, 0, 0), *rows.values(), strict=True)]
    yield _bandwidth_row(together, size_bytes)
    if len(rows) > 1:
        for direction, found in rows.items():
            yield f"{_bandwidth_row(found, size_bytes)}  {direction}"


def _bandwidth(streams: _Rows) -> tuple[int, float, float]:
    """Messages, peak and average in bit/s of one direction."""
    messages = sum(row["messages"] for row in streams)
    return messages, peak_bps(streams), average_bps(streams)


def _bandwidth_row(found: Sequence[float], size_bytes: int) -> str:
    messages, peak, average = found
    return _place(BANDWIDTH_HEADER, _BANDWIDTH_COLUMNS, (
        str(size_bytes), f"{messages:.0f}", f"{peak / 1e9:.2f}", f"{average / 1e9:.2f}",
        f"{average / (8e6 * size_bytes):.6f}"))


def _latency_table(document: Mapping[str, Any], request: RunRequest) -> Iterator[str]:
    """Half of post to completion, in us, as ib_write_lat prints half a round trip."""
    yield LATENCY_HEADER
    if not document["latency_ns"]:
        yield " no message was completed"
        return
    found = summary([round_trip_ns / 2000 for round_trip_ns in document["latency_ns"]])
    times = (found.min, found.max, found.typical, found.avg, found.stdev, found.p99, found.p999)
    yield _place(LATENCY_HEADER, _LATENCY_COLUMNS, (
        str(request.size_bytes), str(len(document["latency_ns"])),
        *(f"{time_us:.2f}" for time_us in times)))


def _place(header: str, columns: Sequence[str], values: Sequence[str]) -> str:
    """Values under the beginnings of their columns; a long one pushes the rest."""
    line = ""
    for column, value in zip(columns, values, strict=True):
        line = line.ljust(header.index(column)) + value + " "
    return line.rstrip()


def directions(streams: _Rows) -> dict[tuple[str, str], list[Mapping[str, Any]]]:
    """The streams of each (src, dst), in the order they first come."""
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in streams:
        found.setdefault((row["src"], row["dst"]), []).append(row)
    return found


# --- What perftest does not have -------------------------------------------------------


def _remarks(document: Mapping[str, Any], request: RunRequest) -> Iterator[str]:
    if request.kind == "write-bw":
        yield remark("of the NIC rate", _share(document))
    yield from remarks(document)


def remarks(document: Mapping[str, Any]) -> Iterator[str]:
    """Lines that stand below the table of any workload."""
    yield from _by_hand(document.get("actions", ()))
    yield remark("retransmissions", _resent(document["hosts"].values()))
    broken = sum(host["icrc_errors"] for host in document["hosts"].values())
    if broken:
        yield remark("corrupted", f"{format_count(broken, 'packet')} refused by the iCRC")
    yield from _evs_out(document["evs_out"])
    yield remark("bytes verified", _verified(document["verified"]))
    yield remark("wall clock", _wall(document["wall_s"]))
    yield from _verdict(document["verdict"])
    yield from (paint(f" problem         : {text}", "red") for text in _failures(document))
    if document["folder"] is not None:
        yield remark("run folder", document["folder"])


def remark(name: str, value: object) -> str:
    """One line: ``wall clock      : 12 s``, after a blank."""
    return f" {name:<15} : {value}"


def _verdict(verdict: Mapping[str, Any] | None) -> Iterator[str]:
    if verdict is None:
        yield remark("verdict", "none, in the simulator nothing can be late")
        return
    word = verdict["word"]
    yield remark("verdict", paint(word, VERDICT_COLOURS[word]))
    yield from (f"   {reason}" for reason in verdict["reasons"])


def _share(document: Mapping[str, Any]) -> str:
    topology = document["topology"]
    nominal_bps = topology["planes"] * topology["port_rate_bps"]
    ways = directions(document["streams"])
    shares = [f"{100 * average_bps(streams) / nominal_bps:.1f} %"
              + (f" {src} -> {dst}" if len(ways) > 1 else "")
              for (src, dst), streams in ways.items()]
    return f"{', '.join(shares) or 'nothing'} of {nominal_bps / 1e9:g} Gb/s"


def _resent(hosts: Any) -> str:
    hosts = list(hosts)
    sent = sum(host["sent"] for host in hosts)
    resent = sum(host["resent"] for host in hosts)
    causes: dict[str, int] = {}
    for host in hosts:
        for cause, number in host["resent_by"].items():
            causes[cause] = causes.get(cause, 0) + number
    told = [f"{number:,} {_CAUSES.get(cause, cause)}" for cause, number in causes.items() if number]
    because = f": {', '.join(told)}" if told else ""
    return f"{resent:,} of {format_count(sent, 'packet')}{because}"


def _by_hand(actions: _Rows) -> Iterator[str]:
    """What a run of its own script would not have: somebody broke or healed something beside it."""
    for row in actions:
        if row["name"] == BY_HAND:
            when = "before it began" if row["t_ns"] < 0 else f"at {format_time_ns(row['t_ns'])}"
            what = "broken" if row["what"] == "inject" else "healed"
            yield remark(f"{what} by hand", f"{row['target'].replace('#', ' ')}, {when}")


def _evs_out(evs: _Rows) -> Iterator[str]:
    yield remark("EVs taken out", f"{len(evs):,}" if evs else "none")
    for row in evs[:_EVS_SHOWN]:
        yield (f"   {row['ev']} of plane {row['plane']}, {row['host']} -> {row['peer']}: "
               f"{row['cause']} at {format_time_ns(row['at_ns'])}")
    if len(evs) > _EVS_SHOWN:
        yield f"   and {len(evs) - _EVS_SHOWN:,} more, in the run folder"


def _verified(verified: Mapping[str, Any]) -> str:
    checked, wrong = verified["checked_bytes"], verified["wrong_bytes"]
    # Of iterations before the last only a count of elements is known.
    if not wrong and (elements := verified.get("wrong_elements")):
        return paint(f"{checked:,}, all right; before that {format_count(elements, 'element')} "
                     "were wrong", "red")
    if wrong:
        return paint(f"{wrong:,} of {format_count(checked, 'byte')} are wrong", "red")
    return f"{checked:,}, all right" if checked else paint("none", "yellow")


def _failures(document: Mapping[str, Any]) -> Iterator[str]:
    """What went wrong, as far as the verdict has not said so; a queue pair that failed is
    told in any case."""
    reasons = document["verdict"]["reasons"] if document["verdict"] else []
    yield from (failure for failure in document["failures"] if failure not in reasons)
    if document["failures"]:
        return
    for row in document["streams"]:
        if (failure := row["failure"]) is not None:
            yield (f"queue pair {row['connection']}, {row['src']} -> {row['dst']}, failed at "
                   f"{format_time_ns(failure['at_ns'])}: {failure['reason']} "
                   f"({failure['status']})")


def _wall(seconds: float) -> str:
    """Wall-clock time as people say it."""
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"
