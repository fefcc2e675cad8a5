"""Where the public material leaves MRC open: each choice made here, once, with its reason.

Numbers in brackets are the rows of section 9 of the facts sheet this project works from;
"design" is its own design document. Code points shared with the switches (DSCP, ECN, UDP
port) are in :mod:`topologies.numbers`. All times are emulated ns, all sizes bytes.
"""

from __future__ import annotations

from topologies.numbers import UDP_PORT

# --- Wire ----------------------------------------------------------------------------
ACCEPTED_UDP_PORTS = frozenset({UDP_PORT, 4971})  # [1] send IANA's, accept both readings
P_KEY = 0xFFFF  # the default partition, as the public test bench sends
TIMESTAMP_TICK_NS = 128  # [7] tsr = 0; an arriving stamp is only echoed, so its tsr is moot
FIRST_MSN = 0  # [8]
FIRST_RQMSN = 0  # [8]; on every packet of a message with immediate, 0 without
FIRST_QPN = 3  # 0 and 1 are reserved as in InfiniBand, 2 is the endpoint QPN
ENDPOINT_QPN = 2
RCVD_BYTES_UNIT = 256
# Nominal size of a packet: UDP length plus an IPv6 header (spec 8.3.1).
NOMINAL_HEADER_BYTES = 40

# --- Responder -----------------------------------------------------------------------
SACK_THRESHOLD_BYTES = 16 * 1024  # [14] compared with >=
SACK_MIN_PACKET_BYTES = 1024  # what a shorter packet counts towards the threshold
SACK_BITMAP_BITS = 64  # [15] unaligned; the newest PSN in bit 63 where it does not fit
OOO_COUNT_LIMIT = 0x7FFF  # [16] saturates
PSN_RANGE_UNIT = 128  # MPR is in units of 128 PSNs
MAX_MPR = 32  # 4096 PSNs
MAX_WIMM_LIMIT = 0xFFFF
# [17], without a number: a Transport ACK for each BTH.a and each completed message, one for
# several where it still waits for its port; not each 16 KiB, which would complete nothing.

# --- Requester -----------------------------------------------------------------------
TIMEOUT_UNIT_NS = 1024  # spec: 1.024 us x 2^timeout, timeout 0..24
MAX_TIMEOUT_EXPONENT = 24  # [24] no interval is longer than 1.024 us x 2^24
RETRY_FOREVER = 25  # exp_cnt
DEFAULT_TIMEOUT = 6  # 65.5 us (design)
DEFAULT_LINEAR_COUNT = 7
DEFAULT_EXP_COUNT = 3
# A tail that stays silent this many base RTTs is asked about by a reliability probe.
TAIL_PROBE_BASE_RTTS = 2

# --- Congestion ----------------------------------------------------------------------
# UET's RTT probe in the control class at the start of a flow (facts sheet 6.7) is left out: the
# profile's base RTT is computed for full packets, which a short probe would undercut.
#
# The fabric's last hop never marks CE (facts sheet 4.18), and NSCC shrinks a window only for
# packets that are late *and* marked: in an incast nothing but trimming would stop it. So
# late counts as marked here; with True the quadrants are those of UET, word for word.
LAST_HOP_MARKS = False

# --- EVs -----------------------------------------------------------------------------
PROBE_INTERVAL_BASE_RTTS = 4  # [21] doubling with every unanswered probe
PROBE_INTERVAL_LIMIT_BASE_RTTS = 64
PROBE_SUCCESSES = 3  # [21] answers in a row
PROBE_SUCCESSES_LIMIT = 48  # doubles for an EV that relapses soon (design)
RELAPSE_BASE_RTTS = 64
SKIP_LIMIT_BASE_RTTS = 1  # [20] one rotation, at most this
PORT_LEAD_LIMIT = 8  # packets a port may be ahead of the one furthest behind
LEAVE_CHANCE = 0.7  # that a congested EV is left for a spare
LEAVE_PAUSE_BASE_RTTS = 8  # at most, before that is considered; the next time so much longer
LEAVE_PAUSE_GROWTH = 1.5
LEAVE_PAUSE_LIMIT_BASE_RTTS = 64
MIN_ACTIVE_SHARE = 4  # ev_min_active: at least a quarter of the EVs (design)
EV_PROBE_TIMEOUT_BASE_RTTS = 4  # an EV probe not answered by then is lost

# --- Port status ---------------------------------------------------------------------
# Row 38 says 8 tries. A peer cut off for longer would believe in an old mask for ever, so
# after 8 the interval doubles, and it ends with an answer or with the last QP to the peer.
PORT_UPDATE_INTERVAL_BASE_RTTS = 2
PORT_UPDATE_TRIES = 8
PORT_UPDATE_INTERVAL_LIMIT_BASE_RTTS = 64

# --- Scheduling ----------------------------------------------------------------------
# Deficit round robin between QPs that can send (facts sheet 4.19 says only "fair"): a full
# 4096-byte write without its Ethernet header.
QUANTUM_BYTES = 4224
