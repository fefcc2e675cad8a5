"""A topology as text, at most 80 columns wide: planes as a stack of cards, hosts below.

Only the front plane is drawn out, the others look the same. The double line is the
full mesh between the tiers. Rows that do not fit are shortened to their first few
members and their last.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from topologies.names import host_name, nic_interface, switch_name
from topologies.spec import ClosSpec

WIDTH_CHARACTERS = 80
_MARGIN = 7  # left of every row, for "T1", "T0" and "hosts"
_CARD_SHIFT = 2  # columns between one card of the stack and the next
_CARD_ROWS = 8
_GAP = 2
_ELLIPSIS = "…"


def draw(spec: ClosSpec) -> str:
    """A picture of the topology with a title and its counts, lines joined by newlines."""
    picture = _draw_picture(spec)
    return "\n".join([_title(spec), "", *picture, "", *_counts(spec)])


def _title(spec: ClosSpec) -> str:
    rate, total = _gbps(spec.port_rate_bps), _gbps(spec.port_rate_bps * spec.planes)
    return (
        f"{spec.name}: {_plural(spec.host_count, 'host')} of {total}, "
        f"{_plural(spec.planes, 'plane')} of {rate}"
    )


def _counts(spec: ClosSpec) -> list[str]:
    ports = nic_interface(0, 0)
    if spec.planes > 1:
        ports = f"one on each plane, {ports} to {nic_interface(0, spec.planes - 1)}"
    return [
        f"{_plural(spec.switch_count, 'switch')}: {spec.t0_per_plane:,} T0 + "
        f"{spec.t1_per_plane:,} T1 per plane, every T0 linked to every T1",
        f"{_plural(spec.nic_port_count, 'NIC port')}: every host has {ports}",
        f"{_plural(spec.link_count, 'link')} of {_gbps(spec.port_rate_bps)} and "
        f"{spec.link_delay_ns / 1000:g} us",
    ]


@dataclass(frozen=True, slots=True)
class _Cell:
    """One member of a row: its index (None for the ellipsis) and the column it centres on."""

    index: int | None
    centre: int


class _Canvas:
    """Characters by row and column, blank where nothing was drawn."""

    def __init__(self, rows: int) -> None:
        self._rows = [[" "] * WIDTH_CHARACTERS for _ in range(rows)]

    def put(self, row: int, column: int, text: str) -> None:
        self._rows[row][column : column + len(text)] = text

    def centre(self, row: int, column: int, text: str) -> None:
        self.put(row, column - len(text) // 2, text)

    def lines(self) -> list[str]:
        return ["".join(row).rstrip() for row in self._rows]


def _draw_picture(spec: ClosSpec) -> list[str]:
    groups = [_group_labels(spec, t0) for t0 in range(spec.t0_per_plane)[:2]]
    last_group = _group_labels(spec, spec.t0_per_plane - 1)
    t0_cell = _GAP + max(
        len(" ".join(labels)) for labels in [*groups, last_group, [switch_name(0, 0, 0)]]
    )
    t1_cell = _GAP + len(switch_name(0, 1, spec.t1_per_plane - 1))
    space = WIDTH_CHARACTERS - _CARD_SHIFT * (spec.planes - 1) - _MARGIN - 4
    width = min(space, max(spec.t1_per_plane * t1_cell, spec.t0_per_plane * t0_cell, 24))
    t1_row = _place(spec.t1_per_plane, t1_cell, width)
    t0_row = _place(spec.t0_per_plane, t0_cell, width)

    canvas = _Canvas(spec.planes - 1 + _CARD_ROWS + 2)
    for plane in reversed(range(spec.planes)):
        _draw_card(canvas, plane, spec.planes - 1 - plane, _MARGIN + width + 1)
    _draw_tiers(canvas, spec.planes - 1, t1_row, t0_row)
    _draw_hosts(canvas, spec, spec.planes - 1 + _CARD_ROWS - 1, t0_row)
    return canvas.lines()


def _place(count: int, cell: int, width: int) -> list[_Cell]:
    """Centre ``count`` cells in ``width`` columns, leaving out what does not fit."""
    room = max(3, width // cell)
    shown: list[int | None] = list(range(count))
    if count > room:
        shown = [*range(room - 2), None, count - 1]
    left = _MARGIN + (width - len(shown) * cell) // 2
    return [_Cell(index, left + cell * n + cell // 2) for n, index in enumerate(shown)]


def _draw_card(canvas: _Canvas, plane: int, top: int, width: int) -> None:
    left = _CARD_SHIFT * plane
    title = f"─ plane {plane} "
    canvas.put(top, left, "┌" + title.ljust(width - 1, "─") + "┐")
    for row in range(top + 1, top + _CARD_ROWS - 1):
        canvas.put(row, left, "│" + " " * (width - 1) + "│")
    canvas.put(top + _CARD_ROWS - 1, left, "└" + "─" * (width - 1) + "┘")


def _draw_tiers(canvas: _Canvas, top: int, t1_row: list[_Cell], t0_row: list[_Cell]) -> None:
    mesh = top + 4
    canvas.put(top + 2, 2, "T1")
    canvas.put(top + 6, 2, "T0")
    _draw_mesh(canvas, mesh, {cell.centre for cell in t1_row}, {c.centre for c in t0_row})
    for cell in t1_row:
        canvas.centre(top + 2, cell.centre, _label(cell, lambda i: switch_name(0, 1, i)))
        canvas.put(mesh - 1, cell.centre, "│")
    for cell in t0_row:
        canvas.put(mesh + 1, cell.centre, "│")
        canvas.centre(top + 6, cell.centre, _label(cell, lambda i: switch_name(0, 0, i)))


def _draw_mesh(canvas: _Canvas, row: int, above: set[int], below: set[int]) -> None:
    columns = above | below
    for column in range(min(columns) - 2, max(columns) + 3):
        ends = (column in above, column in below)
        canvas.put(row, column, {
            (True, True): "╪", (True, False): "╧", (False, True): "╤", (False, False): "═",
        }[ends])  # fmt: skip


def _draw_hosts(canvas: _Canvas, spec: ClosSpec, border: int, t0_row: list[_Cell]) -> None:
    canvas.put(border + 2, 0, "hosts")
    for cell in t0_row:
        canvas.put(border, cell.centre, "┬")
        if cell.index is None:
            canvas.put(border + 1, cell.centre, "│")
            canvas.put(border + 2, cell.centre, _ELLIPSIS)
            continue
        labels = _group_labels(spec, cell.index)
        _draw_group(canvas, border + 1, cell.centre, labels)


def _draw_group(canvas: _Canvas, row: int, stem: int, labels: list[str]) -> None:
    text = " ".join(labels)
    left = stem - len(text) // 2
    canvas.put(row + 1, left, text)
    ticks, column = set(), left
    for label in labels:
        if label != _ELLIPSIS:
            ticks.add(column + len(label) // 2)
        column += len(label) + 1
    for column in range(min(ticks | {stem}), max(ticks | {stem}) + 1):
        canvas.put(row, column, _branch(column, stem, ticks))


def _branch(column: int, stem: int, ticks: set[int]) -> str:
    """The box-drawing character of a branch whose stem comes from above, ticks go below."""
    left, right = column > min(ticks | {stem}), column < max(ticks | {stem})
    shape = (column == stem, column in ticks, left, right)
    return {
        (True, True, False, False): "│", (True, True, True, True): "┼",
        (True, True, False, True): "├", (True, True, True, False): "┤",
        (True, False, True, True): "┴", (True, False, False, True): "└",
        (True, False, True, False): "┘", (False, True, True, True): "┬",
        (False, True, False, True): "┌", (False, True, True, False): "┐",
    }.get(shape, "─")  # fmt: skip


def _group_labels(spec: ClosSpec, t0: int) -> list[str]:
    first = t0 * spec.hosts_per_t0
    last = first + spec.hosts_per_t0 - 1
    if spec.hosts_per_t0 <= 4:
        return [host_name(host) for host in range(first, last + 1)]
    return [host_name(first), _ELLIPSIS, host_name(last)]


def _label(cell: _Cell, name: Callable[[int], str]) -> str:
    return _ELLIPSIS if cell.index is None else name(cell.index)


def _gbps(rate_bps: int) -> str:
    return f"{rate_bps / 10**9:g} Gb/s"


def _plural(count: int, noun: str) -> str:
    ending = "" if count == 1 else "es" if noun.endswith("ch") else "s"
    return f"{count:,} {noun}{ending}"
