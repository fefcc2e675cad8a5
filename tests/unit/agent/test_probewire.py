"""testbed/agent/probewire.py: the probe payload, byte by byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.agent.frames import FrameError
from testbed.agent.probewire import MIN_FRAME_BYTES, PAYLOAD_BYTES, Kind, Probe, parse_probe

PROBES = st.builds(
    Probe, st.sampled_from(Kind), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1),
    st.binary(min_size=16, max_size=16), st.integers(0, 127), st.booleans(),
)


def test_every_byte() -> None:
    probe = Probe(Kind.REPLY, 0x01020304, 0x05060708090A0B0C, bytes(range(16)), 3, True)
    assert probe.pack().hex() == (
        "a55e" "02" "83" "01020304" "05060708090a0b0c" "000102030405060708090a0b0c0d0e0f"
    )
    assert MIN_FRAME_BYTES == 134


@given(PROBES, st.binary(max_size=20))
def test_what_is_packed_is_what_is_parsed(probe: Probe, padding: bytes) -> None:
    assert parse_probe(probe.pack() + padding) == probe


@given(st.binary(max_size=64))
def test_rubbish_raises_only_frame_error(payload: bytes) -> None:
    with pytest.raises(FrameError):
        parse_probe(b"\0" + payload)


@given(PROBES, st.integers(0, PAYLOAD_BYTES - 1))
def test_cut_probe_is_refused(probe: Probe, size: int) -> None:
    with pytest.raises(FrameError, match="too short"):
        parse_probe(probe.pack()[:size])


@pytest.mark.parametrize("kind", [0, 4, 255])
def test_unknown_kind_is_refused(kind: int) -> None:
    raw = bytearray(Probe(Kind.SELF, 1, 2).pack())
    raw[2] = kind
    with pytest.raises(FrameError):
        parse_probe(bytes(raw))


def test_reply_repeats_what_the_sender_needs() -> None:
    request = Probe(Kind.REQUEST, 7, 80_000, bytes(range(16)))
    reply = request.reply(3, met_ce=True, received_at_ns=120_000)
    assert (reply.kind, reply.id, reply.sent_at_ns) == (Kind.REPLY, 7, 80_000)
    assert (reply.hops_out, reply.met_ce) == (3, True)
    assert parse_probe(reply.pack()).transit_ns == 40_000
