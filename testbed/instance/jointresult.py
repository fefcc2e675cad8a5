"""What collectives and training jobs add to the result of a run: rows, figures, a lost rank.

The same for a run on the fabric and one in the simulator: results are the programs', by the
index of their host.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from testbed.units import format_time_ns
from topologies.names import host_name
from workloads.collectives import plan as collective
from workloads.collectives.catalogue import OPERATIONS
from workloads.collectives.summary import first_loss, iteration_rows, size_rows
from workloads.job import Job
from workloads.training.summary import summarise, with_last_check


def joint_section(job: Job, results: Mapping[int, Mapping[str, Any]],
                  verified: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """The part of the document; nothing for a job whose hosts do not depend on each other."""
    if not job.is_joint:
        return {}
    hosts: list[int] = job.parameters["hosts"]
    own = _collective if job.kind == collective.KIND else _training
    return {"ranks": [host_name(host) for host in hosts],
            "loss": _loss(job, results), **own(job, results, verified)}


def _collective(job: Job, results: Mapping[int, Mapping[str, Any]],
                verified: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    parameters = job.parameters
    rows = iteration_rows(results.values(), verified.values())
    is_reduction = OPERATIONS[parameters["operation"]].is_reduction
    return {
        "operation": parameters["operation"],
        "algorithm": parameters["algorithm"],
        "dtype": parameters["dtype"],
        "redop": "sum" if is_reduction else "none",
        "sizes": size_rows(parameters, rows),
        "collectives": [_with_host(job, row) for row in rows],
    }


def _training(job: Job, results: Mapping[int, Mapping[str, Any]],
              verified: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    rows = {result["rank"]: with_last_check(
                result["steps"], verified[host]["wrong"] if host in verified else 0)
            for host, result in results.items()}
    every = [{"rank": rank, **row} for rank, found in sorted(rows.items()) for row in found]
    return {**summarise(rows, job.parameters.get("baseline_ns")),
            "rank_steps": [_with_host(job, row) for row in every]}


def _with_host(job: Job, row: Mapping[str, Any]) -> dict[str, Any]:
    return {"host": host_name(job.parameters["hosts"][row["rank"]]), **row}


def _loss(job: Job, results: Mapping[int, Mapping[str, Any]]) -> dict[str, Any] | None:
    loss = first_loss(results.values())
    if loss is None:
        return None
    return {**loss, "host": host_name(job.parameters["hosts"][loss["rank"]])}


def loss_sentences(job: Job, results: Mapping[int, Mapping[str, Any]],
                   silent: Mapping[str, str]) -> list[str]:
    """One sentence for every rank that was lost; ``silent`` says of hosts why they told nothing.

    None where no rank was, or where the job has none.
    """
    if not job.is_joint:
        return []
    loss, lost, told = _loss(job, results), dict(silent), dict[str, str]()
    if loss is not None:
        why = lost.pop(loss["host"], loss["reason"])
        told[loss["host"]] = (f" at {format_time_ns(loss['at_ns'])}, as rank "
                              f"{loss['noticed_by']} noticed: {why}")
    told |= {host: f": {why}" for host, why in lost.items()}
    ranks = [host_name(host) for host in job.parameters["hosts"]]
    return [f"rank {ranks.index(host)} ({host}) was lost{rest}" for host, rest in told.items()]
