"""Planes senders lost and got back."""

from __future__ import annotations

from typing import Any

from unit.analysis.made import flow, made_run

from testbed.analysis.planes import plane_changes
from testbed.metrics.tables import event_row


def ports(t_ns: int, host: str, what: str, mask: int, target: str = "") -> dict[str, Any]:
    return event_row(t_ns, "ports", host=host, what=what, target=target, detail=f"{mask:#x}")


def changes(*events: dict[str, Any], planes: tuple[int, ...] = (0xF,)) -> list[tuple[Any, ...]]:
    flows = [flow(1000 * (place + 1), planes=mask) for place, mask in enumerate(planes)]
    run = made_run(flows=flows, events=events)
    found = plane_changes(run.events, run.flows, 4)
    return list(found[["t_ns", "plane", "went", "how"]].itertuples(index=False, name=None))


def test_the_own_port_is_known_by_its_carrier() -> None:
    assert changes(ports(300, "h0", "carrier", 0b1101), ports(900, "h0", "carrier", 0xF)) == [
        (300, 1, "out", "carrier"), (900, 1, "back", "carrier")]


def test_the_peers_port_is_known_by_what_it_says() -> None:
    assert changes(ports(5, "h0", "peer", 0xF, "h4"), ports(340, "h0", "peer", 0b0111, "h4")) == [
        (340, 3, "out", "port status")]


def test_a_plane_is_back_when_both_ends_have_it() -> None:
    assert changes(
        ports(300, "h0", "carrier", 0b1110), ports(310, "h0", "peer", 0b1110, "h4"),
        ports(900, "h0", "carrier", 0xF), ports(940, "h0", "peer", 0xF, "h4")) == [
            (300, 0, "out", "carrier"), (940, 0, "back", "port status")]


def test_others_do_not_matter() -> None:
    assert changes(ports(300, "h1", "carrier", 0), ports(310, "h0", "peer", 0, "h5")) == []


def test_what_nobody_tells_is_seen_in_the_samples() -> None:
    assert changes(planes=(0xF, 0b1011, 0xF)) == [
        (2000, 2, "out", "sample"), (3000, 2, "back", "sample")]


def test_samples_do_not_repeat_what_was_told() -> None:
    assert changes(ports(1500, "h0", "carrier", 0b1011), planes=(0xF, 0b1011)) == [
        (1500, 2, "out", "carrier")]
