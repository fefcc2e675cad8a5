"""The states of EVs as intervals, from the changes that were recorded.

Only changes are recorded. What an EV was before its first change is what that change says it
came from; an EV that never changed was good all the time. Whether it was active (a spare is
not) follows from the causes: swapped_in made a spare active, swapped_out an active one a
spare, added put it there, removed took it away; any other change left its place alone.
"""

from __future__ import annotations

import pandas as pd

EV = ["host", "peer", "qp", "ev"]
COLUMNS = [*EV, "plane", "t1", "state", "is_active", "start_ns", "end_ns"]
CARRYING = ("good", "skip")
OUT = ("assumed_bad", "denied")
_ABSENT = "absent"
# What an EV's place was before a change of this cause.
_ACTIVE_BEFORE = {"swapped_in": False, "swapped_out": True, "added": False, "removed": True}


def ev_timeline(evs: pd.DataFrame, flows: pd.DataFrame, ev_samples: pd.DataFrame,
                end_ns: int) -> pd.DataFrame:
    """The intervals of all EVs of all queue pairs from 0 to ``end_ns``, without gaps.

    Columns `COLUMNS`. ``flows`` and ``ev_samples`` tell of EVs that never changed: those that
    carried something for the pair. An EV before it was added has the state ``absent``.
    Changes at or after the end are left out.
    """
    known = pd.concat([evs[[*EV, "plane", "t1"]], _carried(flows, ev_samples)])
    known = known.drop_duplicates(EV, ignore_index=True)
    changes = evs[evs["t_ns"] < end_ns]
    first = changes.drop_duplicates(EV)
    begun = known.merge(_before(first), on=EV, how="left")
    begun["state"] = begun["state"].fillna("good")
    begun["is_active"] = _settled_places(begun)
    later = changes.rename(columns={"t_ns": "start_ns", "to": "state"})
    table = pd.concat([begun.assign(start_ns=0), later])[[*EV, "plane", "t1", "state",
                                                         "is_active", "start_ns"]]
    table = table.sort_values([*EV, "start_ns"], kind="stable", ignore_index=True)
    until = table.groupby(EV)["start_ns"].shift(-1)
    table["end_ns"] = until.fillna(end_ns).astype("int64")
    table = table[table["end_ns"] > table["start_ns"]]
    return table[COLUMNS].astype({"is_active": bool, "start_ns": "int64"}).reset_index(drop=True)


def _carried(flows: pd.DataFrame, ev_samples: pd.DataFrame) -> pd.DataFrame:
    """Every queue pair that sent with every EV that carried something for its pair."""
    sent = flows[flows["sent_packets"] > 0][["host", "peer", "qp"]].drop_duplicates()
    evs = ev_samples[["host", "peer", "ev", "plane", "t1"]].drop_duplicates()
    return sent.merge(evs, on=["host", "peer"])


def _before(first: pd.DataFrame) -> pd.DataFrame:
    """State and place of EVs before their first change."""
    state = first["from"].where(first["cause"] != "added", _ABSENT)
    place = [_ACTIVE_BEFORE.get(cause, is_active)
             for cause, is_active in zip(first["cause"], first["is_active"], strict=True)]
    return first[EV].assign(state=state, is_active=pd.array(place, dtype="boolean"))


def _settled_places(begun: pd.DataFrame) -> pd.Series:
    """Where a queue pair does not tell, its EV was placed as in the others of its pair."""
    told = begun.groupby(["host", "peer", "ev"])["is_active"].transform("first")
    return begun["is_active"].fillna(told).fillna(True).astype(bool)


def transitions(evs: pd.DataFrame) -> pd.DataFrame:
    """The changes of state by which EVs went out of use or came back: a column ``went``.

    ``went`` is ``out`` or ``back``; changes inside (good to skip) are left out.
    """
    before, after = evs["from"].isin(OUT), evs["to"].isin(OUT)
    moved = evs[before != after]
    return moved.assign(went=moved["to"].isin(OUT).map({True: "out", False: "back"}))
