"""When senders lost a plane and got it back, as they knew it.

A host sees the carrier of its own ports, and is told the ports of each peer (rows of `events`
of kind ``ports``); a queue pair uses the planes both have. What nobody tells, as that a
controller disabled a port, is seen in the masks of the `flows` samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pandas as pd

COLUMNS = ["t_ns", "host", "peer", "plane", "went", "how"]
CARRIER, PORT_STATUS, SAMPLE = "carrier", "port status", "sample"


def plane_changes(events: pd.DataFrame, flows: pd.DataFrame, planes: int) -> pd.DataFrame:
    """A row per plane that a pair of hosts lost (``went`` out) or got back (back).

    ``how``: carrier (the sender's own port), port status (the peer said so), or sample (only
    the samples of its queue pairs show it, at the end of an interval).
    """
    told = events[events["kind"] == "ports"]
    rows: list[tuple[int, str, str, int, str, str]] = []
    for (host, peer), samples in flows.groupby(["host", "peer"], sort=True):
        own = told[(told["host"] == host) & (told["what"] == CARRIER)]
        other = told[(told["host"] == host) & (told["target"] == peer) & (told["what"] == "peer")]
        known = list(_of_masks(_merged(own, other), planes))
        seen = {change[1] for change in known}
        sampled = ((int(row.t_ns), SAMPLE, int(row.planes), -1) for row in samples.itertuples())
        known += [change for change in _of_masks(sampled, planes) if change[1] not in seen]
        rows += [(t_ns, host, peer, *change) for t_ns, *change in known]
    return pd.DataFrame(rows, columns=COLUMNS).sort_values("t_ns", ignore_index=True)


_Mask = tuple[int, str, int, int]
"""When, how it was learnt, and the masks of own ports and the peer's; -1 is all."""


def _merged(own: pd.DataFrame, other: pd.DataFrame) -> Iterator[_Mask]:
    """Both masks whenever one of them was told."""
    told = [(int(row.t_ns), CARRIER, int(row.detail, 16)) for row in own.itertuples()]
    told += [(int(row.t_ns), PORT_STATUS, int(row.detail, 16)) for row in other.itertuples()]
    masks = {CARRIER: -1, PORT_STATUS: -1}
    for t_ns, how, mask in sorted(told):
        masks[how] = mask
        yield t_ns, how, masks[CARRIER], masks[PORT_STATUS]


def _of_masks(masks: Iterable[_Mask], planes: int) -> Iterator[tuple[int, int, str, str]]:
    """t_ns, plane, went, how of every plane that changed, all being there in the beginning."""
    every = (1 << planes) - 1
    before = every
    for t_ns, how, own, peer in masks:
        now = own & peer & every
        for plane in range(planes):
            bit = 1 << plane
            if (before ^ now) & bit:
                yield t_ns, plane, "back" if now & bit else "out", how
        before = now
