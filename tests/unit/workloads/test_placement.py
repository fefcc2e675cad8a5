"""Which hosts take part, in which order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.intent.topology import load_topology
from workloads.placement import PLACEMENTS, HostChoice, parse_hosts, place

OCTO = load_topology("octo")  # h0-h3 and h4-h7 share a T0
RACK4 = load_topology("rack4")  # four groups of four


@pytest.mark.parametrize(("how", "hosts", "placed"), [
    ("local", range(8), (0, 1, 2, 3, 4, 5, 6, 7)),
    ("local", (5, 0, 4, 2), (0, 2, 5, 4)),
    ("striped", range(8), (0, 4, 1, 5, 2, 6, 3, 7)),
    ("striped", (0, 1, 2, 7), (0, 7, 1, 2)),
    ("given", (5, 0, 4, 2), (5, 0, 4, 2)),
    ("local", (), ()),
    ("striped", (), ()),
])
def test_the_order_of_hosts(how: str, hosts: tuple[int, ...], placed: tuple[int, ...]) -> None:
    assert place(OCTO, hosts, how) == placed


def test_neighbours_share_a_t0_or_never_do() -> None:
    def crossings(how: str) -> int:
        hosts = place(RACK4, range(16), how)
        ring = zip(hosts, hosts[1:] + hosts[:1], strict=True)
        return sum(RACK4.is_cross_t1(src, dst) for src, dst in ring)

    assert crossings("local") == 4
    assert crossings("striped") == 16


@given(st.lists(st.integers(0, 15), unique=True), st.sampled_from(PLACEMENTS))
def test_placing_keeps_everybody_and_twice_is_once(hosts: list[int], how: str) -> None:
    placed = place(RACK4, hosts, how)
    assert sorted(placed) == sorted(hosts)
    assert place(RACK4, placed, how) == placed


@pytest.mark.parametrize(("how", "hosts", "sentence"), [
    ("striped", (0, 8), "host h8 does not exist: octo has h0 to h7"),
    ("given", (8,), "host h8 does not exist: octo has h0 to h7"),
    ("random", (0, 1), "there is no placement 'random': use local, striped, given"),
])
def test_what_cannot_be_placed(how: str, hosts: tuple[int, ...], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        place(OCTO, hosts, how)


@pytest.mark.parametrize(("text", "hosts"), [
    ("3", (0, 1, 2)), ("0", ()), ("h5,h0", (5, 0)), ("h6, h4-h5 ,h1", (6, 4, 5, 1)),
    ("h2-h2", (2,)), ("h0-h7", tuple(range(8))),
])
def test_hosts_as_typed(text: str, hosts: tuple[int, ...]) -> None:
    assert parse_hosts(text).expand(OCTO) == hosts


def test_a_count_passes_over_those_who_have_another_part() -> None:
    assert parse_hosts("3").expand(OCTO, [0, 2]) == (1, 3, 4)
    assert HostChoice(6).expand(OCTO, [0, 2]) == (1, 3, 4, 5, 6, 7)
    with pytest.raises(ValueError, match="7 hosts are too many: octo has 6 others"):
        parse_hosts("7").expand(OCTO, [0, 2])


@pytest.mark.parametrize(("text", "sentence"), [
    ("", "'' is not a host: write hosts like h0,h3,h4-h7, or how many"),
    ("h0,,h1", "'' is not a host"), ("p0-t0-1", "'p0-t0-1' is not a host"),
    ("h01", "'h01' is not a host"), ("-3", "'-3' is not a host"), ("h4-7", "'h4-7' is not"),
    ("h7-h4", "'h7-h4' runs backwards: write h4-h7, or name each host"),
    ("h6-h8", "host h8 does not exist: octo has h0 to h7"),
    ("h0-h9999999", "host h9999999 does not exist"),
    ("h3,h1-h3", "h3 is named twice: name every host once"),
    ("9", "9 hosts are too many: octo has 8"),
    ("9999999999999999999", "9999999999999999999 hosts are too many: octo has 8"),
])
def test_what_names_no_hosts(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        parse_hosts(text).expand(OCTO)
