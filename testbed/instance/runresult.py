"""The result of a run as one JSON document: what commands print and the run folder keeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from testbed.analysis.fidelity import describe
from testbed.instance.fleetrun import RunPlan
from testbed.instance.jointresult import joint_section
from testbed.instance.measured import Measured
from testbed.instance.order import Order
from testbed.instance.testbed import Testbed
from testbed.metrics.wrong import wrong_elements
from testbed.transport.mrc.ev.states import EvState
from topologies.graph import Graph
from topologies.names import host_name
from workloads import write_bandwidth
from workloads.job import Job

_RESENT_BY = {"nack": "lost_by_nack", "evidence": "lost_by_evidence", "timer": "lost_by_timer"}


def result_document(testbed: Testbed, order: Order, plan: RunPlan,
                    measured: Measured) -> dict[str, Any]:
    """Everything a run found out, in emulated units unless a name says wall."""
    outcome, graph = measured.outcome, testbed.graph
    # Where no host can finish without the others, it is a lost rank that says why.
    qp_failures = () if order.job.is_joint else _qp_failures(graph, outcome.results)
    return {
        **found_section(graph, order.job, outcome.results, outcome.verified),
        "parameters": dict(order.document),
        "dataplane": testbed.fabric.describe_dataplane(),
        "tdf": plan.tdf,
        "seed": plan.seed,
        "verdict": {"word": measured.verdict.word, "reasons": list(measured.verdict.reasons)},
        "fidelity": describe(measured.evidence),
        "failures": [*outcome.failures, *outcome.foretold, *qp_failures,
                     *_capture_failures(outcome.results)],
        "actions": [dict(row) for row in measured.actions],
        "busy_cores": round(measured.evidence.cores - measured.evidence.idle_cores, 3),
        "is_stopped": outcome.is_stopped,
        "is_settled": outcome.is_settled,
        "wall_s": round(outcome.wall_s, 2),
        "transit_wall_ns": {str(links): ns for links, ns in plan.transit_ns.items()},
    }


def found_section(graph: Graph, job: Job, results: Mapping[str, Any],
                  verified: Mapping[str, Any]) -> dict[str, Any]:
    """What hosts found, by name: the same for the fabric and for the simulator."""
    spec = graph.spec
    checked = _verified(verified)
    indices = {host.name: host.index for host in graph.hosts}
    joint = joint_section(job, {indices[name]: result["program"]
                                for name, result in results.items()},
                          {indices[name]: found for name, found in verified.items()})
    return {
        "kind": job.kind,
        "topology": {"name": spec.name, "planes": spec.planes,
                     "port_rate_bps": spec.port_rate_bps, "payload_bytes": spec.payload_bytes},
        "streams": list(_streams(results)),
        "peaks_bps": _peaks_bps(results),
        "latency_ns": [ns for result in results.values()
                       for ns in result["program"].get("latency_ns", ())],
        "hosts": {name: _host(result) for name, result in results.items()},
        "evs_out": list(_evs_out(graph, results)),
        "events": list(_events(results)),
        "verified": {**checked, "wrong_elements": wrong_elements({**joint, "verified": checked})},
        **joint,
    }


def _streams(results: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name, result in results.items():
        for row in result["program"]["channels"]:
            yield {**row, "src": name, "dst": host_name(row["peer"])}


def _peaks_bps(results: Mapping[str, Any]) -> dict[str, float]:
    """By sending host: the peak of all it sent, together."""
    rows = {name: result["program"]["channels"] for name, result in results.items()
            if result["program"]["kind"] == write_bandwidth.KIND}
    return {name: write_bandwidth.peak_bps(sent) for name, sent in rows.items() if sent}


def _host(result: Mapping[str, Any]) -> dict[str, Any]:
    def total(half: str, counter: str) -> int:
        return sum(qp[half].get(counter, 0) for qp in result["qps"])

    return {
        "sent": total("requester", "sent"),
        "resent": total("requester", "resent"),
        "resent_by": {cause: total("requester", name) for cause, name in _RESENT_BY.items()},
        "timeouts": total("requester", "timeouts"),
        "icrc_errors": result["endpoint"]["icrc_errors"],
        "endpoint": result["endpoint"],
        "ports": result["ports"],
        "captures_lost": result["captures_lost"],
    }


def _evs_out(graph: Graph, results: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """EVs that were left as bad, in the order in which hosts left them."""
    names = _names(graph)
    for name, result in results.items():
        for event in result["events"]:
            if event["event"] == "ev changed" and event["to"] == EvState.ASSUMED_BAD.value:
                yield {"host": name, "peer": names.get(event["peer"], event["peer"]),
                       "ev": event["ev"], "plane": event["plane"], "cause": event["cause"],
                       "at_ns": event["t_ns"]}


def _names(graph: Graph) -> dict[str, str]:
    """Hosts by their inner address, as agents tell it."""
    return {host.address.packed.hex(): host.name for host in graph.hosts}


def _events(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    told = [{"host": name, **event} for name, result in results.items()
            for event in result["events"]]
    return sorted(told, key=lambda event: event["t_ns"])


def _qp_failures(graph: Graph, results: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for every queue pair that failed: whose, towards whom, when and why."""
    names = _names(graph)
    for name, result in results.items():
        peers = {qp["qp"]: names.get(qp["peer"], "its peer") for qp in result["qps"]}
        for event in result["events"]:
            if event["event"] == "qp failed":
                yield (f"queue pair {event['qp']} of {name} to {peers.get(event['qp'], '?')} "
                       f"failed after {event['t_ns'] / 1000:,.0f} us: {event['reason']}")


def _capture_failures(results: Mapping[str, Any]) -> Iterator[str]:
    for name, result in results.items():
        for event in result["events"]:
            if event["event"] in ("capture failed", "recording failed"):
                yield f"{name}: {event['reason']}"


def _verified(verified: Mapping[str, Any]) -> dict[str, Any]:
    """What was compared when all was over."""
    wrong = [{"host": name, **found["first_wrong"]} for name, found in verified.items()
             if found["first_wrong"]]
    return {
        "checked_bytes": sum(found["checked_bytes"] for found in verified.values()),
        "wrong_bytes": sum(found["wrong_bytes"] for found in verified.values()),
        "wrong_elements": sum(found.get("wrong", found["wrong_bytes"])
                              for found in verified.values()),
        "unchecked": sum(len(found["unchecked"]) for found in verified.values()),
        "first_wrong": wrong[0] if wrong else None,
    }
