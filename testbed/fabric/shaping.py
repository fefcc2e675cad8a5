"""Qdiscs and filters of the ports, and what the kernel counted behind them.

A shaped port (of a switch) has, from the outside in: the port program on clsact
egress, an HTB class that drains at the port's rate, and two leaves, control before
data. The leaves' own rate is a guarantee, so it is next to nothing: two leaves at
the port's rate would together send twice as fast. The leaf queues never fill: the
program's virtual queues drop first.

    1:  htb
    +-- 1:1   rate = ceil = drain rate
        +-- 1:10  control, prio 0, bfifo 10:
        +-- 1:20  data,    prio 1, bfifo 20:

An unshaped port (of a NIC) has the program only.

Every function takes an `IPRoute` that was opened in the namespace of the
interfaces. A port is set up by one batch of messages in one system call, with
options encoded here and not by pyroute2's own HTB encoder, which computes two
rate tables per class that the kernel has ignored since Linux 3.8.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from socket import htons
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink import NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, nla
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl import RTM_NEWQDISC, RTM_NEWTCLASS, RTM_NEWTFILTER
from pyroute2.netlink.rtnl.tcmsg import tcmsg

from testbed.errors import TestbedError
from testbed.fabric.bpf import CLASS_CONTROL, CLASS_DATA, PROGRAM_NAME
from testbed.metrics.ports import Tally

# What may leave at once after a pause: lets a timer catch up that fires late by so much, and
# no more, for frames that should follow each other must not leave together.
BURST_NS = 1_000_000
MAX_BURST_BYTES = 10_240
# What HTB guarantees a leaf is sent out of turn and before the port has room: at 8 kbit/s
# with the port's burst, 10 KB of control frames left at once (measured). One byte per
# second is the least HTB knows, and leaves every frame in its turn.
LEAF_GUARANTEE_BPS = 8
LEAF_BURST_BYTES = 1
QUANTUM_BYTES = 9_000  # the link MTU
QUEUE_LIMIT_BYTES = 256 << 20  # never reached; the program drops first

_ROOT = 0xFFFF_FFFF
_HTB = 0x0001_0000
_PORT_CLASS = 0x0001_0001
_CLSACT_PARENT = 0xFFFF_FFF1
_CLSACT = 0xFFFF_0000
_EGRESS = 0xFFFF_FFF3
_ETH_P_ALL = 3
_HTB_VERSION = 3
_LINK_LAYER_ETHERNET = 1
_DIRECT_ACTION = 1
_NS_PER_TICK = 64  # of HTB's buffer fields (PSCHED_SHIFT)
_STATS_LINK_64 = 1  # filter mask of RTM_GETSTATS


# --- Messages ------------------------------------------------------------------------


class _HtbOptions(nla):
    """TCA_OPTIONS of kind htb: the qdisc's or a class's (linux/pkt_sched.h).

    pyroute2 finds the inner classes by the names in ``nla_map``.
    """

    nla_map = (
        ("TCA_HTB_UNSPEC", "none"),
        ("TCA_HTB_PARMS", "parms"),
        ("TCA_HTB_INIT", "init"),
    )

    class init(nla):
        fields = (
            ("version", "I"), ("rate2quantum", "I"), ("defcls", "I"), ("debug", "I"),
            ("direct_pkts", "I"),
        )  # fmt: skip

    class parms(nla):
        fields = (
            ("rate_cell_log", "B"), ("rate_linklayer", "B"), ("rate_overhead", "H"),
            ("rate_cell_align", "h"), ("rate_mpu", "H"), ("rate", "I"),
            ("ceil_cell_log", "B"), ("ceil_linklayer", "B"), ("ceil_overhead", "H"),
            ("ceil_cell_align", "h"), ("ceil_mpu", "H"), ("ceil", "I"),
            ("buffer", "I"), ("cbuffer", "I"), ("quantum", "I"), ("level", "I"),
            ("prio", "I"),
        )  # fmt: skip


class _FifoOptions(nla):
    fields = (("limit", "I"),)


class _BpfOptions(nla):
    nla_map = (
        (6, "TCA_BPF_FD", "uint32"),
        (7, "TCA_BPF_NAME", "asciiz"),
        (8, "TCA_BPF_FLAGS", "uint32"),
    )


_OPTIONS: dict[str, type[nla]] = {
    "htb": _HtbOptions,
    "bfifo": _FifoOptions,
    "bpf": _BpfOptions,
}


class _TrafficControl(tcmsg):
    """A tc message whose options are encoded by the classes above."""

    @staticmethod
    def get_options(self: tcmsg, *_: Any, **__: Any) -> type[nla]:
        return _OPTIONS[self.get_attr("TCA_KIND")]


def _message(
    message_type: int,
    ifindex: int,
    kind: str,
    *,
    handle: int,
    parent: int,
    options: dict[str, Any] | None = None,
    info: int = 0,
    is_new: bool = True,
) -> tcmsg:
    message = _TrafficControl()
    message["index"] = ifindex
    message["handle"] = handle
    message["parent"] = parent
    message["info"] = info
    message["attrs"] = [("TCA_KIND", kind)]
    if options is not None:
        message["attrs"].append(("TCA_OPTIONS", options))
    message["header"]["type"] = message_type
    message["header"]["flags"] = NLM_F_REQUEST | NLM_F_ACK
    if is_new:
        message["header"]["flags"] |= NLM_F_CREATE | NLM_F_EXCL
    return message


def _ticks(size_bytes: int, bytes_per_s: int) -> int:
    """Time to send so much, in ticks, within the 32 bits of the field."""
    return min(size_bytes * 10**9 // (bytes_per_s * _NS_PER_TICK), 0xFFFF_FFFF)


def burst_bytes(drain_rate_bps: int) -> int:
    """What a port of this rate lets go at once after a pause, but for the frame it begins with."""
    return min(MAX_BURST_BYTES, drain_rate_bps * BURST_NS // (8 * 10**9))


def _class(ifindex: int, handle: int, parent: int, *, rate_bps: int, ceil_bps: int,
           burst: int, prio: int, is_new: bool) -> tcmsg:  # fmt: skip
    rate, ceil = rate_bps // 8, ceil_bps // 8
    parms = {
        "rate": rate,
        "rate_linklayer": _LINK_LAYER_ETHERNET,
        "ceil": ceil,
        "ceil_linklayer": _LINK_LAYER_ETHERNET,
        "buffer": _ticks(burst, rate),
        "cbuffer": _ticks(burst_bytes(ceil_bps), ceil),
        "quantum": QUANTUM_BYTES,
        "prio": prio,
    }
    options = {"attrs": [("TCA_HTB_PARMS", parms)]}
    return _message(RTM_NEWTCLASS, ifindex, "htb", handle=handle, parent=parent,
                    options=options, is_new=is_new)  # fmt: skip


def _classes(ifindex: int, drain_rate_bps: int, *, is_new: bool) -> list[tcmsg]:
    port = _class(ifindex, _PORT_CLASS, _HTB, rate_bps=drain_rate_bps,
                  ceil_bps=drain_rate_bps, burst=burst_bytes(drain_rate_bps), prio=0,
                  is_new=is_new)  # fmt: skip
    leaves = [
        _class(ifindex, handle, _PORT_CLASS, rate_bps=LEAF_GUARANTEE_BPS,
               ceil_bps=drain_rate_bps, burst=LEAF_BURST_BYTES, prio=prio,
               is_new=is_new)
        for prio, handle in enumerate((CLASS_CONTROL, CLASS_DATA))
    ]  # fmt: skip
    return [port, *leaves]


def _queues(ifindex: int, drain_rate_bps: int) -> list[tcmsg]:
    glob = {"version": _HTB_VERSION, "rate2quantum": 10, "defcls": CLASS_DATA & 0xFFFF}
    root = _message(RTM_NEWQDISC, ifindex, "htb", handle=_HTB, parent=_ROOT,
                    options={"attrs": [("TCA_HTB_INIT", glob)]})  # fmt: skip
    fifos = [
        _message(RTM_NEWQDISC, ifindex, "bfifo", handle=(leaf & 0xFFFF) << 16, parent=leaf,
                 options={"limit": QUEUE_LIMIT_BYTES})
        for leaf in (CLASS_CONTROL, CLASS_DATA)
    ]  # fmt: skip
    return [root, *_classes(ifindex, drain_rate_bps, is_new=True), *fifos]


def _program(ifindex: int, program_fd: int) -> list[tcmsg]:
    attributes = [
        ("TCA_BPF_FD", program_fd),
        ("TCA_BPF_NAME", PROGRAM_NAME),
        ("TCA_BPF_FLAGS", _DIRECT_ACTION),
    ]
    return [
        _message(RTM_NEWQDISC, ifindex, "clsact", handle=_CLSACT, parent=_CLSACT_PARENT),
        _message(RTM_NEWTFILTER, ifindex, "bpf", handle=1, parent=_EGRESS,
                 options={"attrs": attributes}, info=1 << 16 | htons(_ETH_P_ALL)),
    ]  # fmt: skip


def _send(ipr: IPRoute, ifindex: int, what: str, messages: Sequence[tcmsg]) -> None:
    try:
        ipr.nlm_request_batch(messages)
    except NetlinkError as error:
        raise TestbedError(
            f"{what} of interface {ifindex} was refused: {error.args[-1]}; "
            "is the interface there and not set up yet?"
        ) from error


# --- Setting up and changing ---------------------------------------------------------


def attach(ipr: IPRoute, ifindex: int, drain_rate_bps: int, program_fd: int) -> None:
    """Make an interface a shaped port: queues first, then the program that feeds them.

    ``drain_rate_bps`` is wall-clock bit/s, 8 to 34e9, used to the whole byte per second;
    the same value belongs in the port's `PortConfig`. Raises `TestbedError`.
    """
    _check_rate(drain_rate_bps)
    messages = [*_queues(ifindex, drain_rate_bps), *_program(ifindex, program_fd)]
    _send(ipr, ifindex, "port set-up", messages)


def attach_unshaped(ipr: IPRoute, ifindex: int, program_fd: int) -> None:
    """Put the program on an interface without queues: faults and counters only."""
    _send(ipr, ifindex, "port set-up", _program(ifindex, program_fd))


def set_rate(ipr: IPRoute, ifindex: int, drain_rate_bps: int) -> None:
    """Change the drain rate of a shaped port in place; no queued frame is lost."""
    _check_rate(drain_rate_bps)
    messages = _classes(ifindex, drain_rate_bps, is_new=False)
    _send(ipr, ifindex, "rate change", messages)


def read_rate_bps(ipr: IPRoute, ifindex: int) -> int:
    """The drain rate a shaped port has now, to the whole byte per second; 0 without one."""
    for message in ipr.get_classes(index=ifindex):
        if message["handle"] == _PORT_CLASS:
            parameters = message.get_attr("TCA_OPTIONS").get_attr("TCA_HTB_PARMS")
            return int(parameters["rate"]) * 8
    return 0


def _check_rate(drain_rate_bps: int) -> None:
    if not 8 <= drain_rate_bps < 1 << 35:
        raise ValueError(
            f"drain rate {drain_rate_bps} bit/s is out of range; it must be between 8 bit/s "
            "and 34 Gbit/s"
        )


# --- Reading back --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PortTraffic:
    """What became of the frames the port program passed, as the kernel counts.

    ``sent`` reached the other end of the link; ``waiting`` are in the qdisc now;
    ``refused_frames`` were dropped by qdisc or link: for lack of room, which the testbed
    must never cause, or because the link had just gone down. ``is_shaped``: the
    interface has its HTB qdisc.
    """

    sent: Tally
    waiting: Tally
    refused_frames: int
    is_shaped: bool


def read_traffic(ipr: IPRoute) -> dict[int, PortTraffic]:
    """Traffic by interface index, of every interface in the namespace of ``ipr``."""
    queues = {
        message["index"]: message.get_attr("TCA_STATS2").get_attr("TCA_STATS_QUEUE")
        for message in ipr.get_qdiscs()
        if message["parent"] == _ROOT and message.get_attr("TCA_KIND") == "htb"
    }
    return {
        message["ifindex"]: _traffic(
            message.get_attr("IFLA_STATS_LINK_64"), queues.get(message["ifindex"])
        )
        for message in ipr.stats("dump", filter_mask=_STATS_LINK_64)
    }


def read_waiting(ipr: IPRoute, ifindex: int) -> Tally:
    """What waits in both queues of one shaped port: far quicker than `read_traffic`."""
    queues = [message.get_attr("TCA_STATS2").get_attr("TCA_STATS_QUEUE")
              for message in ipr.get_classes(index=ifindex)
              if message["handle"] in (CLASS_CONTROL, CLASS_DATA)]
    return Tally(sum(queue["qlen"] for queue in queues),
                 sum(queue["backlog"] for queue in queues))


def _traffic(link: dict[str, int], queue: dict[str, int] | None) -> PortTraffic:
    sent = Tally(link["tx_packets"], link["tx_bytes"])
    if queue is None:  # no qdisc, as on a NIC port
        return PortTraffic(sent, Tally(), link["tx_dropped"], is_shaped=False)
    waiting = Tally(queue["qlen"], queue["backlog"])
    return PortTraffic(sent, waiting, link["tx_dropped"] + queue["drops"], is_shaped=True)


def flushed(passed: Tally, traffic: PortTraffic) -> Tally:
    """Frames that waited in a port when its link went down, which nothing else counts.

    ``passed`` is `PortCounters.passed` of the port, read when no frame is on its way.
    Includes what `PortTraffic.refused_frames` counts; zero while the link stays up.
    """
    return passed - traffic.sent - traffic.waiting
