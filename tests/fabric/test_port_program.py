"""The switch port program against known loads: every count and every byte foretold.

Most tests freeze the virtual queue (`FROZEN_BPS`) behind a fast link, so that what
the n-th frame finds does not depend on the clock. `PortRig.counters` checks
conservation whenever it is read.
"""

from __future__ import annotations

import errno
import fcntl
import socket
import struct
import termios
from ctypes import c_uint32
from dataclasses import replace
from ipaddress import IPv6Address

import pytest
from port_rig import (
    DATA_BYTES,
    FAST_BPS,
    FROZEN_BPS,
    HOST_A,
    HOST_B,
    PEER,
    PORT,
    WIDE_OPEN,
    PortRig,
    SeriesRig,
    decode,
    keep_busy,
    make_frame,
    port_random,
    usual_rate_bps,
    wait_until,
)

from testbed.fabric import shaping
from testbed.fabric.bpf import CLASS_CONTROL, CLASS_DATA
from testbed.fabric.portmap import CERTAIN, EvFault, EvFlow, PortConfig, StateLayout
from testbed.metrics.ports import Tally

pytestmark = pytest.mark.root

CE = 3
TRIMMABLE, TRIMMABLE_RETX, NO_TRIM, CONTROL, TRIMMED, TRIMMED_LASTHOP = 4, 8, 0, 46, 12, 16
PASS_ALL = PortConfig(FROZEN_BPS, WIDE_OPEN)


def frozen(**thresholds: int) -> PortConfig:
    """A port whose queues only grow, wide open but for the thresholds named."""
    return PortConfig(FROZEN_BPS, replace(WIDE_OPEN, **thresholds))


def numbered(count: int, size: int = 1000, **fields: int) -> list[bytes]:
    return [make_frame(size, number=number, **fields) for number in range(count)]


def sent_through(rig: PortRig, frames: list[bytes]) -> list[bytes]:
    """What comes out of the port for these frames, in the order of their numbers."""
    before = rig.counters.passed.frames
    rig.sender.send(*frames)
    passed = rig.counters.passed.frames - before
    return sorted(rig.receiver.receive(passed), key=lambda frame: decode(frame).number)


# --- Rate and priority ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate_bps", "seconds"),
    [(1_000_000, 1.5), (10_000_000, 0.8), (100_000_000, 0.5), (400_000_000, 0.4)],
)
def test_drains_at_its_rate_data_and_control_together(rate_bps: int, seconds: float) -> None:
    tries = (usual_rate_bps(keep_busy(rate_bps, seconds)) for _ in range(3))
    assert any(rate == pytest.approx(rate_bps, rel=0.01) for rate in tries)


def test_control_goes_before_waiting_data() -> None:
    config = PortConfig(800_000, WIDE_OPEN)  # 10 ms a frame
    with PortRig(config, 800_000) as rig:
        rig.sender.send(*numbered(100))
        arrived = rig.receiver.receive(20)
        rig.sender.send(*numbered(12, dscp=CONTROL))
        while sum(decode(frame).outer_dscp == CONTROL for frame in arrived) < 12:
            arrived += rig.receiver.receive(1)
        classes = [decode(frame).outer_dscp == CONTROL for frame in arrived]
        first = classes.index(True)
        assert first < 80  # in the midst of the data that was there before
        assert all(classes[first : first + 12])
        assert rig.counters.passed_data.frames == 100


def test_no_class_gets_ahead_of_the_port() -> None:
    """Frames a leaf sends by its own guarantee ("lends") go out before the port has room."""
    with PortRig(PortConfig(4_000_000, WIDE_OPEN), 4_000_000) as rig:
        rig.sender.send(*numbered(100), *numbered(100, dscp=CONTROL))
        rig.receiver.receive(200)
        leaves = [
            message.get_attr("TCA_XSTATS")
            for message in rig.near.ipr.get_classes(PORT)
            if message["handle"] in (CLASS_CONTROL, CLASS_DATA)
        ]
        assert [leaf["lends"] <= 1 for leaf in leaves] == [True, True]
        assert sum(leaf["lends"] + leaf["borrows"] for leaf in leaves) == 200


def test_rate_changes_in_place_without_losing_a_frame() -> None:
    with PortRig(PortConfig(1_000_000, WIDE_OPEN), 1_000_000) as rig:
        rig.sender.send(*numbered(200))
        assert rig.traffic.waiting.frames > 100
        assert rig.waiting.frames > 100
        shaping.set_rate(rig.near.ipr, PORT, FAST_BPS)
        assert [decode(frame).number for frame in rig.receiver.receive(200)] == [*range(200)]
        assert shaping.flushed(rig.counters.passed, rig.traffic) == Tally(0, 0)


def test_virtual_queues_drain_exactly_control_first() -> None:
    """In units of a billionth of a byte, between the clocks of two frames."""
    rate_bps, frame_units = 8_000_000, 1000 * 10**9
    with PortRig(PortConfig(rate_bps, WIDE_OPEN)) as rig:
        states = rig.program.map("port_state", c_uint32, StateLayout, is_locked=True)
        rig.sender.send(*numbered(100), *numbered(100, dscp=CONTROL))
        before = states.lookup(c_uint32(PORT))
        to_data = 0
        while not to_data:
            rig.sender.send(make_frame(1000))
            after = states.lookup(c_uint32(PORT))
            budget = rate_bps // 8 * (after.drained_until_ns - before.drained_until_ns)
            to_control = min(budget, before.control_units)
            to_data = min(budget - to_control, before.data_units)
            assert after.control_units == before.control_units - to_control
            assert after.data_units == before.data_units - to_data + frame_units
            before = after
        assert before.control_units == 0


# --- ECN -----------------------------------------------------------------------------


def test_marks_none_below_the_lower_depth_and_all_above_the_upper() -> None:
    with PortRig(frozen(ecn_min_bytes=9_500, ecn_max_bytes=9_501)) as rig:
        decoded = [decode(frame) for frame in sent_through(rig, numbered(30))]
        assert [item.outer_ecn == CE for item in decoded] == [False] * 10 + [True] * 20
        assert {item.inner_ecn for item in decoded} == {2}
        assert {item.size for item in decoded} == {1000}
        assert rig.counters.marked == Tally(20, 20_000)


@pytest.mark.parametrize("seed", [1, 2, 0xFFFF_FFFF_FFFF_FFFF])
def test_marks_with_a_probability_that_rises_between_the_depths(seed: int) -> None:
    config = replace(frozen(ecn_min_bytes=10_500, ecn_max_bytes=190_500), seed=seed)
    expected = []
    for number in range(200):
        draw = port_random(seed, PORT, number)[1]
        above_bytes = number * 1000 - 10_500
        expected.append(above_bytes > 0 and draw * 180_000 >> 32 < above_bytes)
    with PortRig(config) as rig:
        decoded = [decode(frame) for frame in sent_through(rig, numbered(200))]
        assert [item.outer_ecn == CE for item in decoded] == expected
        assert 60 < rig.counters.marked.frames == sum(expected) < 140


@pytest.mark.parametrize(
    "fields", [{"ecn": 0}, {"dscp": CONTROL}, {"dscp": TRIMMED}], ids=str
)
def test_never_marks_what_is_not_ecn_capable_data(fields: dict[str, int]) -> None:
    with PortRig(frozen(ecn_min_bytes=0, ecn_max_bytes=1)) as rig:
        frames = numbered(10, **fields)
        assert sent_through(rig, frames) == frames
        assert rig.counters.marked.frames == 0


def test_a_dropped_frame_is_not_counted_as_marked() -> None:
    with PortRig(frozen(ecn_min_bytes=0, ecn_max_bytes=1, drop_bytes=4_500)) as rig:
        assert len(sent_through(rig, numbered(20))) == 5
        assert rig.counters.marked == Tally(4, 4_000)


def test_never_marks_towards_a_host() -> None:
    with PortRig(replace(frozen(ecn_min_bytes=0, ecn_max_bytes=0), faces_host=True)) as rig:
        frames = numbered(50)
        assert sent_through(rig, frames) == frames
        assert rig.counters.marked.frames == 0


# --- Trimming and drops --------------------------------------------------------------


@pytest.mark.parametrize("dscp", [TRIMMABLE, TRIMMABLE_RETX])
@pytest.mark.parametrize(("faces_host", "label"), [(False, TRIMMED), (True, TRIMMED_LASTHOP)])
def test_trims_from_the_configured_depth(dscp: int, faces_host: bool, label: int) -> None:
    config = replace(frozen(trim_bytes=20_000), faces_host=faces_host)
    frames = numbered(12, DATA_BYTES, dscp=dscp, ev=0x0203_ABCD, ecn=1)
    with PortRig(config) as rig:
        out = sent_through(rig, frames)
        assert out[:5] == frames[:5]
        for number, (frame, original) in enumerate(zip(out[5:], frames[5:], strict=True), 5):
            item = decode(frame)
            assert (item.size, item.number) == (122, number)
            assert (item.outer_length, item.inner_length, item.udp_length) == (68, 28, 28)
            assert (item.outer_dscp, item.inner_dscp) == (label, label)
            assert (item.outer_ecn, item.inner_ecn) == (1, 1)
            assert (item.outer_label, item.inner_label) == (0xABCD, 0xABCD)
            assert _without_rewritten(frame) == _without_rewritten(original[:122])
        counters = rig.counters
        assert counters.trimmed == Tally(7, 7 * (DATA_BYTES - 122))
        assert counters.passed_control == Tally(7, 7 * 122)
        assert counters.passed_data == Tally(5, 5 * DATA_BYTES)


def _without_rewritten(frame: bytes) -> bytes:
    """All bytes but the traffic classes and lengths a trim rewrites."""
    kept = bytearray(frame)
    for start in (14, 54):
        kept[start : start + 2] = kept[start + 4 : start + 6] = b"\0\0"
    kept[98:100] = b"\0\0"
    return bytes(kept)


@pytest.mark.parametrize(("dscp", "size"), [(NO_TRIM, 1000), (TRIMMABLE, 122), (63, 1000)])
def test_what_may_not_be_trimmed_passes_until_the_drop_depth(dscp: int, size: int) -> None:
    with PortRig(frozen(trim_bytes=2 * size, drop_bytes=8 * size)) as rig:
        frames = numbered(12, size, dscp=dscp)
        # The frozen queue loses a byte a second: the ninth frame may find it just below.
        rig.sender.send(*frames)
        passed = rig.counters.passed_data.frames
        assert passed in (8, 9)
        assert rig.receiver.receive(passed) == frames[:passed]
        assert rig.counters.dropped_tail == Tally(12 - passed, (12 - passed) * size)
        assert rig.counters.trimmed.frames == 0


def test_a_shorter_frame_by_one_byte_is_trimmed() -> None:
    with PortRig(frozen(trim_bytes=1)) as rig:
        sizes = [len(frame) for frame in sent_through(rig, numbered(4, 123))]
        assert sizes == [123, 122, 122, 122]
        assert rig.counters.trimmed == Tally(3, 3)


def test_data_drops_from_the_drop_depth() -> None:
    with PortRig(frozen(drop_bytes=9_500)) as rig:
        frames = numbered(30)
        assert sent_through(rig, frames) == frames[:10]
        assert rig.counters.dropped_tail == Tally(20, 20_000)
        assert rig.counters.data_max_bytes in (10_000, 9_999)


def test_control_has_a_cap_of_its_own() -> None:
    with PortRig(frozen(control_bytes=950, drop_bytes=2_500)) as rig:
        control, data = numbered(12, 200, dscp=CONTROL), numbered(2)
        assert sent_through(rig, control) == control[:5]
        assert sent_through(rig, data) == data
        assert rig.counters.dropped_control == Tally(7, 1_400)


def test_a_trimmed_frame_that_finds_control_full_is_dropped_whole() -> None:
    with PortRig(frozen(trim_bytes=1, control_bytes=300)) as rig:
        out = sent_through(rig, numbered(10))
        assert [len(frame) for frame in out] == [1000, 122, 122, 122]
        assert rig.counters.trimmed.frames == 3
        assert rig.counters.dropped_control == Tally(6, 6_000)


# --- Injected faults -----------------------------------------------------------------


def test_blackhole_drops_everything_and_heals() -> None:
    with PortRig(replace(PASS_ALL, blackhole=True)) as rig:
        rig.sender.send(*numbered(5), *numbered(5, dscp=CONTROL))
        assert rig.counters.dropped_blackhole == Tally(10, 10_000)
        rig.ports.write(PORT, PASS_ALL)
        assert sent_through(rig, numbered(3)) == numbered(3)
        assert rig.counters.data_max_bytes in (3_000, 2_999)  # the lost never queued


def test_loss_is_what_seed_and_epoch_say() -> None:
    config = replace(PASS_ALL, loss_ratio=0.25, seed=42)
    limit = CERTAIN // 4
    kept = [n for n in range(400) if port_random(42, PORT, n)[0] >= limit]
    with PortRig(config) as rig:
        for epoch in (0, 1):  # a new epoch begins the same sequence again
            rig.ports.write(PORT, replace(config, epoch=epoch))
            out = sent_through(rig, numbered(400))
            assert [decode(frame).number for frame in out] == kept
        assert rig.counters.dropped_loss.frames == 2 * (400 - len(kept))
        assert 60 < 400 - len(kept) < 140
        rig.ports.write(PORT, replace(config, seed=43, epoch=2))
        assert [decode(frame).number for frame in sent_through(rig, numbered(400))] != kept


def test_certain_loss_loses_all() -> None:
    with PortRig(replace(PASS_ALL, loss_ratio=1.0)) as rig:
        rig.sender.send(*numbered(200))
        assert rig.counters.dropped_loss.frames == 200


def test_an_ev_fault_hits_only_its_flow() -> None:
    flow = EvFlow(PORT, 0x0203_0001, HOST_A, HOST_B)
    third = IPv6Address("2001:db8:0:3::3")
    others = [
        make_frame(1000, number=1, ev=0x0203_0000),
        make_frame(1000, number=2, ev=0x0204_0001),
        make_frame(1000, number=3, ev=0x0203_0001, source=HOST_B, destination=HOST_A),
        make_frame(1000, number=4, ev=0x0203_0001, destination=third),
    ]
    hit = make_frame(1000, ev=0x0203_0001)
    probe = make_frame(150, ev=0x0203_0001, dscp=CONTROL)
    with PortRig(PASS_ALL) as rig:
        rig.ports.set_ev_fault(flow, EvFault(1.0))
        rig.ports.set_ev_fault(replace(flow, slot=PORT + 2), EvFault(1.0))
        rig.ports.write(PORT, PASS_ALL)  # a rewritten configuration keeps the fault
        assert sent_through(rig, [hit, *others, probe]) == others
        assert rig.counters.dropped_ev == Tally(2, 1_150)
        fault = rig.ports.read_ev_fault(flow)
        assert fault is not None
        assert (fault.seen_frames, fault.dropped_frames) == (2, 2)
        rig.ports.clear_ev_fault(flow)
        assert sent_through(rig, [hit]) == [hit]


def test_an_ev_fault_drops_its_share_and_repeats() -> None:
    flow = EvFlow(PORT, 0x0203_0001, HOST_A, HOST_B)
    survivors = []
    for _ in range(2):
        with PortRig(PASS_ALL) as rig:
            rig.ports.set_ev_fault(flow, EvFault(0.5, seed=9))
            out = sent_through(rig, numbered(200, ev=0x0203_0001))
            survivors.append([decode(frame).number for frame in out])
            assert rig.counters.dropped_ev.frames == 200 - len(out)
    assert survivors[0] == survivors[1]
    assert 60 < len(survivors[0]) < 140


def test_corruption_flips_the_foretold_bit_beyond_the_headers() -> None:
    config = replace(PASS_ALL, corrupt_ratio=0.5, seed=7)
    frames = numbered(100, DATA_BYTES)
    expected = []
    for number, frame in enumerate(frames):
        _, _, decision, place = port_random(7, PORT, number)
        copy = bytearray(frame)
        if decision < CERTAIN // 2:
            bit = place * (DATA_BYTES - 122) * 8 >> 32
            copy[122 + bit // 8] ^= 1 << bit % 8
        expected.append(bytes(copy))
    with PortRig(config) as rig:
        assert sent_through(rig, frames) == expected
        changed = sum(a != b for a, b in zip(frames, expected, strict=True))
        assert rig.counters.corrupted == Tally(changed, changed * DATA_BYTES)
        assert 25 < changed < 75


def test_corruption_needs_a_byte_to_corrupt_and_a_frame_that_leaves() -> None:
    config = replace(frozen(trim_bytes=2_500), corrupt_ratio=1.0)
    with PortRig(config) as rig:
        short = numbered(5, 122)
        assert sent_through(rig, short) == short
        out = sent_through(rig, numbered(6))  # 610 bytes queued, so two more fit
        assert [len(frame) for frame in out] == [1000, 1000, 122, 122, 122, 122]
        assert rig.counters.corrupted.frames == 2


# --- Noise, unshaped ports, in-kernel forwarding -------------------------------------


@pytest.mark.parametrize("drain_bps", [None, FAST_BPS])
def test_noise_is_dropped_and_counted_apart(drain_bps: int | None) -> None:
    srv6 = make_frame(200)
    router_solicitation = srv6[:20] + b"\x3a" + srv6[21:]
    arp = srv6[:12] + b"\x08\x06" + srv6[14:]
    cut_short = srv6[:101]
    with PortRig(PASS_ALL if drain_bps else PortConfig(), drain_bps) as rig:
        rig.sender.send(router_solicitation, arp, cut_short, srv6)
        assert rig.receiver.receive(1) == [srv6]
        assert rig.counters.noise == Tally(3, 501)
        assert rig.counters.offered == Tally(1, 200)


def test_an_unshaped_port_passes_and_counts_and_obeys_faults() -> None:
    with PortRig(PortConfig(), None) as rig:
        frames = numbered(20) + numbered(20, dscp=CONTROL)
        rig.sender.send(*frames)
        assert rig.receiver.receive(40) == frames
        assert rig.counters.passed_data == rig.counters.passed_control == Tally(20, 20_000)
        assert rig.counters.passed == rig.traffic.sent
        rig.ports.write(PORT, PortConfig(blackhole=True))
        rig.sender.send(*frames)
        assert rig.counters.dropped_blackhole.frames == 40


def test_two_ports_in_series_both_act_over_forwarding_in_one_namespace() -> None:
    """As with a kernel datapath: port, forwarding, port, all in one namespace.

    The mark of the clone survives a veth inside a namespace; a port that left it on would
    make the next one let everything through unjudged.
    """
    first = frozen(trim_bytes=9_500, ecn_min_bytes=4_500, ecn_max_bytes=4_501)
    second = frozen(trim_bytes=6_500, ecn_min_bytes=1_500, ecn_max_bytes=1_501)
    with SeriesRig(first, second) as rig:
        rig.sender.send(*rig.addressed(numbered(20)))
        out = sorted(map(decode, rig.receiver.receive(20)), key=lambda item: item.number)
        one, two = rig.counters
        assert (one.offered.frames, one.marked.frames, one.trimmed.frames) == (20, 5, 10)
        assert two.offered == one.passed  # the second port judged every frame
        assert (two.marked.frames, two.trimmed.frames) == (5, 3)
    assert [item.number for item in out] == [*range(20)]
    assert [item.size for item in out] == [1000] * 7 + [122] * 13
    assert [item.outer_ecn == CE for item in out[:7]] == [False] * 2 + [True] * 5
    assert {item.outer_dscp for item in out[7:]} == {TRIMMED}


# --- What the kernel does behind the port --------------------------------------------


def test_frames_flushed_by_a_link_that_goes_down_are_accounted_for() -> None:
    with PortRig(PortConfig(1_000_000, WIDE_OPEN), 1_000_000) as rig:
        rig.sender.send(*numbered(50, DATA_BYTES))
        rig.far.ipr.link("set", index=PEER, state="down")
        wait_until(lambda: rig.traffic.waiting.frames == 0, "the queue was flushed")
        assert rig.waiting == Tally(0, 0)
        rig.receiver.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # ENETDOWN, once
        arrived = len(rig.receiver.pending())
        lost = shaping.flushed(rig.counters.passed, rig.traffic)
        assert arrived + lost.frames == 50
        assert lost == Tally(lost.frames, lost.frames * DATA_BYTES)
        assert lost.frames > 30

        rig.sender.send(*numbered(3))  # the kernel has no queue now: refused, and booked so
        assert rig.counters.dropped_redirect == Tally(3, 3_000)
        assert shaping.flushed(rig.counters.passed, rig.traffic) == lost


def test_frames_that_wait_here_charge_no_socket() -> None:
    frames = numbered(60, DATA_BYTES)
    with PortRig(PortConfig(1_000_000, WIDE_OPEN), 1_000_000) as rig:
        rig.sender.send(*frames)
        unsent = fcntl.ioctl(rig.sender.socket, termios.TIOCOUTQ, bytes(4))
        assert struct.unpack("i", unsent) == (0,)
        assert rig.traffic.waiting.frames > 40


def test_frames_that_wait_without_the_clone_would_charge_their_socket() -> None:
    """Shows that the test above can fail: the same queue, the program passing straight on."""
    with PortRig(PortConfig(), 1_000_000) as rig:
        with pytest.raises(OSError) as refusal:  # noqa: PT011 - the number is checked
            rig.sender.send(*numbered(60, DATA_BYTES))
        assert refusal.value.errno in (errno.EAGAIN, errno.ENOBUFS)
        assert rig.counters.passed_data.frames < 60
