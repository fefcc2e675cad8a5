"""The parameters of NSCC, by the names of the controller API (facts sheet 6.1, 7.5)."""

from __future__ import annotations

import math
from dataclasses import dataclass

QA_THRESHOLD_OFF_NS = (1 << 63) - 1

_NS_BITS = 8 * 10**9  # bits/s x ns per byte
_REFERENCE_BDP_BYTES = 150_000  # 100 Gb/s x 12 us, where scaling_a is 1
_REFERENCE_DELAY_NS = 12_000  # where scaling_b is 1
_DROP_BDPS = 4  # switches drop data at this many plane BDPs (design)


@dataclass(frozen=True, slots=True)
class CcConfig:
    """A CC profile: the names of the controller API (facts sheet 7.5), ns and bytes.

    ``speed_bps`` (the lower of the two NICs' total rates) and ``mtu_bytes`` (nominal
    size of a full packet) are what it was derived from and still needed. Raises
    ValueError with one sentence, on a line of its own, for each value out of range.
    """

    disable_qa: bool
    adjust_bytes_threshold: int  # bytes received after which increases are applied
    adjust_period_threshold: int  # ns after which they are
    base_rtt: int  # ns, unloaded
    eta: float  # bytes added in each adjust period
    fi: float  # bytes of fair increase
    fi_scale: float  # bytes of fast increase for each byte received
    gamma: float  # how much of the excess delay one decrease takes away
    max_md_jump: float  # least factor of one decrease
    max_cwnd: int  # bytes, also the window to begin with
    qa_gate: int  # right shift of max_cwnd: deliver less than that for quick adapt
    qa_threshold: int  # ns of delay that arm quick adapt without a trim
    target_delay: int  # ns of queueing
    speed_bps: int
    mtu_bytes: int

    def __post_init__(self) -> None:
        if faults := _faults(self):
            raise ValueError("\n".join(faults))

    @classmethod
    def defaults(
        cls, speed_bps: int, base_rtt_ns: int, mtu_bytes: int, trimming: bool = True
    ) -> CcConfig:
        """The values of facts sheet 6.1 for this speed, RTT and packet size.

        Without trimming, quick adapt is armed by a delay close to the one at which
        switches drop. A bandwidth-delay product below a packet leaves one packet.
        """
        scaling_a = speed_bps * base_rtt_ns / _NS_BITS / _REFERENCE_BDP_BYTES
        return cls(
            disable_qa=False,
            adjust_bytes_threshold=8 * mtu_bytes,
            adjust_period_threshold=base_rtt_ns,
            base_rtt=base_rtt_ns,
            eta=0.15 * mtu_bytes * scaling_a,
            fi=5 * mtu_bytes * scaling_a,
            fi_scale=0.25 * scaling_a,
            gamma=0.8,
            max_md_jump=0.5,
            max_cwnd=max_cwnd_bytes(speed_bps, base_rtt_ns, mtu_bytes),
            qa_gate=3,
            qa_threshold=QA_THRESHOLD_OFF_NS if trimming else (_DROP_BDPS - 1) * base_rtt_ns,
            target_delay=base_rtt_ns * 3 // 4 if trimming else base_rtt_ns,
            speed_bps=speed_bps,
            mtu_bytes=mtu_bytes,
        )

    @property
    def alpha(self) -> float:
        """Proportional increase in bytes per ns: 4 x scaling_a x scaling_b x MTU / target."""
        scaling_a = self.speed_bps * self.base_rtt / _NS_BITS / _REFERENCE_BDP_BYTES
        scaling_b = self.target_delay / _REFERENCE_DELAY_NS
        return 4 * scaling_a * scaling_b * self.mtu_bytes / self.target_delay


def max_cwnd_bytes(speed_bps: int, rtt_ns: int, mtu_bytes: int) -> int:
    """1.5 bandwidth-delay products, at least a packet."""
    return max(3 * speed_bps * rtt_ns // (2 * _NS_BITS), mtu_bytes)


def _faults(config: CcConfig) -> list[str]:
    """A sentence for every value out of range."""
    inf = math.inf
    ranges = (
        ("adjust_bytes_threshold", 0, inf, "bytes"),
        ("adjust_period_threshold", 0, inf, "ns"),
        ("base_rtt", 1, inf, "ns"),
        ("eta", 0, inf, "bytes"),
        ("fi", 0, inf, "bytes"),
        ("fi_scale", 0, inf, "bytes per byte"),
        ("gamma", 0, 1, "a share"),
        ("max_md_jump", 0, 1, "a factor"),
        ("max_cwnd", config.mtu_bytes, inf, "bytes, at least a packet"),
        ("qa_gate", 0, 63, "a shift"),
        ("qa_threshold", 0, inf, "ns"),
        ("target_delay", 1, inf, "ns"),
        ("speed_bps", 1, inf, "bit/s"),
        ("mtu_bytes", 1, inf, "bytes"),
    )
    found = []
    for name, least, most, unit in ranges:
        value = getattr(config, name)
        if not least <= value <= most or value == inf:  # a NaN is in no range
            upper = "" if most == inf else f" and at most {most}"
            found.append(f"{name} is {value} ({unit}): give at least {least}{upper}.")
    return found
