"""What was asked for, run in the simulator: the same programs, the same result document.

Nothing can be late there, so there is no verdict to give; the figures are those of a machine
that keeps up at any time dilation.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from testbed.agent.journal import describe, qp_counters, slots
from testbed.faults.script import Script
from testbed.instance.baseline import with_baseline
from testbed.instance.filling import abandon, fill
from testbed.instance.jointresult import loss_sentences
from testbed.instance.layout import CHECKOUT
from testbed.instance.planning import plan_job
from testbed.instance.runfolder import Owner, RunFolder, provenance
from testbed.instance.runresult import found_section
from testbed.instance.sampling import sample_interval_ns
from testbed.intent.topology import topology_document
from testbed.intent.workload import Request
from testbed.metrics.rows import merged
from testbed.metrics.tables import tables_of
from testbed.sim.jobs import JobResult, run_job
from topologies.graph import build_graph
from topologies.names import host_name
from topologies.spec import ClosSpec
from workloads.job import Job


def simulate(request: Request, spec: ClosSpec, what: str, parent: Path, owner: Owner, *,
             script: Script = ()) -> dict[str, Any]:
    """Run it in this process, with the request's seed; its folder, with every table, in ``parent``.

    ``what`` names the folder; ``script`` is done meanwhile. Returns the result document. Raises
    WorkloadError, UsageError for a script that does not fit, TestbedError where the folder cannot
    be written.
    """
    request = with_baseline(request, spec)
    job = plan_job(request, spec)
    made_with = provenance("simulator", request.seed, 0, CHECKOUT)
    folder = RunFolder.make(parent, what, owner, made_with, datetime.now(UTC))
    try:
        folder.write_spec({**request.to_document(), "topology": topology_document(spec)})
        began_s = time.monotonic()
        found = run_job(build_graph(spec), job, request.seed, script=script,
                        sample_ns=sample_interval_ns(job, spec, request.sample_ns))
        result = _document(request, spec, job, found, time.monotonic() - began_s)
        result |= {"folder": str(folder.path), "actions": list(found.actions)}
        fill(folder, result, merged(found.tables, tables_of(result)))
    except BaseException as error:
        abandon(folder, error)
        raise
    folder.close("complete" if found.is_complete else "partial", None, datetime.now(UTC))
    return result


def _document(request: Request, spec: ClosSpec, job: Job, found: JobResult,
              wall_s: float) -> dict[str, Any]:
    results = {host_name(host): _host_result(found, host) for host in found.results}
    verified = {host_name(host): rows for host, rows in found.verified.items()}
    silent = {host_name(host): "it was killed" for host in job.hosts if host not in found.results}
    failures = loss_sentences(job, found.results, silent)
    if not failures and not silent:
        failures += _unfinished_sentences(job, found)
    if found.conservation.unexplained:
        failures.append(f"{found.conservation.unexplained} frames are unaccounted for: this is "
                        "a fault of the simulator, please report it")
    return {
        **found_section(build_graph(spec), job, results, verified),
        "parameters": request.to_document(),
        "dataplane": "simulator",
        "tdf": None,
        "seed": request.seed,
        "verdict": None,
        "failures": failures,
        "is_complete": found.is_complete,
        "wall_s": round(wall_s, 2),
        "folder": None,
    }


def _unfinished_sentences(job: Job, found: JobResult) -> list[str]:
    """Who had not come to an end when the run was over, though nobody was lost."""
    if found.is_complete:
        return []
    ranks = job.parameters.get("hosts", ())
    waiting = [host for host, result in found.results.items() if not result.get("is_finished")]
    named = [f"rank {ranks.index(host)} ({host_name(host)})" if host in ranks else host_name(host)
             for host in waiting]
    return [f"the run did not end: {', '.join(named)} still waited when nothing moved any more; "
            "see whether a host was paused, else report it as a fault of the testbed"]


def _host_result(found: JobResult, host: int) -> dict[str, Any]:
    """What an agent would have told of this host."""
    endpoint = found.contexts[host].endpoint
    return {
        "program": found.results[host],
        "qps": [qp_counters(qp) for qp in endpoint.qps.values()],
        "endpoint": slots(endpoint.counters),
        "ports": [],
        "events": [describe(event) for event in found.events[host]],
        "captures_lost": 0,
        "ended_ns": found.ended_ns,
    }
