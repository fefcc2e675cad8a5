"""Back-to-back writes: how many, from where, and what is measured of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from unit.workloads.workload_rig import FAR, SPEC, Wires

from workloads.job import Job, plan_write_bandwidth
from workloads.params import WorkloadError
from workloads.timeline import Timeline
from workloads.write_bandwidth import BandwidthPlan, WriteBandwidth, average_bps, peak_bps

PLAN = BandwidthPlan(size=100, depth=4, slots=4, iters=10, duration_ns=None, sends=(0, 1))


def plan(**changes: Any) -> Job:
    keys = {"size": 9000, "qps": 1, "iters": 20, "depth": 3, **changes}
    return plan_write_bandwidth(SPEC, 0, FAR, **keys)


def sender(wires: Wires) -> WriteBandwidth:
    program = wires.apps[0].program
    assert isinstance(program, WriteBandwidth)
    return program


def row_of(
    done: list[tuple[int, int]], start_ns: int, window_ns: int, size: int = 1000,
    width_ns: int = 10,
) -> dict[str, Any]:  # fmt: skip
    """A row of a result: messages of ``size`` completed, (ns, how many)."""
    line = Timeline(0, width_ns)
    for at_ns, count in done:
        line.add(at_ns, count * size)
    inside = sum(n for at_ns, n in done if start_ns <= at_ns <= start_ns + window_ns)
    return {
        "size": size, "window_start_ns": start_ns, "window_ns": window_ns,
        "window_bytes": inside * size, "timeline": line.to_params(),
    }  # fmt: skip


def test_a_plan_survives_json() -> None:
    assert BandwidthPlan.from_params(json.loads(json.dumps(PLAN.to_params()))) == PLAN


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"kind": "write-lat"}, "program.kind is 'write-lat': give write-bw"),
        ({"size": 0}, "program.size is 0"),
        ({"depth": 0}, "program.depth is 0"),
        ({"duration_ns": 5}, "iters is 10 and duration_ns 5: give one of them"),
        ({"iters": None}, "iters is None and duration_ns None: give one of them"),
        ({"slots": 3}, "3 slots are fewer than the 4 writes at a time"),
        ({"iters": 3, "slots": 2}, "2 slots are fewer"),
        ({"sends": ["0"]}, "program.sends is '0'"),
        ({"sped": 1}, "program has unknown key 'sped'"),
    ],
)
def test_a_wrong_plan_is_refused(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        BandwidthPlan.from_params(PLAN.to_params() | change)
    assert sentence in str(caught.value)


def test_fewer_messages_than_depth_need_no_more_slots() -> None:
    BandwidthPlan.from_params(PLAN.to_params() | {"iters": 3, "slots": 3})


def test_channels_must_fit_the_plan() -> None:
    channels = Wires(plan()).setups[0].channels
    for wrong, sentence in (
        ({"sends": (5,)}, "connection 5 is to be sent on but not there"),
        ({"sends": (0,), "size": 10**6}, "give 4000000 bytes and 4 writes"),
        ({"sends": (0,)}, "has 27000 bytes and room for 3 writes: give 400 bytes and 4 writes"),
    ):
        made = BandwidthPlan.from_params(PLAN.to_params() | wrong)
        with pytest.raises(WorkloadError) as caught:
            WriteBandwidth(made, channels)
        assert sentence in str(caught.value)


def test_depth_writes_are_posted_at_a_time() -> None:
    wires = Wires(plan()).start()
    channel = wires.setups[0].channels[0]
    most = [channel.outstanding]
    for until_ns in range(2_000, 200_000, 2_000):
        wires.run(until_ns)
        most.append(channel.outstanding)
    assert most[0] == max(most) == 3
    assert most[-1] == 0
    assert sender(wires).result()["channels"][0]["posted"] == 20


@pytest.mark.parametrize(("iters", "depth"), [(1, 1), (1, 8), (7, 8), (8, 8), (50, 8)])
def test_as_many_as_were_asked_for(iters: int, depth: int) -> None:
    wires = Wires(plan(iters=iters, depth=depth, qps=2)).start().run()
    for row in sender(wires).result()["channels"]:
        assert (row["posted"], row["messages"], row["bytes"]) == (iters, iters, iters * 9000)
        assert row["window_bytes"] == row["bytes"] == sum(row["timeline"]["bins"])
        assert row["first_post_ns"] == row["window_start_ns"] == 0
        assert row["last_done_ns"] == row["window_ns"] > 0
    assert wires.verify()[FAR] == {
        "checked_bytes": 2 * min(iters, depth) * 9000, "wrong_bytes": 0, "first_wrong": None,
        "unchecked": [],
    }  # fmt: skip


def test_every_message_kept_has_memory_of_its_own() -> None:
    wires = Wires(plan(is_every_message_kept=True)).start().run()
    assert wires.verify()[FAR]["checked_bytes"] == 20 * 9000
    target = wires.setups[FAR].channels[0].target.view
    numbers = [int.from_bytes(target[n * 9000 : n * 9000 + 8], "big") for n in range(20)]
    assert numbers == list(range(1, 21))


@pytest.mark.parametrize("offset", [0, 8, 26_999])
def test_a_byte_changed_afterwards_is_found(offset: int) -> None:
    wires = Wires(plan()).start().run()
    wires.setups[FAR].channels[0].target.view[offset] ^= 1
    found = wires.verify()[FAR]
    assert found["wrong_bytes"] == 1
    assert found["first_wrong"]["slot"] == offset // 9000


def test_a_peer_that_wrote_less_than_it_says_is_found() -> None:
    wires = Wires(plan()).start().run()
    verify = wires.apps[FAR].program.verify
    assert verify({0: {"posted": 20}})["wrong_bytes"] == 0
    # Another message in a slot differs from it in its number.
    assert verify({0: {"posted": 21}})["wrong_bytes"] == 1
    for wrong in ({5: {"posted": 1}}, {0: {}}, {0: {"posted": "20"}}):
        with pytest.raises(WorkloadError, match="give the row of the peer's result"):
            verify(wrong)  # type: ignore[arg-type]


def test_content_differs_by_direction() -> None:
    wires = Wires(plan(is_bidirectional=True)).start().run()
    near, far = (wires.setups[host].channels[0] for host in (0, FAR))
    assert bytes(near.target.view) == bytes(far.source.view) != bytes(near.source.view)


def test_a_duration_is_measured_behind_its_first_tenth() -> None:
    duration_ns = 200_000
    wires = Wires(plan(iters=None, duration_ns=duration_ns, depth=16)).start().run()
    row = sender(wires).result()["channels"][0]
    assert (row["window_start_ns"], row["window_ns"]) == (20_000, 180_000)
    assert row["posted"] == row["messages"]
    assert row["last_done_ns"] >= duration_ns - 8_000  # it went on to the end
    # A depth of 16 is less than the wire carries: all of them are there after a round trip.
    assert duration_ns <= row["last_done_ns"] <= duration_ns + 8_000
    line = Timeline.from_params(row["timeline"])
    assert line.width_ns == 200
    assert line.between(100, 1000) == row["window_bytes"]
    assert 0 < row["window_bytes"] < row["bytes"]
    assert average_bps([row]) == row["average_bps"] == row["window_bytes"] * 8e9 / 180_000


def test_average_and_peak_by_hand() -> None:
    # 240 messages in 200 ns, twice as many per bin in the middle.
    row = row_of([(ns, 2 if 80 <= ns < 120 else 1) for ns in range(200)], 0, 200)
    assert average_bps([row]) == 240 * 1000 * 8e9 / 200
    # 240 messages: 15 parts of 14 ns would be wanted, bins are 10 ns: 10 parts of 20 ns.
    assert peak_bps([row]) == 40 * 1000 * 8e9 / 20


def test_channels_together_share_one_clock() -> None:
    first = row_of([(ns, 1) for ns in range(400)], 0, 400)
    second = row_of([(ns, 1) for ns in range(400, 800)], 400, 400, width_ns=20)
    assert average_bps([first, second]) == average_bps([first])
    assert average_bps([first, second]) == 800 * 1000 * 8e9 / 800
    # One after the other: their peaks do not add up.
    assert peak_bps([first, second]) == pytest.approx(1000 * 8e9)
    together = [first, row_of([(ns, 1) for ns in range(400)], 0, 400, width_ns=20)]
    assert peak_bps(together) == pytest.approx(2 * 1000 * 8e9)


def test_the_peak_of_a_few_messages_is_their_average() -> None:
    row = row_of([(10, 1), (100, 30)], 0, 200)
    assert peak_bps([row]) == average_bps([row]) == 31 * 1000 * 8e9 / 200


def test_nothing_measured_is_no_bandwidth() -> None:
    assert average_bps([]) == peak_bps([]) == 0
    assert average_bps([row_of([], 0, 0)]) == peak_bps([row_of([], 0, 0)]) == 0


def test_the_peak_is_never_below_the_average() -> None:
    for count in (33, 100, 321, 1000, 5000):
        row = row_of([(ns, 1) for ns in range(count)], 0, count, width_ns=7)
        assert peak_bps([row]) >= average_bps([row])
    # The last of two parts reaches beyond the end: alone it would look slower than it was.
    row = row_of([(ns, 4 if ns >= 20 else 1) for ns in range(25)], 0, 25)
    assert peak_bps([row]) == average_bps([row]) == 40 * 1000 * 8e9 / 25
