"""When in a training step something is to be sent: arithmetic on integer nanoseconds.

    | forward, 1/3      | backward, 2/3                 |
                                 ^ bucket 0      ^ 1 ... ^ the last bucket
        ^ ^ ^ microbatches, layers   ^ ^ ^ once more

Backward takes twice as long as forward: it multiplies by the weights and by the activations
(Narayanan et al., "Efficient large-scale language model training on GPU clusters using
Megatron-LM", SC 2021). Gradients become ready evenly over it and are sent bucket by bucket as
they do (Li et al., "PyTorch Distributed", VLDB 2020). The last bucket is ready when computing
is over, so that one at least is never hidden.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from hashlib import shake_128
from typing import NamedTuple

MILLION = 1_000_000

_DRAW_BYTES = 8
_LARGEST_DRAW = (1 << 8 * _DRAW_BYTES) - 1


class Traffic(Enum):
    """What is sent: gradients to be added up, activations and their gradients, tokens."""

    GRADIENTS = "gradients"
    PIPELINE = "pipeline"
    EXPERTS = "experts"


class Due(NamedTuple):
    """``at_ns`` after the begin of its step, exchange ``number`` of ``traffic`` may begin."""

    at_ns: int
    traffic: Traffic
    number: int


def compute_time_ns(compute_ns: int, jitter_ppm: int, seed: int, rank: int, step: int) -> int:
    """How long a rank computes in a step: ``compute_ns`` x (1 + jitter x u), rounded down.

    u is from -1 to 1, by SHAKE-128 of seed, rank and step; ``jitter_ppm`` from 0 to 1,000,000.
    """
    digest = shake_128(f"{seed} {rank} {step}".encode()).digest(_DRAW_BYTES)
    drawn = 2 * int.from_bytes(digest, "big") - _LARGEST_DRAW
    return compute_ns + compute_ns * jitter_ppm * drawn // (MILLION * _LARGEST_DRAW)


def timetable(compute_ns: int, buckets: int, microbatches: int, layers: int) -> list[Due]:
    """Everything a step sends, in order of time; ``compute_ns`` is what it computes in all.

    ``microbatches`` and ``layers`` are 0 where there is no such traffic. A layer exchanges
    twice in each half: tokens go to their experts and come back.
    """
    forward_ns = compute_ns // 3
    backward_ns = compute_ns - forward_ns
    halves = ((0, forward_ns), (forward_ns, backward_ns))
    dues = list(_spread(Traffic.GRADIENTS, buckets, halves[1:]))
    dues += _spread(Traffic.PIPELINE, microbatches, halves)
    dues += _spread(Traffic.EXPERTS, 2 * layers, halves)
    return sorted(dues, key=lambda due: due.at_ns)


def _spread(traffic: Traffic, number: int, parts: tuple[tuple[int, int], ...]) -> Iterator[Due]:
    """``number`` exchanges in each of these parts (start and length in ns), evenly spaced."""
    for which, (start_ns, length_ns) in enumerate(parts):
        for i in range(number):
            yield Due(start_ns + length_ns * (i + 1) // number, traffic, which * number + i)
