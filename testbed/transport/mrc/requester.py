"""The sending half of a QP: messages out, SACKs in, exactly what is missing sent again.

Three ways in besides :meth:`Requester.post`: an answer of the peer, a deadline, and a free
port. Each packet picks its EV the moment a port is free, not when it is queued (spec
GetSendParams). Order of service: reliability probe, request for a lost Transport ACK,
retransmissions, new data (facts sheet 4.3).

When the peer falls silent :mod:`.silence` says what to do: ask, or give a packet up.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from testbed.transport.mrc.choices import (
    FIRST_MSN,
    FIRST_RQMSN,
    MAX_MPR,
    PSN_RANGE_UNIT,
    RCVD_BYTES_UNIT,
    SACK_BITMAP_BITS,
)
from testbed.transport.mrc.clock import WRAP_NS, age_ns, timestamp
from testbed.transport.mrc.completion import WcStatus
from testbed.transport.mrc.notes import LossCause, LostPacket
from testbed.transport.mrc.outgoing import Outgoing
from testbed.transport.mrc.reliability.loss import Shown
from testbed.transport.mrc.reliability.outstanding import ACKED, IN_FLIGHT, Packet, SendWindow
from testbed.transport.mrc.serial import RCVD_BYTES_BITS, expand
from testbed.transport.mrc.silence import Due, Silence
from testbed.transport.mrc.wire.codes import NackReason, PathMark
from testbed.transport.mrc.wire.packets import Nack, Sack
from topologies.numbers import IMMDT_BYTES

if TYPE_CHECKING:
    from testbed.transport.mrc.congestion import CongestionControl
    from testbed.transport.mrc.ev.pathset import PathSet
    from testbed.transport.mrc.ev.reverse import ReverseSet
    from testbed.transport.mrc.messages import Message
    from testbed.transport.mrc.reliability.loss import LossDetector
    from testbed.transport.mrc.reliability.retry import RetrySchedule

# Plain integers: comparing enum members costs more than what surrounds it.
_SKIP_ONCE, _ALWAYS_SKIP = int(PathMark.SKIP_ONCE), int(PathMark.ALWAYS_SKIP)
_MARKS = frozenset({_SKIP_ONCE, _ALWAYS_SKIP})  # 3 is reserved: ignored
_TRIMMED, _TRIMMED_LASTHOP = int(NackReason.TRIMMED), int(NackReason.TRIMMED_LASTHOP)
_UNEXPECTED = int(NackReason.UNEXP_EVENT)

_MAX_PROBES = 16

Sent = tuple[int, bytes]


class RequesterCounters:
    """What a requester did, in packets; the causes of retransmission add up to ``resent``.

    ``acked_bytes`` is payload, acknowledged for the first time.
    """

    __slots__ = ("acked_bytes", "found", "lost_by_evidence", "lost_by_nack", "lost_by_timer",
                 "probes", "resent", "sent", "sent_bytes", "solicited", "spurious",
                 "timeouts")  # fmt: skip

    def __init__(self) -> None:
        self.sent = self.sent_bytes = self.acked_bytes = self.resent = 0
        self.lost_by_nack = self.lost_by_evidence = self.lost_by_timer = 0
        self.found = self.spurious = self.solicited = self.probes = self.timeouts = 0


class Requester:
    """One QP's send queue.

    ``path_mtu``: the payload of a full packet in bytes, a multiple of 4.
    ``source``, ``destination``: inner addresses, 16 bytes. ``nominal_overhead_bytes``:
    what a write's nominal size is above its payload (spec 8.3.1). ``mpr`` in units of 128
    PSNs; ``max_wimm``: immediates in flight at once. ``can_trim``: the peer answers trimmed
    packets with a NACK, otherwise data goes out as NO_TRIM (facts sheet 4.17).
    ``losses``: a list that whoever records has hung up for verdicts of loss, else None.
    """

    __slots__ = (
        "_allocated_psn", "_is_mpr_dynamic", "_max_wimm", "_msn", "_outgoing",
        "_overhead_bytes", "_path_mtu", "_probe_id", "_probe_pending", "_probes",
        "_range_psns", "_received", "_rqmsn", "_solicit_pending", "_unreported", "_unsent",
        "_wimm_in_flight", "cc", "completed", "counters", "error", "loss", "losses",
        "messages", "paths", "retry", "reverse", "silence", "window",
    )  # fmt: skip

    def __init__(
        self, *, source: bytes, destination: bytes, qpn: int, peer_qpn: int, first_psn: int,
        path_mtu: int, nominal_overhead_bytes: int, mpr: int, max_wimm: int, can_trim: bool,
        is_mpr_dynamic: bool, paths: PathSet, cc: CongestionControl, loss: LossDetector,
        retry: RetrySchedule, reverse: ReverseSet,
    ) -> None:  # fmt: skip
        self.window = SendWindow(first_psn)
        self.messages: deque[Message] = deque()  # posted, not completed, in order
        self.completed: deque[Message] = deque()  # taken by the QP
        self.error: WcStatus | None = None
        self.counters = RequesterCounters()
        self.losses: list[LostPacket] | None = None
        self.paths, self.cc, self.loss, self.retry = paths, cc, loss, retry
        self.reverse = reverse
        self.silence = Silence(cc.base_rtt_ns, retry)
        self._outgoing = Outgoing(source, destination, qpn, peer_qpn, can_trim)
        self._path_mtu = path_mtu
        self._overhead_bytes = nominal_overhead_bytes
        self._range_psns = mpr * PSN_RANGE_UNIT
        self._is_mpr_dynamic = is_mpr_dynamic
        self._max_wimm = max_wimm
        self._wimm_in_flight = 0
        self._unsent: deque[Message] = deque()  # posted, not wholly sent
        self._allocated_psn = first_psn
        self._msn, self._rqmsn = FIRST_MSN, FIRST_RQMSN
        self._probe_pending = False
        self._probes: dict[int, int] = {}  # id -> when it was sent
        self._probe_id = 0
        self._solicit_pending = False
        self._received = 0  # the newest rcvd_bytes, unwrapped
        self._unreported = 0  # packets a Transport ACK covered before any SACK did

    # --- posting -------------------------------------------------------------------

    def post(self, message: Message, now_ns: int) -> None:
        """Queue a write; PSNs, MSN and RQMSN are given to it here."""
        self._allocated_psn = message.number(
            self._msn, self._rqmsn if message.imm is not None else 0, self._allocated_psn,
            self._path_mtu,
        )  # fmt: skip
        self._msn += 1
        if message.imm is not None:
            self._rqmsn += 1
        if not self.messages:
            self.silence.restart(now_ns)
            self.silence.on_heard(now_ns)
        self.messages.append(message)
        self._unsent.append(message)
        packets = message.last_psn - message.first_psn + 1
        size = -(-message.length // 4) * 4 + packets * self._overhead_bytes
        self.cc.on_queued(size if message.imm is None else size + IMMDT_BYTES)

    # --- sending -------------------------------------------------------------------

    @property
    def has_work(self) -> bool:
        """True where something could leave if a port of a good path were free."""
        if self.error:
            return False
        if self._probe_pending or self._solicit_pending:
            return True
        return self.cc.can_send() and (
            self.window.next_lost() is not None or self._next_message() is not None
        )

    @property
    def srtt_ns(self) -> int:
        """The smoothed round trip."""
        return self.silence.srtt_ns

    def transmit(self, now_ns: int, free_ports: int) -> Sent | None:
        """The next packet that may leave on one of these ports: (port, datagram), or None."""
        if not free_ports & self.paths.usable_ports or self.error:
            return None
        if self._probe_pending:
            return self._send_probe(now_ns, free_ports)
        if self._solicit_pending:
            return self._send_solicitation(now_ns, free_ports)
        if not self.cc.can_send():
            return None
        if self.window.lost:
            packet = self.window.next_lost()
            sent = None if packet is None else self._send_again(packet, now_ns, free_ports)
            if sent is not None:
                return sent
        message = self._next_message()
        return None if message is None else self._send_new(message, now_ns, free_ports)

    def _next_message(self) -> Message | None:
        """What new data is of, None where PSN window or limit of immediates forbid it."""
        unsent, window = self._unsent, self.window
        psn = window.next_psn
        if not unsent or psn - window.first_psn + 1 >= self._range_psns:
            return None
        message = unsent[0]
        if message.imm is None or psn != message.first_psn:
            return message
        return message if self._wimm_in_flight < self._max_wimm else None

    def _send_new(self, message: Message, now_ns: int, free_ports: int) -> Sent | None:
        entry = self.paths.choose(free_ports, now_ns)
        if entry is None:
            return None
        window, length = self.window, self._path_mtu
        psn = window.next_psn
        offset = (psn - message.first_psn) * length
        is_last = psn == message.last_psn
        if is_last:
            length = message.length - offset
            self._unsent.popleft()
        size = (length + 3 & ~3) + self._overhead_bytes
        if message.imm is not None:
            if is_last:
                size += IMMDT_BYTES
            if not offset:
                self._wimm_in_flight += 1
        packet = Packet(psn, message, offset, length, size, entry)
        window.add(packet)
        self.counters.sent += 1
        self._note_sent(packet, now_ns)
        ask = self.cc.on_sent(size, False) or is_last
        return entry.port, self._outgoing.write(
            message, psn, offset, length, entry, now_ns, ask, False
        )

    def _send_again(self, packet: Packet, now_ns: int, free_ports: int) -> Sent | None:
        entry = self.paths.choose(free_ports, now_ns, packet.entry)
        if entry is None:
            return None
        packet.entry = entry
        self.window.resend(packet)
        self.cc.on_sent(packet.size_bytes, True)
        self.counters.resent += 1
        self._note_sent(packet, now_ns)
        return entry.port, self._outgoing.write(
            packet.message, packet.psn, packet.offset, packet.length, entry, now_ns, False, True
        )

    def _note_sent(self, packet: Packet, now_ns: int) -> None:
        """One transmission in the books of loss, of the way back, and of silence."""
        self.counters.sent_bytes += packet.size_bytes
        packet.entry.sent += 1
        self.loss.on_sent(packet, now_ns)
        if self.reverse.probe_at_ns is not None:
            self.reverse.on_data_sent(now_ns)
        self.silence.sent_at_ns = now_ns

    def _send_probe(self, now_ns: int, free_ports: int) -> Sent | None:
        entry = self.paths.choose_for_question(free_ports)
        if entry is None:
            return None
        self._probe_pending = False
        self._probe_id = probe_id = self._probe_id + 1 & 0xFFFF
        if len(self._probes) >= _MAX_PROBES:
            del self._probes[next(iter(self._probes))]
        self._probes[probe_id] = now_ns
        self.counters.probes += 1
        self.silence.sent_at_ns = now_ns
        return entry.port, self._outgoing.probe(probe_id, entry, now_ns)

    def _send_solicitation(self, now_ns: int, free_ports: int) -> Sent | None:
        """Send the last packet of what was acknowledged again: a duplicate is answered.

        Every packet of it has arrived, only the Transport ACK is missing (facts sheet 4.4:
        duplicates below the edge are answered with a Transport ACK). Outside the books of
        congestion control, as duplicates are not in rcvd_bytes.
        """
        message = self._last_acknowledged()
        self._solicit_pending = False
        if message is None:
            return None
        entry = self.paths.choose_for_question(free_ports)
        if entry is None:
            self._solicit_pending = True
            return None
        self.counters.solicited += 1
        self.silence.sent_at_ns = now_ns
        offset = (message.last_psn - message.first_psn) * self._path_mtu
        return entry.port, self._outgoing.write(
            message, message.last_psn, offset, message.length - offset, entry, now_ns, True, True
        )

    def _last_acknowledged(self) -> Message | None:
        """The newest message all of whose packets are acknowledged but not itself."""
        found = None
        for message in self.messages:
            if message.last_psn >= self.window.first_psn:
                break
            found = message
        return found

    # --- answers of the peer -------------------------------------------------------

    def on_sack(self, sack: Sack, now_ns: int) -> None:
        """Take in a SACK: acknowledgements, EV marks, congestion signals, proofs of loss."""
        window = self.window
        cack = expand(sack.cack_psn, window.first_psn - 1)
        if cack >= window.next_psn or self.error:
            return  # acknowledges what was never sent
        # An older SACK's count stays behind the newest.
        made = expand(sack.rcvd_bytes, self._received, RCVD_BYTES_BITS)
        if made * RCVD_BYTES_UNIT > self.counters.sent_bytes + RCVD_BYTES_UNIT:
            return  # counts more than was ever sent
        is_newest = made >= self._received
        if is_newest:
            self._received = made
        ack_psn = None if sack.pr else min(cack + sack.ack_psn_offset, window.next_psn)
        trigger = None if ack_psn is None else window.packets.get(ack_psn)
        answered = trigger if trigger is not None and _is_latest(trigger, sack) else None
        before = window.first_psn
        newly = window.acknowledge(cack, cack + sack.sack_offset, sack.sack_bitmap, ack_psn)
        self._note_acknowledged(newly, trigger if answered is None else None, sack)
        if answered is not None:
            self.reverse.on_forward_confirmed(answered.entry)
        rtt_ns = self._sample(answered, sack, now_ns)
        if answered is not None and rtt_ns is not None:
            answered.entry.rtt_ns = rtt_ns
        marked = sack.m in _MARKS
        if marked:
            self._on_marked(sack, now_ns)
        self.cc.on_sack(
            now_ns, sack.rcvd_bytes, marked, rtt_ns, sack.rcv_cwnd_pen, sack.r_c,
            len(newly) + self._unreported,
        )  # fmt: skip
        self._unreported = 0
        if sack.mpr and self._is_mpr_dynamic and is_newest:
            self._range_psns = min(sack.mpr, MAX_MPR) * PSN_RANGE_UNIT
        if newly:
            self.loss.on_acknowledged(newly, answered, ~self.paths.live_ports, made)
        if sack.pr:
            self._on_probe_answered(sack, marked, made, now_ns)
        if self.loss.has_suspects:
            base = cack + sack.sack_offset
            lost = self.loss.verdicts(Shown(cack + 1, base, base + SACK_BITMAP_BITS - 1, made))
            self.counters.lost_by_evidence += len(lost)
            self._lose_all(lost, now_ns, "evidence")
        self.silence.on_heard(now_ns)
        if window.first_psn > before:
            self.silence.on_progress(now_ns)

    def on_nack(self, nack: Nack, now_ns: int) -> None:
        """A packet was refused: send it again; what else follows depends on the reason."""
        if self.error:
            return
        if nack.nack_reason == _UNEXPECTED:
            self.error = WcStatus.REMOTE_OPERATION_ERROR
            return
        self.silence.on_heard(now_ns)
        packet = self.window.packets.get(expand(nack.nack_psn, self.window.first_psn))
        if packet is None or packet.state != IN_FLIGHT:
            return
        is_unstamped = nack.tx_timestamp == 0 and packet.tries == 1  # cut before TSETH
        if not _is_latest(packet, nack) and not (
            is_unstamped and packet.entry.ev == nack.entropy
        ):
            return  # an earlier transmission was meant
        is_trim = nack.nack_reason in (_TRIMMED, _TRIMMED_LASTHOP)
        # No RTT sample: a packet cut on its way is faster than any whole one could be.
        self.cc.on_nack(now_ns, packet.size_bytes, is_trim, None)
        self.window.lose(packet)
        self.counters.lost_by_nack += 1
        self._note_lost(packet, now_ns, "nack")
        if nack.nack_reason == _TRIMMED:
            self.paths.on_trimmed(packet.entry.ev, now_ns)

    def on_transport_ack(self, psn: int, now_ns: int) -> None:
        """Complete the messages up to this PSN (24 bits), in order (facts sheet 4.1, 8.4)."""
        window = self.window
        cack = expand(psn, window.first_psn - 1)
        if cack >= window.next_psn or self.error:
            return
        is_progress = cack >= window.first_psn
        if is_progress:  # its SACK was lost or is late
            newly = window.acknowledge(cack, cack + 1, 0)
            self._note_acknowledged(newly, None, None)
            self._unreported += len(newly)
        while self.messages and self.messages[0].last_psn <= cack:
            message = self.messages.popleft()
            if message.imm is not None:
                self._wimm_in_flight -= 1
            self.completed.append(message)
            is_progress = True
        self.silence.on_heard(now_ns)
        if is_progress:
            self.silence.on_progress(now_ns)
            if self._solicit_pending and self._last_acknowledged() is None:
                self._solicit_pending = False

    def on_transport_nak(self, status: WcStatus) -> None:
        """The peer refused a message for good."""
        self.error = self.error or status

    def _note_acknowledged(
        self, newly: list[Packet], ambiguous: Packet | None, sack: Sack | None
    ) -> None:
        """Books of what just arrived for the first time."""
        on_acked, acked_bytes = self.paths.on_acked, 0
        for packet in newly:
            acked_bytes += packet.length
            if packet.state == IN_FLIGHT:
                if packet.tries == 1:
                    on_acked(packet.entry)
            else:  # counted as gone, and here it is
                self.cc.on_found(packet.size_bytes)
                self.counters.found += 1
                self._on_spurious()
            packet.state = ACKED
        self.counters.acked_bytes += acked_bytes
        if ambiguous is not None and sack is not None and ambiguous.tries > 1:
            # The trigger is an earlier transmission than the latest: that one was not lost.
            self._on_spurious()

    def _on_spurious(self) -> None:
        self.counters.spurious += 1
        self.loss.on_spurious()

    def _sample(self, answered: Packet | None, sack: Sack, now_ns: int) -> int | None:
        """The round trip of the packet that triggered the SACK, None where it is unclear."""
        if sack.pr:
            probed_at_ns = self._probes.get(sack.probe_id)
            if probed_at_ns is None or timestamp(probed_at_ns) != sack.tx_timestamp:
                return None
            sent_at_ns = probed_at_ns
        elif answered is None or answered.tries > 2:
            return None
        else:
            sent_at_ns = answered.sent_at_ns
        if now_ns - sent_at_ns >= WRAP_NS:
            return None  # the time stamp has wrapped (facts sheet 2.4)
        rtt_ns = age_ns(now_ns, sack.tx_timestamp)
        self.silence.on_rtt(rtt_ns, self.cc.base_rtt_ns)
        if answered is None or answered.length < self._path_mtu:
            # Short packets save serialisation: they can show a queue, but not the base RTT.
            return max(rtt_ns, self.cc.base_rtt_ns)
        return rtt_ns

    def _on_marked(self, sack: Sack, now_ns: int) -> None:
        if sack.m == _SKIP_ONCE:
            self.paths.on_marked(sack.entropy, now_ns)
        elif sack.m == _ALWAYS_SKIP:
            self.paths.on_always_skip(sack.entropy, now_ns)

    def _on_probe_answered(self, sack: Sack, marked: bool, made: int, now_ns: int) -> None:
        sent_at_ns = self._probes.pop(sack.probe_id, None)
        if sent_at_ns is None:
            return
        self.paths.on_probe_answered(sack.entropy, now_ns, marked)
        missing = list(self.window.packets.values())
        self.loss.on_probe_answered(sent_at_ns, missing, made)
        if not missing and self._last_acknowledged() is not None:
            self._solicit_pending = True

    def _lose_all(self, lost: list[Packet], now_ns: int, cause: LossCause) -> None:
        """Verdicts: send these again, and hold their loss against EV and window."""
        for packet in lost:
            self._note_lost(packet, now_ns, cause)
            self.window.lose(packet)
            self.cc.on_loss(packet.size_bytes)
            self.paths.on_loss_inferred(packet.entry.ev, now_ns)

    def _note_lost(self, packet: Packet, now_ns: int, cause: LossCause) -> None:
        if self.losses is not None:
            entry = packet.entry
            self.losses.append(LostPacket(
                now_ns, packet.sent_at_ns, packet.psn, entry.ev, entry.port, cause))

    # --- time ----------------------------------------------------------------------

    def next_deadline(self) -> int | None:
        """When :meth:`on_deadline` wants to be called, ns; None while nothing is posted."""
        if not self.messages or self.error:
            return None
        return self.silence.next_at_ns()

    def on_deadline(self, now_ns: int) -> None:
        """Act on what is due: ask about a silent tail, or count a timeout."""
        if not self.messages or self.error:
            return
        due = self.silence.due(now_ns)
        if due is Due.TIMEOUT:
            self._on_timeout(now_ns)
        elif due is Due.QUESTION:
            self._ask()

    def _on_timeout(self, now_ns: int) -> None:
        """Section 4.9: the oldest packet is lost, its EV is to blame, a probe goes out."""
        if self._waits_its_turn:
            self.silence.restart(now_ns)
            return
        self.counters.timeouts += 1
        if not self.retry.on_expired():
            self.error = WcStatus.RETRY_EXCEEDED
            return
        oldest = self.window.oldest
        if (
            oldest is not None
            and oldest.state == IN_FLIGHT
            # Sent again a moment ago for another reason: the retry counts, the loss not yet.
            and now_ns - oldest.sent_at_ns >= self.silence.patience_ns
        ):
            self.counters.lost_by_timer += 1
            self._lose_all([oldest], now_ns, "timer")
        self._ask()
        self.silence.restart(now_ns)

    @property
    def _waits_its_turn(self) -> bool:
        """True where the peer owes nothing: other QPs have used the ports so far."""
        is_able = bool(self.paths.usable_ports) and self.cc.can_send()
        return is_able and not self.window.packets and self._last_acknowledged() is None

    def _ask(self) -> None:
        """Get an answer: for a Transport ACK where only that is missing, else by a probe."""
        if not self.window.packets and self._last_acknowledged() is not None:
            self._solicit_pending = True
        else:
            self._probe_pending = True


def _is_latest(packet: Packet, answer: Sack | Nack) -> bool:
    """Does this answer speak of the packet's latest transmission? (facts sheet 6.3.3)"""
    return (
        packet.entry.ev == answer.entropy
        and timestamp(packet.sent_at_ns) == answer.tx_timestamp
    )
