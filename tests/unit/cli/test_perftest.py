"""What a person reads after a run: perftest's table, and what else an MRC run has to say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from testbed.cli import output
from testbed.cli.perftest import (
    BANDWIDTH_HEADER,
    LATENCY_HEADER,
    progress_line,
    report,
    spaced_size,
)

SIZE = 32_768


def stream(connection: int, src: str = "h0", dst: str = "h7", bins: tuple[int, ...] = (),
           **more: Any) -> dict[str, Any]:
    """A row as `WriteBandwidth.result` has it: 192 Gb/s from 100 us to 1 ms."""
    # 24 bytes a ns; in the fifth of 20 windows 3 % more
    bins = bins or tuple(24_720 if 280 <= at < 325 else 24_000 for at in range(1000))
    return {"connection": connection, "src": src, "dst": dst, "size": SIZE, "messages": 750,
            "bytes": 750 * SIZE, "first_post_ns": 0, "last_done_ns": 1_010_000,
            "window_start_ns": 100_000, "window_ns": 900_000, "window_bytes": 21_600_000,
            "timeline": {"start_ns": 0, "width_ns": 1000, "bins": list(bins)},
            "failure": None, **more}


def host(sent: int = 6000, icrc_errors: int = 0, **resent_by: int) -> dict[str, Any]:
    causes = {"nack": 0, "evidence": 0, "timer": 0, **resent_by}
    return {"sent": sent, "resent": sum(causes.values()), "resent_by": causes,
            "icrc_errors": icrc_errors}


def bandwidth(**changes: Any) -> dict[str, Any]:
    document = {
        "kind": "write-bw", "parameters": {"workload": "write-bw", "src": "h0", "dst": "h7"},
        "topology": {"name": "octo", "planes": 8, "port_rate_bps": 10**11,
                     "payload_bytes": 4096},
        "dataplane": "ovs", "tdf": 2000, "streams": [stream(number) for number in range(4)],
        "latency_ns": [],
        "hosts": {"h0": host(), "h7": host(sent=0)}, "evs_out": [],
        "verified": {"checked_bytes": 16_777_216, "wrong_bytes": 0},
        "verdict": {"word": "trusted", "reasons": []},
        "folder": "runs/20261121T153000Z-write-bw-h0-h7", "failures": [], "wall_s": 123.4,
    }
    return json.loads(json.dumps({**document, **changes}))  # type: ignore[no-any-return]


def latency(*round_trips_ns: int, **changes: Any) -> dict[str, Any]:
    row = {"connection": 0, "src": "h0", "dst": "h7", "messages": 105, "failure": None}
    return bandwidth(
        kind="write-lat", parameters={"workload": "write-lat", "src": "h0", "dst": "h7"},
        streams=[row], latency_ns=list(round_trips_ns), **changes)


def both_ways(**changes: Any) -> dict[str, Any]:
    slower = {"window_bytes": 20_700_000, "messages": 700, "bins": (23_000,) * 1000}
    streams = [*(stream(number) for number in range(4)),
               *(stream(number, "h7", "h0", **slower) for number in range(4))]
    parameters = {"workload": "write-bw", "src": "h0", "dst": "h7", "bidirectional": True}
    return bandwidth(parameters=parameters, streams=streams, **changes)


def remark(document: dict[str, Any], name: str) -> str:
    lines = [line for line in report(document).splitlines() if line.startswith(f" {name} ")]
    assert len(lines) == 1
    return lines[0].partition(" : ")[2]


def test_a_bandwidth_report_from_top_to_bottom() -> None:
    rule = "-" * 87
    assert report(bandwidth()) == f"""\
{rule}
                    RDMA_Write BW Test
 Hosts           : h0 -> h7 on octo
 Number of qps   : 4
 Connection type : MRC
 TX depth        : 128
 Mtu             : 4096[B]
 Link type       : SRv6 over 8 x 100 Gb/s
 Data plane      : ovs
 Time dilation   : 2,000 (1us emulated takes 2ms)
{rule}
 #bytes     #iterations    BW peak[Gb/sec]    BW average[Gb/sec]   MsgRate[Mpps]
 32768      3000           791.04             768.00               2.929688
{rule}
 of the NIC rate : 96.0 % of 800 Gb/s
 retransmissions : 0 of 6,000 packets
 EVs taken out   : none
 bytes verified  : 16,777,216, all right
 wall clock      : 2 min 03 s
 verdict         : trusted
 run folder      : runs/20261121T153000Z-write-bw-h0-h7
"""


def test_a_latency_report_has_half_of_post_to_completion_in_us() -> None:
    lines = report(latency(*[9400] * 98, 10_000, 12_000)).splitlines()
    header = lines.index(LATENCY_HEADER)
    assert lines[1].strip() == "RDMA_Write Latency Test"
    assert lines[header + 1].split() == [
        "2", "100", "4.70", "6.00", "4.70", "4.72", "0.13", "5.00", "6.00"]
    assert set(lines[header - 1]) == {"-"}
    assert len(lines[header - 1]) > len(LATENCY_HEADER)
    assert not any("NIC rate" in line for line in lines)


def test_values_stand_under_their_columns() -> None:
    for text, header in ((report(bandwidth()), BANDWIDTH_HEADER),
                         (report(latency(9404)), LATENCY_HEADER)):
        lines = text.splitlines()
        row = lines[lines.index(header) + 1]
        starts = [at for at in range(1, len(row)) if row[at - 1] == " " and row[at] != " "]
        assert all(header[at] != " " and header[at - 1] == " " for at in starts)


def test_a_long_value_keeps_a_blank_before_the_next() -> None:
    document = latency(9404)
    document["parameters"]["size"] = "1MiB"
    assert "\n 1048576 1             4.70  " in report(document)


def test_both_ways_are_summed_and_then_told_apart() -> None:
    lines = report(both_ways()).splitlines()
    assert lines[1].strip() == "RDMA_Write Bidirectional BW Test"
    assert lines[2] == " Hosts           : h0 <-> h7 on octo"
    at = lines.index(BANDWIDTH_HEADER)
    assert [line.split() for line in lines[at + 1 : at + 4]] == [
        ["32768", "5800", "1527.04", "1504.00", "5.737305"],
        ["32768", "3000", "791.04", "768.00", "2.929688", "h0", "->", "h7"],
        ["32768", "2800", "736.00", "736.00", "2.807617", "h7", "->", "h0"],
    ]
    assert remark(both_ways(), "of the NIC rate") == "96.0 % h0 -> h7, 92.0 % h7 -> h0 of 800 Gb/s"


def test_retransmissions_by_cause_over_all_hosts() -> None:
    hosts = {"h0": host(sent=24_000, nack=10, timer=1), "h7": host(sent=1000, nack=2, evidence=3)}
    assert remark(bandwidth(hosts=hosts), "retransmissions") == (
        "16 of 25,000 packets: 12 after a NACK, 3 found missing by SACKs, 1 by timer")


def test_corruption_is_told_where_there_was_any() -> None:
    assert "corrupted" not in report(bandwidth())
    assert remark(bandwidth(hosts={"h7": host(icrc_errors=1)}), "corrupted      ") == (
        "1 packet refused by the iCRC")


def test_evs_that_went_out_and_only_so_many() -> None:
    row = {"host": "h0", "peer": "h7", "ev": "0x0203", "plane": 2, "cause": "loss",
           "at_ns": 123_456}
    text = report(bandwidth(evs_out=[row] * 10))
    assert " EVs taken out   : 10\n   0x0203 of plane 2, h0 -> h7: loss at 123.456us\n" in text
    assert text.count("0x0203") == 8
    assert "   and 2 more, in the run folder\n" in text


def test_what_somebody_broke_and_healed_beside_the_run() -> None:
    rows = [{"name": name, "what": what, "target": "switch:p2-t1-3#crash", "t_ns": t_ns}
            for name, what, t_ns in (("by hand", "inject", -1), ("by hand", "heal", 31_000),
                                     ("crash", "inject", 40_000))]
    lines = report(bandwidth(actions=rows)).splitlines()
    assert [line for line in lines if "crash" in line] == [
        " broken by hand  : switch:p2-t1-3 crash, before it began",
        " healed by hand  : switch:p2-t1-3 crash, at 31us"]


@pytest.mark.parametrize(("checked", "wrong", "told"), [
    (4096, 0, "4,096, all right"), (4096, 7, "7 of 4,096 bytes are wrong"), (0, 0, "none"),
])
def test_verification(checked: int, wrong: int, told: str) -> None:
    verified = {"checked_bytes": checked, "wrong_bytes": wrong}
    assert remark(bandwidth(verified=verified), "bytes verified ") == told


def test_what_was_wrong_before_the_last_iteration_is_told() -> None:
    verified = {"checked_bytes": 4096, "wrong_bytes": 0, "wrong_elements": 2}
    assert remark(bandwidth(verified=verified), "bytes verified ") == (
        "4,096, all right; before that 2 elements were wrong")


def test_the_verdict_comes_with_its_reasons_and_every_failure() -> None:
    failure = {"status": "RETRY_EXC_ERR", "reason": "no answer in time", "at_ns": 2_000_000}
    text = report(bandwidth(
        verdict={"word": "invalid", "reasons": ["first.", "second."]},
        failures=["the agent of h3 was paused"],
        streams=[stream(0), stream(1, failure=failure)]))
    assert " verdict         : invalid\n   first.\n   second.\n" in text
    assert " problem         : the agent of h3 was paused\n" in text
    assert "queue pair" not in text


def test_a_queue_pair_that_failed_is_told_also_where_nobody_said_so() -> None:
    failure = {"status": "RETRY_EXC_ERR", "reason": "no answer in time", "at_ns": 2_000_000}
    document = bandwidth(streams=[stream(0), stream(1, failure=failure)])
    assert remark(document, "problem        ") == (
        "queue pair 1, h0 -> h7, failed at 2ms: no answer in time (RETRY_EXC_ERR)")


@pytest.mark.parametrize(("word", "colour"), [
    ("trusted", "green"), ("degraded", "yellow"), ("invalid", "red"),
])
def test_the_verdict_has_its_colour(
    word: str, colour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("testbed.cli.perftest.paint", lambda text, name: f"<{name} {text}>")
    assert output.paint(word, colour) == word  # not a terminal
    document = bandwidth(verdict={"word": word, "reasons": []})
    assert remark(document, "verdict        ") == f"<{colour} {word}>"


def test_a_run_that_measured_nothing_still_reports() -> None:
    nothing = stream(0, messages=0, window_bytes=0, window_ns=0)
    assert "0.00               0.00                 0.000000" in report(
        bandwidth(streams=[nothing]))
    assert " no message was completed" in report(latency())
    assert remark(bandwidth(streams=[]), "of the NIC rate") == "nothing of 800 Gb/s"


@pytest.mark.parametrize(("wall_s", "told"), [
    (0.44, "0.4 s"), (9.96, "10.0 s"), (42.4, "42 s"), (99.4, "99 s"), (119.7, "2 min 00 s"),
    (3700, "61 min 40 s"),
])
def test_wall_clock(wall_s: float, told: str) -> None:
    assert remark(bandwidth(wall_s=wall_s), "wall clock     ") == told


STATE = {"phase": "running", "emulated_ns": 400_000, "bytes_done": 38_252_000, "share": 0.4,
         "wall_s": 8.0}


def test_progress_on_one_line() -> None:
    assert progress_line(STATE, 60) == "0.400 ms emulated  765.0 Gb/s  40 %  12 s left"


@pytest.mark.parametrize("width", [1, 17, 20, 30, 36, 40, 46, 200])
def test_progress_fits_its_line_and_is_cut_from_the_right(width: int) -> None:
    line = progress_line(STATE, width)
    assert len(line) <= width
    assert progress_line(STATE, 200).startswith(line)
    assert line == line.rstrip()


@pytest.mark.parametrize(("change", "line"), [
    ({"phase": "preparing", "emulated_ns": 0, "share": 0.0, "wall_s": 0.0},
     "preparing ...  0.000 ms emulated"),
    ({"phase": "finishing", "share": 1.0},
     "finishing ...  0.400 ms emulated  765.0 Gb/s  100 %"),
    ({"emulated_ns": -5, "share": 0.0}, "0.000 ms emulated"),
])
def test_progress_before_and_after_there_is_something_to_expect(
    change: dict[str, Any], line: str
) -> None:
    assert progress_line({**STATE, **change}, 80) == line


@pytest.mark.parametrize(("turn", "told"), [
    ([4 << 20, 1], "4 MiB, iteration 2 of 4"), ([4 << 20, 0], "4 MiB, iteration 1 of 4"),
    ([9000, -1], "9000 B, warm-up"),
])
def test_progress_of_a_collective_is_told_by_size_and_iteration(
    turn: list[int], told: str
) -> None:
    line = progress_line({**STATE, "turn": turn}, 80, 4)
    assert line == f"0.400 ms emulated  {told}  40 %  12 s left"


def test_progress_without_a_turn_is_what_it_was() -> None:
    assert progress_line({**STATE, "turn": None}, 60, 4) == progress_line(STATE, 60)


@pytest.mark.parametrize(("size_bytes", "text"), [
    (1, "1 B"), (1536, "1536 B"), (64 << 10, "64 KiB"), (3 << 20, "3 MiB"),
])
def test_sizes_in_sentences(size_bytes: int, text: str) -> None:
    assert spaced_size(size_bytes) == text


def test_a_simulation_has_no_verdict_no_dilation_and_no_folder() -> None:
    text = report(bandwidth(verdict=None, tdf=None, folder=None))
    assert remark(bandwidth(verdict=None, folder=None), "verdict        ") == (
        "none, in the simulator nothing can be late")
    assert "dilation" not in text
    assert "folder" not in text
