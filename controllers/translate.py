"""From rules to OpenFlow 1.3 messages and back: pure, tested without a network.

The uN shift (RFC 9800, section 4.1.1) in OpenFlow 1.3 with Nicira's extensions;
bit 0 is the last bit of the address, bits 127..96 hold the block:

1. move bits 79..0 of ipv6_dst to bits 95..16: every uSID after the first goes
   16 bits up, over the one that named this switch;
2. move 16 bits of reg0, which nobody writes and so is 0, to bits 15..0 (a plain
   load of constant bits into ipv6_dst cannot be serialised by Ryu);
3. count the hop limit down (the switch drops a packet that has none left);
4. load 0 into in_port: OpenFlow silently refuses to send a packet out of the
   port it came in on, which is where a self probe NIC-T0-NIC must go;
5. continue in table 1, which sees the shifted address.

A datapath is anything with Ryu's `ofproto` and `ofproto_parser` attributes.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from controllers.flows import (
    GENERATION_MASK,
    GENERATION_SHIFT,
    NEXT_TABLE,
    Drop,
    Flow,
    Send,
    Shift,
    generation_of,
)

USID_BITS: Final = 16
LIST_BITS: Final = 96  # six uSIDs behind a 32-bit block
ETH_TYPE_IPV6: Final = 0x86DD
ADDRESS: Final = "ipv6_dst_nxm"  # in the encoding that Open vSwitch reads back
IN_PORT_BITS: Final = 15  # Nicira's "whole 16-bit field": (first bit << 6) | (bits - 1)


def messages_to_add(datapath: Any, flows: Iterable[Flow]) -> list[Any]:
    """Give one flow-mod per rule. A rule with the same match is replaced in one step."""
    return [_flow_mod(datapath, flow) for flow in flows]


def messages_to_delete(datapath: Any, generations: Iterable[int]) -> list[Any]:
    """Give one flow-mod per generation of rules that must go, from every table."""
    ofp, parser = datapath.ofproto, datapath.ofproto_parser
    return [
        parser.OFPFlowMod(
            datapath, command=ofp.OFPFC_DELETE, table_id=ofp.OFPTT_ALL,
            cookie=generation << GENERATION_SHIFT, cookie_mask=GENERATION_MASK,
            out_port=ofp.OFPP_ANY, out_group=ofp.OFPG_ANY, match=parser.OFPMatch(),
        )
        for generation in sorted(generations)
    ]


def messages_to_install(
    datapath: Any, flows: Sequence[Flow], present: Iterable[Any]
) -> list[Any]:
    """Give the whole conversation that brings a switch from what it holds to `flows`.

    `present` is its flow statistics (OFPFlowStats). New rules are added before
    those of other generations are deleted, with a barrier between, so that no
    packet meets a switch without rules; the answer to the flow statistics
    request at the end is for `verify`.
    """
    parser = datapath.ofproto_parser
    wanted = {generation_of(flow.cookie) for flow in flows}
    stale = {generation_of(entry.cookie) for entry in present} - wanted
    messages = [*messages_to_add(datapath, flows), parser.OFPBarrierRequest(datapath)]
    if stale:
        messages += messages_to_delete(datapath, stale)
        messages.append(parser.OFPBarrierRequest(datapath))
    return [*messages, message_to_read(datapath)]


def message_to_read(datapath: Any) -> Any:
    """Ask for the statistics, and so for the text, of every rule of every table."""
    ofp, parser = datapath.ofproto, datapath.ofproto_parser
    return parser.OFPFlowStatsRequest(datapath, 0, ofp.OFPTT_ALL, ofp.OFPP_ANY, ofp.OFPG_ANY)


def verify(datapath: Any, flows: Iterable[Flow], present: Iterable[Any]) -> list[str]:
    """Compare what a switch should hold with the statistics it sent, rule by rule.

    Returns one sentence per difference, none when every rule is there exactly as
    meant and no other rule is. Matches and actions are compared as they are on
    the wire, cookies included; counters and ages are ignored.
    """
    wanted = {_key(_flow_mod(datapath, flow)): flow for flow in flows}
    found = {_key(entry): entry for entry in present}
    missing = [flow for key, flow in wanted.items() if key not in found]
    differences = [f"{flow.name} is missing" for flow in missing]
    for key, entry in found.items():
        if key not in wanted:
            differences.append(
                f"a rule that the plan does not have is in table {entry.table_id}:"
                f" priority {entry.priority}, cookie 0x{entry.cookie:016x}"
            )
        elif difference := _difference(datapath, wanted[key], entry):
            differences.append(difference)
    return differences


def drop_counts(flows: Iterable[Flow], present: Iterable[Any]) -> dict[str, int]:
    """Read packets dropped, by cause, from flow statistics.

    "strays" were not addressed to this switch, "misses" had no such next hop.
    Open vSwitch brings its counters up to date about twice a second.
    """
    packets = {entry.cookie: int(entry.packet_count) for entry in present}
    return {
        "misses" if flow.table == NEXT_TABLE else "strays": packets.get(flow.cookie, 0)
        for flow in flows
        if isinstance(flow.action, Drop)
    }


def _difference(datapath: Any, flow: Flow, entry: Any) -> str | None:
    meant = _flow_mod(datapath, flow)
    if entry.cookie != flow.cookie:
        return (f"{flow.name} has cookie 0x{entry.cookie:016x} instead of 0x{flow.cookie:016x}:"
                " it is from another plan")
    if _wire(entry.instructions) != _wire(meant.instructions):
        return f"{flow.name} does something else: {entry.instructions}"
    return None


def _key(entry: Any) -> tuple[int, int, bytes]:
    """What makes two rules the same to a switch: table, priority and match."""
    buffer = bytearray()
    entry.match.serialize(buffer, 0)
    return entry.table_id, entry.priority, bytes(buffer)


def _wire(instructions: Iterable[Any]) -> bytes:
    buffer = bytearray()
    for instruction in instructions:
        instruction.serialize(buffer, len(buffer))
    return bytes(buffer)


def _flow_mod(datapath: Any, flow: Flow) -> Any:
    ofp, parser = datapath.ofproto, datapath.ofproto_parser
    return parser.OFPFlowMod(
        datapath, command=ofp.OFPFC_ADD, table_id=flow.table, priority=flow.priority,
        cookie=flow.cookie, match=_match(parser, flow),
        instructions=_instructions(datapath, flow),
    )


def _match(parser: Any, flow: Flow) -> Any:
    if flow.prefix is None:
        return parser.OFPMatch()
    destination = (str(flow.prefix.network_address), str(flow.prefix.netmask))
    return parser.OFPMatch(eth_type=ETH_TYPE_IPV6, ipv6_dst=destination)


def _instructions(datapath: Any, flow: Flow) -> list[Any]:
    ofp, parser = datapath.ofproto, datapath.ofproto_parser
    match flow.action:
        case Drop():
            return []
        case Shift():
            actions, then = _shift(parser), [parser.OFPInstructionGotoTable(NEXT_TABLE)]
        case Send() as send:
            actions, then = _send(parser, send), []
    return [parser.OFPInstructionActions(ofp.OFPIT_APPLY_ACTIONS, actions), *then]


def _shift(parser: Any) -> list[Any]:
    return [
        parser.NXActionRegMove(src_field=ADDRESS, src_ofs=0, dst_field=ADDRESS,
                               dst_ofs=USID_BITS, n_bits=LIST_BITS - USID_BITS),
        parser.NXActionRegMove(src_field="reg0", src_ofs=0, dst_field=ADDRESS,
                               dst_ofs=0, n_bits=USID_BITS),
        parser.OFPActionDecNwTtl(),
        parser.NXActionRegLoad(ofs_nbits=IN_PORT_BITS, dst="in_port_nxm", value=0),
    ]


def _send(parser: Any, send: Send) -> list[Any]:
    return [
        parser.OFPActionSetField(eth_src=send.eth_src),
        parser.OFPActionSetField(eth_dst=send.eth_dst),
        parser.OFPActionOutput(send.port, 0),
    ]
