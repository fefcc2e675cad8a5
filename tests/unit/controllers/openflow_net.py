"""A fake OpenFlow network in memory: switches that understand what is sent to them.

Each switch takes messages as bytes, keeps its tables from the bytes alone, and
interprets a symbolic packet by them, so a mistake anywhere between plan and wire
shows as a packet that goes astray.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass, field
from typing import Any

from controllers import compat

ofp, parser = compat.ofproto, compat.parser
HEADER = struct.Struct("!BBHI")
MULTIPART = struct.Struct("!HH4x")
FLOW_STATS = struct.Struct("!HBxIIHHHH4xQQQ")
FEATURES = struct.Struct("!QIBB2xII")


class Datapath(compat.ProtocolDesc):  # type: ignore[misc]
    """What the controller sees of a switch: an id and the OpenFlow 1.3 encoder."""

    def __init__(self, dpid: int) -> None:
        super().__init__(version=ofp.OFP_VERSION)
        self.id = dpid


@dataclass
class Packet:
    """The fields that rules here look at or change."""

    ipv6_dst: int
    hop_limit: int
    in_port: int
    eth_dst: str = ""
    eth_src: str = ""
    out_ports: list[int] = field(default_factory=list)


@dataclass
class Entry:
    """One rule, with the parsed message that made it."""

    mod: Any
    packets: int = 0

    def is_for(self, packet: Packet) -> bool:
        match = self.mod.match
        if "ipv6_dst" not in match:
            return True
        assert match["eth_type"] == 0x86DD  # OpenFlow's prerequisite for IPv6 fields
        value, mask = (int(ipaddress.IPv6Address(part)) for part in match["ipv6_dst"])
        return packet.ipv6_dst & mask == value


class Switch:
    """One switch: tables kept from bytes. `entries_per_part` splits its statistics.

    One that `is_deaf` takes rules and forgets them.
    """

    def __init__(self, dpid: int, entries_per_part: int = 1000) -> None:
        self.datapath = Datapath(dpid)
        self.tables: dict[int, list[Entry]] = {}
        self.log: list[str] = []
        self.is_deaf = False
        self._entries_per_part = entries_per_part

    # --- OpenFlow ------------------------------------------------------------------

    def handle(self, message: bytes) -> list[bytes]:
        """Take one message, give the answers."""
        version, kind, length, xid = HEADER.unpack_from(message)
        assert (version, length) == (ofp.OFP_VERSION, len(message)) or kind == ofp.OFPT_HELLO
        match kind:
            case ofp.OFPT_HELLO:
                return [_message(ofp.OFPT_HELLO, xid, b"")]
            case ofp.OFPT_FEATURES_REQUEST:
                body = FEATURES.pack(self.datapath.id, 0, 254, 0, 0, 0)
                return [_message(ofp.OFPT_FEATURES_REPLY, xid, body)]
            case ofp.OFPT_FLOW_MOD:
                if not self.is_deaf:
                    self._modify(message)
                return []
            case ofp.OFPT_BARRIER_REQUEST:
                self.log.append("barrier")
                return [_message(ofp.OFPT_BARRIER_REPLY, xid, b"")]
            case ofp.OFPT_MULTIPART_REQUEST:
                return self._statistics(message, xid)
        return []

    def _modify(self, message: bytes) -> None:
        mod = parser.OFPFlowMod.parser(self.datapath, *HEADER.unpack_from(message), message)
        if mod.command == ofp.OFPFC_DELETE:
            self.log.append(f"delete {mod.cookie:016x}/{mod.cookie_mask:016x}")
            assert mod.table_id == ofp.OFPTT_ALL
            mask = mod.cookie_mask
            for entries in self.tables.values():
                entries[:] = [e for e in entries if (e.mod.cookie ^ mod.cookie) & mask]
            return
        assert mod.command == ofp.OFPFC_ADD
        self.log.append(f"add {mod.cookie:016x}")
        entries = self.tables.setdefault(mod.table_id, [])
        entries[:] = [e for e in entries if _identity(e.mod) != _identity(mod)]
        entries.append(Entry(mod))

    def _statistics(self, message: bytes, xid: int) -> list[bytes]:
        kind, _flags = MULTIPART.unpack_from(message, HEADER.size)
        if kind != ofp.OFPMP_FLOW:
            return [_message(ofp.OFPT_MULTIPART_REPLY, xid, MULTIPART.pack(kind, 0))]
        self.log.append("read")
        texts = [_stats(entry) for entries in self.tables.values() for entry in entries]
        step = self._entries_per_part
        parts = [b"".join(texts[i : i + step]) for i in range(0, len(texts), step)] or [b""]
        more = [ofp.OFPMPF_REPLY_MORE] * (len(parts) - 1) + [0]
        return [
            _message(ofp.OFPT_MULTIPART_REPLY, xid, MULTIPART.pack(kind, flag) + part)
            for flag, part in zip(more, parts, strict=True)
        ]

    # --- packets -------------------------------------------------------------------

    def forward(self, packet: Packet) -> int | None:
        """Push a packet through the tables; gives the port it leaves by, None if dropped."""
        packet.out_ports.clear()
        table: int | None = 0
        while table is not None:
            table = self._apply(table, packet)
        return packet.out_ports[0] if packet.out_ports else None

    def _apply(self, table: int, packet: Packet) -> int | None:
        found = [entry for entry in self.tables.get(table, []) if entry.is_for(packet)]
        if not found:
            return None
        entry = max(found, key=lambda e: e.mod.priority)
        entry.packets += 1
        then = None
        for instruction in entry.mod.instructions:
            if isinstance(instruction, parser.OFPInstructionGotoTable):
                then = instruction.table_id
                continue
            if not all(_act(action, packet) for action in instruction.actions):
                return None
        return then


def _act(action: Any, packet: Packet) -> bool:
    """Carry one action out on the packet; False where it ends the packet's life."""
    match action:
        case parser.NXActionRegMove():
            assert action.dst_field == "ipv6_dst_nxm"
            source = {"ipv6_dst_nxm": packet.ipv6_dst, "reg0": 0}[action.src_field]
            mask = (1 << action.n_bits) - 1
            bits = source >> action.src_ofs & mask
            packet.ipv6_dst &= ~(mask << action.dst_ofs)
            packet.ipv6_dst |= bits << action.dst_ofs
        case parser.NXActionRegLoad():
            assert (action.dst, action.ofs_nbits) == ("in_port_nxm", 15)
            packet.in_port = action.value
        case parser.OFPActionDecNwTtl():
            packet.hop_limit -= 1
            return packet.hop_limit > 0
        case parser.OFPActionSetField():
            assert action.key in ("eth_src", "eth_dst")
            setattr(packet, action.key, action.value)
        case parser.OFPActionOutput():
            if action.port != packet.in_port:  # never back where it came from
                packet.out_ports.append(action.port)
        case _:
            raise AssertionError(f"the fake switch does not know {action}")
    return True


def _identity(mod: Any) -> tuple[int, str]:
    return mod.priority, str(mod.match)


def _stats(entry: Entry) -> bytes:
    """One entry of a flow statistics reply."""
    body = bytearray()
    entry.mod.match.serialize(body, 0)
    for instruction in entry.mod.instructions:
        instruction.serialize(body, len(body))
    head = FLOW_STATS.pack(FLOW_STATS.size + len(body), entry.mod.table_id, 0, 0,
                           entry.mod.priority, 0, 0, 0, entry.mod.cookie, entry.packets, 0)
    return head + bytes(body)


def _message(kind: int, xid: int, body: bytes) -> bytes:
    return HEADER.pack(ofp.OFP_VERSION, kind, HEADER.size + len(body), xid) + body


def wire(message: Any) -> bytes:
    """The bytes of a message of the controller's."""
    if message.xid is None:
        message.set_xid(1)
    message.serialize()
    return bytes(message.buf)


def entries_of(answers: list[bytes], datapath: Any) -> list[Any]:
    """Flow statistics (OFPFlowStats) in a switch's answers, as the controller parses them."""
    found = []
    for answer in answers:
        message = compat.message_from_wire(datapath, *HEADER.unpack_from(answer), answer)
        if isinstance(message, parser.OFPFlowStatsReply):
            found += message.body
    return found
