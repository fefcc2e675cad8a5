"""A host's device as this laboratory opens it: engine, controller, and default profiles.

Applications name profiles by number; these exist from the start:

    EV format 1    plane, uplink, zero: the EVs of topologies.ev
    EV profile 1   every path of every plane, all active (design.md section 3)
    CC profile 1   NSCC with the base RTT of a cross-T1 path
    CC profile 2   NSCC with the base RTT of a T0-local path

What two applications must tell each other before their QPs can talk travels out of band
(facts sheet 4.20, spec Table 10-1): that is :class:`PeerInfo`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from testbed.transport.mrc.cc_config import CcConfig
from testbed.transport.mrc.choices import DEFAULT_TIMEOUT, TIMEOUT_UNIT_NS
from testbed.transport.mrc.completion import CompletionQueue
from testbed.transport.mrc.ctl.attributes import NSCC_ALGORITHM, DeviceAttributes, EvMode, port_mask
from testbed.transport.mrc.ctl.cc_profile import CcProfileAttr
from testbed.transport.mrc.ctl.device import Controller
from testbed.transport.mrc.ctl.ev_entries import EvEntry, EvOperation
from testbed.transport.mrc.ctl.ev_fields import FABRIC_FORMAT, EvField, fabric_fields
from testbed.transport.mrc.ctl.ev_format import EvFormatAttr, EvFormatMode
from testbed.transport.mrc.ctl.ev_profile import EvProfileAttr
from testbed.transport.mrc.ctl.profile import ProfileState, known
from testbed.transport.mrc.ctl.values import EVENT_STATES, UNPOPULATED, ApiEvState, api_ev
from testbed.transport.mrc.endpoint import Endpoint
from testbed.transport.mrc.ev.pathset import default_min_active
from testbed.transport.mrc.ev.probing import EvPolicy
from testbed.transport.mrc.ev.rotation import PathEv
from testbed.transport.mrc.qp import QpState, QueuePair
from testbed.transport.mrc.qp_attributes import QpAttr, QpCap, Retry
from testbed.transport.mrc.rng import Rng
from testbed.transport.mrc.srv6 import Routes
from testbed.transport.mrc.verbs import Context
from testbed.transport.mrc.wire.packets import nominal_bytes
from topologies.ev import make_ev
from topologies.names import host_address
from topologies.numbers import base_rtt_ns
from topologies.spec import ClosSpec

EV_FORMAT = 1
EV_PROFILE = 1
CC_CROSS_T1 = 1
CC_T0_LOCAL = 2

DEFAULT_MPR = 8  # 1024 PSNs; the header's example, and beyond 1.5 BDP of an 800 Gb/s NIC
DEFAULT_MAX_WIMM = 128


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """What one side tells the other: Table 10-1."""

    gid: bytes
    qp_num: int
    psn: int
    path_mtu: int
    max_wimm_dest: int = DEFAULT_MAX_WIMM
    mpr_dest: int = DEFAULT_MPR
    cap: QpCap = QpCap.NONE


class _Ports:
    """The controller's view of the engine's ports."""

    def __init__(self) -> None:
        self.endpoint: Endpoint | None = None

    def is_link_up(self, port: int, /) -> bool:
        return self.endpoint is not None and bool(self.endpoint.carrier >> port & 1)

    def on_port_set(self, port: int, is_enabled: bool, /) -> None:
        if self.endpoint is not None:
            self.endpoint.set_port_enabled(port, is_enabled)


def every_path(spec: ClosSpec, per_plane: int | None = None) -> list[PathEv]:
    """EV and port of the paths between hosts under different T0s, by plane, then uplink.

    ``per_plane`` leaves the first so many of each plane, 1 to the number of uplinks.
    """
    uplinks = spec.t1_per_plane if per_plane is None else min(per_plane, spec.t1_per_plane)
    return [
        PathEv(make_ev(plane, uplink), plane)
        for plane in range(spec.planes)
        for uplink in range(uplinks)
    ]


def open_device(
    spec: ClosSpec, host: int, routes: Routes, rng: Rng, *, policy: EvPolicy | None = None,
    zero_delay_ns: int | None = None,
) -> Context:  # fmt: skip
    """The device of this host (by index) with its default profiles ONLINE."""
    address = host_address(spec.t0_of(host), spec.downlink_of(host)).packed
    endpoint = Endpoint(address=address, port_count=spec.planes, routes=routes, rng=rng)
    ports = _Ports()
    ports.endpoint = endpoint
    evs = every_path(spec)
    controller = Controller(
        DeviceAttributes(port_mask(spec.planes)), auto_evs=lambda count: evs[:count], ports=ports
    )
    _add_format(controller)
    add_ev_profile(controller, EV_PROFILE, spec)
    for profile_id, cross_t1 in ((CC_CROSS_T1, True), (CC_T0_LOCAL, False)):
        add_cc_profile(controller, profile_id, cc_defaults(spec, cross_t1=cross_t1))
    return Context(endpoint, controller, policy=policy, zero_delay_ns=zero_delay_ns)


def cc_defaults(spec: ClosSpec, *, cross_t1: bool, trimming: bool = True) -> CcConfig:
    """NSCC's parameters for a pair of this fabric's hosts (facts sheet 6.1).

    Gains and target delay are those of the longest path for everybody: flows of different
    length meet in one queue, and one that aimed at less of it would leave it to the other.
    Base RTT, and with it the window, is the pair's own.
    """
    speed_bps, mtu_bytes = spec.planes * spec.port_rate_bps, nominal_bytes(spec.payload_bytes)
    fabric = CcConfig.defaults(speed_bps, base_rtt_ns(spec), mtu_bytes, trimming)
    pair = CcConfig.defaults(speed_bps, base_rtt_ns(spec, cross_t1), mtu_bytes, trimming)
    return replace(fabric, base_rtt=pair.base_rtt, max_cwnd=pair.max_cwnd)


def add_ev_profile(
    controller: Controller, profile_id: int, spec: ClosSpec, *, per_plane: int | None = None,
    active_per_port: int | None = None, min_active: int | None = None,
) -> None:  # fmt: skip
    """An ONLINE profile that lists ``per_plane`` EVs of each plane (default: every path).

    The first ``active_per_port`` of each plane are active, the others spares; without
    ``min_active`` it is the default of :func:`default_min_active`.
    """
    controller.create_ev_profile(profile_id)
    _list_evs(
        controller, profile_id, every_path(spec, per_plane),
        fabric_fields(spec.planes, spec.t1_per_plane), active_per_port, min_active,
    )  # fmt: skip


def narrow_ev_profile(controller: Controller, *, active: int, spares: int) -> int:
    """Make an ONLINE profile of the first EVs of each port of profile 1; its id.

    ``active`` of each port, 1 or more, are active, ``spares`` more are spares. Raises
    ValueError where a port has fewer.
    """
    by_port: dict[int, list[PathEv]] = {}
    for entry in controller.ev_profile(EV_PROFILE).entries():
        by_port.setdefault(entry.port, []).append(PathEv(entry.ev, entry.port))
    fewest = min(map(len, by_port.values()))
    if active < 1 or spares < 0 or active + spares > fewest:
        raise ValueError(
            f"{active} active EVs and {spares} spares per port are not possible: use 1 active "
            f"or more, and {fewest} at most together"
        )
    evs = [path for paths in by_port.values() for path in paths[:active + spares]]
    fields = known(controller.query_ev_profile(EV_PROFILE, with_fields=True).fields)
    profile_id = controller.create_ev_profile()
    _list_evs(controller, profile_id, evs, fields, active, None)
    return profile_id


def _list_evs(
    controller: Controller, profile_id: int, evs: Sequence[PathEv], fields: tuple[EvField, ...],
    active_per_port: int | None, min_active: int | None,
) -> None:  # fmt: skip
    """Take a new profile ONLINE with these EVs."""
    if min_active is None:
        min_active = default_min_active(evs, active_per_port=active_per_port)
    modify = partial(controller.modify_ev_profile, profile_id)
    modify(
        EvProfileAttr(
            state=ProfileState.OFFLINE, mode=EvMode.EXP, fmt_id=EV_FORMAT, count=len(evs),
            fields=fields, min_active=min_active,
            event_mask=EVENT_STATES, active_per_port=active_per_port,
        )
    )  # fmt: skip
    entries = tuple(
        EvEntry(UNPOPULATED, api_ev(path.ev, path.port), ApiEvState.GOOD) for path in evs
    )
    modify(EvProfileAttr(operation=EvOperation.REPLACE_EV, entries=entries))
    modify(EvProfileAttr(state=ProfileState.ONLINE))


def _add_format(controller: Controller) -> None:
    controller.create_ev_format(EV_FORMAT)
    attr = EvFormatAttr(
        mode=EvFormatMode.STEV, fields=FABRIC_FORMAT, state=ProfileState.OFFLINE
    )
    controller.modify_ev_format(EV_FORMAT, attr)
    controller.modify_ev_format(EV_FORMAT, EvFormatAttr(state=ProfileState.ONLINE))


def add_cc_profile(controller: Controller, profile_id: int, config: CcConfig) -> None:
    """An ONLINE profile of NSCC with these parameters."""
    controller.create_cc_profile(profile_id)
    attr = CcProfileAttr(algorithm=NSCC_ALGORITHM, config=config)
    controller.modify_cc_profile(profile_id, attr)
    for state in (ProfileState.OFFLINE, ProfileState.ONLINE):
        controller.modify_cc_profile(profile_id, CcProfileAttr(state=state))


def _least_timeout(base_rtt_ns: int) -> int:
    """The exponent of the shortest interval that leaves an answer four base RTTs."""
    return max(0, (4 * base_rtt_ns - 1) // TIMEOUT_UNIT_NS).bit_length()


def make_qp(
    context: Context, send_cq: CompletionQueue, recv_cq: CompletionQueue, now_ns: int, *,
    cc_profile: int, ev_profile: int = EV_PROFILE, max_send_wr: int = 1024,
    max_recv_wr: int = 1024,
) -> QueuePair:  # fmt: skip
    """A QP in INIT."""
    qp = context.create_qp(send_cq, recv_cq, max_send_wr=max_send_wr, max_recv_wr=max_recv_wr)
    context.modify_qp(
        qp,
        QpAttr(
            state=QpState.INIT, qp_hint=None, ev_profile_id=ev_profile, cc_profile_id=cc_profile
        ),
        now_ns,
    )
    return qp


def connect(
    context: Context, qp: QueuePair, mine: PeerInfo, peer: PeerInfo, now_ns: int, *,
    retry: Retry | None = None, timeout: int | None = None, max_wimm: int | None = None,
) -> None:  # fmt: skip
    """Take a QP from INIT to RTS with what the two sides told each other.

    ``max_wimm`` bounds the immediates in flight further than the peer does. ``timeout`` is
    65.5 us by default, and never less than four base RTTs.
    """
    # The responder may change its range only where both sides said so (facts sheet 4.7).
    cap = mine.cap if peer.cap & QpCap.DYNAMIC_MPR else mine.cap & ~QpCap.DYNAMIC_MPR
    context.modify_qp(
        qp,
        QpAttr(
            state=QpState.RTR, dest_qp_num=peer.qp_num, dest_gid=peer.gid, rq_psn=peer.psn,
            path_mtu=min(mine.path_mtu, peer.path_mtu), max_wimm_dest=mine.max_wimm_dest,
            mpr_dest=mine.mpr_dest, cap=cap,
        ),
        now_ns,
    )  # fmt: skip
    if timeout is None and qp.paths is not None:
        timeout = max(DEFAULT_TIMEOUT, _least_timeout(qp.paths.base_rtt_ns))
    limit = peer.max_wimm_dest if max_wimm is None else min(max_wimm, peer.max_wimm_dest)
    context.modify_qp(
        qp,
        QpAttr(
            state=QpState.RTS, sq_psn=mine.psn, max_wimm=limit, mpr=peer.mpr_dest,
            retry=retry or Retry(), timeout=DEFAULT_TIMEOUT if timeout is None else timeout,
        ),
        now_ns,
    )  # fmt: skip
