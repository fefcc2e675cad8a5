"""A spec is for one topology: which, and whether this instance is it."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.errors import UsageError
from testbed.intent.spectopology import require_topology, topology_of
from testbed.intent.topology import load_topology, preset_names, topology_document
from topologies.spec import ClosSpec

QUAD = load_topology("quad")


def complaint(topology: object, spec: ClosSpec = QUAD, instance: str = "x") -> str:
    with pytest.raises(UsageError) as caught:
        require_topology({"topology": topology}, spec, instance)
    return str(caught.value)


@pytest.mark.parametrize("name", preset_names())
def test_a_name_and_what_is_stored_are_the_same_topology(name: str) -> None:
    spec = load_topology(name)
    assert topology_of({"topology": name}) == spec
    assert topology_of({"topology": topology_document(spec)}) == spec
    as_texts = {key: str(value).lower() if isinstance(value, bool) else str(value)
                for key, value in topology_document(spec).items()}
    assert topology_of({"topology": as_texts}) == spec
    require_topology({"topology": name}, spec)


def test_a_spec_that_names_none_runs_anywhere() -> None:
    assert topology_of({"workload": "train"}) is None
    require_topology({"workload": "train"}, QUAD)


def test_another_topology() -> None:
    assert complaint("octo") == (
        "this spec is for octo, but instance 'x' is quad: run `testbed up octo` first")


def test_the_same_name_is_not_enough() -> None:
    wide = load_topology("quad", ["planes=2", "dataplane=linux"])
    assert complaint("quad", wide) == (
        "this spec is for quad with planes 4, dataplane ovs, but instance 'x' is quad with planes "
        "2, dataplane linux: run `testbed up quad` first")
    assert complaint(topology_document(wide)) == (
        "this spec is for quad with planes 2, dataplane linux, but instance 'x' is quad with "
        "planes 4, dataplane ovs: run `testbed up quad --set planes=2 --set dataplane=linux` "
        "first")


def test_the_command_it_names_builds_the_topology() -> None:
    own = load_topology("tiny", ["name=lab", "link_delay=2us"])
    command = complaint(topology_document(own)).partition("`")[2].partition("`")[0]
    _, _, base, *words = command.split()
    assert load_topology(base, words[1::2]).link_delay_ns == own.link_delay_ns
    built = topology_document(load_topology(base, words[1::2]))
    assert {**built, "description": ""} == {**topology_document(own), "description": ""}


def test_a_description_changes_nothing() -> None:
    require_topology(
        {"topology": {**topology_document(QUAD), "description": "in other words"}}, QUAD)


@pytest.mark.parametrize(("topology", "sentence"), [
    ("quat", "topology 'quat' does not exist, did you mean 'quad'?"),
    (["quad"], "topology: this is neither a name nor a list of keys"),
    ({key: value for key, value in topology_document(QUAD).items() if key != "mtu"},
     "topology: mtu is missing: add 'mtu: ...'"),
    ({**topology_document(QUAD), "planes": 9}, "topology: planes: 9 is not allowed, use 1 to 8"),
    ({**topology_document(QUAD), "plans": 9}, "topology: there is no key 'plans', did you mean"),
])
def test_what_is_no_topology(topology: Any, sentence: str) -> None:
    assert complaint(topology).startswith(sentence)
