"""A switch's egress port: judge() of testbed/fabric/port.bpf.c and the queue behind it.

Time spent is counted in units of a billionth of a byte: a port of R byte/s sends R units
a ns, so ``time x R`` is where its wire stands and no rounding accumulates; only the ns
of an event is rounded, to nearest.

Two queues, control strictly first, a frame in service is never interrupted. The depths a
frame is judged by are those of the port program's virtual queues, which drain as a
fluid: since server and fluid send the same bytes in the same time, the data depth is the
whole backlog less what the control queue by itself would still hold. So a depth needs
two numbers and no bookkeeping as time passes.
"""

from __future__ import annotations

from collections import deque

from testbed.metrics.ports import Tally
from testbed.sim import draws
from testbed.sim.counters import (
    DROPPED_CONTROL,
    DROPPED_TAIL,
    FLUSHED,
    MARKED,
    PASSED_CONTROL,
    PASSED_DATA,
    TRIMMED,
)
from testbed.sim.engine import Callback, Schedule
from testbed.sim.frame import ECN_BITS, Frame
from testbed.sim.hazard import HazardPort
from topologies.numbers import TRIMMED_FRAME_BYTES, Dscp, PortThresholds

UNITS_PER_BYTE = 10**9


class EgressPort(HazardPort):
    """One egress of one switch. ``rate`` is byte/s, delays are emulated ns."""

    __slots__ = (
        "_busy_units",
        "_control_busy_units",
        "_control_limit_units",
        "_control_queue",
        "_data_queue",
        "_delay_ns",
        "_drop_units",
        "_ecn_max_bytes",
        "_ecn_min_bytes",
        "_hold_ns",
        "_is_waiting",
        "_rate",
        "_schedule",
        "_serve_callback",
        "_serving_units",
        "_trim_units",
        "_trimmed_dscp",
        "offer_callback",
    )  # fmt: skip

    def __init__(
        self,
        slot: int,
        run_seed: int,
        schedule: Schedule,
        drain_rate_bps: int,
        delay_ns: int,
        thresholds: PortThresholds,
        faces_host: bool,
    ) -> None:
        super().__init__(slot, run_seed)
        self._schedule = schedule
        self._rate = drain_rate_bps // 8  # whole bytes, as on the fabric
        self._delay_ns = delay_ns
        self._ecn_min_bytes = thresholds.ecn_min_bytes
        self._ecn_max_bytes = thresholds.ecn_max_bytes
        self._trim_units = thresholds.trim_bytes * UNITS_PER_BYTE
        self._drop_units = thresholds.drop_bytes * UNITS_PER_BYTE
        self._control_limit_units = thresholds.control_bytes * UNITS_PER_BYTE
        self._trimmed_dscp = Dscp.TRIMMED_LASTHOP if faces_host else Dscp.TRIMMED
        self._busy_units = 0  # where the wire stands when everything accepted is sent
        self._control_busy_units = 0  # the same for control alone
        self._serving_units = 0  # when the frame in service ends, while others wait
        self._is_waiting = False  # a service event is to come
        self._control_queue: deque[Frame] = deque()
        self._data_queue: deque[Frame] = deque()
        self._hold_ns: dict[int, int] = {}
        # Bound once: binding a method costs as much as a third of a hop's accounting.
        self._serve_callback: Callback = self._serve
        self.offer_callback: Callback = self.offer

    def offer(self, now: int, frame: Frame) -> None:
        """Judge a frame that is to leave here, and send it on if it passes.

        An idle port without faults passes everything, whatever its thresholds: that way
        is written out here, as it is the hop of nearly every frame. The next hop is
        scheduled at once, with no event in between.
        """
        number = self.offered_frames
        size = frame.size
        self.offered_frames = number + 1
        self.offered_bytes += size
        if self.hazard is not None or self.trace is not None:
            self._offer_watched(now, frame, number)
            return
        start = now * self._rate
        if self._busy_units > start or self._is_waiting:
            self._admit(now, frame, number)
            return
        self._busy_units = busy = start + size * UNITS_PER_BYTE
        if frame.is_control:
            self._control_busy_units = busy
            self.control_frames += 1
            self.control_bytes += size
            if size > self.control_max_bytes:
                self.control_max_bytes = size
        else:
            self.data_frames += 1
            self.data_bytes += size
            if size > self.data_max_bytes:
                self.data_max_bytes = size
        hold_ns = self._hold_ns.get(size) or self._learn_hold(size)
        frame.hop = hop = frame.hop + 1
        self._schedule(now + hold_ns, frame.route.steps[hop], frame)

    def flush(self) -> Tally:
        """Empty the queue, as carrier is lost; what is in service counts as sent.

        Returns what was lost with it.
        """
        before = self.tally(FLUSHED)
        for queue in (self._control_queue, self._data_queue):
            for frame in queue:
                self.count(FLUSHED, frame.size)
            queue.clear()
        if self._is_waiting:
            self._busy_units = self._serving_units
            self._control_busy_units = min(self._control_busy_units, self._serving_units)
        return self.tally(FLUSHED) - before

    def waiting_frames(self) -> int:
        """Frames in the queue, without the one in service."""
        return len(self._control_queue) + len(self._data_queue)

    def depths_bytes(self, now: int) -> tuple[int, int]:
        """(control, data) as a frame arriving now would find them."""
        control, data = self._depths(now * self._rate)
        return control // UNITS_PER_BYTE, data // UNITS_PER_BYTE

    # --- Judging ---------------------------------------------------------------------

    def _offer_watched(self, now: int, frame: Frame, number: int) -> None:
        """Judge with faults and trace."""
        header = frame.route.headers[frame.hop + 1]
        verdict = self.drop_cause(number, frame)
        if verdict is None:
            verdict = self._admit(now, frame, number)
            if verdict >= PASSED_CONTROL:
                self.corrupt(number, frame)
                if self.trace is not None:
                    self.trace.passed(now, self.slot, frame, header)
        if self.trace is not None:
            self.trace.judged(now, self.slot, verdict, frame)

    def _admit(self, now: int, frame: Frame, number: int) -> int:
        """Pass, mark, trim or drop by the depths found; the account it was booked under."""
        start = now * self._rate
        control, data = self._depths(start)
        if frame.is_control:
            return self._admit_control(start, frame, control)
        if self._trim_units and data >= self._trim_units and frame.is_trimmable:
            return self._admit_trimmed(start, frame, control)
        if data >= self._drop_units:
            self.count(DROPPED_TAIL, frame.size)
            return DROPPED_TAIL
        if frame.traffic_class & ECN_BITS and self._is_to_be_marked(data, number):
            frame.mark()
            self.count(MARKED, frame.size)
        size = frame.size
        self.data_frames += 1
        self.data_bytes += size
        depth = data // UNITS_PER_BYTE + size
        if depth > self.data_max_bytes:
            self.data_max_bytes = depth
        self._enqueue(start, frame, self._data_queue)
        return PASSED_DATA

    def _depths(self, start: int) -> tuple[int, int]:
        backlog = self._busy_units - start
        control = self._control_busy_units - start
        if control < 0:
            control = 0
        return control, (backlog - control if backlog > control else 0)

    def _admit_control(self, start: int, frame: Frame, control: int) -> int:
        size = frame.size
        if control >= self._control_limit_units:
            self.count(DROPPED_CONTROL, size)
            return DROPPED_CONTROL
        self.control_frames += 1
        self.control_bytes += size
        self._control_busy_units = start + control + size * UNITS_PER_BYTE
        depth = control // UNITS_PER_BYTE + size
        if depth > self.control_max_bytes:
            self.control_max_bytes = depth
        self._enqueue(start, frame, self._control_queue)
        return PASSED_CONTROL

    def _admit_trimmed(self, start: int, frame: Frame, control: int) -> int:
        if control >= self._control_limit_units:
            self.count(DROPPED_CONTROL, frame.size)  # dropped whole
            return DROPPED_CONTROL
        self.count(TRIMMED, frame.size - TRIMMED_FRAME_BYTES)
        frame.trim(self._trimmed_dscp)
        return self._admit_control(start, frame, control)

    def _is_to_be_marked(self, data: int, number: int) -> bool:
        """Never up to the lower depth, linear above it, always from the upper depth on."""
        depth = data // UNITS_PER_BYTE
        if not self._ecn_max_bytes or depth <= self._ecn_min_bytes:
            return False
        if depth >= self._ecn_max_bytes:
            return True
        share = draws.lower(draws.random_at(self.stream, 2 * number))
        span = self._ecn_max_bytes - self._ecn_min_bytes
        return share * span >> 32 < depth - self._ecn_min_bytes

    # --- Sending ---------------------------------------------------------------------

    def _enqueue(self, start: int, frame: Frame, queue: deque[Frame]) -> None:
        busy, cost = self._busy_units, frame.size * UNITS_PER_BYTE
        if self._is_waiting:
            self._busy_units = (busy if busy > start else start) + cost
            queue.append(frame)
        elif busy <= start:
            self._busy_units = start + cost
            self._depart(frame, start + cost)
        else:
            self._serving_units = busy
            self._busy_units = busy + cost
            self._is_waiting = True
            queue.append(frame)
            self._schedule(self._nearest_ns(busy), self._serve_callback, None)

    def _serve(self, now: int, _: None) -> None:
        """The frame in service has left: take up the next, control first."""
        queue = self._control_queue or self._data_queue
        if not queue:  # flushed meanwhile
            self._is_waiting = False
            return
        frame = queue.popleft()
        self._serving_units = end = self._serving_units + frame.size * UNITS_PER_BYTE
        if self._control_queue or self._data_queue:
            self._schedule(self._nearest_ns(end), self._serve_callback, None)
        else:
            self._is_waiting = False
        self._depart(frame, end)

    def _depart(self, frame: Frame, end: int) -> None:
        frame.hop = hop = frame.hop + 1
        at_ns = self._nearest_ns(end) + self._delay_ns
        self._schedule(at_ns, frame.route.steps[hop], frame)

    def _nearest_ns(self, units: int) -> int:
        return (units + (self._rate >> 1)) // self._rate

    def _learn_hold(self, size: int) -> int:
        """Serialisation and flight of a frame of this size on an idle port."""
        hold_ns = self._nearest_ns(size * UNITS_PER_BYTE) + self._delay_ns
        self._hold_ns[size] = hold_ns
        return hold_ns
