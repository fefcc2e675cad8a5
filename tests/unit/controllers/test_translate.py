"""The translator: against bytes written by hand, and by pushing packets through it."""

import ipaddress
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from openflow_net import Packet, Switch, entries_of, wire

from controllers import translate
from controllers.flows import Flow, flows_of
from testbed.forwarding.paths import Path, paths, self_paths
from testbed.forwarding.plan import Plan, Rule, SwitchPlan, build_plan
from testbed.forwarding.walk import Walk, make_walker
from topologies.graph import Graph, SwitchPort, build_graph
from topologies.spec import ClosSpec

BLOCK = ipaddress.IPv6Network("fcbb:bbbb::/32")
RULE = Rule(0x1809, 3, "p0-t0-4-e3", "02:00:00:00:00:03", "02:00:00:00:00:04")
T0 = SwitchPlan("p0-t0-4", 77, 0x0804, (RULE,))
TINY = ClosSpec("tiny", 2, 2, 2, 2, 100_000_000_000, 1_000)
QUAD = ClosSpec("quad", 4, 2, 4, 4, 100_000_000_000, 1_000)


def flow_mod(cookie: str, table: str, priority: str, match: str, instructions: str) -> bytes:
    """An OpenFlow 1.3 flow-mod (specification 1.3.5, section A.3.4.1) from its parts."""
    body = bytes.fromhex(
        cookie + "00" * 8 + table + "00" + "0000" * 2 + priority
        + "ffffffff"  # no buffer
        + "00000000" * 2 + "0000" + "0000"  # out_port, out_group (unused), flags, padding
        + match + instructions
    )
    return bytes.fromhex(f"040e{8 + len(body):04x}00000001") + body


def match_on(prefix: str) -> str:
    """eth_type 0x86dd, ipv6_dst under a /48 mask, padded to 8 (section A.2.3)."""
    address = prefix + "00" * 10
    mask = "ff" * 6 + "00" * 10
    return "0001" + "002e" + "80000a02" + "86dd" + "80003720" + address + mask + "0000"


MATCH_ALL = "0001000400000000"
#           experimenter action  Nicira    subtype
NICIRA = "ffff" + "0018" + "00002320"
MOVE_UP = NICIRA + "0006" + "0050" + "0000" + "0010" + "00012810" + "00012810"
MOVE_ZERO = NICIRA + "0006" + "0010" + "0000" + "0000" + "00010004" + "00012810"
DECREMENT = "0018" + "0008" + "00000000"
NO_IN_PORT = NICIRA + "0007" + "000f" + "00000002" + "00" * 8
GOTO_1 = "0001" + "0008" + "01" + "000000"
SET_SRC = "0019" + "0010" + "80000806" + "020000000003" + "0000"
SET_DST = "0019" + "0010" + "80000606" + "020000000004" + "0000"
OUTPUT_3 = "0000" + "0010" + "00000003" + "0000" + "00" * 6


def apply_actions(*actions: str) -> str:
    text = "".join(actions)
    return "0004" + f"{8 + len(text) // 2:04x}" + "00000000" + text


def messages(flows: tuple[Flow, ...]) -> list[bytes]:
    return [wire(message) for message in translate.messages_to_add(Switch(77).datapath, flows)]


def test_rules_serialise_to_the_bytes_written_by_hand() -> None:
    flows = tuple(replace(flow, generation=0xA1B2C3D4) for flow in flows_of(T0, BLOCK))
    shift = apply_actions(MOVE_UP, MOVE_ZERO, DECREMENT, NO_IN_PORT) + GOTO_1
    send = apply_actions(SET_SRC, SET_DST, OUTPUT_3)
    assert messages(flows) == [
        flow_mod("a1b2c3d400000804", "00", "0064", match_on("fcbbbbbb0804"), shift),
        flow_mod("a1b2c3d400000000", "00", "0000", MATCH_ALL, ""),
        flow_mod("a1b2c3d400011809", "01", "0064", match_on("fcbbbbbb1809"), send),
        flow_mod("a1b2c3d400010000", "01", "0000", MATCH_ALL, ""),
    ]


# --- packets through a whole fabric -------------------------------------------------


class FakeNetwork:
    """Every switch of a graph, programmed through the translator, and the wires between."""

    def __init__(self, spec: ClosSpec) -> None:
        self.graph: Graph = build_graph(spec)
        self.plan: Plan = build_plan(self.graph)
        self.walker = make_walker(self.graph, self.plan)
        self.switches = {entry.name: programmed(entry) for entry in self.plan.switches}

    def send(self, path: Path, hop_limit: int = 64) -> list[tuple[str, int, int, int]]:
        """Send a packet; gives (switch, port out, address, hop limit) per hop, then the end."""
        port: Any = self.graph.port(self.graph.hosts[path.src].nic_ports[path.plane].peer.slot)
        packet = Packet(int(path.address), hop_limit, port.number)
        hops: list[tuple[str, int, int, int]] = []
        while isinstance(port, SwitchPort):
            packet.in_port = port.number
            number = self.switches[port.switch].forward(packet)
            if number is None:
                return [*hops, ("dropped", 0, 0, 0)]
            hops.append((port.switch, number, packet.ipv6_dst, packet.hop_limit))
            out = self.graph.switch(port.switch).ports[number - 1]
            assert (packet.eth_src, packet.eth_dst) == (out.mac, out.peer.mac)
            port = self.graph.port(out.peer.slot)
        return [*hops, (port.interface, 0, 0, 0)]

    def walked(self, path: Path, hop_limit: int = 64) -> list[tuple[str, int, int, int]]:
        """The same, by the plan itself."""
        walk: Walk = self.walker.walk(path.src, path.plane, path.address, hop_limit)
        end = walk.arrived_at.interface if walk.arrived_at else "dropped"
        hops = [(hop.switch, hop.port, int(hop.address), hop.hop_limit) for hop in walk.hops]
        return [*hops, (end, 0, 0, 0)]

    def every_path(self) -> list[Path]:
        spec, hosts = self.graph.spec, range(len(self.graph.hosts))
        pairs = [p for a, b in product(hosts, hosts) if a != b for p in paths(spec, a, b)]
        return pairs + [p for host in hosts for p in self_paths(spec, host)]


def programmed(entry: SwitchPlan) -> Switch:
    switch = Switch(entry.dpid)
    for message in translate.messages_to_add(switch.datapath, flows_of(entry, BLOCK)):
        switch.handle(wire(message))
    return switch


@pytest.fixture(scope="module", params=[TINY, QUAD], ids=lambda spec: spec.name)
def network(request: pytest.FixtureRequest) -> FakeNetwork:
    return FakeNetwork(request.param)


def test_every_path_goes_where_the_plan_says(network: FakeNetwork) -> None:
    for path in network.every_path():
        hops = network.send(path)
        assert hops == network.walked(path), path
        assert [hop[0] for hop in hops] == [*path.switches, f"h{path.dst}-eth{path.plane}"]


def test_a_packet_without_hops_left_is_dropped_where_the_plan_says(
    network: FakeNetwork,
) -> None:
    for path in network.every_path():
        enough = len(path.switches) + 1
        assert network.send(path, enough)[-1][0] != "dropped"
        hops = network.send(path, enough - 1)
        assert hops[-1][0] == "dropped"
        assert hops == network.walked(path, enough - 1), path


def test_packets_that_belong_nowhere_are_counted_by_the_drop_rules() -> None:
    switch, flows = programmed(T0), flows_of(T0, BLOCK)
    for address in ("fcbb:bbbb:805:1809::", "fcbb:bbbb::", "2001:db8::1"):
        assert switch.forward(Packet(int(ipaddress.IPv6Address(address)), 64, 1)) is None
    for address in ("fcbb:bbbb:804:180a::", "fcbb:bbbb:804::"):
        assert switch.forward(Packet(int(ipaddress.IPv6Address(address)), 64, 1)) is None
    present = read(switch)
    assert translate.drop_counts(flows, present) == {"strays": 3, "misses": 2}


def test_a_self_probe_leaves_by_the_port_it_came_in_on() -> None:
    switch = programmed(T0)
    packet = Packet(int(ipaddress.IPv6Address("fcbb:bbbb:804:1809::")), 64, in_port=RULE.port)
    assert switch.forward(packet) == RULE.port


# --- reading back --------------------------------------------------------------------


def read(switch: Switch) -> list[Any]:
    answers = switch.handle(wire(translate.message_to_read(switch.datapath)))
    return entries_of(answers, switch.datapath)


def differences(switch: Switch, plan: SwitchPlan) -> list[str]:
    return translate.verify(switch.datapath, flows_of(plan, BLOCK), read(switch))


def test_a_switch_programmed_right_has_no_differences(network: FakeNetwork) -> None:
    for entry in network.plan.switches:
        assert differences(network.switches[entry.name], entry) == []


def test_an_empty_switch_lacks_every_rule() -> None:
    assert differences(Switch(77), T0) == [
        "the rule of table 0 for uSID 0x0804 is missing",
        "the drop rule of table 0 is missing",
        "the rule of table 1 for uSID 0x1809 is missing",
        "the drop rule of table 1 is missing",
    ]


def test_a_rule_too_many_is_told() -> None:
    more = replace(T0, rules=(RULE, replace(RULE, usid=0x1003, port=4)))
    switch = programmed(T0)
    extra = [flow for flow in flows_of(more, BLOCK) if flow.usid == 0x1003]
    for message in translate.messages_to_add(switch.datapath, extra):
        switch.handle(wire(message))
    [sentence] = differences(switch, T0)
    assert sentence.startswith("a rule that the plan does not have is in table 1: priority 100")


def test_a_rule_with_another_action_is_told() -> None:
    flows = flows_of(T0, BLOCK)
    moved = flows_of(replace(T0, rules=(replace(RULE, port=4),)), BLOCK)
    switch = Switch(77)
    disguised = [replace(flow, generation=flows[0].generation) for flow in moved]
    for message in translate.messages_to_add(switch.datapath, disguised):
        switch.handle(wire(message))
    [sentence] = differences(switch, T0)
    assert sentence.startswith("the rule of table 1 for uSID 0x1809 does something else")


def test_a_rule_of_another_generation_is_told() -> None:
    switch = programmed(replace(T0, rules=(RULE, replace(RULE, usid=0x1003, port=4))))
    told = differences(switch, T0)
    assert len(told) == 5  # four rules with another cookie, one too many
    assert sum("it is from another plan" in sentence for sentence in told) == 4


# --- a plan that replaces another ----------------------------------------------------


def test_a_new_plan_is_added_before_the_old_is_deleted() -> None:
    switch = programmed(replace(T0, rules=(RULE, replace(RULE, usid=0x1003, port=4))))
    switch.log.clear()
    stale = switch.tables[0][0].mod.cookie >> 32
    flows = flows_of(T0, BLOCK)
    packet = int(ipaddress.IPv6Address("fcbb:bbbb:804:1809::"))
    for message in translate.messages_to_install(switch.datapath, flows, read(switch)):
        switch.handle(wire(message))
        assert switch.forward(Packet(packet, 64, 1)) == RULE.port  # at every moment
    assert switch.log == [
        "read",
        *[f"add {flow.cookie:016x}" for flow in flows],
        "barrier",
        f"delete {stale << 32:016x}/ffffffff00000000",
        "barrier",
        "read",
    ]
    assert differences(switch, T0) == []


def test_the_first_plan_deletes_nothing() -> None:
    sent = translate.messages_to_install(Switch(77).datapath, flows_of(T0, BLOCK), [])
    assert [type(message).__name__ for message in sent] == [
        "OFPFlowMod", "OFPFlowMod", "OFPFlowMod", "OFPFlowMod", "OFPBarrierRequest",
        "OFPFlowStatsRequest",
    ]
