"""The controller of one device: its profiles, its ports, its EV events and its probes.

On a real node this is the process with CAP_NET_ADMIN that configures the NIC before and
beside the applications (facts sheet section 7). Here it is handed what it stands on: the
paths the device would pick by itself, and its ports. Every call raises EPERM for a
controller without the privilege and EIO once the device is lost, beside what it names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from testbed.transport.mrc.ctl.attributes import DeviceAttributes
from testbed.transport.mrc.ctl.cc_profile import CcProfile, CcProfileAttr
from testbed.transport.mrc.ctl.ev_entries import EvEntry, EvOperation
from testbed.transport.mrc.ctl.ev_events import EvEvent, EvEventCq
from testbed.transport.mrc.ctl.ev_format import EvFormatAttr, EvFormatProfile
from testbed.transport.mrc.ctl.ev_profile import EvProfile, EvProfileAttr
from testbed.transport.mrc.ctl.probes import ProbeBatch, ProbeKind, ProbeRequest
from testbed.transport.mrc.ctl.profile import Capability, ProfileKind, ProfileState
from testbed.transport.mrc.ctl.registry import Registry
from testbed.transport.mrc.ctl.values import ApiEv, ApiEvState
from testbed.transport.mrc.errors import Errno, MrcError


class DevicePorts(Protocol):
    """The device's ports as its driver knows them, counted from 0."""

    def is_link_up(self, port: int, /) -> bool:
        """Whether the port has carrier."""

    def on_port_set(self, port: int, is_enabled: bool, /) -> None:
        """The controller has enabled or disabled the port."""


class Controller:
    """One privileged controller of one device.

    ``auto_evs(count)`` gives at most ``count`` EVs of mode AUTO, (32 bits, port from 0).
    ``is_lost`` is the driver's to set when the device is gone.
    """

    def __init__(
        self,
        attributes: DeviceAttributes,
        *,
        auto_evs: Callable[[int], Sequence[tuple[int, int]]],
        ports: DevicePorts,
        is_privileged: bool = True,
    ) -> None:
        self.attributes = attributes
        self.is_lost = False
        self._auto_evs = auto_evs
        self._ports = ports
        self._is_privileged = is_privileged
        self._disabled: set[int] = set()
        self._formats = Registry(
            ProfileKind.EV_FORMAT, attributes.max_ev_formats, self._make_format
        )
        self._evs = Registry(
            ProfileKind.EV, attributes.max_ev_profiles, lambda number: EvProfile(number, self)
        )
        self._ccs = Registry(ProfileKind.CC, attributes.max_cc_profiles, self._make_cc)
        self._event_cqs: list[EvEventCq] = []
        self._batches: list[ProbeBatch] = []

    # --- EV format profiles (7.2) ----------------------------------------------------
    def create_ev_format(self, profile_id: int | None = None) -> int:
        """Make a format in INIT and return its id. Raises EINVAL, ENOMEM."""
        self._check_access()
        return self._formats.create(profile_id)

    def modify_ev_format(self, profile_id: int, attr: EvFormatAttr) -> None:
        """Configure it or step it. Raises EINVAL, EBUSY, E2BIG."""
        self._check_access()
        self._formats.get(profile_id).modify(attr)

    def query_ev_format(self, profile_id: int, capacity: int | None = None) -> EvFormatAttr:
        """Its attributes; ``capacity`` is the room for fields. Raises EINVAL, E2BIG."""
        self._check_access()
        return self._formats.get(profile_id).query(capacity)

    def destroy_ev_format(self, profile_id: int) -> None:
        """Remove it. Raises EINVAL, EBUSY while ONLINE."""
        self._check_access()
        self._formats.destroy(profile_id)

    # --- EV profiles (7.3) -----------------------------------------------------------
    def create_ev_profile(self, profile_id: int | None = None) -> int:
        """Make an EV profile in INIT and return its id. Raises EINVAL, ENOMEM."""
        self._check_access()
        return self._evs.create(profile_id)

    def modify_ev_profile(self, profile_id: int, attr: EvProfileAttr) -> None:
        """Configure it, change its EVs or step it. Raises EINVAL, EBUSY, E2BIG, ENOENT."""
        self._check_access()
        self._evs.get(profile_id).modify(attr)

    def query_ev_profile(
        self,
        profile_id: int,
        operation: EvOperation | None = None,
        entries: Sequence[EvEntry] = (),
        *,
        with_fields: bool = False,
        capacity: int | None = None,
    ) -> EvProfileAttr:
        """Its attributes and what was asked for. Raises EINVAL, E2BIG, ENOENT."""
        self._check_access()
        profile = self._evs.get(profile_id)
        return profile.query(operation, entries, with_fields=with_fields, capacity=capacity)

    def destroy_ev_profile(self, profile_id: int) -> None:
        """Remove it. Raises EINVAL, EBUSY while ONLINE."""
        self._check_access()
        self._evs.destroy(profile_id)

    # --- CC profiles (7.5) -----------------------------------------------------------
    def create_cc_profile(self, profile_id: int | None = None) -> int:
        """Make a CC profile in INIT and return its id. Raises EINVAL, ENOMEM."""
        self._check_access()
        return self._ccs.create(profile_id)

    def modify_cc_profile(self, profile_id: int, attr: CcProfileAttr) -> None:
        """Configure it or step it. Raises EINVAL, EBUSY."""
        self._check_access()
        self._ccs.get(profile_id).modify(attr)

    def query_cc_profile(self, profile_id: int) -> CcProfileAttr:
        """Its attributes. Raises EINVAL."""
        self._check_access()
        return self._ccs.get(profile_id).query()

    def destroy_cc_profile(self, profile_id: int) -> None:
        """Remove it. Raises EINVAL, EBUSY while ONLINE."""
        self._check_access()
        self._ccs.destroy(profile_id)

    # --- Ports (7.8) -----------------------------------------------------------------
    def set_port(self, port: int, is_enabled: bool) -> None:
        """Enable or disable ``port`` (from 1). Raises EINVAL where there is none."""
        self._check_access()
        self._check_port(port)
        if is_enabled is (port not in self._disabled):
            return
        if is_enabled:
            self._disabled.remove(port)
        else:
            self._disabled.add(port)
        self._ports.on_port_set(port - 1, is_enabled)

    def is_port_up(self, port: int) -> bool:
        """Whether ``port`` (from 1) is up; a disabled one is down. Raises EINVAL."""
        self._check_access()
        self._check_port(port)
        return port not in self._disabled and self._ports.is_link_up(port - 1)

    # --- EV events (7.6) -------------------------------------------------------------
    def create_ev_event_cq(self) -> EvEventCq:
        """A queue that gets every EV event from now on. Raises ENOTSUP without EV events."""
        self._check_access()
        if Capability.EV_EVENTS not in self.attributes.capabilities:
            raise MrcError(Errno.ENOTSUP, "this device has no EV events: query states instead")
        cq = EvEventCq(self.attributes.max_evs, self._is_held)
        self._event_cqs.append(cq)
        return cq

    def destroy_ev_event_cq(self, cq: EvEventCq) -> None:
        """Stop feeding a queue. Raises EINVAL where it is none of this device."""
        self._check_access()
        if cq not in self._event_cqs:
            raise MrcError(Errno.EINVAL, "that EV event queue is not of this device: create one")
        self._event_cqs.remove(cq)

    # --- Probes (7.7) ----------------------------------------------------------------
    def start_probes(
        self,
        kind: ProbeKind,
        requests: Sequence[ProbeRequest],
        *,
        dscp: int,
        timeout_ns: int,
        now_ns: int,
    ) -> ProbeBatch:
        """Check a batch of one kind and hand it back for the driver to send.

        Raises ENOTSUP (no probes, or a format mode they cannot carry), EINVAL (a request
        that makes no sense), EAGAIN (an id still outstanding), ENOMEM (too many of them).
        """
        self._check_access()
        if Capability.EV_PROBES not in self.attributes.capabilities:
            raise MrcError(Errno.ENOTSUP, "this device has no endpoint probes: let QPs probe")
        batch = ProbeBatch(kind, requests, dscp=dscp, timeout_ns=timeout_ns, started_at_ns=now_ns)
        batch.check(self.attributes)
        self._batches = [item for item in self._batches if not item.is_done(now_ns)]
        self._check_outstanding(batch)
        self._batches.append(batch)
        return batch

    # --- For the engine and for profiles ---------------------------------------------
    def ev_profile(self, profile_id: int) -> EvProfile:
        """The ONLINE EV profile a QP attaches to. Raises EINVAL where there is none (8.2)."""
        profile = self._evs.get(profile_id)
        profile.check_online()
        return profile

    def cc_profile(self, profile_id: int) -> CcProfile:
        """The ONLINE CC profile a QP attaches to. Raises EINVAL where there is none (8.2)."""
        profile = self._ccs.get(profile_id)
        profile.check_online()
        return profile

    def ev_format(self, fmt_id: int, /) -> EvFormatProfile:
        """The format of this id, in whatever state. Raises EINVAL where there is none."""
        return self._formats.get(fmt_id)

    def auto_evs(self, count: int, /) -> Sequence[tuple[int, int]]:
        """The EVs of mode AUTO: at most ``count``, (32 bits, port from 0)."""
        return self._auto_evs(count)

    def free_evs(self) -> int:
        """How many more EVs the profiles of this device may hold."""
        return self.attributes.max_evs - sum(profile.count for profile in self._evs)

    def is_port_enabled(self, port: int) -> bool:
        """Whether the controller lets ``port`` (from 0) be used."""
        return port + 1 not in self._disabled

    def post_ev_event(
        self, profile_id: int, ev: int, port: int, drop_count: int, state: ApiEvState
    ) -> bool:
        """A QP's EV changed to ``state``; True where that was posted as an event.

        ``ev`` has 32 bits, ``port`` counts from 0, ``drop_count`` are the packets lost on it
        since the last such call. Nothing is posted for a state outside the profile's mask,
        nor for an EV the profile does not hold (any more).
        """
        profile = self._evs.find(profile_id)
        if profile is None or profile.state is not ProfileState.ONLINE:
            return False
        api = profile.api_ev_of(ev, port)
        if api is None or not state & profile.event_mask or not self._event_cqs:
            return False
        if Capability.PRECISE_DROP_CNT not in self.attributes.capabilities:
            drop_count = min(drop_count, 1)
        for cq in self._event_cqs:
            cq.post(EvEvent(profile_id, api, drop_count, state))
        return True

    def _is_held(self, profile_id: int, ev: ApiEv) -> bool:
        profile = self._evs.find(profile_id)
        return profile is not None and profile.holds(ev)

    def _make_format(self, profile_id: int) -> EvFormatProfile:
        attributes = self.attributes
        return EvFormatProfile(profile_id, attributes.ev_format_modes, attributes.ev_max_width)

    def _make_cc(self, profile_id: int) -> CcProfile:
        attributes = self.attributes
        return CcProfile(profile_id, attributes.cc_algorithms, attributes.capabilities)

    def _check_access(self) -> None:
        if not self._is_privileged:
            raise MrcError(
                Errno.EPERM, "only a privileged controller may do this: ask the node's own"
            )
        if self.is_lost:
            raise MrcError(Errno.EIO, "the device is lost: start its host's agent again")

    def _check_port(self, port: int) -> None:
        if port not in self.attributes.ports():
            ports = self.attributes.ports()
            raise MrcError(Errno.EINVAL, f"the device has no port {port}: use one of {ports}")

    def _check_outstanding(self, batch: ProbeBatch) -> None:
        outstanding = {number for item in self._batches for number in item.outstanding()}
        clash = outstanding & batch.outstanding()
        if clash:
            raise MrcError(
                Errno.EAGAIN, f"probe id {min(clash)} is still outstanding: wait or use another"
            )
        if len(outstanding) + len(batch.outstanding()) > self.attributes.max_probes:
            raise MrcError(
                Errno.ENOMEM, f"over {self.attributes.max_probes} probes outstanding: send fewer"
            )
