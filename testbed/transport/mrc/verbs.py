"""The application API: libmrc's calls in Python (facts sheet section 8).

A :class:`Context` is one opened device. Queue pairs are made, taken RESET - INIT - RTR -
RTS with what both sides exchanged out of band, and then written through: RDMA write, and
RDMA write with immediate, which needs a receive posted at the peer beforehand (there is
no RNR). Calls that the C library refuses with an errno raise :class:`MrcError` with its
name. Each call takes ``now_ns``, as everything that moves the engine does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from testbed.transport.mrc.completion import Completion, CompletionQueue, WcOpcode, WcStatus
from testbed.transport.mrc.congestion import CongestionControl, NoCongestionControl
from testbed.transport.mrc.ctl.device import Controller
from testbed.transport.mrc.ctl.ev_profile import EvUser
from testbed.transport.mrc.ctl.probes import ProbeBatch, ProbeKind
from testbed.transport.mrc.ctl.profile import UNSET, known
from testbed.transport.mrc.ctl.values import ApiEvState
from testbed.transport.mrc.endpoint import Endpoint, EvChanged, Event
from testbed.transport.mrc.errors import Errno, MrcError
from testbed.transport.mrc.ev.probing import EvPolicy
from testbed.transport.mrc.ev.reverse import ReverseSet
from testbed.transport.mrc.ev.states import EvState
from testbed.transport.mrc.memory import Access, MemoryRegion
from testbed.transport.mrc.messages import Message
from testbed.transport.mrc.nscc import Nscc
from testbed.transport.mrc.profile_paths import ProfilePaths
from testbed.transport.mrc.qp import QpState, QueuePair
from testbed.transport.mrc.qp_attributes import QpAttr, QpCap, check_step
from testbed.transport.mrc.reliability.loss import LossDetector
from testbed.transport.mrc.reliability.retry import RetrySchedule
from testbed.transport.mrc.requester import Requester
from testbed.transport.mrc.responder import Responder
from testbed.transport.mrc.srv6 import PathTemplate, RouteError
from testbed.transport.mrc.wire.codes import EndpointOp
from testbed.transport.mrc.wire.packets import nominal_bytes

MAX_MESSAGE_BYTES = 1 << 31  # InfiniBand's limit of a message

# What a controller hears of; it knows no SKIP.
_EVENT_STATE = {
    EvState.GOOD: ApiEvState.GOOD,
    EvState.SKIP: ApiEvState.GOOD,
    EvState.ASSUMED_BAD: ApiEvState.ASSUMED_BAD,
}


@dataclass(frozen=True, slots=True)
class SendWr:
    """A write to post: ``length`` bytes at ``offset`` of ``region`` to ``remote_va``.

    With ``imm`` (32 bits) it is a write with immediate. An unsignaled one completes
    silently; ``is_solicited`` raises a solicited event at the peer.
    """

    wr_id: int
    region: MemoryRegion
    remote_va: int
    rkey: int
    offset: int = 0
    length: int | None = None
    imm: int | None = None
    is_signaled: bool = True
    is_solicited: bool = False


@dataclass(frozen=True, slots=True)
class QpHint:
    """Advice for sizing; only read back here."""

    num_qps_per_peer: int = 0
    num_send_peers: int = 0
    num_remote_recv_peers: int = 0


class _Setup:
    """What a QP has been told on its way to RTS."""

    __slots__ = ("attr", "paths")

    def __init__(self) -> None:
        self.attr = QpAttr()
        self.paths: ProfilePaths | None = None


class Context:
    """One opened device: an engine, its controller's profiles, and what applications made.

    ``zero_delay_ns``: queueing below it counts as none (NSCC's "delay about 0"; a driver
    passes the larger of one tick and its own lateness). ``policy`` decides when losses
    make an EV bad.
    """

    def __init__(
        self, endpoint: Endpoint, controller: Controller, *, zero_delay_ns: int | None = None,
        policy: EvPolicy | None = None,
    ) -> None:  # fmt: skip
        self.endpoint = endpoint
        self.controller = controller
        self._zero_delay_ns = zero_delay_ns
        self._policy = policy
        self._setups: dict[int, _Setup] = {}
        self._hints: dict[int, QpHint] = {}
        self._cqs: list[CompletionQueue] = []
        self._losses: dict[tuple[int, int], int] = {}  # (QP, EV) -> losses reported so far

    # --- Objects -------------------------------------------------------------------

    def reg_mr(
        self, buffer: bytearray | memoryview, access: Access | None = None
    ) -> MemoryRegion:
        """Register a buffer; its ``va`` and ``rkey`` are what a peer writes to."""
        if access is None:
            return self.endpoint.memory.register(buffer)
        return self.endpoint.memory.register(buffer, access=access)

    def dereg_mr(self, region: MemoryRegion) -> None:
        """Forget a region. Raises ValueError where it is not registered."""
        self.endpoint.memory.deregister(region)

    def create_cq(self, depth: int = 4096) -> CompletionQueue:
        """A completion queue with room for ``depth``, 1 or more. Raises EINVAL."""
        if depth < 1:
            raise MrcError(Errno.EINVAL, f"a CQ of {depth} entries holds nothing: give 1 or more")
        cq = CompletionQueue(depth)
        self._cqs.append(cq)
        return cq

    def destroy_cq(self, cq: CompletionQueue) -> None:
        """Raises EINVAL where it is not of this context, EBUSY while a QP uses it."""
        if cq not in self._cqs:
            raise MrcError(Errno.EINVAL, "that CQ is not of this context: create one here")
        if any(cq in (qp.send_cq, qp.recv_cq) for qp in self.endpoint.qps.values()):
            raise MrcError(Errno.EBUSY, "the CQ is used by a QP: destroy the QP first")
        self._cqs.remove(cq)

    def create_qp_hint(self, hint: QpHint) -> int:
        """Register advice on how QPs will be used; its id."""
        number = max(self._hints, default=0) + 1
        self._hints[number] = hint
        return number

    def destroy_qp_hint(self, hint_id: int) -> None:
        """Raises EINVAL for an unknown id, EBUSY while a QP names it."""
        if hint_id not in self._hints:
            raise MrcError(Errno.EINVAL, f"QP hint {hint_id} does not exist: create it first")
        if any(setup.attr.qp_hint == hint_id for setup in self._setups.values()):
            raise MrcError(Errno.EBUSY, f"QP hint {hint_id} is used by a QP: destroy that first")
        del self._hints[hint_id]

    def create_qp(
        self, send_cq: CompletionQueue, recv_cq: CompletionQueue, *, max_send_wr: int = 1024,
        max_recv_wr: int = 1024,
    ) -> QueuePair:  # fmt: skip
        """A QP in RESET. Raises EINVAL where a limit is below 1 or a CQ is foreign."""
        if max_send_wr < 1 or max_recv_wr < 1:
            raise MrcError(Errno.EINVAL, "a QP without room for work requests: give 1 or more")
        if send_cq not in self._cqs or recv_cq not in self._cqs:
            raise MrcError(Errno.EINVAL, "a CQ is not of this context: create it here")
        qp = QueuePair(self.endpoint.new_qp_num(), send_cq, recv_cq, max_send_wr, max_recv_wr)
        self.endpoint.qps[qp.qp_num] = qp
        self._setups[qp.qp_num] = _Setup()
        return qp

    def destroy_qp(self, qp: QueuePair) -> None:
        """Forget a QP: it sends, accepts and completes nothing any more.

        Answers that wait for a port already still leave: the peer may need them to finish.
        """
        self._setup(qp)
        self._leave(qp)
        del self._setups[qp.qp_num]
        del self.endpoint.qps[qp.qp_num]

    # --- States --------------------------------------------------------------------

    def modify_qp(self, qp: QueuePair, attr: QpAttr, now_ns: int) -> None:
        """Take a step with exactly the attributes it needs (:mod:`.qp_attributes`).

        Raises EINVAL for a wrong step, attribute, profile that is not ONLINE, or a peer no
        route leads to; then nothing has changed.
        """
        setup = self._setup(qp)
        target = check_step(qp.state, attr)
        if target is QpState.INIT:
            self._init(qp, setup, attr)
        elif target is QpState.RTR:
            self._ready_to_receive(qp, setup, attr, now_ns)
        elif target is QpState.RTS:
            self._ready_to_send(qp, setup, attr)
        elif target is QpState.RESET:
            self._leave(qp)
            self._setups[qp.qp_num] = _Setup()
        else:
            self.endpoint.fail(qp, WcStatus.FLUSHED, "its application said so", now_ns)
            return
        qp.state = target

    def query_qp(self, qp: QueuePair) -> QpAttr:
        """Everything the QP has been told, and its state."""
        return replace(self._setup(qp).attr, state=qp.state)

    def _init(self, qp: QueuePair, setup: _Setup, attr: QpAttr) -> None:
        hint = known(attr.qp_hint)
        if hint is not None and hint not in self._hints:
            raise MrcError(Errno.EINVAL, f"QP hint {hint} does not exist: create it or give None")
        ev_profile = self.controller.ev_profile(known(attr.ev_profile_id))
        cc_profile = self.controller.cc_profile(known(attr.cc_profile_id))
        cc_profile.register_user(qp)
        ev_profile.users.append(_Unconnected())
        setup.attr = _merge(setup.attr, attr)

    def _ready_to_receive(
        self, qp: QueuePair, setup: _Setup, attr: QpAttr, now_ns: int
    ) -> None:
        told = _merge(setup.attr, attr)
        template = self._template(known(attr.dest_gid))
        ev_profile = self.controller.ev_profile(known(told.ev_profile_id))
        cc = self._congestion_control(known(told.cc_profile_id), known(told.path_mtu))
        rng = self.endpoint.rng
        shared = ProfilePaths(
            ev_profile, template, base_rtt_ns=cc.base_rtt_ns, rng=rng, policy=self._policy,
            now_ns=now_ns,
        )  # fmt: skip
        qp.peer = known(attr.dest_gid)
        qp.paths = shared.paths
        qp.responder = Responder(
            source=self.endpoint.address, destination=qp.peer, qpn=qp.qp_num,
            peer_qpn=known(attr.dest_qp_num), first_psn=known(attr.rq_psn),
            nominal_overhead_bytes=nominal_bytes(0), mpr_dest=known(attr.mpr_dest),
            max_wimm_dest=known(attr.max_wimm_dest), can_trim_nack=True,
            base_rtt_ns=cc.base_rtt_ns, memory=self.endpoint.memory,
            reverse=ReverseSet(shared.paths, rng), controls=self.endpoint.controls,
        )  # fmt: skip
        shared.on_followed = lambda: self.endpoint.kick(qp, shared.last_now_ns)
        setup.paths, setup.attr = shared, told
        _swap_user(ev_profile.users, shared)
        self.endpoint.attach(qp, now_ns)

    def _ready_to_send(self, qp: QueuePair, setup: _Setup, attr: QpAttr) -> None:
        told = _merge(setup.attr, attr)
        assert qp.paths is not None
        assert qp.responder is not None
        cc = self._congestion_control(known(told.cc_profile_id), known(told.path_mtu))
        retry, cap = known(told.retry), known(told.cap)
        window_ns = int(cc.config.target_delay) if isinstance(cc, Nscc) else cc.base_rtt_ns
        qp.requester = Requester(
            source=self.endpoint.address, destination=qp.peer, qpn=qp.qp_num,
            peer_qpn=known(told.dest_qp_num), first_psn=known(told.sq_psn),
            path_mtu=known(told.path_mtu), nominal_overhead_bytes=nominal_bytes(0),
            mpr=known(told.mpr), max_wimm=known(told.max_wimm),
            can_trim=not cap & QpCap.PEER_NO_TRIM_NACK,
            is_mpr_dynamic=bool(cap & QpCap.DYNAMIC_MPR), paths=qp.paths, cc=cc,
            loss=LossDetector(window_ns),
            retry=RetrySchedule(known(told.timeout), retry.linear_cnt, retry.exp_cnt),
            reverse=qp.responder.reverse,
        )  # fmt: skip
        setup.attr = told

    def _congestion_control(self, cc_profile_id: int, path_mtu: int) -> CongestionControl:
        profile = self.controller.cc_profile(cc_profile_id)
        config = profile.cc_config
        if config is None:
            raise MrcError(
                Errno.EINVAL, f"{profile} has no base RTT: give it a config, also when it is off"
            )
        # A packet is this QP's packet, whatever the profile was made for.
        config = replace(config, mtu_bytes=min(config.mtu_bytes, nominal_bytes(path_mtu)))
        if profile.algorithm is None:
            return NoCongestionControl(config.base_rtt, config.mtu_bytes)
        if self._zero_delay_ns is None:
            return Nscc(config)
        return Nscc(config, zero_delay_ns=self._zero_delay_ns)

    def _template(self, destination: bytes) -> PathTemplate:
        try:
            return self.endpoint.routes.lookup(destination)
        except RouteError as error:
            raise MrcError(Errno.EINVAL, str(error)) from None

    def _leave(self, qp: QueuePair) -> None:
        """Take a QP out of everything that knows it."""
        setup = self._setup(qp)
        self.endpoint.detach(qp)
        if setup.attr.cc_profile_id is not UNSET:
            self.controller.cc_profile(known(setup.attr.cc_profile_id)).unregister_user(qp)
            users = self.controller.ev_profile(known(setup.attr.ev_profile_id)).users
            users.remove(setup.paths or next(u for u in users if isinstance(u, _Unconnected)))
        if setup.paths is not None:
            setup.paths.close()
        self._losses = {key: lost for key, lost in self._losses.items() if key[0] != qp.qp_num}
        qp.paths = qp.requester = qp.responder = None
        qp.peer, qp.failure = b"", None

    def _setup(self, qp: QueuePair) -> _Setup:
        if self.endpoint.qps.get(qp.qp_num) is not qp:
            raise MrcError(Errno.EINVAL, f"QP {qp.qp_num} is not of this context: create it here")
        return self._setups[qp.qp_num]

    # --- Work ----------------------------------------------------------------------

    def post_send(self, qp: QueuePair, wr: SendWr, now_ns: int) -> None:
        """Post a write. The buffer belongs to the engine until the write completes.

        In ERROR the work request is flushed at once. Raises EINVAL (state, bounds, a
        message of more than 2 GiB), ENOMEM (``max_send_wr`` are posted already).
        """
        if qp.state is QpState.ERROR:
            opcode = WcOpcode.RDMA_WRITE if wr.imm is None else WcOpcode.RDMA_WRITE_WITH_IMM
            qp.send_cq.push(Completion(wr.wr_id, WcStatus.FLUSHED, opcode, qp.qp_num))
            return
        if qp.state is not QpState.RTS or qp.requester is None:
            raise MrcError(Errno.EINVAL, f"a QP in {qp.state.value} cannot send: take it to RTS")
        if len(qp.requester.messages) >= qp.max_send_wr:
            raise MrcError(
                Errno.ENOMEM, f"{qp.max_send_wr} writes are posted: poll their completions first"
            )
        data = self._data(wr)
        self._note_time(qp, now_ns)
        message = Message(
            wr.wr_id, data, wr.remote_va, wr.rkey, wr.imm, is_signaled=wr.is_signaled,
            is_solicited=wr.is_solicited,
        )  # fmt: skip
        qp.requester.post(message, now_ns)
        self.endpoint.kick(qp, now_ns)

    def _data(self, wr: SendWr) -> memoryview:
        length = wr.region.length - wr.offset if wr.length is None else wr.length
        if length > MAX_MESSAGE_BYTES:
            raise MrcError(Errno.EINVAL, f"a write of {length} bytes is too long: send 2 GiB")
        if wr.imm is not None and not 0 <= wr.imm < 1 << 32:
            raise MrcError(Errno.EINVAL, f"immediate {wr.imm} has more than 32 bits: send fewer")
        if not 0 <= wr.remote_va <= (1 << 64) - max(length, 1) or not 0 <= wr.rkey < 1 << 32:
            raise MrcError(Errno.EINVAL, "remote address or key is out of range: 64 and 32 bits")
        try:
            return self.endpoint.memory.read(wr.region.lkey, wr.offset, length)
        except ValueError as error:
            raise MrcError(Errno.EINVAL, str(error)) from None

    def post_recv(self, qp: QueuePair, wr_id: int) -> None:
        """Post a receive for one immediate; allowed from RTR on.

        Raises EINVAL before RTR, ENOMEM where ``max_recv_wr`` are posted already.
        """
        if qp.state is QpState.ERROR:
            qp.recv_cq.push(
                Completion(wr_id, WcStatus.FLUSHED, WcOpcode.RECV_RDMA_WITH_IMM, qp.qp_num)
            )
            return
        if qp.responder is None:
            raise MrcError(Errno.EINVAL, f"a QP in {qp.state.value} cannot receive: go to RTR")
        if len(qp.responder.receives) >= qp.max_recv_wr:
            raise MrcError(
                Errno.ENOMEM, f"{qp.max_recv_wr} receives are posted: wait for their completions"
            )
        qp.responder.receives.append(wr_id)

    def poll_cq(self, cq: CompletionQueue, limit: int = 64) -> list[Completion]:
        """At most ``limit`` completions, oldest first."""
        return cq.poll(limit)

    # --- News ----------------------------------------------------------------------

    def poll_events(self) -> list[Event]:
        """What happened since the last call: asynchronous events of QPs, EVs and peers.

        EV changes also go to the controller's event queues from here, so a driver calls
        this whenever it has let the engine run.
        """
        events = self.endpoint.events()
        for event in events:
            if isinstance(event, EvChanged):
                self._post_ev_event(event)
        return events

    def _post_ev_event(self, event: EvChanged) -> None:
        change = event.change
        setup = self._setups.get(event.qp_num)
        state = _EVENT_STATE.get(change.after)
        if setup is None or setup.paths is None or state is None:
            return
        if change.before is change.after or state is _EVENT_STATE.get(change.before):
            return
        entry = setup.paths.paths.entry(change.ev)
        lost = 0 if entry is None else entry.lost
        reported = self._losses.get((event.qp_num, change.ev), 0)
        self._losses[event.qp_num, change.ev] = lost
        self.controller.post_ev_event(
            setup.paths.profile.profile_id, change.ev, change.port, max(lost - reported, 0),
            state,
        )  # fmt: skip

    def run_probes(self, batch: ProbeBatch, *, dscp: int) -> None:
        """Send a controller's batch of endpoint probes; its answers go into the batch.

        Raises EINVAL at the first probe to which no route leads; those before it are sent.
        """
        is_probe = batch.kind is ProbeKind.EV_PROBE
        op = EndpointOp.EV_PROBE if is_probe else EndpointOp.PORT_STATUS_UPDATE
        for probe in batch.requests():
            def on_answer(rtt_ns: int, port: int, now_ns: int, req_id: int = probe.req_id) -> None:
                batch.on_response(req_id, port, rtt_ns, now_ns)

            try:
                self.endpoint.packets.request(
                    probe.destination, probe.ev, probe.port, op, on_answer,
                    port_mask=probe.port_mask, dscp=dscp,
                )  # fmt: skip
            except RouteError as error:
                raise MrcError(Errno.EINVAL, str(error)) from None

    def _note_time(self, qp: QueuePair, now_ns: int) -> None:
        setup = self._setups[qp.qp_num]
        if setup.paths is not None:
            setup.paths.last_now_ns = now_ns


class _Unconnected:
    """Stands in an EV profile's users for a QP in INIT, which has no paths yet."""

    def ev_state(self, ev: int) -> ApiEvState:
        """Nothing is known."""
        return ApiEvState.UNKNOWN


def _swap_user(users: list[EvUser], new: EvUser) -> None:
    place = next(i for i, user in enumerate(users) if isinstance(user, _Unconnected))
    users[place] = new


def _merge(told: QpAttr, attr: QpAttr) -> QpAttr:
    given = {
        name: getattr(attr, name) for name in attr.__slots__ if getattr(attr, name) is not UNSET
    }
    return replace(told, **given)

