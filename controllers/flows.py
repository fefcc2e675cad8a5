"""What a switch must hold, as data: its part of the plan turned into table rules.

A switch of the fabric does one thing, the uN behaviour of SRv6 compressed
segments (RFC 9800, "shift and forward"), in two tables:

====== ======================== ====================================================
table  matches                  does
====== ======================== ====================================================
0      block:own-uSID::/48      shifts the list left by one uSID, counts the hop
                                limit down, goes on to table 1
0      anything else            drops: not for this switch ("strays" in counters)
1      block:next-uSID::/48     sets both MAC addresses, sends out of one port
1      anything else            drops: no such neighbour here ("misses")
====== ======================== ====================================================

Nothing here knows OpenFlow's encoding; `translate` does.

The cookie of a rule is its identity: bits 63..32 the generation, bits 23..16
the table, bits 15..0 the uSID matched (0 for the drop rules; no uSID is 0).
The generation is a digest of the switch's whole rule set, so the same plan has
the same cookies in every controller process: one that is started again can
tell a switch that is up to date from one that holds an older plan.
"""

import hashlib
import ipaddress
from dataclasses import dataclass
from typing import Final

from testbed.forwarding.plan import SwitchPlan

SHIFT_TABLE: Final = 0
NEXT_TABLE: Final = 1
RULE_PRIORITY: Final = 100
DROP_PRIORITY: Final = 0
GENERATION_SHIFT: Final = 32
GENERATION_MASK: Final = 0xFFFF_FFFF << GENERATION_SHIFT


@dataclass(frozen=True, slots=True)
class Shift:
    """Shift the uSID list left by 16 bits, count the hop limit down, go to table 1."""


@dataclass(frozen=True, slots=True)
class Send:
    """Set both MAC addresses ("aa:bb:.." form) and send out of `port` (from 1)."""

    port: int
    eth_src: str
    eth_dst: str


@dataclass(frozen=True, slots=True)
class Drop:
    """Drop, counted by the rule itself."""


@dataclass(frozen=True, slots=True)
class Flow:
    """One rule of one table.

    `prefix` is the /48 that the outer destination must lie in, None for the rule
    that takes what no other takes.
    """

    table: int
    usid: int
    prefix: ipaddress.IPv6Network | None
    action: Shift | Send | Drop
    generation: int = 0

    @property
    def priority(self) -> int:
        """Priority within the table; the drop rules lose to every other."""
        return DROP_PRIORITY if self.prefix is None else RULE_PRIORITY

    @property
    def cookie(self) -> int:
        """64 bits that name the plan's generation and this rule (module docstring)."""
        return (self.generation << GENERATION_SHIFT) | (self.table << 16) | self.usid

    @property
    def name(self) -> str:
        """What the rule is for, in words for a sentence."""
        if self.prefix is None:
            return f"the drop rule of table {self.table}"
        return f"the rule of table {self.table} for uSID 0x{self.usid:04x}"


def flows_of(switch: SwitchPlan, block: ipaddress.IPv6Network) -> tuple[Flow, ...]:
    """Give the rules of one switch, all with the generation of this very set.

    `block` is the fabric's SRv6 locator block, a /32 (F3216: 32-bit block, 16-bit
    uSIDs). ValueError where it is not, or where two rules want the same uSID.
    """
    bare = (
        Flow(SHIFT_TABLE, switch.usid, prefix_of(switch.usid, block), Shift()),
        Flow(SHIFT_TABLE, 0, None, Drop()),
        *(
            Flow(NEXT_TABLE, rule.usid, prefix_of(rule.usid, block),
                 Send(rule.port, rule.eth_src, rule.eth_dst))
            for rule in switch.rules
        ),
        Flow(NEXT_TABLE, 0, None, Drop()),
    )
    if len({(flow.table, flow.usid) for flow in bare}) != len(bare):
        raise ValueError(
            f"the plan of switch {switch.name} has two rules for one uSID: each next hop"
            " needs a uSID of its own; build the plan again"
        )
    generation = _digest(bare)
    return tuple(
        Flow(flow.table, flow.usid, flow.prefix, flow.action, generation) for flow in bare
    )


def prefix_of(usid: int, block: ipaddress.IPv6Network) -> ipaddress.IPv6Network:
    """Give block:usid::/48, which a switch that owns `usid` (1..0xffff) answers to."""
    if block.prefixlen != 32:
        raise ValueError(f"the uSID block {block} is not a /32: F3216 has 32-bit blocks")
    if not 0 < usid <= 0xFFFF:
        raise ValueError(f"uSID {usid:#x} is out of range: 1 to 0xffff is allowed")
    base = int(block.network_address) | (usid << 80)
    return ipaddress.IPv6Network((base, 48))


def generation_of(cookie: int) -> int:
    """Read the generation (32 bits) back from a cookie."""
    return cookie >> GENERATION_SHIFT


def _digest(flows: tuple[Flow, ...]) -> int:
    """32 bits that change when any rule of the set does; never 0, the usual cookie."""
    text = "\n".join(map(repr, flows)).encode()
    return int.from_bytes(hashlib.blake2s(text, digest_size=4).digest(), "big") or 1
