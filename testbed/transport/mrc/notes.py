"""Rare moments in the life of a QP, as kept for somebody who records them.

Nothing is kept unless a list is hung up for it (`Requester.losses`,
`Endpoint.answered_probes`); whoever hangs one up empties it from time to time.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

LossCause = Literal["nack", "evidence", "timer"]


class LostPacket(NamedTuple):
    """A packet its sender took for lost: the transmission of ``sent_at_ns``, on ``ev``.

    ``psn`` is unwrapped; times are emulated ns.
    """

    at_ns: int
    sent_at_ns: int
    psn: int
    ev: int
    port: int
    cause: LossCause


class AnsweredProbe(NamedTuple):
    """An EV probe that a QP asked for was answered."""

    at_ns: int
    qp_num: int
    ev: int
    port: int
    rtt_ns: int
