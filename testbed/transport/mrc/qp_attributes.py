"""What a QP is told step by step, and what each step needs (facts sheet 8.2).

The mask of the C structure becomes attributes that are UNSET until given.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntFlag

from testbed.transport.mrc.choices import (
    DEFAULT_EXP_COUNT,
    DEFAULT_LINEAR_COUNT,
    MAX_MPR,
    MAX_TIMEOUT_EXPONENT,
    MAX_WIMM_LIMIT,
    RETRY_FOREVER,
)
from testbed.transport.mrc.ctl.profile import UNSET, Unset, known
from testbed.transport.mrc.errors import Errno, MrcError
from testbed.transport.mrc.qp import TRANSITIONS, QpState
from testbed.transport.mrc.reliability.retry import MAX_LINEAR_COUNT

_QPN_LIMIT = _PSN_LIMIT = 1 << 24
_ID_LIMIT = 1 << 64


class QpCap(IntFlag):
    """What the two ends agreed on or lack."""

    NONE = 0
    PEER_NO_TRIM_NACK = 1
    DYNAMIC_MPR = 2
    PEER_NO_SERVICE_TIME = 4


@dataclass(frozen=True, slots=True)
class Retry:
    """``linear_cnt`` retries at the timeout, then ``exp_cnt`` with doubling (25: for ever)."""

    linear_cnt: int = DEFAULT_LINEAR_COUNT
    exp_cnt: int = DEFAULT_EXP_COUNT


@dataclass(frozen=True, slots=True, kw_only=True)
class QpAttr:
    """The attributes of modify_qp and query_qp, by their names in the headers.

    ``qp_hint`` may be None; ``dest_gid`` is the peer's inner address, 16 bytes; PSNs and
    QPNs have 24 bits; ``path_mtu`` is the payload of a full packet in bytes; ``mpr`` and
    ``mpr_dest`` count units of 128 PSNs; ``timeout`` means 1.024 us x 2^timeout.
    """

    state: QpState | Unset = UNSET
    qp_hint: int | Unset | None = UNSET
    ev_profile_id: int | Unset = UNSET
    cc_profile_id: int | Unset = UNSET
    dest_qp_num: int | Unset = UNSET
    dest_gid: bytes | Unset = UNSET
    rq_psn: int | Unset = UNSET
    path_mtu: int | Unset = UNSET
    max_wimm_dest: int | Unset = UNSET
    mpr_dest: int | Unset = UNSET
    cap: QpCap | Unset = UNSET
    sq_psn: int | Unset = UNSET
    max_wimm: int | Unset = UNSET
    mpr: int | Unset = UNSET
    retry: Retry | Unset = UNSET
    timeout: int | Unset = UNSET


NEEDED: dict[QpState, frozenset[str]] = {
    QpState.INIT: frozenset({"qp_hint", "ev_profile_id", "cc_profile_id"}),
    QpState.RTR: frozenset(
        {"dest_qp_num", "dest_gid", "rq_psn", "path_mtu", "max_wimm_dest", "mpr_dest", "cap"}
    ),
    QpState.RTS: frozenset({"sq_psn", "max_wimm", "mpr", "retry", "timeout"}),
    QpState.ERROR: frozenset(),
    QpState.RESET: frozenset(),
}

# name -> least, most
_RANGES = {
    "ev_profile_id": (0, _ID_LIMIT - 1),
    "cc_profile_id": (0, _ID_LIMIT - 1),
    "dest_qp_num": (0, _QPN_LIMIT - 1),
    "rq_psn": (0, _PSN_LIMIT - 1),
    "sq_psn": (0, _PSN_LIMIT - 1),
    "path_mtu": (256, 8192),
    "max_wimm": (1, MAX_WIMM_LIMIT),
    "max_wimm_dest": (1, MAX_WIMM_LIMIT),
    "mpr": (1, MAX_MPR),
    "mpr_dest": (1, MAX_MPR),
    "timeout": (0, MAX_TIMEOUT_EXPONENT),
}

def check_step(before: QpState, attr: QpAttr) -> QpState:
    """Where this call takes a QP. Raises EINVAL where the step or an attribute is wrong.

    Every step takes exactly its own attributes, as masks of the headers do.
    """
    if isinstance(attr.state, Unset):
        raise MrcError(Errno.EINVAL, "modify_qp without a state: name the state to enter")
    target = attr.state
    if target not in TRANSITIONS[before]:
        raise MrcError(
            Errno.EINVAL,
            f"a QP in {before.value} cannot enter {target.value}: go RESET, INIT, RTR, RTS",
        )
    given = {item.name for item in fields(attr) if getattr(attr, item.name) is not UNSET}
    given.discard("state")
    missing, surplus = NEEDED[target] - given, given - NEEDED[target]
    if missing:
        raise MrcError(
            Errno.EINVAL, f"{target.value} needs {', '.join(sorted(missing))}: give them too"
        )
    if surplus:
        raise MrcError(
            Errno.EINVAL,
            f"{target.value} does not take {', '.join(sorted(surplus))}: leave them away",
        )
    _check_ranges(attr, given)
    return target


def _check_ranges(attr: QpAttr, given: set[str]) -> None:
    for name in sorted(given & _RANGES.keys()):
        least, most = _RANGES[name]
        if not least <= getattr(attr, name) <= most:
            raise MrcError(
                Errno.EINVAL, f"{name} = {getattr(attr, name)} is none: use {least} to {most}"
            )
    if "path_mtu" in given and known(attr.path_mtu) % 4:
        raise MrcError(Errno.EINVAL, f"path_mtu = {attr.path_mtu} is none: use a multiple of 4")
    if "dest_gid" in given and len(known(attr.dest_gid)) != 16:
        raise MrcError(Errno.EINVAL, "dest_gid is no address: give 16 bytes")
    if "retry" in given:
        retry = known(attr.retry)
        if not 0 <= retry.linear_cnt <= MAX_LINEAR_COUNT:
            raise MrcError(Errno.EINVAL, f"retry.linear_cnt = {retry.linear_cnt}: use 0 to 7")
        if not 0 <= retry.exp_cnt <= RETRY_FOREVER:
            raise MrcError(Errno.EINVAL, f"retry.exp_cnt = {retry.exp_cnt}: use 0 to 25")
