"""`run --sim`: a run that needs no instance, its result document and its folder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from testbed.analysis import load
from testbed.instance.runfolder import Owner
from testbed.instance.simulated import simulate
from testbed.intent.options import RawRequest
from testbed.intent.topology import load_topology
from testbed.intent.workload import Request, resolve
from workloads.collectives.collective import Collective

TINY = load_topology("tiny")


def simulated(request: Request, parent: Path) -> dict[str, Any]:
    return simulate(request, TINY, f"{request.what}-sim", parent, Owner(os.getuid(), os.getgid()))


def test_it_has_what_a_run_has_and_no_verdict(tmp_path: Path) -> None:
    request = resolve(RawRequest(workload="alltoall", texts={"sizes": "4K", "iters": "1"}), TINY)
    found = simulated(request, tmp_path)
    json.dumps(found)
    assert (found["verdict"], found["tdf"]) == (None, None)
    folder = Path(found["folder"])
    assert folder.name.endswith("-alltoall-4-sim")
    run = load(folder)
    assert (run.is_simulated, run.manifest["state"]) == (True, "complete")
    assert len(run.collectives) == 4 * 2  # with the warm-up
    assert run.collectives["verified"].all()
    assert len(run.flows) > 0
    assert found["parameters"] == request.to_document()
    assert found["sizes"][0]["wrong"] == 0
    assert found["verified"]["checked_bytes"] == 4 * 4096
    assert {host["resent"] for host in found["hosts"].values()} == {0}
    assert (found["is_complete"], found["failures"]) == (True, [])


def test_the_same_seed_is_the_same_run(tmp_path: Path) -> None:
    request = resolve(RawRequest(workload="write-bw", operands=("h0", "h3"),
                                 texts={"iters": "20", "depth": "4"}), TINY)
    first, second = (simulated(request, tmp_path) for _ in range(2))
    assert first["streams"] == second["streams"]
    assert first["wall_s"] >= 0


def test_a_run_that_comes_to_no_end_names_who_still_waits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Rank 1 never enters the last barrier, and nothing moves any more."""
    finish = Collective._next

    def hang(program: Collective, now_ns: int) -> None:
        if program.plan.rank != 1 or not program._ended:
            finish(program, now_ns)

    monkeypatch.setattr(Collective, "_next", hang)
    request = resolve(RawRequest(workload="broadcast", texts={
        "sizes": "4K", "iters": "1", "warmup": "0", "hosts": "h0-h3"}), TINY)
    found = simulated(request, tmp_path)
    assert not found["is_complete"]
    (told,) = found["failures"]
    assert told.startswith("the run did not end: rank 0 (h0), rank 1 (h1), rank 2 (h2), rank 3 "
                           "(h3) still waited when nothing moved any more")
    assert load(Path(found["folder"])).manifest["state"] == "partial"
