"""The tables of a run folder: columns, types and units, for those who write and who read.

Times are emulated ns from the start of the run. The unit of a number ends its name (``_ns``,
``_bytes``, ``_packets``, ``_frames``) or stands in `UNITS`, and in the file beside the column.
Intervals end at ``t_ns`` and are ``interval_ns``
long; what they count was counted in them, what is named without a count (``queue_bytes``) is
as it was at their end. An EV is the 32-bit number; ``t1`` is the uplink it takes, missing
where the path stays in one T0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

Type = Literal["int64", "Int64", "float64", "string", "bool"]
"""Int64 may be missing, int64 may not."""

SCHEMA_VERSION = 3
"""Of all tables together; it is in the metadata of every file."""

_QP: Mapping[str, Type] = {"host": "string", "peer": "string", "qp": "int64"}
_PATH: Mapping[str, Type] = {"ev": "int64", "plane": "int64", "t1": "Int64"}
_INTERVAL: Mapping[str, Type] = {"t_ns": "int64", "interval_ns": "int64"}

TABLES: Mapping[str, Mapping[str, Type]] = {
    # One row per posted verb. ``status``: success, another completion status, or open.
    "messages": {
        **_QP, "op": "string", "bytes": "int64", "t_post_ns": "int64", "t_done_ns": "Int64",
        "status": "string",
    },
    # One row per queue pair and interval in which it did anything. ``sent_packets`` counts
    # every transmission, also those of ``resent_packets``; ``acked_bytes`` is payload,
    # ``sent_bytes`` what the congestion control counts (payload and headers); ``planes`` is
    # the mask of planes it may use, ``active_evs`` how many EVs carry its data.
    "flows": {
        **_INTERVAL, **_QP, "sent_packets": "int64", "sent_bytes": "int64",
        "acked_bytes": "int64", "resent_packets": "int64", "lost_nack": "int64",
        "lost_evidence": "int64", "lost_timer": "int64", "inflight_bytes": "int64",
        "cwnd_bytes": "int64", "srtt_ns": "int64", "active_evs": "int64", "planes": "int64",
    },
    # One row per change of an EV's state or place (testbed.transport.mrc.ev.states).
    "evs": {
        "t_ns": "int64", **_QP, **_PATH, "from": "string", "to": "string", "cause": "string",
        "is_active": "bool",
    },
    # One row per host, peer, EV and interval in which it carried anything; of all queue pairs.
    # rtt_ns is the last round trip there, of a packet that triggered a SACK (one in a few), the
    # longest of the queue pairs; null where no SACK was triggered.
    "ev_samples": {
        **_INTERVAL, "host": "string", "peer": "string", **_PATH, "sent_packets": "int64",
        "acked_packets": "int64", "marked": "int64", "trimmed": "int64", "lost": "int64",
        "skipped": "int64", "rtt_ns": "Int64",
    },
    # One row per packet its sender took for lost: when it left, when that was found out, and
    # by what: nack, evidence (SACKs of later packets) or timer.
    "losses": {
        "t_ns": "int64", "t_sent_ns": "int64", **_QP, "psn": "int64", **_PATH,
        "cause": "string",
    },
    # One row per EV probe that was answered.
    "probes": {"t_ns": "int64", **_QP, **_PATH, "rtt_ns": "int64"},
    # One row per switch port and interval in which anything was offered to it.
    "ports": {
        **_INTERVAL, "switch": "string", "interface": "string", "towards": "string",
        "plane": "int64", "tier": "int64", "tx_frames": "int64", "tx_bytes": "int64",
        "marked": "int64", "trimmed": "int64", "dropped_tail": "int64",
        "dropped_control": "int64", "dropped_blackhole": "int64", "dropped_loss": "int64",
        "dropped_ev": "int64", "corrupted": "int64", "queue_bytes": "int64",
    },
    # One row per iteration and rank; iterations of the warm-up are below 0.
    "collectives": {
        "host": "string", "rank": "int64", "op": "string", "algorithm": "string",
        "dtype": "string", "bytes": "int64", "iteration": "int64", "t_start_ns": "int64",
        "t_end_ns": "int64", "verified": "bool",
    },
    # One row per training step and rank; exposed is what compute did not hide.
    "steps": {
        "host": "string", "rank": "int64", "step": "int64", "t_start_ns": "int64",
        "t_end_ns": "int64", "compute_ns": "int64", "communicate_ns": "int64",
        "exposed_ns": "int64", "verified": "bool",
    },
    # One row per thing that happened. ``kind``: action (``name`` is the step of the drill, end
    # or `by hand`, ``what`` inject or heal, ``target`` the fault's id, like
    # link:p1-t0-0:p1-t1-3#down), ports (``what`` is peer, ``target`` who told that these of its
    # ports are up, a mask in ``detail``, or carrier, of its own ports), qp (one failed),
    # warning. ``planned_ns`` and ``late_ns`` are of actions: when they were to be done, and how
    # much later they were.
    "events": {
        "t_ns": "int64", "kind": "string", "name": "string", "what": "string",
        "target": "string", "host": "string", "planned_ns": "Int64", "late_ns": "Int64",
        "evidence": "string", "detail": "string",
    },
    # One row per host and interval, and one of the whole machine (``host`` empty).
    "fidelity": {
        **_INTERVAL, "host": "string", "lateness_p99_ns": "Int64", "lateness_max_ns": "Int64",
        "idle_cores": "float64", "kernel_drops": "Int64",
    },
}

UNITS: Mapping[str, Mapping[str, str]] = {
    "messages": {"qp": "number", "bytes": "bytes"},
    "flows": {"qp": "number", "lost_nack": "packets", "lost_evidence": "packets",
              "lost_timer": "packets", "active_evs": "EVs", "planes": "mask"},
    "evs": {"qp": "number", "ev": "number", "plane": "number", "t1": "number"},
    "ev_samples": {"ev": "number", "plane": "number", "t1": "number", "marked": "packets",
                   "trimmed": "packets", "lost": "packets", "skipped": "times"},
    "losses": {"qp": "number", "psn": "number", "ev": "number", "plane": "number",
               "t1": "number"},
    "probes": {"qp": "number", "ev": "number", "plane": "number", "t1": "number"},
    "ports": {"plane": "number", "tier": "number", "marked": "frames", "trimmed": "frames",
              "dropped_tail": "frames", "dropped_control": "frames",
              "dropped_blackhole": "frames", "dropped_loss": "frames", "dropped_ev": "frames",
              "corrupted": "frames"},
    "collectives": {"rank": "number", "bytes": "bytes", "iteration": "number"},
    "steps": {"rank": "number", "step": "number"},
    "events": {},
    "fidelity": {"idle_cores": "cores", "kernel_drops": "frames"},
}
"""Of every number whose name does not end in it; ``number`` names or numbers a thing."""
_ENDINGS = ("ns", "bytes", "packets", "frames")


def unit_of(table: str, column: str) -> str:
    """The unit of a column, "" for texts and truths. Raises KeyError where there is none."""
    if TABLES[table][column] in ("string", "bool"):
        return ""
    ending = column.rpartition("_")[2]
    return ending if "_" in column and ending in _ENDINGS else UNITS[table][column]


def event_row(t_ns: int, kind: str, **columns: Any) -> dict[str, Any]:
    """A row of `events`; texts that are not given are empty, numbers missing."""
    row: dict[str, Any] = {"t_ns": t_ns, "kind": kind}
    for name, type_ in TABLES["events"].items():
        row.setdefault(name, columns.pop(name, "" if type_ == "string" else None))
    if columns:
        raise ValueError(f"events have no column {', '.join(columns)}")
    return row


def collective_rows(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of `collectives` from the result document of a run.

    ``verified``: every element was compared, and none was wrong.
    """
    same = {"op": result["operation"], "algorithm": result["algorithm"], "dtype": result["dtype"]}
    return [
        {"host": row["host"], "rank": row["rank"], **same, "bytes": row["size_bytes"],
         "iteration": row["iteration"], "t_start_ns": row["begun_ns"],
         "t_end_ns": row["ended_ns"], "verified": not row["wrong"]}
        for row in result["collectives"]
    ]


def step_rows(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of `steps` from the result document of a run.

    ``verified``: nothing that was compared was wrong, of all steps but the last only stamps on the
    fabric (see workloads.training.program).
    """
    return [
        {"host": row["host"], "rank": row["rank"], "step": row["step"],
         "t_start_ns": row["begun_ns"], "t_end_ns": row["ended_ns"],
         "compute_ns": row["compute_ns"], "communicate_ns": row["reduce_ns"],
         "exposed_ns": row["exposed_ns"], "verified": not row["wrong"]}
        for row in result["rank_steps"]
    ]


def tables_of(result: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The tables a result document has rows for."""
    found = {}
    if "collectives" in result:
        found["collectives"] = collective_rows(result)
    if "rank_steps" in result:
        found["steps"] = step_rows(result)
    if "actions" in result:
        found["events"] = [dict(row) for row in result["actions"]]
    return found


def check_rows(name: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Raises ValueError where a row has not exactly the columns of this table."""
    columns = TABLES[name].keys()
    for row in rows:
        if row.keys() != columns:
            wrong = ", ".join(sorted(row.keys() ^ columns))
            raise ValueError(f"a row of table {name} has other columns than it should ({wrong})")
