"""From what a clock on this machine saw to the round trip of the emulated network."""

from __future__ import annotations


def links_crossed(hops_out: int, hops_back: int | None) -> int:
    """Links a probe and its answer crossed: one more than the switches, each way.

    `hops_back` is None for a self probe, whose way out is the whole way.
    """
    return hops_out + 1 + (0 if hops_back is None else hops_back + 1)


def emulated_rtt_ns(rtt_wall_ns: int, tdf: int, links: int, link_delay_ns: int) -> int:
    """Round trip time in emulated nanoseconds.

    `rtt_wall_ns` is kernel receive timestamp minus wall time at the send; `tdf`
    >= 1 the wall nanoseconds per emulated one; `links` from `links_crossed`;
    `link_delay_ns` the propagation delay of one link, emulated. Serialisation
    and queueing happened on the wire, k times stretched, and shrink with it;
    propagation does not happen there and is added (design 3). The machine's own
    transit time is still contained, divided by `tdf`.
    """
    return rtt_wall_ns // tdf + links * link_delay_ns
