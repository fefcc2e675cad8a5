"""What a person reads after a permutation or an incast."""

from __future__ import annotations

from typing import Any

from testbed.cli.traffictable import report

SIZE = 32_768


def stream(src: str, dst: str, gbps: int, messages: int = 100) -> dict[str, Any]:
    """A row as `WriteBandwidth.result` has it, over 1 ms at a steady rate."""
    return {"connection": 0, "src": src, "dst": dst, "size": SIZE, "messages": messages,
            "bytes": messages * SIZE, "first_post_ns": 0, "last_done_ns": 1_000_000,
            "window_start_ns": 0, "window_ns": 1_000_000, "window_bytes": gbps * 125_000,
            "timeline": {"start_ns": 0, "width_ns": 1000, "bins": [gbps * 125] * 1000},
            "failure": None}


def result(*streams: dict[str, Any], **parameters: Any) -> dict[str, Any]:
    return {
        "kind": "write-bw", "streams": list(streams),
        "parameters": {"size": "32KiB", "qps": 4, "depth": 128, **parameters},
        "topology": {"name": "octo", "planes": 8, "port_rate_bps": 10**11, "payload_bytes": 4096},
        "dataplane": "ovs", "tdf": 2000, "latency_ns": [],
        "hosts": {"h0": {"sent": 6000, "resent": 0, "icrc_errors": 0, "resent_by": {}}},
        "evs_out": [], "verified": {"checked_bytes": 1024, "wrong_bytes": 0},
        "verdict": {"word": "trusted", "reasons": []}, "folder": "runs/x", "failures": [],
        "wall_s": 12.3,
    }


def incast(*streams: dict[str, Any], **parameters: Any) -> dict[str, Any]:
    return result(*streams, workload="incast", dst="h0", senders=["h1", "h2"], **parameters)


def test_an_incast_from_top_to_bottom() -> None:
    rule = "-" * 87
    document = incast(stream("h1", "h0", 200), stream("h1", "h0", 200), stream("h2", "h0", 300),
                      stream("h3", "h7", 760), victim="h3:h7")
    assert report(document) == f"""\
{rule}
                    RDMA_Write Incast BW Test
 Hosts           : 2 -> h0, beside h3 -> h7 on octo
 Number of qps   : 4 per pair
 Connection type : MRC
 TX depth        : 128
 Mtu             : 4096[B]
 Link type       : SRv6 over 8 x 100 Gb/s
 Data plane      : ovs
 Time dilation   : 2,000 (1us emulated takes 2ms)
{rule}
 #bytes     #iterations    BW peak[Gb/sec]    BW average[Gb/sec]   MsgRate[Mpps]
 32768      400            1460.00            1460.00              5.569458  all
 32768      200            400.00             400.00               1.525879  h1 -> h0
 32768      100            300.00             300.00               1.144409  h2 -> h0
 32768      100            760.00             760.00               2.899170  h3 -> h7 (victim)
{rule}
 of the NIC rate : 60.8 % in the mean, 37.5 % at least (h2 -> h0) of 800 Gb/s
 retransmissions : 0 of 6,000 packets
 EVs taken out   : none
 bytes verified  : 1,024, all right
 wall clock      : 12 s
 verdict         : trusted
 run folder      : runs/x
"""


def test_a_permutation_says_how_hosts_were_placed() -> None:
    text = report(result(stream("h0", "h4", 700), stream("h4", "h0", 500), workload="permutation",
                         hosts=["h0", "h4"], placement="striped"))
    assert "RDMA_Write Permutation BW Test\n" in text
    assert " : 2 on octo, striped, each to the one half the list further\n" in text
    assert " : 75.0 % in the mean, 62.5 % at least (h4 -> h0) of 800 Gb/s\n" in text
    assert "victim" not in text


def test_a_name_that_ends_like_the_victims_is_not_the_victim() -> None:
    text = report(incast(stream("h11", "h7", 1), stream("h1", "h7", 1), victim="h1:h7"))
    assert "  h1 -> h7 (victim)\n" in text
    assert "  h11 -> h7\n" in text


def test_one_pair_is_all_there_is() -> None:
    assert report(incast(stream("h1", "h0", 400))).count("32768") == 1


def test_a_run_that_measured_nothing_still_reports() -> None:
    assert " of the NIC rate : nothing of 800 Gb/s\n" in report(incast())
