"""Random numbers by position: the n-th frame of a port meets the fate it meets on the fabric.

The same splitmix64 sequences as the port program's (testbed/fabric/port.bpf.c). Nothing
here has a state, so a value nobody needs is never computed and still has its place.
"""

from __future__ import annotations

_MASK = (1 << 64) - 1
_LOW = (1 << 32) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_EV_STREAMS = 1 << 63  # keeps EV sequences apart from port sequences
_CHAOS_STREAMS = 1 << 62
CERTAIN = 1 << 32  # probability 1 as the program counts it


def random_at(seed: int, index: int) -> int:
    """The index-th 64-bit value of a splitmix64 sequence (Steele, Lea, Flood 2014)."""
    z = seed + (index + 1) * _GOLDEN & _MASK
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    z = (z ^ z >> 27) * 0x94D049BB133111EB & _MASK
    return z ^ z >> 31


def upper(value: int) -> int:
    """Bits 63..32."""
    return value >> 32


def lower(value: int) -> int:
    """Bits 31..0."""
    return value & _LOW


def port_seed(run_seed: int, slot: int) -> int:
    """The seed of one port in a run; run 0 is what the fabric configures, the slot itself."""
    return (run_seed << 32) + slot & _MASK


def port_stream(seed: int, slot: int) -> int:
    """Where a port's sequence begins: two values for each frame offered."""
    return random_at(seed, slot)


def ev_stream(seed: int, ev: int, slot: int) -> int:
    """Where the sequence of one EV's fault at one port begins: a value per frame seen."""
    return random_at(seed, _EV_STREAMS | ev << 32 | slot)


def chaos_stream(seed: int, slot: int) -> int:
    """Where the sequence of chaos at one NIC port begins: two values per arrival."""
    return random_at(seed & _MASK, _CHAOS_STREAMS | slot)


def probability_of(ratio: float) -> int:
    """A ratio 0..1 as a threshold for 32 random bits, 0..2^32, to nearest.

    Raises ValueError beyond.
    """
    if not 0.0 <= ratio <= 1.0:
        raise ValueError(f"ratio {ratio} is out of range: it must be between 0 and 1")
    return round(ratio * CERTAIN)
