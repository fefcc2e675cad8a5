"""Hostile bytes: nothing but DecodeError comes out of the decoder, and what it accepts it
understood.

Each example is a batch of datagrams, so that `make fuzz` tries over three million.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from unit.transport.wire.rig import load_vectors

from testbed.transport.mrc.wire import headers as h
from testbed.transport.mrc.wire.codec import Arrival, Envelope, decode, encode
from testbed.transport.mrc.wire.codes import IMMEDIATE_OPCODES, WRITE_OPCODES, Opcode
from testbed.transport.mrc.wire.errors import DecodeError
from testbed.transport.mrc.wire.icrc import icrc
from testbed.transport.mrc.wire.packets import Trimmed
from topologies.numbers import Dscp

VECTORS = [vector.datagram for vector in load_vectors()]
BATCH = 16
TRIMMED_CLASSES = (Dscp.TRIMMED, Dscp.TRIMMED_LASTHOP)
CHAINS: dict[int, list[type[h.Header]]] = {
    Opcode.TRANSPORT_ACK: [h.AETH],
    Opcode.SACK: [h.SETH, h.CCState],
    Opcode.NACK: [h.NETH],
    Opcode.RELIABILITY_PROBE: [h.PETH],
    Opcode.ENDPOINT_REQUEST: [h.ERTH],
    Opcode.ENDPOINT_RESPONSE: [h.EETH],
}
STAMP = {"tsr": False, "ftype": 1}
CONSTANTS: dict[type[h.Header], dict[str, Any]] = {
    h.TSETH: STAMP,
    h.SETH: {"cc_type": 0, "cc_fl": 0},
    h.NETH: {"vendor_info": 0, "cc_type": 2, "cc_fl": 0},
    h.PETH: {"vendor_info": 0, **STAMP},
    h.ERTH: {"vendor_info": 0, **STAMP},
}
SEEDS = st.integers(0, 2**64 - 1)


class Dice:
    """Numbers that follow from a seed (a linear congruential generator, Knuth's MMIX)."""

    def __init__(self, seed: int) -> None:
        self.state = seed

    def below(self, limit: int) -> int:
        """0 .. limit - 1."""
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.state >> 33) % limit


def mended(datagram: bytes) -> bytes:
    """With lengths and iCRC that fit, so that the decoder looks further than these."""
    if len(datagram) < 104:
        return datagram
    udp_bytes = len(datagram) - 80
    changed = bytearray(datagram)
    changed[4:6] = struct.pack("!H", udp_bytes + 40)
    changed[44:46] = changed[84:86] = struct.pack("!H", udp_bytes)
    crc = icrc(changed[40:100], changed[100:-4])
    return bytes(changed[:-4]) + crc.to_bytes(4, "little")


def mutate(datagram: bytes, dice: Dice) -> bytes:
    """Bits flipped, bytes overwritten, cut, lengthened or spliced with another vector."""
    changed = bytearray(datagram)
    kind = dice.below(5)
    if kind == 0:
        for _ in range(1 + dice.below(4)):
            changed[dice.below(len(changed))] ^= 1 << dice.below(8)
    elif kind == 1:
        for _ in range(1 + dice.below(8)):
            changed[dice.below(len(changed))] = dice.below(256)
    elif kind == 2:
        del changed[dice.below(len(changed)):]
    elif kind == 3:
        changed += bytes(dice.below(256) for _ in range(dice.below(24)))
    else:
        other = VECTORS[dice.below(len(VECTORS))]
        place = dice.below(min(len(changed), len(other)))
        changed[place:] = other[place:]
    return mended(bytes(changed)) if dice.below(2) else bytes(changed)


def variants(seed: int) -> Iterator[bytes]:
    """A batch of mutants, each of one or two steps, from one vector."""
    dice = Dice(seed)
    datagram = VECTORS[dice.below(len(VECTORS))]
    for _ in range(BATCH):
        mutant = mutate(datagram, dice)
        yield mutate(mutant, dice) if mutant and dice.below(2) else mutant


def try_decoding(datagram: bytes) -> bool:
    """True where it was accepted, and then checked; a failure shows the bytes."""
    try:
        arrival = decode(datagram)
    except DecodeError:
        return False
    except Exception as error:
        raise AssertionError(f"{error!r} for {datagram.hex()}") from error
    check_understood(datagram, arrival)
    return True


def check_understood(datagram: bytes, arrival: Arrival) -> None:
    """What was accepted says the same again when it is sent once more.

    From BTH on, byte by byte, once every bit the decoder ignores is set to what the encoder
    sends (see decoding.py). In front of BTH only the envelope is compared, since UDP port
    4971, a UDP checksum and an inner header unlike the outer one are accepted, never sent.
    """
    packet = arrival.packet
    if isinstance(packet, Trimmed):
        assert arrival.dscp in TRIMMED_CLASSES, datagram.hex()
        return
    assert arrival.dscp not in TRIMMED_CLASSES, datagram.hex()
    again = encode(Envelope(*arrival[:5], ecn=0), packet)
    assert decode(again)[:5] == arrival[:5], datagram.hex()
    end = 80 + int.from_bytes(datagram[84:86], "big")
    assert again[88:-4].hex() == as_sent(datagram[88 : end - 4]).hex(), datagram.hex()


def as_sent(data: bytes) -> bytes:
    """BTH and what follows, read and packed header by header, with what is ignored reset."""
    bth = h.BTH.unpack(data)
    bth = replace(bth, m=False, p_key=0xFFFF, var_res=0, inv_res=0)
    if bth.opcode in WRITE_OPCODES:
        chain = [h.METH, *([h.TSETH] if bth.ts else []), h.RETH]
        chain += [h.ImmDt] if bth.opcode in IMMEDIATE_OPCODES else []
    else:
        chain = CHAINS[bth.opcode]
        repeated = {h.SETH: data[25:28], h.NETH: data[25:28], h.PETH: b""}.get(chain[0])
        psn = bth.psn if repeated is None else int.from_bytes(repeated, "big")
        bth = replace(bth, se=False, a=False, rtx=False, ts=False, psn=psn)
    sent, offset = bth.pack(), h.BTH.size_bytes()
    for header in chain:
        sent += replace(header.unpack(data, offset), **CONSTANTS.get(header, {})).pack()
        offset += header.size_bytes()
    return sent + data[offset : len(data) - bth.pad] + bytes(bth.pad)


@given(SEEDS)
def test_any_mutation_of_a_vector_is_refused_or_understood(seed: int) -> None:
    for datagram in variants(seed):
        try_decoding(datagram)


@given(st.binary(max_size=160), SEEDS)
def test_any_rubbish_is_refused_or_understood(data: bytes, seed: int) -> None:
    """Rubbish alone, and behind ever more of a good datagram."""
    dice = Dice(seed)
    good = VECTORS[dice.below(len(VECTORS))]
    try_decoding(data)
    for _ in range(BATCH - 1):
        datagram = good[: dice.below(len(good))] + data[: dice.below(len(data) + 1)]
        try_decoding(mended(datagram) if dice.below(2) else datagram)


def test_the_fuzz_reaches_behind_the_checks() -> None:
    """A fuzz that is always refused at the door proves nothing: a good part is let in."""
    accepted = [try_decoding(datagram) for seed in range(200) for datagram in variants(seed)]
    assert 0.1 < sum(accepted) / len(accepted) < 0.9
