"""Rules of a switch, checked by hand for the worked path of the facts sheet's method."""

import ipaddress
from dataclasses import replace

import pytest

from controllers.flows import Drop, Flow, Send, Shift, flows_of, generation_of, prefix_of
from testbed.forwarding.plan import Rule, SwitchPlan

BLOCK = ipaddress.IPv6Network("fcbb:bbbb::/32")
UP = Rule(0x1003, 2, "p0-t0-4-e2", "02:00:00:00:00:01", "02:00:00:00:00:02")
DOWN = Rule(0x1809, 1, "p0-t0-4-e1", "02:00:00:00:00:03", "02:00:00:00:00:04")
T0 = SwitchPlan("p0-t0-4", 77, 0x0804, (DOWN, UP))


def test_a_switch_has_its_own_rule_its_next_hops_and_two_drop_rules() -> None:
    flows = flows_of(T0, BLOCK)
    generation = flows[0].generation
    net = ipaddress.IPv6Network
    assert flows == (
        Flow(0, 0x0804, net("fcbb:bbbb:804::/48"), Shift(), generation),
        Flow(0, 0, None, Drop(), generation),
        Flow(1, 0x1809, net("fcbb:bbbb:1809::/48"),
             Send(1, "02:00:00:00:00:03", "02:00:00:00:00:04"), generation),
        Flow(1, 0x1003, net("fcbb:bbbb:1003::/48"),
             Send(2, "02:00:00:00:00:01", "02:00:00:00:00:02"), generation),
        Flow(1, 0, None, Drop(), generation),
    )


def test_a_cookie_names_generation_table_and_usid() -> None:
    flow = Flow(1, 0x1809, prefix_of(0x1809, BLOCK), Drop(), generation=0xDEADBEEF)
    assert flow.cookie == 0xDEADBEEF_0001_1809
    assert generation_of(flow.cookie) == 0xDEADBEEF


def test_drop_rules_lose_to_every_other() -> None:
    priorities = {type(flow.action): flow.priority for flow in flows_of(T0, BLOCK)}
    assert priorities[Drop] < min(priorities[Shift], priorities[Send])


def test_cookies_differ_within_a_switch() -> None:
    cookies = [flow.cookie for flow in flows_of(T0, BLOCK)]
    assert len(set(cookies)) == len(cookies)


def test_the_same_plan_has_the_same_generation() -> None:
    again = SwitchPlan("p0-t0-4", 77, 0x0804, (DOWN, UP))
    assert flows_of(again, BLOCK) == flows_of(T0, BLOCK)


@pytest.mark.parametrize("changed", [
    replace(T0, usid=0x0805),
    replace(T0, rules=(DOWN,)),
    replace(T0, rules=(DOWN, replace(UP, usid=0x1004))),
    replace(T0, rules=(DOWN, replace(UP, port=3))),
    replace(T0, rules=(DOWN, replace(UP, eth_src="02:00:00:00:00:09"))),
    replace(T0, rules=(DOWN, replace(UP, eth_dst="02:00:00:00:00:09"))),
])
def test_any_changed_rule_changes_the_generation(changed: SwitchPlan) -> None:
    assert flows_of(changed, BLOCK)[0].generation != flows_of(T0, BLOCK)[0].generation


def test_two_rules_for_one_usid_are_refused() -> None:
    with pytest.raises(ValueError, match="p0-t0-4 has two rules for one uSID"):
        flows_of(replace(T0, rules=(UP, replace(DOWN, usid=UP.usid))), BLOCK)


@pytest.mark.parametrize("usid", [0, -1, 0x10000])
def test_a_usid_out_of_range_is_refused(usid: int) -> None:
    with pytest.raises(ValueError, match="out of range"):
        prefix_of(usid, BLOCK)


def test_a_block_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="is not a /32"):
        prefix_of(1, ipaddress.IPv6Network("fcbb:bbbb::/48"))
