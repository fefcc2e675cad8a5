"""The Ryu applications: shims that hand OpenFlow events to `Fleet` and send its answers."""

import time
from collections.abc import Callable
from typing import Any

from controllers.compat import (
    CONFIG_DISPATCHER,
    DEAD_DISPATCHER,
    FRAMEWORK,
    FRAMEWORK_VERSION,
    HANDSHAKE_DISPATCHER,
    MAIN_DISPATCHER,
    EventBase,
    OFPHandler,
    RyuApp,
    datapath_connection_factory,
    hub,
    ofp_event,
    ofproto,
    set_ev_cls,
)
from controllers.fleet import Event, Fleet, Step
from testbed.forwarding.plan import Plan

Report = Callable[[Event], None]

# Every switch of a fabric connects at the same moment; the library's backlog of
# 50 would turn the others away, and Open vSwitch comes back a second later.
LISTEN_BACKLOG = 1024


class EventPlanLoaded(EventBase):
    """The parent wants the switches brought to another plan."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan


class EventVerifyRequested(EventBase):
    """The parent wants to know whether the switches still hold the plan."""


class SwitchListener(OFPHandler):
    """Ryu's own handshake, listening where we say and telling when it does.

    The original takes its port from a global configuration, listens on every
    address by default and in the background, so nobody knows when it is there.
    """

    def __init__(self, *args: Any, host: str, port: int, report: Report, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._address = (host, port)
        self._report = report

    def start(self) -> Any:
        """Bind (OSError where that fails; port 0 takes a free one), report, accept."""
        RyuApp.start(self)
        server = hub.StreamServer(self._address, datapath_connection_factory)
        server.server.listen(LISTEN_BACKLOG)
        host, port = server.server.getsockname()[:2]
        self._report({"event": "listening", FRAMEWORK: FRAMEWORK_VERSION,
                      "host": host, "port": port})
        return hub.spawn(server.serve_forever)


class FabricProgrammer(RyuApp):
    """Loads the forwarding plan into every switch that connects, and proves it.

    All handlers run in this application's one event thread, so `Fleet` needs no lock.
    """

    OFP_VERSIONS = (ofproto.OFP_VERSION,)

    def __init__(self, *args: Any, fleet: Fleet, report: Report, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._fleet = fleet
        self._report = report

    def _run(self, entry: Callable[..., Step], *arguments: Any) -> None:
        """Enter `Fleet`, then send and report what it answers."""
        try:
            step = entry(*arguments)
            for message in step.messages:
                message.datapath.send_msg(message)
        except Exception as error:  # left to itself, the framework would only log it
            self.logger.exception("handler failed")
            reason = f"{type(error).__name__}: {error}"
            self._report({"event": "error", "message": f"the controller failed: {reason}"})
            return
        for event in step.events:
            self._report(event)

    @set_ev_cls(ofp_event.EventOFPStateChange, [MAIN_DISPATCHER, DEAD_DISPATCHER])
    def on_state_changed(self, ev: Any) -> None:
        """A switch finished its handshake, or its connection ended."""
        if ev.state == MAIN_DISPATCHER:
            self._run(self._fleet.on_switch_joined, ev.datapath, time.monotonic_ns())
        else:
            self._run(self._fleet.on_switch_left, ev.datapath)

    @set_ev_cls(ofp_event.EventOFPFlowStatsReply, MAIN_DISPATCHER)
    def on_stats_received(self, ev: Any) -> None:
        """A part of a switch's flow statistics arrived."""
        message = ev.msg
        is_last = not message.flags & ofproto.OFPMPF_REPLY_MORE
        self._run(self._fleet.on_stats_received, message.datapath, message.body, is_last,
                  time.monotonic_ns())

    @set_ev_cls(ofp_event.EventOFPErrorMsg,
                [HANDSHAKE_DISPATCHER, CONFIG_DISPATCHER, MAIN_DISPATCHER])
    def on_error_received(self, ev: Any) -> None:
        """A switch refused something we sent."""
        reason = (f"{ofproto.ofp_error_type_to_str(ev.msg.type)}:"
                  f" {ofproto.ofp_error_code_to_str(ev.msg.type, ev.msg.code)}")
        self._run(self._fleet.on_error_received, ev.msg.datapath, reason)

    @set_ev_cls(EventPlanLoaded)
    def on_plan_loaded(self, ev: EventPlanLoaded) -> None:
        """The launcher read the plan file again."""
        self._run(self._fleet.load, ev.plan, time.monotonic_ns())

    @set_ev_cls(EventVerifyRequested)
    def on_verify_requested(self, _ev: EventVerifyRequested) -> None:
        """The launcher passes the parent's question on."""
        self._run(self._fleet.verify)
