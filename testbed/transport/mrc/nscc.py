"""Congestion control of one QP: NSCC, "uet-1.0-nscc" (UET 1.0, 3.6.13; facts sheet 6).

Where RoCE paces a rate and waits for pauses or CNPs, MRC keeps a *window*: nominal bytes
sent and not yet accounted for may reach ``cwnd``. Bytes leave the window when the
responder's count of received bytes, in every SACK, moves on, or when a packet is declared
lost; which packet arrived over which path does not matter, so spraying does not disturb it.

Two signals steer the window. ECN, set when a packet leaves a queue, leads: it tells what
later packets will meet. Delay, RTT above the unloaded RTT, lags: it tells what this one
met. Table 8-1 joins them:

    =============  ==============================  ================================
    .              delay < target                  delay >= target
    =============  ==============================  ================================
    not marked     idle: grow with the distance    draining: grow alike for all
    marked         building: let the EVs react     standing: shrink by the excess
    =============  ==============================  ================================

Increases are collected (``inc_bytes``, bytes squared) and applied a few packets at a
time. After a trim, *quick adapt* sets the window to what one round trip delivered.

The last hop of an MRC fabric never marks, so there the table's lower right corner would be
out of reach and an incast would grow until it is trimmed. Late therefore counts as marked
(``is_late_marked``), which leaves the upper right corner, fair increase, unused; where the
last hop does mark, turn that off and the table is UET's.

Times are ns, sizes nominal bytes (spec 8.3.1). ``cwnd`` is always a float, everything
counted is an int; the same calls in the same order give the same floats everywhere.
"""

from __future__ import annotations

from testbed.transport.mrc.cc_config import CcConfig, max_cwnd_bytes
from testbed.transport.mrc.choices import (
    LAST_HOP_MARKS,
    SACK_THRESHOLD_BYTES,
    TIMESTAMP_TICK_NS,
)
from testbed.transport.mrc.congestion import CongestionControl

_DELAY_WEIGHT = 0.0125  # [34]
_DRAINING_SHARE = 0.25  # of base_rtt, in place of an unmarked sample above target
_PENALTY_SHIFT = 7


class Nscc(CongestionControl):
    """The window of UET 1.0 (facts sheet 6.4 to 6.6), one per QP ([31]).

    ``sack_threshold_bytes`` is what makes the responder send a SACK unasked: with a
    smaller window every packet asks. A delay below ``zero_delay_ns`` counts as none.
    MTU <= cwnd <= max_cwnd holds between calls.
    """

    __slots__ = (
        "achieved_bytes",
        "alpha",
        "bytes_ignored",
        "bytes_to_ignore",
        "config",
        "fi_count",
        "inc_bytes",
        "increase",
        "is_late_marked",
        "last_adjust_ns",
        "last_dec_ns",
        "qa_end_ns",
        "received_bytes",
        "saved_cwnd",
        "trigger_qa",
        "zero_delay_ns",
    )

    def __init__(
        self,
        config: CcConfig,
        sack_threshold_bytes: int = SACK_THRESHOLD_BYTES,
        zero_delay_ns: int = TIMESTAMP_TICK_NS,
        is_late_marked: bool = not LAST_HOP_MARKS,
    ) -> None:
        super().__init__(config.max_cwnd, config.base_rtt, config.mtu_bytes, sack_threshold_bytes)
        self.config = config
        self.alpha = config.alpha
        self.zero_delay_ns = zero_delay_ns
        self.is_late_marked = is_late_marked
        self.saved_cwnd = self.inc_bytes = 0.0
        self.received_bytes = self.achieved_bytes = self.fi_count = 0
        self.increase = self.trigger_qa = False
        self.bytes_to_ignore = self.bytes_ignored = 0
        self.qa_end_ns = self.last_adjust_ns = self.last_dec_ns = 0

    def on_sack(
        self,
        now: int,
        rcvd_bytes: int,
        marked: bool,
        rtt_ns: int | None,
        penalty: int,
        restore: bool,
        packets: int,
    ) -> None:
        """Facts sheet 6.4, SACK; without a usable RTT only the books and the penalty move."""
        newly = self._take_received(rcvd_bytes, packets)
        self.bytes_ignored += newly
        self.received_bytes += newly
        self.achieved_bytes += newly
        limited = (penalty > 0 or restore) and self._is_limited(penalty, restore, newly)
        if rtt_ns is None or rtt_ns <= 0:
            return
        if rtt_ns < self.base_rtt_ns:
            self._learn_base_rtt(rtt_ns)  # never in the steady state: worth the test
        delay_ns = rtt_ns - self.base_rtt_ns
        if self.is_late_marked and delay_ns >= self.config.target_delay:
            marked = True
        self._average_delay(delay_ns, marked)
        if self._quick_adapt(now, False, marked, delay_ns):
            return
        self._move_by_quadrant(now, newly, marked, delay_ns, limited)
        config = self.config
        if (
            self.received_bytes > config.adjust_bytes_threshold
            or now - self.last_adjust_ns >= config.adjust_period_threshold
        ):
            self._fulfil(now)

    def on_nack(self, now: int, size: int, is_trim: bool, rtt_ns: int | None) -> None:
        """Facts sheet 6.4, NACK: a trim takes its size off the window or starts quick adapt."""
        super().on_nack(now, size, is_trim, rtt_ns)
        if not is_trim:
            return
        self._average_delay(self.config.base_rtt, True)
        self.bytes_ignored += size
        self.trigger_qa = True
        if not self._quick_adapt(now, True, True, 0):
            self.cwnd = max(self.cwnd - size, float(self.mtu_bytes))

    def on_loss(self, size: int) -> None:
        """Facts sheet 6.4, inferred loss: the window shrinks by what is missing."""
        super().on_loss(size)
        self.bytes_ignored += size
        self.cwnd = max(self.cwnd - size, float(self.mtu_bytes))

    def _is_limited(self, penalty: int, restore: bool, newly: int) -> bool:
        """The responder's penalty (6.6): 64 over one RTT halves, 127 leaves about a packet."""
        if penalty > 0:
            if self.saved_cwnd == 0:
                self.saved_cwnd = self.cwnd
            cut = penalty * newly >> _PENALTY_SHIFT
            # In flight as it was before this SACK: without these bytes, each SACK would
            # take them off the window too, and any penalty would end at one packet.
            used = min(self.cwnd, float(self.inflight + newly))
            self.cwnd = max(used - cut, float(self.mtu_bytes))
            return True
        if restore and self.saved_cwnd > 0:
            self.cwnd = min(self.saved_cwnd, self.max_cwnd)
            self.saved_cwnd = 0.0
        return False

    def _learn_base_rtt(self, rtt_ns: int | None) -> None:
        """6.4 step 5: a smaller RTT, and the largest window that goes with it.

        Everything else stays as configured: the sheet names these two only, and a target
        that followed each QP's own path would let one QP starve another.
        """
        if rtt_ns is None or not 0 < rtt_ns < self.base_rtt_ns:
            return
        self.base_rtt_ns = rtt_ns
        limit = max_cwnd_bytes(self.config.speed_bps, rtt_ns, self.mtu_bytes)
        self.max_cwnd = min(self.max_cwnd, float(limit))
        self.cwnd = min(self.cwnd, self.max_cwnd)

    def _average_delay(self, delay_ns: int, marked: bool) -> None:
        """6.5 avg_delay: late but unmarked means the queue drains, so less is blended in."""
        sample = float(delay_ns)
        if not marked and delay_ns > self.config.target_delay:
            sample = _DRAINING_SHARE * self.base_rtt_ns
        self.avg_delay_ns += _DELAY_WEIGHT * (sample - self.avg_delay_ns)

    def _quick_adapt(self, now: int, is_loss: bool, marked: bool, delay_ns: int) -> bool:
        """6.5 quick_adapt: once a period, where little got through, take that as the window.

        True where the caller has to leave the window alone: after a hit, and for marks
        of packets sent before the last hit.
        """
        config = self.config
        if config.disable_qa:
            return False
        if marked and self.bytes_ignored < self.bytes_to_ignore:
            self._drop_increase()
            return True
        if now < self.qa_end_ns:
            return False
        is_hit = (
            self.qa_end_ns != 0
            and (self.trigger_qa or is_loss or delay_ns > config.qa_threshold)
            and self.achieved_bytes < int(self.max_cwnd) >> config.qa_gate
        )
        if is_hit:
            self.cwnd = float(max(self.achieved_bytes, self.mtu_bytes))
            self.bytes_to_ignore = self.inflight
            self.bytes_ignored = 0
            self.trigger_qa = False
            self._drop_increase()
        self.achieved_bytes = 0
        self.qa_end_ns = now + self.base_rtt_ns + config.target_delay
        return is_hit

    def _move_by_quadrant(
        self, now: int, newly: int, marked: bool, delay_ns: int, limited: bool
    ) -> None:
        """Table 8-1."""
        if delay_ns < self.config.target_delay:
            if not marked and not limited:
                self._proportional_increase(newly, delay_ns)
        elif marked:
            self._multiplicative_decrease(now)
        elif not limited:
            self._fair_increase(newly)

    def _fair_increase(self, newly: int) -> None:
        """The same for every QP, so that small windows catch up."""
        self.inc_bytes += self.config.fi * newly

    def _proportional_increase(self, newly: int, delay_ns: int) -> None:
        """The more, the further the delay is below its target."""
        self._fast_increase(newly, delay_ns)
        if not self.increase:
            self.inc_bytes += self.alpha * newly * (self.config.target_delay - delay_ns)

    def _fast_increase(self, newly: int, delay_ns: int) -> None:
        """Exponential growth once a whole window has met no queue at all."""
        if delay_ns >= self.zero_delay_ns:
            self._stop_fast_increase()
            return
        self.fi_count += newly
        if self.increase or self.fi_count > self.cwnd:
            self.cwnd = min(self.cwnd + newly * self.config.fi_scale, self.max_cwnd)
            self.increase = True

    def _multiplicative_decrease(self, now: int) -> None:
        """Once an RTT: shrink by gamma times the excess of the average delay."""
        self._stop_fast_increase()
        config = self.config
        average_ns = self.avg_delay_ns
        if average_ns > config.target_delay and now - self.last_dec_ns > self.base_rtt_ns:
            excess = (average_ns - config.target_delay) / average_ns
            factor = max(1 - config.gamma * excess, config.max_md_jump)
            self.cwnd = max(self.cwnd * factor, float(self.mtu_bytes))
            self.last_dec_ns = now

    def _fulfil(self, now: int) -> None:
        """Apply what the increases have collected; eta once a period, whatever happens."""
        config = self.config
        cwnd = self.cwnd + self.inc_bytes / self.cwnd
        if now - self.last_adjust_ns >= config.adjust_period_threshold:
            cwnd += config.eta
            self.last_adjust_ns = now
        self.cwnd = min(cwnd, self.max_cwnd)
        self._drop_increase()

    def _stop_fast_increase(self) -> None:
        self.fi_count = 0
        self.increase = False

    def _drop_increase(self) -> None:
        self.inc_bytes = 0.0
        self.received_bytes = 0
