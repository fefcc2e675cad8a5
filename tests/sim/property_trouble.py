"""The faults of a schedule in a world: those of the fabric, and those of a controller."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sim.property_schedule import KILL, Fault, Schedule

from testbed.errors import UsageError
from testbed.faults.actions import (
    Action,
    Corrupt,
    EvLoss,
    HostKill,
    HostPause,
    LinkDown,
    Loss,
    SwitchBlackhole,
    SwitchCrash,
)
from testbed.faults.targets import (
    EvTarget,
    HostTarget,
    LinkTarget,
    NicTarget,
    PlaneTarget,
    SwitchTarget,
)
from testbed.transport.mrc.ctl.ev_entries import EvEntry, EvFlag, EvOperation
from testbed.transport.mrc.ctl.ev_profile import EvProfileAttr
from testbed.transport.mrc.ctl.values import ApiEvState, api_ev
from testbed.transport.mrc.device import every_path
from testbed.transport.mrc.errors import MrcError
from topologies.ev import make_ev
from topologies.names import switch_name

World = Any
Undo = Callable[[], object]


def start_fault(world: World, fault: Fault) -> None:
    """Have a fault begin and end in its time."""
    begin_ns = fault.at * world.unit_ns
    end_ns = begin_ns + fault.lasts * world.unit_ns

    def begin() -> None:
        undo = _CONTROLLER.get(fault.kind, _break_fabric)(world, fault)
        if undo is not None:
            world.sim.at(end_ns, undo)

    world.sim.at(begin_ns, begin)


# --- The fabric's vocabulary -----------------------------------------------------------


def _break_fabric(world: World, fault: Fault) -> Undo | None:
    action = action_of(fault, world.schedule)
    if fault.kind == KILL:
        world.killed.add(action.target.host)  # type: ignore[union-attr]
    try:
        world.sim.inject(action)
    except UsageError:
        return None  # it suffers that already

    def undo() -> None:
        if action in world.sim.faults.active:  # not yet healed with another on this target
            world.sim.heal(action.target)

    return undo


def action_of(fault: Fault, schedule: Schedule) -> Action:
    """The action a fault of the fabric means in this schedule."""
    spec, host, plane = schedule.spec, _host(fault, schedule), fault.y % schedule.spec.planes
    t0 = switch_name(plane, 0, fault.x % spec.t0_per_plane)
    t1 = switch_name(plane, 1, fault.z % spec.t1_per_plane)
    nic, link = NicTarget(host, plane), LinkTarget(t0, t1)
    switch = SwitchTarget(t0 if fault.x % 2 else t1)
    anywhere = (nic, link, switch)[fault.z]
    ends = schedule.pairs[fault.x % len(schedule.pairs)].hosts(spec)
    src, dst = ends if fault.percent > 1 else ends[::-1]
    ev = EvTarget(src, dst, make_ev(plane, fault.z % spec.t1_per_plane))
    ratio = fault.percent / 100
    actions: dict[str, Callable[[], Action]] = {
        "nic_down": lambda: LinkDown(nic),
        "link_down": lambda: LinkDown(link),
        "plane_down": lambda: LinkDown(PlaneTarget(plane)),
        "crash": lambda: SwitchCrash(switch),
        "blackhole": lambda: SwitchBlackhole(switch),
        "loss": lambda: Loss(anywhere, ratio),
        "corrupt": lambda: Corrupt(anywhere, ratio),
        "ev_loss": lambda: EvLoss(ev, ratio),
        "pause": lambda: HostPause(HostTarget(host)),
        KILL: lambda: HostKill(HostTarget(host)),
    }
    return actions[fault.kind]()


def _host(fault: Fault, schedule: Schedule) -> int:
    ends = schedule.ends
    return ends[fault.x % len(ends)]


# --- The controller --------------------------------------------------------------------


def _disable_port(world: World, fault: Fault) -> Undo | None:
    host, port = _host(fault, world.schedule), fault.y % world.spec.planes + 1
    if host in world.killed:
        return None

    def set_port(is_enabled: bool) -> None:
        if host not in world.killed:
            world.lab.contexts[host].controller.set_port(port, is_enabled)
            world.sim.kick(host)

    set_port(False)
    return lambda: set_port(True)


def _deny_ev(world: World, fault: Fault) -> Undo | None:
    _set_state(world, fault, ApiEvState.DENIED)
    return lambda: _set_state(world, fault, ApiEvState.GOOD)


def _condemn_ev(world: World, fault: Fault) -> Undo | None:
    _set_state(world, fault, ApiEvState.ASSUMED_BAD)
    return None  # probes bring it back


def _set_state(world: World, fault: Fault, state: ApiEvState) -> None:
    plane = fault.y % world.spec.planes
    ev = api_ev(make_ev(plane, fault.z % world.spec.t1_per_plane), plane)
    entry = EvEntry(ev, state=state, flags=EvFlag.ALL_COPIES)
    _modify_every_profile(world, fault, EvOperation.MODIFY_EV_STATE, lambda _: entry)


def _replace_ev(world: World, fault: Fault) -> Undo | None:
    """Put an EV that is not listed in the place of one that is."""

    def entry(listed: list[Any]) -> EvEntry | None:
        every = [api_ev(ev, port) for ev, port in every_path(world.spec)]
        new = [ev for ev in every if ev not in listed]
        if not new or not listed:
            return None
        old = listed[(fault.y + fault.z) % len(listed)]
        return EvEntry(old, ev_new=new[fault.z % len(new)], state=ApiEvState.GOOD)

    _modify_every_profile(world, fault, EvOperation.REPLACE_EV, entry)
    return None


def _modify_every_profile(
    world: World, fault: Fault, operation: EvOperation,
    entry_of: Callable[[list[Any]], EvEntry | None],
) -> None:  # fmt: skip
    host = _host(fault, world.schedule)
    if host in world.killed:
        return
    controller = world.lab.contexts[host].controller
    is_swap = operation is EvOperation.REPLACE_EV
    for profile_id in world.explicit_profiles if is_swap else world.ev_profiles:
        try:
            answer = controller.query_ev_profile(profile_id, EvOperation.QUERY_EV_ARRAY)
        except MrcError:
            continue  # no pair of this host wants it
        listed = [item.ev for item in answer.entries]
        entry = entry_of(listed)
        if entry is not None and entry.ev in listed:
            attr = EvProfileAttr(operation=operation, entries=(entry,))
            controller.modify_ev_profile(profile_id, attr)
    world.sim.kick(host)


def _shrink_mpr(world: World, fault: Fault) -> Undo | None:
    """A responder that states a smaller range from now on, and takes it back."""
    duplex = world.duplexes[fault.x % len(world.duplexes)]
    if not duplex.pair.is_mpr_dynamic:
        return None
    responder = duplex.sides[fault.y % 2].qp.responder
    before = duplex.pair.mpr
    responder.mpr = 1

    def undo() -> None:
        responder.mpr = before

    return undo


_CONTROLLER: dict[str, Callable[[World, Fault], Undo | None]] = {
    "port_disabled": _disable_port,
    "ev_denied": _deny_ev,
    "ev_bad": _condemn_ev,
    "ev_replaced": _replace_ev,
    "mpr_shrunk": _shrink_mpr,
}
