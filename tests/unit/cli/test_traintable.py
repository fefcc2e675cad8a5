"""What a person reads after a training job."""

from __future__ import annotations

import json
from typing import Any

import pytest

from testbed.cli.traintable import report


def step(number: int, time_us: float = 1500.0) -> dict[str, Any]:
    return {"step": number, "time_ns": time_us * 1e3, "compute_ns": 1_000_400,
            "communicate_ns": 900_000, "exposed_ns": 499_600, "wrong": 0}


def result(*steps: dict[str, Any], parameters: dict[str, Any] | None = None,
           **changes: Any) -> dict[str, Any]:
    document = {
        "kind": "training", "ranks": ["h0", "h1"], "steps": steps,
        "training": {"steps_per_s": 631.58, "undisturbed_steps_per_s": 666.67,
                     "loss_share": 0.05263, "slowest_step": 2, "baseline": "median of this run"},
        "parameters": {
            "workload": "train", "gradients": "16MiB", "buckets": 4, "compute": "1ms",
            "jitter": "5%", "placement": "local", "dtype": "float", "algo": "ring", "qps": 4,
            **(parameters or {})},
        "topology": {"name": "octo", "planes": 8, "port_rate_bps": 10**11,
                     "payload_bytes": 4096},
        "dataplane": "ovs", "tdf": 2000, "streams": [],
        "hosts": {"h0": {"sent": 6000, "resent": 0, "icrc_errors": 0, "resent_by": {}}},
        "evs_out": [], "verified": {"checked_bytes": 1024, "wrong_bytes": 0},
        "verdict": {"word": "trusted", "reasons": []}, "folder": "runs/x", "failures": [],
        "wall_s": 12.3,
    }
    return json.loads(json.dumps({**document, **changes}))  # type: ignore[no-any-return]


def table(document: dict[str, Any]) -> list[str]:
    return report(document).split("-" * 87)[2].strip("\n").splitlines()


def test_a_report_from_top_to_bottom() -> None:
    rule = "-" * 87
    assert report(result(step(0), step(1), step(2, 1750.0))) == f"""\
{rule}
                    Data-parallel training
 Hosts           : 2, local, on octo
 Gradients       : 16MiB float in 4 buckets, ring
 Compute         : 1ms a step, +/- 5%
 Number of qps   : 4
 Mtu             : 4096[B]
 Link type       : SRv6 over 8 x 100 Gb/s
 Data plane      : ovs
 Time dilation   : 2,000 (1us emulated takes 2ms)
{rule}
  step    time[usec]   compute[usec]  communicate[usec]   exposed[usec]
     0        1500.0          1000.4              900.0           499.6
     1        1500.0          1000.4              900.0           499.6
     2        1750.0          1000.4              900.0           499.6
{rule}
 steps per s     : 631.6, emulated
 undisturbed     : 666.7, by the median of this run
 lost            : 5.3 % of the undisturbed rate
 slowest step    : 2, 1750.0 us
 retransmissions : 0 of 6,000 packets
 EVs taken out   : none
 bytes verified  : 1,024, all right
 wall clock      : 12 s
 verdict         : trusted
 run folder      : runs/x
"""


@pytest.mark.parametrize(("count", "shown"), [
    (20, list(range(20))), (21, list(range(0, 21, 2))), (100, list(range(0, 100, 5))),
    (101, list(range(0, 101, 6))),
])
def test_at_most_twenty_rows(count: int, shown: list[int]) -> None:
    lines = table(result(*map(step, range(count))))
    numbers = [line.split()[0] for line in lines[1:] if not line.startswith(" one")]
    assert numbers == [str(number) for number in shown]
    assert len(numbers) <= 20
    told = [f" one step of {-(-count // 20)} is shown"] if count > 20 else []
    assert [line for line in lines if line.startswith(" one")] == told


def test_values_end_where_their_titles_end() -> None:
    header, *lines = table(result(step(0), step(999, 1_234_567.8)))
    for line in lines:
        assert len(line) == len(header)
        assert line.index("1000.4") + 6 == header.index("compute[usec]") + len("compute[usec]")


def test_other_traffic_is_named() -> None:
    text = report(result(step(0), parameters={
        "pipeline": "1MiB", "microbatches": 4, "experts": "2MiB", "layers": 3}))
    assert " Pipeline        : 1MiB for each of 4 microbatches\n" in text
    assert " Experts         : 2MiB in each of 3 layers\n" in text


def test_a_run_to_compare_with_is_named() -> None:
    text = report(result(step(0), parameters={"against": "/runs/quiet"}))
    assert " undisturbed     : 666.7, by the run /runs/quiet\n" in text


def test_a_job_that_completed_no_step_still_reports() -> None:
    text = report(result(training={
        "steps_per_s": 0.0, "undisturbed_steps_per_s": None, "loss_share": None,
        "slowest_step": None, "baseline": "median of this run"}, verdict=None, folder=None))
    assert " no step was completed\n" in text
    assert " steps per s     : 0.0, emulated\n" in text
    assert not any(word in text for word in ("undisturbed", "lost", "slowest", "folder"))
