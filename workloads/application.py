"""A program on a host's endpoint, in the shape that simulator and agent drive.

    driver -> Application -> endpoint      datagrams, ports, deadlines
                          -> program       completions, timers

Completions can only be there after a datagram, a deadline, a change of ports or a call of
the program itself, so these look; transmitting looks at nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from testbed.transport.mrc.completion import Completion, CompletionQueue
from testbed.transport.mrc.endpoint import Event
from testbed.transport.mrc.qp import QpFailed
from workloads.connections import HostSetup
from workloads.program import Program

_BATCH = 64


class Application:
    """``program`` on the connected ends of ``setup``.

    ``failures`` holds, by connection, the QPs of which `poll_events` told that they failed.
    """

    def __init__(self, setup: HostSetup, program: Program) -> None:
        self.context = setup.context
        self.program = program
        self.failures: dict[int, QpFailed] = {}
        endpoint = setup.context.endpoint
        self._endpoint = endpoint
        self._channels = {channel.qp.qp_num: channel for channel in setup.channels.values()}
        self._sends, self._receives = setup.send_cq, setup.recv_cq
        self._timer_ns: int | None = None
        # Called for every packet: as near as can be.
        self._receive = endpoint.receive
        self._deadline_ns = endpoint.next_deadline
        self.transmit: Callable[[int, int], tuple[int, bytes] | None] = endpoint.transmit

    # --- Driven ------------------------------------------------------------------------

    def receive(self, port: int, datagram: bytes, now_ns: int) -> None:
        """A datagram has arrived."""
        self._receive(port, datagram, now_ns)
        if len(self._sends) or len(self._receives):
            self._hand_over(now_ns)

    def next_deadline(self) -> int | None:
        """The endpoint's deadline or the program's timer, whichever is earlier."""
        timer_ns = self._timer_ns
        if timer_ns is None:
            return self._deadline_ns()
        deadline_ns = self._deadline_ns()
        return timer_ns if deadline_ns is None or timer_ns < deadline_ns else deadline_ns

    def on_deadline(self, now_ns: int) -> None:
        """Call whose time has come: the endpoint first, so its news is not late."""
        deadline_ns = self._deadline_ns()
        if deadline_ns is not None and deadline_ns <= now_ns:
            self._endpoint.on_deadline(now_ns)
        self._hand_over(now_ns)
        if self._timer_ns is not None and self._timer_ns <= now_ns:
            self.program.on_timer(now_ns)
            self._hand_over(now_ns)

    def on_ports_changed(self, up_ports: int, now_ns: int) -> None:
        """The ports that have carrier from now on."""
        self._endpoint.on_ports_changed(up_ports, now_ns)
        self._hand_over(now_ns)

    # --- The program -------------------------------------------------------------------

    def start(self, now_ns: int) -> None:
        """Let the program begin."""
        self.program.start(now_ns)
        self._hand_over(now_ns)

    def stop(self, now_ns: int) -> None:
        """Have the program post nothing more."""
        self.program.stop(now_ns)
        self._hand_over(now_ns)

    def poll_events(self) -> list[Event]:
        """What happened on the device since the last call; failed QPs are remembered."""
        events = self.context.poll_events()
        for event in events:
            if isinstance(event, QpFailed) and event.qp_num in self._channels:
                self.failures[self._channels[event.qp_num].connection] = event
        return events

    def _hand_over(self, now_ns: int) -> None:
        """Give the program what has completed, and what that completes at once."""
        sends, receives = self._sends, self._receives
        while len(sends) or len(receives):
            for completion in self._poll(sends):
                channel = self._channels[completion.qp_num]
                channel.outstanding -= 1
                self.program.on_completion(channel, completion, now_ns)
            for completion in self._poll(receives):
                channel = self._channels[completion.qp_num]
                self.program.on_completion(channel, completion, now_ns)
        self._timer_ns = self.program.next_timer_ns()

    def _poll(self, cq: CompletionQueue) -> list[Completion]:
        return self.context.poll_cq(cq, _BATCH)
