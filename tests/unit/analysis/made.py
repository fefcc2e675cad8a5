"""Runs made of rows written by hand, for the tests of whatever reads runs.

    run = made_run(flows=[flow(1000, acked_bytes=5000)], events=[inject(400, "crash", ID)])
    folder = made_folder(tmp_path, flows=[...])        # the same, as a run folder

A row function takes what matters and fills the rest; a fault's ID is like
``switch:p0-t1-2#crash``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow
import pyarrow.parquet

from testbed.analysis.frames import frame_of
from testbed.analysis.run import Run
from testbed.intent.documents import dump_yaml
from testbed.intent.topology import load_topology, topology_document
from testbed.intent.workload import from_document
from testbed.metrics.tables import SCHEMA_VERSION, TABLES, event_row
from topologies.ev import split_ev

Rows = Iterable[Mapping[str, Any]]

WORKLOAD = {"workload": "write-bw", "src": "h0", "dst": "h4", "qps": 1, "duration": "100us"}
MANIFEST: Mapping[str, Any] = {
    "schema_version": 1, "state": "complete", "testbed": "0.1.0", "python": "3.11.2",
    "kernel": "6.1.0", "dataplane": "ovs", "git_revision": None, "seed": 1, "tdf": 5000,
    "verdict": {"word": "trusted", "reasons": []}, "started_at": "2026-11-21T15:30:00.000Z",
    "ended_at": "2026-11-21T15:31:00.000Z",
}
SIMULATED = {"dataplane": "simulator", "tdf": 0, "verdict": None}


# --- Rows --------------------------------------------------------------------------------


def flow(t_ns: int, interval_ns: int = 1000, host: str = "h0", peer: str = "h4", qp: int = 1,
         acked_bytes: int = 0, **more: Any) -> dict[str, Any]:
    """A row of `flows`; what is acknowledged was sent in packets of 4096 bytes, one at least."""
    row = {"t_ns": t_ns, "interval_ns": interval_ns, "host": host, "peer": peer, "qp": qp,
           "sent_packets": max(1, acked_bytes // 4096), "sent_bytes": acked_bytes,
           "acked_bytes": acked_bytes, "srtt_ns": 9404, "active_evs": 16, "planes": 0b1111}
    return {**dict.fromkeys(TABLES["flows"], 0), **row, **more}


def steady(rate_bps: float, start_ns: int, end_ns: int, interval_ns: int = 1000,
           **more: Any) -> list[dict[str, Any]]:
    """Rows of `flows` of a queue pair that goes on at one rate."""
    acked = round(rate_bps * interval_ns / 8e9)
    return [flow(t_ns, interval_ns, acked_bytes=acked, **more)
            for t_ns in range(start_ns + interval_ns, end_ns + 1, interval_ns)]


def ev_change(t_ns: int, ev: int, before: str, after: str, cause: str = "loss_inferred",
              host: str = "h0", peer: str = "h4", qp: int = 1,
              is_active: bool = True) -> dict[str, Any]:
    """A row of `evs`, of a path through a T1."""
    plane, t1 = split_ev(ev)
    return {"t_ns": t_ns, "host": host, "peer": peer, "qp": qp, "ev": ev, "plane": plane,
            "t1": t1, "from": before, "to": after, "cause": cause, "is_active": is_active}


def ev_sample(t_ns: int, ev: int, acked: int, interval_ns: int = 5000, host: str = "h0",
              peer: str = "h4", **more: Any) -> dict[str, Any]:
    """A row of `ev_samples`, of a path through a T1 unless ``t1=None``."""
    plane, t1 = split_ev(ev)
    row = {"t_ns": t_ns, "interval_ns": interval_ns, "host": host, "peer": peer, "ev": ev,
           "plane": plane, "t1": t1, "sent_packets": acked, "acked_packets": acked}
    return {**dict.fromkeys(TABLES["ev_samples"], 0), **row, **more}


def loss(t_ns: int, sent_ns: int, ev: int, cause: str = "evidence", host: str = "h0",
         peer: str = "h4", qp: int = 1, psn: int = 0) -> dict[str, Any]:
    """A row of `losses`."""
    plane, t1 = split_ev(ev)
    return {"t_ns": t_ns, "t_sent_ns": sent_ns, "host": host, "peer": peer, "qp": qp,
            "psn": psn, "ev": ev, "plane": plane, "t1": t1, "cause": cause}


def probe(t_ns: int, ev: int, rtt_ns: int = 9000, host: str = "h0", peer: str = "h4",
          qp: int = 1) -> dict[str, Any]:
    """A row of `probes`."""
    plane, t1 = split_ev(ev)
    return {"t_ns": t_ns, "host": host, "peer": peer, "qp": qp, "ev": ev, "plane": plane,
            "t1": t1, "rtt_ns": rtt_ns}


def message(post_ns: int, done_ns: int | None, size: int = 32768, host: str = "h0",
            peer: str = "h4", qp: int = 1, op: str = "write",
            status: str | None = None) -> dict[str, Any]:
    """A row of `messages`; without ``done_ns`` it is open."""
    return {"host": host, "peer": peer, "qp": qp, "op": op, "bytes": size, "t_post_ns": post_ns,
            "t_done_ns": done_ns,
            "status": status or ("open" if done_ns is None else "success")}


def port(t_ns: int, switch: str = "p0-t0-0", towards: str = "p0-t1-0", plane: int = 0,
         tier: int = 0, interval_ns: int = 5000, **more: Any) -> dict[str, Any]:
    """A row of `ports`."""
    row = {"t_ns": t_ns, "interval_ns": interval_ns, "switch": switch,
           "interface": f"{switch}-e1", "towards": towards, "plane": plane, "tier": tier}
    return {**dict.fromkeys(TABLES["ports"], 0), **row, **more}


def collective(iteration: int, rank: int, start_ns: int, end_ns: int, size: int = 1 << 20,
               op: str = "allreduce") -> dict[str, Any]:
    """A row of `collectives`; rank n runs on hn."""
    return {"host": f"h{rank}", "rank": rank, "op": op, "algorithm": "ring", "dtype": "float",
            "bytes": size, "iteration": iteration, "t_start_ns": start_ns, "t_end_ns": end_ns,
            "verified": True}


def step(number: int, rank: int, start_ns: int, end_ns: int, **more: Any) -> dict[str, Any]:
    """A row of `steps`; rank n runs on hn."""
    row = {"host": f"h{rank}", "rank": rank, "step": number, "t_start_ns": start_ns,
           "t_end_ns": end_ns, "compute_ns": (end_ns - start_ns) // 2,
           "communicate_ns": (end_ns - start_ns) // 2, "exposed_ns": 0, "verified": True}
    return {**row, **more}


def inject(t_ns: int, name: str, target: str, **more: Any) -> dict[str, Any]:
    """A row of `events`: a fault put in force."""
    return event_row(t_ns, "action", name=name, what="inject", target=target, planned_ns=t_ns,
                     late_ns=0, evidence="its counters rose", **more)


def heal(t_ns: int, name: str, target: str, **more: Any) -> dict[str, Any]:
    """A row of `events`: a fault taken back."""
    return event_row(t_ns, "action", name=name, what="heal", target=target, planned_ns=t_ns,
                     late_ns=0, evidence="its counters rose", **more)


# --- Runs --------------------------------------------------------------------------------


@dataclass
class MadeTables:
    """Frames of rows, empty where there are none."""

    rows: Mapping[str, Rows]
    frames: dict[str, pd.DataFrame] = field(default_factory=dict)

    def frame(self, name: str) -> pd.DataFrame:
        """A table, typed as when read from a file."""
        if name not in self.frames:
            self.frames[name] = frame_of(name, self.rows.get(name, ()))
        return self.frames[name]


def made_run(topology: str = "quad", workload: Mapping[str, Any] = WORKLOAD,
             manifest: Mapping[str, Any] | None = None,
             result: Mapping[str, Any] | None = None,
             drill: Mapping[str, Any] | None = None, **tables: Rows) -> Run:
    """A run of these rows, on no disk. ``manifest`` lays over `MANIFEST`."""
    spec = load_topology(topology)
    request = from_document(workload, spec).to_document()
    return Run(Path("made"), {**MANIFEST, **(manifest or {})},
               {**request, "topology": topology_document(spec)}, spec, result or {}, drill, {},
               MadeTables(tables))


def made_folder(folder: Path, topology: str = "quad", workload: Mapping[str, Any] = WORKLOAD,
                manifest: Mapping[str, Any] | None = None,
                result: Mapping[str, Any] | None = None,
                drill: Mapping[str, Any] | None = None, **tables: Rows) -> Path:
    """The same as a run folder, its tables as Parquet."""
    run = made_run(topology, workload, manifest, result, drill, **tables)
    (folder / "tables").mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps(run.manifest))
    (folder / "spec.yaml").write_text(dump_yaml({"schema_version": 1, **run.spec}))
    for name, document in (("result", result), ("drill", drill)):
        if document is not None:
            (folder / f"{name}.json").write_text(json.dumps(document))
    for name in tables:
        write_table(folder / "tables" / f"{name}.parquet", run.tables.frame(name))
    return folder


def write_table(path: Path, frame: pd.DataFrame, version: int | None = SCHEMA_VERSION) -> None:
    """A Parquet file with the version of the schema, or without one."""
    table = pyarrow.Table.from_pandas(frame, preserve_index=False)
    if version is not None:
        table = table.replace_schema_metadata(
            {**(table.schema.metadata or {}), b"schema_version": str(version).encode()})
    pyarrow.parquet.write_table(table, path)
