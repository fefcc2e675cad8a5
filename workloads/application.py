"""A program on a host's endpoint, in the shape that simulator and agent drive.

    driver -> Application -> endpoint      datagrams, ports, deadlines
                          -> program       completions, timers
                          -> recorder      what is written down, where anything is

Completions can only be there after a datagram, a deadline, a change of ports or a call of
the program itself, so these look; transmitting looks at nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from testbed.transport.mrc.completion import Completion, CompletionQueue
from testbed.transport.mrc.endpoint import Event
from testbed.transport.mrc.qp import QpFailed
from workloads.connections import HostSetup
from workloads.program import Program
from workloads.recorder import Recorder, Write

_BATCH = 64
# Events that whoever polls has not taken yet; a driver takes them a few times a second.
_EVENTS_KEPT = 65_536


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
        self._recorder: Recorder | None = None
        self._unpolled: deque[Event] = deque(maxlen=_EVENTS_KEPT)
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
        """The deadline of the endpoint, the program or the recorder, whichever is earliest."""
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
            self._on_timer(now_ns)

    def _on_timer(self, now_ns: int) -> None:
        recorder = self._recorder
        if recorder is not None and recorder.next_ns <= now_ns:
            recorder.sample(now_ns, self._take_events())
        timer_ns = self.program.next_timer_ns()
        if timer_ns is not None and timer_ns <= now_ns:
            self.program.on_timer(now_ns)
        self._hand_over(now_ns)

    def on_ports_changed(self, up_ports: int, now_ns: int) -> None:
        """The ports that have carrier from now on."""
        if self._recorder is not None:
            self._recorder.on_ports_changed(up_ports, now_ns)
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
        recorder = self._recorder
        if recorder is None:
            return self._take_events()
        recorder.note_events(self._take_events())
        events = list(self._unpolled)
        self._unpolled.clear()
        return events

    def _take_events(self) -> list[Event]:
        """What the device has told since it was last asked, kept for who polls."""
        events = self.context.poll_events()
        for event in events:
            if isinstance(event, QpFailed) and event.qp_num in self._channels:
                self.failures[self._channels[event.qp_num].connection] = event
        if self._recorder is not None:
            self._unpolled.extend(events)
        return events

    # --- Recording ---------------------------------------------------------------------

    def record(self, sample_ns: int, write: Write) -> None:
        """Write down what happens from now on; call it once, before `start`."""
        channels = self._channels.values()
        self._recorder = Recorder(self._endpoint, channels, sample_ns, write)
        self._set_timer()

    def finish_recording(self, now_ns: int) -> None:
        """The run is over: the last rows are written, and none after them."""
        if self._recorder is not None:
            self._recorder.finish(now_ns, self._take_events())
            self._set_timer()

    def _hand_over(self, now_ns: int) -> None:
        """Give the program what has completed, and what that completes at once."""
        sends, receives = self._sends, self._receives
        while len(sends) or len(receives):
            for completion in self._poll(sends):
                channel = self._channels[completion.qp_num]
                channel.outstanding -= 1
                if self._recorder is not None:
                    self._recorder.on_completion(channel, completion, now_ns)
                self.program.on_completion(channel, completion, now_ns)
            for completion in self._poll(receives):
                channel = self._channels[completion.qp_num]
                self.program.on_completion(channel, completion, now_ns)
        self._set_timer()

    def _set_timer(self) -> None:
        timer_ns, recorder = self.program.next_timer_ns(), self._recorder
        if recorder is not None and (timer_ns is None or recorder.next_ns < timer_ns):
            timer_ns = recorder.next_ns
        self._timer_ns = timer_ns

    def _poll(self, cq: CompletionQueue) -> list[Completion]:
        return self.context.poll_cq(cq, _BATCH)
