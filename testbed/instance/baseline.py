"""What a training job is compared with: the median step of an undisturbed run, from its folder.

Read once, when the run begins: the figure goes into the resolved spec, so that running that
again needs no other folder.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from testbed.errors import UsageError
from testbed.intent.spectopology import require_topology
from testbed.intent.train import TrainRequest
from testbed.intent.workload import Request, from_document, load_spec
from topologies.spec import ClosSpec

# What two runs may differ in: how they were watched, and what they are compared with.
_MAY_DIFFER = ("tdf", "capture", "snap", "recalibrate", "sample", "against", "baseline")
_REMEDY = "name the folder of an undisturbed run of the same training job"


def with_baseline(request: Request, spec: ClosSpec) -> Request:
    """The request with the median step time, in emulated ns, of the run it names.

    As it is where it names none or has one already. Raises UsageError where that run is no
    complete run of the same job on this topology, or cannot be believed.
    """
    if not isinstance(request, TrainRequest) or not request.against or request.baseline_ns:
        return request
    folder = Path(request.against)
    try:
        _require_believable(json.loads((folder / "manifest.json").read_text()))
        _require_same(folder, request, spec)
        steps = json.loads((folder / "result.json").read_text())["steps"]
        return replace(request, baseline_ns=int(
            statistics.median(step["time_ns"] for step in steps)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, UsageError) as error:
        why = f"{error.__class__.__name__}: {error}"
        why = str(error) if isinstance(error, UsageError) else why
        raise UsageError(f"{folder} cannot be compared with ({why}): {_REMEDY}") from None


def _require_believable(manifest: Mapping[str, Any]) -> None:
    if manifest["state"] != "complete":
        raise UsageError(f"it is {manifest['state']}, not complete")
    verdict = manifest["verdict"]
    if verdict is not None and verdict["word"] == "invalid":
        raise UsageError("it is invalid")


def _require_same(folder: Path, request: TrainRequest, spec: ClosSpec) -> None:
    document, _ = load_spec(folder / "spec.yaml")
    require_topology(document, spec)
    due, there = request.to_document(), from_document(document, spec).to_document()
    differing = [key for key in {**due, **there}
                 if key not in _MAY_DIFFER and due.get(key) != there.get(key)]
    if differing:
        key = differing[0]
        raise UsageError(f"its {key} is {_shown(there.get(key))}, not {_shown(due.get(key))}")


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "none" if value is None else str(value)
